"""One thread beside the event loop, where blocks of rows become columns and text."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Made = TypeVar("_Made")
# Each thread keeps memory of its own, and there is no more than a processor to win.
_thread = ThreadPoolExecutor(1, thread_name_prefix="workbench-reading")


async def aside(work: Callable[..., _Made], *arguments: object) -> _Made:
    """Do what takes long where it holds up no other request."""
    return await asyncio.get_running_loop().run_in_executor(_thread, work, *arguments)
