"""Answers from runs akin to the recorded one: those it came from, then others of the same agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from workbench import ours
from workbench.errors import RunNotFound
from workbench.replay.engine import Match
from workbench.replay.policy import HARMLESS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workbench.recording import RecordedCall, Recording
    from workbench.replay.engine import Question
    from workbench.store.run import Run

MOST_ANCESTORS = 50
MOST_OF_COHORT = 20  # the newest


class Kin:
    """Gives a call of a kindred run that asked the same, if it only reads; each answers once.

    Runs are read when a call misses, and no more of them than it takes.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._read: list[_One] = []
        self._rest = self._others()

    def __call__(self, asked: Question, effect: str) -> Match | None:
        """Return the first such call, nearest kin first; None where the call may change things.

        Raises
        ------
        WorkbenchError
            A run could not be read.
        """
        # asked in the middle of a replay, whose guard lets nobody connect but us
        return ours.apart(lambda: self.first(asked.signature, effect), name="workbench-kin")

    def first(self, signature: str, effect: str) -> Match | None:
        """Do so by what was asked alone."""
        if effect not in HARMLESS:
            return None
        for one in self._all():
            call = one.take(signature)
            if call is not None:
                return Match(call=call, level="kin", bodies=one.recording.bodies, run_id=one.run_id)
        return None

    def _all(self) -> Iterator[_One]:
        yield from self._read
        for one in self._rest:
            self._read.append(one)
            yield one

    def _others(self) -> Iterator[_One]:
        seen = {self._run.run_id}
        for run in (*self._ancestors(), *self._cohort()):
            if run.run_id not in seen:
                seen.add(run.run_id)
                yield _One(run.run_id, run.recording())

    def _ancestors(self) -> Iterator[Run]:
        run = self._run
        for _ in range(MOST_ANCESTORS):
            parent = run.info.get("parent_run_id")
            if parent is None:
                return
            try:
                run = run.store.run(str(parent))
            except RunNotFound:
                return  # it is in another store, or gone
            yield run

    def _cohort(self) -> Iterator[Run]:
        info = self._run.info
        if info.get("agent") is None:
            return
        akin = (
            self._run.store.runs()
            .filter(
                (pl.col("agent") == info["agent"])
                & pl.col("name").eq_missing(info.get("name"))
                & pl.col("mode").is_null()  # a replay's answers are another run's
            )
            .sort("started_at", descending=True, nulls_last=True)
            .head(MOST_OF_COHORT)
        )
        for run_id in akin["run_id"]:
            yield self._run.store.run(run_id)


class _One:
    def __init__(self, run_id: str, recording: Recording) -> None:
        self.run_id, self.recording = run_id, recording
        # by signature the numbers of calls that have not answered yet, the first of them last
        self._left: dict[str, list[int]] = {}

    def take(self, signature: str) -> RecordedCall | None:
        calls = self.recording.calls
        left = self._left.setdefault(signature, calls.signed(signature)[::-1])
        while left:
            call = calls[left.pop()]
            if call.status == "ok":
                return call
        return None
