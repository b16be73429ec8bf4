"""What one run answers to a batch, said once more in the plainest way: one event after another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """An event of a batch as the rules see it; `fault` is the code of one unsound by itself."""

    line: bytes
    writer: str
    number: int
    digest: str
    fault: str | None = None
    refers: frozenset[str] = frozenset()
    announced: dict[str, int] | None = None
    bodies: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Status and code of a refusal, or what was stored and which indexes were refused."""

    code: str | None = None
    accepted: tuple[int, ...] = ()
    duplicates: int = 0
    rejected: tuple[tuple[int, str], ...] = ()

    def seen(self) -> tuple[Any, ...]:
        """Return what an answer shows of it."""
        return self.code, len(self.accepted), self.duplicates, self.rejected


class Rules:
    """The log of one run as far as the given writers see it."""

    def __init__(self) -> None:
        self.closed = False
        self.last: dict[str, int] = {}
        self.final: dict[str, int] = {}
        self.digests: dict[tuple[str, int], str] = {}
        self.bodies: set[str] = set()

    def answer(self, batch: list[Item], *, bodies: set[str], atomic: bool) -> Expected:
        """Return what has to come back, and move on by what was accepted."""
        faults = [(index, item.fault) for index, item in enumerate(batch) if item.fault]
        if atomic and faults:
            return Expected(code=faults[0][1])
        before = self._copy()
        self.bodies |= bodies
        accepted, duplicates, rejected = [], 0, []
        for index, item in enumerate(batch):
            if item.fault:
                rejected.append((index, item.fault))
                continue
            code = self._refused(item)
            if code == "duplicate":
                duplicates += 1
            elif code:
                rejected.append((index, code))
            else:
                self._take(item)
                accepted.append(index)
        if atomic and rejected:
            self.__dict__.update(before)
            return Expected(code=rejected[0][1])
        return Expected(accepted=tuple(accepted), duplicates=duplicates, rejected=tuple(rejected))

    def _copy(self) -> dict[str, Any]:
        return {
            name: value if isinstance(value, bool) else value.copy()
            for name, value in self.__dict__.items()
        }

    def _refused(self, item: Item) -> str | None:
        last = self.last.get(item.writer, 0)
        if item.number <= last:
            same = self.digests[item.writer, item.number] == item.digest
            return "duplicate" if same else "sequence_conflict"
        ends = item.announced is not None
        if self.closed and (ends or item.number > self.final.get(item.writer, 0)):
            return "run_closed"
        if item.number != last + 1:
            return "sequence_gap"
        if item.refers - self.bodies:
            return "missing_bodies"
        return "invalid_event" if ends and not self._fits(item) else None

    def _fits(self, item: Item) -> bool:
        delivered = self.last | {item.writer: item.number}
        return all(n >= delivered.get(name, 0) for name, n in item.announced.items())

    def _take(self, item: Item) -> None:
        self.last[item.writer] = item.number
        self.digests[item.writer, item.number] = item.digest
        if item.announced is not None:
            self.closed = True
            self.final |= {item.writer: item.number} | item.announced
