"""Two texts side by side: what is equal is folded and counted, what differs is marked."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from workbench.report import figures
from workbench.report.markup import Html, el, join

if TYPE_CHECKING:
    from collections.abc import Sequence

_WORDS = re.compile(r"\s+|[^\s]+")
_GONE, _NEW = "\N{MINUS SIGN}", "+"
_NEAR = 8
_ALIKE = 0.5  # marks on most words would mark nothing
_MOST_LINES = 14
_LONG = 20_000


def two_sides(a: str | None, b: str | None, *, names: tuple[str, str]) -> Html:
    """Return the baseline's text (A) and the run's text (B), only what differs in full."""
    left, right = _marked(_split(a), _split(b))
    return el(
        "div",
        _side("A", names[0], left if a is not None else [_void("nothing: it had ended")]),
        _side("B", names[1], right if b is not None else [_void("nothing: it had ended")]),
        class_="wb-sides",
    )


def added(a: str | None, b: str | None) -> str:
    """Return the lines of B that A has not; all of B where nothing was added."""
    old, new = _split(a), _split(b)
    parts = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    lines = [line for tag, _, _, b1, b2 in parts if tag != "equal" for line in new[b1:b2]]
    return "\n".join(line for line in lines if line.strip()) or b or ""


def _side(letter: str, name: str, lines: Sequence[Html]) -> Html:
    box = el("i", letter, class_="wb-ab b" if letter == "B" else "wb-ab")
    more = len(lines) - _MOST_LINES
    shown = list(lines[:_MOST_LINES])
    if more > 0:
        shown.append(_fold(f"{figures.plural(more, 'more line')}"))
    body = el("div", *(el("div", line) for line in shown), class_="bd")
    return el("div", el("div", box, " ", name, class_="hd"), body, class_="side")


def _split(text: str | None) -> list[str]:
    return (text or "")[:_LONG].splitlines()


def _marked(a: list[str], b: list[str]) -> tuple[list[Html], list[Html]]:
    left: list[Html] = []
    right: list[Html] = []
    matcher = SequenceMatcher(None, a, b, autojunk=False)
    for tag, a1, a2, b1, b2 in matcher.get_opcodes():
        if tag == "equal":
            fold = _fold(figures.plural(a2 - a1, "equal line"))
            left.append(fold)
            right.append(fold)
            continue
        pairs = a2 - a1 == b2 - b1
        for i in range(max(a2 - a1, b2 - b1)):
            old = a[a1 + i] if i < a2 - a1 else None
            new = b[b1 + i] if i < b2 - b1 else None
            if pairs and old is not None and new is not None:
                changed = _words(old, new)
                left.append(changed[0])
                right.append(changed[1])
            else:
                left += [] if old is None else [_line(_GONE, "d", old)]
                right += [] if new is None else [_line(_NEW, "i", new)]
    return left, right


def _line(sign: str, tone: str, *content: str | Html) -> Html:
    return el("span", sign, " ", *content, class_=tone)


def _words(old: str, new: str) -> tuple[Html, Html]:
    a, b = _WORDS.findall(old), _WORDS.findall(new)
    left: list[Html | str] = []
    right: list[Html | str] = []
    matcher = SequenceMatcher(None, a, b, autojunk=False)
    if matcher.ratio() < _ALIKE:
        return _line(_GONE, "d", old), _line(_NEW, "i", new)
    for tag, a1, a2, b1, b2 in matcher.get_opcodes():
        if tag == "equal":
            same = _near(a[a1:a2], first=not left, last=a2 == len(a))
            left.append(same)
            right.append(same)
        else:
            left += [el("del", "".join(a[a1:a2]))] if a2 > a1 else []
            right += [el("ins", "".join(b[b1:b2]))] if b2 > b1 else []
    return _line(_GONE, "d", *left), _line(_NEW, "i", *right)


def _near(words: list[str], *, first: bool, last: bool) -> str:
    """Keep the words next to a change, and stand in for the rest."""
    if len(words) <= 3 * _NEAR:
        return "".join(words)
    head = "" if first else "".join(words[:_NEAR])
    tail = "" if last else "".join(words[-_NEAR:])
    return f"{head} … {tail}"


def _fold(text: str) -> Html:
    return el("span", "· ", text, class_="fold")


def _void(text: str) -> Html:
    return join(_fold(text))
