"""Rules of a simulation: what a call must say to be answered by one, and with what.

As JSON a rule is ``{"name": …, "match": {pointer: expected, …}, "outcome": …}``, or ``"error":
{"class": "module:Name", "message": …}`` in the place of the outcome; a file holds a list of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import UsageError
from workbench.replay import given, normal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_KEYS = ("name", "match", "outcome", "error")
_ROOTS = ("kind", "name", "lane", "ordinal", "request")


class _Nothing:
    def __repr__(self) -> str:
        return "nothing"


NOTHING: Any = _Nothing()
"""Stands where neither an outcome nor anything else is given: null is an outcome too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Answers the calls it matches with an outcome, or an exception.

    Parameters
    ----------
    name
        What provenance and errors call it.
    match
        JSON pointer → what stands there in ``{"kind", "name", "lane", "ordinal", "request"}``, all
        of them. The request is as stored, its messages written out; a place in a list may be
        counted from the end (``/request/messages/-1/content``). What is expected is a value, which
        has to be equal, or one of ``{"equals": value}``, ``{"one_of": [value, …]}``,
        ``{"regex": text}`` (found anywhere in a text) and ``{"present": true or false}``.
    outcome
        What the call gives back: a text, a JSON value, a message.
    error
        What it raises instead: an exception, or its ``class``, ``message`` and ``args``.

    Raises
    ------
    UsageError
        A part is missing or unsound; the rule and the pointer are named.

    Examples
    --------
    >>> rule = Rule(
    ...     name="late",
    ...     match={"/name": "track", "/request/arguments/id": {"regex": "^P-"}},
    ...     outcome="still on its way",
    ... )
    >>> parcel = {"name": "track", "request": {"arguments": {"id": "P-7"}}}
    >>> rule.matches(parcel), rule.matches({**parcel, "name": "cancel"})
    (True, False)
    """

    name: str
    match: Mapping[str, Any]
    outcome: Any = NOTHING
    error: Any = NOTHING
    _tests: tuple[tuple[list[str], Callable[[Any], bool]], ...] = field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise UsageError("a rule needs a name", found=repr(self.name)[:200])
        where = f"rule {self.name!r}"
        if not isinstance(self.match, Mapping) or not self.match:
            raise UsageError(
                "a rule needs a match",
                where=where,
                expected='{"/name": "…", "/request/arguments/…": …}',
                found=repr(self.match)[:200],
            )
        if (self.outcome is NOTHING) == (self.error is NOTHING):
            found = "neither" if self.outcome is NOTHING else "both"
            raise UsageError(
                "a rule needs an outcome or an error", where=where, expected="one", found=found
            )
        tests = tuple(
            (_parts(pointer, where), _test(expected, f"{where}, {pointer}"))
            for pointer, expected in self.match.items()
        )
        object.__setattr__(self, "_tests", tests)
        try:
            given.exception_of(self.given)
        except UsageError as error:
            raise UsageError(
                error.what, where=where, expected=error.expected, found=error.found
            ) from None

    @property
    def given(self) -> Any:
        """What it answers with, an exception as ``{"exception": …}``."""
        return self.outcome if self.error is NOTHING else {"exception": self.error}

    def matches(self, asked: Mapping[str, Any]) -> bool:
        """Say whether a call is answered by this rule."""
        return all(test(_at(asked, parts)) for parts, test in self._tests)

    def as_dict(self) -> dict[str, Any]:
        """Return the rule as JSON; `from_dict` reads it."""
        answer = {"outcome": self.outcome} if self.error is NOTHING else {"error": self.error}
        return {"name": self.name, "match": dict(self.match), **given.sent(answer)}

    @classmethod
    def from_dict(cls, form: Any) -> Rule:
        """Read a rule of its JSON form.

        Raises
        ------
        UsageError
            It is no such form.
        """
        if not isinstance(form, Mapping):
            raise UsageError("a rule is a JSON object", found=repr(form)[:200])
        where = f"rule {form.get('name')!r}"
        for key in form:
            if key not in _KEYS:
                raise UsageError(
                    "a rule has no such key", where=where, expected=list(_KEYS), found=key
                )
        answers = {k: given.received(form[k]) for k in ("outcome", "error") if k in form}
        return cls(name=form.get("name", ""), match=form.get("match", {}), **answers)


def rules_of(forms: Iterable[Rule | Mapping[str, Any]]) -> tuple[Rule, ...]:
    """Return rules, those given as JSON read.

    Raises
    ------
    UsageError
        One is unsound, or two have one name.
    """
    if isinstance(forms, (str, bytes, Mapping)):
        raise UsageError("rules are a list", found=repr(forms)[:200])
    rules = tuple(one if isinstance(one, Rule) else Rule.from_dict(one) for one in forms)
    names: set[str] = set()
    for rule in rules:
        if rule.name in names:
            raise UsageError("two rules have one name", where=f"rule {rule.name!r}")
        names.add(rule.name)
    return rules


def read(path: str | Path) -> tuple[Rule, ...]:
    """Read the rules in a JSON file.

    Raises
    ------
    UsageError
        The file cannot be read, or a rule of it is unsound; the rule and pointer are named.
    """
    where = str(path)
    try:
        forms = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError("the rules cannot be read", where=where, found=str(error)) from error
    if not isinstance(forms, list):
        raise UsageError("a file of rules holds a list", where=where, found=type(forms).__name__)
    try:
        return rules_of(forms)
    except UsageError as error:
        place = where if error.where is None else f"{where}, {error.where}"
        raise UsageError(
            error.what, where=place, expected=error.expected, found=error.found, hint=error.hint
        ) from None


# ---- pointers and what is expected at them


def _parts(pointer: Any, where: str) -> list[str]:
    found = pointer.split("/") if isinstance(pointer, str) else []
    parts = [part.replace("~1", "/").replace("~0", "~") for part in found]
    if len(parts) < 2 or parts[0] or parts[1] not in _ROOTS:  # noqa: PLR2004 - "" and a first part
        expected = ", ".join(f"/{root}" for root in _ROOTS)
        raise UsageError(
            "this points nowhere in a call",
            where=f"{where}, {pointer}",
            expected=f"a JSON pointer that begins with one of {expected}",
            hint="a tool's argument is at /request/arguments/NAME",
        )
    return parts[1:]


def _at(value: Any, parts: list[str]) -> Any:
    for part in parts:
        if isinstance(value, Mapping):
            value = value.get(part, NOTHING)
        elif isinstance(value, list) and re.fullmatch(r"-?\d+", part):
            index = int(part)
            value = value[index] if -len(value) <= index < len(value) else NOTHING
        else:
            return NOTHING
    return value


def _test(expected: Any, where: str) -> Callable[[Any], bool]:
    word = next(iter(expected)) if isinstance(expected, Mapping) and len(expected) == 1 else None
    if word not in _TESTS:
        return lambda found: normal.equal(found, expected)
    return _TESTS[word](expected[word], where)


def _regex(text: Any, where: str) -> Callable[[Any], bool]:
    try:
        pattern = re.compile(text)
    except (re.error, TypeError) as error:
        raise UsageError(
            "this is no regular expression", where=where, found=f"{text!r}: {error}"
        ) from None
    return lambda found: isinstance(found, str) and pattern.search(found) is not None


def _one_of(several: Any, where: str) -> Callable[[Any], bool]:
    if not isinstance(several, list):
        raise UsageError("one_of takes a list", where=where, found=repr(several)[:200])
    return lambda found: any(normal.equal(found, one) for one in several)


def _present(wanted: Any, where: str) -> Callable[[Any], bool]:
    if not isinstance(wanted, bool):
        raise UsageError("present takes true or false", where=where, found=repr(wanted)[:200])
    return lambda found: (found is not NOTHING) is wanted


_TESTS: dict[Any, Callable[[Any, str], Callable[[Any], bool]]] = {
    "equals": lambda value, _: lambda found: normal.equal(found, value),
    "one_of": _one_of,
    "regex": _regex,
    "present": _present,
}
