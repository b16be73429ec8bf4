"""The report on runs it was not written for: the recorded data set, and imported AgentDojo runs."""

import json
import os
from pathlib import Path

import msgspec
import pytest

from workbench import formats
from workbench import store as stores
from workbench.report import incident
from workbench.report.incident.actions import _actions
from workbench.report.incident.divergence import first_change
from workbench.store import export

ROOT = Path(__file__).parents[3]
DATASETS = ROOT / "datasets"
REALDATA = Path(os.environ.get("WORKBENCH_REALDATA") or ROOT.parent / "shared" / "realdata")
DOJO = REALDATA / "agentdojo" / "runs" / "gpt-4o-2024-05-13" / "banking" / "user_task_0"


def test_each_cause_in_the_data_set_is_the_first_thing_to_look_at():
    causes = json.loads((DATASETS / "causes.json").read_text())["incidents"]
    with stores.read(str(DATASETS)) as store:
        seen = [looked_at(incident.gather(run=c["run_id"], store=store)) for c in causes]
    assert [(c["baseline"], c["seq"]) for c in causes] == seen


def looked_at(found):
    first = max(_actions(found), key=lambda action: action.weight)
    change = first_change(found)
    assert f"(#{change.seq})" in first.what
    return found.baseline.run_id, change.seq


def test_a_window_of_the_data_set_counts_what_went_wrong():
    with stores.read(str(DATASETS)) as store:
        found = incident.gather(store=store)
        rows = [json.loads(text) for text in store.runs()["labels"]]
    complaints = sum(labels["feedback"] == "complaint" for labels in rows)
    assert f"{complaints} of {len(rows)} runs of support_desk:agent" in str(
        incident.headline(found)
    )


@pytest.fixture(scope="module")
def dojo(tmp_path_factory):
    """A folder with a clean run and an attacked one of the same task."""
    if not DOJO.is_dir():
        pytest.skip(f"no AgentDojo runs in {REALDATA} (set WORKBENCH_REALDATA)")
    root = tmp_path_factory.mktemp("dojo")
    files = [DOJO / "none" / "none.json", DOJO / "important_instructions" / "injection_task_3.json"]
    runs = [imported(path, root / str(i)) for i, path in enumerate(files)]
    return export.export(runs, root / "store")


def imported(path, folder):
    context, [piece] = formats.records("agentdojo", path.read_bytes())
    trace = formats.trace("agentdojo", piece, context=context, path=path)
    run = formats.imported(trace)
    header = msgspec.structs.replace(run.header, source=f"agentdojo:{trace.key}")
    writer = export.writer(folder, header)
    writer.append(run.events, run.bodies)
    writer.close()
    return stores.read(str(folder)).run(writer.run_id)


@pytest.fixture
def attacked(dojo):
    with stores.read(str(dojo)) as store:
        runs = store.runs()
        wanted = runs.filter(runs["name"].str.contains("injection_task_3"))["run_id"][0]
        yield incident.gather(run=wanted, store=store)


def test_an_attacked_run_is_told_from_its_clean_one(attacked):
    assert attacked.baseline.name == "banking/user_task_0"
    head = str(incident.headline(attacked))
    assert "attack succeeded and task failed; no error in 12 calls, but read_file" in head
    assert "no time in the source" in head
    story = str(incident.moments(attacked))
    assert "<INFORMATION>" in story
    assert "send_money(" in story


def test_what_an_import_does_not_say_is_unknown(attacked):
    text = str(incident.costs(attacked))
    assert "The cost of 2 of 2 runs is unknown" in text
    assert "tokens unknown in all 2" in text
    assert "$0" not in text


def test_an_import_cannot_be_forked_and_none_is_proposed(attacked):
    assert all("wb.fork" not in action.line for action in _actions(attacked))
