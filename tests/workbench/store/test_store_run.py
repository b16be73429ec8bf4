import sys
from types import ModuleType

import pytest
from handmade import exported, short_run

from workbench import errors
from workbench.store import Run, read

FIRST = "00000000-0000-0000-0000-000000000001"


@pytest.fixture
def store(tmp_path):
    return read(exported(tmp_path / "runs", short_run(), short_run(), labels={"a": 1}))


@pytest.fixture
def run(store) -> Run:
    return store.run(FIRST)


def test_a_run_tells_what_it_is(run):
    assert (run.run_id, run.name, run.status, run.source) == (FIRST, "run 1", "failed", None)
    assert run.labels == {"a": 1}
    assert repr(run) == f"<Run {FIRST} failed run 1>"


def test_a_run_gives_its_input_and_output(run):
    assert run.input == {"question": "why?"}
    assert run.output == {"answer": None}
    assert run.exception is None


def test_frames_are_read_once(run):
    assert run.events is run.events
    assert run.calls is run.calls


def test_a_refreshed_run_reads_anew(run):
    before = run.events

    assert run.refresh().events is not before
    assert run.refresh().events.equals(before)


def test_a_view_is_found_by_name_above_the_store(run, monkeypatch):
    views = ModuleType("workbench.widgets")
    views.timeline = lambda shown, **options: (shown, options)
    monkeypatch.setitem(sys.modules, "workbench.widgets", views)

    assert run.timeline(width=3) == (run, {"width": 3})


@pytest.mark.parametrize("wanted", ["0000", "00000000-0000"])
def test_several_runs_that_begin_so_are_named(store, wanted):
    with pytest.raises(errors.UsageError, match=FIRST):
        store.run(wanted)


@pytest.mark.parametrize("wanted", ["000", "nope", ""])
def test_an_unknown_run_is_not_found(store, wanted):
    with pytest.raises(errors.RunNotFound):
        store.run(wanted)


@pytest.mark.parametrize(
    "write",
    [
        lambda store: store.create_run(None),
        lambda store: store.declare(None),
        lambda store: store.append("x", []),
        lambda store: store.patch("x", None),
        lambda store: store.put_artifact(b""),
        lambda store: store.writer(None),
    ],
)
def test_exported_runs_cannot_be_changed(store, write):
    with pytest.raises(errors.ReadOnly, match="import"):
        write(store)


def test_an_export_holds_no_artifacts(store):
    with store as opened, pytest.raises(errors.ArtifactNotFound):
        opened.get_artifact("0" * 64)
