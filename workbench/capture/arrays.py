"""Arrays and frames as canonical JSON and back: numpy's and polars'.

Both are only looked at where the agent has loaded them already. Texts in them stay texts, so that
what is to be redacted is found; numbers are written byte for byte.
"""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    Freeze = Callable[[Any], Any]

_NUMBERS, _TEXTS = "biufcMm", "US"
_READABLE = (bool, int, float, complex, str, bytes)


def is_ours(kind: type) -> bool:
    """Say whether a type is one of numpy's or polars' own."""
    return _library(kind) in ("numpy", "polars")


def frozen(value: Any, kind: type, freeze: Freeze) -> Any:
    """Return the form of an array or a frame, or NotImplemented; what cannot come back raises."""
    library = _library(kind)
    if library == "numpy":
        return _array(value, kind, freeze)
    return _frame(value, kind, freeze) if library == "polars" else NotImplemented


def restored(tag: str, value: Any, thaw: Freeze) -> Any:
    """Return what `frozen` was given, or NotImplemented where the tag is none of its own."""
    if tag == "numpy":
        return _read_array(value, thaw)
    if tag == "numpy_scalar":
        return _read_scalar(value, thaw)
    if tag in ("polars_frame", "polars_series"):
        frame = _read_frame(value, thaw)
        return frame.to_series() if tag == "polars_series" else frame
    return NotImplemented


def _library(kind: type) -> str:
    return str(getattr(kind, "__module__", "")).partition(".")[0]


# ---- numpy


def _array(value: Any, kind: type, freeze: Freeze) -> Any:
    import numpy as np

    form: dict[str, Any] = {"dtype": value.dtype.str}
    if kind is np.ndarray:
        form["shape"] = [*value.shape]
        if value.dtype.kind in _NUMBERS:
            form["bytes"] = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        elif value.dtype.kind in _TEXTS:
            form["items"] = freeze(value.ravel().tolist())
        else:
            raise TypeError("an array of objects or records")
        return {"$type": "numpy", "$value": form}
    item = value.item() if issubclass(kind, np.generic) else None
    if type(item) in _READABLE and value.dtype.kind in _NUMBERS + _TEXTS:
        return {"$type": "numpy_scalar", "$value": {**form, "value": freeze(item)}}
    if issubclass(kind, (np.datetime64, np.timedelta64)):
        whole = int(value.view("i8"))
        return {"$type": "numpy_scalar", "$value": {**form, "value": whole}}
    return NotImplemented


def _read_array(form: dict[str, Any], thaw: Freeze) -> Any:
    import numpy as np

    dtype = np.dtype(form["dtype"])
    if "bytes" in form:
        flat = np.frombuffer(base64.b64decode(form["bytes"]), dtype).copy()
    else:
        flat = np.array(thaw(form["items"]), dtype)
    return flat.reshape(form["shape"])


def _read_scalar(form: dict[str, Any], thaw: Freeze) -> Any:
    import numpy as np

    dtype = np.dtype(form["dtype"])
    if dtype.kind in "Mm":
        return np.array(form["value"], "i8").view(dtype)[()]
    return dtype.type(thaw(form["value"]))


# ---- polars


def _frame(value: Any, kind: type, freeze: Freeze) -> Any:
    import polars as pl

    tag = "polars_series" if kind is pl.Series else "polars_frame"
    if kind is not pl.DataFrame and kind is not pl.Series:
        return NotImplemented
    frame = value.to_frame() if kind is pl.Series else value
    columns = [[column.name, column.to_list()] for column in frame.get_columns()]
    file = io.BytesIO()
    frame.clear().write_ipc(file, compression="uncompressed")
    schema = base64.b64encode(file.getvalue()).decode()
    if not _built(schema, columns).equals(frame):
        raise TypeError("Python's own values do not hold all of it")
    return {"$type": tag, "$value": {"schema": schema, "columns": freeze(columns)}}


def _built(schema: str, columns: list[Any]) -> Any:
    import polars as pl

    empty = pl.read_ipc(io.BytesIO(base64.b64decode(schema)))
    return pl.DataFrame(
        [
            pl.Series(name, items, dtype=dtype)
            for (name, items), dtype in zip(columns, empty.dtypes, strict=True)
        ]
    )


def _read_frame(form: dict[str, Any], thaw: Freeze) -> Any:
    return _built(form["schema"], thaw(form["columns"]))
