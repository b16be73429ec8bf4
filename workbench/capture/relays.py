"""What an iterator gives goes to its reader; what the reader sends, throws or leaves goes back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from workbench.capture import scope as scopes

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    Start = Callable[[], Any]
    # called when the first piece is wanted: who watches, and what is read
    Begin = Callable[[Start], tuple["Watch", Start]]


class Watch(Protocol):
    """What is told of an iterator; ``scope`` is the one its code runs in."""

    @property
    def scope(self) -> scopes.Scope | None:
        """Where the iterator's own code runs."""

    def piece(self, piece: Any) -> None:
        """Take what it gave."""

    def fed(self) -> None:
        """Take note that it went on with what its reader had sent or thrown in."""

    def cancelled(self) -> None:
        """Take note that its reader left it."""

    def failed(self, error: BaseException) -> None:
        """Take what it raised."""

    def ended(self, returned: Any) -> None:
        """Take note that it has no more to give."""


class Nobody:
    """Watches nothing: the iterator is read as it is."""

    @property
    def scope(self) -> scopes.Scope | None:
        return scopes.raw()

    def piece(self, piece: Any) -> None: ...

    def fed(self) -> None: ...

    def cancelled(self) -> None: ...

    def failed(self, error: BaseException) -> None: ...

    def ended(self, returned: Any) -> None: ...


class _Fed:
    """What a reader gives back for a piece: a value, or an exception."""

    __slots__ = ("sent", "thrown")

    def __init__(self, sent: Any = None, thrown: BaseException | None = None) -> None:
        self.sent, self.thrown = sent, thrown

    def to(self, live: Any, *, send: str, throw: str) -> Any:
        """Pass it on, and return what comes back; what cannot take an exception ends with it."""
        if self.thrown is None:
            return getattr(live, send)(self.sent)
        if not hasattr(live, throw):
            raise self.thrown
        return getattr(live, throw)(self.thrown)


def relay(begin: Begin, start: Start) -> Generator[Any, Any, Any]:
    """Read an iterator; it begins when its reader wants the first piece."""
    watch, start = begin(start)
    live, fed, returned = None, None, None
    try:
        while True:
            former = scopes.raw()
            try:
                scopes.put(watch.scope)
                live = iter(start()) if live is None else live
                piece = next(live) if fed is None else fed.to(live, send="send", throw="throw")
            except StopIteration as done:
                returned = done.value
                break
            finally:
                scopes.put(former)
            if fed is not None:
                watch.fed()
            watch.piece(piece)
            fed = None
            try:
                sent = yield piece
                fed = None if sent is None else _Fed(sent)
            except GeneratorExit:
                raise
            except BaseException as error:  # noqa: BLE001 - what is thrown in is the iterator's
                fed = _Fed(thrown=error)
        if fed is not None:
            watch.fed()
    except GeneratorExit:
        _close(watch, live)
        raise
    except BaseException as error:
        watch.failed(error)
        raise
    watch.ended(returned)
    return returned


def _close(watch: Watch, live: Any) -> None:
    former = scopes.raw()
    try:
        scopes.put(watch.scope)
        getattr(live, "close", lambda: None)()
    finally:
        scopes.put(former)
        watch.cancelled()


async def arelay(begin: Begin, start: Start) -> AsyncGenerator[Any, Any]:
    """Read an asynchronous iterator; it begins when its reader wants the first piece."""
    watch, start = begin(start)
    live, fed = None, None
    try:
        while True:
            former = scopes.raw()
            try:
                scopes.put(watch.scope)
                live = aiter(start()) if live is None else live
                step = anext(live) if fed is None else fed.to(live, send="asend", throw="athrow")
                piece = await step
            except StopAsyncIteration:
                break
            finally:
                scopes.put(former)
            if fed is not None:
                watch.fed()
            watch.piece(piece)
            fed = None
            try:
                sent = yield piece
                fed = None if sent is None else _Fed(sent)
            except GeneratorExit:
                raise
            except BaseException as error:  # noqa: BLE001 - see above
                fed = _Fed(thrown=error)
        if fed is not None:
            watch.fed()
    except GeneratorExit:
        await _aclose(watch, live)
        raise
    except BaseException as error:
        watch.failed(error)
        raise
    watch.ended(None)


async def _aclose(watch: Watch, live: Any) -> None:
    former = scopes.raw()
    try:
        scopes.put(watch.scope)
        if hasattr(live, "aclose"):
            await live.aclose()
    finally:
        scopes.put(former)
        watch.cancelled()
