"""An edit of a recorded outcome: text, values, messages, documents or an exception."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from workbench import hashing
from workbench.errors import ForkPoint, UsageError
from workbench.replay import given

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workbench.capture.asked import Asked
    from workbench.capture.outcomes import Came
    from workbench.recording import RecordedCall

KEYS = ("outcome",)


def checked(edits: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the edits, or refuse a key that nothing reads.

    Raises
    ------
    ForkPoint
        A key is unknown (the nearest valid one is named), or an exception has no class.
    """
    found = dict(edits or {})
    for key in found:
        if key not in KEYS:
            near = get_close_matches(str(key), KEYS, n=1, cutoff=0.3) or list(KEYS)
            raise ForkPoint(
                f"no such edit {key!r}",
                expected=list(KEYS),
                found=str(key),
                hint=f"did you mean {near[0]!r}?",
            )
    try:
        given.exception_of(found.get("outcome"))
    except UsageError as error:
        raise ForkPoint(error.what, expected=error.expected, found=error.found) from None
    return found


def edits_hash(edits: Mapping[str, Any], *, at: int) -> str:
    """Return the hex sha-256 of a fork's edits and their place."""
    return hashing.digest_of({"at": at, "edits": hashing.comparable(sent(edits))})


def sent(edits: Mapping[str, Any]) -> dict[str, Any]:
    """Return edits as JSON."""
    return {key: given.sent(value) for key, value in edits.items()}


def received(form: Mapping[str, Any]) -> dict[str, Any]:
    """Return the edits that `sent` wrote."""
    return {key: given.received(value) for key, value in form.items()}


def edited(edit: Any, call: RecordedCall, *, bodies: Mapping[str, Any], asked: Asked) -> Came:
    """Return what the edited call gives back, in the form the agent expects of that call."""
    if call.outcome is None:
        like = given.blank(
            kind=call.kind, name=call.name, request=call.request, tool_call_id=asked.tool_call_id
        )
    elif "message" in call.outcome:
        like = given.addressed(bodies[call.outcome["message"]], asked.tool_call_id)
    else:
        like = None
    return given.came(edit, kind=call.kind, like=like, message_id=call.message_id)
