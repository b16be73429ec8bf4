"""A run's events and messages as Arrow tables, and its words for the search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import msgspec
import pyarrow as pa

from workbench.frames.messages import message_rows
from workbench.schema import Event
from workbench_server.queries import queries
from workbench_server.squeezing import unsqueezed
from workbench_server.worker.lake import EVENTS, MESSAGES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from uuid import UUID

    import psycopg

    Connection = psycopg.Connection[dict[str, Any]]

_MOST_WORDS = 200_000  # a tsvector holds a megabyte; nobody searches for what stands behind this

_PAGE = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Rows of the lake's two large tables, and how many messages each run has."""

    events: pa.Table
    messages: pa.Table
    counts: list[dict[str, Any]]

    @classmethod
    def of(cls, runs: Iterable[Content]) -> Self:
        """Put the rows of several runs together."""
        listed = list(runs)
        return cls(
            events=pa.concat_tables([run.events for run in listed]),
            messages=pa.concat_tables([run.messages for run in listed]),
            counts=[count for run in listed for count in run.counts],
        )


def read_run(connection: Connection, workspace_id: UUID, run: dict[str, Any]) -> Content:
    """Read one run's rows, and fill its part of the search index."""
    key = {"workspace_id": workspace_id, "run_id": run["run_id"]}
    mark = {"run_id": str(run["run_id"]), "generation": run["generation"]}
    tables = [EVENTS.empty_table()]
    events: list[Event] = []
    for rows in _pages(connection, key | {"last_seq": run["events"]}):
        tables.append(_events(rows, mark))
        events.extend(map(_event, rows))
    messages = message_rows(events, _bodies(connection, key))
    texts = msgspec.json.encode(_texts(messages)).decode()
    connection.execute(queries("worker")["fill_text"], key | {"texts": texts})
    return Content(
        events=pa.concat_tables(tables),
        messages=_messages(messages, mark),
        counts=[{"run_id": run["run_id"], "messages": len(messages)}],
    )


def _pages(connection: Connection, key: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    after = 0
    while after < key["last_seq"]:
        page = key | {"after": after, "limit": _PAGE}
        rows = connection.execute(queries("worker")["events"], page, binary=True).fetchall()
        for row in rows:
            row["payload"] = unsqueezed(row["payload"])
        yield rows
        after += _PAGE


def _bodies(connection: Connection, key: dict[str, Any]) -> dict[str, Any]:
    rows = connection.execute(queries("worker")["bodies"], key, binary=True)
    return {row["digest"]: msgspec.json.decode(unsqueezed(row["body"])) for row in rows}


def _event(row: dict[str, Any]) -> Event:
    said = {name: value for name, value in row.items() if name != "run_id"}
    return Event(**said | {"payload": msgspec.Raw(row["payload"])})


def _events(rows: list[dict[str, Any]], mark: dict[str, Any]) -> pa.Table:
    columns = [
        pa.array([mark[field.name]] * len(rows), field.type)
        if field.name in mark
        else _column(rows, field)
        for field in EVENTS
    ]
    return pa.Table.from_arrays(columns, schema=EVENTS)


def _column(rows: list[dict[str, Any]], field: Any) -> pa.Array:
    """Return one column of the rows; bytes are JSON text."""
    values = [row[field.name] for row in rows]
    if field.name == "payload":
        return pa.array(values, pa.binary()).cast(pa.string())
    return pa.array(values, field.type)


def _messages(rows: list[dict[str, Any]], mark: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist([row | mark for row in rows], schema=MESSAGES)


def _texts(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the words of each event that holds messages; NUL is no text to Postgres."""
    words: dict[int, str] = {}
    for row in messages:
        if row["seq"] is not None:
            words[row["seq"]] = f"{words.get(row['seq'], '')} {row['text'] or ''}"
    return [
        {"seq": seq, "words": text.replace("\0", " ")[:_MOST_WORDS]} for seq, text in words.items()
    ]
