"""``keys``: list, make, rotate and revoke the API keys of a workspace."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.cli.options import AsJson, Target, Workspace, opened
from workbench.cli.output import emit, note
from workbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from workbench.store.administration import Administration

app = typer.Typer(
    help=(
        "List, make, rotate and revoke the API keys of a workspace; for its admins.\n\n"
        "Example:\n\n\b\n    workbench keys list --json"
    ),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

KeyId = Annotated[str, typer.Argument(metavar="KEY", help="A key's id, as `keys list` shows it.")]
To = Annotated[
    Path | None,
    typer.Option("--to", help="Write the key to this new file, for your eyes only (mode 0600)."),
]

_COLUMNS = {
    "key_id": "key",
    "role": "role",
    "status": "status",
    "name": "name",
    "created_at": "made",
    "last_used_at": "last used",
    "expires_at": "expires",
}
_TIMES = ("created_at", "last_used_at", "expires_at")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@app.command("list")
def list_(*, store: Target = None, workspace: Workspace = None, as_json: AsJson = False) -> None:
    """List the keys; the keys themselves are stored nowhere.

    Example:

        workbench keys list
    """
    with administered(store, workspace) as there:
        found = there.keys()
    from workbench.cli.tables import rows_table

    shown = [key | {name: _to_the_minute(key[name]) for name in _TIMES} for key in found]
    emit({"keys": found}, as_json=as_json, text=rows_table(shown, _COLUMNS))


@app.command("create")
def create(
    *,
    role: Annotated[str, typer.Option(help="reader, writer or admin.")] = "writer",
    name: Annotated[str | None, typer.Option(help="What the key is for.")] = None,
    expires: Annotated[
        str | None, typer.Option(help="When it ends: 90d, 12h, or a day such as 2027-01-31.")
    ] = None,
    to: To = None,
    store: Target = None,
    workspace: Workspace = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, once.

    Example:

        workbench keys create --role reader --name "nightly report" --expires 90d
    """
    expires_at = None if expires is None else moment(expires)
    with _kept(to) as file, administered(store, workspace) as there:
        made = there.create_key(role, name=name, expires_at=expires_at)
        _hand_over(made, file, as_json=as_json)


@app.command("rotate")
def rotate(
    key: KeyId,
    *,
    overlap: Annotated[
        str, typer.Option(help="How long the old key goes on: 24h, 30m, 0s.")
    ] = "24h",
    to: To = None,
    store: Target = None,
    workspace: Workspace = None,
    as_json: AsJson = False,
) -> None:
    """Make a key in place of another, which goes on for a day.

    Example:

        workbench keys rotate 4f0k2m9x1c7a --overlap 1h --to new.key
    """
    overlap_s = int(span(overlap).total_seconds())
    with _kept(to) as file, administered(store, workspace) as there:
        made = there.rotate_key(key, overlap_s=overlap_s)
        _hand_over(made, file, as_json=as_json)


@app.command("revoke")
def revoke(
    key: KeyId, *, store: Target = None, workspace: Workspace = None, as_json: AsJson = False
) -> None:
    """End a key now; servers that remember it let it in for five seconds more.

    Example:

        workbench keys revoke 4f0k2m9x1c7a
    """
    with administered(store, workspace) as there:
        ended = there.revoke_key(key)
    emit({"key": ended}, as_json=as_json, text=f"{ended['key_id']} {ended['status']}")


@contextmanager
def administered(store: str | None, workspace: str | None) -> Iterator[Administration]:
    """Open a store that has keys, limits and usage: a server's."""
    with opened(store, workspace=workspace) as there:
        found = getattr(there, "administration", None)
        if found is None:
            raise UsageError(
                "a folder of exported runs has no keys, limits or usage", where=there.address
            )
        yield found


@contextmanager
def _kept(to: Path | None) -> Iterator[TextIO | None]:
    """Open the file of a new key before the key is made; without a key no file stays."""
    if to is None:
        yield None
        return
    try:
        handle = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise UsageError(
            "the key's file cannot be made", where=str(to), found=error.strerror
        ) from error
    with os.fdopen(handle, "w") as file:
        try:
            yield file
        except BaseException:
            to.unlink(missing_ok=True)
            raise


def _hand_over(made: dict[str, Any], file: TextIO | None, *, as_json: bool) -> None:
    """Give the key to its one reader: the file, else standard output."""
    key, secret = made["key"], made["secret"]
    if file is not None:
        file.write(f"{secret}\n")
        emit({"key": key, "file": file.name}, as_json=as_json, text=key["key_id"])
        return
    note(f"key {key['key_id']}, {key['role']}; it is shown only now")
    emit({"key": key, "secret": secret}, as_json=as_json, text=secret)


def _to_the_minute(moment_: str | None) -> str | None:
    return moment_ and f"{datetime.fromisoformat(moment_).astimezone(UTC):%Y-%m-%d %H:%M}"


def moment(text: str) -> datetime:
    """Return a moment in UTC from a day, a time, or a span from now."""
    try:
        said = datetime.fromisoformat(text)
    except ValueError:
        return datetime.now(UTC) + span(text)
    return said.replace(tzinfo=UTC) if said.tzinfo is None else said.astimezone(UTC)


def span(text: str) -> timedelta:
    """Return a span of time such as 30m, 24h or 90d."""
    found = re.fullmatch(r"(\d{1,6})([smhd])", text.strip())
    if found is None:
        raise UsageError("this is no span of time", expected="such as 30m, 24h or 90d", found=text)
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])
