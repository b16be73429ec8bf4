"""Time, chance and the environment are read through us, and a replay reads the same again."""

import os
import pickle
import random
import time
import uuid

import pytest
import shim_agents
from shim_agents import BERLIN, agent, draws
from strengths import isolated

import workbench as wb
from workbench.capture import shims
from workbench.schema import parse_body


@pytest.fixture(autouse=True)
def _place(monkeypatch):
    monkeypatch.setenv("DESK_TEST_PLACE", "here")
    monkeypatch.delenv("DESK_TEST_NOWHERE", raising=False)


@pytest.fixture
def poison(monkeypatch):
    def poisoned():
        monkeypatch.setenv("DESK_TEST_PLACE", "elsewhere")
        monkeypatch.setenv("DESK_TEST_NOWHERE", "somewhere")
        shim_agents.poison(monkeypatch.setattr)

    return poisoned


def requests_of(run, kind):
    calls = [e for e in run.event_log() if e.event_type == "call_started" and e.kind == kind]
    return {e.name: parse_body(e).request["arguments"] for e in calls}


def test_a_replay_reads_the_same_clocks_dice_ids_and_variables(folders, poison):
    run = wb.record(folders, agent, None)
    assert run.status == "done", run.exception
    assert set(run.calls["kind"]) == {"clock", "random", "env"}
    assert set(run.calls["effect"]) == {"read"}
    assert set(run.calls["quality"]) == {"full"}
    poison()
    result = wb.replay(run, agent)
    assert result.identical, result.divergences
    assert set(result.matches["match_level"]) == {"exact"}
    assert result.run.output == run.output


def test_on_a_live_server_too(store, poison):
    run = store.run(wb.record(store, agent, None).run_id)
    assert run.status == "done", run.exception
    poison()
    assert wb.replay(run, agent).identical


def test_each_draw_is_one_call_and_holds_positions_only(folders):
    run = wb.record(folders, lambda _: draws(), None)
    assert run.calls.height == 24
    asked = requests_of(run, "random")
    assert asked["choice"] == {"n": 3, "how": {}}
    assert asked["sample"] == {"n": 2, "how": {"k": 3, "counts": [2, 2]}}
    assert asked["shuffle"] == {"n": 6}
    assert asked["uniform"] == {"a": 1, "b": 2}
    assert asked["uuid4"] == {}


def test_outside_a_recording_they_are_just_what_they_stand_for(monkeypatch):
    def real():
        shuffled = list("abcdef")
        random.shuffle(shuffled)
        return [
            random.random(),
            random.gauss(),
            random.randint(1, 6),
            random.choice("abc"),
            random.choices("abc", k=3),
            random.sample("abc", 2),
            shuffled,
        ]

    def shimmed():
        shuffled = list("abcdef")
        wb.random.shuffle(shuffled)
        return [
            wb.random.random(),
            wb.random.gauss(),
            wb.random.randint(1, 6),
            wb.random.choice("abc"),
            wb.random.choices("abc", k=3),
            wb.random.sample("abc", 2),
            shuffled,
        ]

    wb.random.seed(11)
    expected = real()
    random.seed(11)
    assert shimmed() == expected
    state = wb.random.getstate()
    assert wb.random.random() == (wb.random.setstate(state), random.random())[1]
    assert abs(wb.clock.time() - time.time()) < 60
    assert wb.clock.now(BERLIN).tzinfo is BERLIN
    monkeypatch.setattr(time, "time", lambda: 5.0)
    assert wb.clock.time() == 5.0, "what replaces a clock replaces this one"
    assert wb.env("PATH") == os.environ["PATH"]
    assert isinstance(wb.uuid4(), uuid.UUID)


def test_it_stands_for_a_generator_wherever_one_is_wanted(folders):
    assert isinstance(wb.random, random.Random)
    assert pickle.loads(pickle.dumps(wb.random)) is wb.random

    run = wb.record(folders, shim_agents.deals, None)
    assert set(run.calls["name"]) >= {"getrandbits"}, "what draws by itself draws through us"


def test_every_public_drawing_of_python_is_there():
    kept = {"seed", "getstate", "setstate", "VERSION"}
    drawing = {name for name in vars(random.Random) if not name.startswith("_")} - kept
    assert drawing | {"random", "getrandbits"} <= set(vars(shims.Random))


def test_an_impossible_draw_fails_as_ever(folders):
    run = wb.record(folders, shim_agents.draws_the_impossible, None)
    assert run.output == ["ValueError", "ValueError"]
    with pytest.raises(IndexError):
        wb.random.choice([])
    assert run.status == "done", run.exception
    assert run.calls["status"].to_list() == ["error", "error"]


def test_inside_a_call_they_are_no_calls(folders):
    @wb.tool
    def tool(word):
        return [word, wb.clock.time() > 0, wb.env("DESK_TEST_PLACE"), len(str(wb.uuid4()))]

    run = wb.record(folders, lambda _: tool("x"), None)
    assert run.calls["name"].to_list() == ["tool"]


# ---- secrets

SECRET = "s3cr3t-and-long-enough"


def keyed(_):
    return ["is set" if wb.env("DESK_API_KEY") else "is not set", wb.env("DESK_TEST_PLACE")]


def stored(folders):
    """Return every byte that the store's files hold."""
    return b"".join(p.read_bytes() for p in folders.root.rglob("*") if p.is_file())


def test_a_secret_is_recorded_as_a_placeholder_and_a_replay_takes_its_own(folders, monkeypatch):
    monkeypatch.setenv("DESK_API_KEY", SECRET)
    seen = []

    def agent(_):
        seen.append(wb.env("DESK_API_KEY"))
        return "done"

    run = wb.record(folders, agent, None)
    assert seen == [SECRET]
    assert run.calls["quality"].to_list() == ["redacted"]
    [outcome] = [parse_body(e).outcome for e in run.event_log() if e.event_type == "call_ended"]
    assert shims._PLACEHOLDER.fullmatch(outcome["value"])
    assert SECRET.encode() not in stored(folders)

    monkeypatch.setenv("DESK_API_KEY", "another")
    result = wb.replay(run, agent)
    assert result.identical, result.divergences
    assert result.matches["match_level"].to_list() == ["exact_redacted"]
    assert seen == [SECRET, "another"]
    [notice] = result.certificate["notices"]
    assert notice["kind"] == "own_value"
    assert "DESK_API_KEY" in notice["cause"]
    assert "own value" in notice["cause"]
    assert b"another" not in stored(folders)

    monkeypatch.delenv("DESK_API_KEY")
    result = wb.replay(run, agent)
    assert result.identical, result.divergences
    assert seen[2] == outcome["value"], "set it was, and to what nobody knows"
    assert "not set here" in result.certificate["notices"][0]["cause"]


def test_a_secret_that_was_not_set_is_not_set_in_a_replay(folders, monkeypatch):
    monkeypatch.delenv("DESK_API_KEY", raising=False)
    run = wb.record(folders, keyed, None)
    monkeypatch.setenv("DESK_API_KEY", SECRET)
    result = wb.replay(run, keyed)
    assert result.run.output == ["is not set", "here"]
    assert result.identical, result.divergences


def test_what_is_a_secret_can_be_said(folders, monkeypatch):
    monkeypatch.setenv("DESK_API_KEY", "A")
    monkeypatch.setenv("DESK_TEST_PLACE", "B")

    def agent(_):
        return [
            wb.env("DESK_API_KEY", secret=False),
            wb.env("DESK_TEST_PLACE", secret=True) == "B",
        ]

    run = wb.record(folders, agent, None)
    assert run.output == ["A", True]
    assert run.calls["quality"].to_list() == ["full", "redacted"]


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("OPENAI_API_KEY", "x", True),
        ("apikey", "x", True),
        ("GITHUB_TOKEN", "x", True),
        ("AWS_SECRET_ACCESS_KEY", "x", True),
        ("PGPASSWORD", "x", True),
        ("DB_PASS", "x", True),
        ("MYSQL_PWD", "x", True),
        ("SENTRY_DSN", "x", True),
        ("GOOGLE_APPLICATION_CREDENTIALS", "x", True),
        ("BASIC_AUTH", "x", True),
        ("DATABASE_URL", "postgres://me:pw@host/db", True),
        ("DATABASE_URL", "postgres://me@host/db", False),
        ("HOME", "/home/me", False),
        ("PWD", "/home/me", False),
        ("KEYBOARD", "de", False),
        ("AUTHOR", "me", False),
        ("COMPASS", "north", False),
        ("MODEL", None, False),
    ],
)
def test_names_that_look_like_secrets_are(name, value, secret):
    assert shims._is_secret(name, value) is secret


# ---- isolated

AWAY = """
import os
import workbench as wb

@wb.tool(effect="read", normalise=["/arguments/at"])
def note(at):
    assert "DESK_API_KEY" in os.environ, "called in the replay"
    return at

@wb.step
def agent(given):
    key = wb.env("DESK_API_KEY")
    return [wb.clock.time(), wb.random.random(), len(key) > 3, note(os.getpid())]
"""


@isolated
def test_an_isolated_replay_reads_the_same_and_has_no_secrets(folders, tmp_path, monkeypatch):
    monkeypatch.setenv("DESK_API_KEY", SECRET)
    (tmp_path / "an_agent_away.py").write_text(AWAY)
    monkeypatch.syspath_prepend(str(tmp_path))
    run = wb.record(folders, "an_agent_away:agent", None)
    assert run.status == "done", run.exception
    result = wb.replay(run, "an_agent_away:agent", mode="cached", isolate=True)
    assert result.identical, result.divergences
    assert result.run.output == run.output
    assert result.matches["match_level"].to_list() == [
        "exact_redacted",
        "exact",
        "exact",
        "normalised",
    ]
    assert [notice["kind"] for notice in result.certificate["notices"]] == ["own_value"]
    assert result.certificate["normalisers"] == [{"name": "note", "pointers": ["/arguments/at"]}]
