"""A root is called to its end: plainly, awaited, or streamed."""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import inspect
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workbench.capture import outcomes, scope

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from workbench.capture.agents import RootCall

_LOOK_S = 0.1


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


def run_coroutine(make: Callable[[], Awaitable[Any]]) -> Any:
    """Run a coroutine to its end, beside a loop that already runs in this thread if need be.

    As with `asyncio.run`, an interrupt (Ctrl-C) cancels it, and another breaks off what it is at.
    It is raised when the coroutine has ended: nothing of it goes on behind.
    """

    async def main() -> Any:
        return await make()

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(main())
    beside = _Beside(make)
    beside.wait()
    if beside.ended.error is not None:
        raise beside.ended.error
    return beside.ended.output


class _Beside:
    """A coroutine in a thread of its own."""

    def __init__(self, make: Callable[[], Awaitable[Any]]) -> None:
        self.ended = Ended()
        self._make = make
        self._context = contextvars.copy_context()
        self._over = threading.Event()
        self._task: asyncio.Task[Any] | None = None
        self._interrupts = 0
        self._thread = threading.Thread(target=self._work, name="agent-root")

    def wait(self) -> None:
        """Run it; an interrupt, which only the thread that waits gets, is raised at its end."""
        first: BaseException | None = None
        try:
            self._thread.start()
        except BaseException:
            self._interrupt()
            raise
        while True:
            try:
                # Not for ever: polars has the system wait on after Ctrl-C
                # (https://github.com/pola-rs/polars/issues/21739). And no join: it would take the
                # thread for ended once it was interrupted.
                while not self._over.wait(_LOOK_S):
                    pass
                break
            except BaseException as error:  # noqa: BLE001 - Ctrl-C, or what an alarm raises
                self._interrupt()
                first = first or error
        self._thread.join()
        if first is not None:
            raise first

    def _interrupt(self) -> None:
        self._interrupts += 1
        task = self._task
        if task is None:  # it did not begin, or ended
            return
        if self._interrupts > 1:
            whom, what = (
                ctypes.c_ulong(self._thread.ident or 0),
                ctypes.py_object(KeyboardInterrupt),
            )
            ctypes.pythonapi.PyThreadState_SetAsyncExc(whom, what)
        with suppress(RuntimeError):  # it ended just now
            task.get_loop().call_soon_threadsafe(task.cancel)

    def _work(self) -> None:
        try:
            self._run()
        finally:
            self._over.set()

    def _run(self) -> None:
        try:
            self._context.run(scope.adopt)
            self.ended.output = self._context.run(asyncio.run, self._main())
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            self.ended.error = error

    async def _main(self) -> Any:
        self._task = asyncio.current_task()
        try:
            if self._interrupts:
                raise asyncio.CancelledError
            return await self._make()
        finally:
            self._task = None
