"""Plain Python: functions that are calls at the boundary, and functions that are roots."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from workbench import hashing
from workbench.capture import boundary, callables, roots, values
from workbench.capture.asked import Asked
from workbench.capture.effects import tool_effects
from workbench.capture.normalise import check_normalise
from workbench.errors import UsageError
from workbench.schema import KINDS

if TYPE_CHECKING:
    from workbench.capture.normalise import Normalise
    from workbench.capture.session import Session
    from workbench.schema import Effect, Kind

F = TypeVar("F", bound=Callable[..., Any])

_WRAPPERS = {
    "call": boundary.calling,
    "await": boundary.awaiting,
    "stream": boundary.streaming,
    "astream": boundary.astreaming,
}


def call(
    *,
    kind: Kind = "tool",
    name: str | None = None,
    effect: Effect = "unknown",
    normalise: Normalise | None = None,
) -> Callable[[F], F]:
    """Make a function a call: recorded with its arguments and what it gives back, and replayed.

    Functions, coroutines, generators, asynchronous generators, methods of every sort, partials and
    objects that can be called. ``self`` and ``cls`` are no part of what is asked.

    Parameters
    ----------
    kind
        What it is: ``tool``, ``model``, ``retriever``, ``http``, ``clock``, ``random``, …
    name
        What it is called in a recording; default the function's name.
    effect
        What it does to the world.
    normalise
        What of a request may differ in a replay of mode ``cached``: JSON pointers to its volatile
        fields, as a divergence's ``changes`` name them, or a function that takes a request,
        ``{"arguments": {…}}`` as canonical JSON, and returns what of it has to be equal. Neither
        the recording nor the exact signature is touched.

    Raises
    ------
    UsageError
        No such kind, or effect, or no JSON pointers.

    Examples
    --------
    >>> @call(kind="http", effect="read", normalise=["/arguments/asked_at"])
    ... def look_up(order: str, asked_at: str) -> str:
    ...     return f"order {order}"
    >>> look_up("A1", "10:30")
    'order A1'
    """
    if kind not in KINDS:
        raise UsageError("no such kind of call", expected=list(KINDS), found=kind)
    check_normalise(normalise)
    declare = tool_effects(effect)

    def wrap(function: Any, way: callables.Way) -> Any:
        describe = describing(
            function,
            kind=kind,
            name=name or callables.name_of(function),
            effect=effect,
            normalise=normalise,
        )
        return declare(_WRAPPERS[way](describe)(function))

    return lambda function: callables.dressed(function, wrap)


def describing(
    function: Any,
    *,
    kind: Kind,
    name: str,
    effect: Effect,
    normalise: Normalise | None = None,
    redacted: bool = False,
) -> Callable[..., Asked | None]:
    """Return what reads a call's request: None where the function does not take its arguments."""
    bind = callables.binder(function)

    def describe(session: Session, /, *args: Any, **kwargs: Any) -> Asked | None:
        try:
            arguments = bind(*args, **kwargs)
        except TypeError:
            return None
        declared = session.effects.of(name)
        known = effect if declared == "unknown" else declared
        written = hashing.dumps_plain({"arguments": arguments})
        if written is not None:
            return Asked(
                kind=kind,
                name=name,
                written=written,
                effect=known,
                normalise=normalise,
                redacted=redacted,
            )
        freeze = values.Freezer()
        request = {"arguments": freeze(arguments)}
        return Asked(
            kind=kind,
            name=name,
            parsed=request,
            lossy=freeze.lossy,
            effect=known,
            normalise=normalise,
            redacted=redacted,
        )

    return describe


def root(function: F) -> F:
    """Make a function a root: inside ``with wb.record(store)`` its input and output are the run's.

    The function takes one argument, and optionally a config.
    """
    rooted: F = roots.rooted("call")(function)
    return rooted
