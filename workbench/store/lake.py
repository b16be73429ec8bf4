"""The lake's tables as files: which they are, and which runs in them are current."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import fsspec
import polars as pl
import pyarrow.parquet as pq

from workbench.store.foreign import unreached

if TYPE_CHECKING:
    from collections.abc import Mapping

_VISIBLE = {"run_id": pl.String, "generation": pl.Int64}
_IO = "pyiceberg.io.fsspec.FsspecFileIO"

Place = tuple[fsspec.AbstractFileSystem, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lake:
    """Table → its data files at one snapshot; empty where this process cannot read them."""

    tables: dict[str, list[Place]]

    @classmethod
    def found(cls, snapshots: Mapping[str, Mapping[str, Any]]) -> Lake:
        """Read the metadata at the locations that ``GET /v1/snapshots`` gives.

        A snapshot is removed when newer ones have replaced it, and a notebook may hold no
        credentials for the prefix: what cannot be read is fetched over HTTP instead.
        """
        try:
            return cls(
                tables={
                    name: _data_files(str(said["metadata_location"]))
                    for name, said in snapshots.items()
                }
            )
        except unreadable():
            return cls(tables={})

    def files(self, table: str) -> list[Place]:
        """Return the table's data files, each with its file system."""
        return self.tables.get(table, [])

    def current(self, runs: pl.DataFrame) -> pl.DataFrame:
        """Return the (run_id, generation) that hold all events the server has now.

        ``runs`` in the lake is written last, so what it does not name is not there; of several
        generations the highest counts.
        """
        if not self.tables.get("runs"):
            return pl.DataFrame(schema=_VISIBLE)
        parts = [
            _columns(place, ["run_id", "generation", "events"]) for place in self.files("runs")
        ]
        newest = pl.concat(parts).sort("generation").unique("run_id", keep="last")
        return newest.join(runs.select("run_id", "events"), on=["run_id", "events"]).select(
            list(_VISIBLE)
        )


def unreadable() -> tuple[type[Exception], ...]:
    """Return the errors that say that files of the lake are not here, or not for this process."""
    return (*unreached(), OSError, ValueError, ImportError)


def _data_files(location: str) -> list[Place]:
    from pyiceberg.table import StaticTable

    table = StaticTable.from_metadata(location, properties=_properties())
    tasks = table.scan().plan_files()
    return sorted(
        (fsspec.core.url_to_fs(task.file.file_path) for task in tasks), key=lambda place: place[1]
    )


def _properties() -> dict[str, str]:
    said = {
        "s3.endpoint": os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"),
        "s3.region": os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
        "s3.access-key-id": os.environ.get("AWS_ACCESS_KEY_ID"),
        "s3.secret-access-key": os.environ.get("AWS_SECRET_ACCESS_KEY"),
        "s3.session-token": os.environ.get("AWS_SESSION_TOKEN"),
    }
    return {"py-io-impl": _IO} | {name: value for name, value in said.items() if value}


def _columns(place: Place, names: list[str]) -> pl.DataFrame:
    files, path = place
    table = pq.read_table(path, filesystem=files, columns=names)
    return pl.DataFrame(pl.from_arrow(table)).with_columns(pl.col("run_id").cast(pl.String))
