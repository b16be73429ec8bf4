"""A model's request names an earlier one that it begins like.

In a stored request ``messages`` may begin with ``{"call": step_id, "first": n}``: the first n
messages of the request of that call, which stands earlier in the same run. ``tools`` may be
``{"call": step_id}``: the tools of that request. `Folding` writes this form and `Unfolding` reads
it; signatures are always over the whole request.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from workbench.sharing.beginnings import WORTH, shared_beginning

if TYPE_CHECKING:
    from collections.abc import Mapping

Request = dict[str, Any]

REFERENCE = '{"call":'
"""What the text of a request holds if it names another one, and hardly ever else."""

_MISSING = "missing: "
_LANES = 64  # what is remembered of the others would only grow


class Folding:
    """Writes the requests of one writer, in the order of its log.

    Examples
    --------
    >>> folding = Folding()
    >>> folding.fold("root", "a", {"messages": ["x", "y"]})
    {'messages': ['x', 'y']}
    >>> folding.fold("root", "b", {"messages": ["x", "y", "z"]})
    {'messages': [{'call': 'a', 'first': 2}, 'z']}
    """

    def __init__(self) -> None:
        self._latest: OrderedDict[str, tuple[str, Request]] = OrderedDict()

    def fold(self, lane: str, step_id: str, request: Request) -> Request:
        """Return what is stored of a model's request.

        An earlier request of the same lane is what it is most like; else the latest of all.
        """
        if not request.get("messages"):
            return request
        known = self._latest.get(lane)
        if known is None and self._latest:
            known = next(reversed(self._latest.values()))
        self._latest[lane] = step_id, request
        self._latest.move_to_end(lane)
        if len(self._latest) > _LANES:
            self._latest.popitem(last=False)
        return request if known is None else _folded(request, *known)


def _folded(request: Request, step_id: str, known: Request) -> Request:
    folded = request
    messages = request["messages"]
    shared = shared_beginning(messages, known["messages"])
    if shared >= WORTH:
        begin = {"call": step_id, "first": shared}
        folded = {**folded, "messages": [begin, *messages[shared:]]}
    if request.get("tools") and request["tools"] == known.get("tools"):
        folded = {**folded, "tools": {"call": step_id}}
    return folded


class Unfolding:
    """Reads the requests of one run, in the order of its log.

    Examples
    --------
    >>> unfolding = Unfolding()
    >>> unfolding.whole("a", {"messages": ["x", "y"]})
    {'messages': ['x', 'y']}
    >>> unfolding.whole("b", {"messages": [{"call": "a", "first": 2}, "z"]})
    {'messages': ['x', 'y', 'z']}
    """

    def __init__(self) -> None:
        self._known: dict[str, Request] = {}

    def whole(self, step_id: str | None, request: Request) -> Request:
        """Return a request as it was asked.

        Where the earlier one is not among those that were read, a text that is no digest stands
        for what it would have said: the signature alone tells what was asked.
        """
        messages = request.get("messages")
        if not isinstance(messages, list) or not messages:
            return request
        found = request
        if isinstance(messages[0], dict):
            found = {**found, "messages": [*self._beginning(messages[0]), *messages[1:]]}
        tools = request.get("tools")
        if isinstance(tools, dict) and tools.keys() == {"call"}:
            known = self._known.get(str(tools["call"]), {})
            lost = [f"{_MISSING}the tools of call {tools['call']}"]
            found = {**found, "tools": known.get("tools", lost)}
        if step_id is not None:
            self._known[step_id] = found
        return found

    def _beginning(self, said: Mapping[str, Any]) -> list[Any]:
        known = self._known.get(str(said.get("call")))
        first = said.get("first")
        messages = [] if known is None else known["messages"]
        if type(first) is not int or len(messages) < first:
            return [f"{_MISSING}the first {first} messages of call {said.get('call')}"]
        return list(messages[:first])


def is_folded(request: Request) -> bool:
    """Say whether a request names an earlier one."""
    messages = request.get("messages")
    begins = isinstance(messages, list) and bool(messages) and isinstance(messages[0], dict)
    return begins or isinstance(request.get("tools"), dict)


def lacks_beginning(request: Request) -> bool:
    """Say whether a request that was read whole lacks what an earlier one would have said."""
    for listed in (request.get("messages"), request.get("tools")):
        first = listed[0] if isinstance(listed, list) and listed else None
        if isinstance(first, str) and first.startswith(_MISSING):
            return True
    return False


def beginning_is_sound(said: Any) -> bool:
    """Say whether the first of the messages is a reference of the right form."""
    return (
        isinstance(said, dict)
        and said.keys() == {"call", "first"}
        and isinstance(said["call"], str)
        and type(said["first"]) is int
        and said["first"] > 0
    )
