"""What happened: the timeline, and the calls that matter in order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from workbench.report import figures
from workbench.report.incident import evidence, payload
from workbench.report.incident.divergence import first_calls, first_change
from workbench.report.markup import Html, Section, chip, code, el, glyph, join, section, unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from workbench.report.incident.gather import Incident

_MOST = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One line of the story; ``hot`` where something went wrong or first differs."""

    seq: int
    kind: str | None
    text: Html
    hot: bool = False


def timeline(found: Incident) -> Any:
    """Return the run's timeline widget, the call to look at first selected."""
    widget = found.run.timeline()
    change = first_change(found)
    failed = evidence.failing(found.run.calls)["seq"]
    seq = change.seq if change is not None and change.seq is not None else None
    first = seq if seq is not None else failed[0] if len(failed) else None
    if first is not None:
        widget.selected = first
    return widget


def story(found: Incident) -> Section:
    """Return the heading of what happened, over the timeline."""
    return section("What happened", el("p", *_facts(found)))


def _facts(found: Incident) -> Iterator[Html]:
    info, calls = found.run.info, found.run.calls
    took = info.get("duration_ms")
    yield join(
        f"{figures.plural(calls.height, 'call')}, {int(info['model_calls'] or 0)} of them of models"
        f" and {int(info['tool_calls'] or 0)} of tools. "
    )
    if took is None:
        yield join("How long it took is ", unknown("the source records no times"), ". ")
    else:
        yield join(f"It took {figures.duration(took)}. ")
    yield join("It ended as ", el("b", found.run.status), ".")


def moments(found: Incident) -> Section:
    """Return the calls that matter: the question, what failed, what differs, the answer."""
    told = _merged(_moments(found))
    shown = told[:_MOST]
    total = found.run.calls.height
    words = (
        f"{figures.of(len(shown), total)} calls: what was asked, what failed, was repeated, took"
        " long or differs from the baseline, and the answer."
    )
    more = len(told) - len(shown)
    left = f" {figures.plural(more, 'more such call')} in run.calls." if more else ""
    lines = el("ol", *(_line(moment) for moment in shown), class_="wb-ev")
    return Section(
        html=el("div", lines, el("p", words, left, class_="wb-small"), class_="wb-doc wb-more")
    )


def _line(moment: Moment) -> Html:
    return el(
        "li",
        el("span", f"#{moment.seq}", class_="n"),
        el("span", glyph(moment.kind, label=moment.kind or "step")),
        el("div", moment.text),
        class_="hot" if moment.hot else None,
    )


def _merged(moments: Iterator[Moment]) -> list[Moment]:
    """Put the moments in order; what is known twice of one call becomes one line."""
    by_seq: dict[int, Moment] = {}
    for moment in moments:
        known = by_seq.get(moment.seq)
        by_seq[moment.seq] = moment if known is None else _joined(known, moment)
    return [by_seq[seq] for seq in sorted(by_seq)]


def _joined(a: Moment, b: Moment) -> Moment:
    text = join(a.text, el("div", b.text))
    return Moment(seq=a.seq, kind=a.kind, text=text, hot=a.hot or b.hot)


def _moments(found: Incident) -> Iterator[Moment]:
    calls = {call["seq"]: call for call in found.run.calls.iter_rows(named=True)}
    for tell in _TELLERS:
        yield from tell(found, calls)


_Calls = dict[int, dict[str, Any]]


def _question(found: Incident, calls: _Calls) -> Iterator[Moment]:
    said = asked_by_user(found)
    if said:
        human = next((s for s, c in calls.items() if c["kind"] == "human"), 1)
        yield Moment(
            seq=human,
            kind="human",
            text=join("asked: ", _quoted(said)),
        )


def asked_by_user(found: Incident) -> str | None:
    """Return the first words of a user, else the run's input as text."""
    users = found.run.messages.filter(pl.col("role") == "user")["text"].drop_nulls()
    if len(users):
        return str(users[0])
    given = found.run.input
    return None if given in (None, {}, []) else payload.plain(given)


def _failures(found: Incident, _: _Calls) -> Iterator[Moment]:
    bodies = found.run.bodies()
    for call in evidence.failing(found.run.calls).iter_rows(named=True):
        said = call["error"] or payload.answered(call, bodies) or "error"
        text = join(_request(call, found), el("div", said, class_="wb-quote bad"))
        yield Moment(seq=call["seq"], kind=call["kind"], text=text, hot=True)


def _repeats(found: Incident, _: _Calls) -> Iterator[Moment]:
    for row in evidence.repeated(found.run.calls).iter_rows(named=True):
        answers = figures.plural(row["answers"], "different answer")
        text = join(
            code(row["name"]),
            f" was called {row['times']} times with the same arguments, until #{row['last_seq']}: ",
            answers if row["answers"] > 1 else "always the same answer",
            f", {row['failed']} of {row['times']} failed." if row["failed"] else ".",
        )
        yield Moment(seq=row["first_seq"], kind=row["kind"], text=text, hot=row["failed"] > 0)


def _slow(found: Incident, _: _Calls) -> Iterator[Moment]:
    for row in evidence.slow(found.run.calls, found.neighbours).head(3).iter_rows(named=True):
        text = join(
            code(row["name"]), f" took {figures.duration(row['duration_ms'])}; ", usual(row)
        )
        yield Moment(seq=row["seq"], kind=row["kind"], text=text)


def usual(row: dict[str, Any]) -> str:
    """Return how long the same call takes in other runs."""
    p95 = figures.duration(row["p95"])
    return f"95 % of the {row['others']} such calls of other runs took up to {p95}."


def _differences(found: Incident, calls: _Calls) -> Iterator[Moment]:
    for seq, text in first_calls(found):
        if seq in calls:
            yield Moment(seq=seq, kind=calls[seq]["kind"], text=text, hot=True)


def _unlike(found: Incident, _: _Calls) -> Iterator[Moment]:
    """Tell the tool calls that the baseline does not make."""
    for call in evidence.unlike(found).iter_rows(named=True):
        effect = call["effect"]
        tone = chip(effect, tone="warn") if effect in evidence.HARM else None
        text = join("a call the baseline does not make: ", _request(call, found), " ", tone)
        yield Moment(seq=call["seq"], kind=call["kind"], text=text)


def _answer(found: Incident, calls: _Calls) -> Iterator[Moment]:
    models = [c for c in calls.values() if c["kind"] == "model" and c["status"] == "ok"]
    if not models:
        return
    last = models[-1]
    said = payload.answered(last, found.run.bodies())
    if said:
        last_word = "the last answer: " if found.run.status == "done" else "the model's last word: "
        text = join(last_word, _quoted(said))
        yield Moment(seq=last["seq"], kind="model", text=text)


def _request(call: dict[str, Any], found: Incident) -> Html:
    asked = figures.clipped(payload.asked(call, found.run.bodies()), 180)
    name = el("b", call["name"])
    return el("code", name, f"({asked})") if call["kind"] in ("tool", "retriever") else code(name)


def _quoted(text: str) -> Html:
    return join("“", figures.clipped(text, 320), "”")


_TELLERS: tuple[Callable[[Incident, _Calls], Iterator[Moment]], ...] = (
    _question,
    _differences,
    _failures,
    _unlike,
    _repeats,
    _slow,
    _answer,
)
