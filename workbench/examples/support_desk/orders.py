"""The order database: every run gets a copy of its own from the first tool that asks."""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import RLock
from typing import Any

SCHEMA = Path(__file__).with_name("orders.sql")
KEPT = 64

_copies: OrderedDict[str, OrderBook] = OrderedDict()
_lock = RLock()


class OrderBook:
    """One copy of the database, shared by the threads of one run."""

    def __init__(self, schema: str) -> None:
        self._db = sqlite3.connect(":memory:", check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self._db.executescript(schema)
        self._lock = RLock()

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Return the rows of a query, one dict each."""
        with self._lock, self._db:
            return [dict(row) for row in self._db.execute(query, values)]

    def close(self) -> None:
        """Forget the copy."""
        self._db.close()


def order_book(case: str) -> OrderBook:
    """Return the case's own copy, made now if no tool of the run has asked before."""
    with _lock:
        if case not in _copies:
            _copies[case] = OrderBook(SCHEMA.read_text())
            if len(_copies) > KEPT:
                _copies.popitem(last=False)[1].close()
        return _copies[case]


def catalogue() -> list[dict[str, Any]]:
    """Return every order with its customer and items, as the shop starts the day."""
    book = OrderBook(SCHEMA.read_text())
    try:
        orders = book.rows(
            "select o.*, c.name as customer_name from orders o, customers c where c.id = o.customer"
        )
        return [order | {"items": items_of(book, order["id"])} for order in orders]
    finally:
        book.close()


def items_of(book: OrderBook, order_id: str) -> list[dict[str, Any]]:
    """Return the lines of an order."""
    query = "select sku, name, quantity, unit_price, serial from items where order_id = ?"
    return book.rows(query, order_id)


def order_view(book: OrderBook, order: dict[str, Any]) -> dict[str, Any]:
    """Return an order the way the desk's tools show it, with dates instead of days."""
    items = items_of(book, order["id"])
    goods = sum(item["quantity"] * item["unit_price"] for item in items)
    return {
        "order_id": order["id"],
        "customer": order["customer"],
        "status": order["status"],
        "placed_on": _day(order["placed_days"]),
        "delivered_on": _day(order["delivered_days"]),
        "days_since_delivery": order["delivered_days"],
        "items": items,
        "voucher": order["voucher"],
        "shipping": order["shipping"],
        "total": round(goods - order["voucher"] + order["shipping"], 2),
        "address": order["address"],
    }


def _day(days_ago: int | None) -> str | None:
    if days_ago is None:
        return None
    return (datetime.now(UTC) - timedelta(days=days_ago)).date().isoformat()
