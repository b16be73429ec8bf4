"""Exact replay of every example run, while nothing of the world it was recorded in is left."""

from __future__ import annotations

import random
import shutil
import time
import uuid
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path

import pytest
from shelf import Shelf

import workbench as wb
from workbench.capture import intercept
from workbench.examples.support_desk import EFFECTS, draw_case, knowledge, orders, tools
from workbench.examples.support_desk.cases import WEIGHTS
from workbench.examples.support_desk.knowledge import KnowledgeBase
from workbench.examples.support_desk.model import OfflineChatModel

DATASETS = Path(__file__).parents[1] / "datasets"
AGENT = "workbench.examples.support_desk:agent"
ENTRIES = (
    ("invoke", None),
    ("ainvoke", None),
    ("stream", "values"),
    ("stream", ["messages", "updates"]),
    ("astream", "messages"),
)
SETTINGS = (
    {},
    {"knowledge": "kb-42"},
    {"ledger": "l-9"},
    {"ranking": "density"},
    {"payments": "eu-2"},
    {"prompts": "p-12", "temperature": 0.3},
)


class Poisoned(BaseException):
    """Somebody drank from the world."""


def poison(*_args, **_kwargs):
    raise Poisoned("the world was touched in a replay")


@pytest.fixture
def poisoned_world(monkeypatch, tmp_path):
    """Models, tools and retriever raise, the data is gone, time and chance are others."""
    for name in ("_generate", "_stream"):
        monkeypatch.setattr(OfflineChatModel, name, poison)
    monkeypatch.setattr(KnowledgeBase, "_get_relevant_documents", poison)
    for tool in tools.ALL:
        monkeypatch.setattr(tool, "func", poison)
    _delete_data(monkeypatch, tmp_path)
    _turn_clock_and_dice(monkeypatch)


def _delete_data(monkeypatch, tmp_path):
    gone = tmp_path / "gone"
    shutil.copytree(knowledge.FOLDER, gone / "knowledge")
    shutil.copy(orders.SCHEMA, gone / "orders.sql")
    monkeypatch.setattr(knowledge, "FOLDER", gone / "knowledge")
    monkeypatch.setattr(orders, "SCHEMA", gone / "orders.sql")
    monkeypatch.setattr(orders, "_copies", type(orders._copies)())
    knowledge.documents.cache_clear()
    knowledge.word_counts.cache_clear()
    shutil.rmtree(gone)


def _turn_clock_and_dice(monkeypatch):
    class Later(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime(2041, 7, 1, tzinfo=tz)

    for module in (tools, orders):
        monkeypatch.setattr(module, "datetime", Later)
    real_time, dice = time.time, random.Random(4711)
    monkeypatch.setattr(time, "time", lambda: real_time() + 10 * 365 * 86400)
    for name in ("random", "randint", "choice", "choices", "uniform", "getrandbits"):
        monkeypatch.setattr(random, name, getattr(dice, name))
    for module in (uuid, tools):
        monkeypatch.setattr(module, "uuid4", lambda: uuid.UUID(int=dice.getrandbits(128)))


@pytest.fixture(autouse=True)
def fresh_knowledge():
    """What a test cached of the knowledge base ends with it."""
    yield
    knowledge.documents.cache_clear()
    knowledge.word_counts.cache_clear()


@pytest.fixture(scope="module")
def example_runs():
    """Every intent under every entry and setting, recorded live."""
    store, rng = Shelf(), random.Random(20)
    combinations = [
        (intent, *ENTRIES[number % len(ENTRIES)], SETTINGS[number % len(SETTINGS)])
        for number, intent in enumerate(3 * list(WEIGHTS))
    ]
    return [
        wb.record(
            store,
            AGENT,
            draw_case(rng, intent=intent).input,
            config={"configurable": settings},
            entry=entry,
            stream_mode=stream_mode,
            effects=EFFECTS,
        )
        for intent, entry, stream_mode, settings in combinations
    ]


@pytest.fixture(scope="module")
def dataset_runs():
    store = wb.open(DATASETS)
    return [store.run(run_id) for run_id in store.runs()["run_id"]]


def different(runs):
    """Return the runs whose exact replay is not identical, with the first reason."""
    found = {}
    for run in runs:
        result = replayed(run)
        if result is None or not result.identical:
            found[run.run_id] = str(result.divergences[0]) if result else "the world was touched"
    return found


def replayed(run):
    try:
        return wb.replay(run, AGENT, mode="exact", into=Shelf())
    except Poisoned:
        return None


def test_every_example_run_replays_identically_in_a_poisoned_world(example_runs, poisoned_world):
    assert different(example_runs) == {}


def test_every_dataset_run_replays_identically_in_a_poisoned_world(dataset_runs, poisoned_world):
    assert len(dataset_runs) >= 200
    assert different(dataset_runs) == {}


def test_without_the_interception_no_run_replays_identically(
    example_runs, dataset_runs, poisoned_world, monkeypatch
):
    monkeypatch.setattr(intercept, "installed", nullcontext)
    runs = [*example_runs, *dataset_runs[:20]]
    assert {run.run_id for run in runs} == set(different(runs))


def test_a_replay_has_the_content_of_its_source_and_leaves_it_alone(example_runs, poisoned_world):
    for run in example_runs[:6]:
        before = run.refresh().digest
        result = replayed(run)
        assert result.run.content_root == run.content_root
        assert result.run.events["mode"].drop_nulls().unique().to_list() == ["exact"]
        assert run.refresh().digest == before


def test_two_live_recordings_of_one_input_are_not_the_same_run():
    store, rng = Shelf(), random.Random(21)
    cases = [draw_case(rng).input for _ in range(20)]
    pairs = [(wb.record(store, AGENT, c), wb.record(store, AGENT, c)) for c in cases]
    assert sum(a.content_root != b.content_root for a, b in pairs) >= 18
