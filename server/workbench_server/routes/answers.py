"""JSON answers without a detour over models."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi.responses import Response


def answer(content: Any, *, status: int = 200) -> Response:
    """Return JSON; times, uuids and structs are written as they are."""
    return Response(msgspec.json.encode(content), status_code=status, media_type="application/json")
