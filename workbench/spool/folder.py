"""The folder of segments: what waits there, how much it may be, and what was left behind."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workbench.errors import SpoolFailed
from workbench.spool.segment import SUFFIX, Header, Segment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOST_BYTES = 2**30
_LOOK_EVERY_S = 1.0


@dataclass(slots=True)
class SpoolFolder:
    """Where a user's recordings keep what no store has yet; ``most`` bytes of it altogether."""

    path: Path
    most: int = MOST_BYTES
    _seen: int = field(default=0, init=False)
    _seen_at: float = field(default=0.0, init=False)

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

    def check_room(self, size: int) -> None:
        """Refuse what would go beyond the bound; other processes are looked at once a second."""
        now = time.monotonic()
        if now - self._seen_at > _LOOK_EVERY_S:
            self._seen, self._seen_at = self.size(), now
        self._seen += size
        if self._seen > self.most:
            raise SpoolFailed(
                "the spool is full",
                where=str(self.path),
                expected=f"at most {self.most} bytes",
                hint="`workbench spool flush` sends what waits; WORKBENCH_SPOOL_BYTES bounds it.",
                full=True,
            )

    def size(self) -> int:
        """Return how many bytes lie here, those of living writers too."""
        return sum(_size(path) for path in self.paths())

    def paths(self) -> list[Path]:
        """Return the segments' files, a writer's in their order."""
        return sorted(self.path.glob(f"*{SUFFIX}"))

    def left_behind(self) -> Iterator[list[Segment]]:
        """Take, writer by writer, the segments of those that are gone."""
        writers: defaultdict[str, list[Path]] = defaultdict(list)
        for path in self.paths():
            writers[path.name.removesuffix(SUFFIX).rpartition(".")[0]].append(path)
        for paths in writers.values():
            taken = [segment for path in paths if (segment := Segment.take(path)) is not None]
            if len(taken) == len(paths):
                yield taken
            else:
                for segment in taken:
                    segment.close()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0  # it was acknowledged meanwhile
