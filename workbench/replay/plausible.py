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
    from workbench.replay.divergence import Divergence
    from workbench.replay.engine import Question
    from workbench.replay.session import ReplaySession
    from workbench.replay.simulate import Abstained, Simulator


class Plausible:
    """Asks a simulator, and has its provenance written with each call that it answered."""

    def __init__(self, session: ReplaySession, simulator: Simulator | None) -> None:
        self._session = session
        self._simulator = simulator
        self._provenance: dict[str, dict[str, Any]] = {}

    def answer(self, asked: Question, opened: Opened) -> Divergence | None:
        """Answer a call with what is plausible; return why nothing is."""
        session = self._session
        here = session.recorded(opened)
        found = session.looked_up(lambda: self._asked(asked, opened, here))
        if not isinstance(found, Answer):
            return _abstained(asked, here, found)
        stood_for = session.in_place_of(asked)
        if stood_for is not None:  # nobody waits for it any more, and nothing of it was given
            session.engine.take(stood_for, "simulated")
        session.passed_over(asked)
        session.improvised = True
        opened.answer = found
        opened.labels = session.labels("simulated", "simulated")
        session.log(opened, "simulated", None)
        session.turns.asked()
        return None

    def _asked(
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

    def told(self, opened: Opened) -> None:
        """Write, behind the start of a call, where its answer is from."""
        found = self._provenance.pop(opened.step_id, None)
        if found is not None:
            self._session.journal.put(
                "annotated",
                payload=hashing.dumps({"label": "simulated", "value": found}),
                step_id=opened.step_id,
                lane=opened.lane,
                **self._session.labels("simulated", "simulated"),
            )


def _abstained(asked: Question, here: RecordedCall | None, found: Abstained) -> Divergence:
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
