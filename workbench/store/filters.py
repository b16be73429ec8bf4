"""What `Store.runs` is narrowed to and sorted by: read once, asked of a server or of a frame."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any, TypedDict, get_args, get_type_hints

import polars as pl

from workbench.errors import UsageError
from workbench.schema import RUN_STATUSES, Health, Mode
from workbench.store.lookup import label_text, split_label

if TYPE_CHECKING:
    from collections.abc import Callable

Several = str | Sequence[str] | None
Moment = datetime | date | str | None

SORTS = (
    "created_at", "started_at", "ended_at", "duration_ms", "cost", "tokens", "events", "errors",
    "name",
)  # fmt: skip


class RunFilter(TypedDict, total=False):
    """What runs can be narrowed to, and sorted by.

    ``status``, ``health`` and ``label`` (``key:value``) take several: any of the statuses, all of
    the labels. ``*_after`` is that moment or later and ``*_before`` earlier, as times or ISO texts,
    UTC where no zone is said. A run whose cost is partly unknown is at least what is known of it,
    and never known to be at most anything. ``search`` has words, ``"words in a row"``, ``or`` and
    ``-word``, said by a run's name, agent, source, session, labels or messages. ``sort`` is one of
    ``created_at started_at ended_at duration_ms cost tokens events errors name``, then ``:asc`` or
    ``:desc``; nulls come last.
    """

    status: Several
    health: Several
    mode: str | None
    name: str | None
    agent: str | None
    session: str | None
    source: str | None
    parent_run_id: str | None
    label: Several
    created_after: Moment
    created_before: Moment
    ended_after: Moment
    ended_before: Moment
    min_cost_usd: float | None
    max_cost_usd: float | None
    min_tokens: int | None
    max_tokens: int | None
    min_duration_ms: float | None
    max_duration_ms: float | None
    search: str | None
    sort: str | None


def checked(wanted: RunFilter) -> dict[str, Any]:
    """Return the filters that were given, in their own types.

    Raises
    ------
    UsageError
        A filter, a status or a key to sort by is not known, or a time is none.
    """
    known = list(get_type_hints(RunFilter))
    for name in wanted:
        if name not in known:
            raise UsageError("runs have no such filter", expected=", ".join(known), found=name)
    given: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}
    for name in given.keys() & _READ.keys():
        given[name] = _READ[name](name, given[name])
    return given


def _words(name: str, value: str | Sequence[str], known: Sequence[str]) -> list[str]:
    words = [value] if isinstance(value, str) else list(value)
    for word in words:
        if word not in known:
            raise UsageError(f"{name} is not known", expected=", ".join(known), found=word)
    return words


def _labels(name: str, value: str | Sequence[str]) -> list[str]:  # noqa: ARG001 - as its siblings
    labels = [value] if isinstance(value, str) else list(value)
    for label in labels:
        split_label(label)
    return labels


def _moment(name: str, value: datetime | date | str) -> datetime:
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError as error:
        expected = "a time such as 2026-03-01T12:00:00Z, or a day"
        raise UsageError(f"{name} is no time", expected=expected, found=value) from error
    if not isinstance(found, datetime):
        found = datetime.combine(found, time(tzinfo=UTC))
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _sort(name: str, value: str) -> str:  # noqa: ARG001 - as its siblings
    key, _, direction = value.partition(":")
    if key not in SORTS or direction not in {"", "asc", "desc"}:
        expected = f"{', '.join(SORTS)}, then :asc or :desc"
        raise UsageError("nothing can be sorted so", expected=expected, found=value)
    return f"{key}:{direction or ('asc' if key == 'name' else 'desc')}"


_READ: dict[str, Callable[[str, Any], Any]] = {
    "status": lambda name, value: _words(name, value, RUN_STATUSES),
    "health": lambda name, value: _words(name, value, get_args(Health)),
    "mode": lambda name, value: _words(name, value, get_args(Mode))[0],
    "label": _labels,
    "sort": _sort,
    **dict.fromkeys(("created_after", "created_before", "ended_after", "ended_before"), _moment),
}


def as_query(given: dict[str, Any]) -> dict[str, Any]:
    """Return checked filters as a query string's parameters."""
    query = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in given.items()
    }
    if "search" in query:
        query["q"] = query.pop("search")
    return query


def filtered(runs: pl.DataFrame, given: dict[str, Any], *, limit: int | None) -> pl.DataFrame:
    """Return the runs of a frame that agree with checked filters, sorted, the first of them."""
    if "search" in given:
        raise UsageError(
            "exported runs have no index to search in",
            found=given["search"],
            hint="Filter by name, label and session, use `store.sql`, or import them.",
        )
    agrees = [_AGREES[name](value) for name, value in given.items() if name != "sort"]
    kept = runs.filter(agrees) if agrees else runs
    kept = _sorted(kept, given["sort"]) if "sort" in given else kept
    return kept if limit is None else kept.head(limit)


def _sorted(runs: pl.DataFrame, sort: str) -> pl.DataFrame:
    key, _, direction = sort.partition(":")
    down = direction == "desc"
    by = {"cost": pl.col("cost_usd"), "tokens": _tokens}.get(key, pl.col(key))
    return runs.sort(by, "run_id", descending=[down, down], nulls_last=True)


def _has_labels(labels: list[str]) -> pl.Expr:
    pairs = (split_label(label) for label in labels)
    return pl.all_horizontal(label_text(key) == value for key, value in pairs)


_tokens = pl.col("input_tokens") + pl.col("output_tokens")
_AGREES: dict[str, Callable[[Any], pl.Expr]] = {
    "status": lambda value: pl.col("status").is_in(value),
    "health": lambda value: pl.col("health").is_in(value),
    "mode": lambda value: pl.col("mode") == value,
    "name": lambda value: pl.col("name") == value,
    "agent": lambda value: pl.col("agent") == value,
    "session": lambda value: pl.col("session") == value,
    "source": lambda value: (pl.col("source") == value) & pl.col("superseded_by").is_null(),
    "parent_run_id": lambda value: pl.col("parent_run_id") == value,
    "label": _has_labels,
    "created_after": lambda value: pl.col("created_at") >= value,
    "created_before": lambda value: pl.col("created_at") < value,
    "ended_after": lambda value: pl.col("ended_at") >= value,
    "ended_before": lambda value: pl.col("ended_at") < value,
    "min_cost_usd": lambda value: pl.col("cost_known_usd") >= value,
    "max_cost_usd": lambda value: pl.col("cost_usd") <= value,
    "min_tokens": lambda value: _tokens >= value,
    "max_tokens": lambda value: _tokens <= value,
    "min_duration_ms": lambda value: pl.col("duration_ms") >= value,
    "max_duration_ms": lambda value: pl.col("duration_ms") <= value,
}
