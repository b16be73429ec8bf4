"""Which files the given paths mean, and how each is called in a run's source."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class Found(NamedTuple):
    """A file: where it is, what to call it in errors, and its name in a run's source."""

    path: Path
    shown: str
    name: str


def find(paths: Iterable[Path], *, suffix: str = ".json") -> list[Found]:
    """Return the files behind paths, each once, in the order of the paths and then of their names.

    Of a folder all files with the suffix count, hidden ones left out, and each is called by its
    path inside that folder. A file given directly is called by its name; several of the same name
    by as much of their paths as tells them apart.
    """
    given = list(paths)
    names = _names_of([path for path in given if not path.is_dir()])
    found: dict[Path, Found] = {}
    for path in given:
        listed = _inside(path, suffix) if path.is_dir() else [Found(path, str(path), names[path])]
        for item in listed:
            found.setdefault(item.path.resolve(), item)
    return list(found.values())


def _inside(folder: Path, suffix: str) -> list[Found]:
    return [
        Found(path, str(path), path.relative_to(folder).as_posix())
        for path in sorted(folder.rglob(f"*{suffix}"))
        if path.is_file() and not any(p.startswith(".") for p in path.relative_to(folder).parts)
    ]


def _names_of(files: list[Path]) -> dict[Path, str]:
    names: dict[Path, str] = {}
    alike: dict[str, dict[Path, Path]] = defaultdict(dict)
    for path in files:
        alike[path.name].setdefault(path.resolve(), path)
    for group in alike.values():
        depth = 1
        while len({whole.parts[-depth:] for whole in group}) < len(group):
            depth += 1
        for path in files:
            if path.resolve() in group:
                names[path] = "/".join(path.resolve().parts[-depth:])
    return names
