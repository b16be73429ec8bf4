"""Processes that write to one run from one machine tell each other how far they got.

Each writer but the one that ends the run has a small file beside the segments: it is locked while
the writer lives, and says its last number once it has ended.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from workbench.spool.segment import SUFFIX

if TYPE_CHECKING:
    from pathlib import Path

_ENDING = ".writer"


class _Said(msgspec.Struct, frozen=True):
    lane: str
    last: int | None = None


class _Number(msgspec.Struct):
    writer_seq: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """A writer beside the one that ends the run; ``last`` is its last event's number, if known."""

    writer: str
    lane: str
    alive: bool
    said: bool
    last: int | None


class Presence:
    """Says that a writer is there, until it says how far it got.

    Where nothing can be said the recording goes on: whoever ends the run does not hear of it.
    """

    def __init__(self, folder: Path, *, run_id: str, writer: str, lane: str) -> None:
        self._path = folder / f"{run_id}.{writer}{_ENDING}"
        self._lane = lane
        self._handle = -1
        with suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(self._handle, msgspec.json.encode(_Said(lane)))

    def end(self, last: int) -> None:
        """Say the number of the last event; there is no other after it."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            with suppress(OSError):
                said = msgspec.json.encode(_Said(self._lane, last))
                os.pwrite(handle, said, 0)
                os.ftruncate(handle, len(said))
            os.close(handle)

    def let_go(self) -> None:
        """Forget it in a forked process: its own would seem to live on there."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def beside(folder: Path, run_id: str) -> list[Beside]:
    """Return the writers that were ever beside a run's own, and forget those that are gone."""
    found = []
    for path in sorted(folder.glob(f"{run_id}.*{_ENDING}")):
        with suppress(OSError, msgspec.MsgspecError):
            found.append(_read(folder, path))
    return found


def _read(folder: Path, path: Path) -> Beside:
    said = msgspec.json.decode(path.read_bytes(), type=_Said)
    name = path.name.removesuffix(_ENDING)
    alive = said.last is None and _is_held(path)
    last = said.last if said.last is not None or alive else _last_on_disk(folder, name)
    if not alive:
        path.unlink(missing_ok=True)
    return Beside(
        writer=name.rpartition(".")[2],
        lane=said.lane,
        alive=alive,
        said=said.last is not None,
        last=last,
    )


def _is_held(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _last_on_disk(folder: Path, name: str) -> int | None:
    """Return the last number among the events that a writer left; None where it left none."""
    last = None
    for path in folder.glob(f"{name}.*{SUFFIX}"):
        with suppress(OSError):
            for line in path.read_bytes().split(b"\n")[1:-1]:
                with suppress(msgspec.MsgspecError, UnicodeDecodeError):
                    number = msgspec.json.decode(line, type=_Number).writer_seq
                    last = max(last or 0, number or 0) or None
    return last
