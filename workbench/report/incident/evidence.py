"""What went wrong in a run's calls: failures, repeats, slowness, documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from workbench.report.incident.payload import documents

if TYPE_CHECKING:
    from workbench.report.incident.gather import Incident

_FEWEST = 10  # a percentile of fewer calls says nothing
_SLOW_MS = 50.0  # nobody is called at night for less
HARM = ("irreversible", "write")
"""Effects that reach the world outside."""
_REPEATABLE = ("tool", "retriever", "http")


def failing(calls: pl.DataFrame) -> pl.DataFrame:
    """Return the calls that ended in an error, by ``seq``."""
    return calls.filter(pl.col("status") == "error").sort("seq")


def failing_by_name(calls: pl.DataFrame) -> pl.DataFrame:
    """Return ``kind name failed calls first_seq error``, most failures first.

    ``error`` is the most frequent one.
    """
    bad = pl.col("status") == "error"
    return (
        calls.group_by("kind", "name")
        .agg(
            failed=bad.sum(),
            calls=pl.len(),
            first_seq=pl.col("seq").filter(bad).min(),
            error=pl.col("error").filter(bad).drop_nulls().mode().sort().first(),
        )
        .filter(pl.col("failed") > 0)
        .sort(["failed", "first_seq"], descending=[True, False])
    )


def repeated(calls: pl.DataFrame) -> pl.DataFrame:
    """Return the calls made again with the same arguments, most often first.

    Columns: ``kind name signature times answers failed first_seq last_seq seqs``; ``answers``
    counts what differed among the answers.
    """
    return (
        calls.filter(pl.col("kind").is_in(_REPEATABLE) & pl.col("signature").is_not_null())
        .group_by("kind", "name", "signature")
        .agg(
            times=pl.len(),
            answers=pl.col("content_hash").drop_nulls().n_unique(),
            failed=(pl.col("status") == "error").sum(),
            first_seq=pl.col("seq").min(),
            last_seq=pl.col("seq").max(),
            seqs=pl.col("seq").sort(),
        )
        .filter(pl.col("times") > 1)
        .sort(["times", "first_seq"], descending=[True, False])
    )


def slow(calls: pl.DataFrame, neighbours: pl.DataFrame) -> pl.DataFrame:
    """Return calls beyond the 95th percentile of the same call in other runs, slowest first.

    One call in twenty lies there by nature, so a call must also take three times the median.
    Columns: ``seq kind name duration_ms p95 median others``.
    """
    usual = (
        neighbours.filter(pl.col("duration_ms").is_not_null())
        .group_by("kind", "name")
        .agg(
            p95=pl.col("duration_ms").quantile(0.95, "linear"),
            median=pl.col("duration_ms").median(),
            others=pl.len(),
        )
        .filter(pl.col("others") >= _FEWEST)
    )
    beyond = pl.max_horizontal(pl.col("p95"), pl.col("median") * 3, pl.lit(_SLOW_MS))
    return (
        calls.select("seq", "kind", "name", "duration_ms")
        .join(usual, on=["kind", "name"], nulls_equal=True)
        .filter(pl.col("duration_ms") > beyond)
        .sort("duration_ms", descending=True)
    )


def unlike(found: Incident) -> pl.DataFrame:
    """Return the tool calls that the baseline does not make, by ``seq``.

    Where both runs were asked the same, a call with other arguments counts; else only a tool that
    the baseline does not call at all.
    """
    tools = found.run.calls.filter(kind="tool", status="ok")
    if found.baseline is None:
        return tools.clear()
    column = "signature" if found.same_question else "name"
    known = found.baseline.calls.filter(kind="tool")[column].drop_nulls()
    return tools.filter(pl.col(column).is_not_null() & ~pl.col(column).is_in(known.implode()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document that only one of the two runs retrieved, and how runs with it went."""

    key: str
    gained: bool
    seq: int
    text: str
    runs: int
    bad: int
    runs_without: int
    bad_without: int


def moved_documents(found: Incident) -> list[Document]:
    """Return the documents gained and lost against the baseline, those of bad runs first."""
    if found.baseline is None:
        return []
    here, there = _retrieved(found.run.calls), _retrieved(found.baseline.calls)
    changed = [(key, True, here[key]) for key in here if key not in there]
    changed += [(key, False, there[key]) for key in there if key not in here]
    if not changed:
        return []
    by_run = _by_run(found.neighbours)
    listed = [_document(key, gained, at, by_run) for key, gained, at in changed]
    return sorted(listed, key=lambda d: (not d.gained, -_excess(d), d.seq))


def _retrieved(calls: pl.DataFrame) -> dict[tuple[str, str], int]:
    """Return (document, its text) → the first call that gave it; a changed text is another."""
    found: dict[tuple[str, str], int] = {}
    for call in calls.filter(pl.col("kind") == "retriever").iter_rows(named=True):
        for key, document in documents(call).items():
            found.setdefault((key, str(document.get("page_content", ""))), call["seq"])
    return found


def _by_run(neighbours: pl.DataFrame) -> list[tuple[bool, set[tuple[str, str]]]]:
    groups = neighbours.filter(pl.col("kind") == "retriever").partition_by("run_id")
    return [(bool(g["bad"][0]), set(_retrieved(g))) for g in groups]


def _document(
    what: tuple[str, str], gained: Any, seq: int, by_run: list[tuple[bool, set[tuple[str, str]]]]
) -> Document:
    holding = [bad for bad, keys in by_run if what in keys]
    without = [bad for bad, keys in by_run if what not in keys]
    return Document(
        key=what[0],
        gained=gained,
        seq=seq,
        text=what[1],
        runs=len(holding),
        bad=sum(holding),
        runs_without=len(without),
        bad_without=sum(without),
    )


def _excess(document: Document) -> float:
    def rate(bad: int, runs: int) -> float:
        return bad / runs if runs else 0.0

    return rate(document.bad, document.runs) - rate(document.bad_without, document.runs_without)
