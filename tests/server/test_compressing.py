"""Payloads and bodies are compressed, and read again, in several threads at once."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from msgspec import Raw
from workbench_server.ingest.checking import check_bodies
from workbench_server.squeezing import squeezed, unsqueezed

from workbench.hashing import digest_of, dumps


def test_bodies_checked_by_several_threads_at_once_come_out_whole():
    """One compressor for all of them let the process die of a segmentation fault."""
    bodies = [{"role": "user", "content": f"{n} " * 2000} for n in range(60)]
    raws = {digest_of(body): Raw(dumps(body)) for body in bodies}
    few = [bytes(raw) for raw in raws.values()][:3]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as threads:
            many = [threads.submit(check_bodies, raws, nesting=64) for _ in range(40)]
            some = [threads.submit(squeezed, few) for _ in range(200)]
            found = [one.result() for one in many]
            pieces = [one.result() for one in some]
    finally:
        sys.setswitchinterval(before)
    for one in found:
        assert {digest: unsqueezed(body) for digest, body in one.items()} == {
            digest: bytes(raw) for digest, raw in raws.items()
        }
    assert [[unsqueezed(piece) for piece in one] for one in pieces] == [few] * 200


_READING = """
import random
from concurrent.futures import ThreadPoolExecutor
from workbench_server.squeezing import squeezed, unsqueezed

texts = [random.Random(n).randbytes(1000).hex().encode() * 100 for n in range(8)]
(*pieces,) = squeezed(texts)

def read(_):
    for text, piece in zip(texts, pieces, strict=True):
        assert unsqueezed(piece) == text

with ThreadPoolExecutor(4) as threads:
    list(threads.map(read, range(1000)))
"""


def test_what_several_threads_read_at_once_comes_out_whole():
    """As above, so it is done where nothing else dies of it."""
    command = [sys.executable, "-c", _READING]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
