"""A root is called to its end: plainly, awaited, or streamed."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workbench.capture import outcomes, scope

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from workbench.capture.agents import RootCall


@dataclass(kw_only=True)
class Ended:
    """What a root gave back or raised; ``chunks`` are what a streamed root gave on its way."""

    output: Any = None
    error: BaseException | None = None
    chunks: list[Any] = field(default_factory=list)


def run_root(target: Any, call: RootCall) -> Ended:
    """Call an agent to its end; what it raises is a value here, but for signals to the process."""
    ended = Ended()
    try:
        ended.output = _entered(target, call, ended)
    except BaseException as error:  # noqa: BLE001 - the caller decides what goes on to the user
        ended.error = error
    return ended


def _entered(target: Any, call: RootCall, ended: Ended) -> Any:
    config = dict(call.config) or None
    match call.method:
        case "call":
            return _called(target, call, config)
        case "invoke":
            return target.invoke(call.input, config)
        case "ainvoke":
            return run_coroutine(lambda: target.ainvoke(call.input, config))
        case "stream":
            return _streamed(target, call, config, ended)
        case "astream":
            return run_coroutine(lambda: _astreamed(target, call, config, ended))


def _called(target: Any, call: RootCall, config: Any) -> Any:
    def made() -> Any:
        return target(call.input) if config is None else target(call.input, config)

    if inspect.iscoroutinefunction(inspect.unwrap(target)) or inspect.iscoroutinefunction(
        getattr(target, "__call__", None)  # noqa: B004 - an object whose call is a coroutine
    ):
        return run_coroutine(made)
    value = made()
    if inspect.iscoroutine(value):
        return run_coroutine(lambda: value)
    return list(value) if inspect.isgenerator(value) else value


def _modes(target: Any, call: RootCall) -> tuple[dict[str, Any], bool]:
    """Return what to stream with, and whether the graph's final values are streamed beside it."""
    if not hasattr(target, "stream_channels"):
        return ({} if call.stream_mode is None else {"stream_mode": call.stream_mode}), False
    asked = call.stream_mode if call.stream_mode is not None else target.stream_mode
    modes = [asked] if isinstance(asked, str) else list(asked)
    return {"stream_mode": [*modes, *(["values"] if "values" not in modes else [])]}, True


class _Final:
    """Sorts what a streamed root gives: the chunks that were asked for, and its final values."""

    def __init__(self, call: RootCall, ended: Ended, *, is_graph: bool, target: Any) -> None:
        asked = call.stream_mode if call.stream_mode is not None else _default_mode(target)
        self._single = isinstance(asked, str)
        self._wanted = {asked} if self._single else set(asked or ())
        self._is_graph, self._ended, self._values = is_graph, ended, None

    def take(self, chunk: Any) -> None:
        if not self._is_graph:
            self._ended.chunks.append(chunk)
            return
        mode, value = chunk
        if mode == "values":
            self._values = value
        if mode in self._wanted:
            self._ended.chunks.append(value if self._single else chunk)

    @property
    def output(self) -> Any:
        return self._values if self._is_graph else outcomes.folded(self._ended.chunks)


def _default_mode(target: Any) -> Any:
    return getattr(target, "stream_mode", None)


def _streamed(target: Any, call: RootCall, config: Any, ended: Ended) -> Any:
    options, is_graph = _modes(target, call)
    final = _Final(call, ended, is_graph=is_graph, target=target)
    for chunk in target.stream(call.input, config, **options):
        final.take(chunk)
    return final.output


async def _astreamed(target: Any, call: RootCall, config: Any, ended: Ended) -> Any:
    options, is_graph = _modes(target, call)
    final = _Final(call, ended, is_graph=is_graph, target=target)
    async for chunk in target.astream(call.input, config, **options):
        final.take(chunk)
    return final.output


def run_coroutine(make: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a coroutine to its end, beside a loop that already runs in this thread if need be.

    An interrupt (Ctrl-C) cancels it, and is raised when it has ended; a second one at once.
    """
    begun: list[tuple[asyncio.AbstractEventLoop, Callable[[], object]]] = []

    async def main() -> Any:
        cancel = asyncio.current_task().cancel  # type: ignore[union-attr] # it runs this
        begun.append((asyncio.get_running_loop(), cancel))
        return await make()

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(main())
    context, box, over = contextvars.copy_context(), Ended(), threading.Event()

    def work() -> None:
        try:
            context.run(scope.adopt)
            box.output = context.run(asyncio.run, main())
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            box.error = error
        finally:
            over.set()

    thread = threading.Thread(target=work, name="agent-root")
    thread.start()
    try:
        over.wait()  # a join that is interrupted would take the thread for ended
    except KeyboardInterrupt:  # only the thread that waits gets it
        for loop, cancel in begun:
            with suppress(RuntimeError):  # it ended just now
                loop.call_soon_threadsafe(cancel)
        over.wait()
        raise
    finally:
        if over.is_set():
            thread.join()
    if box.error is not None:
        raise box.error
    return box.output
