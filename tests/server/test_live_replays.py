"""Live calls in a replay that is asked of the server: refused at once, or really made."""

import os
import socket
import subprocess
import sys
import threading

import pytest
from strengths import isolated

import workbench as wb
from workbench.errors import UsageError

LIVE = {
    "mode": {"mode": "live"},
    "on_miss": {"mode": "cached", "on_miss": "live"},
    "override": {"mode": "cached", "overrides": {"tool:fetched": "live"}},
}
WORDS = {
    "mode": ["--mode", "live"],
    "on_miss": ["--mode", "cached", "--on-miss", "live"],
    "override": ["--mode", "cached", "--override", "tool:fetched=live"],
}


@pytest.fixture
def elsewhere():
    """Somebody else, who answers with a number; gives the port, and how many asked."""
    came = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                came.append(connection)
                connection.sendall(f"{len(came)}\n".encode())
                connection.close()

        threading.Thread(target=answer, daemon=True).start()
        yield listener.getsockname()[1], came
        listener.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def more(tmp_path):
    return tmp_path / "more"


@pytest.fixture
def run(store, elsewhere, more):
    """A run that asked somebody else once."""
    given = {"port": elsewhere[0], "more": str(more)}
    return wb.record(store, "slow_agents:outside", given)


# ---- refused


@pytest.mark.parametrize("live", LIVE.values(), ids=LIVE)
def test_what_is_to_be_live_is_refused_at_once_with_a_hint(client, store, run, live):
    answer = client.http.post("/replays", json={"run_id": run.run_id, "agent": "support", **live})
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["where"]) == (422, "usage_error", "agent")
    assert (problem["expected"], problem["found"]) == ("outside, slow-outside", "support")
    assert "live" in problem["hint"]
    assert store.replays.list() == []


@pytest.mark.parametrize("live", LIVE.values(), ids=LIVE)
def test_the_verb_raises_the_refusal(store, run, live):
    with pytest.raises(UsageError, match="may not call outside") as caught:
        wb.replay(run, "support", on="server", **live)
    assert "register it as live" in caught.value.hint
    assert store.replays.list() == []


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
def test_the_command_says_the_refusal(server, store, run, words):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "workbench", "replay", run.run_id),
            *("--on-server", "--agent", "support", *words),
        ],
        env={**os.environ, "WORKBENCH_API_KEY": server.api_key, "WORKBENCH_URL": server.url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode not in (0, 1), "1 says that a replay was not identical"
    assert "may not call outside" in done.stderr
    assert "Hint: " in done.stderr
    assert "Traceback" not in done.stderr
    assert store.replays.list() == []


def test_the_document_says_who_may_call_outside(client):
    document = client.http.get(f"{client.http.base_url.copy_with(path='/openapi.json')}").json()
    said = document["paths"]["/v1/replays"]["post"]["description"]
    assert "live" in said
    assert "422" in said


# ---- made


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("how", LIVE)
def test_an_agent_registered_for_it_calls_outside(run, elsewhere, more, how):
    _, came = elsewhere
    if how == "on_miss":
        more.touch()
    result = wb.replay(run, "outside", on="server", **LIVE[how])
    levels = result.matches["match_level"].to_list()
    assert levels == (["exact", "live"] if how == "on_miss" else ["live"])
    assert len(came) == 2
    assert result.output[-1]["answer"] == "2"
    assert not result.identical
    assert result.certificate["strength"] == "guarded"
    assert result.run.labels["strength"] == "guarded"


@isolated
@pytest.mark.usefixtures("worker")
def test_what_asks_for_nothing_live_is_isolated_for_such_an_agent_too(run, elsewhere, more):
    _, came = elsewhere
    result = wb.replay(run, "outside", on="server")
    assert (result.identical, result.certificate["strength"]) == (True, "isolated")
    more.touch()
    result = wb.replay(run, "outside", on="server", mode="cached")
    assert result.matches["match_level"].to_list() == ["exact", "miss"]
    assert len(came) == 1
