"""A diff in words that a program can write: counts and names, the finding first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from workbench.diff.deltas import SECTIONS, Section
from workbench.diff.outcomes import cost_of

if TYPE_CHECKING:
    from workbench.diff.align import Pair
    from workbench.diff.result import Diff
    from workbench.diff.sides import Side

_WORDS = {"changed": "changed", "only_a": "only in A", "only_b": "only in B", "moved": "moved"}


def summary(found: Diff) -> str:
    """Return the finding, the runs, the first action and a line for each section."""
    lines = [finding(found), f"A  {_run(found.a)}", f"B  {_run(found.b)}"]
    if found.first_action is not None:
        lines.append(action(found))
    lines += [f"{name.capitalize()}: {section_line(found, name)}." for name in SECTIONS]
    return "\n".join(lines)


def finding(found: Diff) -> str:
    """Return the first divergence as a sentence."""
    at, kind = found.first_divergence.message_a, found.first_divergence.kind
    call = leading_call(found)
    if call is not None:
        return f"First divergence: {_of_call(call)}."
    if at is None:
        return _no_divergence(found)
    if kind == "length":
        ended, other = ("A", "B") if len(found.a.rows) < len(found.b.rows) else ("B", "A")
        return f"First divergence: {ended} ends after {at:,} messages, {other} goes on."
    return f"First divergence: message {at:,}, {_what(found, at, kind)}."


def leading_call(found: Diff) -> Pair | None:
    """Return the first call that differs where it ended before the messages part, else null.

    A recorded run's messages stand lane by lane; what a retriever found is in none of them.
    """
    pair, at = found.first_call, found.first_divergence.message_a
    if pair is None or (pair.match != "request" and _in_order(found)):
        return None
    if at is None:
        return pair
    sides = ((pair.a, found.a), (pair.b, found.b))
    said = [
        (call, side.rows[at]["seq"] or 0) for call, side in sides if call and at < len(side.rows)
    ]
    if said and all(seq < call.seq for call, seq in said):
        return None
    if _in_order(found) and any((call.ended_seq or call.seq) >= seq for call, seq in said):
        return None
    return pair


def _in_order(found: Diff) -> bool:
    """Say whether the messages of both runs stand in the order of their events."""
    seqs = [[row["seq"] or 0 for row in side.rows] for side in (found.a, found.b)]
    return all(listed == sorted(listed) for listed in seqs)


def _of_call(pair: Pair) -> str:
    call = pair.a or pair.b
    name = call.name if call else ""
    what = {
        "request": f"what {name} gave back to the same request",
        "outcome": f"what {name} was asked",
        "name": f"what {name} was asked and gave back",
        "moved": f"where {name} was called",
        "only_a": f"{name} is called only in A",
        "only_b": f"{name} is called only in B",
    }.get(pair.match, name)
    places = [f"seq {c.seq} in {n}" for n, c in (("A", pair.a), ("B", pair.b)) if c is not None]
    return f"{what} ({', '.join(places)})"


def _no_divergence(found: Diff) -> str:
    messages, calls = len(found.a.rows), len(found.pairs)
    same = sum(pair.equal for pair in found.pairs)
    if same < calls:
        return (
            f"No divergence in {messages:,} messages; {calls - same:,} of {calls:,} calls differ."
        )
    return f"No difference: all {messages:,} messages and {calls:,} calls are the same."


def _what(found: Diff, at: int, kind: str) -> str:
    left, right = found.a.rows[at], found.b.rows[at]
    if kind == "role":
        return f"the {left['role']} speaks in A, the {right['role']} in B"
    if kind == "tool_output":
        return f"what {left['tool'] or right['tool'] or 'a tool'} gave back"
    role, _, what = kind.rpartition("_")
    if what == "text":
        only = " (white space only)" if left["text"].split() == right["text"].split() else ""
        return f"what the {role} said{only}"
    return f"what the {role} called: {_called(left)} in A, {_called(right)} in B"


def _called(row: dict[str, Any]) -> str:
    return ", ".join(call["name"] for call in row["tool_calls"]) or "nothing"


def action(found: Diff) -> str:
    """Return the first tool call that differs as a sentence."""
    first = found.first_action
    if first is None:
        return "First action that differs: none."
    if first.kind == "missing":
        where, name = ("A", first.a) if first.a is not None else ("B", first.b)
        return f"First action that differs: call {first.k:,}, {name}, is only in {where}."
    if first.kind == "name":
        return f"First action that differs: call {first.k:,}, {first.a} in A, {first.b} in B."
    return f"First action that differs: call {first.k:,}, {first.a} with other arguments."


def section_line(found: Diff, section: Section) -> str:
    """Return a section's counts, or why it is not computed."""
    if section in found.missing:
        return f"not computed: {found.missing[section]}"
    parts = [_counts(found, section)]
    if section == "cost":
        parts += _figures(found)
    if section in found.remarks:
        parts.append(found.remarks[section])
    return "; ".join(parts)


def _counts(found: Diff, section: Section) -> str:
    changes = found.deltas.filter(pl.col("section") == section)["change"].to_list()
    if not changes:
        return "same"
    said = [f"{changes.count(c):,} {word}" for c, word in _WORDS.items() if c in changes]
    return f"{len(changes):,} {'delta' if len(changes) == 1 else 'deltas'} ({', '.join(said)})"


def _figures(found: Diff) -> list[str]:
    took = (found.a.duration_ms, found.b.duration_ms)
    money = (cost_of(found.a), cost_of(found.b))
    said = []
    if None not in took:
        said.append(f"took {span(took[0])} in A, {span(took[1])} in B")
    if None not in money:
        said.append(f"cost {usd(money[0])} in A, {usd(money[1])} in B")
    return said


def _run(side: Side) -> str:
    return f"{side.title} · {side.status} · {len(side.rows):,} messages"


_TEN, _MINUTE, _HOUR = 10, 60, 3_600
_CENT = 0.01


def span(ms: float | None) -> str:
    """Return a duration as ``179 ms``, ``3.58 s``, ``1 min 11 s``, ``2 h 05 min``.

    Examples
    --------
    >>> span(179), span(3580), span(36000), span(71000), span(7500000), span(None)
    ('179 ms', '3.58 s', '36.0 s', '1 min 11 s', '2 h 05 min', 'unknown')
    """
    if ms is None:
        return "unknown"
    seconds = ms / 1000
    if round(ms) < 1000:  # noqa: PLR2004 - milliseconds of a second
        return f"{ms:.0f} ms"
    if round(seconds, 1) < _MINUTE:
        return f"{seconds:.{2 if round(seconds, 2) < _TEN else 1}f} s"
    if round(seconds) < _HOUR:
        return f"{round(seconds) // _MINUTE} min {round(seconds) % _MINUTE:02} s"
    minutes = round(seconds / _MINUTE)
    return f"{minutes // 60} h {minutes % 60:02} min"


def usd(value: float | None) -> str:
    """Return money as ``$0.0046``, ``$0.343``, ``$56.20``.

    Examples
    --------
    >>> usd(0.0046), usd(0.343), usd(56.2), usd(0), usd(None)
    ('$0.0046', '$0.343', '$56.20', '$0', 'unknown')
    """
    if value is None:
        return "unknown"
    if value == 0:
        return "$0"
    return f"${value:.{4 if value < _CENT else 3 if value < 1 else 2}f}"
