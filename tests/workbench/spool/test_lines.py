"""A writer's events on the disk: in order, bounded, and there after whoever wrote them is gone."""

import os
import resource
import signal
import subprocess
import sys

import msgspec
import pytest

from workbench.errors import SpoolFailed
from workbench.schema import RunHeader
from workbench.spool import Header, Line, Segment, SpoolFolder, line

HEADER = Header(run=RunHeader(run_id="r1"), writer="w1", address="http://127.0.0.1:1")


def events(first, last):
    return b"".join(b'{"writer_seq":%d}\n' % number for number in range(first, last + 1))


def numbers(block):
    return [msgspec.json.decode(raw)["writer_seq"] for raw in block.lines.splitlines()]


@pytest.fixture
def folder(tmp_path):
    return SpoolFolder(tmp_path / "spool")


@pytest.fixture
def written(folder):
    made = Line(folder, HEADER)
    made.append(events(1, 3), first=1, last=3)
    made.append(events(4, 5), first=4, last=5)
    return made


def test_what_was_written_comes_in_order(written):
    assert numbers(written.block()) == [1, 2, 3, 4, 5]
    assert written.block() is None
    written.append(events(6, 6), first=6, last=6)
    assert numbers(written.block()) == [6]
    assert written.waiting == 6


def test_a_block_is_no_larger_than_asked_unless_one_piece_is(written):
    assert numbers(written.block(most=1)) == [1, 2, 3]
    assert numbers(written.block(most=1)) == [4, 5]


def test_what_is_acknowledged_is_forgotten(written):
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


def test_it_cannot_go_back_to_what_is_gone(written):
    written.block()
    written.acknowledge(3)
    assert not written.go_back(2)


def test_a_segment_is_removed_with_its_last_event(folder, monkeypatch):
    monkeypatch.setattr(line, "SEGMENT_BYTES", 200)
    made = Line(folder, HEADER)
    for number in range(1, 21):
        made.append(events(number, number), first=number, last=number)
    assert len(folder.paths()) > 3
    while (block := made.block()) is not None:
        made.acknowledge(block.last)
    assert len(folder.paths()) == 1  # it may still be written to
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
    with pytest.raises(SpoolFailed, match="spool is full"):
        for number in range(1, 100):
            made.append(events(number, number), first=number, last=number)
    assert folder.size() <= folder.most + 400  # the header is not counted


def test_a_full_disk_leaves_whole_lines(folder):
    """The limit of a file's size stands for the disk's end: both refuse in the middle of a write."""
    made = Line(folder, HEADER)
    made.append(events(1, 3), first=1, last=3)
    size = folder.size()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    former = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))
    try:
        with pytest.raises(SpoolFailed, match="disk is full"):
            made.append(events(4, 9), first=4, last=9)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, former)
    made.append(events(4, 4), first=4, last=4)
    assert numbers(made.block()) == [1, 2, 3, 4]


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
    (segments,) = folder.left_behind()
    taken = Line.taken_over(folder, segments)
    assert taken.header.run.run_id == "r1"
    assert taken.waiting == 2000
    found = []
    while (block := taken.block()) is not None:
        found += numbers(block)
        taken.acknowledge(block.last)
    assert found == list(range(1, 2001))
    taken.close()
    assert folder.paths() == []


def test_what_is_being_written_is_not_taken_over(written, folder):
    assert list(folder.left_behind()) == []
    written.close()
    assert len(list(folder.left_behind())) == 1


def test_a_file_that_is_no_segment_is_left_alone(folder):
    folder.path.mkdir()
    stranger = folder.path / "notes.ndjson"
    stranger.write_text('{"a": 1}\n')
    assert Segment.take(stranger) is None
    assert os.path.exists(stranger)
