"""The first thing that came in differently though the same was asked: a cause, not a choice.

A model's own words differ between any two live runs. What a tool gave back to the same request,
what the same query retrieved, or what the system prompt said was chosen by no model of the run.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from workbench.report.incident import payload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workbench.report.incident.gather import Incident
    from workbench.store import Run

Kind = Literal["prompt", "documents", "error", "result"]
_ANSWERING = ("tool", "retriever")
_VOLATILE = re.compile(
    r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?(?:Z|[+-]\d\d:?\d\d)?"
    r"|\b(?:[A-Za-z]{1,6}-)?(?=[0-9A-Fa-f-]*\d)[0-9A-Fa-f]{6,}(?:-[0-9A-Fa-f]{4,})*\b"
)

Call = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """A call whose request is the baseline's and whose answer is not."""

    kind: Kind
    name: str
    seq: int
    seq_a: int
    a: str
    b: str


def first_outside(found: Incident) -> Outside | None:
    """Return the first of them in the run's order, or null.

    Ids and times inside the answers are left out of the comparison. A failure that a later call
    with the same request made good is no cause by itself.
    """
    if found.baseline is None:
        return None
    known = [*_prompts(found), *_answers(found.baseline, found.run)]
    return min(known, key=lambda outside: outside.seq, default=None)


def _prompts(found: Incident) -> Iterator[Outside]:
    # prompts name the customer: of two questions they differ for that alone
    if not found.same_question:
        return
    changed = found.difference.deltas.filter(section="prompts", name="system", change="changed")
    for delta in changed.drop_nulls(["seq_a", "seq_b"]).iter_rows(named=True):
        call = found.run.calls.row(by_predicate=pl.col("seq") == delta["seq_b"], named=True)
        yield Outside(
            kind="prompt",
            name=str(call["name"]),
            seq=delta["seq_b"],
            seq_a=delta["seq_a"],
            a=delta["a"] or "",
            b=delta["b"] or "",
        )


def _answers(baseline: Run, run: Run) -> Iterator[Outside]:
    there = {key: _good(calls) for key, calls in _by_request(baseline).items()}
    here = _by_request(run)
    for signature, calls in here.items():
        good = there.get(signature)
        if good:
            yield from _unlike(calls, good)
            if calls[-1]["status"] == "error":
                first = _first_alike(calls[-1], here)
                yield _outside("error", first, there.get(first["signature"]) or good)


def _by_request(run: Run) -> dict[str, list[Call]]:
    calls: dict[str, list[Call]] = defaultdict(list)
    wanted = run.calls.filter(pl.col("kind").is_in(_ANSWERING) & pl.col("signature").is_not_null())
    for call in wanted.iter_rows(named=True):
        calls[call["signature"]].append(call | {"said": _said(call, run)})
    return calls


def _said(call: Call, run: Run) -> str:
    if call["kind"] == "retriever" and call["status"] == "ok":
        documents = payload.documents(call).items()
        return "\n".join(f"[{key}] {one.get('page_content', '')}" for key, one in documents)
    return payload.answered(call, run.bodies()) or ""


def _mask(text: str) -> str:
    return _VOLATILE.sub("", text)


def _good(calls: list[Call]) -> list[Call]:
    return [call for call in calls if call["status"] == "ok"]


def _unlike(calls: list[Call], good: list[Call]) -> Iterator[Outside]:
    known = {_mask(call["said"]) for call in good}
    for call in _good(calls):
        if _mask(call["said"]) not in known:
            kind: Kind = "documents" if call["kind"] == "retriever" else "result"
            yield _outside(kind, call, good)


def _first_alike(failed: Call, here: dict[str, list[Call]]) -> Call:
    """Return the first call of the run that failed in the same words."""
    words = _mask(str(failed["error"]))
    errors = [c for calls in here.values() for c in calls if c["status"] == "error"]
    alike = [call for call in errors if _mask(str(call["error"])) == words]
    return min(alike, key=lambda call: call["seq"], default=failed)


def _outside(kind: Kind, call: Call, good: list[Call]) -> Outside:
    return Outside(
        kind=kind,
        name=str(call["name"]),
        seq=call["seq"],
        seq_a=good[0]["seq"],
        a=good[0]["said"],
        b=call["said"],
    )
