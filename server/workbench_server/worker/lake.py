"""The lake: three Iceberg tables a workspace, catalogued in the same Postgres."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from psycopg.conninfo import conninfo_to_dict
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchTableError
from sqlalchemy import URL

from workbench_server.reading.columns import EVENTS as ENVELOPE

if TYPE_CHECKING:
    from uuid import UUID

    from pyiceberg.table import Table

    from workbench_server.storage import Storage

BATCH = "workbench.batch"

_KEY = [pa.field("run_id", pa.string()), pa.field("generation", pa.int64())]
_TIME = pa.timestamp("us", tz="UTC")
_CALL = pa.struct([pa.field("name", pa.string()), pa.field("arguments", pa.string())])
EVENTS = pa.schema([*_KEY, *ENVELOPE])
MESSAGES = pa.schema(
    [
        *_KEY,
        pa.field("index", pa.int64()),
        pa.field("role", pa.string()),
        pa.field("text", pa.string()),
        pa.field("tool_calls", pa.list_(_CALL)),
        pa.field("tool", pa.string()),
        pa.field("error", pa.string()),
        pa.field("seq", pa.int64()),
    ]
)
_RUN_COLUMNS = {
    pa.string(): (
        "name", "agent", "source", "session", "labels", "mode", "parent_run_id", "edits_hash",
        "supersedes", "superseded_by", "status", "health",
    ),
    pa.int64(): (
        "forked_at", "events", "steps", "calls", "model_calls", "tool_calls", "tool_errors",
        "errors", "input_tokens", "output_tokens", "unknown_cost_parts",
    ),
    pa.float64(): ("duration_ms", "cost_known_usd", "cost_usd"),
    _TIME: ("created_at", "started_at", "ended_at"),
}  # fmt: skip
RUNS = pa.schema(
    [*_KEY, *(pa.field(name, kind) for kind, names in _RUN_COLUMNS.items() for name in names)]
)
SCHEMAS = {"events": EVENTS, "messages": MESSAGES, "runs": RUNS}

_TABLE = {
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
    "commit.manifest-merge.enabled": "true",
    "write.parquet.compression-codec": "zstd",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lake:
    """A catalog, and where each workspace's tables lie."""

    catalog: SqlCatalog
    storage: Storage

    def table(self, workspace_id: UUID, name: str) -> Table:
        """Load a table; it is made at first use."""
        namespace = f"ws_{workspace_id.hex}"
        try:
            return self.catalog.load_table((namespace, name))
        except NoSuchTableError:
            self.catalog.create_namespace_if_not_exists(namespace)
            return self.catalog.create_table_if_not_exists(
                (namespace, name),
                schema=SCHEMAS[name],
                location=self.storage.url(self.storage.path(workspace_id, "lake", name)),
                properties=_TABLE,
            )


def append(table: Table, rows: pa.Table, *, batch: str) -> None:
    """Append rows once: a batch that a snapshot already names is skipped."""
    if any(_batch_of(snapshot) == batch for snapshot in table.metadata.snapshots):
        return
    table.append(rows, snapshot_properties={BATCH: batch})


def _batch_of(snapshot: Any) -> str | None:
    return None if snapshot.summary is None else snapshot.summary.additional_properties.get(BATCH)


def open_lake(url: str, storage: Storage) -> Lake:
    """Open the catalog in the schema ``lake``."""
    catalog = SqlCatalog(
        "workbench", uri=_sqlalchemy(url), pool_pre_ping="true", **_files_properties(storage)
    )
    return Lake(catalog=catalog, storage=storage)


def _sqlalchemy(url: str) -> str:
    known = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    user, password = known.pop("user", None), known.pop("password", None)
    database = known.pop("dbname", None)
    query = known | {"options": "-c search_path=lake"}
    address = URL.create(
        "postgresql+psycopg", username=user, password=password, database=database, query=query
    )
    return address.render_as_string(hide_password=False)


def _files_properties(storage: Storage) -> dict[str, str]:
    io = {"py-io-impl": "pyiceberg.io.fsspec.FsspecFileIO"}
    if storage.is_folder:
        return io
    said = {
        "s3.endpoint": os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"),
        "s3.region": os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
        "s3.access-key-id": os.environ.get("AWS_ACCESS_KEY_ID"),
        "s3.secret-access-key": os.environ.get("AWS_SECRET_ACCESS_KEY"),
        "s3.session-token": os.environ.get("AWS_SESSION_TOKEN"),
    }
    return io | {name: value for name, value in said.items() if value}
