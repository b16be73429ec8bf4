"""``up``, ``down``, ``doctor``, ``migrate``, ``worker``: the stack from a terminal."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Annotated, Any

import typer

from workbench.cli.options import AsJson, Home
from workbench.cli.output import emit
from workbench.errors import UsageError
from workbench.local.addresses import server_command

Port = Annotated[
    int | None,
    typer.Option("--port", min=1, max=65535, help="The server's port (default: a free one)."),
]


def up(
    *,
    home: Home = None,
    port: Port = None,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay in this terminal; Ctrl-C ends the stack.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start the local stack and leave it running until `workbench down`.

    Example:

        workbench up --home ~/experiments/.workbench
    """
    from workbench import local

    found = local.home_at(home)
    if foreground:
        raise typer.Exit(local.foreground(found, port=port))
    state = local.up(found, port=port)
    document = {key: state[key] for key in ("url", "port", "home", "pid", "parts")}
    emit(document, as_json=as_json, text=_up_text(state))


def _up_text(state: dict[str, Any]) -> str:
    return f"{state['url']} is up, home {state['home']}; `workbench down` ends it"


def down(*, home: Home = None, as_json: AsJson = False) -> None:
    """Stop the local stack; what is stored stays.

    Example:

        workbench down
    """
    from workbench import local

    found = local.home_at(home)
    stopped = local.down(found)
    text = "stopped" if stopped else f"no stack runs in {found.path}"
    emit({"stopped": stopped, "home": str(found.path)}, as_json=as_json, text=text)


def doctor(*, home: Home = None, as_json: AsJson = False) -> None:
    """Say what can be reached, what cannot, why, and what to do.

    Exit code 3 when something cannot be reached.

    Example:

        workbench doctor --json
    """
    from workbench import local

    found = local.home_at(home)
    findings = local.doctor(found)
    ok = all(finding.ok for finding in findings)
    document = {
        "ok": ok,
        "home": str(found.path),
        "findings": [finding.as_dict() for finding in findings],
    }
    emit(document, as_json=as_json, text="\n".join(_line(finding) for finding in findings))
    raise typer.Exit(0 if ok else 3)


def _line(finding: Any) -> str:
    text = f"{'ok ' if finding.ok else 'NO '} {finding.name:<11}{finding.detail}"
    return text if finding.hint is None else f"{text}\n    {finding.hint}"


def migrate(*, as_json: AsJson = False) -> None:
    """Bring the database of WORKBENCH_DATABASE_URL to this version's schema.

    The local stack does this by itself at each start.

    Example:

        WORKBENCH_DATABASE_URL=postgresql://workbench_owner@db/workbench workbench migrate
    """
    _need("WORKBENCH_DATABASE_URL")
    ended = subprocess.run(  # noqa: S603 - our own program
        server_command("migrate"), stdout=subprocess.PIPE, text=True, check=False
    )
    if ended.returncode != 0:
        raise typer.Exit(ended.returncode)
    document = json.loads(ended.stdout)
    applied = ", ".join(document["applied"]) or "nothing: it was up to date"
    emit(document, as_json=as_json, text=f"applied {applied}")


def worker(*, as_json: AsJson = False) -> None:
    """Run one more worker for the jobs of WORKBENCH_WORKER_DATABASE_URL.

    The local stack runs one by itself.

    Example:

        WORKBENCH_WORKER_DATABASE_URL=postgresql://workbench_worker@db/workbench workbench worker
    """
    _need("WORKBENCH_WORKER_DATABASE_URL")
    pid = os.getpid()
    emit({"worker": "running", "pid": pid}, as_json=as_json, text=f"worker, process {pid}")
    command = server_command("worker")
    os.execv(command[0], command)  # noqa: S606 - our own program takes this process over


def _need(variable: str) -> None:
    if not os.environ.get(variable):
        raise UsageError(
            f"{variable} is not set",
            hint=f"Set {variable}; for the local stack `workbench up` is all that is needed.",
        )
