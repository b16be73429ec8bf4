"""Which parts of an event's body an agent said, and which are the log's own words. Pure.

Digests, classes, an agent's code and numbers are left alone: they name things, and a log whose
references are redacted could not be read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.hashing import is_sha256
from workbench.sharing import beginning_is_sound, renamed

if TYPE_CHECKING:
    from collections.abc import Callable

    Body = dict[str, Any]
    # what becomes of a part, and of a pooled message's digest
    Part = Callable[[Any], Any]
    Rename = Callable[[str], str]

_VALUES = {
    "step_started": ("input",),
    "step_ended": ("output",),
    "run_ended": ("output", "redaction"),
    "state_changed": ("changes",),
    "interrupted": ("value",),
    "resumed": ("value",),
    "human_requested": ("to", "channel"),
    "human_responded": ("by",),
    "artifact_created": ("entity_type", "tags"),
    "annotated": ("label", "value"),
}
_MAPPINGS = frozenset(("changes",))


def with_parts(event_type: str, body: Body, *, part: Part, rename: Rename) -> Body:
    """Return an event's body with each part that its agent said replaced by what `part` makes."""
    match event_type:
        case "run_started":
            return _started(body, part, rename)
        case "call_started":
            return {**body, "request": _request(body.get("request"), part, rename)}
        case "call_ended":
            return _call_ended(body, part, rename)
        case "chunk":
            return {**body, "pieces": _list(part(body.get("pieces") or []))}
        case _:
            return _plain(event_type, body, part, rename)


def _plain(event_type: str, body: Body, part: Part, rename: Rename) -> Body:
    made = dict(body)
    for name in _VALUES.get(event_type, ()):
        if body.get(name) is not None:
            new = part(body[name])
            made[name] = _mapping(new) if name in _MAPPINGS else new
    if "output" in made:
        made["output"] = renamed(made["output"], rename)
    if event_type == "artifact_created" and "tags" in made:
        made["tags"] = _list(made["tags"])
    if isinstance(made.get("exception"), dict):
        made["exception"] = _exception(made["exception"], part)
    if isinstance(made.get("message"), str):
        made["message"] = rename(made["message"])
    return made


def _started(body: Body, part: Part, rename: Rename) -> Body:
    made = dict(body)
    if body.get("redaction"):
        made["redaction"] = _list(part(body["redaction"]))  # a rule may say what it is to hide
    if "input" in body:
        given = body["input"]
        is_pooled = body.get("pooled") and isinstance(given, dict)
        made["input"] = _request(given, part, rename) if is_pooled else part(given)
    if body.get("config"):
        made["config"] = _mapping(part(body["config"]))
    entry = body.get("entry")
    if isinstance(entry, dict) and entry.get("configurable"):
        made["entry"] = {**entry, "configurable": _mapping(part(entry["configurable"]))}
    return made


def _request(request: Any, part: Part, rename: Rename) -> Any:
    """Messages are pooled: their bodies are redacted, and the request names them."""
    named = request.get("messages") if isinstance(request, dict) else None
    if not isinstance(named, list):
        return _mapping(part(request))
    begin = named[:1] if named and beginning_is_sound(named[0]) else []
    digests = named[len(begin) :]
    if not all(isinstance(n, str) and is_sha256(n) for n in digests):
        return _mapping(part(request))
    rest = {key: value for key, value in request.items() if key != "messages"}
    said = _mapping(part(rest)) if rest else {}
    return {**said, "messages": [*begin, *map(rename, digests)]}


def _call_ended(body: Body, part: Part, rename: Rename) -> Body:
    made, outcome = dict(body), body.get("outcome")
    if isinstance(outcome, dict):
        named = outcome.get("message")
        if isinstance(named, str) and is_sha256(named):
            rest = {name: item for name, item in outcome.items() if name != "message"}
            said = _mapping(part(rest)) if rest else {}
            made["outcome"] = {**said, "message": rename(named)}
        else:
            made["outcome"] = _outcome(part(outcome))
    if isinstance(body.get("exception"), dict):
        made["exception"] = _exception(body["exception"], part)
    return made


def _outcome(made: Any) -> Body:
    """Return an outcome that can be answered with, whatever a hook has made of it."""
    if not isinstance(made, dict):
        return {"value": made}
    documents = made.get("documents")
    return made if documents is None or isinstance(documents, list) else {"value": documents}


def _exception(record: Body, part: Part) -> Body:
    said = part({name: record[name] for name in record if name != "class"})
    if not isinstance(said, dict):
        said = {"message": said, "args": []}
    said["message"] = said.get("message") if isinstance(said.get("message"), str) else ""
    return {**said, "args": _list(said.get("args") or []), "class": record.get("class")}


def _mapping(made: Any) -> Body:
    return made if isinstance(made, dict) else {"withheld": made}


def _list(made: Any) -> list[Any]:
    return made if isinstance(made, list) else [made]
