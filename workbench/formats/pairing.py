"""Which tool answer belongs to which call: by order within the step, by id only second."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.formats.trace import Call, Message

Place = tuple[int, int]
"""(index of the message that asked, position among its calls)"""


def pair(messages: Sequence[Message]) -> dict[int, Place]:
    """Return, by index of each tool message that answers a call, the call's place.

    Ids are not keys: many are empty or repeated. The next unanswered call of the step is taken
    unless the answer names another one of that step. An answer that comes after its step is paired
    only by an id. What is left out has no call.
    """
    answered: dict[int, Place] = {}
    open_calls: list[tuple[Place, Call]] = []
    earlier: list[tuple[Place, Call]] = []
    for message in messages:
        if message.role == "tool":
            found = _in_step(open_calls, message)
            if found is None:
                found = _by_id(earlier, message)
            if found is not None:
                answered[message.index] = found[0]
                (open_calls if found in open_calls else earlier).remove(found)
        else:
            earlier += open_calls
            open_calls = [((message.index, i), call) for i, call in enumerate(message.calls)]
    return answered


def _in_step(waiting: list[tuple[Place, Call]], message: Message) -> tuple[Place, Call] | None:
    if not waiting:
        return None
    first = waiting[0]
    if _agrees(first[1], message):
        return first
    named = _by_id(waiting, message) or next(
        (item for item in waiting if _agrees(item[1], message) and _name(message)), None
    )
    return named or first


def _agrees(call: Call, message: Message) -> bool:
    name = _name(message)
    if name is not None and name != call.name:
        return False
    return not (call.id and message.reply_to and call.id != message.reply_to)


def _name(message: Message) -> str | None:
    return message.replied.name if message.replied is not None else message.name


def _by_id(waiting: list[tuple[Place, Call]], message: Message) -> tuple[Place, Call] | None:
    if not message.reply_to:
        return None
    return next((item for item in waiting if item[1].id == message.reply_to), None)
