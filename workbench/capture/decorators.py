"""``@wb.model @wb.tool @wb.retriever @wb.planner @wb.validator @wb.safety``: functions as calls.

Each is `call` of its kind, with the effect such a function usually has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, overload

from workbench.capture.functions import call

if TYPE_CHECKING:
    from collections.abc import Callable

    from workbench.capture.normalise import Normalise
    from workbench.schema import Effect, Kind

F = TypeVar("F", bound="Callable[..., Any]")


class Decorator:
    """A decorator of functions of one kind, used with or without arguments.

    Examples
    --------
    >>> import workbench as wb
    >>> @wb.tool(effect="read")
    ... def look_up(order: str) -> str:
    ...     return f"order {order}"
    >>> @wb.validator
    ... def is_short(text: str) -> bool:
    ...     return len(text) < 10
    >>> look_up("A1"), is_short("A1")
    ('order A1', True)
    """

    def __init__(self, kind: Kind, *, effect: Effect) -> None:
        self._kind, self._effect = kind, effect

    def __repr__(self) -> str:
        return f"<decorator of {self._kind} calls>"

    @overload
    def __call__(self, function: F, /) -> F: ...

    @overload
    def __call__(
        self,
        function: None = None,
        /,
        *,
        name: str | None = None,
        effect: Effect | None = None,
        normalise: Normalise | None = None,
    ) -> Callable[[F], F]: ...

    def __call__(
        self,
        function: Any = None,
        /,
        *,
        name: str | None = None,
        effect: Effect | None = None,
        normalise: Normalise | None = None,
    ) -> Any:
        """Make a function a call of this kind; see `workbench.call` for the arguments."""
        decorate = call(
            kind=self._kind, name=name, effect=effect or self._effect, normalise=normalise
        )
        return decorate if function is None else decorate(function)


model = Decorator("model", effect="read")
tool = Decorator("tool", effect="unknown")
retriever = Decorator("retriever", effect="read")
planner = Decorator("planner", effect="read")
validator = Decorator("validator", effect="pure")
safety = Decorator("safety", effect="pure")
