"""Read a small JSON body as a struct."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import msgspec

from workbench.errors import InvalidEvent
from workbench_server.limits import check_nesting, read_body
from workbench_server.misfits import sides_of

if TYPE_CHECKING:
    from fastapi import Request

_MOST = 2**16  # whatever the workspace's own limits say: else they could lock out who mends them

T = TypeVar("T")


async def asked(request: Request, kind: type[T]) -> T:
    """Return the request's body as a struct; an empty body says nothing but defaults."""
    raw = await read_body(request, most=_MOST) or b"{}"
    check_nesting(raw, where="body")
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidEvent("the body does not fit", **sides_of(error, kind)) from error
