"""Payloads and bodies are compressed in several threads at once."""

import sys
from concurrent.futures import ThreadPoolExecutor

import zstandard
from msgspec import Raw
from workbench_server.ingest.checking import check_bodies, squeezed

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
    unpack = zstandard.ZstdDecompressor().decompress
    for one in found:
        assert {digest: unpack(body) for digest, body in one.items()} == {
            digest: bytes(raw) for digest, raw in raws.items()
        }
    assert [[unpack(piece) for piece in one] for one in pieces] == [few] * 200
