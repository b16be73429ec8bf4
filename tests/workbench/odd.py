"""Values that agents pass around and JSON has not: those that come back, and those that cannot."""

import asyncio
import collections
import contextlib
import dataclasses
import decimal
import enum
import fractions
import io
import pathlib
import threading
import time
import uuid
import weakref
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pydantic
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.types import Command, Send


class Colour(enum.Enum):
    RED = ("r", 1)


class Flags(enum.Flag):
    A = 1
    B = 2


class Level(enum.IntEnum):
    LOW = 1


class Word(enum.StrEnum):
    YES = "yes"


Point = collections.namedtuple("Point", "x y")  # noqa: PYI024 - as agents' code has them


@dataclasses.dataclass
class Basket:
    items: list
    note: str = ""
    inner: object = None


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    x: int
    y: tuple = ()


class Order(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow", populate_by_name=True)

    number: int = pydantic.Field(alias="orderNumber")
    at: datetime | None = None
    _seen: int = pydantic.PrivateAttr(default=0)


class Plain(pydantic.BaseModel):
    a: int = 1
    b: list[int] = []


class UserId(str):
    __slots__ = ()


class Money(int):
    def __repr__(self):
        return "money"

    def __str__(self):
        return "a lot"


class Rows(list):
    pass


class Settings(dict):
    def items(self):
        raise RuntimeError("ask somebody else")


def an_order():
    made = Order(orderNumber=3, at=datetime(2026, 1, 1, tzinfo=UTC), colour={"a": (1, 2)})
    made._seen = 7
    return made


def rows():
    made = Rows([1, (2, 3)])
    made.source = "page 4"
    return made


def counted():
    made = collections.defaultdict(list)
    made["a"].append(1)
    return made


ZONE = ZoneInfo("Europe/Berlin")

# name → what makes the value: each comes back equal and of the same type
KEPT = {
    "tuple": lambda: (1, (2, ()), [3]),
    "set": lambda: {1, "a", (2, 3), frozenset({4})},
    "bytes": lambda: b"\x00\xff",
    "bytearray": lambda: bytearray(b"\x00\xff"),
    "memoryview": lambda: memoryview(b"abc"),
    "huge int": lambda: -(10**30),
    "int of 10,000 digits": lambda: 10**10_000 + 7,
    "infinities": lambda: [float("inf"), float("-inf"), -0.0, 1e308, 5e-324, 2**64],
    "decimal": lambda: [decimal.Decimal("1.10"), decimal.Decimal("-Infinity")],
    "fraction": lambda: fractions.Fraction(1, 3),
    "complex": lambda: complex(float("inf"), -0.0),
    "range": lambda: range(10, 0, -3),
    "dates": lambda: [date(2026, 1, 2), datetime(2026, 1, 2, 3, 4, 5, 6), timedelta(days=-1)],  # noqa: DTZ001
    "zones": lambda: [
        datetime(2026, 10, 25, 2, 30, tzinfo=ZONE, fold=1),
        datetime(2026, 10, 25, 2, 30, tzinfo=ZONE),
        datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=5, minutes=45))),
    ],
    "uuid": lambda: uuid.UUID(int=7),
    "path": lambda: pathlib.Path("/tmp/x"),
    "path of no text": lambda: pathlib.Path("/tmp/\udcff"),
    "pure paths": lambda: [pathlib.PurePosixPath("a/b"), pathlib.PureWindowsPath("c:\\a")],
    "enums": lambda: [Colour.RED, Flags.A | Flags.B, Level.LOW, Word.YES],
    "namedtuple": lambda: Point(1, {"y": 2}),
    "dataclass": lambda: Basket([1, Basket([])], inner=Slotted(1, (2,))),
    "model": lambda: [an_order(), Plain(b=[1]), Plain(a=2)],
    "str subclass": lambda: UserId("u1"),
    "int subclass": lambda: Money(3),
    "list subclass": rows,
    "dict subclass": lambda: Settings(a=1, b={"c": 2}),
    "ordered": lambda: collections.OrderedDict([("b", 1), ("a", 2)]),
    "counter": lambda: collections.Counter("aab"),
    "defaultdict": counted,
    "deque": lambda: collections.deque([1, (2,)], maxlen=5),
    "array": lambda: np.arange(6, dtype="<i2").reshape(2, 3),
    "arrays": lambda: [np.array([]), np.array(["2026-01-01"], "M8[D]"), np.float32([np.nan, -0.0])],
    "scalars": lambda: [np.float64(0.1), np.int8(-1), np.bool_(True), np.str_("é"), np.datetime64(1, "s")],
    "arrays of texts": lambda: [np.array([["a", "é"]]), np.array([b"x", b""])],
    "no frame at all": lambda: [pl.DataFrame(), pl.DataFrame({"a": []}), pl.Series("s", [], pl.Date)],
    "frame": lambda: pl.DataFrame({"a": [1, None], "b": [["x"], []], "c": [date(2026, 1, 1)] * 2}),
    "series": lambda: pl.Series("s", [1.5, None]),
    "odd keys": lambda: {1: "a", "1": "b", (2, "x"): None, None: 1, b"k": 2, "\ud800": 3},
    "our tag as key": lambda: {"$type": "set", "$value": [1], "in": {"$type": 1}},
    "broken unicode": lambda: ["\ud800", {"k\udfff": "v\ud800"}, "\x00", "👩‍🚀"],
    "types": lambda: [int, Order, collections.OrderedDict],
    "functions": lambda: [len, pathlib.Path.exists, rows],
    "messages": lambda: [
        HumanMessage("hi", id="1"),
        AIMessage("", tool_calls=[{"id": "c", "name": "t", "args": {"a": (1,)}}]),
        ToolMessage("x", tool_call_id="c", artifact=b"\x00"),
    ],
    "documents": lambda: [Document("p", metadata={"a": {1}}, id="d")],
    "graph's own": lambda: Command(update={"a": 1}, goto=[Send("n", {"i": (1,)})]),
    "order of keys": lambda: {"zeta": 1, "alpha": {"y": 1, "b": 2}},
}  # fmt: skip


# ---- what cannot come back


class Rude:
    """Raises whatever it is asked."""

    def __repr__(self):
        raise RuntimeError("no")

    __str__ = __hash__ = __eq__ = __bool__ = __len__ = __iter__ = __repr__

    def __getattr__(self, name):
        raise RuntimeError(name)

    @property
    def __class__(self):
        raise RuntimeError("class")

    @property
    def __dict__(self):
        raise RuntimeError("dict")


class Leaving:
    def __repr__(self):
        raise SystemExit(3)


class Slow:
    def __repr__(self):
        time.sleep(0.05)
        return "slow"


class BadText:
    def __repr__(self):
        return "\ud800" + "x" * 10_000


class RudeMeta(type):
    def __getattribute__(cls, name):
        raise RuntimeError(name)


class OfRudeClass(metaclass=RudeMeta):
    pass


class RudeDict(dict):
    def __getattribute__(self, name):
        raise RuntimeError(name)


def endless():
    made = [1]
    made.append({"again": made})
    return made


def endless_basket():
    made = Basket([])
    made.inner = [made, made]
    made.items.append(made)
    return made


def deep(levels=100_000, kind=list):
    made = None
    for _ in range(levels):
        made = [made] if kind is list else {"a": made}
    return made


def cyclic_error():
    made = ValueError("x")
    made.self = made.other = made
    return [made, made.self]


async def _never():
    await asyncio.sleep(0)


def coroutine():
    made = _never()
    weakref.finalize(made, lambda: None)
    made.close()  # what was never awaited warns
    return made


def local_class():
    @dataclasses.dataclass
    class Local:
        x: int = 1

    return Local()


def open_file():
    with contextlib.closing(io.StringIO("abc")) as file:
        return file


def generator():
    yield from range(3)


def released():
    view = memoryview(b"abc")
    view.release()
    return view


LOST = {
    "object": object,
    "rude": Rude,
    "leaving": Leaving,
    "slow": Slow,
    "bad text": BadText,
    "of a rude class": OfRudeClass,
    "rude dict": lambda: RudeDict(a=1),
    "lock": threading.Lock,
    "file": open_file,
    "generator": generator,
    "coroutine": coroutine,
    "weakref": lambda: weakref.ref(Basket),
    "endless": endless,
    "endless dataclass": endless_basket,
    "deep list": deep,
    "deep dict": lambda: deep(kind=dict),
    "lambda": lambda: lambda: 1,
    "local class": local_class,
    "array of objects": lambda: np.array([object()]),
    "masked array": lambda: np.ma.masked_array([1, 2], mask=[True, False]),
    "frame of objects": lambda: pl.DataFrame({"a": pl.Series([object()], dtype=pl.Object)}),
    "frame of nanoseconds": lambda: pl.DataFrame(
        {"a": pl.Series([1], dtype=pl.Int64).cast(pl.Datetime("ns"))}
    ),
    "array of records": lambda: np.array([(1, "a")], dtype="i4,U3"),
    "lazy frame": lambda: pl.DataFrame({"a": [1]}).lazy(),
    "released memory": released,
    "many dimensions": lambda: memoryview(np.zeros((2, 2))),
    "model with a lock": lambda: Plain.model_construct(a=threading.Lock()),
    "keys of objects": lambda: {object(): 1, Rude: 2},
}


def same(one, other):  # noqa: PLR0911 - one line for each family
    """Say whether two values are equal and of the same types, all the way down."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(
            one, other, equal_nan=one.dtype.kind == "f"
        )
    if isinstance(one, (pl.DataFrame, pl.Series)):
        return one.equals(other)
    if isinstance(one, (list, tuple, collections.deque)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return [*dict.items(one)] == [*dict.items(other)] or dict.__eq__(one, other)
    if isinstance(one, float) and one == 0:
        return str(one) == str(other)
    return one == other
