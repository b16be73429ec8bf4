"""What a plain batch says of itself: one writer that goes on where it stopped. Pure.

Such a batch is stored without a look at the log: the database compares its first number with the
writer's last one, and that is all there is to know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import asdict

from workbench_server.ingest.tally import Tally, tally

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from workbench_server.ingest.checking import Checked

# these leave more behind than a row of the log
_NOT_PLAIN = frozenset({"artifact_created"})


class Summary(Tally, kw_only=True):
    """The sums of a batch, where it begins and ends, and the bodies it takes to be known."""

    run_id: UUID
    writer: str
    first: int
    last: int
    needs: tuple[str, ...]
    bytes: int


def summary_of(
    checked: Sequence[Checked], *, run_id: UUID, bodies: Mapping[str, object], size: int
) -> Summary | None:
    """Return the summary of a plain batch, or None where the log has to be looked at."""
    if not checked or not _is_plain(checked):
        return None
    first, last = checked[0].event, checked[-1].event
    needs = {digest for one in checked for digest in one.refers}
    return Summary(
        **asdict(tally(checked)),
        run_id=run_id,
        writer=first.writer,
        first=first.writer_seq,
        last=last.writer_seq,
        needs=tuple(needs - bodies.keys()),
        bytes=size,
    )


def _is_plain(checked: Sequence[Checked]) -> bool:
    writer, number = checked[0].event.writer, checked[0].event.writer_seq
    last = number + len(checked) - 1
    for expected, one in enumerate(checked, number):
        event = one.event
        if event.writer != writer or event.writer_seq != expected:
            return False
        if event.event_type in _NOT_PLAIN:
            return False
        if event.event_type == "run_ended" and (
            expected != last or one.body.writers not in ({}, {writer: last})
        ):
            return False
    return True
