"""One repetition: a run, writers on it, a fault at a random point, and the proof afterwards."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import proof
from machines import until
from writers import Line, Writer, finish

if TYPE_CHECKING:
    from machines import ServerMachine, Stack


@dataclass(kw_only=True)
class Play:
    """A run and its writers; all of them tell what they know in one place."""

    stack: Stack
    servers: list[ServerMachine]
    rng: random.Random
    run_id: str = ""
    known: proof.Known = field(default_factory=proof.Known)
    writers: list[Writer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.run_id = self.run_id or self.create()

    def line(self, *, port: int | None = None) -> Line:
        """Return a connection to one of the servers, each time to any of them."""

        def address() -> tuple[str, int]:
            return "127.0.0.1", port or self.rng.choice(self.servers).port

        return Line(address, self.stack.workspace.api_key)

    def create(self) -> str:
        line = self.line()
        status, answer = line.send("POST", "/runs", b'{"name":"fault"}')
        line.close()
        assert status == 201, answer
        return answer["run_id"]

    def add(self, name: str, **more: Any) -> Writer:
        """Make a writer; each has chance of its own, so that threads do not share it."""
        rng = random.Random(self.rng.getrandbits(64))
        total = more.pop("total", None) or self.rng.randint(60, 120)
        line = more.pop("line", None) or self.line()
        made = Writer(name, self.run_id, line=line, rng=rng, total=total, known=self.known, **more)
        self.writers.append(made)
        return made

    def start(self, count: int = 3, **more: Any) -> None:
        for number in range(count):
            self.add(f"w{number}", **more)
        for writer in self.writers:
            writer.start()

    def reach(self, share: float) -> None:
        """Wait until this share of all events is acknowledged."""
        wanted = int(share * sum(one.total for one in self.writers))
        until(
            lambda: len(self.known.acknowledged) >= wanted or self.is_over(),
            f"{wanted} events are acknowledged",
        )

    def is_over(self) -> bool:
        return not any(one.is_alive() for one in self.writers)

    def look(self, *, complete: bool = False) -> list[str]:
        """Return what is wrong with the run as it is stored now."""
        with proof.snapshot(self.stack.owner_url) as connection:
            return proof.check(
                connection,
                self.stack.workspace.workspace_id,
                self.run_id,
                known=self.known,
                complete=complete,
            )

    def end(self) -> None:
        """Wait for the writers, end the run by the first of them, and prove everything."""
        finish(self.writers)
        first = self.writers[0]
        announced = {one.name: one.total for one in self.writers}
        first.total += 1
        announced[first.name] = first.total
        first.maker.end(first.total, announced)
        while first.next <= first.total:
            first.offer(range(first.next, first.total + 1))
        first.line.close()
        assert self.look(complete=True) == []

    def walls(self) -> list[str]:
        stack = self.stack
        workspace_id = stack.workspace.workspace_id
        return proof.check_walls(stack.owner_url, stack.database.app_url, workspace_id)


def end_all(*plays: Play) -> None:
    """End all, prove each, and then, when nobody writes any more, that the walls stand."""
    for play in plays:
        play.end()
    assert plays[0].walls() == []
