"""The server's port."""

from __future__ import annotations

import socket

import pytest

from workbench import local
from workbench.errors import PortInUse
from workbench.local import ports
from workbench.local.home import Home


@pytest.fixture
def taken():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def test_a_taken_port_is_named_with_who_has_it_and_nothing_stays(home, taken):
    with pytest.raises(PortInUse) as caught:
        local.up(home, port=taken)
    assert caught.value.facts["port"] == taken
    assert str(taken) in str(caught.value)
    assert "Hint" in str(caught.value)
    assert local.status(home) is None
    assert not home.database.exists()


def test_the_last_port_is_taken_again_while_it_is_free(tmp_path, taken):
    home = Home(path=tmp_path)
    free = ports.chosen(home, wanted=None)
    home.port.write_text(str(free))
    assert free == ports.chosen(home, wanted=None)
    home.port.write_text(str(taken))
    assert taken != ports.chosen(home, wanted=None)
    home.port.write_text("nonsense")
    assert ports.chosen(home, wanted=None) > 0


def test_a_running_stack_is_not_moved_to_another_port(stack, taken):
    running = local.status(stack)["port"]
    with pytest.raises(PortInUse, match="down"):
        local.up(stack, port=taken)
    assert local.up(stack, port=running)["port"] == running
