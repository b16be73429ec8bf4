"""Every recorded run of others is replayed by a loop whose model, tools and human raise."""

import json
import random
from collections import Counter

import loop_agents
import pytest
from bare import BareShelf, with_request
from realdata import FOLDER, everything, expected, needs_realdata

import workbench as wb
from workbench import recording as recordings
from workbench.capture import intercept
from workbench.schema import message_text

pytestmark = [needs_realdata, pytest.mark.slow]

POISONED = "loop_agents:poisoned"


@pytest.fixture(scope="module", autouse=True)
def _intercepted_once():
    with intercept.installed():
        yield


@pytest.fixture(scope="module")
def runs():
    """Every run by (format, file, key), in a store in memory."""
    shelf = BareShelf()
    return {
        (name, str(path.relative_to(FOLDER)), key): shelf.put(run.header, run.events, run.bodies)
        for name, path, key, run in everything()
    }


def replayed(run):
    return wb.replay(run, POISONED, mode="cached", into=BareShelf())


# ---- unchanged


def _last_texts():
    """Read what each run ended with from the files themselves; None where no assistant spoke."""
    found = {}
    for path in (FOLDER / "agentdojo/runs").rglob("*.json"):
        record = json.loads(path.read_text())
        found["agentdojo", str(path.relative_to(FOLDER)), None] = _last(record["messages"])
    path = FOLDER / "tau-bench/gpt-4o-airline.json"
    for record in json.loads(path.read_text()):
        key = f"task={record['task_id']},trial={record['trial']}"
        found["tau-bench", str(path.relative_to(FOLDER)), key] = _last(record["traj"])
    for path in (FOLDER / "tau2").glob("*.json"):
        for record in json.loads(path.read_text())["simulations"]:
            key = ("tau2", str(path.relative_to(FOLDER)), record["id"])
            found[key] = _last(record["messages"])
    return found


def _last(messages):
    if not messages or messages[-1]["role"] != "assistant":
        return None
    return message_text(messages[-1]["content"])


def test_all_runs_replay_with_everything_consumed_and_equal_outputs(runs):
    assert len(runs) == 1200
    texts, counts = _last_texts(), Counter()
    for (name, file, key), run in runs.items():
        result = replayed(run)
        where = (file, key)
        assert result.divergences == [], where
        assert result.identical, where
        calls = result.certificate["calls"]
        assert calls["recorded"] == calls["asked"] == calls["consumed"], where
        assert set(result.certificate["match_levels"]) <= {"exact"}, where
        roots = [result.certificate[side]["content_root"] for side in ("source", "replay")]
        assert roots[0] == roots[1], where
        assert result.output == texts[name, file, None if name == "agentdojo" else key], where
        counts.update(_counted(name if name != "tau2" else file, result))
    for totals in (*expected("totals_taubench.jsonl"), *expected("totals_tau2.jsonl")):
        named = "tau-bench" if "airline" in totals["file"] else f"tau2/{totals['file']}"
        _agree(totals, counts, named, answers_have_errors="airline" not in totals["file"])
    [totals] = [row for row in expected("totals_agentdojo.jsonl") if row["file"] == "runs"]
    _agree(totals, counts, "agentdojo", answers_have_errors=True)


def _counted(name, result):
    """Count the calls of a replay, and the messages that nobody was asked for."""
    made = recordings.read(result.run.event_log(), result.run.bodies())
    plan = made.started.input["plan"]
    yield from ((name, call.kind) for call in made.calls)
    yield from ((name, "answered") for call in made.calls if call.kind == "tool" and call.ended_seq)
    yield from ((name, "error") for call in made.calls if call.exception)
    said = [step["say"]["role"] for step in plan["later"] if "say" in step]
    yield from ((name, f"said by {role}") for role in said)


def _agree(totals, counts, name, *, answers_have_errors):
    assert counts[name, "tool"] == totals.get("tool_calls", 0), name
    assert counts[name, "answered"] == totals.get("role:tool", 0), name
    assert counts[name, "human"] == totals.get("role:user", 0), name
    spoken = counts[name, "model"] + counts[name, "said by assistant"]
    assert spoken == totals.get("role:assistant", 0), name
    errors = totals.get("tool_errors", 0) if answers_have_errors else 0
    assert counts[name, "error"] == errors, name


# ---- one argument changed


def _changed_argument(value):
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return f"{value}~"
        case list():
            return [*value, "~"]
        case dict():
            return {**value, "~": "~"}
        case _:
            return "~"


def _changed_arguments(arguments, chance):
    if not isinstance(arguments, dict):
        return _changed_argument(arguments)
    name = chance.choice(sorted(arguments)) if arguments else "~"
    return {**arguments, name: _changed_argument(arguments.get(name))}


def with_changed_call(run, chance):
    """Return the run with one argument of one tool call changed and signed anew, and its seq."""
    recorded = recordings.read(run.event_log(), run.bodies())
    calls = [call for call in recorded.calls if call.kind == "tool"]
    call = chance.choice([c for c in calls if c.request["arguments"]] or calls)
    request = {"arguments": _changed_arguments(call.request["arguments"], chance)}
    return with_request(run, call, request), call


def test_one_changed_argument_is_named_by_its_call_in_every_run(runs):
    named = 0
    for place, run in runs.items():
        chance = random.Random(repr(place))
        if not any(event.kind == "tool" for event in run.event_log()):
            continue
        changed, call = with_changed_call(run, chance)
        result = replayed(changed)
        assert not result.identical, place
        first = result.divergences[0]
        assert first.seq == call.seq, (place, str(first))
        named += 1
    assert named == 1148


# ---- one tool asked again


RENAMED = {
    "get_reservation_details": ("reservation_id", "booking_id"),
    "get_user_details": ("membership", "tier"),
    "search_direct_flight": ("flight_number", "number"),
}


class Double(dict):
    """One tool that answers as it was recorded to, with one field renamed, and no other."""

    def __init__(self, run, tool):
        recorded = recordings.read(run.event_log(), run.bodies())
        self.answers = {}
        for call in recorded.calls:
            if call.name == tool:
                said = run.bodies()[call.outcome["message"]]["content"]
                self.answers.setdefault(_key(call.request["arguments"]), []).append(said)
        super().__init__({tool: self.answer})
        self.names = RENAMED[tool]

    def answer(self, **arguments):
        said = self.answers[_key(arguments)].pop(0)
        return said.replace(*(f'"{name}":' for name in self.names))


def _key(arguments):
    return json.dumps(arguments, sort_keys=True)


def renamed_answers(tool):
    """Count in the file itself, for each run, the answers of a tool that hold its field."""
    path = FOLDER / "tau-bench/gpt-4o-airline.json"
    for record in json.loads(path.read_text()):
        answers = [m for m in record["traj"] if m["role"] == "tool" and m.get("name") == tool]
        yield sum(f'"{RENAMED[tool][0]}":' in answer["content"] for answer in answers), len(answers)


@pytest.mark.parametrize("tool", RENAMED)
def test_a_renamed_field_of_one_live_tool_is_one_row_of_drift(runs, tool):
    airline = [run for (name, _, _), run in runs.items() if name == "tau-bench"]
    before, after = RENAMED[tool]
    results, counted = [], list(renamed_answers(tool))
    for run, (renamed, answers) in zip(airline, counted, strict=True):
        agent = wb.loop(loop_agents.model, {}, loop_agents.human)
        agent.tools = Double(run, tool)
        result = wb.replay(
            run,
            agent,
            mode="cached",
            overrides={f"tool:{tool}": "live"},
            effects={tool: "read"},
            into=BareShelf(),
        )
        kinds = Counter(found.kind for found in result.divergences)
        kinds.pop("capture_quality", None)
        assert kinds == Counter({"outcome_mismatch": renamed} if renamed else {}), [
            *map(str, result.divergences)
        ]
        assert result.certificate["match_levels"].get("live", 0) == answers
        assert result.certificate["calls"]["unconsumed"] == 0
        results.append(result)
    [row] = wb.drift(results).to_dicts()
    assert row["pointer"].rpartition("/")[2] == before
    assert (row["tool"], row["before"], row["after"]) == (tool, before, after)
    assert row["calls"] == sum(renamed for renamed, _ in counted)
    assert row["runs"] == sum(renamed > 0 for renamed, _ in counted)
