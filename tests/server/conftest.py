"""A run whose replay waits until a gate is there again, on a server of the test's own."""

import pytest
from replays_asked import SLOW

import workbench as wb
from workbench.store import connect


@pytest.fixture
def gate(tmp_path):
    return tmp_path / "gate"


@pytest.fixture
def own_store(own_server):
    """A store on a server of the test's own, beside which no worker runs yet."""
    with connect(own_server.url, own_server.api_key) as opened:
        yield opened


@pytest.fixture
def own_run(own_store, gate):
    gate.touch()
    recorded = wb.record(own_store, SLOW, str(gate))
    gate.unlink()
    return recorded.run_id
