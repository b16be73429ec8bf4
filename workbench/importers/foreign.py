"""Files of other tools: each record becomes a run under an id made of its bytes and its place."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID, uuid5

import msgspec

from workbench import formats
from workbench.errors import FormatError
from workbench.hashing import dumps, sha256_hex
from workbench.importers.storing import Ready

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workbench.formats import Format, Slice, Trace
    from workbench.importers.files import Found
    from workbench.importers.storing import Storing
    from workbench.importers.summary import Summary


class _Record(NamedTuple):
    trace: Trace
    piece: Slice
    key: str


def run_id_of(workspace_id: str, format_name: str, data: bytes, key: str) -> str:
    """Return the id of an imported run: the same for the same bytes and item in one workspace."""
    said = dumps([format_name, sha256_hex(data), key]).decode()
    return str(uuid5(UUID(workspace_id), said))


def import_file(
    found: Found, format_name: Format, *, storing: Storing
) -> FormatError | OSError | None:
    """Import the records of one file; return what made the whole file unreadable, else null."""
    try:
        data = found.path.read_bytes()
        for record in _records(data, found, format_name, storing.summary):
            _import_record(record, found, format_name, storing=storing)
    except (FormatError, OSError) as error:
        storing.summary.skip(found.shown, error)
        return error
    return None


def _records(data: bytes, found: Found, format_name: Format, summary: Summary) -> Iterator[_Record]:
    context, pieces = formats.records(format_name, data, where=found.shown)
    whole_path, seen = found.path.absolute(), Counter[str]()
    for piece in pieces:
        try:
            trace = formats.trace(
                format_name, piece, context=context, path=whole_path, where=found.shown
            )
        except FormatError as error:
            if len(piece.data) == len(data):
                raise
            summary.skip(found.shown, error, line=piece.line)
            continue
        seen[trace.key] += 1
        again = f",copy={seen[trace.key]}" if seen[trace.key] > 1 else ""
        yield _Record(trace, piece, trace.key + again)


def _import_record(record: _Record, found: Found, format_name: Format, *, storing: Storing) -> None:
    trace, piece, key = record
    storing.count(formats.counts(trace))
    run_id = run_id_of(storing.store.workspace_id, format_name, piece.data, key)
    if storing.has(run_id):
        return
    try:
        run = formats.imported(trace)
    except FormatError as error:
        storing.summary.skip(found.shown, error, line=piece.line)
        return
    source = f"{format_name}:{found.name}" + (f"#{key}" if trace.item else "")
    header = msgspec.structs.replace(run.header, run_id=run_id, source=source)
    storing.put(
        Ready(
            header=header,
            events=run.events,
            bodies=run.bodies,
            file=found.shown,
            line=piece.line,
        )
    )
