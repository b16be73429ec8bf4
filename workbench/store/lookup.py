"""Find runs in a frame of runs."""

from __future__ import annotations

from typing import Any

import polars as pl

from workbench.errors import RunNotFound, UsageError

_SHORTEST_PREFIX = 4


def split_label(label: str) -> tuple[str, str]:
    """Split ``key:value``."""
    key, colon, value = label.partition(":")
    if not colon or not key:
        raise UsageError("a label filter is key:value", found=label)
    return key, value


def label_text(key: str) -> pl.Expr:
    """Return the text of a label in a column of labels."""
    quoted = key.replace("\\", "\\\\").replace("'", "\\'")
    return pl.col("labels").str.json_path_match(f"$['{quoted}']")


def find(runs: pl.DataFrame, wanted: str) -> dict[str, Any]:
    """Return the row whose id, source, or unique beginning of an id is ``wanted``.

    Raises
    ------
    RunNotFound
        There is none; the nearest ids and sources are in the hint.
    UsageError
        Several ids begin so.
    """
    by_source = (pl.col("source") == wanted) & pl.col("superseded_by").is_null()
    for match in (pl.col("run_id") == wanted, by_source):
        rows = runs.filter(match)
        if rows.height:
            return rows.row(0, named=True)
    rows = runs.filter(pl.col("run_id").str.starts_with(wanted))
    if len(wanted) < _SHORTEST_PREFIX or not rows.height:
        raise not_found(runs, wanted)
    if rows.height > 1:
        raise UsageError(
            f"{rows.height} runs begin with {wanted!r}",
            found=rows["run_id"].head(3).to_list(),
            hint="write more of the id",
        )
    return rows.row(0, named=True)


def not_found(runs: pl.DataFrame, wanted: str) -> RunNotFound:
    """Return the error that names the nearest ids and sources."""
    known = [*runs["run_id"].to_list(), *runs["source"].drop_nulls().to_list()]
    hint = "`workbench runs` lists them" if known else "there are no runs yet"
    return RunNotFound.among("run", wanted, known, hint=hint)
