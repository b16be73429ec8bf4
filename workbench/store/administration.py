"""A workspace's keys, limits and usage, as a server's store shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl

from workbench.redaction import Rule

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from workbench.store.wire import Wire

_USAGE = {
    "day": pl.Date,
    "runs": pl.Int64,
    "events": pl.Int64,
    "bytes": pl.Int64,
    "input_tokens": pl.Int64,
    "output_tokens": pl.Int64,
    "cost_known_usd": pl.Float64,
    "unknown_cost_runs": pl.Int64,
    "artifacts": pl.Int64,
    "artifact_bytes": pl.Int64,
}


class Administration:
    """What an admin's key may do beside reading and writing; usage is for every key."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def keys(self) -> list[dict[str, Any]]:
        """Return what may be shown of the workspace's keys, the oldest first."""
        return list(self._wire.get_json("/v1/keys")["keys"])

    def create_key(
        self, role: str, *, name: str | None = None, expires_at: datetime | None = None
    ) -> dict[str, Any]:
        """Make a key; ``secret`` of the answer is shown by nothing else ever again."""
        wanted = {"role": role, "name": name, "expires_at": expires_at}
        return self._wire.send_json("POST", "/v1/keys", wanted)

    def rotate_key(self, key_id: str, *, overlap_s: int) -> dict[str, Any]:
        """Make a key in place of another, which ends after the overlap.

        Raises
        ------
        Conflict
            The key was rotated before, has expired or was revoked.
        """
        return self._wire.send_json("POST", _path(key_id, "/rotate"), {"overlap_s": overlap_s})

    def revoke_key(self, key_id: str) -> dict[str, Any]:
        """End a key now.

        Raises
        ------
        Conflict
            It is the last admin key.
        """
        return dict(self._wire.send_json("DELETE", _path(key_id), {})["key"])

    def limits(self) -> dict[str, Any]:
        """Return the limits in force, those that were set, their defaults and ranges."""
        return self._wire.get_json("/v1/limits")

    def change_limits(self, change: dict[str, int | None]) -> dict[str, Any]:
        """Set limits; None is the default again."""
        return self._wire.send_json("PATCH", "/v1/limits", change)

    def redaction(self) -> list[Rule]:
        """Return the rules by which the workspace's senders redact."""
        return msgspec.convert(self._wire.get_json("/v1/redaction")["rules"], list[Rule])

    def change_redaction(self, rules: Sequence[Rule]) -> list[Rule]:
        """Put rules in the place of those there are; what is stored already stays as it is.

        Raises
        ------
        UsageError
            A rule cannot be applied.
        """
        said = self._wire.send_json("PUT", "/v1/redaction", {"rules": list(rules)})
        return msgspec.convert(said["rules"], list[Rule])

    def usage(self, *, first: date | None = None, last: date | None = None) -> dict[str, Any]:
        """Return days and total as the server says them; both ends are included."""
        days = {"from": first and first.isoformat(), "to": last and last.isoformat()}
        return self._wire.get_json("/v1/usage", **days)

    def usage_by_day(self, *, first: date | None = None, last: date | None = None) -> pl.DataFrame:
        """Return one row for each day of UTC on which anything came."""
        days = self.usage(first=first, last=last)["days"]
        text = {**_USAGE, "day": pl.String}
        return pl.DataFrame(days, schema=text).with_columns(pl.col("day").str.to_date())


def _path(key_id: str, more: str = "") -> str:
    from urllib.parse import quote

    return f"/v1/keys/{quote(key_id, safe='')}{more}"
