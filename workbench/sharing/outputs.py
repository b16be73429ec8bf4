"""What a root gives back holds its conversation again: messages its run has are only named there.

In a stored output a message may be ``{"$type": "message", "$value": {"id": …, "digest": …}}``: its
body is the pooled message of that digest. In the output of a step a list may begin with ``{"$type":
"earlier", "$value": {"step": step_id, "first": n}}``: the first n items of the list that stands at
the same place in that step's output, earlier in the same run. `OutputFolding` writes this form,
`OutputUnfolding` and `with_bodies` read it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.hashing import digest_of, dumps_in_order, is_sha256
from workbench.sharing.beginnings import WORTH, shared_beginning

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Path = tuple[Any, ...]
    # what becomes of a message's form
    Change = Callable[[dict[str, Any]], dict[str, Any]]


class OutputFolding:
    """Writes the outputs of one writer, in the order of its log.

    ``is_pooled`` says of a digest whether the run has that message.

    Examples
    --------
    >>> def said(text):
    ...     return {"$type": "message", "$value": {"id": text, "body": {"content": text}}}
    >>> folding = OutputFolding(is_pooled=lambda digest: False)
    >>> folding.fold("a", [said("x"), said("y")]) == [said("x"), said("y")]
    True
    >>> folding.fold("b", [said("x"), said("y"), said("z")])[0]
    {'$type': 'earlier', '$value': {'step': 'a', 'first': 2}}
    """

    def __init__(self, *, is_pooled: Callable[[str], bool]) -> None:
        self._is_pooled = is_pooled
        self._step_id = ""
        self._latest: dict[Path, list[bytes]] = {}

    def fold(self, step_id: str | None, output: Any) -> Any:
        """Return what is stored of a step's output, or of the run's where there is no step."""
        named = _messages(output, self._named)
        if step_id is None:
            return named
        lists: dict[Path, list[bytes]] = {}
        folded = self._begun(named, (), lists)
        self._step_id, self._latest = step_id, lists
        return folded

    def _named(self, said: dict[str, Any]) -> dict[str, Any]:
        body = said.get("body")
        digest = digest_of(body) if type(body) is dict else ""
        return {"id": said.get("id"), "digest": digest} if self._is_pooled(digest) else said

    def _begun(self, value: Any, path: Path, lists: dict[Path, list[bytes]]) -> Any:
        if type(value) is dict:
            return {key: self._begun(item, (*path, key), lists) for key, item in value.items()}
        if type(value) is not list:
            return value
        if not any(_said(item) is not None for item in value):
            return [self._begun(item, (*path, at), lists) for at, item in enumerate(value)]
        lists[path] = items = [dumps_in_order(item) for item in value]
        shared = shared_beginning(items, self._latest.get(path, []))
        if shared < WORTH:
            return value
        return [_earlier(self._step_id, shared), *value[shared:]]


def _earlier(step_id: str, first: int) -> dict[str, Any]:
    return {"$type": "earlier", "$value": {"step": step_id, "first": first}}


class OutputUnfolding:
    """Reads the outputs of one run's steps, in the order of its log.

    Examples
    --------
    >>> unfolding = OutputUnfolding()
    >>> unfolding.whole("a", {"messages": ["x", "y"]})
    {'messages': ['x', 'y']}
    >>> begin = {"$type": "earlier", "$value": {"step": "a", "first": 2}}
    >>> unfolding.whole("b", {"messages": [begin, "z"]})
    {'messages': ['x', 'y', 'z']}
    """

    def __init__(self) -> None:
        self._known: dict[str, Any] = {}

    def whole(self, step_id: str, output: Any) -> Any:
        """Return a step's output with its lists written out, as far as the earlier is known."""
        found = self._known[step_id] = self._whole(output, ())
        return found

    def _whole(self, value: Any, path: Path) -> Any:
        if type(value) is dict:
            return {key: self._whole(item, (*path, key)) for key, item in value.items()}
        if type(value) is not list:
            return value
        begin = self._beginning(value[0], path) if value else None
        if begin is not None:
            return [*begin, *value[1:]]
        if any(_said(item) is not None for item in value):
            return value
        return [self._whole(item, (*path, at)) for at, item in enumerate(value)]

    def _beginning(self, said: Any, path: Path) -> list[Any] | None:
        named = (
            said.get("$value") if type(said) is dict and said.get("$type") == "earlier" else None
        )
        if type(named) is not dict or named.keys() != {"step", "first"}:
            return None
        known = self._known.get(named["step"])
        for key in path:
            try:
                known = known[key]  # type: ignore[index] # what is not there ends it
            except (TypeError, LookupError):
                return None
        first = named["first"]
        if type(known) is not list or type(first) is not int or not 0 < first <= len(known):
            return None
        return known[:first]


def with_bodies(output: Any, bodies: Callable[[], Mapping[str, Any]]) -> Any:
    """Return an output with the pooled messages it names written out, those that are known.

    ``bodies`` is asked for only where one is named.
    """

    def written_out(said: dict[str, Any]) -> dict[str, Any]:
        body = bodies().get(said["digest"]) if _is_named(said) else None
        return said if body is None else {"id": said.get("id"), "body": body}

    return _messages(output, written_out)


def renamed(output: Any, rename: Callable[[str], str]) -> Any:
    """Return an output whose named messages have other digests."""

    def anew(said: dict[str, Any]) -> dict[str, Any]:
        return {**said, "digest": rename(said["digest"])} if _is_named(said) else said

    return _messages(output, anew)


def _is_named(said: dict[str, Any]) -> bool:
    digest = said.get("digest")
    return "body" not in said and type(digest) is str and is_sha256(digest)


def _said(value: Any) -> dict[str, Any] | None:
    """Return what a message's form holds, or None where a value is none."""
    if type(value) is dict and value.get("$type") == "message" and len(value) == 2:  # noqa: PLR2004 - its tag and its value
        inner = value.get("$value")
        return inner if type(inner) is dict else None
    return None


def _messages(value: Any, change: Change) -> Any:
    """Return a value with the form of each message in it changed."""
    if type(value) is list:
        return [_messages(item, change) for item in value]
    if type(value) is not dict:
        return value
    said = _said(value)
    if said is not None:
        new = change(said)
        return value if new is said else {"$type": "message", "$value": new}
    return {key: _messages(item, change) for key, item in value.items()}
