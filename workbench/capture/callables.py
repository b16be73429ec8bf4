"""What a function is to us: how it is called, what it is called, and what its arguments mean."""

from __future__ import annotations

import functools
import inspect
import keyword
from types import FunctionType
from typing import TYPE_CHECKING, Any, Literal

from workbench.capture import values
from workbench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from inspect import Parameter

    # names the arguments of one call; raises TypeError where the function itself would
    Binder = Callable[..., dict[str, Any]]

Way = Literal["call", "await", "stream", "astream"]

_OURS = "__workbench_way__"
# what a method is called on is neither asked nor recorded
_RECEIVERS = ("self", "cls")


def way_of(function: Any) -> Way:
    """Return how a function is called to its end."""
    if isinstance(function, functools.partial):
        return way_of(function.func)
    known = getattr(function, _OURS, None)
    if known is not None and known[0] is getattr(function, "__func__", function):
        way: Way = known[1]
        return way
    called = vars(type(function)).get("__call__")  # of an object that can be called
    for one in (function, called):
        if inspect.isasyncgenfunction(one):
            return "astream"
        if inspect.isgeneratorfunction(one):
            return "stream"
        if inspect.iscoroutinefunction(one):
            return "await"
    return "call"


def name_of(function: Any) -> str:
    """Return a function's name, that of a partial's function, or an object's class."""
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__name__", None) or type(function).__name__)


def dressed(function: Any, wrap: Callable[[Any, Way], Any]) -> Any:
    """Return a function in a wrapper; one that is a class's or static stays so.

    Raises
    ------
    UsageError
        It cannot be called.
    """
    if isinstance(function, (classmethod, staticmethod)):
        return type(function)(dressed(function.__func__, wrap))
    if not callable(function):
        raise UsageError(
            "only what can be called can be decorated",
            found=values.freeze(function)[0],
            hint='@wb.tool(name="…") gives a function another name',
        )
    way = way_of(function)
    wrapped = wrap(function, way)
    # what stands for a generator function is none itself, and tells so when it is wrapped again
    setattr(wrapped, _OURS, (wrapped, way))
    if not hasattr(function, "__name__"):
        wrapped.__name__ = wrapped.__qualname__ = name_of(function)
    return wrapped


# ---- arguments


def binder(function: Any) -> Binder:
    """Return what names the arguments of a call, the defaults of those left out among them.

    It takes what the function takes, and raises TypeError only where the function itself does.
    What nobody could compare with another run is left out where it is only a default; so is the
    object a method is called on.

    Examples
    --------
    >>> def look_up(order, /, *lines, depth=1, **rest): ...
    >>> bind = binder(look_up)
    >>> bind("A1", 1, 2, also=True)
    {'order': 'A1', 'lines': (1, 2), 'depth': 1, 'rest': {'also': True}}
    """
    if isinstance(function, functools.partial):
        inner, given, named = binder(function.func), function.args, function.keywords
        return lambda *args, **kwargs: inner(*given, *args, **{**named, **kwargs})
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return _in_order  # some functions of C have none
    twin = _twin(signature)
    return twin if _says_the_truth(function) else _or_in_order(twin)


def _says_the_truth(function: Any) -> bool:
    """Say whether a function takes what its signature says: a wrapper may take something else."""
    own = getattr(function, "__func__", function)
    return isinstance(own, FunctionType) and not vars(own).keys() & {"__wrapped__", "__signature__"}


def _in_order(*args: Any, **kwargs: Any) -> dict[str, Any]:
    return {"args": args, "kwargs": kwargs}


def _or_in_order(bind: Binder) -> Binder:
    def named(*args: Any, **kwargs: Any) -> dict[str, Any]:
        try:
            return bind(*args, **kwargs)
        except TypeError:
            return _in_order(*args, **kwargs)

    return named


def _twin(signature: inspect.Signature) -> Binder:
    """Return a function of the same parameters that gives back its arguments.

    Python itself binds them so, in a tenth of the time that `inspect.Signature.bind` takes.
    """
    parameters = list(signature.parameters.values())
    if not all(p.name.isidentifier() and not keyword.iskeyword(p.name) for p in parameters):
        return _in_order
    space = {f"_{i}": p.default for i, p in enumerate(parameters) if p.default is not p.empty}
    exec(_compiled(_source(parameters)), space)  # noqa: S102 - of names alone, as dataclasses do it
    twin: Binder = space["twin"]
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    odd = {name: default for name, default in defaults.items() if _is_lost(default)}
    return _without_defaults(twin, odd) if odd else twin


def _source(parameters: list[Parameter]) -> str:
    written, stars = [], False
    kinds = [p.kind for p in parameters]
    for index, one in enumerate(parameters):
        if one.kind is one.KEYWORD_ONLY and not stars:
            written.append("*")
        stars = stars or one.kind in (one.KEYWORD_ONLY, one.VAR_POSITIONAL)
        mark = "*" * (one.kind is one.VAR_POSITIONAL) + "**" * (one.kind is one.VAR_KEYWORD)
        default = "" if one.default is one.empty else f"=_{index}"
        written.append(f"{mark}{one.name}{default}")
        if one.kind is one.POSITIONAL_ONLY and kinds[index + 1 : index + 2] != [one.kind]:
            written.append("/")
    names = [p.name for p in parameters]
    asked = names[1:] if names[:1] and names[0] in _RECEIVERS else names
    given = ", ".join(f"{name!r}: {name}" for name in asked)
    return f"def twin({', '.join(written)}): return {{{given}}}"


@functools.cache
def _compiled(source: str) -> Any:
    return compile(source, "<arguments of a call>", "exec")


def _is_lost(default: Any) -> bool:
    try:
        return values.freeze(default)[1]
    except Exception:  # noqa: BLE001 - a stranger's object must not stop a function being defined
        return True


def _without_defaults(bind: Binder, odd: dict[str, Any]) -> Binder:
    def named(*args: Any, **kwargs: Any) -> dict[str, Any]:
        found = bind(*args, **kwargs)
        for name, default in odd.items():
            if found.get(name) is default:
                del found[name]
        return found

    return named
