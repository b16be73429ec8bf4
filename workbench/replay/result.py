"""What a replay or a fork gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from os import PathLike

    from workbench.replay.answers import Answered, Answers
    from workbench.replay.divergence import Divergence
    from workbench.store.run import Run

MATCHES = pl.Schema(
    {
        "lane": pl.String,
        "ordinal": pl.Int64,
        "kind": pl.String,
        "name": pl.String,
        "signature": pl.String,
        "match_level": pl.String,
        "source_seq": pl.Int64,
        "source_run_id": pl.String,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ReplayResult:
    """A finished replay.

    ``run`` is the new run. ``identical`` says that every recorded call was consumed by the same
    request, and that the output is the same. ``matches`` has one row a call, in the order asked:
    ``lane ordinal kind name signature match_level source_seq source_run_id``, the last of them null
    where the answer is one of the replayed run. ``divergences`` are in the order found.
    ``certificate`` is JSON-ready. ``lost`` says what failed when the agent had ended: what of the
    new run or its certificate could not be written, read back or stored.
    """

    run: Run
    identical: bool
    divergences: list[Divergence]
    matches: pl.DataFrame
    certificate: dict[str, Any]
    output: Any = None
    lost: list[str] = field(default_factory=list)

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the certificate to a file, for `workbench.verify`, and return its path."""
        from workbench.replay import certificate

        written = Path(path)
        written.write_bytes(certificate.dumps(self.certificate))
        return written

    def __repr__(self) -> str:
        return f"<ReplayResult {self}>"

    def __str__(self) -> str:
        calls = self.certificate["calls"]
        counted = f"{calls['consumed']} of {calls['recorded']} recorded calls consumed"
        lines = [f"{'identical' if self.identical else 'not identical'}: {counted}"]
        if not self.identical:
            lines += [str(found) for found in self.divergences[:1]]
        return "\n".join([*lines, *self.lost])


def matches(answered: Answers) -> pl.DataFrame:
    """Return how each call was answered, as a frame."""
    return pl.concat([_frame(rows) for rows in answered.pages()])


def _frame(rows: list[Answered]) -> pl.DataFrame:
    columns = {name: [getattr(row, name) for row in rows] for name in MATCHES}
    return pl.DataFrame(columns, schema=MATCHES)
