"""Steps of plain Python: timed parts of an agent that cross no boundary, and group its calls.

A step changes nothing in how calls are numbered: a replay writes the steps of its own run anew.
"""

from __future__ import annotations

import functools
from time import perf_counter
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from langgraph.errors import GraphBubbleUp

from workbench import hashing
from workbench.capture import callables, exceptions, relays, values
from workbench.capture import scope as scopes
from workbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from workbench.capture.callables import Binder, Way

    # a body's canonical bytes, and their quality
    _Frozen = tuple[bytes, str]

F = TypeVar("F", bound="Callable[..., Any]")
_NOTHING: Any = object()


@overload
def step(what: F, /) -> F: ...


@overload
def step(what: str | None = None, /, *, input: Any = ...) -> Step: ...


def step(what: Any = None, /, *, input: Any = _NOTHING) -> Any:  # noqa: A002 - the schema's own word
    """Make a function, or a block, a step of the run: a timed part of it with its calls inside.

    ``@wb.step``, ``@wb.step("name")`` or ``with wb.step("name"):``. Functions, coroutines and
    generators of both kinds are taken. A step is no call: its code runs again in a replay. Inside a
    call, and outside every recording, it is nothing.

    Parameters
    ----------
    what
        The function, or the step's name; default the function's name.
    input
        Of a block: what it works on. A function's input are its arguments.

    Raises
    ------
    UsageError
        A block was given no name.

    Examples
    --------
    >>> @wb.step
    ... def tidy(words: list[str]) -> str:
    ...     return " ".join(words)
    >>> with wb.step("prepare", input=["a", "b"]) as prepare:
    ...     prepare.output = tidy(["a", "b"])
    >>> prepare.output
    'a b'
    """
    if what is None or isinstance(what, str):
        return Step(what, given=input)
    return Step(None)(what)


class Step:
    """A step to be: a block's when it is entered, a function's each time that is called.

    Attributes
    ----------
    output
        Set it in a block to what comes of it; it is kept as the step's output.
    """

    def __init__(self, name: str | None, *, given: Any = _NOTHING) -> None:
        self._name, self._given = name, given
        self._open: list[_Begun | None] = []
        self.output: Any = None

    def __repr__(self) -> str:
        return f"<step {self._name or 'of a function'}>"

    def __call__(self, function: F) -> F:
        """Make a function a step."""

        def wrap(inner: Any, way: Way) -> Any:
            name = self._name or callables.name_of(inner)
            return _WRAPPERS[way](inner, name, callables.binder(inner))

        dressed: F = callables.dressed(function, wrap)
        return dressed

    def __enter__(self) -> Self:
        if self._name is None:
            raise UsageError("a block's step has no name", hint='with wb.step("prepare"):')
        here, begun = _applies(), None
        if here is not None:
            given = {} if self._given is _NOTHING else {"input": self._given}
            begun = _Begun(here, _frozen(given), self._name)
        self._open.append(begun)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        begun = self._open.pop()
        if begun is not None:
            begun.output = self.output
            begun.__exit__(kind, error, trace)


def _applies() -> scopes.Scope | None:
    """Return the scope a step is to be recorded in, or None where there is none, or a call."""
    here = scopes.current()
    return None if here is None or here.in_call else here


class _Begun:
    """A step that has begun and not ended yet."""

    def __init__(self, here: scopes.Scope, given: _Frozen, name: str) -> None:
        self._session, self._name = here.session, name
        self.output: Any = None
        self._pieces: list[Any] = []
        self._lossy = False
        outer = scopes.place_of(here)
        self._step_id = self._session.journal.step_id()
        self._place = outer.within(self._step_id)
        self.scope = scopes.Scope(self._session, self._place, in_root=here.in_root)
        payload, quality = given
        self._session.journal.put(
            "step_started",
            payload=payload,
            step_id=self._step_id,
            parent_step_id=outer.step_id,
            name=name,
            lane=outer.path,
            quality=quality,
            status="running",
        )
        self._started = perf_counter()
        self._former = scopes.raw()
        scopes.put(self.scope)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.leave()
        if error is not None:
            self.failed(error)
        else:
            self._end("ok", {} if self.output is None else {"output": self.output})

    def leave(self) -> None:
        """Go back to where the step was entered, if the code still is where it left off."""
        if scopes.raw() is self.scope:
            scopes.put(self._former)

    def failed(self, error: BaseException) -> None:
        """Write what was raised; an agent that only stops to wait, or is stopped, did not fail."""
        if not isinstance(error, Exception) or isinstance(error, GraphBubbleUp):
            self._end("cancelled", {})
        else:
            self._end("error", {}, error)

    def _end(self, status: str, body: dict[str, Any], error: BaseException | None = None) -> None:
        took = max(0.0, (perf_counter() - self._started) * 1000)
        if self._session.closed:
            return
        payload, quality = _frozen(body, error)
        self._session.journal.put(
            "step_ended",
            payload=payload,
            step_id=self._step_id,
            name=self._name,
            lane=self._place.path,
            quality="lossy" if self._lossy else quality,
            status=status,
            duration_ms=took,
        )

    # ---- a generator's, as `relays` tells of it

    def piece(self, piece: Any) -> None:
        form, lossy = values.freeze(piece)
        self._pieces.append(form)
        self._lossy = self._lossy or lossy

    def fed(self) -> None: ...

    def cancelled(self) -> None:
        self._end("cancelled", {"output": self._pieces})

    def ended(self, returned: Any) -> None:  # noqa: ARG002 - what a step gives are its pieces
        self._end("ok", {"output": self._pieces})


def _frozen(body: dict[str, Any], error: BaseException | None = None) -> _Frozen:
    """Return a body's canonical bytes, and what they are worth."""
    freeze = values.Freezer()
    try:
        if error is not None:
            return hashing.dumps({"exception": exceptions.to_record(error, freeze)}), _of(freeze)
        written = hashing.dumps_plain(body)
        if written is not None:
            return written, "full"
        return hashing.dumps({key: freeze(value) for key, value in body.items()}), _of(freeze)
    except Exception:  # noqa: BLE001 - capture never breaks the agent
        return b"{}", "lossy"


def _of(freeze: values.Freezer) -> str:
    return "lossy" if freeze.lossy else "full"


# ---- functions


def _reading(bind: Binder) -> Callable[[Any, Any], tuple[scopes.Scope, _Frozen] | None]:
    """Return what reads a call of a function: where, and its arguments; None where no step is."""

    def read(args: Any, kwargs: Any) -> tuple[scopes.Scope, _Frozen] | None:
        here = _applies()
        if here is None:
            return None
        try:
            arguments = bind(*args, **kwargs)
        except TypeError:
            return None  # the function itself says so
        return here, _frozen({"input": arguments})

    return read


def _calling(function: Any, name: str, bind: Binder) -> Any:
    read = _reading(bind)

    @functools.wraps(function)
    def entry(*args: Any, **kwargs: Any) -> Any:
        found = read(args, kwargs)
        if found is None:
            return function(*args, **kwargs)
        with _Begun(*found, name) as begun:
            value = begun.output = function(*args, **kwargs)
            return value

    return entry


def _awaiting(function: Any, name: str, bind: Binder) -> Any:
    read = _reading(bind)

    @functools.wraps(function)
    async def entry(*args: Any, **kwargs: Any) -> Any:
        found = read(args, kwargs)
        if found is None:
            return await function(*args, **kwargs)
        with _Begun(*found, name) as begun:
            value = begun.output = await function(*args, **kwargs)
            return value

    return entry


def _relaying(relay: Any) -> Callable[..., Any]:
    def wrap(function: Any, name: str, bind: Binder) -> Any:
        read = _reading(bind)

        @functools.wraps(function)
        def entry(*args: Any, **kwargs: Any) -> Any:
            found = read(args, kwargs)
            if found is None:
                return function(*args, **kwargs)

            def begin(start: Any) -> tuple[relays.Watch, Any]:
                if found[0].session.closed:
                    return relays.Nobody(), start
                begun = _Begun(*found, name)
                begun.leave()  # its code is in it, its reader is not
                return begun, start

            return relay(begin, functools.partial(function, *args, **kwargs))

        return entry

    return wrap


_WRAPPERS = {
    "call": _calling,
    "await": _awaiting,
    "stream": _relaying(relays.relay),
    "astream": _relaying(relays.arelay),
}
