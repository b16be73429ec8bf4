"""Where a replay's new run goes: a store, or a folder of its own beside a read-only one."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

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


def target_of(run: Run, header: RunHeader, *, into: Store | None) -> Target:
    """Open the new run where it is to be written."""
    store = into if into is not None else run.store
    if not store.read_only:
        sink = store.writer(header)
        return Target(sink=sink, read=lambda: store.run(sink.run_id))
    from workbench import store as stores
    from workbench.store import export

    folder = Path(tempfile.mkdtemp(prefix="workbench-replay-")) / "run"
    writer = export.writer(folder, header)
    print(f"the new run is written to {folder}", file=sys.stderr)  # noqa: T201 - the path is asked for
    return Target(sink=writer, read=lambda: stores.read(str(folder)).run(writer.run_id))
