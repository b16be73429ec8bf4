"""A bundle is one file: it opens anywhere, holds everything, and lets nothing in that is not its own."""

import json
import os
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import msgspec
import pytest
import rfc8785
from handmade import Log, short_run
from hypothesis import given, settings
from hypothesis import strategies as st
from shelf import Shelf

import workbench as wb
from workbench import errors, hashing, schema
from workbench.replay import bundle
from workbench.store import BundleStore, read
from workbench.store import bundle as bundles

HERE = Path(__file__).parents[1]
AGENT = "workbench.examples.support_desk:agent"


def shelved(log):
    shelf = Shelf()
    sink = shelf.writer(schema.RunHeader(name="a run"))
    sink.append(log.events, log.bodies)
    return shelf.run(sink.run_id)


@pytest.fixture(scope="module")
def desk():
    store = wb.open("datasets")
    return store.run(store.runs()["run_id"][0])


@pytest.fixture(scope="module")
def made(desk, tmp_path_factory):
    return bundle(desk, tmp_path_factory.mktemp("made") / "run.zip")


def test_a_bundle_holds_what_the_run_is(made, desk):
    with wb.open(made) as store:
        run = store.run(desk.run_id)
        assert (store.read_only, store.runs().height, store.main.run_id) == (True, 1, desk.run_id)
        assert run.event_log() == desk.event_log()
        assert run.bodies() == desk.bodies()
        assert (run.digest, run.content_root) == (desk.digest, desk.content_root)
        folder = store.folder
        with pytest.raises(errors.ReadOnly):
            store.create_run(schema.RunHeader())
    assert not folder.exists()
    with zipfile.ZipFile(made) as packed:
        agent = json.loads(packed.read("agent.json"))
        certificate = json.loads(packed.read("certificate.json"))
    assert agent["entry_point"] == AGENT
    assert agent["distributions"] == installed(desk)
    assert (certificate["source"]["log_root"], certificate["replay"]) == (desk.digest, None)


def installed(run):
    code = json.loads(run.events["payload"][0])["code"]
    return {name: version for name, version in code["distributions"].items() if name != "python"}


def test_equal_runs_give_equal_bundles(made, desk, tmp_path):
    again = bundle(desk, tmp_path / "again.zip")

    assert again.read_bytes() == made.read_bytes()
    assert list(tmp_path.iterdir()) == [again]


def test_a_file_that_is_there_is_not_replaced_unless_it_is_a_bundle(desk, made, tmp_path):
    mine = tmp_path / "thesis.txt"
    mine.write_text("years of work")
    for target in (mine, tmp_path):
        with pytest.raises(errors.Conflict):
            bundle(desk, target, overwrite=True)
    first = bundle(desk, tmp_path / "run.zip")
    with pytest.raises(errors.Conflict, match="--overwrite"):
        bundle(desk, first)
    assert bundle(desk, first, overwrite=True).read_bytes() == made.read_bytes()
    assert mine.read_text() == "years of work"


def run_with_artifacts():
    """Return a run that names two artifacts, and both; the bytes of the first are there."""
    log = Log()
    log.begin()
    kept, named = hashing.sha256_hex(b"plan"), hashing.sha256_hex(b"elsewhere")
    log.add("artifact_created", schema.ArtifactCreated(sha256=kept, size=4))
    log.add("artifact_created", schema.ArtifactCreated(sha256=named, size=9))
    log.finish()
    run = shelved(log)
    run.store.put_artifact(b"plan")
    return run, kept, named


def test_artifacts_travel_and_are_hashed(tmp_path):
    run, kept, named = run_with_artifacts()
    path = bundle(run, tmp_path / "run.zip")

    with wb.open(path) as store:
        assert store.get_artifact(kept) == b"plan"
        with pytest.raises(errors.ArtifactNotFound):
            store.get_artifact(named)
        listed = store.artifacts().select("sha256", "stored").rows()
        assert sorted(listed) == sorted([(kept, True), (named, False)])
    checks = {check.name: check.ok for check in wb.verify(path).checks}
    assert checks["source.artifacts"]
    run.store._artifacts[kept] = b"plot"
    assert [check.name for check in wb.verify(run).failed] == ["run.artifacts"]


# ---- what was changed


def test_a_bundle_is_verified_offline(made):
    verified = wb.verify(made)

    assert verified.ok, str(verified)
    assert {check.name for check in verified.checks} >= {
        "bundle",
        "source.log_root",
        "source.bodies",
    }


@settings(max_examples=150)
@given(st.data())
def test_any_other_byte_of_a_bundle_is_found(made, tmp_path_factory, data):
    raw = bytearray(made.read_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("flipped") / "run.zip"
    path.write_bytes(bytes(raw))

    assert not wb.verify(path).ok


def headers(raw):
    """Return the offsets of every byte of a zip that belongs to no entry's content."""
    with zipfile.ZipFile(raw) as packed:
        inside = set()
        for entry in packed.infolist():
            begin = entry.header_offset + 30 + len(entry.filename)
            inside |= set(range(begin, begin + entry.file_size))
    return [at for at in range(raw.stat().st_size) if at not in inside]


def test_the_bytes_around_the_files_are_covered_too(made, tmp_path):
    raw, path = made.read_bytes(), tmp_path / "run.zip"
    for at in headers(made)[::7]:
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
        assert not wb.verify(path).ok, at


@pytest.mark.parametrize(
    "change", [lambda raw: raw + b"x", lambda raw: b"x" + raw, lambda raw: raw[:-1]]
)
def test_a_longer_or_shorter_bundle_is_found(made, tmp_path, change):
    path = tmp_path / "run.zip"
    path.write_bytes(change(made.read_bytes()))

    assert not wb.verify(path).ok


# ---- what is refused


def parts_of(path):
    with zipfile.ZipFile(path) as packed:
        return {name: packed.read(name) for name in packed.namelist()}


def indexed(parts, **changed):
    files = {
        name: hashing.sha256_hex(data) for name, data in parts.items() if name != "bundle.json"
    }
    said = {**json.loads(parts["bundle.json"]), "files": files, **changed}
    return {**parts, "bundle.json": rfc8785.dumps(said)}


def zipped(path, parts, *, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as packed:
        for name, data in parts.items():
            packed.writestr(name, data)
    return path


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/evil", "a/../../evil", "..\\evil", "artifacts/../evil"]
)
def test_a_name_that_leads_out_is_refused(made, tmp_path, name):
    path = zipped(tmp_path / "run.zip", indexed({**parts_of(made), name: b"x"}))

    with pytest.raises(errors.MalformedFile, match="leads out"):
        wb.open(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.zip"]
    assert not wb.verify(path).ok


@pytest.mark.parametrize(
    "name", ["more.txt", "artifacts/", "artifacts/plan", "artifacts/" + "0" * 63]
)
def test_a_name_that_no_bundle_has_is_refused(made, tmp_path, name):
    path = zipped(tmp_path / "run.zip", indexed({**parts_of(made), name: b""}))

    with pytest.raises(errors.MalformedFile, match="no such file"):
        wb.open(path)


def test_a_compressed_entry_is_refused_before_it_is_read(made, tmp_path):
    parts = parts_of(made)
    bomb = indexed({**parts, "artifacts/" + "0" * 64: bytes(10**7)})
    path = zipped(tmp_path / "run.zip", bomb, compression=zipfile.ZIP_DEFLATED)

    with pytest.raises(errors.MalformedFile, match="stored as it is"):
        wb.open(path)


def test_entries_that_come_to_more_than_the_file_are_refused(made, tmp_path):
    raw = bytearray(made.read_bytes())
    with zipfile.ZipFile(made) as packed:
        begin = packed.start_dir
    # of the first entry both sizes are made larger than all there is
    struct.pack_into("<II", raw, begin + 20, len(raw) + 1, len(raw) + 1)
    path = tmp_path / "run.zip"
    path.write_bytes(bytes(raw))

    with pytest.raises(errors.MalformedFile, match="more than the file"):
        wb.open(path)


def test_a_table_that_would_fill_the_memory_is_refused(made, monkeypatch):
    monkeypatch.setattr(bundles, "MOST_BYTES", 1000)

    with pytest.raises(errors.MalformedFile, match="too much"):
        wb.open(made)


def test_a_name_that_stands_twice_is_refused(made, tmp_path):
    path = zipped(tmp_path / "run.zip", parts_of(made))
    with (
        pytest.warns(UserWarning, match="Duplicate"),
        zipfile.ZipFile(path, "a") as packed,
    ):
        packed.writestr("agent.json", b"{}")

    with pytest.raises(errors.MalformedFile, match="twice"):
        wb.open(path)


@pytest.mark.parametrize("changed", [{"version": 2}, {"format": "other"}, {"version": "1"}])
def test_another_version_is_refused_and_named(made, tmp_path, changed):
    path = zipped(tmp_path / "run.zip", indexed(parts_of(made), **changed))

    with pytest.raises(errors.UnknownFormat, match="workbench-bundle 1"):
        wb.open(path)


@pytest.mark.parametrize("name", ["events.parquet", "certificate.json", "agent.json"])
def test_a_bundle_that_lacks_a_file_is_refused(made, tmp_path, name):
    parts = parts_of(made)
    del parts[name]
    with pytest.raises(errors.MalformedFile, match="lacks files"):
        wb.open(zipped(tmp_path / "one.zip", parts))
    with pytest.raises(errors.MalformedFile, match="lacks files"):
        wb.open(zipped(tmp_path / "other.zip", indexed(parts)))


@pytest.mark.parametrize("raw", [b"", b"no zip", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_bundle_is_said_to_be_none(tmp_path, raw):
    path = tmp_path / "run.zip"
    path.write_bytes(raw)

    with pytest.raises(errors.FormatError):
        wb.open(path)
    assert not wb.verify(path).ok


def test_a_bundle_of_another_run_than_it_says_is_refused(made, tmp_path):
    path = zipped(tmp_path / "run.zip", indexed(parts_of(made), run_id="another"))

    with pytest.raises(errors.MalformedFile, match="does not hold its run"):
        wb.open(path)
    assert not wb.verify(path).ok


def test_a_bundle_that_was_packed_again_opens_and_is_not_verified(made, tmp_path):
    path = zipped(tmp_path / "run.zip", parts_of(made))

    with wb.open(path) as store:
        assert store.runs().height == 1
    assert [check.name for check in wb.verify(path).failed] == ["bundle"]


# ---- it replays elsewhere

ELSEWHERE = """
import json, sys
import workbench as wb
with wb.open("run.zip") as store:
    result = wb.replay(store.main)
    again = wb.verify("run.zip", rerun=True, isolate=False)
    print(json.dumps([result.identical, result.run.content_root, again.ok]))
"""


def test_a_bundle_replays_in_another_folder_and_process(made, desk, tmp_path):
    (tmp_path / "run.zip").write_bytes(made.read_bytes())
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), *sys.path])},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [True, desk.content_root, True]


def test_a_replay_takes_its_source_and_its_certificate_along(desk, tmp_path):
    shelf = Shelf()
    sink = shelf.writer(shelf.header_of(desk))
    sink.append(desk.event_log(), desk.bodies())
    result = wb.replay(shelf.run(sink.run_id), AGENT)
    path = bundle(result.run, tmp_path / "replay.zip")

    with BundleStore(path) as store:
        assert store.main.run_id == result.run.run_id
        assert set(store.runs()["run_id"]) == {result.run.run_id, sink.run_id}
    verified = wb.verify(path)
    assert verified.ok, str(verified)
    assert {"source.log_root", "replay.log_root", "identical"} <= {c.name for c in verified.checks}


def test_a_run_that_has_no_messages_and_no_agent_is_bundled_too(tmp_path):
    log = Log()
    log.begin()
    log.end(log.start("tool", "x", {}), {"value": 1})
    log.finish()
    path = bundle(shelved(log), tmp_path / "run.zip")

    assert wb.verify(path).ok
    assert read(path).main.calls.height == 1


def test_a_recording_that_does_not_hold_is_bundled_as_it_is_and_not_verified(tmp_path):
    run = shelved(short_run())
    sink = run.store._sinks[run.run_id]
    sink.log[2] = msgspec.structs.replace(sink.log[2], name="another")
    path = bundle(run, tmp_path / "run.zip")

    assert "source.events" in {check.name for check in wb.verify(path).failed}
