"""Exceptions as they are stored, and raised again as their own class where it can be imported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.capture import names, values
from workbench.hashing import as_text, type_name

if TYPE_CHECKING:
    from collections.abc import Iterator

# what Python's own exceptions keep beside their arguments
_MEMBERS: tuple[tuple[type[BaseException], tuple[str, ...]], ...] = (
    (OSError, ("filename", "filename2")),
    (ImportError, ("name", "path")),
    (NameError, ("name",)),
    (AttributeError, ("name",)),
)


class RecordedError(Exception):
    """A recorded exception whose own class could not be imported."""


def to_record(error: BaseException, freeze: values.Freezer) -> dict[str, Any]:
    """Return ``{class, message, args}`` of an exception, and what else it carries.

    ``fields`` are what was set on it, ``cause`` what it was raised from, ``cut`` the names of what
    cannot be restored of these: an agent that reads one of them fails in a replay, and is seen to.
    Its context is left out, since Python sets it again where it is raised again.
    """
    form = freeze(error)
    if form["$type"] == "exception":
        record: dict[str, Any] = form["$value"]
        return record
    return {"class": type_name(type(error)), "message": _text(error), "args": []}


def record_of(error: BaseException, freeze: values.Freezer) -> dict[str, Any]:
    """Return an exception's record as a part of the value that is being frozen."""
    # a subclass may have its own of that name
    arguments = vars(BaseException)["args"].__get__(error)
    record: dict[str, Any] = {
        "class": type_name(type(error)),
        "message": _text(error),
        "args": [freeze(item) for item in arguments],
    }
    fields, cut = {}, []
    for name, value in _carried(error):
        form, lost = _apart(value, freeze)
        if lost or as_text(name) != name:
            cut.append(as_text(name))
        else:
            fields[name] = form
    if error.__cause__ is not None:
        form, _ = _apart(error.__cause__, freeze)
        if form["$type"] == "exception":
            record["cause"] = form["$value"]
        else:
            cut.append("__cause__")
    return record | ({"fields": fields} if fields else {}) | ({"cut": sorted(cut)} if cut else {})


def _carried(error: BaseException) -> Iterator[tuple[str, Any]]:
    for kind, members in _MEMBERS:
        if isinstance(error, kind):
            yield from ((name, value) for name in members if (value := getattr(error, name)))
    yield from dict(vars(error)).items()


def _apart(value: Any, freeze: values.Freezer) -> tuple[Any, bool]:
    """Freeze what may lose something without the exception being the less for it."""
    former, freeze.lossy = freeze.lossy, False
    try:
        return freeze(value), freeze.lossy
    finally:
        freeze.lossy = former


def from_record(record: dict[str, Any]) -> BaseException:
    """Return an exception of the recorded class, with the recorded arguments, fields and text."""
    kind = names.found(str(record["class"]))
    if isinstance(kind, type) and issubclass(kind, BaseException):
        built = _built(kind, record)
    else:
        built = _filled(RecordedError(f"{record['class']}: {record['message']}"), record)
    if "cause" in record:
        built.__cause__ = from_record(record["cause"])
    return built


def _built(kind: type[BaseException], record: dict[str, Any]) -> BaseException:
    arguments = [values.thaw(item) for item in record.get("args") or []]
    try:
        built = _filled(kind(*arguments), record)
        if _text(built) == record["message"]:
            return built
    except Exception:  # noqa: BLE001, S110 - a stranger's constructor; built without it below
        pass
    # a class may want other arguments than it keeps: what it descends from of Python's own makes it
    base: Any = next(one for one in kind.__mro__ if one.__module__ == "builtins")
    built = base.__new__(kind)
    built.args = tuple(arguments) or (record["message"],)
    return _filled(built, record)


def _filled(built: BaseException, record: dict[str, Any]) -> BaseException:
    members = {name for kind, found in _MEMBERS if isinstance(built, kind) for name in found}
    for name, form in (record.get("fields") or {}).items():
        if name in members:
            setattr(built, name, values.thaw(form))
        else:
            vars(built)[name] = values.thaw(form)
    return built


def _text(error: BaseException) -> str:
    try:
        return as_text(str.__str__(str(error)))
    except KeyboardInterrupt:
        raise
    except BaseException as unprintable:  # noqa: BLE001 - a stranger's __str__ must not stop a recording
        return f"<str raised {type(unprintable).__name__}>"
