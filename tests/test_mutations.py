"""A recording or an agent that was changed is found out, at the right call.

The seed of every round is printed; ``WORKBENCH_MUTATION_SEED`` repeats one.
"""

from __future__ import annotations

import importlib
import os
import random
import secrets
import shutil
import sys
from itertools import combinations, pairwise
from pathlib import Path

import msgspec
import pytest
from forging import body, calls_of, changed, forged
from shelf import Shelf

import workbench as wb
from workbench import examples, hashing
from workbench.examples import support_desk
from workbench.examples.support_desk import EFFECTS, draw_case

AGENT = "workbench.examples.support_desk:agent"
RUNS = 16
INTENTS = ("damaged", "regret", "double_charge", "parcel", "address", "offline", "sign_in")
SEED = int(os.environ.get("WORKBENCH_MUTATION_SEED") or secrets.randbelow(10**6))


@pytest.fixture(scope="module")
def runs():
    print(f"WORKBENCH_MUTATION_SEED={SEED}")
    store, rng = Shelf(), random.Random(SEED)
    cases = [draw_case(rng, intent=rng.choice(INTENTS)) for _ in range(RUNS)]
    return [wb.record(store, AGENT, case.input, effects=EFFECTS) for case in cases]


@pytest.fixture(params=range(RUNS))
def run(request, runs):
    return runs[request.param]


@pytest.fixture
def rng(request):
    print(f"WORKBENCH_MUTATION_SEED={SEED}")
    return random.Random(f"{SEED}{request.node.name}")


# ---- what a replay says


def verdict(run, agent=AGENT):
    result = wb.replay(run, agent, into=Shelf())
    return result, [found.kind for found in result.divergences]


def first_real(result):
    return next(
        d for d in result.divergences if d.kind not in ("dependency_changed", "code_changed")
    )


def outcome_of(pair):
    return body(pair[1]).get("outcome")


def differing(pairs):
    """Return the pairs of calls whose outcomes differ, the earlier first."""
    return [(a, b) for a, b in combinations(pairs, 2) if outcome_of(a) != outcome_of(b)]


def next_use(run, pair):
    """Return the first later call whose request holds what this call gave back."""
    _, ended = pair
    outcome = body(ended)["outcome"]
    for started, _ in calls_of(run):
        if started.seq > ended.seq and _holds(run, body(started)["request"], outcome):
            return started
    return None


def _holds(run, request, outcome):
    messages = request.get("messages") or []
    if "message" in outcome:
        return outcome["message"] in messages
    texts = [run.bodies()[digest]["content"] or "" for digest in messages]
    found = [document["page_content"] for document in outcome.get("documents", [])]
    return any(page in str(text) for page in found for text in texts)


# ---- unmutated


def test_an_unmutated_run_gives_no_report(run):
    result, kinds = verdict(run)
    assert (result.identical, kinds) == (True, [])


def test_a_log_written_anew_without_a_change_gives_no_report(run):
    result, kinds = verdict(forged(run))
    assert (result.identical, kinds) == (True, [])


# ---- mutated recordings


def test_swapped_outcomes_are_reported_at_the_first_call_that_depends_on_one(run, rng):
    pairs = [p for p in calls_of(run) if p[0].kind == "tool" and p[1].status == "ok"]
    usable = [p for p in pairs if next_use(run, p) is not None]
    one, other = rng.choice(differing(usable))
    payloads = {one[1].seq: other[1], other[1].seq: one[1]}
    mutant = forged(
        run,
        replaced={
            event.seq: changed(event, payload=payloads[event.seq].payload)
            for event in (one[1], other[1])
        },
    )
    expected = min(next_use(run, one).seq, next_use(run, other).seq)
    result, _ = verdict(mutant)
    reported = first_real(result)
    assert not result.identical
    if reported.kind == "missing_call":  # the desk that takes over is read from what a tool said
        routing = "hand_over" in (one[0].name, other[0].name)
        assert routing
        assert reported.seq < expected
    else:
        assert (expected, "request_changed") == (reported.seq, reported.kind)


def test_swapped_answers_of_the_model_are_reported_no_later_than_at_their_first_use(run, rng):
    pairs = [p for p in calls_of(run) if p[0].kind == "model"]
    one, other = rng.choice(differing(pairs))
    mutant = forged(
        run,
        replaced={
            one[1].seq: changed(one[1], payload=other[1].payload),
            other[1].seq: changed(other[1], payload=one[1].payload),
        },
    )
    following = next(s.seq for s, _ in calls_of(run) if s.seq > one[1].seq)
    result, _ = verdict(mutant)
    assert not result.identical
    assert following <= first_real(result).seq <= next_use(run, one).seq


def test_a_swapped_find_of_the_retriever_is_reported_at_the_next_model_call(runs, rng):
    found = [(run, p) for run in runs for p in calls_of(run) if p[0].kind == "retriever"]
    (run, pair), (_, stranger) = next(
        (one, other)
        for one, other in zip(found, rng.sample(found, len(found)), strict=True)
        if outcome_of(one[1]) != outcome_of(other[1])
    )
    payload = hashing.dumps(body(pair[1]) | {"outcome": outcome_of(stranger)})
    mutant = forged(run, replaced={pair[1].seq: changed(pair[1], payload=msgspec.Raw(payload))})
    result, _ = verdict(mutant)
    reported = first_real(result)
    assert (next_use(run, pair).seq, "request_changed") == (reported.seq, reported.kind)


def lane_of(run, pair):
    lane = pair[0].lane
    return [p for p in calls_of(run) if p[0].lane == lane]


def renumbered(pairs, shift):
    """Return replacements that shift the ordinals of calls."""
    return {
        event.seq: changed(event, ordinal=event.ordinal + shift) for pair in pairs for event in pair
    }


def is_retried(run, pair):
    """Say whether a failed call was tried again: nothing shows how often, so the number is free."""
    tries = [p for p in lane_of(run, pair) if p[0].signature == pair[0].signature]
    return pair[1].status == "error" and pair[0].seq != tries[-1][0].seq


def test_a_dropped_call_is_reported_as_the_one_that_is_missing(run, rng):
    pair = rng.choice([p for p in calls_of(run) if not is_retried(run, p)])
    later = [p for p in lane_of(run, pair) if p[0].ordinal > pair[0].ordinal]
    mutant = forged(run, dropped={pair[0].seq, pair[1].seq}, replaced=renumbered(later, -1))
    result, _ = verdict(mutant)
    reported = first_real(result)
    # the next of several equal polls answers in its place: then it shows where it was used
    silent = later and later[0][0].signature == pair[0].signature
    missing = next_use(run, pair) if silent else pair[0]
    expected = (missing.lane, missing.ordinal, missing.name)
    assert not result.identical
    assert expected == tuple(reported.actual[key] for key in ("lane", "ordinal", "name"))
    assert silent or missing.signature == reported.actual["signature"]


def shifted_poll(pair, later):
    """Return the first of the equal calls that follow in the lane which gets another's answer."""
    for before, poll in pairwise([pair, *later]):
        if poll[0].signature != pair[0].signature:
            return None
        if outcome_of(poll) != outcome_of(before):
            return poll
    return None


def test_a_repeated_call_is_reported_at_the_repetition(run, rng):
    pair = rng.choice([p for p in calls_of(run) if not is_retried(run, p)])
    later = [p for p in lane_of(run, pair) if p[0].ordinal > pair[0].ordinal]
    again = [
        changed(event, step_id=f"{event.step_id}-again", ordinal=event.ordinal + 1)
        for event in pair
    ]
    mutant = forged(run, replaced=renumbered(later, 1), after={pair[1].seq: again})
    result, _ = verdict(mutant)
    reported = first_real(result)
    repetition = next(s for s, _ in calls_of(mutant) if s.step_id == again[0].step_id)
    shifted = shifted_poll(pair, later)
    expected = (repetition.seq, "missing_call")
    if shifted is not None:
        use = next(s for s, _ in calls_of(mutant) if s.step_id == next_use(run, shifted).step_id)
        expected = (use.seq, "request_changed")
    assert not result.identical
    assert expected == (reported.seq, reported.kind)


def test_reordered_calls_are_reported_where_the_order_changed(run, rng):
    neighbours = [
        (a, b)
        for a in calls_of(run)
        for b in lane_of(run, a)
        if b[0].ordinal == a[0].ordinal + 1 and a[0].signature != b[0].signature
    ]
    one, other = rng.choice(neighbours)
    swapped = {
        there.seq: changed(event, ordinal=there.ordinal)
        for mine, theirs in ((one, other), (other, one))
        for event, there in zip(mine, theirs, strict=True)
    }
    result, _ = verdict(forged(run, replaced=swapped))
    reported = first_real(result)
    assert not result.identical
    assert (one[0].lane, one[0].ordinal) == (reported.lane, reported.actual["ordinal"])
    assert one[0].seq == reported.seq
    assert reported.kind in ("reordered", "missing_call", "request_changed", "extra_call")


# ---- a changed line of the agent


@pytest.fixture
def edited(monkeypatch, tmp_path):
    """Change one line of the agent in a copy that stands under the agent's own name."""
    name = support_desk.__name__

    def edit(file, old, new):
        copy = tmp_path / "support_desk"
        shutil.copytree(Path(support_desk.__file__).parent, copy, dirs_exist_ok=True)
        source = (copy / file).read_text()
        assert source.count(old) == 1
        (copy / file).write_text(source.replace(old, new))
        monkeypatch.setattr(examples, "__path__", [str(tmp_path), *examples.__path__])
        for module in [m for m in sys.modules if m.startswith(name)]:
            monkeypatch.delitem(sys.modules, module)
        return importlib.import_module(name).agent

    yield edit
    for module in [m for m in sys.modules if m.startswith(name)]:
        del sys.modules[module]


def test_a_changed_prompt_is_reported_at_the_start_and_at_the_first_request(run, edited):
    agent = edited("prompts.py", "no jargon", "no slang")
    result, kinds = verdict(run, agent)
    first = next(s for s, _ in calls_of(run) if s.kind == "model")
    assert kinds == ["code_changed", "request_changed"]
    assert (1, first.seq) == (result.divergences[0].seq, first_real(result).seq)
    assert "prompts" in result.divergences[0].cause


def test_a_changed_tool_description_is_reported_at_the_first_model_that_is_offered_it(runs, edited):
    agent = edited("tools.py", "This cannot be undone.", "There is no way back.")
    for run in runs:
        offered = [
            s
            for s, _ in calls_of(run)
            if s.kind == "model" and "issue_refund" in str(body(s)["request"].get("tools"))
        ]
        result, kinds = verdict(run, agent)
        assert not result.identical
        assert ["code_changed", *(["request_changed"] if offered else [])] == kinds
        if offered:
            assert offered[0].seq == first_real(result).seq


def test_a_changed_query_is_reported_at_the_retriever(runs, edited):
    agent = edited("graph.py", 'str(case["messages"][0].content)', 'case["channel"]')
    for run in runs:
        first = next(s for s, _ in calls_of(run) if s.kind == "retriever")
        result, kinds = verdict(run, agent)
        assert kinds == ["code_changed", "request_changed"]
        assert first.seq == first_real(result).seq


def test_a_changed_line_that_alters_no_request_is_reported_at_the_start_only(run, edited):
    agent = edited("phrases.py", '"Have a good day."', '"Have a nice day."')
    result, kinds = verdict(run, agent)
    assert kinds == ["code_changed"]
    assert not result.identical
