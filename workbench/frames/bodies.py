"""Parts of payloads as the very text that was recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl
from msgspec import Raw, Struct

from workbench import hashing, sharing
from workbench.errors import InvalidEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# The JSON path of polars rounds numbers: of 2,000 random floats 539 came back changed in their last
# digit, and so would every hash over them. Here the bytes are only cut out, at 0.5 µs a row.


_NULL = Raw(b"null")
_ROWS_AT_ONCE = 20_000


class _Started(Struct):
    request: Raw = _NULL


class _Ended(Struct):
    outcome: Raw = _NULL
    exception: Raw = _NULL


_started = msgspec.json.Decoder(_Started)
_ended = msgspec.json.Decoder(_Ended)


def requests(payloads: pl.Series, step_ids: pl.Series) -> pl.Series:
    """Return the ``request`` of each ``call_started`` of a run, in the order of its log.

    One that names an earlier one is written out whole (see `workbench.sharing`).
    """
    found = _cut(payloads, _started, "request")["request"]
    folded = found.str.contains(sharing.REFERENCE, literal=True).fill_null(value=False)
    return _whole(found, step_ids) if folded.any() else found


def _whole(requests: pl.Series, step_ids: pl.Series) -> pl.Series:
    unfolding = sharing.Unfolding()
    texts: list[str | None] = []
    for text, step_id in zip(requests, step_ids, strict=True):
        if text is None or '"messages"' not in text:
            texts.append(text)
            continue
        request = msgspec.json.decode(text)
        whole = unfolding.whole(step_id, request)
        texts.append(text if whole is request else hashing.dumps(whole).decode())
    return pl.Series(requests.name, texts, dtype=pl.String)


def outcomes(payloads: pl.Series) -> pl.DataFrame:
    """Return the ``outcome`` and the ``exception`` of each ``call_ended``."""
    return _cut(payloads, _ended, "outcome", "exception")


def _cut(payloads: pl.Series, decoder: Any, *names: str) -> pl.DataFrame:
    # slice by slice, because memory that is touched for the first time costs more than the parsing
    columns = dict.fromkeys(names, pl.String)
    parts = [
        pl.DataFrame(
            {name: _texts(getattr(one, name) for one in decoded) for name in names}, schema=columns
        )
        for decoded in _decoded(payloads.fill_null("{}"), decoder)
    ]
    return pl.concat([pl.DataFrame(schema=columns), *parts])


def _decoded(payloads: pl.Series, decoder: Any) -> Iterator[list[Any]]:
    try:
        for start in range(0, len(payloads), _ROWS_AT_ONCE):
            texts = payloads.slice(start, _ROWS_AT_ONCE).to_list()
            yield [decoder.decode(text) for text in texts]
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidEvent("a payload is no JSON object", found=str(error)) from error


def _texts(parts: Iterable[Raw]) -> list[str | None]:
    return [None if part == _NULL else str(part, "utf-8") for part in parts]
