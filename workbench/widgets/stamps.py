"""The glyphs of `glyphs.js` as masks for pictures: paths become polygons, filled even-odd."""

from __future__ import annotations

import cmath
import math
import re
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw

BOX = 12
FINE = 4
TOKEN = re.compile(r"[A-Za-z]|[-+]?(?:\d+\.\d*|\.\d+|\d+)")
ENTRY = re.compile(r'^  (\w+): ((?:"[^"]*"\s*\+?\s*)+),', re.MULTILINE)
TAKES = {"m": 2, "l": 2, "h": 1, "v": 1, "c": 6, "s": 4, "a": 7, "z": 0}


@lru_cache(maxsize=1)
def glyphs() -> dict[str, str]:
    """Return the path of each glyph, from the one file that holds them."""
    text = Path(__file__).with_name("glyphs.js").read_text(encoding="utf-8")
    return {name: "".join(re.findall(r'"([^"]*)"', path)) for name, path in ENTRY.findall(text)}


@lru_cache(maxsize=64)
def stamp(name: str, size: int) -> Image.Image:
    """Return a glyph as a mask of `size` pixels."""
    wide = size * FINE
    mask = Image.new("1", (wide, wide))
    for polygon in polygons(glyphs()[name]):
        one = Image.new("1", (wide, wide))
        points = [(p.real * wide / BOX, p.imag * wide / BOX) for p in polygon]
        ImageDraw.Draw(one).polygon(points, fill=1)
        mask = ImageChops.logical_xor(mask, one)
    return mask.convert("L").resize((size, size), Image.Resampling.BOX)


def polygons(path: str) -> list[list[complex]]:
    """Flatten a path; each part that begins with a move is one polygon."""
    tokens = TOKEN.findall(path)
    done: list[list[complex]] = []
    at, handle, command, index = 0j, None, "", 0
    while index < len(tokens):
        if tokens[index].isalpha():
            command, index = tokens[index], index + 1
        count = TAKES[command.lower()]
        numbers = [float(token) for token in tokens[index : index + count]]
        index += count
        if command in "Zz":
            at = done[-1][0]
            continue
        if command in "Mm":
            done.append([])
        origin = at if command.islower() else 0j
        points, handle = _points(command.lower(), numbers, at, origin, handle)
        done[-1] += points
        at = points[-1]
        command = {"M": "L", "m": "l"}.get(command, command)
    return done


def _points(
    command: str, numbers: list[float], at: complex, origin: complex, handle: complex | None
) -> tuple[list[complex], complex | None]:
    if command == "h":
        return [complex(origin.real + numbers[0], at.imag)], None
    if command == "v":
        return [complex(at.real, origin.imag + numbers[0])], None
    if command == "a":
        return _arc(
            at, origin + complex(*numbers[5:]), numbers[0], bool(numbers[3]), bool(numbers[4])
        ), None
    pairs = [origin + complex(*numbers[i : i + 2]) for i in range(0, len(numbers), 2)]
    if command in "ml":
        return pairs, None
    if command == "s":
        pairs = [at if handle is None else 2 * at - handle, *pairs]
    first, second, end = pairs
    steps = [number / 8 for number in range(1, 9)]
    curve = [
        (1 - t) ** 3 * at + 3 * (1 - t) ** 2 * t * first + 3 * (1 - t) * t**2 * second + t**3 * end
        for t in steps
    ]
    return curve, second


def _arc(begin: complex, end: complex, radius: float, large: bool, sweep: bool) -> list[complex]:  # noqa: FBT001 - the flags of an SVG arc
    half = abs(end - begin) / 2
    off = math.sqrt(max(0.0, radius**2 - half**2))
    side = 1j * (end - begin) / abs(end - begin) * off
    centre = (begin + end) / 2 + (side if large != sweep else -side)
    first, last = cmath.phase(begin - centre), cmath.phase(end - centre)
    turn = (last - first) % (2 * math.pi)
    turn = turn if sweep else turn - 2 * math.pi
    return [centre + cmath.rect(radius, first + turn * n / 16) for n in range(1, 17)]
