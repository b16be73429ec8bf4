"""Homes of their own for stacks, and waiting."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from workbench import local

_FOREIGN = ("WORKBENCH_URL", "WORKBENCH_API_KEY", "WORKBENCH_WORKSPACE", "WORKBENCH_DATABASE_URL")


@contextmanager
def fresh_home(parent: str | None = None):
    """A home that does not exist yet, named by the environment; its stack is ended at the end."""
    folder = Path(tempfile.mkdtemp(prefix="wb-home-", dir=parent))
    with pytest.MonkeyPatch.context() as patch:
        for name in _FOREIGN:
            patch.delenv(name, raising=False)
        patch.setenv("WORKBENCH_HOME", str(folder / "home"))
        found = local.home_at()
        try:
            yield found
        finally:
            local.down(found)
            shutil.rmtree(folder)


def until(is_so, *, patience_s: float = 60.0):
    """Wait for something to become true and return it."""
    deadline = time.monotonic() + patience_s
    while not (found := is_so()):
        assert time.monotonic() < deadline, "it did not become so"
        time.sleep(0.05)
    return found


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
