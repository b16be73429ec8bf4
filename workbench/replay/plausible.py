"""The calls of a replay that a simulator answers: what it gave, and where that is from."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from workbench import hashing
from workbench.capture import outcomes, scope
from workbench.capture.session import Answer
from workbench.replay import divergence as d

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workbench.capture.session import Opened
    from workbench.recording import RecordedCall
    from workbench.replay.engine import Question
    from workbench.replay.simulate import Abstained, Simulator


class Plausible:
    """Asks a simulator, and has its provenance written with each call that it answered."""

    def __init__(self, simulator: Simulator | None) -> None:
        self._simulator = simulator
        self._provenance: dict[str, dict[str, Any]] = {}

    def answer(
        self, asked: Question, opened: Opened, here: RecordedCall | None
    ) -> Answer | Abstained:
        """Return a plausible answer, or why there is none; ``here`` is what was recorded there."""
        from workbench.replay.simulate import Abstained, Simulator

        with _beside_the_agent():
            found = (self._simulator or Simulator())(asked)
        if isinstance(found, Abstained):
            return found
        self._provenance[opened.step_id] = found.provenance
        # a graph is resumed by what was recorded of the person it waits for
        person = here if here is not None and here.kind == asked.kind == "human" else None
        came = outcomes.Came(parsed=found.outcome, exception=found.exception, bodies=found.bodies)
        status = "error" if found.exception else "ok"
        return Answer(came=came, level="simulated", status=status, source=person)

    def annotation(self, opened: Opened) -> bytes | None:
        """Return the body of the event that says where a call's answer is from, once."""
        found = self._provenance.pop(opened.step_id, None)
        return None if found is None else hashing.dumps({"label": "simulated", "value": found})


def abstained(asked: Question, here: RecordedCall | None, found: Abstained) -> d.Divergence:
    """Say that nothing simulates a call."""
    return d.Divergence(
        kind="extra_call",
        seq=here.seq if here else None,
        lane=asked.lane,
        expected=d.summary(here),
        actual={**d.asked_for(asked), "distance": found.distance},
        cause=f"nothing simulates it: {found.reason}",
        fix="give its outcome or a rule (simulate=Simulator({name: outcome}, rules)), or a "
        "higher threshold",
    )


@contextmanager
def _beside_the_agent() -> Iterator[None]:
    """Let what is called and spawned be no call of the agent, and take no lane of it."""
    here, former = scope.current(), scope.raw()
    if here is None:
        yield
        return
    try:
        scope.put(scope.Scope(here.session, here.place, in_call=True, in_root=True))
        yield
    finally:
        scope.put(former)
