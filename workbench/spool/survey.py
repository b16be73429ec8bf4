"""What waits in a spool, to be looked at: nothing is taken or changed."""

from __future__ import annotations

import fcntl
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from workbench.spool.segment import SUFFIX, Header

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from workbench.spool.folder import SpoolFolder


@dataclass(slots=True, kw_only=True)
class Waiting:
    """One writer's segments; ``alive`` where its process still has them open."""

    run_id: str
    name: str | None
    writer: str
    address: str
    events: int = 0
    bytes: int = 0
    alive: bool = False


def survey(folder: SpoolFolder) -> list[Waiting]:
    """Return what waits, writer by writer."""
    found: dict[str, Waiting] = {}
    for path in folder.paths():
        for header, lines in _read(path):
            key = path.name.removesuffix(SUFFIX).rpartition(".")[0]
            one = found.setdefault(
                key,
                Waiting(
                    run_id=str(header.run.run_id),
                    name=header.run.name,
                    writer=header.writer,
                    address=header.address,
                ),
            )
            one.events += lines
            one.bytes += path.stat().st_size
            one.alive = one.alive or _is_held(path)
    return list(found.values())


def _read(path: Path) -> Iterator[tuple[Header, int]]:
    """Yield the header and the number of events; nothing where the file is gone, or no segment."""
    try:
        with path.open("rb") as file:
            header = msgspec.json.decode(file.readline(), type=Header)
            events = sum(not line.startswith(b'{"bodies"') for line in file)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return
    yield header, events


def _is_held(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
