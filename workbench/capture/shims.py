"""What an agent takes from the world without asking anybody: time, chance, its environment.

Each reading is a call, so that a replay gives the same again. Outside a recording these are just
what they stand for.
"""

from __future__ import annotations

import datetime as dt
import functools
import os
import random as chance
import re
import time as times
import uuid as uuids
from typing import TYPE_CHECKING, Any, TypeVar

from workbench.capture import boundary, functions
from workbench.capture import scope as scopes
from workbench.redaction.text import placeholder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, MutableSequence, Sequence
    from fractions import Fraction

    from _typeshed import SupportsLenAndGetItem

T = TypeVar("T")

_clock = functions.call(kind="clock", effect="read")
_drawn = functions.call(kind="random", effect="read")


# ---- clock


class Clock:
    """The clocks of this machine: ``wb.clock``. In a replay they say what they said then.

    Examples
    --------
    >>> wb.clock.now().year >= 2026, wb.clock.time() > 1.7e9
    (True, True)
    """

    def __repr__(self) -> str:
        return "<clock>"

    def now(self, tz: dt.tzinfo | None = None) -> dt.datetime:
        """Return the date and time, as `datetime.datetime.now`."""
        if tz is None:
            return self._now_here()
        return self._now_utc().astimezone(tz)

    def today(self) -> dt.date:
        """Return the date here."""
        return self._now_here().date()

    @staticmethod
    @functions.call(kind="clock", name="now", effect="read")
    def _now_here() -> dt.datetime:
        return dt.datetime.now()  # noqa: DTZ005 - asked for without a zone

    @staticmethod
    @functions.call(kind="clock", name="now_utc", effect="read")
    def _now_utc() -> dt.datetime:
        return dt.datetime.now(dt.UTC)

    @staticmethod
    @_clock
    def time() -> float:
        """Return the seconds since 1970, as `time.time`."""
        return times.time()

    @staticmethod
    @_clock
    def time_ns() -> int:
        """Return the nanoseconds since 1970."""
        return times.time_ns()

    @staticmethod
    @_clock
    def monotonic() -> float:
        """Return the seconds of a clock that never goes back."""
        return times.monotonic()

    @staticmethod
    @_clock
    def monotonic_ns() -> int:
        """Return the nanoseconds of a clock that never goes back."""
        return times.monotonic_ns()

    @staticmethod
    @_clock
    def perf_counter() -> float:
        """Return the seconds of the finest clock."""
        return times.perf_counter()

    @staticmethod
    @_clock
    def perf_counter_ns() -> int:
        """Return the nanoseconds of the finest clock."""
        return times.perf_counter_ns()


clock = Clock()


# ---- chance


def _positions(name: str) -> Callable[..., Any]:
    """Return a drawing of positions: what lies there is the agent's own, and stays so."""
    draw = functions.call(kind="random", name=name, effect="read")

    @draw
    def drawn(n: int, **how: Any) -> Any:
        return getattr(chance, name)(range(n), **how)

    return drawn


_choice, _choices, _sample = (_positions(name) for name in ("choice", "choices", "sample"))


@functions.call(kind="random", name="shuffle", effect="read")
def _shuffled(n: int) -> list[int]:
    order = list(range(n))
    chance.shuffle(order)
    return order


class Random(chance.Random):
    """Python's own `random`, as an object: ``wb.random``. In a replay it draws what it drew then.

    It draws from the module's generator, so that ``random.seed`` holds here too. Of a choice the
    position is recorded: what is chosen are always the agent's own objects.

    Examples
    --------
    >>> random.seed(7)
    >>> first = wb.random.random(), wb.random.choice("abc"), wb.random.sample(range(9), 2)
    >>> random.seed(7)
    >>> first == (random.random(), random.choice("abc"), random.sample(range(9), 2))
    True
    """

    def __init__(self) -> None:
        # what it draws from is the module's; it has no state of its own
        pass

    def __repr__(self) -> str:
        return "<random>"

    def __reduce__(self) -> Any:
        return "random"

    def seed(self, *args: Any, **kwargs: Any) -> None:
        """Seed the module's generator."""
        chance.seed(*args, **kwargs)

    def getstate(self) -> Any:
        """Return the state of the module's generator."""
        return chance.getstate()

    def setstate(self, state: Any) -> None:
        """Put the module's generator in a state."""
        chance.setstate(state)

    def choice(self, seq: SupportsLenAndGetItem[T]) -> T:
        """Choose one."""
        if not len(seq):
            return chance.choice(seq)  # which says what is wrong
        position: int = _choice(len(seq))
        return seq[position]

    def choices(
        self,
        population: SupportsLenAndGetItem[T],
        weights: Sequence[float | Fraction] | None = None,
        *,
        cum_weights: Sequence[float | Fraction] | None = None,
        k: int = 1,
    ) -> list[T]:
        """Choose ``k``, any of them more than once."""
        how = {"weights": _listed(weights), "cum_weights": _listed(cum_weights), "k": k}
        return [population[i] for i in _choices(len(population), **how)]

    def sample(
        self, population: Sequence[T], k: int, *, counts: Iterable[int] | None = None
    ) -> list[T]:
        """Choose ``k``, none of them twice."""
        return [population[i] for i in _sample(len(population), k=k, counts=_listed(counts))]

    def shuffle(self, x: MutableSequence[Any]) -> None:
        """Shuffle in place."""
        items = list(x)
        for position, taken in enumerate(_shuffled(len(items))):
            x[position] = items[taken]


def _listed(numbers: Iterable[Any] | None) -> list[Any] | None:
    return None if numbers is None else list(numbers)


_NUMBERS = (
    "random",
    "uniform",
    "triangular",
    "randint",
    "randrange",
    "getrandbits",
    "randbytes",
    "gauss",
    "normalvariate",
    "lognormvariate",
    "expovariate",
    "vonmisesvariate",
    "gammavariate",
    "betavariate",
    "paretovariate",
    "weibullvariate",
    "binomialvariate",  # since Python 3.12
)


def _drawing(name: str) -> Callable[..., Any]:
    """Return a method that draws from the module's function of that name."""

    @_drawn
    @functools.wraps(getattr(chance, name))
    def drawn(*args: Any, **kwargs: Any) -> Any:
        return getattr(chance, name)(*args, **kwargs)

    return lambda _, *args, **kwargs: drawn(*args, **kwargs)


for _name in _NUMBERS:
    if hasattr(chance, _name):
        setattr(Random, _name, functools.wraps(getattr(chance, _name))(_drawing(_name)))

random = Random()


@_drawn
def uuid4() -> uuids.UUID:
    """Return a random UUID, as `uuid.uuid4`; in a replay the same.

    Examples
    --------
    >>> wb.uuid4().version
    4
    """
    return uuids.uuid4()


# ---- environment

_SECRET_NAMES = re.compile(
    r"(?:^|[_\W])(?:auth|cookie|credentials?|dsn|jwt|pass|passphrase|pwd)(?:$|[_\W])"
    r"|(?:key|token|secret|password|passwd)s?(?:$|[_\W])",
    re.IGNORECASE,
)
_NO_SECRETS = frozenset({"PWD", "OLDPWD"})  # where a shell is
_SECRET_VALUES = re.compile(r"://[^/\s@]*:[^/\s@]+@")  # an address with its password
_PLACEHOLDER = re.compile(r"⟨env:[0-9a-f]{8}⟩")
# equal secrets of one process have equal placeholders, which tell nothing to anybody else
_KEY = os.urandom(32)


def env(name: str, default: T | None = None, *, secret: bool | None = None) -> str | T | None:
    """Return a variable of the environment, as `os.environ.get`; in a replay the same.

    Parameters
    ----------
    name
        What it is called.
    default
        What to return where it is not set.
    secret
        Whether its value must not be recorded; by default keys, tokens, passwords and their like
        are secret, by their names, and addresses that hold a password. Of a secret a placeholder is
        recorded, of quality ``redacted``; a replay takes this process's own value, or the
        placeholder where there is none, and says so in the notices of its certificate.

    Examples
    --------
    >>> wb.env("WORKBENCH_NO_SUCH_VARIABLE", "none")
    'none'
    """
    hidden = _is_secret(name, os.environ.get(name)) if secret is None else secret
    value: str | None = (_hidden if hidden else _read)(name)
    if value is None:
        return default
    return _own(name, value) if _PLACEHOLDER.fullmatch(value) else value


def _is_secret(name: str, value: str | None) -> bool:
    if value is not None and _SECRET_VALUES.search(value):
        return True
    return name not in _NO_SECRETS and _SECRET_NAMES.search(name) is not None


@functions.call(kind="env", name="env", effect="read")
def _read(name: str) -> str | None:
    return os.environ.get(name)


def _shown(name: str) -> str | None:
    value = os.environ.get(name)
    return None if value is None else placeholder("env", value, _KEY)


_hidden = boundary.calling(
    functions.describing(_shown, kind="env", name="env", effect="read", redacted=True),
    named="env",
)(_shown)


def _own(name: str, shown: str) -> str:
    """Return the value of a secret: nobody kept another than this process's own."""
    own, here = os.environ.get(name), scopes.current()
    if here is not None and not here.in_call:
        here.session.own_value(name, found=own is not None)
    return shown if own is None else own
