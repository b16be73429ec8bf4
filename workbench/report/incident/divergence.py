"""The first difference from the baseline: which message, both sides, and whose doing it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from workbench.diff.deltas import SECTIONS
from workbench.report import figures
from workbench.report.incident.payload import arguments, loaded
from workbench.report.incident.sides import added, two_sides
from workbench.report.markup import Html, Section, code, el, join, section

if TYPE_CHECKING:
    from workbench.report.incident.gather import Incident
    from workbench.report.incident.outside import Outside

_BEFORE = "every message before it is equal"
_OTHERS = "they were asked different things; what follows may differ for that alone"
_WHY = {
    "tool_output": f"the request was the same in both runs, and {_BEFORE}",
    "system_text": "the runs were instructed differently",
    "user_text": _OTHERS,
    "user_action": _OTHERS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The first difference: ``seq`` is the run's call, ``a`` and ``b`` the two texts."""

    kind: str
    seq: int | None
    what: Html
    why: Html
    a: str | None
    b: str | None
    name: str | None = None


def divergence(found: Incident) -> Section:
    """Return the first difference from the baseline, or why there is none to show."""
    heading = "First difference from the baseline"
    if found.baseline is None:
        return section(heading, el("p", "Not computed: ", found.baseline_reason, "."))
    change = first_change(found)
    chosen = el("p", "The baseline is ", found.baseline_reason, ".", class_="wb-small")
    if change is None:
        calls = figures.plural(found.run.calls.height, "call")
        same = join(el("b", "No difference. "), f"All messages of both runs are equal ({calls}).")
        return section(heading, el("p", same), chosen)
    names = (f"baseline, {_short(found.baseline)}", f"this run, {_short(found.run)}")
    return section(
        heading,
        el("p", capital(change.what), ": ", change.why, "."),
        two_sides(change.a, change.b, names=names),
        _as_conversation(found, change),
        _actions(found),
        _sections(found),
        chosen,
    )


def capital(text: Html) -> Html:
    """Return a sentence that begins as sentences do."""
    return Html(text[:1].upper() + text[1:])


def _short(run: Any) -> str:
    return str(run.name or run.source or run.run_id[:8])


def first_change(found: Incident) -> Change | None:
    """Return the first difference that no model chose, else the first message that differs."""
    outside = found.outside
    return _of_message(found) if outside is None else _of_call(outside)


def _of_call(outside: Outside) -> Change:
    name = code(outside.name)
    same = f"it was asked the same as in the baseline (#{outside.seq_a} there)"
    what, why = {
        "prompt": (
            join("the system prompt given to ", name),
            "both runs were asked the same, and no model chose the prompt",
        ),
        "documents": (join("what ", name, " retrieved"), same),
        "error": (join("the failure of ", name), f"{same}, and answered otherwise there"),
        "result": (join("what ", name, " gave back"), same),
    }[outside.kind]
    return Change(
        kind=outside.kind,
        seq=outside.seq,
        what=join(what, f" (#{outside.seq})"),
        why=join(why),
        a=outside.a,
        b=outside.b,
        name=outside.name,
    )


def _of_message(found: Incident) -> Change | None:
    if found.baseline is None:
        return None
    first = _plain(found.difference.first_divergence)
    if first.get("kind") in (None, "equal"):
        return None
    a = _message(found.baseline.messages, first.get("message_a"))
    b = _message(found.run.messages, first.get("message_b"))
    kind = str(first["kind"])
    what, why = _words(kind, a, b)
    return Change(kind=kind, seq=_call_of(found, b), what=what, why=why, a=_text(a), b=_text(b))


def _as_conversation(found: Incident, change: Change) -> Html | None:
    """Say where the conversations part, where a cause inside a call is shown instead."""
    first = _of_message(found)
    if first is None or first is change or first.seq == change.seq:
        return None
    return el("p", "Read as conversations, the runs part at ", first.what, ".")


def _plain(value: Any) -> Mapping[str, Any]:
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return value
    return {name: getattr(value, name) for name in dir(value) if not name.startswith("_")}


def _message(messages: pl.DataFrame, index: int | None) -> dict[str, Any] | None:
    if index is None or not 0 <= index < messages.height:
        return None
    return messages.row(index, named=True)


def _call_of(found: Incident, message: dict[str, Any] | None) -> int | None:
    if message is None:
        return None
    calls = found.run.calls
    mine = calls.filter((pl.col("ended_seq") == message["seq"]) | (pl.col("seq") == message["seq"]))
    return int(mine["seq"][0]) if mine.height else None


def _text(message: dict[str, Any] | None) -> str | None:
    if message is None:
        return None
    asked = [
        f"{c['name']}({arguments(loaded(c['arguments']))})" for c in message["tool_calls"] or []
    ]
    return "\n".join(p for p in (message["text"], *asked, message["error"]) if p)


def _words(kind: str, a: dict[str, Any] | None, b: dict[str, Any] | None) -> tuple[Html, Html]:
    """Return what differs, and why that matters."""
    one: dict[str, Any] = b or a or {}
    at = f"message {one.get('index')}"
    ended = "the baseline" if a is None else "this run"
    action = join(f"what the model did ({at}): ", _did(b), " here, ", _did(a), " in the baseline")
    said = {
        "tool_output": join("what ", code(one.get("tool") or "a tool"), f" gave back ({at})"),
        "system_text": join(f"the system prompt ({at})"),
        "user_text": join(f"what the user said ({at})"),
        "user_action": join(f"what the user did ({at})"),
        "assistant_action": action,
        "assistant_text": join(f"what the model said ({at})"),
        "length": join(f"the end of {ended} ({at})"),
    }
    return said.get(kind, join(at)), join(_WHY.get(kind, _BEFORE))


def _did(message: dict[str, Any] | None) -> Html:
    calls = (message or {}).get("tool_calls") or []
    if not calls:
        return join("an answer without a call")
    return join(*(code(call["name"]) for call in calls[:3]), by=", ")


def _actions(found: Incident) -> Html | None:
    """Say where the flat lists of tool calls part, when that is later than the first message."""
    action = _plain(found.difference.first_action)
    if not action.get("kind"):
        return el("p", "Both runs make the same tool calls, with the same arguments.")
    a, b = action.get("a"), action.get("b")
    sides = {
        "name": join(code(b), " here, ", code(a), " in the baseline"),
        "args": join(code(b or a), " in both, with other arguments"),
        "missing": join(code(b), " here, none in the baseline")
        if a is None
        else join("none here, ", code(a), " in the baseline"),
    }
    k = int(action["k"]) + 1
    return el("p", f"The tool calls part at the {_ordinal(k)}: ", sides[str(action["kind"])], ".")


def _sections(found: Incident) -> Html:
    """Count what differs in each part of the runs; a part that cannot be compared says why."""
    difference = found.difference
    counted = {name: rows for (name,), rows in difference.deltas.group_by("section")}
    terms = []
    for name in SECTIONS:
        said: Any = counted.get(name)
        if name in difference.missing:
            words = join("not computed: ", difference.missing[name])
        elif said is None:
            words = join("equal")
        else:
            words = _counted(said)
        terms += [el("dt", name), el("dd", words)]
    return el("dl", *terms, class_="wb-prov")


def _counted(deltas: pl.DataFrame) -> Html:
    first = deltas.row(0, named=True)
    at = f" #{first['seq_b'] or first['seq_a']}" if first["seq_b"] or first["seq_a"] else ""
    name = join(", first ", code(first["name"]), at) if first["name"] else None
    return join(figures.plural(deltas.height, "difference"), name)


def _ordinal(k: int) -> str:
    ending = "th" if 10 <= k % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(k % 10, "th")  # noqa: PLR2004
    return f"{k}{ending}"


def first_calls(found: Incident) -> Iterator[tuple[int, Html]]:
    """Yield the call where the run first differs, with what to say about it."""
    change = first_change(found)
    if change is not None and change.seq is not None:
        words = figures.clipped(added(change.a, change.b), 420)
        quote = el("div", words, class_="wb-quote") if change.kind != "error" else None
        yield change.seq, join("first difference from the baseline: ", change.what, quote)


def first_in_words(found: Incident) -> Html | None:
    """Return one sentence for the standfirst."""
    change = first_change(found)
    if found.baseline is None:
        return None
    if change is None:
        return join("Nothing in its messages differs from the baseline.")
    return join("It first differs from the baseline in ", el("b", change.what), ".")
