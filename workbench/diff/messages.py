"""The first difference of two conversations: of their messages, and of what was done in them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DivergenceKind = Literal[
    "equal",
    "length",
    "role",
    "tool_output",
    "system_text",
    "user_text",
    "assistant_text",
    "user_action",
    "assistant_action",
]
ActionKind = Literal["name", "args", "missing"]
Row = dict[str, Any]
Key = tuple[str, str, tuple[tuple[str, str], ...], str]


class _Document:
    """A record that can also be read like the JSON document it prints as."""

    __slots__ = ()

    def __getitem__(self, field: str) -> Any:
        if field not in self.__slots__:
            raise KeyError(field)
        return getattr(self, field)


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence(_Document):
    """Where two conversations first differ.

    ``message_a`` and ``message_b`` are the same index, also past the end of the shorter one; both
    are null for equal runs.
    """

    message_a: int | None
    message_b: int | None
    kind: str

    def as_dict(self) -> dict[str, Any]:
        """Return the three facts."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Action(_Document):
    """The first tool call that differs: the k-th of each run, over all roles, from 0.

    ``a`` and ``b`` are tool names, ``message_a`` and ``message_b`` the messages that ask for them;
    null on the side that has ended.
    """

    k: int
    message_a: int | None
    message_b: int | None
    a: str | None
    b: str | None
    kind: ActionKind

    def as_dict(self) -> dict[str, Any]:
        """Return the six facts."""
        return asdict(self)


def key(row: Row) -> Key:
    """Return what makes two messages equal: role, text, calls and error; ids and times do not."""
    calls = tuple((call["name"], call["arguments"]) for call in row["tool_calls"])
    return row["role"], row["text"] or "", calls, row["error"] or ""


def first_divergence(a: Sequence[Row], b: Sequence[Row]) -> Divergence:
    """Return the first message at which the runs differ; past an end when one is the beginning."""
    for at, (left, right) in enumerate(zip(a, b, strict=False)):
        if key(left) != key(right):
            return Divergence(message_a=at, message_b=at, kind=_kind(left, right))
    if len(a) == len(b):
        return Divergence(message_a=None, message_b=None, kind="equal")
    end = min(len(a), len(b))
    return Divergence(message_a=end, message_b=end, kind="length")


def _kind(left: Row, right: Row) -> str:
    role, _, calls, _ = key(left)
    if role != right["role"]:
        return "role"
    if role == "tool":
        return "tool_output"
    return f"{role}_action" if calls != key(right)[2] else f"{role}_text"


def first_action(a: Sequence[Row], b: Sequence[Row]) -> Action | None:
    """Return the first tool call at which the flat lists of calls differ, or null."""
    left, right = list(_calls(a)), list(_calls(b))
    for k, (one, other) in enumerate(zip(left, right, strict=False)):
        if one[1:] != other[1:]:
            kind: ActionKind = "name" if one[2] != other[2] else "args"
            return Action(
                k=k, message_a=one[0], message_b=other[0], a=one[2], b=other[2], kind=kind
            )
    if len(left) == len(right):
        return None
    k = min(len(left), len(right))
    of_a = left[k] if k < len(left) else None
    of_b = right[k] if k < len(right) else None
    return Action(
        k=k,
        message_a=of_a and of_a[0],
        message_b=of_b and of_b[0],
        a=of_a and of_a[2],
        b=of_b and of_b[2],
        kind="missing",
    )


def _calls(rows: Sequence[Row]) -> Iterator[tuple[int, str, str, str]]:
    for at, row in enumerate(rows):
        for call in row["tool_calls"]:
            yield at, row["role"], call["name"], call["arguments"]
