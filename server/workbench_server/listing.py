"""Runs narrowed, sorted and searched: a query put together of the pieces in ``sql/listing.sql``."""

# No `annotations` from the future: FastAPI reads those of `Filter` as a query's parameters.
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from operator import itemgetter
from typing import Annotated, Any, get_args
from uuid import UUID

from fastapi import Query

from workbench.errors import UsageError
from workbench.schema import RUN_STATUSES, Health, Mode
from workbench_server import asked
from workbench_server.cursors import COUNT, ID, NUMBER, TEXT, TIME
from workbench_server.database import Connection, Pool, transaction
from workbench_server.ordering import Key, Listing, Order, Page, order_of
from workbench_server.queries import queries
from workbench_server.searching import groups_of

MOST_LISTED = 5000
_OFTEN = 10_000
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

_LISTING = Listing(
    name="listing",
    keys={
        "created_at": Key(kind=TIME, of=itemgetter("created_at"), nulls=False),
        "started_at": Key(kind=TIME, of=itemgetter("started_at")),
        "ended_at": Key(kind=TIME, of=itemgetter("ended_at")),
        "duration_ms": Key(kind=NUMBER, of=itemgetter("duration_ms")),
        "cost": Key(kind=NUMBER, of=itemgetter("cost_usd")),
        "tokens": Key(
            kind=COUNT, of=lambda row: row["input_tokens"] + row["output_tokens"], nulls=False
        ),
        "events": Key(kind=COUNT, of=itemgetter("events"), nulls=False),
        "errors": Key(kind=COUNT, of=itemgetter("errors"), nulls=False),
        "name": Key(kind=TEXT, of=itemgetter("name")),
    },
    usual="created_at",
    tie="run_id",
    tie_kind=ID,
)
SORTS = tuple(_LISTING.keys)


async def list_runs(
    pool: Pool, workspace_id: UUID, *, wanted: Filter, page: Page
) -> dict[str, Any]:
    """Return a page of rows, and the cursor of the next page where there is one."""
    compose(wanted, page)  # what makes no sense is refused before anything is asked
    async with transaction(pool, workspace_id) as connection:
        often = await _said_often(connection, wanted)
        query, parameters, order = compose(wanted, page, often=often)
        parameters["workspace_id"] = workspace_id
        rows = await (await connection.execute(query, parameters)).fetchall()
    shown, cursor = order.cut(rows, page)
    return {"runs": shown, "next_cursor": cursor}


async def _said_often(connection: Connection, wanted: Filter) -> frozenset[str]:
    """Return the terms of a search that so many texts say that an index is no help."""
    if wanted.q is None:
        return frozenset()
    groups = groups_of(wanted.q)
    terms = sorted({term for group in groups for term in (*group.said, *group.unsaid)})
    known = {"terms": terms, "most": _OFTEN}
    rows = await connection.execute(queries("listing")["said_often"], known)
    return frozenset([row["phrase"] async for row in rows])


def compose(
    wanted: Filter, page: Page, *, often: frozenset[str] = frozenset()
) -> tuple[bytes, dict[str, Any], Order]:
    """Return the query of a page, its parameters, and its order. Pure."""
    sql, said = queries("listing"), wanted.said()
    parameters = dict(said)
    parts = [sql["rows"], *(sql[name] for name in said if name != "q")]
    if "label" in said:
        split = [label.partition(":") for label in said["label"]]
        parameters["label_names"] = [name for name, _, _ in split]
        parameters["label_values"] = [value for _, _, value in split]
    if "q" in said:
        parts.append(_saying(said["q"], parameters, often))
    order = order_of(_LISTING, page, said=said)
    parts += order.pieces(page, into=parameters)
    return b"\n".join(parts), parameters, order


def _saying(search: str, parameters: dict[str, Any], often: frozenset[str]) -> bytes:
    """Return the condition of a search; each term becomes a parameter."""
    sql = queries("listing")

    def term(words: str) -> bytes:
        says = sql["says_often" if words in often else "says"]
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
