"""The folder of the stack's sockets: short of path, closed to others, new at each start."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path

from workbench.errors import StackFailed

# The longest socket below is <folder>/pg/.s.PGSQL.5432 and the kernel's limit is 107 bytes.
_LONGEST_PARENT = 56


def make() -> Path:
    """Make a new private folder; a random name cannot be squatted by another user."""
    for parent in _parents():
        try:
            return Path(tempfile.mkdtemp(prefix=f"workbench-{os.getuid()}-", dir=parent))
        except OSError:
            continue
    raise StackFailed(
        "no folder for the stack's sockets could be made",
        where=", ".join(map(str, _parents())),
        hint="Make /tmp writable, or set XDG_RUNTIME_DIR to a short folder of your own.",
    )


def _parents() -> list[Path]:
    wanted = [Path("/tmp"), Path(tempfile.gettempdir())]  # noqa: S108 - mkdtemp makes it private
    user = os.environ.get("XDG_RUNTIME_DIR")
    if user and is_private(Path(user)):
        wanted.insert(0, Path(user))
    return [parent for parent in wanted if len(os.fsencode(parent)) <= _LONGEST_PARENT]


def is_private(folder: Path) -> bool:
    """Say whether the folder, not a link to it, is ours and closed to everybody else."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    closed = not found.st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and closed


def remove(folder: Path) -> None:
    """Remove a folder that `make` made, with what a killed stack left in it."""
    try:
        found = folder.lstat()
    except OSError:
        return
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    if ours and folder.name.startswith("workbench-"):
        shutil.rmtree(folder, ignore_errors=True)
