"""The value that a diff is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from workbench.diff import align, called, outcomes, prompts
from workbench.diff.deltas import DELTAS, Delta, Found, Section
from workbench.diff.messages import Action, Divergence, first_action, first_divergence
from workbench.diff.sides import Side, side

if TYPE_CHECKING:
    from workbench.diff.align import Pair
    from workbench.diff.sides import Recorded

_PARTS = (
    prompts.prompts,
    called.retrieval,
    called.tools,
    called.model,
    outcomes.outputs,
    outcomes.cost,
)

ALIGNED: dict[str, pl.DataType | type[pl.DataType]] = {
    "lane": pl.String,
    "kind": pl.String,
    "name_a": pl.String,
    "name_b": pl.String,
    "seq_a": pl.Int64,
    "seq_b": pl.Int64,
    "ordinal_a": pl.Int64,
    "ordinal_b": pl.Int64,
    "message_a": pl.Int64,
    "message_b": pl.Int64,
    "match": pl.String,
    "equal": pl.Boolean,
}
"""One row per call of either run, lane by lane paired, in the order of A.

``match`` is ``exact``, ``normalised`` (equal but for ids), ``moved`` (the same in another lane),
``request`` or ``outcome`` (only that is the same), ``name``, ``only_a`` or ``only_b``.
"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Diff:
    """Two runs side by side.

    Attributes
    ----------
    a, b
        What was compared of each run.
    first_divergence
        The first message that differs: ``message_a``, ``message_b``, ``kind``.
    first_action
        The first tool call that differs, or null: ``k``, ``message_a``, ``message_b``, ``a``,
        ``b``, ``kind``.
    deltas
        A frame, one row per difference; see `workbench.diff.DELTAS`.
    aligned
        A frame, one row per call of either run; see `workbench.diff.ALIGNED`.
    missing
        Section → why it cannot be computed.
    remarks
        Section → what of it is unknown.
    pairs
        What `aligned` is made of: the calls themselves, paired.
    """

    a: Side
    b: Side
    first_divergence: Divergence
    first_action: Action | None
    deltas: pl.DataFrame
    aligned: pl.DataFrame
    missing: dict[Section, str]
    remarks: dict[Section, str]
    pairs: list[Pair]

    @property
    def first_call(self) -> Pair | None:
        """The first call that differs, in the order of A; null where none does.

        A model that gave the same answer after another conversation does not count.
        """
        return _first_differing(self.pairs)

    @property
    def differs(self) -> bool:
        """Say whether anything but cost and time differs."""
        return (
            bool((self.deltas["section"] != "cost").any()) or self.first_divergence.kind != "equal"
        )

    def summary(self) -> str:
        """Return the finding and one line for each section, as text."""
        from workbench.diff.summary import summary

        return summary(self)

    def to_html(self) -> str:
        """Return a page of its own that opens anywhere, without a kernel or a network."""
        from workbench.diff.page import page

        return page(self)

    def as_dict(self) -> dict[str, Any]:
        """Return the answer as ``workbench diff --json`` prints it."""
        action = self.first_action
        return {
            "a": {"run_id": self.a.run_id, "source": self.a.source, "name": self.a.name},
            "b": {"run_id": self.b.run_id, "source": self.b.source, "name": self.b.name},
            "first_divergence": self.first_divergence.as_dict(),
            "first_action": None if action is None else action.as_dict(),
            "first_call": None if self.first_call is None else _first_call(self.first_call),
            "deltas": self.deltas.to_dicts(),
            "missing": dict(self.missing),
            "remarks": dict(self.remarks),
        }

    def __repr__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        from workbench.diff.page import fragment

        return fragment(self)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": self.summary(), "text/html": self._repr_html_()}


def diff(a: Recorded, b: Recorded) -> Diff:
    """Compare two runs.

    Parameters
    ----------
    a, b
        Runs of any store, or what a replay or fork gave back as ``.run``.

    Returns
    -------
    Diff
        ``diff(a, a)`` has no deltas and its first divergence is of kind ``equal``.

    Examples
    --------
    >>> from workbench.store import read
    >>> store = read("datasets")
    >>> run = store.run(store.runs()["run_id"][0])
    >>> diff(run, run).first_divergence
    Divergence(message_a=None, message_b=None, kind='equal')
    """
    left, right = side(a), side(b)
    pairs = align.aligned(left, right)
    found = Found()
    for part in _PARTS:
        found.deltas += part(left, right, pairs, found)
    divergence = first_divergence(left.rows, right.rows)
    _attribute(found.deltas, divergence, pairs)
    return Diff(
        a=left,
        b=right,
        first_divergence=divergence,
        first_action=first_action(left.rows, right.rows),
        deltas=pl.DataFrame([_row(delta) for delta in found.deltas], schema=DELTAS, orient="row"),
        aligned=pl.DataFrame([_aligned_row(p) for p in pairs], schema=ALIGNED, orient="row"),
        missing=found.missing,
        remarks=found.remarks,
        pairs=pairs,
    )


def _attribute(deltas: list[Delta], divergence: Divergence, pairs: list[Pair]) -> None:
    """Mark the deltas of the first divergence when the runs also came out differently.

    It is the first message that differs, and the first call that gave another answer to the same
    request.
    """
    if not any(delta.section == "outputs" for delta in deltas):
        return
    at, answered = divergence.message_a, _first_answered(pairs)
    for delta in deltas:
        of_message = at is not None and at in (delta.message_a, delta.message_b)
        of_call = answered is not None and (delta.seq_a, delta.seq_b) == answered
        if delta.section != "outputs" and (of_message or of_call):
            delta.attribution = "observed"


def _first_answered(pairs: list[Pair]) -> tuple[int, int] | None:
    first = _first_differing(pairs)
    if first is None or first.match != "request" or first.a is None or first.b is None:
        return None
    return first.a.seq, first.b.seq


def _first_differing(pairs: list[Pair]) -> Pair | None:
    return next((pair for pair in pairs if not pair.equal and not pair.only_history), None)


def _row(delta: Delta) -> tuple[Any, ...]:
    return tuple(getattr(delta, name) for name in DELTAS)


def _first_call(pair: Pair) -> dict[str, Any]:
    return dict(zip(ALIGNED, _aligned_row(pair), strict=True))


def _aligned_row(pair: Pair) -> tuple[Any, ...]:
    a, b = pair.a, pair.b
    call = a or b
    return (
        call.lane if call else None,
        call.kind if call else None,
        a and a.name,
        b and b.name,
        a and a.seq,
        b and b.seq,
        a and a.ordinal,
        b and b.ordinal,
        a and a.index,
        b and b.index,
        pair.match,
        pair.equal,
    )
