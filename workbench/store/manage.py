"""What a server knows of runs besides their rows: sessions, manifests, artifacts, their end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from workbench import frames
from workbench.store import rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import polars as pl

    from workbench.store.wire import Wire

_PAGE = 1000


def pages(
    wire: Wire, listing: str, query: Mapping[str, Any], limit: int | None, *, size: int = _PAGE
) -> Iterator[dict[str, Any]]:
    """Yield the rows of ``/v1/<listing>`` page by page, at most ``limit`` of them."""
    left, cursor = limit, None
    while left is None or left > 0:
        most = size if left is None else min(size, left)
        page = wire.get_json(f"/v1/{listing}", limit=most, cursor=cursor, **query)
        found = page[listing]
        yield from found
        cursor = page.get("next_cursor")
        left = None if left is None else left - len(found)
        if not cursor:
            return


def sessions(
    wire: Wire, *, session: str | None, sort: str | None, limit: int | None
) -> pl.DataFrame:
    """Return sessions as a frame."""
    found = pages(wire, "sessions", {"session": session, "sort": sort}, limit)
    return rows.fitted(found, frames.SESSIONS)


def artifacts(wire: Wire, query: Mapping[str, Any], *, limit: int | None) -> pl.DataFrame:
    """Return artifacts as a frame."""
    return rows.fitted(pages(wire, "artifacts", query, limit), frames.ARTIFACTS)


def manifest(wire: Wire, run_id: str) -> dict[str, Any]:
    """Return a run's manifest."""
    return wire.get_json(f"/v1/runs/{quote(run_id)}/manifest")


def end(wire: Wire, run_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """End a run and return its row."""
    return rows.as_row(wire.send_json("POST", f"/v1/runs/{quote(run_id)}/end", body))


def cancel(wire: Wire, run_id: str, *, reason: str | None) -> dict[str, Any]:
    """Cancel a run and return its row."""
    body = {} if reason is None else {"reason": reason}
    return rows.as_row(wire.send_json("POST", f"/v1/runs/{quote(run_id)}/cancel", body))


def heartbeat(wire: Wire, run_id: str) -> dict[str, Any]:
    """Say that a writer of the run is alive, and return how the run stands."""
    return wire.send_json("POST", f"/v1/runs/{quote(run_id)}/heartbeat", {})
