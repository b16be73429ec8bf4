"""What is recorded: ordinary requests over two days, and five things that go wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from workbench.examples.support_desk import CaseFile, draw_case
from workbench.examples.support_desk.knowledge import KnowledgeBase
from workbench.examples.support_desk.orders import catalogue

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

RUNS = 200
DAY = 24.0
RULE_DAYS = 30
UNTOUCHED = ("parcel", "address", "sign_in")
HOURS = [0.2] * 6 + [1, 3, 6, 8, 8, 7, 6, 7, 8, 8, 7, 6, 5, 4, 4, 3, 2, 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Something that goes wrong: for whom, when (hours from the start), and what made it so."""

    name: str
    settings: dict[str, Any]
    intents: tuple[str, ...]
    begins: float
    ends: float
    runs: int = 4
    breaks_off: bool = False


CAUSES = (
    Cause(
        name="poisoned_document",
        settings={"knowledge": "kb-42"},
        intents=("damaged", "regret"),
        begins=9.5,
        ends=11.5,
    ),
    Cause(
        name="wrong_refund_amount",
        settings={"ledger": "l-9"},
        intents=("damaged", "regret"),
        begins=14.0,
        ends=16.0,
    ),
    Cause(
        name="retrieval_regression",
        settings={"ranking": "density"},
        intents=("damaged", "regret"),
        begins=17.5,
        ends=20.0,
    ),
    Cause(
        name="tool_times_out",
        settings={"payments": "eu-2"},
        intents=("damaged", "regret"),
        begins=DAY + 8.5,
        ends=DAY + 10.5,
        breaks_off=True,
    ),
    Cause(
        name="prompt_change",
        settings={"prompts": "p-12"},
        intents=("damaged", "regret"),
        begins=DAY + 13.0,
        ends=DAY + 15.5,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One run to record.

    ``twin`` is the same request without the cause, its baseline. ``fails`` asks for a run that
    breaks off.
    """

    number: int
    at: datetime
    case: CaseFile
    settings: dict[str, Any] = field(default_factory=dict)
    cause: Cause | None = None
    twin: int | None = None
    fails: bool = False


def plan(rng: random.Random, *, start: datetime, runs: int = RUNS) -> list[Planned]:
    """Return the runs in the order of their numbers: incidents, their baselines, ordinary ones."""
    planned = list(_incidents(rng, start))
    while len(planned) < runs:
        planned.append(_ordinary(rng, start, number=len(planned)))
    return planned


def _incidents(rng: random.Random, start: datetime) -> Iterator[Planned]:
    number = 0
    for cause in CAUSES:
        for count in range(cause.runs):
            case = _refundable(rng, cause)
            at = start + timedelta(hours=rng.uniform(cause.begins, cause.ends))
            before = start + timedelta(hours=cause.begins - rng.uniform(0.2, 1.5))
            settings = _settings(rng)
            yield Planned(
                number=number,
                at=at,
                case=case,
                settings=settings | cause.settings,
                cause=cause,
                twin=number + 1,
                fails=cause.breaks_off and count == 0,
            )
            yield Planned(number=number + 1, at=before, case=case, settings=settings)
            number += 2


def _refundable(rng: random.Random, cause: Cause) -> CaseFile:
    """Draw a request that the rules grant and the search finds the rule for."""
    recent = {o["id"] for o in catalogue() if (o["delivered_days"] or RULE_DAYS) < RULE_DAYS}
    while True:
        case = draw_case(rng, intent=rng.choice(cause.intents))
        text = case.input["messages"][0]["content"]
        found = [_titles(text, release) for release in ("kb-41", "kb-42")]
        if case.title.rpartition(" ")[2] in recent and all("Refunds" in f for f in found):
            return case


def _titles(text: str, release: str) -> list[str]:
    return [d.metadata["title"] for d in KnowledgeBase(release=release).invoke(text)]


def _ordinary(rng: random.Random, start: datetime, *, number: int) -> Planned:
    case = draw_case(rng)
    while True:
        hour = DAY * rng.randrange(2) + rng.choices(range(24), HOURS)[0] + rng.random()
        window = next((c for c in CAUSES if c.begins <= hour < c.ends), None)
        if window is None or case.intent in UNTOUCHED:
            break
    changed = window.settings if window else {}
    return Planned(
        number=number,
        at=start + timedelta(hours=hour),
        case=case,
        settings=_settings(rng) | changed,
    )


def _settings(rng: random.Random) -> dict[str, Any]:
    return {"seed": rng.randrange(10**6), "temperature": rng.choice([0.4, 0.8, 0.8, 1.0])}
