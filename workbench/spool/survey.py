"""What waits in a spool, to be looked at: nothing is taken or changed."""

from __future__ import annotations

import fcntl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from workbench.errors import WorkbenchError
from workbench.spool.header import header_of
from workbench.spool.segment import failed, writer_of

if TYPE_CHECKING:
    from workbench.spool.folder import SpoolFolder
    from workbench.spool.header import Header

_READ = 2**20
_BODIES = b'{"bodies"'


@dataclass(slots=True, kw_only=True)
class Waiting:
    """One writer's segments; ``alive`` where its process still has them open.

    ``events`` are those in the files: some of them may be stored already.
    """

    run_id: str
    name: str | None
    writer: str
    address: str
    events: int = 0
    bytes: int = 0
    alive: bool = False


@dataclass(slots=True, kw_only=True)
class Survey:
    """What waits, writer by writer, and what is wrong with files that could not be read."""

    writers: list[Waiting] = field(default_factory=list)
    unread: list[WorkbenchError] = field(default_factory=list)


def survey(folder: SpoolFolder) -> Survey:
    """Return what waits in a folder.

    Raises
    ------
    SpoolFailed
        The folder cannot be read.
    """
    found: dict[str, Waiting] = {}
    told = Survey()
    for path in folder.paths():
        try:
            with path.open("rb") as file:
                header, _ = header_of(file.fileno(), path)
                one = found.setdefault(writer_of(path), _of(header))
                _count(one, file)
        except FileNotFoundError:
            continue  # it was acknowledged meanwhile
        except OSError as error:
            told.unread.append(failed(path, error))
        except WorkbenchError as error:
            told.unread.append(error)
    told.writers = list(found.values())
    return told


def _of(header: Header) -> Waiting:
    return Waiting(
        run_id=str(header.run.run_id),
        name=header.run.name,
        writer=header.writer,
        address=header.address,
    )


def _count(one: Waiting, file: BinaryIO) -> None:
    lines = bodies = 0
    before = b""  # the end of what was read, in which a line of bodies may begin
    while part := file.read(_READ):
        lines += part.count(b"\n")
        bodies += (before + part).count(b"\n" + _BODIES)
        before = part[-len(_BODIES) :]
    one.events += max(0, lines - bodies - 1)
    one.bytes += file.tell()
    one.alive = one.alive or _is_held(file)


def _is_held(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
