"""A server as a store."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self, Unpack
from uuid import UUID

import msgspec
import polars as pl
import pyarrow as pa

from workbench import frames, hashing
from workbench.errors import AccessError, RunNotFound, StoreError, WorkbenchError
from workbench.settings import Settings
from workbench.spool import SpoolFolder
from workbench.store import filters, lookup, manage, rows
from workbench.store.administration import Administration
from workbench.store.batches import Parcel, cut, receipt_of
from workbench.store.follow import Following, Source
from workbench.store.outlet import Key, Outlet, declare
from workbench.store.protocol import Receipt
from workbench.store.replays import Replays
from workbench.store.run import Run
from workbench.store.spooled import SpooledWriter
from workbench.store.wire import ARROW, Wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from types import TracebackType

    from workbench.redaction import Layer, Wanted
    from workbench.schema import Event, RunHeader, RunPatch
    from workbench.store.filters import RunFilter
    from workbench.store.protocol import (
        ArtifactFilter,
        Body,
        Declared,
        EventColumns,
        RunWriter,
    )

_PAGE = 1000


def connect(url: str, api_key: str | None = None, *, check: bool = True) -> RemoteStore:
    """Open the workspace of a server that this key belongs to.

    Parameters
    ----------
    url, api_key
        The server's address, and a key of the workspace.
    check
        False to ask nothing of the server now: it can be recorded into while the server is down,
        and the workspace is learned from its first answer.

    Raises
    ------
    Unavailable
        The server cannot be reached, or what answers is no Workbench server.
    Unauthenticated
        The key is missing, unknown or expired.
    """
    store = RemoteStore(url, api_key)
    if check:
        store.identify()
    return store


class RemoteStore:
    """See `connect`."""

    read_only = False

    def __init__(
        self, url: str, api_key: str | None = None, *, local_socket: str | None = None
    ) -> None:
        self.address = url
        self._wire = Wire(url, api_key, local_socket=local_socket)
        self._key = Key()

    def identify(self) -> None:
        """Ask the server whose key this is; close the store where it does not say.

        Raises
        ------
        Unavailable
            The server cannot be reached, or what answers is no Workbench server.
        Unauthenticated
            The key is missing, unknown or expired.
        """
        try:
            self._key.workspace(self._wire)
        except BaseException:
            self._wire.close()
            raise

    @property
    def workspace_id(self) -> str:
        """The id of the workspace; the server is asked where it is not known yet."""
        return self._key.workspace(self._wire).workspace_id

    @property
    def workspace(self) -> str:
        """The name of the workspace; the server is asked where it is not known yet."""
        return self._key.workspace(self._wire).name

    def __repr__(self) -> str:
        known = self._key.known
        return f"<Store {self.address} {known.name if known else '(not asked yet)'}>"

    def runs(self, *, limit: int | None = None, **wanted: Unpack[RunFilter]) -> pl.DataFrame:
        """Return the runs, newest first; see `workbench.store.Store.runs`."""
        query = filters.as_query(filters.checked(wanted))
        return rows.as_frame(manage.pages(self._wire, "runs", query, limit, size=_PAGE))

    def sessions(
        self, *, session: str | None = None, sort: str | None = None, limit: int | None = None
    ) -> pl.DataFrame:
        """Return sessions, the last active first; see `workbench.store.Store.sessions`."""
        return manage.sessions(self._wire, session=session, sort=sort, limit=limit)

    def artifacts(
        self, *, limit: int | None = None, **wanted: Unpack[ArtifactFilter]
    ) -> pl.DataFrame:
        """Return what runs made, newest first; see `workbench.store.Store.artifacts`."""
        return manage.artifacts(self._wire, wanted, limit=limit)

    def manifest(self, run: Run | str) -> dict[str, Any]:
        """Return what a run consists of; see `workbench.store.Store.manifest`."""
        return manage.manifest(self._wire, self._id_of(run))

    def end(self, run: Run | str, *, status: str = "done", **said: Any) -> dict[str, Any]:
        """End a run whose writers do not, and return its row.

        Parameters
        ----------
        run
            A run, its id, the unique beginning of an id, or its source.
        status
            ``done``, ``failed``, ``cancelled`` or ``diverged``.
        said
            ``reason``, kept as the run's exception, and ``output``, kept as what it gave.

        Raises
        ------
        Conflict
            It has ended with another status.
        """
        return manage.end(self._wire, self._id_of(run), {"status": status, **said})

    def cancel(self, run: Run | str, *, reason: str | None = None) -> dict[str, Any]:
        """End a run as cancelled; see `workbench.store.Store.cancel`."""
        return manage.cancel(self._wire, self._id_of(run), reason=reason)

    def heartbeat(self, run_id: str) -> dict[str, Any]:
        """Say that a writer of the run is alive; return its status, health, and if it is over."""
        return manage.heartbeat(self._wire, run_id)

    def _id_of(self, run: Run | str) -> str:
        if isinstance(run, Run):
            return run.run_id
        return run if _is_uuid(run) else self.run(run).run_id

    def run(self, wanted: str) -> Run:
        """Return the run with this id, unique beginning of an id, or source."""
        if _is_uuid(wanted):
            try:
                return Run(self, self.row(wanted))
            except RunNotFound:
                raise lookup.not_found(self.runs(limit=_PAGE), wanted) from None
        by_source = self.runs(source=wanted, limit=1)
        found = by_source.row(0, named=True) if by_source.height else None
        return Run(self, found or lookup.find(self.runs(), wanted))

    def row(self, run_id: str) -> dict[str, Any]:
        """Return a run's row as it is now."""
        return rows.as_row(self._wire.get_json(f"/v1/runs/{run_id}"))

    def events(
        self,
        run_id: str,
        *,
        columns: EventColumns = "all",
        after: int | None = None,
        before: int | None = None,
        limit: int | None = None,
        failed: bool = False,
    ) -> pl.DataFrame:
        """Return a run's events by ``seq``; see `workbench.store.Store.events`."""
        raw = self._wire.get(
            f"/v1/runs/{run_id}/events",
            accept=ARROW,
            columns=columns,
            after=after,
            before=before,
            limit=limit,
            failed=failed,
            # payloads were compressed better than this, and are long
            compression="lz4" if columns == "timeline" else "none",
        )
        wanted = frames.EVENTS if columns == "all" else frames.TIMELINE
        return frames.fitted(pl.read_ipc_stream(io.BytesIO(raw)), wanted)

    def follow(
        self,
        run: Run | str,
        *,
        after: int = 0,
        timeout: float | None = None,
    ) -> Following:
        """Return an iterator of frames of a run's events, those there and those to come.

        It goes on by itself after a broken connection or a restarted server; no event is missing
        and none comes twice. In a thread of its own it can be ended from another one by ``close``.

        Parameters
        ----------
        run
            A run, its id, the unique beginning of an id, or its source.
        after
            The last ``seq`` that is known already.
        timeout
            Seconds after which it ends although the run goes on.

        Returns
        -------
        Following
            Each frame has the columns `workbench.frames.EVENTS`. It ends when the run has ended
            and nothing of it is missing; a ``lost`` run may still come back.

        Raises
        ------
        RunNotFound
            There is no such run.
        Unavailable
            The server stayed away for five minutes.
        """
        found = self.run(run) if isinstance(run, str) else run
        last_seq = int(found.info.get("events") or 0)
        source = Source(wire=self._wire, events=self.events, last_seq=last_seq)
        return Following(source, found.run_id, after=after, timeout=timeout)

    def bodies(self, run_id: str) -> dict[str, Body]:
        """Return digest → message body."""
        return dict(self._wire.get_json(f"/v1/runs/{run_id}/bodies"))

    def messages(self, run_id: str) -> Iterator[tuple[str, bytes]]:
        """Give digest and body of every message the run names; see `workbench.store.Store`."""
        raw = self._wire.get(f"/v1/runs/{run_id}/bodies", accept=ARROW)
        for batch in pa.ipc.open_stream(raw):
            rows = zip(*(column.to_pylist() for column in batch.columns), strict=True)
            yield from ((digest, body.encode()) for digest, body in rows)

    def sql(self, query: str) -> pl.DataFrame:
        """Run a query over ``runs``, ``events`` and ``messages`` in this process's DuckDB."""
        from workbench.store import query as engine

        return engine.over_server(self, query)

    def snapshots(self) -> dict[str, Any]:
        """Return where the lake's tables of this workspace stand."""
        return dict(self._wire.get_json("/v1/snapshots"))

    def declare(self, header: RunHeader) -> Declared:
        """Create a run, or find that it exists with the same facts.

        Raises
        ------
        Conflict
            The id is taken by a run with other facts.
        """
        return declare(self._wire, header)

    def create_run(self, header: RunHeader) -> str:
        """Create a run and return its id."""
        return self.declare(header).run_id

    def append(
        self, run_id: str, events: Iterable[Event], bodies: Mapping[str, Body] | None = None
    ) -> Receipt:
        """Store a batch of events, all of it or nothing.

        A batch too large for one request (5,000 events, 16 MiB) goes in several; after an error
        the same call goes on where it stopped, because what is stored already is not stored twice.

        Raises
        ------
        SchemaError, SequenceError
            As the server says; nothing of the request is stored.
        """
        path = f"/v1/runs/{run_id}/events"
        receipts = [
            msgspec.convert(self._wire.send_json("POST", path, batch), Receipt)
            for batch in cut(events, bodies or {})
        ]
        return Receipt(
            accepted=sum(receipt.accepted for receipt in receipts),
            duplicates=sum(receipt.duplicates for receipt in receipts),
            first_seq=next((r.first_seq for r in receipts if r.first_seq is not None), None),
            last_seq=next((r.last_seq for r in receipts[::-1] if r.last_seq is not None), None),
        )

    def store_runs(self, parcel: Parcel) -> list[Receipt | WorkbenchError]:
        """Store several runs with one request; see `workbench.store.Store.store_runs`."""
        sent = self._wire.send_json("POST", "/v1/batches", parcel)
        return [receipt_of(said) for said in sent["runs"]]

    def patch(self, run_id: str, change: RunPatch) -> dict[str, Any]:
        """Change a run's name or labels and return its new row."""
        self._wire.send_json("PATCH", f"/v1/runs/{run_id}", change)
        return self.row(run_id)

    def put_artifact(self, data: bytes) -> str:
        """Store bytes and return their sha-256."""
        sha256 = hashing.sha256_hex(data)
        self._wire.put(f"/v1/artifacts/{sha256}", data)
        return sha256

    def get_artifact(self, sha256: str) -> bytes:
        """Return the bytes with this sha-256.

        Raises
        ------
        ArtifactNotFound
            The workspace has none.
        """
        return self._wire.get(f"/v1/artifacts/{sha256}", accept="*/*")

    def writer(self, header: RunHeader, *, redact: Wanted | None = None) -> RunWriter:
        """Return what appends to a new run, by way of the disk; it is made behind the caller."""
        settings = Settings.from_environment()
        folder = SpoolFolder(settings.spool, settings.spool_bytes)
        return SpooledWriter(self.outlet(), header, folder=folder, redact=redact)

    def redaction(self) -> Layer | None:
        """Return the workspace's rules and the key of its placeholders, those last heard at worst.

        None where they were never heard, or this API key may only read.
        """
        outlet = self.outlet()
        with suppress(StoreError, AccessError):
            return outlet.ask_rules()
        return outlet.rules

    def outlet(self) -> Outlet:
        """Return what a spool is delivered to."""
        return Outlet(self._wire, self.address, key=self._key)

    @property
    def administration(self) -> Administration:
        """The workspace's keys, limits and usage."""
        return Administration(self._wire)

    @property
    def replays(self) -> Replays:
        """The replays that the server's workers play."""
        return Replays(self._wire)

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
