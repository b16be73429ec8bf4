"""A call at the boundary: made and recorded, or answered without being made.

The outermost public entry wins: inside a call nothing else is a call.
"""

from __future__ import annotations

import asyncio
import functools
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from langchain_core.runnables import Runnable

from workbench import hashing
from workbench.capture import exceptions, outcomes, outside, relays, values
from workbench.capture import scope as scopes

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator

    from workbench.capture.asked import Asked
    from workbench.capture.session import Answer, Opened

    # None where nothing is asked
    Describe = Callable[..., Asked | None]


def _described(describe: Describe, here: scopes.Scope, args: Any, kwargs: Any) -> Any:
    """Return what is asked, or None when it cannot be told: the agent goes on unrecorded.

    Nothing is asked either by arguments that do not fit: such a call ends before it begins.
    """
    try:
        return describe(here.session, *args, **kwargs)
    except Exception as error:  # noqa: BLE001 - capture never breaks the agent
        here.session.gap(
            "unknown",
            _named(args),
            reason=f"the request could not be read: {hashing.repr_of(error)}",
        )
        return None


def _named(args: Any) -> str:
    owner = args[0] if args else None
    kind = type(owner)
    # an argument of a plain function may answer whatever it likes to being asked for its name
    name = getattr(owner, "name", None) if issubclass(kind, Runnable) else None
    return str(name or kind.__name__)


def _applies(args: Any, named: str | None = None) -> scopes.Scope | None:
    """Return the scope a call is to be recorded in, or None where it is not ours."""
    here = scopes.current()
    if here is None:
        outside.check(named or _named(args))
        return None
    return None if here.in_call else here


def _answer(opened: Opened) -> Answer:
    if opened.answer is None:
        raise RuntimeError("only an answered call can be served")
    return opened.answer


def _served(opened: Opened) -> Any:
    """Return or raise what a call is answered with when it is its turn."""
    opened.session.turn(opened)
    return _given(opened)


async def _aserved(opened: Opened) -> Any:
    """Do so in a task, which may be cancelled while it waits, as it was when this was recorded."""
    try:
        await opened.session.turn_in_loop(opened)
    except asyncio.CancelledError:
        answer = _answer(opened)
        opened.session.write_end(opened, answer.came, status=answer.status)
        raise
    return _given(opened)


def _given(opened: Opened) -> Any:
    """Return or raise what a call is answered with, and write its end."""
    answer = _answer(opened)
    came, session = answer.came, opened.session
    for pieces in answer.pieces or []:
        session.write_chunk(opened, pieces, at_ms=0.0)
    session.write_end(opened, came, status=answer.status)
    if came.exception is not None:
        session.ask_within(opened)
        raise exceptions.from_record(came.exception)
    return restored(opened)


def restored(opened: Opened) -> Any:
    """Return the outcome a call is answered with as the agent's own objects."""
    value = outcomes.restored(_answer(opened).came, asked=opened.asked)
    return value if opened.streams else outcomes.as_message(value)


def calling(
    describe: Describe, *, documents: bool = False, named: str | None = None
) -> Callable[[Any], Any]:
    """Return a wrapper for a synchronous entry; ``named`` is what people know it by."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def entry(*args: Any, **kwargs: Any) -> Any:
            here = _applies(args, named)
            if here is None:
                return original(*args, **kwargs)
            asked = _described(describe, here, args, kwargs)
            if asked is None:
                return original(*args, **kwargs)
            opened = here.session.begin(here, asked)
            if opened.answer is not None:
                return _served(opened)
            former = scopes.raw()
            try:
                scopes.put(_inside(opened))
                value = original(*args, **kwargs)
            except BaseException as error:
                here.session.failed(opened, error)
                raise
            finally:
                scopes.put(former)
            here.session.ended(opened, value, documents=documents)
            return value

        return entry

    return wrap


def awaiting(
    describe: Describe, *, documents: bool = False, named: str | None = None
) -> Callable[[Any], Any]:
    """Return a wrapper for an asynchronous entry."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def entry(*args: Any, **kwargs: Any) -> Any:
            here = _applies(args, named)
            if here is None:
                return await original(*args, **kwargs)
            asked = _described(describe, here, args, kwargs)
            if asked is None:
                return await original(*args, **kwargs)
            opened = here.session.begin(here, asked)
            if opened.answer is not None:
                return await _aserved(opened)
            former = scopes.raw()
            try:
                scopes.put(_inside(opened))
                value = await original(*args, **kwargs)
            except BaseException as error:
                here.session.failed(opened, error)
                raise
            finally:
                scopes.put(former)
            here.session.ended(opened, value, documents=documents)
            return value

        return entry

    return wrap


def _inside(opened: Opened) -> scopes.Scope:
    place = opened.place
    inside = place.inside
    if inside is None:
        inside = scopes.Scope(opened.session, place, in_call=True, in_root=True)
        place.inside = inside
    return inside


# ---- streams


def streaming(describe: Describe, *, named: str | None = None) -> Callable[[Any], Any]:
    """Return a wrapper for an entry that gives an iterator."""
    return _relayed(relays.relay, _served_stream, describe, named)


def astreaming(describe: Describe, *, named: str | None = None) -> Callable[[Any], Any]:
    """Return a wrapper for an entry that gives an asynchronous iterator."""
    return _relayed(relays.arelay, _aserved_stream, describe, named)


def _relayed(relay: Any, serve: Any, describe: Describe, named: str | None) -> Callable[[Any], Any]:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def entry(*args: Any, **kwargs: Any) -> Any:
            here = _applies(args, named)
            asked = None if here is None else _described(describe, here, args, kwargs)
            if here is None or asked is None:
                return original(*args, **kwargs)
            begin = functools.partial(_begun, here, asked, serve)
            return relay(begin, functools.partial(original, *args, **kwargs))

        return entry

    return wrap


def _begun(
    here: scopes.Scope, asked: Asked, serve: Any, start: Callable[[], Any]
) -> tuple[relays.Watch, Callable[[], Any]]:
    """Begin a stream when its first piece is wanted, be it after its recording."""
    if here.session.closed:
        return relays.Nobody(), start
    opened = here.session.begin(scopes.reader(here), asked, streams=True)
    if opened.answer is not None:
        return relays.Nobody(), functools.partial(serve, opened)
    return _Watched(opened), start


class _Watched:
    """A call that streams, as `relays` tells of it."""

    def __init__(self, opened: Opened) -> None:
        self._opened, self._session = opened, opened.session
        self.scope = _inside(opened)

    def piece(self, piece: Any) -> None:
        self._session.piece(self._opened, piece)

    def fed(self) -> None:
        self._session.fed(self._opened)

    def cancelled(self) -> None:
        self._session.cancelled(self._opened)

    def failed(self, error: BaseException) -> None:
        self._session.failed(self._opened, error)

    def ended(self, returned: Any) -> None:
        stream = self._opened.stream
        value = outcomes.folded([] if stream is None else stream.pieces)
        self._session.ended(self._opened, value, returned=returned)


def _served_stream(opened: Opened) -> Generator[Any, Any, Any]:
    """Give the recorded pieces again; write the end when the reader has had what was recorded."""
    with _ending(opened):
        for pieces in _served_chunks(opened):
            yield from pieces
        opened.session.turn(opened)
    return _returned(opened)


async def _aserved_stream(opened: Opened) -> AsyncGenerator[Any, None]:
    """Do so in a task."""
    with _ending(opened):
        for pieces in _served_chunks(opened):
            await opened.session.piece_in_loop(opened)
            for piece in pieces:
                yield piece
        await opened.session.turn_in_loop(opened)
    _returned(opened)


@contextmanager
def _ending(opened: Opened) -> Iterator[None]:
    """Write the end of a stream, and whether its reader left it before the recorded end."""
    answer, session = _answer(opened), opened.session
    came = answer.came
    try:
        yield
    except GeneratorExit:
        if answer.status != "cancelled":
            session.left_early(opened)
        session.write_end(opened, came, status="cancelled")
        raise
    except BaseException:  # thrown in by the reader, as it was when this was recorded
        if came.exception is None and answer.status != "cancelled":
            session.left_early(opened)
        session.write_end(opened, came, status=answer.status)
        raise
    session.write_end(opened, came, status=answer.status)


def _returned(opened: Opened) -> Any:
    """Raise what a stream ended with, or return what it returned beside its pieces."""
    came = _answer(opened).came
    if came.exception is not None:
        raise exceptions.from_record(came.exception)
    return values.thaw((came.outcome or {}).get("returned"))


def _served_chunks(opened: Opened) -> Iterator[Iterable[Any]]:
    answer, session = _answer(opened), opened.session
    if answer.pieces is None:
        if answer.came.exception is None:
            yield [outcomes.as_chunk(restored(opened))]
        return
    for pieces in answer.pieces:
        session.write_chunk(opened, pieces, at_ms=0.0)
        yield (values.thaw(piece) for piece in pieces)  # into which the reader may send something
    if answer.status == "cancelled" and answer.came.exception is None:
        session.past_end(opened)
