"""A writer's events on the disk: in order, bounded, and there after whoever wrote them is gone."""

import errno
import gc
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import tracemalloc
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from workbench.errors import SpoolFailed, UnknownFormat
from workbench.schema import RunHeader
from workbench.spool import Header, Line, Segment, SpoolFolder, line

HEADER = Header(run=RunHeader(run_id="r1"), writer="w1", address="http://127.0.0.1:1")


def events(first, last):
    return b"".join(b'{"writer_seq":%d}\n' % number for number in range(first, last + 1))


def numbers(block):
    return [msgspec.json.decode(raw)["writer_seq"] for raw in block.lines.splitlines()]


def put(made, first, last):
    made.append(events(first, last), first=first, last=last)


def taken(folder):
    return list(folder.left_behind(pytest.fail))


def handles():
    return len(list(Path("/proc/self/fd").iterdir()))


@contextmanager
def no_more_than(size):
    """Refuse what goes beyond a file's size: it stands for the disk's end, in the middle of it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    former = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, former)


@pytest.fixture
def folder(tmp_path):
    return SpoolFolder(tmp_path / "spool")


@pytest.fixture
def written(folder):
    made = Line(folder, HEADER)
    put(made, 1, 3)
    assert made.block().last == 3
    put(made, 4, 5)
    made.go_back()
    return made


# ---- what is sent


def test_what_was_written_comes_in_order(folder):
    made = Line(folder, HEADER)
    put(made, 1, 3)
    put(made, 4, 5)
    assert numbers(made.block()) == [1, 2, 3, 4, 5]
    assert made.block() is None
    put(made, 6, 6)
    assert numbers(made.block()) == [6]
    assert made.waiting == 6
    made.close()


def test_small_pieces_go_together_and_large_ones_do_not(folder, monkeypatch):
    monkeypatch.setattr(line, "PIECE_BYTES", 60)
    made = Line(folder, HEADER)
    for number in range(1, 8):
        put(made, number, number)
    assert numbers(made.block()) == [1, 2, 3]
    assert numbers(made.block()) == [4, 5, 6]
    made.close()


def test_what_was_given_to_be_sent_does_not_grow(written):
    assert numbers(written.block()) == [1, 2, 3]
    put(written, 6, 6)
    assert numbers(written.block()) == [4, 5, 6]
    put(written, 7, 7)
    written.acknowledge(6)
    assert written.waiting == 1
    assert numbers(written.block()) == [7]


def test_what_is_acknowledged_waits_no_more(written):
    written.block()
    written.acknowledge(3)
    assert written.waiting == 2
    assert written.go_back()
    assert numbers(written.block()) == [4, 5]


@pytest.mark.parametrize(("to", "first"), [(1, 1), (3, 1), (4, 4), (5, 4)])
def test_it_goes_back_to_the_piece_that_holds_a_number(written, to, first):
    written.block()
    assert written.go_back(to)
    assert written.block().first == first


def test_what_was_acknowledged_can_be_sent_again_and_is_counted_once(written):
    while (block := written.block()) is not None:
        written.acknowledge(block.last)
    assert written.waiting == 0
    assert written.go_back(2)
    put(written, 6, 6)
    again = []
    while (block := written.block()) is not None:
        again += numbers(block)
        written.acknowledge(block.last)
    assert again == [1, 2, 3, 4, 5, 6]
    assert written.waiting == 0
    assert not written.go_back(7)


def test_all_of_it_can_be_given_up(written, folder):
    written.block()
    assert written.give_up() == 5
    assert (written.waiting, written.block()) == (0, None)
    written.close()
    assert folder.paths() == []


# ---- segments


def test_a_segment_is_removed_with_its_last_event(folder, monkeypatch):
    monkeypatch.setattr(line, "SEGMENT_BYTES", 200)
    made = Line(folder, HEADER)
    for number in range(1, 21):
        put(made, number, number)
    assert len(folder.paths()) > 3
    while (block := made.block()) is not None:
        made.acknowledge(block.last)
    assert len(folder.paths()) == 1  # it may still be written to
    made.close()
    assert folder.paths() == []


def test_a_bound_below_a_segment_s_size_holds_up_nothing_that_is_delivered(folder):
    folder.most = 1500
    made = Line(folder, HEADER)
    for number in range(1, 1001):
        folder.look()
        put(made, number, number)
        made.acknowledge(made.block().last)
    assert folder.size() < 1500
    made.close()
    assert folder.paths() == []


def test_nothing_that_waits_is_removed(written, folder):
    written.close()
    (path,) = folder.paths()
    assert path.stat().st_mode & 0o777 == 0o600
    assert events(1, 5) in path.read_bytes()


def test_the_bound_is_that_of_the_folder(folder):
    folder.most = 600
    made = Line(folder, HEADER)
    full = None
    for number in range(1, 100):
        try:
            put(made, number, number)
        except SpoolFailed as error:
            full = error
            break
    assert "spool is full" in str(full)
    assert full.facts["full"]
    assert folder.size() <= folder.most + 400  # the header is not counted
    folder.look()
    with pytest.raises(SpoolFailed, match="spool is full"):
        put(Line(folder, HEADER), 1, 30)


def test_a_full_disk_leaves_whole_lines(folder):
    made = Line(folder, HEADER)
    put(made, 1, 3)
    with no_more_than(folder.size() + 10), pytest.raises(SpoolFailed, match="disk is full"):
        put(made, 4, 9)
    put(made, 4, 4)
    assert numbers(made.block()) == [1, 2, 3, 4]
    made.close()


def test_nothing_is_written_behind_a_line_that_could_not_be_cut_off(folder, monkeypatch):
    made = Line(folder, HEADER)
    put(made, 1, 3)
    with monkeypatch.context() as patch, no_more_than(folder.size() + 10):
        patch.setattr(os, "ftruncate", _refused)
        with pytest.raises(SpoolFailed):
            put(made, 4, 9)
    put(made, 4, 4)
    assert len(folder.paths()) == 2
    assert [numbers(made.block()), numbers(made.block())] == [[1, 2, 3], [4]]
    made.close()
    (segments,) = taken(folder)
    again = Line.taken_over(folder, segments)
    assert [numbers(again.block()), numbers(again.block())] == [[1, 2, 3], [4]]
    again.close()


def _refused(*_):
    raise OSError(5, "broken")


def test_a_disk_that_takes_no_segment_leaves_none_and_no_handle(folder):
    before = handles()
    made = Line(folder, HEADER)
    with no_more_than(10), pytest.raises(SpoolFailed, match="disk is full"):
        put(made, 1, 3)
    assert (list(folder.path.iterdir()), handles()) == ([], before)
    put(made, 1, 3)
    assert numbers(made.block()) == [1, 2, 3]
    made.close()


# ---- both ends at once


def test_both_ends_may_be_used_at_once(folder, monkeypatch):
    monkeypatch.setattr(line, "SEGMENT_BYTES", 2_000)
    monkeypatch.setattr(line, "PIECE_BYTES", 300)
    before = handles()
    made = Line(folder, HEADER)
    most, found = 4_000, []

    def write():
        for number in range(1, most + 1):
            put(made, number, number)

    def sync():
        while len(found) < most:
            made.sync()

    threads = [threading.Thread(target=work) for work in (write, sync)]
    for thread in threads:
        thread.start()
    while len(found) < most:
        if len(found) % 7 == 3:
            made.go_back()
        if (block := made.block()) is not None:
            found += numbers(block)
            made.acknowledge(block.last)
    for thread in threads:
        thread.join()
    assert found == list(range(1, most + 1))
    made.close()
    gc.collect()
    assert (folder.paths(), handles()) == ([], before)


def test_what_waits_is_synced_and_nothing_else(folder, monkeypatch):
    synced = []
    sync = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda handle: synced.append(sync(handle)))
    made = Line(folder, HEADER)
    made.sync()
    put(made, 1, 3)
    assert synced == []
    made.sync()
    made.sync()
    assert len(synced) == 1
    put(made, 4, 4)
    made.acknowledge(made.block().last)
    made.sync()
    assert len(synced) == 1
    made.close()


def test_a_disk_that_fails_keeps_no_handle_however_often(folder, monkeypatch):
    monkeypatch.setattr(line, "SEGMENT_BYTES", 10)
    made = Line(folder, HEADER)
    for number in range(1, 6):
        put(made, number, number)

    def failing(handle):
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(os, "fdatasync", failing)
    before = handles()
    for _ in range(3):
        with pytest.raises(SpoolFailed):
            made.sync()
    assert handles() == before
    made.close()


# ---- what was left behind

_KILLED = """
import os, sys, signal
from pathlib import Path
from workbench.schema import RunHeader
from workbench.spool import Header, Line, SpoolFolder
line = Line(SpoolFolder(Path(sys.argv[1])), Header(run=RunHeader(run_id="r1"), writer="w1", address="a"))
for first in range(1, 2001, 100):
    line.append(b"".join(b'{"writer_seq":%d}\\n' % n for n in range(first, first + 100)),
                first=first, last=first + 99)
line._segment.append(b'{"bodies":{}}\\n{"writer_seq":20')
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_wrote_is_taken_over(folder):
    ended = subprocess.run([sys.executable, "-c", _KILLED, str(folder.path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    (segments,) = taken(folder)
    again = Line.taken_over(folder, segments)
    assert again.header.run.run_id == "r1"
    assert again.waiting == 2000
    found = []
    while (block := again.block()) is not None:
        found += numbers(block)
        again.acknowledge(block.last)
    assert found == list(range(1, 2001))
    again.close()
    assert folder.paths() == []


def test_what_is_being_written_is_not_taken_over(written, folder):
    assert taken(folder) == []
    written.close()
    (segments,) = taken(folder)
    assert taken(folder) == []  # somebody has it now
    segments[0].close()


def test_what_another_has_delivered_meanwhile_is_not_taken(written, folder, monkeypatch):
    """Between the look into the folder and the lock, another process may have been there."""
    written.close()
    (path,) = folder.paths()
    opened = os.open

    def late(*args):
        handle = opened(*args)
        path.unlink()
        return handle

    monkeypatch.setattr(os, "open", late)
    before = handles()
    assert Segment.take(path) is None
    assert handles() == before


@pytest.mark.parametrize("is_syncing", [False, True])
def test_a_forked_child_holds_nothing_of_its_parent(written, folder, monkeypatch, is_syncing):
    syncing, going_on = threading.Event(), threading.Event()
    if is_syncing:
        monkeypatch.setattr(os, "fdatasync", lambda _: (syncing.set(), going_on.wait()))
        thread = threading.Thread(target=written.sync)
        thread.start()
        syncing.wait()
    here, there = socket.socketpair()
    with here, there:
        child = os.fork()
        if child == 0:
            there.send(b"forked")
            there.recv(1)
            os._exit(0)
        try:
            here.recv(6)
            if is_syncing:
                going_on.set()
                thread.join()
            written.close()  # in a killed parent the kernel does
            assert len(taken(folder)) == 1
        finally:
            here.send(b"x")
            os.waitpid(child, 0)


def test_a_damaged_line_is_left_out(folder):
    made = Line(folder, HEADER)
    put(made, 1, 3)
    made.close()
    (path,) = folder.paths()
    with path.open("ab") as file:
        file.write(b'{"writer_s\0\n' + events(5, 6))
    (segments,) = taken(folder)
    again = Line.taken_over(folder, segments)
    assert [numbers(again.block()), numbers(again.block())] == [[1, 2, 3], [5, 6]]
    again.close()


def test_a_large_segment_is_not_read_into_memory(folder):
    made = Line(folder, HEADER)
    size = 2**20 - 100
    for number in range(1, 8):
        large = b'{"text":"%b","writer_seq":%d}\n' % (b"x" * size, number)
        made.append(large, first=number, last=number)
    made.close()
    (segments,) = taken(folder)
    tracemalloc.start()
    try:
        again = Line.taken_over(folder, segments)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert again.waiting == 7
    assert peak < 4 * 2**20
    again.close()


def test_what_was_only_begun_is_tidied_up_once_it_is_old(folder):
    folder.path.mkdir()
    old, young = (folder.path / f"r1.w1.00000{n}.ndjson.new" for n in (1, 2))
    for path in (old, young):
        path.touch()
    os.utime(old, (0, 0))
    assert taken(folder) == []
    assert (old.exists(), young.exists()) == (False, True)


def test_a_file_that_is_no_segment_is_left_alone_and_told(folder):
    folder.path.mkdir()
    for name, text in (
        ("notes", '{"a": 1}\n'),
        ("newer", '{"workbench_spool":2,"run":{"future":1}}\n'),
        ("empty", ""),
        ("binary", "\0\0\0"),
    ):
        (folder.path / f"{name}.ndjson").write_text(text)
    (folder.path / "folder.ndjson").mkdir()
    told = []
    assert list(folder.left_behind(told.append)) == []
    assert [type(error) for error in told].count(UnknownFormat) == 4
    assert any("newer version" in str(error) for error in told)
    assert any("directory" in str(error) for error in told)
    assert len(list(folder.path.iterdir())) == 5


def test_what_can_be_read_of_a_writer_is_taken_as_far_as_it_goes(folder, monkeypatch):
    monkeypatch.setattr(line, "SEGMENT_BYTES", 1)
    made = Line(folder, HEADER)
    for number in range(1, 4):
        put(made, number, number)
    made.close()
    folder.paths()[1].write_bytes(b"broken")
    told = []
    (segments,) = folder.left_behind(told.append)
    assert len(segments) == len(told) == 1
    segments[0].close()


def test_a_folder_that_cannot_be_read_is_an_error_and_none_is_not(folder):
    assert folder.paths() == []
    folder.path.write_text("no folder")
    with pytest.raises(SpoolFailed, match="Not a directory"):
        folder.paths()
    with pytest.raises(SpoolFailed, match="cannot be made"):
        put(Line(folder, HEADER), 1, 1)
