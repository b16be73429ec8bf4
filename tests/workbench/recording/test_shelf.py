"""What is put aside comes back, from memory or from the file, and nothing is left behind."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench import errors, hashing
from workbench.recording import Pool, Shelf

PIECES = st.lists(st.binary(max_size=40), max_size=30)


@given(PIECES, st.integers(1, 64))
def test_each_piece_comes_back_wherever_it_lies(pieces, in_memory):
    shelf = Shelf(in_memory=in_memory)
    assert [shelf.put(piece) for piece in pieces] == list(range(len(pieces)))
    assert [shelf[number] for number in range(len(shelf))] == pieces


def test_the_file_has_no_name(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    shelf = Shelf(in_memory=10)
    for _ in range(3):
        shelf.put(b"eleven byte")
    assert shelf[1] == b"eleven byte"
    assert not list(tmp_path.iterdir())


def test_many_threads_may_read_at_once():
    from concurrent.futures import ThreadPoolExecutor

    shelf = Shelf(in_memory=100)
    pieces = [str(number).encode() * 7 for number in range(500)]
    for piece in pieces:
        shelf.put(piece)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(shelf.__getitem__, range(500))) == pieces


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_no_room_is_told_with_what_to_do(monkeypatch):
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Path("/dev/full").open("wb"))  # noqa: SIM115 - the shelf closes it
    shelf = Shelf(in_memory=10)
    with pytest.raises(errors.Unavailable, match="no room") as caught:
        shelf.put(b"more than ten bytes")
    assert "TMPDIR" in str(caught.value)


def test_what_found_no_room_is_not_lost(monkeypatch, tmp_path):
    shelf = Shelf(in_memory=10)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    for _ in range(2):
        with pytest.raises(errors.Unavailable):
            shelf.put(b"more than ten bytes")
    assert [shelf[0], shelf[1]] == [b"more than ten bytes"] * 2
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert shelf.put(b"once more, with room") == 2
    assert [shelf[0], shelf[2]] == [b"more than ten bytes", b"once more, with room"]


def test_a_pool_is_a_mapping_of_messages():
    bodies = {hashing.digest_of(body): body for body in ({"role": "user"}, {"role": "tool"})}
    pool = Pool((digest, hashing.dumps(body)) for digest, body in bodies.items())
    assert dict(pool) == bodies
    assert len(pool) == 2
    assert all(digest in pool for digest in bodies)
    assert "ab" not in pool
    assert None not in pool
    with pytest.raises(KeyError):
        pool["ab"]


def test_a_fork_reads_what_its_parent_put_aside():
    shelf = Shelf(in_memory=4)
    shelf.put(b"parent")
    child = os.fork()
    if child == 0:
        os._exit(0 if shelf[0] == b"parent" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
