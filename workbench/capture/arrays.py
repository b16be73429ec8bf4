"""Arrays and frames as canonical JSON and back: numpy's and polars', byte for byte.

Both are only looked at where the agent has loaded them already.
"""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_READABLE = (bool, int, float, complex, str, bytes)


def is_ours(kind: type) -> bool:
    """Say whether a type is one of numpy's or polars' own."""
    return _library(kind) in ("numpy", "polars")


def frozen(value: Any, kind: type, freeze: Callable[[Any], Any]) -> Any:
    """Return the form of an array or a frame, or NotImplemented; what holds objects raises."""
    library = _library(kind)
    if library == "numpy":
        return _array(value, kind, freeze)
    return _frame(value, kind) if library == "polars" else NotImplemented


def restored(tag: str, value: Any, thaw: Callable[[Any], Any]) -> Any:
    """Return what `frozen` was given, or NotImplemented where the tag is none of its own."""
    if tag == "numpy_scalar" and "value" in value:
        import numpy as np

        return np.dtype(value["dtype"]).type(thaw(value["value"]))
    if tag in ("numpy", "numpy_scalar"):
        array = _read_array(value["npy"])
        return array[()] if tag == "numpy_scalar" else array
    if tag in ("polars_frame", "polars_series"):
        import polars as pl

        frame = pl.read_ipc(io.BytesIO(base64.b64decode(value)))
        return frame.to_series() if tag == "polars_series" else frame
    return NotImplemented


def _library(kind: type) -> str:
    return str(getattr(kind, "__module__", "")).partition(".")[0]


def _array(value: Any, kind: type, freeze: Callable[[Any], Any]) -> Any:
    import numpy as np

    if kind is np.ndarray:
        form = {"dtype": value.dtype.str, "shape": freeze([*value.shape]), "npy": _npy(value)}
        return {"$type": "numpy", "$value": form}
    if not issubclass(kind, np.generic):
        return NotImplemented
    item = value.item()
    if type(item) in _READABLE and value.dtype.kind in "biufcUS":
        form = {"dtype": value.dtype.str, "value": freeze(item)}
    else:
        form = {"dtype": value.dtype.str, "npy": _npy(np.asarray(value))}
    return {"$type": "numpy_scalar", "$value": form}


def _npy(array: Any) -> str:
    import numpy as np

    file = io.BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=False)
    return base64.b64encode(file.getvalue()).decode()


def _read_array(npy: str) -> Any:
    import numpy as np

    return np.lib.format.read_array(io.BytesIO(base64.b64decode(npy)), allow_pickle=False)


def _frame(value: Any, kind: type) -> Any:
    import polars as pl

    if kind is pl.Series:
        return {"$type": "polars_series", "$value": _ipc(value.to_frame())}
    if kind is not pl.DataFrame:
        return NotImplemented
    return {"$type": "polars_frame", "$value": _ipc(value)}


def _ipc(frame: Any) -> str:
    import polars as pl

    if any(dtype == pl.Object for dtype in frame.dtypes):
        raise TypeError("the frame holds objects")
    file = io.BytesIO()
    frame.rechunk().write_ipc(file, compression="uncompressed")
    return base64.b64encode(file.getvalue()).decode()
