"""The registry of agents: read from JSON or a file, each misfit told with its place."""

import json
import sys

import pytest
from workbench_server.agents import Agent, check_here, named, of_target, registered

from workbench.errors import UsageError

SUPPORT = {"target": "support_desk.agent:agent"}


def said(entries):
    return {"WORKBENCH_AGENTS": json.dumps(entries)}


def test_nothing_said_registers_nobody():
    assert registered({}) == registered({"WORKBENCH_AGENTS": " "}) == {}


def test_a_text_and_a_file_say_the_same(tmp_path):
    entries = {"support": {**SUPPORT, "python": "/p", "cwd": "/c", "live": True}}
    file = tmp_path / "agents.json"
    file.write_text(json.dumps(entries))
    expected = {"support": Agent(**entries["support"])}
    assert registered(said(entries)) == expected
    assert registered({"WORKBENCH_AGENTS": str(file)}) == expected


@pytest.mark.parametrize(
    ("entries", "where", "found"),
    [
        ({"support": {}}, "support", None),
        ({"support": {"target": 1}}, "support.target", "int"),
        ({"support": {**SUPPORT, "pyhton": "/p"}}, "support", "a field pyhton"),
        ({"support": {**SUPPORT, "live": "yes"}}, "support.live", "str"),
        ({"support": "support_desk:agent"}, "support", "str"),
        ({"support": {"target": "support_desk"}}, "support.target", "support_desk"),
        ({"support": {"target": "os; x:y"}}, "support.target", "os; x:y"),
        ({"ok": SUPPORT, "a:b": SUPPORT}, "", "a:b"),
        ({"": SUPPORT}, "", ""),
    ],
)
def test_an_entry_that_does_not_fit_is_told_with_its_place(entries, where, found):
    with pytest.raises(UsageError, match="WORKBENCH_AGENTS") as caught:
        registered(said(entries))
    assert caught.value.where.endswith(where)
    if found is not None:
        assert caught.value.found == found


@pytest.mark.parametrize("text", ["{", "/nowhere/agents.json", '{"a": 1'])
def test_what_is_no_json_and_no_file_is_refused(text):
    with pytest.raises(UsageError, match="WORKBENCH_AGENTS"):
        registered({"WORKBENCH_AGENTS": text})


def test_a_list_in_a_file_is_refused(tmp_path):
    (tmp_path / "agents.json").write_text("[]")
    with pytest.raises(UsageError, match="no JSON object"):
        registered({"WORKBENCH_AGENTS": str(tmp_path / "agents.json")})


@pytest.mark.parametrize("field", ["python", "cwd"])
def test_what_is_not_on_the_worker_s_machine_is_told_at_its_start(field):
    here = {"python": sys.executable, "cwd": "/"}
    check_here({"support": Agent(target="a:b", **here)})
    with pytest.raises(UsageError) as caught:
        check_here({"support": Agent(target="a:b", **{**here, field: "/nowhere"})})
    assert (caught.value.where, caught.value.found) == (f"support.{field}", "/nowhere")


def test_an_agent_is_found_by_name_and_by_what_a_run_names():
    agents = {"a": Agent(target="m:x"), "b": Agent(target="m:y"), "c": Agent(target="m:y")}
    assert named(agents, "a") is agents["a"]
    assert of_target(agents, "m:x") == "a"
    for wanted in ("m:y", "m:z", None):
        with pytest.raises(UsageError):
            of_target(agents, wanted)
    with pytest.raises(UsageError, match="import path"):
        named(agents, "m:x")
    with pytest.raises(UsageError) as caught:
        named({}, "a")
    assert caught.value.expected == "nothing: no agent is registered"


def test_a_worker_and_a_server_that_are_told_nonsense_do_not_start(server_environment):
    from running import service

    for command in ("serve", "worker"):
        with service(command, environment=server_environment | said({"x": {}})) as process:
            text = process.stderr.read()
        assert process.returncode == 2
        assert text.startswith("usage_error: WORKBENCH_AGENTS has an entry that does not fit")
        assert "Traceback" not in text
