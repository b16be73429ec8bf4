"""What has changed in the world since runs were recorded: the differences of live answers, summed.

A tool's answer is an object of some form; what drifts is the form, or a value, in many answers at
once. So pointers are told without the positions in their lists, and a key that went where another
came with the same value was renamed.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from workbench.replay.divergence import Divergence
    from workbench.replay.result import ReplayResult

DRIFT = pl.Schema(
    {
        "tool": pl.String,
        "pointer": pl.String,
        "before": pl.String,
        "after": pl.String,
        "calls": pl.Int64,
        "runs": pl.Int64,
    }
)
_KINDS = ("outcome_mismatch", "exception_mismatch")


def drift(results: Iterable[ReplayResult]) -> pl.DataFrame:
    """Sum up how live answers differ from the recorded ones, over many replays.

    Parameters
    ----------
    results
        Replays in which some calls were live: ``replay(…, overrides={"tool:search": "live"})``.

    Returns
    -------
    polars.DataFrame
        One row a difference, the most frequent first: ``tool`` (the call's name), ``pointer`` (a
        JSON pointer into the answer, ``*`` for any position of a list), ``before`` and ``after``,
        and in how many ``calls`` and ``runs`` it is found. A renamed key has its names in
        ``before`` and ``after``; any other difference the values as JSON where they are the same
        in all its calls, else their types; null where there is nothing.

    Examples
    --------
    >>> drift([]).columns
    ['tool', 'pointer', 'before', 'after', 'calls', 'runs']
    """
    found: dict[tuple[str, str, str | None, str | None], _Change] = defaultdict(_Change)
    for number, result in enumerate(results):
        for told in result.divergences:
            if told.kind in _KINDS and told.seq is not None and isinstance(told.expected, dict):
                for name, pointer, renamed, sides in _changes(told):
                    found[name, pointer, *renamed].add(number, told.seq, sides)
    rows: list[dict[str, Any]] = [
        {
            "tool": tool,
            "pointer": pointer,
            "before": old if new is not None else change.shown(0),
            "after": new if new is not None else change.shown(1),
            "calls": len(change.calls),
            "runs": len({run for run, _ in change.calls}),
        }
        for (tool, pointer, old, new), change in found.items()
    ]
    rows.sort(key=lambda row: (-row["calls"], row["tool"], row["pointer"]))
    return pl.DataFrame(rows, schema=DRIFT)


@dataclass(slots=True)
class _Change:
    calls: set[tuple[int, int]] = field(default_factory=set)
    sides: tuple[set[str | None], set[str | None]] = field(default_factory=lambda: (set(), set()))
    types: tuple[set[str], set[str]] = field(default_factory=lambda: (set(), set()))

    def add(self, run: int, seq: int, sides: tuple[Any, Any]) -> None:
        self.calls.add((run, seq))
        for side, value in enumerate(sides):
            if len(self.sides[side]) < 2:  # noqa: PLR2004 - more than one is all that matters
                self.sides[side].add(None if value is _NOTHING else _json(value))
            if value is not _NOTHING:
                self.types[side].add(_type(value))

    def shown(self, side: int) -> str | None:
        if len(self.sides[side]) == 1:
            return next(iter(self.sides[side]))
        return " or ".join(sorted(self.types[side]))


_NOTHING = object()
_Names = tuple[str | None, str | None]


def _changes(told: Divergence) -> Iterator[tuple[str, str, _Names, tuple[Any, Any]]]:
    """Give (name, pointer, a renamed key's two names, values before and after)."""
    name = str(told.expected["name"])
    gone = {c["pointer"]: c["expected"] for c in told.changes if c.get("absent") == "actual"}
    come = {c["pointer"]: c["actual"] for c in told.changes if c.get("absent") == "expected"}
    renamed = dict(_renamed(gone, come))
    for old, new in renamed.items():
        names = _key(old), _key(new)
        yield name, _anywhere(old), names, (gone[old], come[new])
    taken = {*renamed, *renamed.values()}
    for change in told.changes:
        if change["pointer"] not in taken:
            absent = change.get("absent")
            before = _NOTHING if absent == "expected" else change["expected"]
            after = _NOTHING if absent == "actual" else change["actual"]
            yield name, _anywhere(change["pointer"]), (None, None), (before, after)


def _renamed(gone: dict[str, Any], come: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Pair keys that went with those that came beside them with an equal value."""
    left = dict(come)
    for old, value in gone.items():
        parent = old.rpartition("/")[0]
        for new, its in left.items():
            if new.rpartition("/")[0] == parent and its == value and not _key(new).isdigit():
                yield old, new
                del left[new]
                break


def _key(pointer: str) -> str:
    return pointer.rpartition("/")[2].replace("~1", "/").replace("~0", "~")


def _anywhere(pointer: str) -> str:
    return "/".join("*" if part.isdigit() else part for part in pointer.split("/"))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def _type(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else "boolean"
    if isinstance(value, (int, float)):
        return "number"
    names: dict[type, str] = {str: "string", list: "array", dict: "object"}
    return names.get(type(value), "value")
