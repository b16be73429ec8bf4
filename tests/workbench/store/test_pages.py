"""A run that is read piece by piece is the one that is read whole, wherever it lies."""

import importlib

import msgspec
import polars as pl
import pytest
from handmade import Log, exported, short_run

from workbench import recording
from workbench.schema import RunHeader
from workbench.store import read
from workbench.store.bundle import write as write_bundle

runs = importlib.import_module("workbench.store.run")


def longer():
    log = Log()
    log.begin()
    for number in range(5):
        asked = log.message(role="user", content=str(number))
        model = log.start("model", "m", {"messages": [asked]})
        log.end(model, {"message": log.message(role="assistant", content=f"{number}!")})
    log.finish()
    return log


def in_folder(tmp_path, _):
    """The second of three runs of one export."""
    folder = exported(tmp_path / "three", short_run(), longer(), short_run())
    return read(folder).run("00000000-0000-0000-0000-000000000002")


def on_server(_, store):
    log = longer()
    run_id = store.create_run(RunHeader(name="paged"))
    store.append(run_id, log.events, log.bodies)
    return store.run(run_id)


def in_bundle(tmp_path, _):
    file = tmp_path / "run.zip"
    run = in_folder(tmp_path, None)
    write_bundle(run, file, certificate=b"{}", agent={}, beside=[])
    return read(file).run(run.run_id)


@pytest.mark.parametrize("place", [in_folder, on_server, in_bundle], ids=lambda one: one.__name__)
@pytest.mark.parametrize("size", [1, 3, 10_000])
def test_pieces_are_the_whole(tmp_path, store, monkeypatch, place, size):
    run = place(tmp_path, store)
    monkeypatch.setattr(runs, "_PAGE", size)
    pages = list(run.pages())
    whole = run.store.events(run.run_id)
    assert all(page.height <= size for page in pages)
    assert pl.concat(pages).equals(whole)
    assert dict(run.pool()) == run.bodies()
    found = run.recording()
    expected = recording.read(run.event_log(), run.bodies())
    assert list(found.calls) == list(expected.calls)
    assert (found.log_root, found.content_root) == (run.digest, run.content_root)
    assert {d: msgspec.json.decode(text) for d, text in run.store.messages(run.run_id)} == dict(
        run.bodies()
    )


def test_what_was_read_before_is_not_read_again(tmp_path, monkeypatch):
    run = in_folder(tmp_path, None)
    _ = run.events, run.bodies()
    monkeypatch.setattr(type(run.store), "events", lambda *_, **__: pytest.fail("read again"))
    monkeypatch.setattr(type(run.store), "messages", lambda *_, **__: pytest.fail("read again"))
    assert run.recording().events == run.events.height


def test_a_number_that_was_left_out_ends_nothing(tmp_path, monkeypatch):
    """A window of as many numbers as rows are wanted may hold fewer rows."""
    folder = exported(tmp_path / "one", longer())
    file = folder / "events.parquet"
    events = pl.read_parquet(file)
    events.with_columns(seq=pl.col("seq") * 7).write_parquet(file)
    store = read(folder)
    run = store.run(store.runs()["run_id"][0])
    monkeypatch.setattr(runs, "_PAGE", 4)
    assert pl.concat(list(run.pages()))["seq"].to_list() == (events["seq"] * 7).to_list()
    assert store.events(run.run_id, after=7, limit=2)["seq"].to_list() == [14, 21]


def test_a_run_without_events_has_no_pieces(tmp_path):
    from workbench.store.export import writer

    single = writer(tmp_path / "none", RunHeader())
    single.close()
    run = read(tmp_path / "none").run(single.run_id)
    assert list(run.pages()) == []
    assert len(run.recording().calls) == 0
