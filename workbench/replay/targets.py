"""Where a replay's new run goes: a store, or a folder of its own beside a read-only one."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from workbench.schema import RunHeader
    from workbench.store.protocol import RunWriter, Store
    from workbench.store.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A writer of the new run, and how to read it when it is closed."""

    sink: RunWriter
    read: Callable[[], Run]
    header: RunHeader
    store: Store

    def unread(self, status: str) -> Run:
        """Return the new run as far as it is known without reading it: what was said of it."""
        from workbench import frames
        from workbench.store import Run

        header = msgspec.structs.replace(self.header, run_id=self.sink.run_id)
        row = frames.run_row(header, frames.from_events([]))
        return Run(self.store, {**row, "status": status})


def target_of(run: Run, header: RunHeader, *, into: Store | None) -> Target:
    """Open the new run where it is to be written."""
    store = into if into is not None else run.store
    if not store.read_only:
        sink = store.writer(header)
        return Target(sink=sink, read=lambda: store.run(sink.run_id), header=header, store=store)
    from workbench import store as stores
    from workbench.store import export

    folder = Path(tempfile.mkdtemp(prefix="workbench-replay-")) / "run"
    writer = export.writer(folder, header)
    print(f"the new run is written to {folder}", file=sys.stderr)  # noqa: T201 - the path is asked for
    return Target(
        sink=writer,
        read=lambda: stores.read(str(folder)).run(writer.run_id),
        header=header,
        store=store,
    )
