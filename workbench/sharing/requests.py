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
    from collections.abc import Callable, Collection, Mapping

Request = dict[str, Any]

REFERENCE = '{"call":'
"""What the text of a request holds if it names another one, and hardly ever else."""

_MISSING = "missing: "
_LANES = 64  # what is remembered of the others would only grow
# of those that can be read again: so many messages, of so many requests
_MOST, _MANY = 1_000_000, 4_000


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

    With ``earlier``, which gives a request as it is stored by the id of its call, any may be read
    at any time, and only the last ones are held.

    Examples
    --------
    >>> unfolding = Unfolding()
    >>> unfolding.whole("a", {"messages": ["x", "y"]})
    {'messages': ['x', 'y']}
    >>> unfolding.whole("b", {"messages": [{"call": "a", "first": 2}, "z"]})
    {'messages': ['x', 'y', 'z']}
    """

    def __init__(self, *, earlier: Callable[[str], Request | None] | None = None) -> None:
        self._known: OrderedDict[str, Request] = OrderedDict()
        self._earlier = earlier
        self._held = 0

    def whole(self, step_id: str | None, request: Request) -> Request:
        """Return a request as it was asked.

        Where the earlier one is not among those that were read, a text that is no digest stands
        for what it would have said: the signature alone tells what was asked.
        """
        if not _messages(request):
            return request
        self._learn(named(request))
        return self._whole(step_id, request)

    def _whole(self, step_id: str | None, request: Request) -> Request:
        messages, found = request["messages"], request
        if isinstance(messages[0], dict):
            found = {**found, "messages": [*self._beginning(messages[0]), *messages[1:]]}
        tools = request.get("tools")
        if isinstance(tools, dict) and tools.keys() == {"call"}:
            known = self._known.get(str(tools["call"]), {})
            lost = [f"{_MISSING}the tools of call {tools['call']}"]
            found = {**found, "tools": known.get("tools", lost)}
        if step_id is not None:
            self._remember(step_id, found)
        return found

    def _remember(self, step_id: str, request: Request) -> None:
        former = self._known.pop(step_id, None)
        self._known[step_id] = request
        if self._earlier is None:
            return
        self._held += len(request["messages"]) - len(former["messages"] if former else ())
        while len(self._known) > 1 and (self._held > _MOST or len(self._known) > _MANY):
            _, forgotten = self._known.popitem(last=False)
            self._held -= len(forgotten["messages"])

    def _learn(self, wanted: Collection[str]) -> None:
        """Read the requests that are wanted, those first that they name themselves."""
        if self._earlier is None:
            return
        waiting, seen = [one for one in wanted if one not in self._known], set[str]()
        while waiting:
            step_id = waiting[-1]
            stored = None if step_id in self._known else self._earlier(step_id)
            before = [] if stored is None else [one for one in named(stored) if one not in seen]
            seen.update(before)
            if stored is not None and any(one not in self._known for one in before):
                waiting += before
                continue
            waiting.pop()
            if stored is not None and _messages(stored):
                self._whole(step_id, stored)

    def _beginning(self, said: Mapping[str, Any]) -> list[Any]:
        known = self._known.get(str(said.get("call")))
        first = said.get("first")
        messages = [] if known is None else known["messages"]
        if type(first) is not int or len(messages) < first:
            return [f"{_MISSING}the first {first} messages of call {said.get('call')}"]
        return list(messages[:first])


def is_folded(request: Request) -> bool:
    """Say whether a request names an earlier one."""
    messages = _messages(request)
    begins = bool(messages) and isinstance(messages[0], dict)
    return begins or isinstance(request.get("tools"), dict)


def named(request: Request) -> set[str]:
    """Return the ids of the calls whose requests a request names: two at the most."""
    named = (*_messages(request)[:1], request.get("tools"))
    return {str(said["call"]) for said in named if isinstance(said, dict) and "call" in said}


def _messages(request: Request) -> list[Any]:
    found = request.get("messages")
    return found if isinstance(found, list) else []


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
