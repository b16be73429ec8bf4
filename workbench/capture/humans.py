"""LangGraph's interrupts: each is one human call, asked by a node and answered by a resume.

A resume runs the node again from its beginning: the interrupt that it then meets once more is the
same call, and what the node calls before it are new ones.
"""

from __future__ import annotations

import dataclasses
import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langchain_core.runnables.config import var_child_runnable_config
from langgraph import types as graph_types
from langgraph._internal._constants import CONFIG_KEY_SCRATCHPAD
from langgraph.errors import GraphInterrupt
from langgraph.types import Command

from workbench import hashing
from workbench.capture import boundary, nodes, outcomes, values
from workbench.capture import scope as scopes
from workbench.capture.asked import Asked

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from workbench.capture.agents import RootCall
    from workbench.capture.session import Opened, Session
    from workbench.recording import RecordedCall

_CLASS = hashing.type_name(GraphInterrupt)
# What a call raised because something in it asked a person: what is asked stands there.
PAUSED = outcomes.Came(exception={"class": _CLASS, "message": "", "args": []})


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A human call without an answer: LangGraph's id of the interrupt, and the thread it is in."""

    interrupt_id: str
    thread: str | None
    opened: Opened


class Humans:
    """What one session asked people and was not answered yet.

    ``continuing`` is how a root goes on, from when it is called until its graph is resumed.
    """

    def __init__(self) -> None:
        # by the interrupt's id and its lane: parallel tools of one node share an id
        self.waiting: dict[tuple[str, str], Waiting] = {}
        self.seen: set[tuple[str, str]] = set()
        self.continuing: RootCall | None = None

    def give_up(self, session: Session) -> None:
        """End what nobody answered, before the run ends."""
        for one in list(self.waiting.values()):
            session.write_end(one.opened, outcomes.Came(), status="cancelled")
        self.waiting.clear()


# ---- asking


def interrupting(value: Any, response_schema: Any = None) -> Any:
    """Ask, as ``langgraph.types.interrupt`` does, and record it."""
    here = scopes.current()
    config: Any = var_child_runnable_config.get() or {}
    inner = config.get("configurable") or {}
    pad = inner.get(CONFIG_KEY_SCRATCHPAD)
    if here is None or pad is None:
        return _original(value, response_schema=response_schema)
    number = pad.interrupt_counter()
    numbered = dataclasses.replace(pad, interrupt_counter=lambda: number)
    key = (
        graph_types._interrupt_id(inner["checkpoint_ns"], number),  # noqa: SLF001 - what LangGraph names it
        scopes.place_of(here).path,
    )
    own = {**config, "configurable": {**inner, CONFIG_KEY_SCRATCHPAD: numbered}}
    token = var_child_runnable_config.set(own)  # type: ignore[arg-type] # as it was, but for one value
    try:
        return _ask(here, key, inner.get("thread_id"), value, response_schema)
    finally:
        var_child_runnable_config.reset(token)


def _ask(
    here: scopes.Scope, key: tuple[str, str], thread: Any, value: Any, response_schema: Any
) -> Any:
    session, humans = here.session, here.session.humans
    if key not in humans.seen:
        opened = session.begin(here, _asked(value, response_schema))
        session.waits(opened)
        humans.seen.add(key)
        humans.waiting[key] = Waiting(
            interrupt_id=key[0], thread=None if thread is None else str(thread), opened=opened
        )
    answer = _original(value, response_schema=response_schema)
    waited = humans.waiting.pop(key, None)
    return answer if waited is None else _answered(waited.opened, answer)


def _asked(value: Any, response_schema: Any) -> Asked:
    request = {"value": value}
    if response_schema is not None:
        request["response_schema"] = response_schema
    freeze = values.Freezer()
    written = hashing.dumps_plain(request)
    return Asked(
        kind="human",
        name="interrupt",
        parsed=freeze(request) if written is None else None,
        written=written or b"",
        lossy=freeze.lossy,
        effect="read",
    )


def _answered(opened: Opened, answer: Any) -> Any:
    """Write the answer of a human call and return it: the recorded one where there is one."""
    if opened.answer is None or opened.answer.came.outcome is None:
        opened.session.ended(opened, answer)
        return answer
    opened.session.write_end(opened, opened.answer.came, status=opened.answer.status)
    return boundary.restored(opened)


def paused(came: outcomes.Came) -> bool:
    """Say whether a call was left because something in it asked a person."""
    return came.exception is not None and came.exception["class"] == _CLASS


def ask_again(session: Session, call: RecordedCall) -> None:
    """Ask what a call asked that is answered and not made: LangGraph stops there as it did then."""
    config: Any = var_child_runnable_config.get() or {}
    namespace = (config.get("metadata") or {}).get("langgraph_checkpoint_ns") or ""
    place = scopes.Place(call.lane, namespace=namespace)
    former = scopes.raw()
    request = {key: values.thaw(form) for key, form in call.request.items()}
    try:
        scopes.put(scopes.Scope(session, place, in_call=True, in_root=True))
        # what was answered before is passed over, until LangGraph stops
        while True:
            interrupting(request["value"], request.get("response_schema"))
    finally:
        scopes.put(former)


# ---- resuming


def resumed(here: scopes.Scope, given: Any, thread: Any) -> Any:
    """Take note that a graph goes on, answer what waited, and return what it goes on with."""
    session = here.session
    call, session.humans.continuing = session.humans.continuing, None
    given, kept, answered = _answers(session, given, None if thread is None else str(thread))
    body: dict[str, Any] = {}
    if call is not None:
        fields, _, lossy = dataclasses.replace(call, input=kept).recorded(session.pool)
        body = {"value": {**fields, "answers": answered}}
    session.journal.put(
        "resumed",
        payload=hashing.dumps(body),
        lane=here.place.path,
        quality="lossy" if call is not None and lossy else "full",
    )
    return given


def _answers(session: Session, given: Any, thread: str | None) -> tuple[Any, Any, list[str]]:
    """Return (the command, without what human calls hold, the steps of these calls)."""
    if not isinstance(given, Command) or given.resume is None:
        return given, given, []
    waiting = {k: w for k, w in session.humans.waiting.items() if w.thread == thread}
    ids = {one.interrupt_id for one in waiting.values()}
    by_id = isinstance(given.resume, dict) and bool(ids & given.resume.keys())
    if not ids or (len(ids) > 1 and not by_id):
        return given, given, []
    found: dict[str, Any] = dict(given.resume) if by_id else dict.fromkeys(ids, given.resume)
    answered = []
    for key, one in waiting.items():
        if one.interrupt_id in found:
            del session.humans.waiting[key]
            found[one.interrupt_id] = _answered(one.opened, found[one.interrupt_id])
            answered.append(one.opened.step_id)
    resume = found if by_id else found[min(ids)]
    rest = {k: v for k, v in found.items() if k not in ids} if by_id else {}
    kept = dataclasses.replace(given, resume=rest or None)
    return dataclasses.replace(given, resume=resume), kept, answered


def _source(one: Waiting) -> str | None:
    answer = one.opened.answer
    return None if answer is None or answer.source is None else answer.source.step_id


def again(session: Session, call: RootCall, answers: Collection[str]) -> RootCall | None:
    """Return a recorded resume with answers for what waits now; None where nothing does.

    What is answered stands in the calls: the recorded answer takes the place of each.
    """
    if not answers:
        return call
    wanted = set(answers)
    ids = {one.interrupt_id for one in session.humans.waiting.values() if _source(one) in wanted}
    if not ids:
        return None
    resume = {**(call.input.resume or {}), **dict.fromkeys(ids, True)}
    return dataclasses.replace(call, input=dataclasses.replace(call.input, resume=resume))


# ---- what is replaced


def _code_of(original: types.CodeType) -> types.CodeType:
    """Return the code by which ``interrupt`` asks us; agents import it by name."""
    global _original  # noqa: PLW0603 - one function for all sessions
    own = graph_types.interrupt
    _original = types.FunctionType(original, own.__globals__, own.__name__)
    _original.__kwdefaults__ = own.__kwdefaults__
    return _interrupt.__code__


def _interrupt(value: Any, *, response_schema: Any = None) -> Any:
    from workbench.capture.humans import interrupting as asking

    return asking(value, response_schema)


_original: Callable[..., Any] = graph_types.interrupt


def targets() -> list[tuple[Any, str, Callable[[Any], Any]]]:
    """Return what is replaced while a session runs: (owner, attribute, wrapper)."""
    return [(graph_types.interrupt, "__code__", _code_of)]


def give_up(session: Session) -> None:
    """End what still waits for a person, before the run ends."""
    session.humans.give_up(session)
    nodes.give_up(session)
