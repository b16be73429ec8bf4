"""Ways out: a guarded replay refuses those of Python and says so, an isolated one stops them all."""

import socket
import threading
from contextlib import suppress

import outside_agents
import pytest
from strengths import isolated

import workbench as wb
from workbench.replay import guard, isolation


class Server:
    """Counts what reaches it: the pieces that its connections send."""

    def __init__(self, path):
        self.reached = 0
        self.path = path
        local = socket.socket(socket.AF_UNIX)
        local.bind(path)
        local.listen()
        self._listening = [socket.create_server(("127.0.0.1", 0)), local]
        self.port = self._listening[0].getsockname()[1]
        for one in self._listening:
            threading.Thread(target=self._listen, args=[one], daemon=True).start()

    def _listen(self, listening):
        while True:
            try:
                made, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=self._read, args=[made], daemon=True).start()

    def _read(self, made):
        with made:
            while piece := made.recv(1000):
                self.reached += 1
                if len(piece) > 1:  # libpq, which waits for an answer
                    return

    def close(self):
        for one in self._listening:
            one.shutdown(socket.SHUT_RDWR)
            one.close()


@pytest.fixture
def server(tmp_path):
    made = Server(str(tmp_path / "s"))
    yield made
    while outside_agents.HELD:
        outside_agents.HELD.pop().close()
    made.close()


def reached(server, expected):
    """How often something came; it is waited for where it should."""
    for _ in range(200):
        if server.reached >= expected:
            break
        threading.Event().wait(0.01)
    return server.reached


@pytest.fixture
def recorded(folders, world, server):
    def record(way):
        run = wb.record(
            folders, outside_agents.agent, {"way": way, "port": server.port, "path": server.path}
        )
        assert reached(server, 1) == 1
        world.poisoned = True
        return run

    return record


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("way", outside_agents.SEEN)
def test_the_guard_refuses_what_python_does(recorded, server, way):
    result = wb.replay(recorded(way), outside_agents.agent)
    assert not result.identical
    assert {found.kind for found in result.divergences} == {"capture_gap"}
    assert server.reached == 1


@pytest.mark.parametrize("way", outside_agents.UNSEEN)
def test_what_gets_through_is_not_promised_to_be_stopped(recorded, server, way):
    result = wb.replay(recorded(way), outside_agents.agent)
    assert result.identical
    assert reached(server, 2) == 2
    assert result.certificate["claim"] == "no new connection from Python"


@isolated
@pytest.mark.parametrize("way", outside_agents.WAYS)
def test_isolated_nothing_gets_outside(recorded, server, way):
    result = wb.replay(recorded(way), outside_agents.agent, isolate=True)
    assert result.certificate["claim"] == "no call outside"
    assert result.matches["name"].to_list()[:1] == ["ask"]
    threading.Event().wait(0.05)
    assert server.reached == 1


@isolated
def test_with_the_namespace_open_the_same_test_goes_red(recorded, server, monkeypatch):
    monkeypatch.setattr(isolation, "_UNSHARE", ("env",))
    wb.replay(recorded("native"), outside_agents.agent, isolate=True)
    assert reached(server, 2) == 2


@isolated
def test_with_the_process_not_sealed_the_same_test_goes_red(recorded, server, monkeypatch):
    open_child = "from workbench.replay import child, sealing; sealing.seal = bool; child.main()"
    monkeypatch.setattr(isolation, "_CHILD", ("-c", open_child))
    wb.replay(recorded("native path"), outside_agents.agent, isolate=True)
    assert reached(server, 2) == 2


@pytest.mark.parametrize("name", ["workbench-journal", "IOPub", "Control", "Dask-1", "IO loop"])
def test_a_thread_s_name_opens_no_way(folders, world, server, name):
    def work():
        with suppress(BaseException):
            outside_agents.fresh(server.port)

    def agent(given):
        outside_agents.ask("one")
        tried = threading.Thread(target=work, name=name)
        tried.start()
        tried.join()

    run = wb.record(folders, agent, None)
    assert reached(server, 1) == 1
    assert not wb.replay(run, agent).identical
    assert server.reached == 1


def test_an_agent_in_a_running_loop_is_guarded(folders, world, server):
    """As in a notebook: its coroutines run in a thread of their own, which is no thread of ours."""
    import asyncio

    async def agent(given):
        outside_agents.ask("one")
        try:
            outside_agents.fresh(server.port)
        except Exception:  # noqa: BLE001 - an agent that swallows everything
            return "refused"
        return "reached"

    async def cell():
        run = wb.record(folders, agent, None)
        return run, wb.replay(run, agent)

    run, result = asyncio.run(cell())
    assert run.output == "reached"
    assert not result.identical
    assert server.reached == 1
    assert guard._active == []
