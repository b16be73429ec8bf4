"""The lake's tables, read at the places that the server gives."""

import polars as pl
from pyiceberg.table import StaticTable


def table(place):
    return StaticTable.from_metadata(place, {"py-io-impl": "pyiceberg.io.fsspec.FsspecFileIO"})


def rows(place):
    return pl.from_arrow(table(place).scan().to_arrow())
