"""What goes on beside a guarded replay: our client, in any thread; nobody else connects."""

import socket
import threading

import notebook_agents as agents
import pytest

import workbench as wb
from workbench.errors import LiveCallBlocked
from workbench.store import connect


@pytest.fixture
def gate(tmp_path):
    return tmp_path / "gate"


@pytest.fixture
def recorded(store, gate):
    with socket.create_server(("127.0.0.1", 0)) as server:
        own = {"port": server.getsockname()[1], "gate": str(gate)}

        def record(agent):
            gate.touch()
            run = wb.record(store, agent, own)
            assert run.output[-1] == "connected"
            gate.unlink()
            agents.WAITS.clear()
            return run

        yield record


def beside(work, gate):
    """Do something in a thread of the user's own as soon as the agent waits; then open its gate."""
    came = []

    def watch():
        agents.WAITS.wait(60)
        try:
            came.append(work())
        except BaseException as error:  # noqa: BLE001 - looked at by the test
            came.append(error)
        finally:
            gate.touch()

    thread = threading.Thread(target=watch)
    thread.start()
    return thread, came


@pytest.mark.parametrize("agent", [agents.plain, agents.awaiting])
def test_a_thread_of_the_user_asks_the_server_by_a_new_connection(recorded, server, gate, agent):
    run = recorded(agent)

    def asks():
        with connect(server.url, server.api_key) as other:
            return other.runs().height

    thread, came = beside(asks, gate)
    result = wb.replay(run, agent)
    thread.join()
    assert came == [2]
    found = [(one.kind, one.actual["name"]) for one in result.divergences]
    assert found == [("capture_gap", "socket.getaddrinfo")]  # the agent's own
    assert "the agent's own code" in result.divergences[0].cause


def test_a_thread_of_the_user_connects_nowhere_else(recorded, server, gate):
    run = recorded(agents.plain)
    thread, came = beside(lambda: agents.connect(run.input["port"]), gate)
    result = wb.replay(run, agents.plain)
    thread.join()
    assert isinstance(came[0], LiveCallBlocked)
    assert "another thread" in result.divergences[0].cause


def test_the_agent_itself_does_not_ask_the_server(store, server):
    answers = []

    def agent(given):
        agents.looked_up(1)
        try:
            with connect(server.url, server.api_key) as other:
                answers.append(other.runs().height)
        except Exception as error:  # noqa: BLE001 - an agent that swallows everything
            answers.append(error)

    run = wb.record(store, agent, None)
    result = wb.replay(run, agent)
    assert answers == [1]  # the replay ended where it tried
    assert [one.kind for one in result.divergences] == ["capture_gap"]
    assert result.run.status == "diverged"
