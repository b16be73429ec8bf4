"""Foreign errors of reading files, turned into ours in one place."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa

from workbench.errors import MalformedFile, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def reading(where: str, *, store: str) -> Iterator[None]:
    """Say which file is broken, or that the store it lies in cannot be reached."""
    try:
        yield
    except unreached() as error:
        raise Unavailable(
            "the exported runs cannot be reached",
            where=store,
            found=str(error),
            hint="for s3:// the AWS_* variables name the endpoint and the key",
        ) from error
    except (pl.exceptions.PolarsError, pa.ArrowException, OSError, EOFError) as error:
        said = str(error).partition("\n")[0]
        raise MalformedFile("the file cannot be read", where=where, found=said) from error


def unreached() -> tuple[type[Exception], ...]:
    """Return the errors that say that a place cannot be reached."""
    known = (PermissionError, ConnectionError, TimeoutError)
    # its errors can only be raised where it is loaded, and loading it takes long
    botocore = sys.modules.get("botocore.exceptions")
    return known if botocore is None else (*known, botocore.BotoCoreError)
