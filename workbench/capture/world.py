"""What a run begins in beside its input: the state of chance, where and when. Read, never changed.

It is one remark a run, ``world``, by which a replay draws the same from `random` and `numpy.random`
and knows the time. Drawing inside a call moves the generators on and is not known of.
"""

from __future__ import annotations

import hashlib
import locale
import os
import random
import struct
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from workbench import hashing
from workbench.capture import values

if TYPE_CHECKING:
    from workbench.capture.session import Session

LABEL = "world"
_WORDS = 625  # of Python's generator: 624 of its state and the position in it
_DIGEST = 32
_ZONES = "/zoneinfo/"


def write(session: Session) -> None:
    """Write what a run begins in; a replay begins in what its recording did, if that is known."""
    value = session.world if session.replaying else seen()
    if value is None:
        return
    session.journal.put("annotated", payload=hashing.dumps({"label": LABEL, "value": value}))


def seen() -> dict[str, Any]:
    """Return what is there now, as JSON.

    ``started_at`` is in seconds since 1970. ``random`` and ``numpy`` are states of generators;
    ``numpy`` only where it is loaded.
    ``hash_seed`` is what ``PYTHONHASHSEED`` was set to, None where nobody set it: the order of sets
    of texts is then another in every process.
    """
    found: dict[str, Any] = {
        "started_at": time.time(),
        "hash_seed": hash_seed(),
        "zone": zone(),
        "locale": _locale(),
    }
    # an agent may have put anything in their places, and none of that ends its recording
    with suppress(Exception):
        found["random"] = _python_s()
    with suppress(Exception):
        found |= _numpy_s()
    return found


def hash_seed() -> str | None:
    """Return the seed of this process's hashes of texts, where it is known."""
    if not sys.flags.hash_randomization:
        return "0"
    said = os.environ.get("PYTHONHASHSEED", "")
    return said if said.isdecimal() and not sys.flags.ignore_environment else None


def zone() -> str | None:
    """Return the name of the zone of local times, as ``TZ`` takes it; None where it has none."""
    if "TZ" in os.environ:
        return os.environ["TZ"]
    with suppress(OSError):
        _, inside, name = os.path.realpath("/etc/localtime").partition(_ZONES)
        return name if inside else None
    return None


def _locale() -> str | None:
    with suppress(Exception):
        return locale.setlocale(locale.LC_ALL)
    return None


# ---- generators


def _python_s() -> dict[str, Any]:
    version, words, gauss = random.getstate()
    return {"version": version, "gauss": gauss, **_packed(words)}


def _numpy_s() -> dict[str, Any]:
    module = sys.modules.get("numpy.random")
    if module is None:
        return {}
    name, words, position, has_gauss, gauss = module.get_state(legacy=True)
    packed = _packed([*map(int, words), int(position)])
    return {"numpy": {"name": name, "gauss": float(gauss) if has_gauss else None, **packed}}


def _packed(words: Any) -> dict[str, Any]:
    raw = struct.pack(f"<{_WORDS}I", *words)
    # rules of redaction leave bytes alone; what else is done to them is noticed
    return {"words": values.freeze(raw + hashlib.sha256(raw).digest())[0]}


def _words(found: dict[str, Any]) -> tuple[int, ...]:
    packed = values.thaw(found["words"])
    raw, digest = packed[:-_DIGEST], packed[-_DIGEST:]
    if hashlib.sha256(raw).digest() != digest:
        raise ValueError("a generator's state is not what was recorded")
    return struct.unpack(f"<{_WORDS}I", raw)


def python_state(world: dict[str, Any]) -> Any:
    """Return the recorded state for `random.setstate`; None where it is not known."""
    with suppress(KeyError, TypeError, ValueError, struct.error):
        found = world["random"]
        return found["version"], _words(found), found["gauss"]
    return None


def numpy_state(world: dict[str, Any]) -> Any:
    """Return the recorded state for `numpy.random.set_state`; None where it is not known."""
    with suppress(KeyError, TypeError, ValueError, struct.error):
        found = world["numpy"]
        *words, position = _words(found)
        gauss = found["gauss"]
        return found["name"], words, position, int(gauss is not None), gauss or 0.0
    return None


def started_at(world: dict[str, Any]) -> float | None:
    """Return when the run began, in seconds since 1970; None where it is not known."""
    said = world.get("started_at")
    return said if isinstance(said, float) else None


def set_zone(name: str) -> None:
    """Make a zone that of local times, from now on."""
    os.environ["TZ"] = name
    time.tzset()
