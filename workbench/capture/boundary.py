"""A call at the boundary: made and recorded, or answered without being made.

The outermost public entry wins: inside a call nothing else is a call.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from workbench.capture import exceptions, outcomes, outside, values
from workbench.capture import scope as scopes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from workbench.capture.asked import Asked
    from workbench.capture.session import Answer, Opened, Session

    Describe = Callable[..., Asked]


def _described(describe: Describe, here: scopes.Scope, args: Any, kwargs: Any) -> Any:
    """Return what is asked, or None when it cannot be told: the agent goes on unrecorded."""
    try:
        return describe(here.session, *args, **kwargs)
    except Exception as error:  # noqa: BLE001 - capture never breaks the agent
        here.session.gap(
            "unknown", _named(args), reason=f"the request could not be read: {error!r}"
        )
        return None


def _named(args: Any) -> str:
    owner = args[0] if args else None
    return str(getattr(owner, "name", None) or type(owner).__name__)


def _applies(args: Any) -> scopes.Scope | None:
    """Return the scope a call is to be recorded in, or None where it is not ours."""
    here = scopes.current()
    if here is None:
        outside.check(_named(args))
        return None
    return None if here.in_call else here


def _answer(opened: Opened) -> Answer:
    if opened.answer is None:
        raise RuntimeError("only an answered call can be served")
    return opened.answer


def served(opened: Opened) -> Any:
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
    answer = _answer(opened)
    value = outcomes.restored(
        answer.came.outcome or {"value": None},
        bodies=answer.came.bodies,
        message_id=answer.came.message_id,
        asked=opened.asked,
    )
    return value if opened.streams else outcomes.as_message(value)


def calling(describe: Describe, *, documents: bool = False) -> Callable[[Any], Any]:
    """Return a wrapper for a synchronous entry."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def entry(*args: Any, **kwargs: Any) -> Any:
            here = _applies(args)
            if here is None:
                return original(*args, **kwargs)
            asked = _described(describe, here, args, kwargs)
            if asked is None:
                return original(*args, **kwargs)
            opened = here.session.begin(here, asked)
            if opened.answer is not None:
                return served(opened)
            former = scopes.enter(_inside(opened))
            try:
                value = original(*args, **kwargs)
            except BaseException as error:
                here.session.failed(opened, error)
                raise
            finally:
                scopes.enter(former)
            here.session.ended(opened, value, documents=documents)
            return value

        return entry

    return wrap


def awaiting(describe: Describe, *, documents: bool = False) -> Callable[[Any], Any]:
    """Return a wrapper for an asynchronous entry."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        async def entry(*args: Any, **kwargs: Any) -> Any:
            here = _applies(args)
            if here is None:
                return await original(*args, **kwargs)
            asked = _described(describe, here, args, kwargs)
            if asked is None:
                return await original(*args, **kwargs)
            opened = here.session.begin(here, asked)
            if opened.answer is not None:
                return served(opened)
            former = scopes.enter(_inside(opened))
            try:
                value = await original(*args, **kwargs)
            except BaseException as error:
                here.session.failed(opened, error)
                raise
            finally:
                scopes.enter(former)
            here.session.ended(opened, value, documents=documents)
            return value

        return entry

    return wrap


def _pieces(opened: Opened) -> list[Any]:
    return [] if opened.stream is None else opened.stream.pieces


def _inside(opened: Opened) -> scopes.Scope:
    place = opened.place
    inside = place.inside
    if inside is None:
        inside = scopes.Scope(opened.session, place, in_call=True, in_root=True)
        place.inside = inside
    return inside


# ---- streams


def streaming(describe: Describe) -> Callable[[Any], Any]:
    """Return a wrapper for an entry that gives an iterator."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def entry(*args: Any, **kwargs: Any) -> Any:
            here = _applies(args)
            asked = None if here is None else _described(describe, here, args, kwargs)
            if here is None or asked is None:
                return original(*args, **kwargs)
            return _stream(here, asked, lambda: original(*args, **kwargs))

        return entry

    return wrap


def _stream(here: scopes.Scope, asked: Asked, start: Callable[[], Any]) -> Iterator[Any]:
    session = here.session
    opened = session.begin(here, asked, streams=True)
    if opened.answer is not None:
        yield from _served_stream(session, opened)
        return
    live = iter(start())
    try:
        while True:
            former = scopes.enter(_inside(opened))
            try:
                piece = next(live)
            except StopIteration:
                break
            finally:
                scopes.enter(former)
            session.piece(opened, piece)
            yield piece
    except GeneratorExit:
        session.cancelled(opened)
        getattr(live, "close", lambda: None)()
        raise
    except BaseException as error:
        session.failed(opened, error)
        raise
    session.ended(opened, outcomes.folded(_pieces(opened)))


def astreaming(describe: Describe) -> Callable[[Any], Any]:
    """Return a wrapper for an entry that gives an asynchronous iterator."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def entry(*args: Any, **kwargs: Any) -> Any:
            here = _applies(args)
            asked = None if here is None else _described(describe, here, args, kwargs)
            if here is None or asked is None:
                return original(*args, **kwargs)
            return _astream(here, asked, lambda: original(*args, **kwargs))

        return entry

    return wrap


async def _astream(
    here: scopes.Scope, asked: Asked, start: Callable[[], Any]
) -> AsyncIterator[Any]:
    session = here.session
    opened = session.begin(here, asked, streams=True)
    if opened.answer is not None:
        for piece in _served_stream(session, opened):
            yield piece
        return
    live = aiter(start())
    try:
        while True:
            former = scopes.enter(_inside(opened))
            try:
                piece = await anext(live)
            except StopAsyncIteration:
                break
            finally:
                scopes.enter(former)
            session.piece(opened, piece)
            yield piece
    except GeneratorExit:
        session.cancelled(opened)
        if hasattr(live, "aclose"):
            await live.aclose()
        raise
    except BaseException as error:
        session.failed(opened, error)
        raise
    session.ended(opened, outcomes.folded(_pieces(opened)))


def _served_stream(session: Session, opened: Opened) -> Iterator[Any]:
    """Give the recorded pieces again; write the end when the reader has had what was recorded."""
    answer = _answer(opened)
    try:
        if answer.pieces is None:
            if answer.came.exception is None:
                yield outcomes.as_chunk(restored(opened))
        else:
            for pieces in answer.pieces:
                session.write_chunk(opened, pieces, at_ms=0.0)
                for piece in pieces:
                    yield values.thaw(piece)
            if answer.status == "cancelled" and answer.came.exception is None:
                session.past_end(opened)
    except GeneratorExit:
        if answer.status != "cancelled":
            session.left_early(opened)
        session.write_end(opened, answer.came, status="cancelled")
        raise
    session.write_end(opened, answer.came, status=answer.status)
    if answer.came.exception is not None:
        raise exceptions.from_record(answer.came.exception)
