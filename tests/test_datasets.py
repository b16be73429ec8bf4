"""The bundled runs are the ones that were made, and a stranger can make others."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import workbench as wb
from workbench import frames
from workbench.store import read

ROOT = Path(__file__).parents[1]
DATASETS = ROOT / "datasets"
CAUSES = (
    "poisoned_document",
    "prompt_change",
    "retrieval_regression",
    "tool_times_out",
    "wrong_refund_amount",
)


@pytest.fixture(scope="module")
def store():
    return wb.open(DATASETS)


@pytest.fixture(scope="module")
def incidents():
    return json.loads((DATASETS / "causes.json").read_text())["incidents"]


def test_the_files_have_their_checksums():
    lines = (DATASETS / "SHA256SUMS").read_text().splitlines()
    expected = {name: digest for digest, name in (line.split("  ") for line in lines)}
    actual = {n: hashlib.sha256((DATASETS / n).read_bytes()).hexdigest() for n in expected}
    data = {path.name for path in DATASETS.iterdir() if path.suffix in (".parquet", ".json")}
    assert data == set(expected)
    assert expected == actual
    assert read(DATASETS, verify=True).contents.runs == 200


def test_all_of_it_is_smaller_than_three_megabytes():
    assert sum(path.stat().st_size for path in DATASETS.iterdir() if path.is_file()) < 3_000_000


def test_there_are_two_hundred_runs_a_tenth_of_them_incidents(store, incidents):
    assert store.runs().height == 200
    assert len({incident["run_id"] for incident in incidents}) == 20
    assert sorted({incident["cause"] for incident in incidents}) == list(CAUSES)


def test_the_labels_do_not_tell_the_cause(store):
    text = "".join(store.runs()["labels"]) + "".join(store.runs()["name"])
    assert not [cause for cause in CAUSES if cause in text]
    assert set(json.loads(store.runs()["labels"][0])) == {
        "intent",
        "channel",
        "outcome",
        "feedback",
    }


def test_no_part_of_the_product_reads_the_causes():
    folders = (ROOT / "workbench", ROOT / "server", ROOT / "notebooks")
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert [str(f) for f in files if b"causes.json" in f.read_bytes()] == []


def test_the_runs_lie_in_two_days_and_take_as_long_as_real_ones(store):
    runs = store.runs()
    assert (runs["started_at"].max() - runs["started_at"].min()).total_seconds() < 48 * 3600
    assert (runs["started_at"].max() - runs["started_at"].min()).total_seconds() > 24 * 3600
    assert 3_000 < runs["duration_ms"].median() < 30_000
    assert runs["cost_usd"].null_count() == 0
    assert set(runs["health"]) == {"ok"}


def test_the_events_of_every_run_are_whole_and_in_time(store):
    for run_id in store.runs()["run_id"]:
        run = store.run(run_id)
        times = run.steps.select(
            late=(pl.col("started_at") < run.info["started_at"]).any(),
            long=(pl.col("duration_ms") < 0).any(),
        )
        assert times.row(0) == (False, False)
        assert set(run.calls["order"]) == {"declared"}
        assert set(run.calls["quality"]) == {"full"}
        assert run.digest == frames.log_root(run.events)


def test_an_incident_and_its_baseline_are_one_request(store, incidents):
    for incident in incidents:
        run, baseline = store.run(incident["run_id"]), store.run(incident["baseline"])
        assert run.input == baseline.input
        assert run.content_root != baseline.content_root
        assert incident["call"] == run.calls.filter(seq=incident["seq"])["name"].item()


def test_the_tool_messages_have_believable_times(store):
    """What a tool says of the clock lies within its call, to the second."""
    for run_id in store.runs()["run_id"][:40]:
        run = store.run(run_id)
        for stamp in re.findall(r'"booked_at\\*": \\*"([^"\\]+)', " ".join(run.messages["text"])):
            begun, over = run.info["started_at"], run.info["ended_at"]
            assert f"{begun:%Y-%m-%dT%H:%M:%S}" <= stamp[:19] <= f"{over:%Y-%m-%dT%H:%M:%S}"


def test_another_set_can_be_made_for_any_seed(tmp_path):
    made = subprocess.run(
        [sys.executable, DATASETS / "make.py", "--seed", "5", "--out", tmp_path, "--runs", "48"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (made.returncode, made.stderr if made.returncode else "") == (0, "")
    store = read(tmp_path, verify=True)
    causes = json.loads((tmp_path / "causes.json").read_text())
    assert (store.runs().height, causes["seed"]) == (48, 5)
    result = wb.replay(store.run(causes["incidents"][0]["run_id"]))
    assert result.identical
