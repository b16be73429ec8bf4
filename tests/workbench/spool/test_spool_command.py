"""``workbench spool``: what waits is shown, sent and copied; what is no segment is said."""

import json
import os
import sys

import pytest

import workbench as wb
from workbench import cli
from workbench.capture.record import RecordingWarning
from workbench.spool import SpoolFolder
from workbench.store import connect, spooled

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def command(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["workbench", "spool", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return ended.value.code, printed.out, printed.err

    return run


@pytest.fixture
def spool(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_SPOOL", str(tmp_path / "spool"))
    return SpoolFolder(tmp_path / "spool")


@wb.call(effect="read")
def look(number):
    return {"number": number}


def agent(_):
    for number in range(5):
        look(number)


@pytest.fixture
def left(spool, monkeypatch):
    """A recording that found no server: 13 events wait."""
    monkeypatch.setattr(spooled, "_LAST_TRY_S", 0.1)
    with (
        connect(NOWHERE, "key", check=False) as store,
        pytest.warns(RecordingWarning, match="13 events wait"),
    ):
        return wb.record(store, agent, None, name="left")


@pytest.fixture
def here(server, monkeypatch):
    """The environment names a live server, at the address that the segments are for."""
    monkeypatch.setenv("WORKBENCH_URL", server.url)
    monkeypatch.setenv("WORKBENCH_API_KEY", server.api_key)
    return server


def readdressed(spool, server):
    """Say of all segments that they are for a server."""
    for path in spool.paths():
        path.write_bytes(path.read_bytes().replace(NOWHERE.encode(), server.url.encode(), 1))


@pytest.mark.parametrize("name", ["show", "flush", "export"])
def test_each_has_help_with_an_example_and_json(command, name):
    code, printed, _ = command(name, "--help")
    assert code == 0
    assert "Example" in printed
    assert f"workbench spool {name}" in printed
    assert "--json" in printed


# ---- show


def test_nothing_waits_where_nothing_was_left(command, spool):
    assert command("show") == (0, f"nothing waits in {spool.path}\n", "")
    _, out, _ = command("show", "--json")
    assert json.loads(out) == {
        "folder": str(spool.path), "bytes": 0, "most_bytes": 2**30, "writers": [], "unread": [],
    }  # fmt: skip


def test_what_waits_is_shown_as_a_table_and_as_json(command, spool, left):
    code, out, err = command("show")
    heading, row = out.splitlines()
    assert (code, err) == (0, "")
    assert heading.split()[:5] == ["run", "name", "writer", "events", "bytes"]
    assert row.split()[:2] == [left.run_id, "left"]
    _, out, _ = command("show", "--json")
    (one,) = json.loads(out)["writers"]
    assert (one["run_id"], one["events"], one["alive"]) == (left.run_id, 13, False)
    assert one["bytes"] == spool.size()
    assert one["address"] == NOWHERE


def test_what_is_being_recorded_is_shown_as_such(command, spool):
    def shown():
        with connect(NOWHERE, "key", check=False) as store, wb.record(store, name="goes on"):
            wb.root(agent)(None)
            while not spool.paths():
                os.sched_yield()
            return command("show", "--json")[1]

    with pytest.warns(RecordingWarning, match="events wait"):
        out = shown()
    assert [one["alive"] for one in json.loads(out)["writers"]] == [True]


def test_what_is_no_segment_is_said_and_holds_up_nothing(command, spool, left, here):
    readdressed(spool, here)
    (spool.path / "notes.ndjson").write_text("hello\n")
    (spool.path / "newer.ndjson").write_text('{"workbench_spool":7}\n')
    code, out, err = command("show")
    assert code == 0
    assert left.run_id in out
    assert "this is no segment of a spool" in err
    assert "a newer version of Workbench wrote this segment" in err
    code, out, err = command("flush", "--json")
    said = json.loads(out)
    assert code == 1
    assert (said["events"], len(said["unread"])) == (13, 2)
    assert "notes.ndjson" in err
    assert len(spool.paths()) == 2


@pytest.mark.parametrize("arguments", [["show"], ["flush"], ["export", "--to", "kept"]])
def test_a_folder_that_cannot_be_read_is_said(command, spool, here, arguments):
    spool.path.write_text("no folder")
    code, out, err = command(*arguments)
    assert (code, out) == (3, "")
    assert "the spool cannot be read" in err


# ---- flush


def test_what_waits_is_sent(command, spool, left, here):
    readdressed(spool, here)
    code, out, err = command("flush")
    assert (code, out, err) == (0, "delivered 13 events of 1 runs\n", "")
    with connect(here.url, here.api_key) as store:
        assert store.run(left.run_id).calls.height == 5
    assert spool.paths() == []
    assert json.loads(command("flush", "--json")[1])["events"] == 0


def test_what_belongs_elsewhere_stays(command, spool, left, here):
    code, out, _ = command("flush")
    assert (code, out.splitlines()) == (
        0, ["delivered 0 events of 0 runs", "1 writers belong to other workspaces"],
    )  # fmt: skip
    assert len(spool.paths()) == 1


def test_what_is_refused_stays_and_the_exit_code_says_so(command, spool, left, here, monkeypatch):
    readdressed(spool, here)
    reader = here.make_workspace(here.workspace.name, role="reader")
    monkeypatch.setenv("WORKBENCH_API_KEY", reader.api_key)
    code, out, _ = command("flush")
    assert code == 1
    assert "13 events stay here: forbidden" in out
    assert len(spool.paths()) == 1


def test_a_server_that_is_away_is_not_reached(command, spool, left):
    code, _, err = command("flush", "--store", NOWHERE)
    assert code == 3
    assert "cannot be reached" in err


def test_a_folder_takes_no_recordings(command, spool, tmp_path):
    from handmade import exported, short_run

    code, _, err = command("flush", "--store", exported(tmp_path / "runs", short_run()))
    assert code == 2
    assert "a folder takes no recordings" in err


# ---- export


def test_what_waits_is_copied(command, spool, left, tmp_path):
    to = tmp_path / "kept" / "here"
    (path,) = spool.paths()
    assert command("export", "--to", to) == (0, f"1 files in {to}\n", "")
    assert (to / path.name).read_bytes() == path.read_bytes()
    _, out, _ = command("export", "--to", to, "--json")
    assert json.loads(out) == {"files": [str(to / path.name)]}
    code, _, err = command("export", "--to", path)
    assert code == 3
    assert "cannot be copied" in err
