"""Markup that is safe by construction, and the section that a cell shows."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import Any

from workbench.report.glyphs import glyphs


class Html(str):
    """Text that is already markup; every other text is escaped when it is put into an element."""

    __slots__ = ()


_TAGS = re.compile(r"<style>.*?</style>|<svg.*?</svg>|<[^>]+>", re.DOTALL)
_GAPS = re.compile(r"</(?:span|small|dt)>")
_BREAKS = re.compile(r"</(?:p|h1|h2|li|dd|tr|figcaption|pre|div)>")


def el(name: str, *children: Any, **attributes: Any) -> Html:
    """Return an element; children that are not `Html` are escaped, nulls are left out."""
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value), quote=True)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{said}>{join(*children)}</{name}>")


def join(*children: Any, by: str = "") -> Html:
    """Return the children in a row."""
    return Html(by.join(_safe(child) for child in children if child is not None))


def _safe(child: Any) -> str:
    if isinstance(child, Html):
        return child
    if isinstance(child, list | tuple):
        return join(*child)
    return html.escape(str(child), quote=False)


def code(text: Any) -> Html:
    """Return text in the code face, inside a sentence."""
    return el("code", text)


def unknown(why: str) -> Html:
    """Return the word that stands for a value nobody knows, with the reason on hover."""
    return el("i", "unknown", class_="wb-unk", title=why)


def glyph(kind: str | None, *, label: str | None = None) -> Html:
    """Return the sign of a kind of call, in its colour."""
    shape = kind if kind in glyphs() else "step"
    path = f'<path fill-rule="evenodd" d="{glyphs()[shape]}"/>'
    said = f'role="img" aria-label="{html.escape(label)}"' if label else 'aria-hidden="true"'
    colour = "--wb-error-mark" if shape == "error" else f"--wb-kind-{shape}"
    return Html(
        f'<svg class="wb-g" viewBox="0 0 12 12" style="color:var({colour})" {said}>{path}</svg>'
    )


def chip(text: str, *, tone: str = "") -> Html:
    """Return a small outlined word; ``tone`` is ``bad``, ``warn`` or nothing."""
    return el("span", text, class_=f"wb-chip {tone}".strip())


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """What a cell of a report shows: markup, and the same as text."""

    html: Html
    title: str | None = None

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, str], dict[str, Any]]:
        data = {"text/html": str(self.html), "text/plain": str(self)}
        return data, {"workbench": {"title": self.title}} if self.title else {}

    def __str__(self) -> str:
        text = html.unescape(_TAGS.sub("", _GAPS.sub(" ", _BREAKS.sub("\n", self.html))))
        return "\n".join(" ".join(line.split()) for line in text.splitlines() if line.strip())


def section(heading: str, *children: Any) -> Section:
    """Return a section with its heading, in the report's style."""
    return Section(html=el("section", el("h2", heading), *children, class_="wb-doc wb-part"))
