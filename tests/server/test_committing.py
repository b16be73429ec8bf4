"""What one transaction takes of the batches that wait: bounded, in order, and nothing is left."""

import asyncio
from uuid import uuid4

import pytest
from workbench_server.ingest.committing import MOST_BYTES, Committer, _Waiting
from workbench_server.ingest.writing import Prepared

WORKSPACE = uuid4()
HALF = MOST_BYTES // 2


def batch(size):
    return Prepared(
        workspace_id=WORKSPACE, run_id=uuid4(), atomic=True, checked=[], unsound=[], bodies={},
        bytes=size, summary=None,
    )  # fmt: skip


def groups(*sizes):
    """The sizes of the batches that are stored together, group by group."""

    async def take():
        committer = Committer(None, None)
        committer._waiting.extend(_Waiting(batch=batch(size)) for size in sizes)
        taken = []
        while committer._waiting:
            taken.append([one.batch.bytes for one in committer._take()])
        return taken

    return asyncio.run(take())


@pytest.mark.parametrize(
    ("sizes", "together"),
    [
        ([1, 2, 3], [[1, 2, 3]]),
        ([MOST_BYTES, 1], [[MOST_BYTES], [1]]),
        ([HALF] * 5, [[HALF] * 2, [HALF] * 2, [HALF]]),
        ([3 * MOST_BYTES, 3 * MOST_BYTES], [[3 * MOST_BYTES], [3 * MOST_BYTES]]),
        ([1, MOST_BYTES, 2], [[1, 2], [MOST_BYTES]]),
    ],
    ids=["small", "one is full", "halves", "larger than a group", "what fits goes first"],
)
def test_a_transaction_takes_so_many_bytes_and_at_least_one_batch(sizes, together):
    assert groups(*sizes) == together
