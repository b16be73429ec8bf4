"""What a workspace took, by day."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from workbench.errors import UsageError
from workbench_server.access import Reader
from workbench_server.routes.answers import answer
from workbench_server.usage import usage

router = APIRouter(tags=["usage"])

_USUAL_DAYS = 30
_MOST_DAYS = 3_660


@router.get("/usage")
async def look(
    request: Request,
    caller: Reader,
    *,
    first: Annotated[date | None, Query(alias="from")] = None,
    last: Annotated[date | None, Query(alias="to")] = None,
) -> Response:
    """Return a row for each day of UTC, both ends included; else for the last thirty days."""
    until = last or datetime.now(UTC).date()
    since = first or until - min(timedelta(days=_USUAL_DAYS - 1), until - date.min)
    if not 0 <= (until - since).days < _MOST_DAYS:
        raise UsageError(
            "the days are out of order or too many",
            expected=f"from before to, and at most {_MOST_DAYS} days",
            found=f"{since} to {until}",
        )
    days, total = await usage(request.app.state.pool, caller.workspace_id, first=since, last=until)
    return answer({"from": since, "to": until, "days": days, "total": total})
