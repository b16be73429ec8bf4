"""The timeline as a PNG, for pages where nothing runs. Light, twice the size it is shown at."""

from __future__ import annotations

import io
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from workbench.widgets.figures import moment
from workbench.widgets.kinds import COLOURS, KINDS, STRUCTURE
from workbench.widgets.overview import Overview, overview
from workbench.widgets.scale import ticks
from workbench.widgets.stamps import stamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workbench.widgets.tracks import Tracks

WIDTH, GUTTER, SCALE = 960, 118, 2
MAP, AXIS, ERRORS, BAR, ROW, STRIP, THIN = 30, 20, 16, 15, 35, 8, 18
MOST_HEIGHT = 900
ROOMY, GLYPH_ROOM, LONG = 4, 24, 30
TIMES = "\N{MULTIPLICATION SIGN}"
QUIET, FAINT, LINE, SUNKEN, MARK = "#5a5f66", "#676c74", "#e0e0e0", "#f6f6f7", "#e84d0c"
PLOT = WIDTH - GUTTER


# Pillow's own font has ASCII and little more
PLAIN = str.maketrans(
    {TIMES: "x", "└": "", "\N{EN DASH}": "-", "→": ">", "µ": "u", "ß": "ss", "€": "EUR "}
)


def drawable(words: str) -> str:
    """Return words in letters that the picture's font has, as far as there are any."""
    parts = unicodedata.normalize("NFD", words.translate(PLAIN))
    return "".join(letter for letter in parts if not unicodedata.combining(letter))


class Sheet:
    """A drawing in the pixels of the page."""

    def __init__(self, height: int) -> None:
        self.image = Image.new("RGB", (WIDTH * SCALE, height * SCALE), "#ffffff")
        self.draw = ImageDraw.Draw(self.image)
        self.font = ImageFont.load_default(11 * SCALE)

    def box(self, x: float, y: float, w: float, h: float, colour: str) -> None:
        """Fill a rectangle, at least one dot of the picture wide."""
        left, top = round(x * SCALE), round(y * SCALE)
        right, bottom = round((x + w) * SCALE) - 1, round((y + h) * SCALE) - 1
        self.draw.rectangle((left, top, max(left, right), max(top, bottom)), fill=colour)

    def text(self, words: str, x: float, y: float, *, anchor: str = "ls", ink: str = QUIET) -> None:
        """Write on a base line."""
        self.draw.text(
            (x * SCALE, y * SCALE), drawable(words), fill=ink, font=self.font, anchor=anchor
        )

    def fit(self, words: str, room: float) -> str:
        """Shorten words to a width; nothing where three letters do not fit."""
        if self.font.getlength(words) <= room * SCALE:
            return words
        for keep in range(min(len(words), int(room / 3)), 3, -1):
            if self.font.getlength(words[:keep] + "…") <= room * SCALE:
                return words[:keep] + "…"
        return ""

    def stamp(self, name: str, x: float, y: float, size: int, colour: str) -> None:
        """Put a glyph."""
        place = (round(x * SCALE), round(y * SCALE))
        self.image.paste(colour, place, stamp(name, size * SCALE))

    def cross(self, x: float, y: float, size: int) -> None:
        """Mark an error."""
        self.stamp("error", x, y, size, MARK)

    def png(self) -> bytes:
        """Return the picture's bytes, in few colours."""
        sink = io.BytesIO()
        self.image.quantize(64).save(sink, "PNG", optimize=True)
        return sink.getvalue()


def picture(track: Tracks, facts: Mapping[str, Any], *, by: str, lanes: str) -> bytes:
    """Draw minimap, axis, errors and lanes of the whole run."""
    listed = facts["kind_lanes" if lanes == "kind" else "lanes"]
    dense = len(track) > 2 * PLOT
    heights = [_height(lane, by, dense=dense) for lane in listed]
    head = MAP + AXIS + (ERRORS if facts["errors"] else 0)
    y: float = head
    sheet = Sheet(min(head + sum(heights) + 2, MOST_HEIGHT))
    span = track.span(by)
    places = ticks(0.0, span, PLOT, by=by)
    whole = overview(track, by=by, lanes=lanes, a=0.0, b=span, bins=PLOT // 2) if dense else None
    _head(sheet, track, facts, by=by, places=places)
    for number, (lane, height) in enumerate(zip(listed, heights, strict=True)):
        sheet.box(GUTTER, y - 1, PLOT, 1, LINE)
        for at in places:
            sheet.box(GUTTER + at / span * PLOT, y, 1, height, LINE)
        label = ("└ " if lane["depth"] else "") + lane["label"]
        sheet.text(sheet.fit(label, GUTTER - 14), GUTTER - 8, y + 13, anchor="rs")
        if lane["main"] and not dense:
            main = sheet.fit(lane["main"], GUTTER - 14)
            sheet.text(main, GUTTER - 8, y + 28, anchor="rs", ink=FAINT)
        code = lane.get("code", number)
        if whole is not None:
            _strips(sheet, whole, lane, code, y)
        else:
            _bars(sheet, track, lane, code, y, by=by, lanes=lanes)
        y += height
    sheet.box(GUTTER - 1, 0, 1, y, LINE)
    return sheet.png()


def _height(lane: Mapping[str, Any], by: str, *, dense: bool) -> int:
    if dense:
        return len(lane["kinds"]) * STRIP + 8
    if lane.get("thin"):
        return THIN
    return int(lane["rows"] if by == "time" else 1) * ROW + 2


def _head(
    sheet: Sheet, track: Tracks, facts: Mapping[str, Any], *, by: str, places: list[float]
) -> None:
    span = track.span(by)
    whole = overview(track, by=by, lanes="structure", a=0.0, b=span, bins=PLOT // 3)
    sheet.box(GUTTER, 0, PLOT, MAP - 4, SUNKEN)
    for cell, (height, failed) in enumerate(zip(whole.skyline, whole.errors, strict=True)):
        x, tall = GUTTER + cell * 3, max(1.0, height / 255 * 15)
        if height:
            sheet.box(x, 23 - tall, 2.5, tall, COLOURS["step"])
        if failed:
            sheet.box(x, 2, 2, 5, MARK)
    crosses: list[float] = [float(GUTTER + cell * 3) for cell in whole.errors.nonzero()[0]]
    for place in apart(crosses):
        sheet.cross(min(place, WIDTH - 9), MAP + AXIS + 3, 8)
    sheet.text("whole run", GUTTER - 8, 17, anchor="rs")
    sheet.text("from start" if by == "time" else "order", GUTTER - 8, MAP + 13, anchor="rs")
    for at in places:
        left = GUTTER + at / span * PLOT
        sheet.box(left, MAP + AXIS - 5, 1, 5, LINE)
        if left < WIDTH - 50:
            sheet.text(moment(at) if by == "time" else f"#{at + 1:,.0f}", left + 3, MAP + 13)
    if facts["errors"]:
        words = f"{facts['errors']:,} {'error' if facts['errors'] == 1 else 'errors'}"
        sheet.text(words, GUTTER - 8, MAP + AXIS + 12, anchor="rs", ink="#b83a00")


def apart(places: list[float], gap: float = 9) -> list[float]:
    """Keep one place in each `gap`."""
    kept: list[float] = []
    for place in places:
        if not kept or place - kept[-1] >= gap:
            kept.append(place)
    return kept


def _mine(track: Tracks, code: int, lanes: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.flatnonzero((track.kind if lanes == "kind" else track.lane) == code)


def _bars(
    sheet: Sheet,
    track: Tracks,
    lane: Mapping[str, Any],
    code: int,
    y: float,
    *,
    by: str,
    lanes: str,
) -> None:
    begin, end = track.places(by)
    rows = track.rows_by_kind if lanes == "kind" else track.rows
    scale = PLOT / track.span(by)
    mine = _mine(track, code, lanes)
    plain = (track.kind[mine] == STRUCTURE) & (lanes != "kind")
    for index in mine[plain]:
        thin = lane["thin"] or by != "time"
        wide = max(2.0, (end[index] - begin[index]) * scale)
        x, top, tall = GUTTER + begin[index] * scale, y + (4 if thin else -1), 8 if thin else 2
        sheet.box(x, top, wide, tall, COLOURS["step"])
    captions: dict[int, list[Caption]] = {}
    for index in mine[~plain]:
        row = int(rows[index]) if by == "time" else 0
        x, top = GUTTER + begin[index] * scale, y + row * ROW + 2
        wide = (end[index] - begin[index]) * scale
        wide = max(2.0, wide - (1 if wide > ROOMY else 0))
        kind = KINDS[track.kind[index]]
        sheet.box(x, top, wide, BAR, COLOURS[kind])
        if wide >= BAR:
            sheet.stamp(kind, x + 3, top + 3, 9, "#ffffff")
        if track.failed[index]:
            at = min(x + wide - (8 if wide > GLYPH_ROOM else 0), WIDTH - 8)
            sheet.box(at - 1, top - 2, 9, 9, "#ffffff")
            sheet.cross(at, top - 1, 7)
        name = track.names[track.name[index]]
        if name != lane["main"]:
            _caption(captions.setdefault(row, []), name, x, x + wide)
    for row, groups in captions.items():
        _captions(sheet, groups, y + row * ROW + 2 + BAR)


@dataclass(slots=True)
class Caption:
    """A name under its bars."""

    name: str
    count: int
    left: float
    right: float


def _caption(groups: list[Caption], name: str, left: float, right: float) -> None:
    if groups and groups[-1].name == name:
        groups[-1].count += 1
        groups[-1].right = max(groups[-1].right, right)
    else:
        groups.append(Caption(name, 1, left, right))


def _captions(sheet: Sheet, groups: list[Caption], y: float) -> None:
    for number, one in enumerate(groups):
        until = groups[number + 1].left if number + 1 < len(groups) else WIDTH
        label = one.name if one.count == 1 else f"{one.name} {TIMES}{one.count:,}"
        words = sheet.fit(label, until - one.left - 4)
        if words and one.count > 1 and one.right - one.left > LONG:
            sheet.box(one.left, y + 2.5, one.right - one.left, 1, LINE)
        sheet.text(words, one.left + 1, y + 12)


def _strips(sheet: Sheet, whole: Overview, lane: Mapping[str, Any], code: int, y: float) -> None:
    for (its, kind), cover in zip(whole.strips, whole.cover.tolist(), strict=True):
        if its != code:
            continue
        floor = y + STRIP * (lane["kinds"].index(kind) + 1)
        for cell, busy in enumerate(cover):
            if not busy:
                continue
            tall = min(1.0, 0.25 + busy / 255 * 0.75) * (STRIP - 1)
            sheet.box(GUTTER + cell * 2, floor - tall, 2, tall, COLOURS[KINDS[kind]])
