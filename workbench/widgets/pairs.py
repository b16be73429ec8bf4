"""Two runs on one axis: A above B, with the calls that the diff aligned."""

from __future__ import annotations

from typing import Any

import polars as pl

from workbench.diff import diff
from workbench.widgets.figures import duration

LETTERS = ("A", "B")


def paired(a: Any, b: Any) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Return both runs' steps, told apart by `run`, and what the header and the links say."""
    steps = pl.concat(
        run.steps.with_columns(pl.lit(letter).alias("run"))
        for run, letter in zip((a, b), LETTERS, strict=True)
    )
    found = diff(a, b)
    pairs = found.aligned
    both = pairs.filter(pl.col("seq_a").is_not_null(), pl.col("seq_b").is_not_null())
    indices = {key: n for n, key in enumerate(steps.sort("run", "seq").select("run", "seq").rows())}
    first = found.first_call
    links = {
        "aligned": [
            [indices["A", left], indices["B", right]]
            for left, right in both.select("seq_a", "seq_b").rows()
        ],
        "only": [
            *(indices["A", seq] for seq in _only(pairs, "seq_a", "seq_b")),
            *(indices["B", seq] for seq in _only(pairs, "seq_b", "seq_a")),
        ],
        "first": None,
        "words": "",
    }
    if first is not None and first.a is not None and first.b is not None:
        links["first"] = [indices["A", first.a.seq], indices["B", first.b.seq]]
        same = first.a.name == first.b.name
        names = first.a.name if same else f"{first.a.name} in A, {first.b.name} in B"
        links["words"] = f"first divergence: {names}"
    info = {
        "name": f"{_name(a)} and {_name(b)}",
        "names": dict(zip(LETTERS, (_name(a), _name(b)), strict=True)),
        "figures": _figures(a, b, pairs, len(both)),
        "links": links,
        "duration_ms": max((run.info.get("duration_ms") or 0 for run in (a, b)), default=None),
    }
    return steps, info


def _only(pairs: pl.DataFrame, mine: str, other: str) -> list[int]:
    return pairs.filter(pl.col(mine).is_not_null() & pl.col(other).is_null())[mine].to_list()


def _name(run: Any) -> str:
    return str(run.name or run.source or run.run_id)


def _figures(a: Any, b: Any, pairs: pl.DataFrame, both: int) -> list[dict[str, Any]]:
    took = [run.info.get("duration_ms") for run in (a, b)]
    more = None if None in took else took[0] - took[1]
    sign = "" if more is None or more >= 0 else "\N{MINUS SIGN}"
    extra = None if more is None else f"{sign}{duration(abs(more))}"
    told = {
        "aligned": f"{both:,} of {len(pairs):,} calls",
        "only in A": f"{len(_only(pairs, 'seq_a', 'seq_b')):,}",
        "only in B": f"{len(_only(pairs, 'seq_b', 'seq_a')):,}",
        "extra time in A": extra,
    }
    why = "a source records no times"
    return [{"label": k, "text": v, "why": None if v else why} for k, v in told.items()]
