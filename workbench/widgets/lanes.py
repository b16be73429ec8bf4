"""Lanes in the order they were spawned, depth first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

MOST = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A lane's path, its name below the nearest lane above it, and how deep it lies."""

    path: str
    label: str
    depth: int
    heading: str | None = None


def arrange(paths: Sequence[str]) -> tuple[NDArray[np.uint8], list[Lane]]:
    """Give a number to each step's lane; past `MOST` lanes the rest share the last one."""
    ordered = spawn_order(dict.fromkeys(paths))
    kept = ordered if len(ordered) <= MOST else ordered[: MOST - 1]
    known = {path: number for number, path in enumerate(kept)}
    common = _common(ordered)
    lanes = [_named(path, known, common) for path in kept]
    if len(ordered) > MOST:
        lanes.append(Lane(path="", label=f"{len(ordered) - len(kept):,} other lanes", depth=0))
    numbers = (known.get(path, MOST - 1) for path in paths)
    return np.fromiter(numbers, np.uint8, count=len(paths)), lanes


def spawn_order(paths: Iterable[str]) -> list[str]:
    """Sort distinct paths so that a lane's children follow it, first come first."""
    first: dict[tuple[str, ...], int] = {}
    for path in paths:
        parts = tuple(path.split("/"))
        for depth in range(1, len(parts) + 1):
            first.setdefault(parts[:depth], len(first))

    def key(path: str) -> list[int]:
        parts = tuple(path.split("/"))
        return [first[parts[:depth]] for depth in range(1, len(parts) + 1)]

    return sorted(paths, key=key)


def _common(paths: Sequence[str]) -> str:
    """Find what all lanes lie under, with its slash; nothing where a lane lies on it."""
    above = [path.split("/")[:-1] for path in paths]
    shared = [level[0] for level in zip(*above, strict=False) if len(set(level)) == 1]
    same = all(parts[: len(shared)] == shared for parts in above)
    return "".join(f"{part}/" for part in shared) if same and len(paths) > 1 else ""


def _named(path: str, known: dict[str, int], common: str) -> Lane:
    parts = path.split("/")
    above = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
    present = [parent for parent in above if parent in known]
    label = path.removeprefix(f"{present[-1]}/" if present else common)
    if present and parts[-1].isdigit():
        label = "/".join(parts[-2:])
    return Lane(path=path, label=label or "root", depth=len(present))
