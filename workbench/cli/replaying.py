"""``replay`` and ``fork``: run an agent again on its recording."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from workbench.cli.options import AsJson, Target, Workspace, opened
from workbench.cli.output import emit, note
from workbench.errors import UsageError

if TYPE_CHECKING:
    from workbench.replay import ReplayResult

_Run = Annotated[str, typer.Argument(metavar="RUN", help="A run's id or source.")]
_Agent = Annotated[
    str | None,
    typer.Option("--agent", help="MODULE:ATTRIBUTE (default: the one the run names)."),
]
_Pairs = Annotated[
    list[str] | None,
    typer.Option("--effect", help="TOOL=read|write|approved|…, as often as needed."),
]


def replay(
    run: _Run,
    *,
    agent: _Agent = None,
    mode: Annotated[Literal["exact", "cached"], typer.Option(help="How calls match.")] = "exact",
    collect: Annotated[
        bool, typer.Option("--collect", help="Go on after a difference and report all.")
    ] = False,
    isolate: Annotated[
        bool | None,
        typer.Option(help="In a child process without any network (default: where possible)."),
    ] = None,
    on_server: Annotated[
        bool, typer.Option("--on-server", help="By a worker; --agent is a registered name.")
    ] = False,
    key: Annotated[
        str | None, typer.Option(help="With --on-server: the same KEY finds the same replay.")
    ] = None,
    store: Target = None,
    workspace: Workspace = None,
    as_json: AsJson = False,
) -> None:
    """Run an agent's real code again with every call answered from the recording.

    Exits with 1 when the replay is not identical.

    Example:

        workbench replay 0198f0c2 --agent workbench.examples.support_desk:agent
    """
    from workbench.replay import replay as replayed

    _import_from_here()
    with opened(store, workspace=workspace) as there:
        found = there.run(run)
        if on_server:
            result = replayed(found, agent, mode=mode, collect=collect, on="server", key=key)
        else:
            apart = _isolation(isolate)
            result = replayed(found, agent, mode=mode, collect=collect, isolate=apart)
        _answer(result, as_json=as_json)
    if not result.identical:
        raise typer.Exit(1)


def fork(
    run: _Run,
    *,
    at: Annotated[int, typer.Option("--at", help="The seq of the call to change.")],
    outcome: Annotated[
        str | None, typer.Option("--outcome", help="TEXT, or @FILE.json: what it gives back.")
    ] = None,
    agent: _Agent = None,
    rest: Annotated[Literal["cached", "live"], typer.Option(help="What follows.")] = "cached",
    on_miss: Annotated[Literal["fail", "live"], typer.Option(help="At a miss.")] = "fail",
    effect: _Pairs = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what would be done.")] = False,
    store: Target = None,
    workspace: Workspace = None,
    as_json: AsJson = False,
) -> None:
    """Change one recorded outcome and run the rest.

    Exits with 1 when the fork ended at a miss or a refused tool.

    Example:

        workbench fork 0198f0c2 --at 17 --outcome "out of stock" --rest live
    """
    from workbench.fork import fork as forked

    _import_from_here()
    edits = {} if outcome is None else {"outcome": _outcome(outcome)}
    with opened(store, workspace=workspace) as there:
        prepared = forked(
            there.run(run),
            at=at,
            edits=edits,
            agent=agent,
            rest=rest,
            on_miss=on_miss,
            effects=dict(_pair(text) for text in effect or []),
        )
        if plan:
            shown = prepared.plan()
            rows = {"calls": shown.calls.to_dicts(), "undeclared": list(shown.undeclared)}
            emit(rows, as_json=as_json, text=str(shown))
            return
        result = prepared.run()
        _answer(result, as_json=as_json)
    if result.run.status == "diverged":
        raise typer.Exit(1)


def _answer(result: ReplayResult, *, as_json: bool) -> None:
    note(f"new run {result.run.run_id} {result.run.status}")
    document: dict[str, Any] = {
        "run_id": result.run.run_id,
        "status": result.run.status,
        "identical": result.identical,
        "divergences": [found.as_dict() for found in result.divergences],
        "match_levels": result.certificate["match_levels"],
        "calls": result.certificate["calls"],
        "certificate": result.certificate,
    }
    shown = [str(result), *(str(found) for found in result.divergences[1:])]
    emit(document, as_json=as_json, text="\n".join(shown))


def _isolation(wanted: bool | None) -> bool:  # noqa: FBT001 - as the option gives it
    from workbench.replay import isolation

    if wanted is None and not isolation.possible():
        note("no network namespace can be made here: the replay is guarded, not isolated")
    return isolation.possible() if wanted is None else wanted


def _outcome(text: str) -> Any:
    if not text.startswith("@"):
        return text
    path = Path(text[1:])
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError("the outcome cannot be read", where=str(path), found=str(error)) from error


def _pair(text: str) -> tuple[str, str]:
    name, equals, effect = text.partition("=")
    if not equals or not name:
        raise UsageError("an effect is TOOL=EFFECT", found=repr(text))
    return name, effect


def _import_from_here() -> None:
    """Let an agent be named from where the command is used, as ``python -m`` would."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
