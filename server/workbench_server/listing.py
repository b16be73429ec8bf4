"""Runs narrowed, sorted and searched: a query put together of the pieces in ``sql/listing.sql``."""

# No `annotations` from the future: FastAPI reads those of `Filter` as a query's parameters.
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal, get_args
from uuid import UUID

from fastapi import Query

from workbench.errors import UsageError
from workbench.schema import RUN_STATUSES, Health, Mode
from workbench_server import asked
from workbench_server.cursors import (
    COUNT,
    ID,
    NUMBER,
    TEXT,
    TIME,
    mark_of,
    read_cursor,
    write_cursor,
)
from workbench_server.database import Pool, transaction
from workbench_server.queries import queries
from workbench_server.searching import groups_of

MOST_LISTED = 5000
_LARGEST = 2**63 - 1

Number = Annotated[float | None, Query(ge=0, allow_inf_nan=False)]
Tokens = Annotated[int | None, Query(ge=0, le=_LARGEST)]
Several = Annotated[list[str] | None, Query()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What a listing is narrowed to; labels are ``key:value``, several statuses are alternatives.

    ``*_after`` is that moment or later, ``*_before`` is earlier than that moment, so that spans of
    time that follow each other share no run.
    """

    source: str | None = None
    status: Several = None
    health: Several = None
    mode: str | None = None
    name: str | None = None
    agent: str | None = None
    session: str | None = None
    parent_run_id: str | None = None
    label: Several = None
    created_after: str | None = None
    created_before: str | None = None
    ended_after: str | None = None
    ended_before: str | None = None
    min_cost_usd: Number = None
    max_cost_usd: Number = None
    min_tokens: Tokens = None
    max_tokens: Tokens = None
    min_duration_ms: Number = None
    max_duration_ms: Number = None
    q: str | None = None

    def said(self) -> dict[str, Any]:
        """Return the filters that were given, each as its column's type, or refuse them."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        return {
            name: _READ[name](value, where=name) if name in _READ else value
            for name, value in given.items()
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Which part of a listing: how many rows, in which order, behind which cursor."""

    limit: int = 200
    sort: str | None = None
    cursor: str | None = None


def _words(values: Sequence[str], *, known: Sequence[str], where: str) -> list[str]:
    return sorted({asked.one_of(value, known, where=where) for value in values})


def _pairs(labels: Sequence[str], *, where: str) -> list[str]:
    for label in labels:
        if not asked.text(label, where=where).partition(":")[1]:
            raise UsageError("a label filter is key:value", where=where, found=label[:80])
    return sorted(labels)


def _search(text: str, *, where: str) -> str:
    groups_of(asked.text(text, where=where))
    return text


_READ: Mapping[str, Callable[..., Any]] = {
    **dict.fromkeys(("source", "name", "agent", "session"), asked.text),
    **dict.fromkeys(
        ("created_after", "created_before", "ended_after", "ended_before"), asked.moment
    ),
    "status": partial(_words, known=RUN_STATUSES),
    "health": partial(_words, known=get_args(Health)),
    "mode": partial(asked.one_of, known=get_args(Mode)),
    "parent_run_id": asked.uuid,
    "label": _pairs,
    "q": _search,
}

SORTS: Mapping[str, type] = {
    "created_at": TIME,
    "started_at": TIME,
    "ended_at": TIME,
    "duration_ms": NUMBER,
    "cost": NUMBER,
    "tokens": COUNT,
    "events": COUNT,
    "errors": COUNT,
    "name": TEXT,
}
_NEVER_NULL = frozenset({"created_at", "tokens", "events", "errors"})
_COLUMN = {"cost": "cost_usd"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What rows are sorted by, and which way; where it is equal, the run's id decides."""

    key: str
    direction: Literal["asc", "desc"]
    kind: type
    nulls: bool

    def place(self, row: Mapping[str, Any]) -> list[Any]:
        """Return where a row stands."""
        if self.key == "tokens":
            return [row["input_tokens"] + row["output_tokens"], row["run_id"]]
        return [row[_COLUMN.get(self.key, self.key)], row["run_id"]]


def order_of(
    sort: str | None, known: Mapping[str, type], *, usual: str, never_null: frozenset[str]
) -> Order:
    """Read ``key``, ``key:asc`` or ``key:desc``; a name goes up, all else down, if not said."""
    key, _, direction = (sort or usual).partition(":")
    direction = direction or ("asc" if known.get(key) is TEXT else "desc")
    if key not in known or direction not in {"asc", "desc"}:
        raise UsageError(
            "nothing can be sorted so",
            where="sort",
            expected=f"one of {', '.join(known)}, and :asc or :desc",
            found=(sort or usual)[:80],
        )
    way: Literal["asc", "desc"] = "asc" if direction == "asc" else "desc"
    return Order(key=key, direction=way, kind=known[key], nulls=key not in never_null)


async def list_runs(
    pool: Pool, workspace_id: UUID, *, wanted: Filter, page: Page
) -> dict[str, Any]:
    """Return a page of rows, and the cursor of the next page where there is one."""
    query, parameters, order = compose(wanted, page)
    parameters["workspace_id"] = workspace_id
    async with transaction(pool, workspace_id) as connection:
        rows = await (await connection.execute(query, parameters)).fetchall()
    shown = rows[: page.limit]
    more = len(rows) > page.limit
    cursor = write_cursor(_mark(wanted.said(), order), order.place(shown[-1])) if more else None
    return {"runs": shown, "next_cursor": cursor}


def compose(wanted: Filter, page: Page) -> tuple[bytes, dict[str, Any], Order]:
    """Return the query of a page, its parameters, and its order. Pure."""
    sql, said = queries("listing"), wanted.said()
    order = order_of(page.sort, SORTS, usual="created_at", never_null=_NEVER_NULL)
    parameters = said | {"limit": page.limit + 1}
    parts = [sql["rows"], *(sql[name] for name in said if name != "q")]
    if "label" in said:
        split = [label.partition(":") for label in said["label"]]
        parameters["label_names"] = [name for name, _, _ in split]
        parameters["label_values"] = [value for _, _, value in split]
    if "q" in said:
        parts.append(_saying(said["q"], parameters))
    parts += ordered(sql, order, cursor=page.cursor, mark=_mark(said, order), into=parameters)
    return b"\n".join(parts), parameters, order


def _mark(said: Mapping[str, Any], order: Order) -> str:
    plain = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in said.items()
    }
    if "parent_run_id" in plain:
        plain["parent_run_id"] = str(plain["parent_run_id"])
    return mark_of("runs", plain | {"sort": [order.key, order.direction]})


def _saying(search: str, parameters: dict[str, Any]) -> bytes:
    """Return the condition of a search; each term becomes a parameter."""
    says = queries("listing")["says"]

    def term(words: str) -> bytes:
        name = f"term_{len(parameters)}"
        parameters[name] = words
        return says.replace(b"{term}", f"%({name})s".encode())

    alternatives = (
        b" and ".join(
            [*(term(words) for words in group.said), *(b"not " + term(w) for w in group.unsaid)]
        )
        for group in groups_of(search)
    )
    return b"and ((" + b") or (".join(alternatives) + b"))"


def ordered(
    sql: Mapping[str, bytes],
    order: Order,
    *,
    cursor: str | None,
    mark: str,
    into: dict[str, Any],
) -> list[bytes]:
    """Return the pieces that begin a page behind its cursor, sort it and cut it."""
    ending = f"{order.direction}{'_nulls' if order.nulls else ''}"
    parts = [sql[f"order_{ending}"]]
    if cursor is not None:
        after, after_id = read_cursor(cursor, mark, kinds=(order.kind, ID))
        into.update(after=after, after_id=after_id)
        among = after is None and order.nulls
        parts.insert(0, sql[f"{'among' if among else 'after'}_{ending}"])
    key = sql[f"key_{order.key}"]
    return [part.replace(b"{key}", key) for part in parts]
