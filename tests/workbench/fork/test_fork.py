"""A fork changes one outcome; only what depends on it goes another way."""

import pytest
import replay_agents as agents
from langchain_core.messages import AIMessage
from strengths import each_strength

import workbench as wb
from workbench import errors
from workbench.fork import edits as editing

PLAIN_POLLS = agents.polling


def record(folders, agent=agents.desk_graph, given=None):
    return wb.record(folders, agent, agents.question() if given is None else given)


def seq_of(run, lane, ordinal=1):
    rows = run.calls.filter((run.calls["lane"] == lane) & (run.calls["ordinal"] == ordinal))
    return rows["seq"].item()


def levels(result):
    rows = result.matches.sort("lane", "ordinal")
    return {
        (lane, n): level for lane, n, level in rows.select("lane", "ordinal", "match_level").rows()
    }


@pytest.mark.parametrize("rest", ["cached", "live"])
def test_an_empty_edit_comes_back_identical_and_calls_nothing(folders, world, rest):
    run = record(folders)
    world.poisoned = True
    for seq in (run.calls["seq"][0], run.calls["seq"][-1]):
        result = wb.fork(run, at=seq, agent=agents.desk_graph, rest=rest).run()
        assert result.identical
        assert result.run.content_root == run.content_root
        assert result.run.info["forked_at"] == seq


def test_c7_an_answer_from_before_the_edit_is_never_put_next_to_the_edit(folders, world):
    run = record(folders)
    world.poisoned = True
    at = seq_of(run, "root/tools/2")
    result = wb.fork(run, at=at, edits={"outcome": "lost"}, agent=agents.desk_graph).run()
    assert result.run.status == "diverged"
    found = result.divergences[0]
    assert (found.kind, found.seq) == ("request_changed", seq_of(run, "root/agent", 2))
    assert found.changes[0]["actual"] == "lost"
    assert levels(result)["root/tools/2", 1] == "edited"
    assert levels(result)["root/agent", 2] == "miss"


def test_c8_only_the_edited_one_of_three_identical_polls_changes(folders, world):
    run = record(folders, agents.polling, "x")
    world.poisoned = True
    for rest in ("cached", "live"):
        edit = {"what": "ready?", "answer": "edited"}
        fork = wb.fork(
            run, at=run.calls["seq"][1], edits={"outcome": edit}, agent=agents.polling, rest=rest
        )
        result = fork.run()
        assert result.run.status == "done"
        assert [r["answer"] for r in result.output] == [
            run.output[0]["answer"],
            "edited",
            run.output[2]["answer"],
        ]


@pytest.mark.parametrize("agent", [agents.identical_gather, agents.different_in_threads])
def test_c9_siblings_of_an_edited_parallel_call_keep_their_outcomes(folders, world, agent):
    run = record(folders, agent, "x")
    world.poisoned = True
    at = seq_of(run, "root/3")
    result = wb.fork(run, at=at, edits={"outcome": "edited"}, agent=agent, rest="live").run()
    assert result.run.status == "done"
    kept = list(run.output)
    kept[2] = "edited"
    assert result.output == kept


def test_c11_c18_a_live_rest_runs_only_what_depends_on_the_edit(folders, world):
    run = record(folders)
    before = world.side_effects.read_text().splitlines()
    at = seq_of(run, "root/tools/2")
    fork = wb.fork(run, at=at, edits={"outcome": "lost"}, agent=agents.desk_graph, rest="live")
    result = fork.run()
    after = world.side_effects.read_text().splitlines()[len(before) :]
    assert result.run.status == "done"
    assert after == ["model"], "one model answer depends on the edit, and nothing else"
    assert [key for key, level in levels(result).items() if level == "live"] == [("root/agent", 2)]
    assert result.certificate["match_levels"] == {
        "edited": 1,
        "exact": run.calls.height - 2,
        "live": 1,
    }
    tools = result.run.calls.filter(result.run.calls["lane"].str.starts_with("root/tools"))
    assert tools["match_level"].to_list().count("exact") == 3


def _again(order):
    return AIMessage("", tool_calls=[{"id": "n1", "name": "look_up", "args": {"order": order}}])


def test_a_tool_of_unknown_effect_is_refused_live_and_named(folders, world):
    run = record(folders)
    before = world.calls
    fork = wb.fork(
        run,
        at=seq_of(run, "root/agent"),
        edits={"outcome": _again("B2")},
        agent=agents.desk_graph,
        rest="live",
    )
    assert fork.plan().undeclared == ("look_up",)
    result = fork.run()
    assert result.run.status == "diverged"
    found = result.divergences[0]
    assert found.kind == "refused"
    assert found.actual["name"] == "look_up"
    assert 'effects={"look_up": "read"}' in found.fix
    assert world.calls == before


@pytest.mark.parametrize("effect", ["read", "pure", "approved"])
def test_a_declared_or_approved_tool_runs_live(folders, world, effect):
    run = record(folders)
    result = wb.fork(
        run,
        at=seq_of(run, "root/agent"),
        edits={"outcome": _again("B2")},
        agent=agents.desk_graph,
        rest="live",
        effects={"look_up": effect},
    ).run()
    assert result.run.status == "done", result.divergences
    live = result.run.calls.filter(result.run.calls["match_level"] == "live")
    assert live["lane"].to_list() == ["root/tools/1", "root/agent"]
    assert set(live["mode"]) == {"live"}


def test_a_writing_function_is_refused_live(folders, world):
    def agent(_):
        return agents.send(agents.ask("whom?")["answer"])

    run = record(folders, agent, "x")
    edit = {"what": "whom?", "answer": "ann"}
    fork = wb.fork(run, at=run.calls["seq"][0], edits={"outcome": edit}, agent=agent, rest="live")
    assert fork.plan().counts == {"edited": 1, "refused": 1}
    result = fork.run()
    assert [(d.kind, d.actual["effect"]) for d in result.divergences] == [("refused", "write")]
    assert world.side_effects.read_text().count("send") == 1


def test_a_miss_may_run_live_where_that_was_asked(folders, world):
    run = record(folders)
    result = wb.fork(
        run,
        at=seq_of(run, "root/tools/2"),
        edits={"outcome": "lost"},
        agent=agents.desk_graph,
        on_miss="live",
    ).run()
    assert result.run.status == "done"
    assert result.certificate["match_levels"]["live"] == 1


def test_a_change_of_code_before_the_edit_is_noticed(folders, world):
    run = record(folders)
    world.system = "You are a thief."
    world.poisoned = True
    at = seq_of(run, "root/tools/2")
    result = wb.fork(
        run, at=at, edits={"outcome": "lost"}, agent=agents.desk_graph, rest="live"
    ).run()
    assert result.run.status == "diverged"
    assert (result.divergences[0].kind, result.divergences[0].seq) == (
        "request_changed",
        seq_of(run, "root/agent"),
    )


def test_an_outcome_can_be_an_exception(folders, world):
    run = record(folders, agents.retrying, "x")
    world.poisoned = True
    last = run.calls["seq"][-1]
    for edit in (
        TimeoutError("again"),
        {"exception": {"class": "TimeoutError", "message": "again"}},
    ):
        result = wb.fork(run, at=last, edits={"outcome": edit}, agent=agents.retrying).run()
        assert result.divergences[0].kind == "extra_call", "the agent tries once more"
    wrong = wb.fork(run, at=last, edits={"outcome": KeyError("gone")}, agent=agents.retrying).run()
    assert (wrong.run.status, wrong.run.exception["class"]) == ("failed", "builtins:KeyError")


def test_documents_messages_and_dicts_are_edits_too(folders, world):
    run = record(folders)
    shelf = seq_of(run, "root/inner/read")
    for edit in (
        "another page",
        [{"page_content": "another page"}],
        {"documents": ["another page"]},
    ):
        result = wb.fork(run, at=shelf, edits={"outcome": edit}, agent=agents.desk_graph).run()
        assert "another page" in result.output["found"]
    tool = seq_of(run, "root/tools/2")
    result = wb.fork(
        run,
        at=tool,
        edits={"outcome": {"content": "gone", "error": True}},
        agent=agents.desk_graph,
        rest="live",
    ).run()
    assert [(m.content, m.status) for m in result.output["messages"][2:6]][1] == ("gone", "error")
    result = wb.fork(
        run, at=tool, edits={"outcome": {"status": "gone"}}, agent=agents.desk_graph, rest="live"
    ).run()
    assert result.output["messages"][3].content == '{"status": "gone"}'


def test_a_fork_of_a_fork_works_and_both_say_where_they_come_from(folders, world):
    run = record(folders)
    at = seq_of(run, "root/tools/2")
    one = wb.fork(run, at=at, edits={"outcome": "lost"}, agent=agents.desk_graph, rest="live").run()
    two = wb.fork(
        one.run,
        at=seq_of(one.run, "root/tools/3"),
        edits={"outcome": "found"},
        agent=agents.desk_graph,
        rest="live",
    ).run()
    assert (one.run.info["parent_run_id"], two.run.info["parent_run_id"]) == (
        run.run_id,
        one.run.run_id,
    )
    assert one.run.info["edits_hash"] != two.run.info["edits_hash"]
    texts = [message.content for message in two.output["messages"][2:6]]
    assert texts[1:3] == ["lost", "found"]
    assert wb.replay(two.run, agents.desk_graph).identical


def test_a_fork_without_a_passed_baseline_of_the_same_code_says_so(folders, world):
    run = record(folders, agents.polling, "x")
    fork = wb.fork(run, at=run.calls["seq"][0], agent=agents.polling)
    assert fork.run().run.labels["unbaselined"] is True
    assert wb.replay(run, agents.polling).identical
    assert "unbaselined" not in fork.run().run.labels


def test_the_plan_lists_every_call_and_runs_nothing(folders, world):
    run = record(folders)
    before = world.calls
    plan = wb.fork(
        run,
        at=seq_of(run, "root/tools/2"),
        edits={"outcome": "lost"},
        agent=agents.desk_graph,
        rest="live",
    ).plan()
    assert plan.calls["seq"].to_list() == sorted(run.calls["seq"].to_list())
    actions = dict(plan.calls.select("lane", "action").rows())
    assert actions["root/tools/2"] == "edited"
    assert {actions[f"root/tools/{i}"] for i in (1, 3, 4)} == {"reused"}
    assert actions["root/worker[0]"] == "refused"
    assert "undeclared effects: look_up" in str(plan)
    assert world.calls == before


def test_a_fork_that_makes_no_sense_is_refused_with_the_nearest(folders, world):
    run = record(folders, agents.polling, "x")
    first = run.calls["seq"][0]
    with pytest.raises(errors.CallNotFound, match="nearest") as missing:
        wb.fork(run, at=1, agent=agents.polling)
    assert missing.value.facts["nearest"][0] == first
    with pytest.raises(errors.ForkPoint, match="did you mean 'outcome'"):
        wb.fork(run, at=first, edits={"outcom": 1}, agent=agents.polling)
    with pytest.raises(errors.ForkPoint, match="needs its class"):
        wb.fork(
            run, at=first, edits={"outcome": {"exception": {"message": "x"}}}, agent=agents.polling
        )
    with pytest.raises(errors.UsageError, match="no such effect"):
        wb.fork(run, at=first, agent=agents.polling, effects={"ask": "harmless"})


def test_the_hash_of_edits_tells_edits_and_places_apart():
    hashes = {
        editing.edits_hash({"outcome": "a"}, at=3),
        editing.edits_hash({"outcome": "b"}, at=3),
        editing.edits_hash({"outcome": "a"}, at=4),
        editing.edits_hash({"outcome": ValueError("a")}, at=3),
        editing.edits_hash({}, at=3),
    }
    assert len(hashes) == 5
    assert editing.edits_hash({"outcome": "a"}, at=3) in hashes


def test_a_fork_on_the_live_server_keeps_its_lineage(store, world):
    run = wb.record(store, agents.desk_graph, agents.question())
    result = wb.fork(
        run,
        at=seq_of(run, "root/tools/2"),
        edits={"outcome": "lost"},
        agent=agents.desk_graph,
        rest="live",
    ).run()
    info = store.run(result.run.run_id).info
    assert (info["parent_run_id"], info["forked_at"]) == (run.run_id, seq_of(run, "root/tools/2"))
    assert info["mode"] == "live"
    assert store.run(result.run.run_id).content_root == result.certificate["replay"]["content_root"]


# ---- progress


@pytest.fixture
def many(folders, world):
    run = record(folders, "isolated_agents:many", 20)
    return lambda **options: wb.fork(run, at=int(run.calls["seq"][0]), **options)


@each_strength
def test_progress_of_a_fork_ends_with_every_call_answered(many, isolate):
    told = []
    result = many(isolate=isolate).run(progress=lambda *now: told.append(now))
    assert result.run.calls.height == 20
    assert told[-1] == (20, 20)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


class Enough(Exception):
    """What a caller raises who wants no more."""


@each_strength
def test_what_progress_raises_cancels_the_fork(many, folders, isolate):
    def stop(done, total):
        raise Enough

    with pytest.raises(Enough):
        many(isolate=isolate).run(progress=stop)
    assert folders.runs()["status"].to_list().count("cancelled") == 1


def test_a_bar_that_is_shown_of_a_fork_says_so(folders, world, capsys):
    run = record(folders, "isolated_agents:lingering", "x")
    capsys.readouterr()
    wb.fork(run, at=int(run.calls["seq"][0])).run()
    said = capsys.readouterr().err
    assert "fork |" in said
    assert "1 of 2 calls" in said
    assert said.rpartition("\r")[2] == "", "nothing of it is left"
