"""The folder of segments: what waits there, how much it may be, and what was left behind."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.errors import SpoolFailed, WorkbenchError
from workbench.spool.segment import SUFFIX, UNFINISHED, Segment, failed, writer_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from workbench.spool.header import Header

MOST_BYTES = 2**30
_LOOK_EVERY_S = 0.1
_MADE_WITHIN_S = 60.0


@dataclass(slots=True)
class SpoolFolder:
    """Where a user's recordings keep what no store has yet; ``most`` bytes of it altogether."""

    path: Path
    most: int = MOST_BYTES
    _seen: int = field(default=0, init=False)
    _looked_at: float = field(default=0.0, init=False)

    def segment(self, header: Header) -> Segment:
        """Make a writer's next segment."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SpoolFailed(
                "the spool's folder cannot be made",
                where=str(self.path),
                found=error.strerror,
                hint="Set WORKBENCH_SPOOL to a folder that this user may write.",
                full=False,
            ) from error
        name = f"{header.run.run_id}.{header.writer}.{header.number:06}{SUFFIX}"
        return Segment.create(self.path / name, header)

    # ---- how much it is

    def look(self) -> None:
        """Count what lies here, for `check_room`."""
        self._seen, self._looked_at = self.size(), time.monotonic()

    def check_room(self, size: int) -> None:
        """Refuse what would go beyond the bound; it is looked again before that, but not always."""
        full = self._seen + size > self.most
        if full and time.monotonic() - self._looked_at > _LOOK_EVERY_S:
            self.look()
            full = self._seen + size > self.most
        if full:
            raise SpoolFailed(
                "the spool is full",
                where=str(self.path),
                expected=f"at most {self.most} bytes",
                hint="`workbench spool flush` sends what waits; WORKBENCH_SPOOL_BYTES bounds it.",
                full=True,
            )
        self._seen += size

    def size(self) -> int:
        """Return how many bytes lie here, those of living writers too."""
        return sum(_size(path) for path in self.paths())

    def paths(self) -> list[Path]:
        """Return the segments' files, a writer's in their order.

        Raises
        ------
        SpoolFailed
            The folder cannot be read.
        """
        return self._files(SUFFIX)

    def _files(self, ending: str) -> list[Path]:
        try:
            with os.scandir(self.path) as found:
                return sorted(Path(one.path) for one in found if one.name.endswith(ending))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise failed(self.path, error) from error

    # ---- what was left behind

    def left_behind(self, tell: Callable[[WorkbenchError], None]) -> Iterator[list[Segment]]:
        """Take, writer by writer, the segments of those that are gone; tell what cannot be read."""
        self._tidy()
        writers: defaultdict[str, list[Path]] = defaultdict(list)
        for path in self.paths():
            writers[writer_of(path)].append(path)
        for paths in writers.values():
            taken = _taken(paths, tell)
            if taken:
                yield taken

    def _tidy(self) -> None:
        """Remove what a killed process had only begun to make."""
        for path in self._files(SUFFIX + UNFINISHED):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _MADE_WITHIN_S:
                    path.unlink()


def _taken(paths: list[Path], tell: Callable[[WorkbenchError], None]) -> list[Segment]:
    """Take a writer's segments as far as they can be read; none where it is alive."""
    taken: list[Segment] = []
    for path in paths:
        try:
            segment = Segment.take(path)
        except WorkbenchError as error:
            tell(error)
            break  # what comes behind it would not be taken by the store
        if segment is None:
            for one in taken:
                one.close()
            return []
        taken.append(segment)
    return taken


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # it was acknowledged meanwhile
