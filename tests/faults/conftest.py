"""What the fault suite shares: a durable Postgres, a stack for each file, and chance with a seed."""

from __future__ import annotations

import os
import random
import secrets
import shutil
import tempfile
from pathlib import Path

import pytest
from machines import LOGS, postgres_machine, stack_on

# 20 in CI, 200 in `make soak`
TIMES = int(os.environ.get("WORKBENCH_FAULT_TIMES", "20"))


def pytest_generate_tests(metafunc):
    """A case that takes `turn` is repeated."""
    if "turn" in metafunc.fixturenames:
        metafunc.parametrize("turn", range(TIMES))


@pytest.fixture
def rng():
    """Chance; WORKBENCH_FAULT_SEED repeats what a failed case printed."""
    seed = int(os.environ.get("WORKBENCH_FAULT_SEED") or secrets.randbits(48))
    print(f"WORKBENCH_FAULT_SEED={seed}")
    before = {log: log.stat().st_size for log in LOGS if log.exists()}
    yield random.Random(seed)
    for log in LOGS:  # shown where the case failed
        if log.exists() and (said := log.read_bytes()[before.get(log, 0) :]):
            print(f"---- {log.name}\n{said[-6000:].decode(errors='replace')}")


@pytest.fixture(scope="session")
def place():
    """A folder that the user of Postgres can reach, as pytest's own is not."""
    folder = Path(tempfile.mkdtemp(prefix="wb-faults-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def machine(place):
    """A Postgres with fsync, for all cases of this process."""
    home = place / "postgres"
    home.mkdir(mode=0o755)
    with postgres_machine(home) as made:
        yield made


@pytest.fixture(scope="module")
def stack(machine, tmp_path_factory):
    """A database of the file's own on that Postgres."""
    with stack_on(machine, tmp_path_factory.mktemp("faults")) as made:
        yield made
