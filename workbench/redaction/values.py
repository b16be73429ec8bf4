"""Redact JSON values and message bodies: texts wherever they stand, but not their form. Pure.

Of what JSON has not (``{"$type": …, "$value": …}``) bytes stay bytes; a date, a number or a member
of an enumeration that a rule matches is a text from then on, since it could not be restored.
"""

from __future__ import annotations

import base64
import binascii
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from workbench.hashing import is_sha256
from workbench.redaction.text import redact_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from workbench.redaction.text import Rule

    Path = tuple[Any, ...]
    Change = Callable[[str], str]
    # what becomes of the text at a place
    At = Callable[[str, Path], str]

_WITH_CLASS = frozenset(
    (
        "model",
        "dataclass",
        "namedtuple",
        "slots",
        "class",
        "object",
        "subclass",
        "exception",
    )
)
_ENCODED = frozenset(("bytes", "bytearray", "memoryview", "str"))


def redact(value: Any, rules: Sequence[Rule], key: bytes) -> Any:
    r"""Return a JSON value with every match of every rule replaced, keys of objects included.

    Examples
    --------
    >>> from workbench.redaction import Rule
    >>> redact({"to": "ann@example.org"}, [Rule(name="email", pattern=r"\S+@\S+")], b"k")
    {'to': '⟨email:41f24aa7⟩'}
    """
    if not rules:
        return value
    return changed(value, lambda text: redact_texts([text], rules, key)[0])


def redact_pieces(pieces: Sequence[Any], rules: Sequence[Rule], key: bytes) -> list[Any]:
    r"""Redact values that follow each other, with the texts at one place of them read as one.

    What a rule matches may come in several pieces of a stream, and whole in none of them.

    Examples
    --------
    >>> from workbench.redaction import Rule
    >>> redact_pieces(["ann@", "example.org"], [Rule(name="email", pattern=r"\S+@\S+")], b"k")
    ['⟨email:41f24aa7⟩', '']
    """
    return across(pieces, lambda texts: redact_texts(texts, rules, key))


def across(pieces: Sequence[Any], change: Callable[[list[str]], list[str]]) -> list[Any]:
    """Return values that follow each other with the texts at one place of them changed together."""
    said: defaultdict[Path, dict[int, str]] = defaultdict(dict)

    def hear(number: int) -> At:
        return lambda text, path: said[path].setdefault(number, text)

    for number, piece in enumerate(pieces):
        _walked(piece, hear(number), ())
    new = {
        path: dict(zip(texts, change([*texts.values()]), strict=True))
        for path, texts in said.items()
    }
    return [
        _walked(piece, lambda _, path, number=number: new[path][number], ())  # type: ignore[misc] # a default binds it
        for number, piece in enumerate(pieces)
    ]


def changed(value: Any, change: Change) -> Any:
    """Return a JSON value with each of its texts changed, and its form kept."""
    return _walked(value, lambda text, _: change(text), ())


def changed_body(body: dict[str, Any], change: Change) -> dict[str, Any]:
    """Return a message body with its texts changed; role, type and class are no texts."""
    return _body(body, lambda text, _: change(text), ())


def _walked(value: Any, at: At, path: Path) -> Any:
    kind = type(value)
    if kind is str:
        return at(value, path)
    if kind is list:
        return [_walked(item, at, (*path, place)) for place, item in enumerate(value)]
    if kind is not dict:
        return value
    if "$type" in value:
        return _tagged(value, at, path)
    return _members(value, at, path)


def _members(value: dict[str, Any], at: At, path: Path) -> dict[str, Any]:
    return {
        at(name, (*path, None, name)): _walked(item, at, (*path, name))
        for name, item in value.items()
    }


def _body(body: dict[str, Any], at: At, path: Path) -> dict[str, Any]:
    form = {name: item for name, item in body.items() if name not in ("role", "extra")}
    kept = {"role": body["role"]} if "role" in body else {}
    extra = body.get("extra")
    if isinstance(extra, dict):
        fixed = {name: extra[name] for name in ("type", "class") if name in extra}
        rest = {name: item for name, item in extra.items() if name not in fixed}
        return {**_members(form, at, path), **kept, "extra": {**_members(rest, at, path), **fixed}}
    return {**_members(form, at, path), **kept, **({"extra": extra} if "extra" in body else {})}


def _tagged(value: dict[str, Any], at: At, path: Path) -> Any:
    tag, inner = value["$type"], value.get("$value")
    if value.keys() != {"$type", "$value"} or type(tag) is not str or not tag.isidentifier():
        return _members(value, at, path)  # no form of ours
    if tag in _ENCODED:
        return {"$type": tag, "$value": _encoded(inner, at, path)}
    if type(inner) is str:
        text = at(inner, path)
        return value if text == inner else text
    if type(inner) is dict:
        return _object(tag, inner, at, path)
    return {"$type": tag, "$value": _walked(inner, at, path)}


def _object(tag: str, inner: dict[str, Any], at: At, path: Path) -> Any:
    if tag == "enum":
        member = _walked(inner.get("value"), at, path)
        # no member has a placeholder for its value
        return {"$type": tag, "$value": inner} if member == inner.get("value") else member
    if _only_names(tag, inner):
        return {"$type": tag, "$value": inner}
    if tag == "message" and type(inner.get("body")) is dict:
        return {"$type": tag, "$value": {**inner, "body": _body(inner["body"], at, path)}}
    if tag in _WITH_CLASS:
        rest = {name: item for name, item in inner.items() if name != "class"}
        return {
            "$type": tag,
            "$value": {**_members(rest, at, path), "class": inner.get("class")},
        }
    return {"$type": tag, "$value": _members(inner, at, path)}


def _only_names(tag: str, inner: dict[str, Any]) -> bool:
    """Say whether a form names a pooled message, or what an earlier step gave back."""
    digest = inner.get("digest")
    is_message = tag == "message" and "body" not in inner
    named = is_message and type(digest) is str and is_sha256(digest)
    return named or (tag == "earlier" and inner.keys() == {"step", "first"})


def _encoded(inner: Any, at: At, path: Path) -> Any:
    """Look into bytes that are a text; other bytes stay as they are."""
    try:
        text = base64.b64decode(inner, validate=True).decode("utf-8", "surrogatepass")
    except (TypeError, ValueError, binascii.Error):
        return inner
    new = at(text, path)
    if new == text:
        return inner
    return base64.b64encode(new.encode("utf-8", "surrogatepass")).decode()
