"""Every error of the product, in one tree.

::

    WorkbenchError
    ├── NotFound             RunNotFound · ArtifactNotFound · CallNotFound
    ├── SchemaError          InvalidEvent · UnknownSchemaVersion · MissingBodies
    ├── SequenceError        SequenceGap · SequenceConflict · RunClosed
    ├── FormatError          UnknownFormat · MalformedFile
    ├── ReplayError          Diverged · NotReplayable · RecordingIncomplete · LiveCallBlocked
    │                        · CallMissed · ForkPoint
    ├── PrivacyError         Quarantined · RedactionRequired
    ├── AccessError          Unauthenticated · Forbidden · LimitExceeded · RateLimited
    ├── StackError           PortInUse · HomeUnreadable · UnsafeRole · StackFailed
    ├── StoreError           Unavailable · ReadOnly · Conflict · SpoolFailed
    │                        RecordingFailed
    ├── ReportError          UnknownParameter · ReportFailed
    ├── UsageError           UnsupportedMedia
    └── MissingDependency

``code`` is the leaf's name in snake case. It is the same word in Python, HTTP, logs and docs.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    from collections.abc import Iterable


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class WorkbenchError(Exception):
    """What happened, where, what was expected and found, and a hint.

    Parameters
    ----------
    what
        One sentence without a full stop.
    where
        The place: a file and line, a run and sequence number, an address.
    expected, found
        The two sides of a comparison that failed.
    hint
        What to do next.
    facts
        Anything else a program may want to read: ids, numbers, lists.
    """

    code: ClassVar[str] = "workbench_error"
    registry: ClassVar[dict[str, type[WorkbenchError]]] = {}

    def __init_subclass__(cls) -> None:
        cls.code = _snake(cls.__name__)
        WorkbenchError.registry[cls.code] = cls

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        expected: Any = None,
        found: Any = None,
        hint: str | None = None,
        **facts: Any,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.expected = expected
        self.found = found
        self.hint = hint
        self.facts = facts

    def __str__(self) -> str:
        text = self.what if self.where is None else f"{self.what} — {self.where}"
        sides = (("expected", self.expected), ("found", self.found))
        if said := [f"{side} {value}" for side, value in sides if value is not None]:
            text += f" — {', '.join(said)}"
        return text if self.hint is None else f"{text}\nHint: {self.hint}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.what, self._keywords())

    def _keywords(self) -> dict[str, Any]:
        named = ("where", "expected", "found", "hint")
        return {name: getattr(self, name) for name in named} | self.facts

    def as_problem(self) -> dict[str, Any]:
        """Return the facts as JSON-ready fields, the way HTTP and ``--json`` show them."""
        known = {k: v for k, v in self._keywords().items() if v is not None and k not in self.facts}
        return {"code": self.code, "title": self.what, **known, "details": self.facts}

    @classmethod
    def from_problem(cls, problem: dict[str, Any]) -> WorkbenchError:
        """Build the error that `as_problem` described, of its own class where it is known."""
        leaf = cls.registry.get(str(problem.get("code")), WorkbenchError)
        named = {name: problem.get(name) for name in ("where", "expected", "found", "hint")}
        details = {str(k): v for k, v in dict(problem.get("details") or {}).items()}
        title = str(problem.get("title") or problem.get("detail") or problem)
        return leaf(title, **named, **{k: v for k, v in details.items() if k not in named})


def _rebuild(leaf: type[WorkbenchError], what: str, keywords: dict[str, Any]) -> WorkbenchError:
    return leaf(what, **keywords)


class NotFound(WorkbenchError):
    """Something that was asked for by name or id does not exist."""

    @classmethod
    def among(cls, kind: str, wanted: str, known: Iterable[str], **facts: Any) -> Self:
        """Say what was wanted and name the nearest ids that do exist."""
        near = get_close_matches(wanted, list(known), n=3, cutoff=0.4)
        hint = facts.pop("hint", None)
        if near:
            hint = f"Did you mean {' or '.join(near)}?"
        return cls(f"no {kind} {wanted!r}", hint=hint, wanted=wanted, nearest=near, **facts)


class RunNotFound(NotFound):
    """No run has this id or source in this workspace."""


class ArtifactNotFound(NotFound):
    """No artifact or message body has this sha-256."""


class CallNotFound(NotFound):
    """No call of the run has this seq."""


class SchemaError(WorkbenchError):
    """An event or batch does not fit the schema."""


class InvalidEvent(SchemaError):
    """An event is malformed."""


class UnknownSchemaVersion(SchemaError):
    """An event's type or version is not one this version understands."""


class MissingBodies(SchemaError):
    """A request names message digests whose bodies were never sent."""


class SequenceError(WorkbenchError):
    """A writer's numbering is broken."""


class SequenceGap(SequenceError):
    """A batch skips numbers of its writer."""


class SequenceConflict(SequenceError):
    """A number was used before for another event."""


class RunClosed(SequenceError):
    """An event lies beyond the last number its writer announced when the run ended."""


class FormatError(WorkbenchError):
    """A file is not what it should be."""


class UnknownFormat(FormatError):
    """A file is of another format than the one asked for."""


class MalformedFile(FormatError):
    """A file is of the right format but broken."""


class ReplayError(WorkbenchError):
    """A replay or fork could not begin or go on."""


class Diverged(ReplayError):
    """The agent asked for something the recording does not answer."""


class NotReplayable(ReplayError):
    """The run has no recorded root, or its root cannot be called again."""


class RecordingIncomplete(ReplayError):
    """The recording lacks what an exact replay needs."""


class LiveCallBlocked(ReplayError):
    """A call to the outside was refused while a replay runs."""


class CallMissed(ReplayError):
    """A call of a replay has no recorded answer, and the agent was to be told so."""


class ForkPoint(ReplayError):
    """The place or the edits of a fork make no sense for this run."""


class PrivacyError(WorkbenchError):
    """Something may not be stored or shown as it is."""


class Quarantined(PrivacyError):
    """A body is held back because a rule matched it."""


class RedactionRequired(PrivacyError):
    """The workspace's rules would still change a body that was sent."""


class AccessError(WorkbenchError):
    """The caller may not do this."""


class Unauthenticated(AccessError):
    """The API key is missing, unknown or expired."""


class Forbidden(AccessError):
    """The API key's role does not allow this."""


class LimitExceeded(AccessError):
    """A size limit was passed."""


class RateLimited(AccessError):
    """The workspace asks for too much at once; `retry_after` says when to come back."""


class StackError(WorkbenchError):
    """The local stack could not do what was asked."""


class PortInUse(StackError):
    """Another process listens on the port."""


class HomeUnreadable(StackError):
    """WORKBENCH_HOME cannot be read or written."""


class UnsafeRole(StackError):
    """The database role could read other workspaces."""


class StackFailed(StackError):
    """A part of the local stack did not start or stay up."""


class StoreError(WorkbenchError):
    """Runs could not be read or written."""


class Unavailable(StoreError):
    """The server, database or object store cannot be reached."""


class ReadOnly(StoreError):
    """The store can be read but not written."""


class Conflict(StoreError):
    """Something of this id exists already and differs."""


class SpoolFailed(StoreError):
    """The write-ahead log of a recording cannot be written; ``full`` says that no room is left."""


class RecordingFailed(StoreError):
    """The agent was stopped since its recording could not go on (``on_error="closed"``)."""


class ReportError(WorkbenchError):
    """A report could not be made."""


class UnknownParameter(ReportError):
    """The report or address has no parameter of this name."""


class ReportFailed(ReportError):
    """A cell of the report raised."""


class UsageError(WorkbenchError):
    """A command or function was called in a way that makes no sense."""


class UnsupportedMedia(UsageError):
    """A body came as a media type that its address does not take."""


class MissingDependency(WorkbenchError):
    """An optional package is not installed."""
