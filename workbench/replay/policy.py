"""By what a replay answers each call, and what becomes of one that nothing answers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from workbench.errors import UsageError
from workbench.schema import Mode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

OnMiss = Literal["fail", "error", "simulate", "live"]
Order = Literal["declared", "completed"]
MODES: tuple[str, ...] = get_args(Mode)
MISSES: tuple[str, ...] = get_args(OnMiss)
ORDERS: tuple[str, ...] = get_args(Order)
HARMLESS = ("pure", "read")
_SCOPES = ("lane", "tool", "kind")  # the narrowest first


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What the live calls of one replay may use together; None is no bound.

    ``calls`` counts them, ``usd`` sums what they say they cost, ``seconds`` how long they took.
    """

    calls: int | None = None
    usd: float | None = None
    seconds: float | None = None

    @classmethod
    def of(cls, given: Budget | Mapping[str, Any] | None) -> Budget:
        """Return a budget from what a user gives for one.

        Raises
        ------
        UsageError
            It has an unknown key, or a bound that is no positive number.
        """
        if given is None or isinstance(given, Budget):
            return given or cls()
        given = {name: bound for name, bound in given.items() if bound is not None}
        for name, bound in given.items():
            if name not in cls.__slots__:
                raise UsageError("no such budget", expected=list(cls.__slots__), found=name)
            is_number = isinstance(bound, (int, float)) and not isinstance(bound, bool)
            if not is_number or not (math.isfinite(bound) and bound >= 0):
                raise UsageError(
                    f"the budget of {name} is no number",
                    where="budget",
                    found=bound,
                    hint="a bound is 0 or more; what is not named is not bounded",
                )
        return cls(**given)

    def as_dict(self) -> dict[str, Any]:
        """Return its bounds as JSON-ready fields."""
        bounds = {name: getattr(self, name) for name in self.__slots__}
        return {name: bound for name, bound in bounds.items() if bound is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The mode of a replay, its exceptions, and what follows a miss.

    ``overrides`` maps ``kind:KIND``, ``tool:NAME`` (the name of any call) or ``lane:LANE`` (it and
    what lies below it) to a mode; the narrowest wins: lane, then name, then kind. Of two lanes the
    longer one wins.
    """

    mode: Mode = "exact"
    on_miss: OnMiss = "fail"
    overrides: Mapping[str, Mode] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)

    @classmethod
    def of(
        cls,
        mode: str,
        *,
        on_miss: str = "fail",
        overrides: Mapping[str, str] | None = None,
        budget: Budget | Mapping[str, Any] | None = None,
    ) -> Policy:
        """Return a policy from what a user gives for one.

        Raises
        ------
        UsageError
            A word or a key that is not known, or a policy for misses where a miss is the end.
        """
        _check("replay mode", mode, MODES)
        _check("miss policy", on_miss, MISSES)
        for key, its in (overrides or {}).items():
            scope, colon, name = key.partition(":")
            if scope not in _SCOPES or not colon or not name:
                expected = ["kind:KIND", "tool:NAME", "lane:LANE"]
                raise UsageError("no such override", expected=expected, found=key)
            _check(f"mode for {key}", its, MODES)
        made = cls.from_dict(
            {"mode": mode, "on_miss": on_miss, "overrides": overrides or {}, "budget": {}}
        )
        if on_miss != "fail" and set(made.modes) == {"exact"}:
            raise UsageError(
                "an exact replay ends at its first miss",
                where="on_miss",
                found=f"on_miss={on_miss!r}",
                hint='mode="cached" goes on as on_miss says',
            )
        return cls(
            mode=made.mode,
            on_miss=made.on_miss,
            overrides=made.overrides,
            budget=Budget.of(budget),
        )

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Policy:
        """Return the policy that `as_dict` told."""
        return cls(
            mode=told["mode"],
            on_miss=told["on_miss"],
            overrides=dict(told["overrides"]),
            budget=Budget(**told["budget"]),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready fields."""
        return {
            "mode": self.mode,
            "on_miss": self.on_miss,
            "overrides": dict(sorted(self.overrides.items())),
            "budget": self.budget.as_dict(),
        }

    def mode_of(self, kind: str, name: str, lane: str) -> Mode:
        """Return by what a call is answered."""
        if not self.overrides:
            return self.mode
        for key in (*_lanes(lane), f"tool:{name}", f"kind:{kind}"):
            found = self.overrides.get(key)
            if found is not None:
                return found
        return self.mode

    @property
    def modes(self) -> Iterator[Mode]:
        """The modes that any call may have."""
        yield self.mode
        yield from self.overrides.values()

    @property
    def may_call(self) -> bool:
        """Whether any call may be made live."""
        return self.on_miss == "live" or "live" in self.modes

    @property
    def may_simulate(self) -> bool:
        """Whether any call may be answered by a simulator."""
        return self.on_miss == "simulate" or "simulated" in self.modes


def _check(what: str, found: str, known: tuple[str, ...]) -> None:
    if found not in known:
        raise UsageError(f"no such {what}", expected=list(known), found=found)


def _lanes(lane: str) -> Iterator[str]:
    while lane:
        yield f"lane:{lane}"
        lane = lane.rpartition("/")[0]
