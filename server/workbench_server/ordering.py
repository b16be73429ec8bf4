"""Sorted pages of any listing: by one key, then by what decides among equals, nulls last. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from workbench.errors import UsageError
from workbench_server.cursors import TEXT, mark_of, read_cursor, write_cursor
from workbench_server.queries import queries

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """Something rows are sorted by: its type, how a row says it, and whether it may be null."""

    kind: type
    of: Callable[[Mapping[str, Any]], Any]
    nulls: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What can be listed: its pieces of SQL, its keys, the usual one, and what decides a tie."""

    name: str
    keys: Mapping[str, Key]
    usual: str
    tie: str
    tie_kind: type


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Which part of a listing: how many rows, in which order, behind which cursor."""

    limit: int = 200
    sort: str | None = None
    cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A listing, its filters, and which way it goes."""

    listing: Listing
    key: str
    direction: Literal["asc", "desc"]
    mark: str

    def pieces(self, page: Page, *, into: dict[str, Any]) -> list[bytes]:
        """Return the SQL that begins a page behind its cursor, sorts it and cuts it."""
        sql, key = queries("ordering"), self.listing.keys[self.key]
        ending = f"{self.direction}{'_nulls' if key.nulls else ''}"
        pieces = [sql[f"order_{ending}"]]
        into["limit"] = page.limit + 1  # one more tells whether there is a next page
        if page.cursor is not None:
            kinds = (key.kind, self.listing.tie_kind)
            after, tie = read_cursor(page.cursor, self.mark, kinds=kinds)
            into.update(after=after, after_tie=tie)
            among = after is None and key.nulls
            pieces.insert(0, sql[f"{'among' if among else 'after'}_{ending}"])
        own = queries(self.listing.name)
        key_sql, tie_sql = own[f"key_{self.key}"], own[f"key_{self.listing.tie}"]
        return [piece.replace(b"{key}", key_sql).replace(b"{tie}", tie_sql) for piece in pieces]

    def cut(
        self, rows: Sequence[dict[str, Any]], page: Page
    ) -> tuple[Sequence[dict[str, Any]], str | None]:
        """Return the page's rows, and the cursor of the next page where there is one."""
        shown = rows[: page.limit]
        if len(rows) <= page.limit:
            return shown, None
        last = shown[-1]
        place = [self.listing.keys[self.key].of(last), last[self.listing.tie]]
        return shown, write_cursor(self.mark, place)


def order_of(listing: Listing, page: Page, *, said: Mapping[str, Any]) -> Order:
    """Read ``key``, ``key:asc`` or ``key:desc``; a name goes up, all else down, if not said."""
    sort = page.sort or listing.usual
    key, _, direction = sort.partition(":")
    known = listing.keys.get(key)
    direction = direction or ("asc" if known and known.kind is TEXT else "desc")
    if known is None or direction not in {"asc", "desc"}:
        raise UsageError(
            "nothing can be sorted so",
            where="sort",
            expected=f"one of {', '.join(listing.keys)}, and :asc or :desc",
            found=sort[:80],
        )
    way: Literal["asc", "desc"] = "asc" if direction == "asc" else "desc"
    mark = mark_of(listing.name, {**said, "sort": [key, way]})
    return Order(listing=listing, key=key, direction=way, mark=mark)
