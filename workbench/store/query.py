"""User SQL in this process's own DuckDB: tables ``runs``, ``events`` and ``messages``.

The query never reaches a server. A table is filled only when the query names it.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

import duckdb
import fsspec
import polars as pl

from workbench import frames
from workbench.errors import MalformedFile, UsageError
from workbench.store.foreign import reading
from workbench.store.lake import Lake, unreadable
from workbench.store.run import Run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workbench.store.folder import FolderStore
    from workbench.store.remote import RemoteStore

EVENTS: frames.Columns = {"run_id": pl.String, **frames.EVENTS}
MESSAGES: frames.Columns = {"run_id": pl.String, **frames.MESSAGES}
_TABLES = {"runs", "events", "messages"}
_HINT = "the tables are events, messages, runs"


def over_folder(store: FolderStore, query: str) -> pl.DataFrame:
    """Run a query over an exported folder."""
    named = _named(query)
    events = store.path_of("events.parquet")
    with _refusing(), reading(events, store=store.address), _engine() as engine:
        engine.register("runs", store.runs().to_arrow())
        if "events" in named:
            paths = [_mounted(engine, store.files, events)]
            try:
                engine.execute(f"create view events as {_reading(paths, EVENTS)}")
            except duckdb.IOException as error:
                said = str(error).partition("\n")[0]
                raise MalformedFile("the file cannot be read", where=events, found=said) from error
        if "messages" in named:
            runs = [Run(store, row) for row in store.runs().iter_rows(named=True)]
            engine.register("messages", messages_of(runs).to_arrow())
        return _answer(engine, query)


def over_server(store: RemoteStore, query: str) -> pl.DataFrame:
    """Run a query over a server's lake, and over the runs that are not in it yet."""
    with _refusing():
        lake = Lake(tables={})
        if _named(query) & {"events", "messages"}:
            lake = Lake.found(store.snapshots().get("tables") or {})
        try:
            return _over(store, lake, query)
        except _gone():
            if not lake.tables:
                raise
            # files of a snapshot go when newer ones have replaced it, also while a query runs
            return _over(store, Lake(tables={}), query)


def _gone() -> tuple[type[Exception], ...]:
    return (duckdb.IOException, *unreadable())


def _over(store: RemoteStore, lake: Lake, query: str) -> pl.DataFrame:
    with _engine() as engine:
        runs = store.runs()
        engine.register("runs", runs.to_arrow())
        _fill(engine, store, lake, runs=runs, named=_named(query))
        return _answer(engine, query)


def _fill(
    engine: duckdb.DuckDBPyConnection,
    store: RemoteStore,
    lake: Lake,
    *,
    runs: pl.DataFrame,
    named: set[str],
) -> None:
    visible = lake.current(runs)
    rest = runs.join(visible, on="run_id", how="anti")
    fetched = [Run(store, row) for row in rest.iter_rows(named=True)]
    engine.register("visible", visible.to_arrow())
    for table, columns, fetch in (
        ("events", EVENTS, events_of),
        ("messages", MESSAGES, messages_of),
    ):
        if table in named:
            engine.register(f"fetched_{table}", fetch(fetched).to_arrow())
            paths = [_mounted(engine, files, path) for files, path in lake.files(table)]
            engine.execute(
                f"create view {table} as {_visible(paths, columns)}"  # noqa: S608 - our own names
                f"select * from fetched_{table}"
            )


def _visible(paths: list[str], columns: frames.Columns) -> str:
    """Select the rows of finished snapshots: those whose (run, generation) is in ``visible``."""
    if not paths:
        return ""
    return f"{_reading(paths, columns)} semi join visible using (run_id, generation) union all "


def events_of(runs: list[Run]) -> pl.DataFrame:
    """Return the events of several runs, with their ``run_id``."""
    return _together(((run, run.store.events(run.run_id)) for run in runs), EVENTS)


def messages_of(runs: list[Run]) -> pl.DataFrame:
    """Return the messages of several runs, with their ``run_id``."""
    return _together(((run, Run(run.store, run.info).messages) for run in runs), MESSAGES)


def _together(parts: Iterator[tuple[Run, pl.DataFrame]], columns: frames.Columns) -> pl.DataFrame:
    listed = [part.with_columns(run_id=pl.lit(run.run_id)) for run, part in parts]
    empty = pl.DataFrame(schema=columns)
    return pl.concat([empty, *(frames.fitted(part, columns) for part in listed)])


@contextlib.contextmanager
def _engine() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as engine:
        # a table is one of ours, never a variable of the caller's that has the same name
        engine.execute("set python_enable_replacements = false; set TimeZone = 'UTC'")
        yield engine


def _named(query: str) -> set[str]:
    """Return the tables that a query names, so that no other is filled."""
    with duckdb.connect(":memory:") as parser:
        tree = parser.execute("select json_serialize_sql(?)", [query]).fetchone()
    found = re.findall(r'"table_name":"(\w+)"', str(tree)) or re.findall(r"\w+", query)
    return {name.lower() for name in found} & _TABLES


def _answer(engine: duckdb.DuckDBPyConnection, query: str) -> pl.DataFrame:
    found = engine.sql(query)
    if found is None:
        raise UsageError("the query gives no rows", hint=_HINT)
    return _with_integers(pl.DataFrame(found.pl()))


def _with_integers(found: pl.DataFrame) -> pl.DataFrame:
    """Return DuckDB's 128-bit sums and counts as integers, where they fit."""
    sums = [
        column
        for column in found
        if isinstance(column.dtype, pl.Decimal) and column.dtype.scale == 0
    ]
    narrow = [column.cast(pl.Int64, strict=False) for column in sums]
    return found.with_columns(
        after
        for before, after in zip(sums, narrow, strict=True)
        if before.null_count() == after.null_count()
    )


@contextlib.contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        raise UsageError("the query was refused", found=str(error), hint=_HINT) from error


def _reading(paths: list[str], columns: frames.Columns) -> str:
    listed = ", ".join("'" + path.replace("'", "''") + "'" for path in map(_literal, paths))
    chosen = ", ".join(f'"{name}"' for name in columns)
    return f"select {chosen} from read_parquet([{listed}], union_by_name = true)"  # noqa: S608


def _literal(path: str) -> str:
    """Return a path as a pattern that matches it alone."""
    return re.sub(r"([*?\[])", r"[\1]", path)


def _mounted(engine: duckdb.DuckDBPyConnection, files: fsspec.AbstractFileSystem, path: str) -> str:
    """Return a path DuckDB can open; what is not on disk is read through its own file system."""
    if isinstance(files, fsspec.implementations.local.LocalFileSystem):
        return path
    name = files.protocol if isinstance(files.protocol, str) else files.protocol[0]
    if not engine.filesystem_is_registered(name):
        engine.register_filesystem(files)
    return str(files.unstrip_protocol(path))
