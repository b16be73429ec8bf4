"""Which calls of a replay or a fork may be made live, and within which bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.capture.effects import EFFECTS
from workbench.errors import UsageError
from workbench.replay.policy import HARMLESS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workbench.recording import Recording
    from workbench.replay.policy import Budget

APPROVED = ("approved", "approve", "allow", "live", True)
# what they ask costs something, or somebody's time, and changes nothing
_ASKED_LIVE = frozenset({"model", "retriever", "human"})
_SPENDING = frozenset({"model", "retriever"})


class Gate:
    """Lets models, retrievers and people be asked, and tools that only read, or are approved."""

    def __init__(self, effects: Mapping[str, Any] | None, recording: Recording) -> None:
        self._given = checked(effects)
        calls = recording.calls
        told = zip(calls.names, calls.effects, strict=True)
        self._recorded = {name: effect for name, effect in told if effect != "unknown"}

    def effect(self, name: str, own: str) -> str:
        """Return a tool's effect: as declared for this run, by itself, or in the recording."""
        given = self._given.get(name)
        if given is not None and given not in APPROVED:
            return str(given)
        return own if own != "unknown" else self._recorded.get(name, "unknown")

    def allows(self, kind: str, name: str, own: str) -> bool:
        """Say whether a call may be made live."""
        if kind in _ASKED_LIVE or self._given.get(name) in APPROVED:
            return True
        return self.effect(name, own) in HARMLESS


class Purse:
    """What is left of a budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.calls = 0
        self.usd = 0.0
        self.seconds = 0.0
        self._unpriced: str | None = None

    def lacks(self, kind: str) -> str | None:
        """Return why another call of a kind is beyond the budget; None where it is not."""
        most = self._budget
        if most.calls is not None and self.calls >= most.calls:
            return f"the budget of {most.calls} live calls is used up"
        if most.seconds is not None and self.seconds >= most.seconds:
            return f"the budget of {most.seconds:g} seconds is used up: {self.seconds:.1f} s"
        if most.usd is not None and kind in _SPENDING:
            if self._unpriced is not None:
                return f"what {self._unpriced} costs is not known, and a budget in USD was given"
            if self.usd >= most.usd:
                return f"the budget of {most.usd:g} USD is used up: {self.usd:.4f} USD"
        return None

    def take(self) -> None:
        """Count a call that begins."""
        self.calls += 1

    def spend(self, kind: str, name: str, *, usd: float | None, seconds: float) -> None:
        """Count what a call used."""
        self.seconds += seconds
        if usd is not None:
            self.usd += usd
        elif kind == "model":
            self._unpriced = name

    def as_dict(self) -> dict[str, Any]:
        """Return what was used."""
        return {"calls": self.calls, "usd": self.usd, "seconds": round(self.seconds, 3)}


def checked(effects: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return effects by tool name as a user gives them.

    Raises
    ------
    UsageError
        One of them is no effect, nor an approval.
    """
    for name, effect in (effects or {}).items():
        if effect not in APPROVED and effect not in EFFECTS:
            raise UsageError(
                f"no such effect for {name}", expected=[*EFFECTS, "approved"], found=effect
            )
    return dict(effects or {})
