"""What a killed supervisor left behind, as its home remembers it."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.local import processes, runtime

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.local.parts import Part

_PATIENCE_S = 10.0


def record(
    *, pid: int, folder: Path, others: Sequence[Path], parts: Sequence[Part]
) -> dict[str, Any]:
    """Return what the home remembers: the supervisor's process, its folders and its parts."""
    marks = {part.name: found for part in parts if (found := part.mark())}
    folders = [str(path) for path in (folder, *others)]
    return {**processes.mark(pid), "runtime": str(folder), "folders": folders, "parts": marks}


def clear(left: dict[str, Any]) -> bool:
    """End what is left of the remembered processes; says whether any lived."""
    parts = left.get("parts", {})
    marked = [left, *(parts[name] for name in ("worker", "server", "postgres") if name in parts)]
    alive = [found for found in marked if processes.is_alive(found)]
    for found in alive:
        polite = signal.SIGINT if found is parts.get("postgres") else signal.SIGTERM
        processes.end(found, politely=polite, patience_s=_PATIENCE_S)
    for folder in left.get("folders", []):
        runtime.remove(Path(folder))
    return bool(alive)
