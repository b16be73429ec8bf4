"""A diff as HTML: the finding and the changed text, six sections, the calls side by side."""

from __future__ import annotations

from functools import cache
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from workbench.diff import lines
from workbench.diff.called import result_text
from workbench.diff.deltas import SECTIONS, as_text
from workbench.diff.summary import action, finding, leading_call, section_line, span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from workbench.diff.align import Pair
    from workbench.diff.result import Diff
    from workbench.diff.sides import CallView, Side

_LONGEST = 2_000
_HEAD = 120
_MOST_ROWS = 400
_ENDED_WELL = ("done", "running", "waiting")
_MINUS = "\N{MINUS SIGN}"
_LABELS = {"±": "changed", "+": "only in B", _MINUS: "only in A", "↕": "in another lane"}
_GLYPHS = {  # 12 by 12, filled, even-odd
    "model": "M6 1a5 5 0 1 0 0 10A5 5 0 1 0 6 1Z",
    "tool": "M1.5 1.5h9v9h-9Z",
    "retriever": "M.6 1.6h10.8L6 11.2Z",
    "human": (
        "M6 .6a2.6 2.6 0 1 1 0 5.2A2.6 2.6 0 1 1 6 .6ZM1 11.6C1 8.4 3.2 6.8 6 6.8s5 1.6 5 4.8Z"
    ),
}
_OTHER_GLYPH = "M1 5h10v2H1Z"


def page(found: Diff) -> str:
    """Return a whole page."""
    title = escape(f"Diff of {found.a.title} and {found.b.title}")
    head = (
        '<meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title>"
    )
    body = fragment(found, theme="auto")
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def fragment(found: Diff, *, theme: str | None = None) -> str:
    """Return the diff with its styles, to stand inside another page."""
    themed = f' data-theme="{theme}"' if theme else ""
    return "".join(
        [
            f'<section class="wb wb-diff"{themed} aria-label="Difference between two runs">',
            f"<style>{_styles()}</style>",
            _head(found),
            _runs(found),
            _lead(found),
            _sections(found),
            '<div class="al">',
            *_aligned(found),
            "</div>",
            _deltas(found),
            "</section>",
        ]
    )


@cache
def _styles() -> str:
    here = files("workbench")
    both = (here / "widgets" / "tokens.css", here / "diff" / "diff.css")
    return "\n".join(path.read_text(encoding="utf-8") for path in both)


def _head(found: Diff) -> str:
    at = found.first_divergence.message_a
    figures = {"deltas": f"{found.deltas.height:,}"}
    if at is not None:
        figures = {"message": f"{at:,}", **figures}
    figures["took"] = f"{_took(found.a)} · {_took(found.b)}"
    listed = "".join(f"<div><dt>{k} </dt><dd>{v}</dd></div>" for k, v in figures.items())
    said = escape(finding(found).rstrip("."))
    return f'<div class="head"><h2>{said}</h2><dl class="figs">{listed}</dl></div>'


def _took(side: Side) -> str:
    if side.duration_ms is None:
        return '<span class="unk" title="the source records no duration">unknown</span>'
    return span(side.duration_ms)


def _runs(found: Diff) -> str:
    sides = (("", "A", found.a), (" b", "B", found.b))
    return f'<div class="pair">{"".join(_run(*one) for one in sides)}</div>'


def _run(style: str, letter: str, side: Side) -> str:
    status = "" if side.status in _ENDED_WELL else ' class="bad"'
    return (
        f'<span><i class="ab{style}">{letter}</i> {escape(side.title)} '
        f"<span{status}>{escape(side.status)}</span>"
        f'<span class="cap">{len(side.rows):,} messages</span></span>'
    )


def _lead(found: Diff) -> str:
    at = found.first_divergence.message_a
    call = leading_call(found)
    if at is None and call is None and found.first_action is None:
        return ""
    said = f"<p>{escape(action(found))}</p>"
    if call is not None:
        a, b = (_call_text(one) for one in (call.a, call.b))
    elif at is not None:
        a, b = (_payload(side, at) for side in (found.a, found.b))
    else:
        return f'<div class="lead">{said}</div>'
    return f'<div class="lead">{said}<div class="box">{_line_table(a, b)}</div></div>'


def _call_text(call: CallView | None) -> str:
    """Return a call as text: what was asked, what came back."""
    if call is None:
        return ""
    asked = {k: v for k, v in call.request.items() if k != "messages"}
    listed = [f"{name}: {as_text(value)}" for name, value in sorted(asked.items())]
    documents = (call.outcome or {}).get("documents") or []
    came = [str(document.get("page_content")) for document in documents] or [_outcome(call)]
    return "\n".join([*listed, *came])


def _payload(side: Side, at: int) -> str:
    """Return a message as text: what was said, called, and went wrong."""
    if at >= len(side.rows):
        return ""
    row = side.rows[at]
    calls = [f"{call['name']}({call['arguments']})" for call in row["tool_calls"]]
    error = [f"error: {row['error']}"] if row["error"] else []
    return "\n".join([*([row["text"]] if row["text"] else []), *calls, *error])


def _line_table(a: str, b: str) -> str:
    rows = "".join(_line(row) for row in lines.compared(a, b))
    heads = '<th colspan="3"><i class="ab">A</i></th><th colspan="3"><i class="ab b">B</i></th>'
    widths = '<col style="width:34px"><col style="width:16px"><col>' * 2
    columns = f"<colgroup>{widths}</colgroup>"
    return (
        f'<table class="ln">{columns}<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'
    )


def _line(row: lines.Line | lines.Folded) -> str:
    if isinstance(row, lines.Folded):
        said = f"{row.lines:,} equal line{'' if row.lines == 1 else 's'}"
        return f'<tr><td colspan="6" class="fold">{said}</td></tr>'
    left, right = (None if text is None else escape(text) for text in (row.a, row.b))
    if not row.equal and row.a is not None and row.b is not None:
        left, right = lines.marked(row.a, row.b)
    cells = _half(row.at_a, left, "" if row.equal else "d", _MINUS)
    return f"<tr>{cells}{_half(row.at_b, right, '' if row.equal else 'i', '+')}</tr>"


def _half(number: int | None, text: str | None, style: str, sign: str) -> str:
    if text is None:
        return '<td class="n void"></td><td class="s void"></td><td class="void"></td>'
    shown = sign if style else ""
    return (
        f'<td class="n">{number}</td><td class="s {style}">{shown}</td>'
        f'<td class="{style}">{text}</td>'
    )


def _sections(found: Diff) -> str:
    boxes = []
    for name in SECTIONS:
        there = found.deltas["section"].eq(name).any()
        count = f" {found.deltas['section'].eq(name).sum():,}" if there else ""
        quiet = "" if there else ' class="none"'
        said = escape(section_line(found, name))
        boxes.append(f"<div{quiet}><b>{name.capitalize()}{count}</b><span>{said}</span></div>")
    return f'<div class="secs" role="group" aria-label="Sections">{"".join(boxes)}</div>'


def _aligned(found: Diff) -> Iterator[str]:
    yield '<div class="c hd"><i class="ab">A</i> calls</div><div class="m hd"></div>'
    yield '<div class="c hd"><i class="ab b">B</i> calls</div>'
    equal = answered = shown = 0
    for pair in found.pairs:
        if pair.equal or pair.only_history:
            equal += pair.equal
            answered += not pair.equal
            continue
        if equal or answered:
            yield _fold(equal, answered)
            equal = answered = 0
        if not shown:
            yield '<div class="mk">first call that differs</div>'
        if shown < _MOST_ROWS:
            yield _row(pair)
        shown += 1
    if equal or answered:
        yield _fold(equal, answered)
    if shown > _MOST_ROWS:
        yield f'<div class="fold">{shown - _MOST_ROWS:,} more calls differ; see .aligned</div>'


def _fold(equal: int, answered: int) -> str:
    said = [f"{equal:,} equal call{'' if equal == 1 else 's'}"] if equal else []
    if answered:
        said.append(f"{answered:,} with the same answer after another conversation")
    return f'<div class="fold">{", ".join(said)}</div>'


def _row(pair: Pair) -> str:
    asked_a, asked_b = _both(pair, _arguments)
    said_a, said_b = _both(pair, _outcome)
    left = _call(pair.a, "d", asked_a, said_a) if pair.a else '<div class="c void"></div>'
    right = _call(pair.b, "i", asked_b, said_b) if pair.b else '<div class="c void"></div>'
    sign = _sign(pair)
    spine = f'<div class="m" role="img" aria-label="{_LABELS[sign]}">{sign}</div>'
    return f"{left}{spine}{right}"


def _sign(pair: Pair) -> str:
    if pair.a is None:
        return "+"
    if pair.b is None:
        return _MINUS
    return "↕" if pair.match == "moved" else "±"


def _both(pair: Pair, text: Callable[[CallView], str]) -> tuple[str, str]:
    """Return the texts of both calls as HTML, marked where both are there and short enough."""
    a, b = (text(call) if call else "" for call in (pair.a, pair.b))
    if pair.a and pair.b and a != b and max(len(a), len(b)) <= _LONGEST:
        return lines.marked(a, b)
    return escape(_clipped(a)), escape(_clipped(b))


def _arguments(call: CallView) -> str:
    asked = call.request.get("arguments", call.request.get("query"))
    return "" if asked is None else f"({as_text(asked)})"


def _call(call: CallView, style: str, asked: str, said: str) -> str:
    glyph = _GLYPHS.get(call.kind, _OTHER_GLYPH)
    number = "" if call.index is None else f'<span class="cap">#{call.index}</span> '
    failed = ' <span class="bad">✕ error</span>' if call.status == "error" else ""
    return (
        f'<div class="c {style}"><div class="k" style="--c:var(--wb-kind-{escape(call.kind)})">'
        f'{number}<svg viewBox="0 0 12 12" aria-hidden="true">'
        f'<path fill-rule="evenodd" d="{glyph}"/></svg>'
        f"<code><b>{escape(call.name)}</b>{asked}</code>{failed}</div>"
        f'<div class="say">{said}</div></div>'
    )


def _outcome(call: CallView) -> str:
    if call.status == "running":
        return "no answer recorded"
    documents = (call.outcome or {}).get("documents")
    if isinstance(documents, list):
        return "\n".join(f"{i}. {_head_of(d)}" for i, d in enumerate(documents, start=1))
    asks = f"calls {', '.join(call.asks_for)}" if call.asks_for else ""
    return "\n".join(part for part in (result_text(call), asks) if part)


def _head_of(document: dict[str, Any]) -> str:
    text = " ".join(str(document.get("page_content") or "").split())
    return text if len(text) <= _HEAD else f"{text[:_HEAD]} …"


def _clipped(text: str) -> str:
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]} … {len(text) - _LONGEST:,} characters more"


def _deltas(found: Diff) -> str:
    if not found.deltas.height:
        return ""
    heads = "".join(f"<th>{h}</th>" for h in ("section", "where", "", "A", "B", "confidence"))
    rows = "".join(_delta(row) for row in found.deltas.head(_MOST_ROWS).iter_rows(named=True))
    left = found.deltas.height - _MOST_ROWS
    more = f'<p class="cap">{left:,} more; see .deltas</p>' if left > 0 else ""
    return (
        f"<details><summary>All {found.deltas.height:,} deltas</summary>"
        f'<div class="box"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'
        f"{more}</div></details>"
    )


def _delta(row: dict[str, Any]) -> str:
    where = escape(f"{row['name'] or ''} {row['pointer']}".strip())
    note = f' <span class="cap">{escape(row["note"])}</span>' if row["note"] else ""
    sign = {"only_a": _MINUS, "only_b": "+", "moved": "↕", "changed": "±"}[row["change"]]
    sides = "".join(
        '<td class="void"></td>' if text is None else f"<td>{escape(_clipped(text))}</td>"
        for text in (row["a"], row["b"])
    )
    sure = f"{row['confidence']:.2f}" + (f" {row['attribution']}" if row["attribution"] else "")
    return (
        f"<tr><td>{row['section']}</td><td><code>{where}</code>{note}</td><td>{sign}</td>"
        f"{sides}<td>{escape(sure)}</td></tr>"
    )
