"""Values as canonical JSON and back: messages, documents, models, dataclasses, enums, arrays.

What cannot be restored is kept by type and repr, and its call is `lossy`.
"""

from __future__ import annotations

import dataclasses
import enum
import types
from collections import OrderedDict, defaultdict, deque
from typing import TYPE_CHECKING, Any

import pydantic
from langchain_core.documents import Document
from langchain_core.messages import BaseMessage
from langgraph.types import Send

from workbench import hashing
from workbench.capture import arrays, messages, names
from workbench.hashing import type_name

if TYPE_CHECKING:
    from collections.abc import Callable


def freeze(value: Any) -> tuple[Any, bool]:
    """Return a value as canonical JSON, and whether something of it was lost."""
    freezer = Freezer()
    return freezer(value), freezer.lossy


def thaw(value: Any) -> Any:
    """Return what `freeze` was given, as equal objects."""
    return hashing.thaw(value, decode=_decode)


class Freezer(hashing.Freezer):
    """Freezes what agents pass around."""

    deepest = hashing.DEEPEST

    def encode(self, value: Any, kind: type) -> Any:
        """Return the form of an object, by the first family its type belongs to."""
        for family, write in _FAMILIES:
            if issubclass(kind, family):
                form = write(self, value, kind)
                if form is not NotImplemented:
                    return form
        if dataclasses.is_dataclass(kind):
            return self._dataclass(value, kind)
        return arrays.frozen(value, kind, self)

    def document(self, value: Document) -> dict[str, Any]:
        """Return a document's stored form."""
        form = {"page_content": self(value.page_content), "metadata": self(value.metadata)}
        return form if value.id is None else {**form, "id": self(value.id)}

    def _message(self, value: BaseMessage, _: type) -> Any:
        self._depth += 2
        return _tagged("message", {"id": self(value.id), "body": messages.to_body(value, self)})

    def _document(self, value: Document, kind: type) -> Any:
        if kind is not Document:
            return NotImplemented
        return _tagged("document", self.document(value))

    def _enum(self, value: enum.Enum, kind: type) -> Any:
        return self._named("enum", kind, self(value.value))

    def _model(self, value: pydantic.BaseModel, kind: type[pydantic.BaseModel]) -> Any:
        given, fields = value.model_fields_set, vars(value)
        rest = {
            "extra": value.__pydantic_extra__,
            "private": value.__pydantic_private__,
            "unset": sorted(fields.keys() - given),
        }
        kept = {name: self(part) for name, part in rest.items() if part}
        return self._named("model", kind, self(fields), **kept)

    def _exception(self, value: BaseException, _: type) -> Any:
        from workbench.capture import exceptions

        return _tagged("exception", exceptions.record_of(value, self))

    def _class(self, value: Any, _: type) -> Any:
        return self._named("class", value, None)

    def _slots(self, value: Any, kind: type) -> Any:
        fields = {name: getattr(value, name) for name in Send.__slots__ if hasattr(value, name)}
        return self._named("slots", kind, self(fields))

    def _tuple(self, value: tuple[Any, ...], kind: Any) -> Any:
        if not hasattr(kind, "_fields"):
            return NotImplemented
        return self._named("namedtuple", kind, [self(item) for item in tuple.__iter__(value)])

    def _deque(self, value: deque[Any], kind: type) -> Any:
        if kind is not deque:
            return NotImplemented
        return _tagged("deque", [self([*value.copy()]), value.maxlen])

    def _dataclass(self, value: Any, kind: Any) -> Any:
        known = dict.fromkeys(field.name for field in dataclasses.fields(kind))
        known |= dict.fromkeys(getattr(value, "__dict__", ()))
        fields = {name: getattr(value, name) for name in known if hasattr(value, name)}
        return self._named("dataclass", kind, self(fields))

    def _subclass(self, value: Any, kind: type) -> Any:
        """Freeze what its own class adds to a builtin one, but for the frameworks' own."""
        if arrays.is_ours(kind):
            return NotImplemented
        base = _base_of(kind)
        plain = self(_BARE[base](value))
        if type_name(kind).partition(".")[0].partition(":")[0] in _FRAMEWORKS:
            return plain
        fields = dict(getattr(value, "__dict__", {}))
        if base is defaultdict:
            fields["default_factory"] = value.default_factory
        rest = {"fields": self(fields)} if fields else {}
        return self._named("subclass", kind, plain, **rest)

    def _function(self, value: Any, _: type) -> Any:
        path = type_name(value)
        return _tagged("function", path) if names.found(path) is value else NotImplemented

    def _named(self, tag: str, kind: type, value: Any, **more: Any) -> Any:
        form = {"class": type_name(kind), "value": value, **more}
        if names.found(form["class"]) is kind:
            return _tagged(tag, form)
        self.lossy = True
        return _tagged("object", form)


_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType)
_FRAMEWORKS = frozenset(("langchain", "langchain_core", "langgraph"))
# how the value of a builtin type is had of a subclass, whatever that does; the narrowest first
_BARE: dict[Any, Callable[[Any], Any]] = {
    OrderedDict: lambda v: [[key, item] for key, item in OrderedDict.items(v)],
    defaultdict: lambda v: dict(dict.items(v)),
    dict: dict.copy,
    list: list.copy,
    set: lambda v: {*set.__iter__(v)},
    frozenset: lambda v: frozenset(frozenset.__iter__(v)),
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    bytes: lambda v: memoryview(v).tobytes(),
    bytearray: lambda v: bytearray(memoryview(v)),
    tuple: lambda v: (*tuple.__iter__(v),),
}
_CHANGEABLE = (dict, list, set, bytearray)

# families of types by what they descend from; the first that fits writes
_FAMILIES: tuple[tuple[Any, Callable[[Freezer, Any, Any], Any]], ...] = (
    (BaseMessage, Freezer._message),  # noqa: SLF001 - its own methods
    (Document, Freezer._document),  # noqa: SLF001
    (enum.Enum, Freezer._enum),  # noqa: SLF001
    (pydantic.BaseModel, Freezer._model),  # noqa: SLF001
    (BaseException, Freezer._exception),  # noqa: SLF001
    (type, Freezer._class),  # noqa: SLF001
    (Send, Freezer._slots),  # noqa: SLF001
    (tuple, Freezer._tuple),  # noqa: SLF001
    (deque, Freezer._deque),  # noqa: SLF001
    (_FUNCTIONS, Freezer._function),  # noqa: SLF001
    (tuple(_BARE), Freezer._subclass),  # noqa: SLF001
)


def _base_of(kind: type) -> Any:
    return next(base for base in _BARE if issubclass(kind, base))


# ---- back


def _decode(tag: str, value: Any) -> Any:
    restore = _RESTORE.get(tag)
    if restore is not None:
        return restore(value)
    build = _BUILD.get(tag)
    if build is None:
        return arrays.restored(tag, value, thaw)
    kind = names.found(value["class"])
    return build(kind, value) if isinstance(kind, type) else NotImplemented


def restored_document(form: dict[str, Any]) -> Document:
    """Return the document a stored form was made of."""
    return Document(
        page_content=thaw(form["page_content"]),
        metadata=thaw(form.get("metadata") or {}),
        id=thaw(form.get("id")),
    )


def _message(form: dict[str, Any]) -> Any:
    return messages.from_body(form["body"], thaw, id=thaw(form.get("id")))


def _exception(form: dict[str, Any]) -> BaseException:
    from workbench.capture import exceptions

    return exceptions.from_record(form)


def _function(path: str) -> Any:
    found = names.found(path)
    return found if isinstance(found, _FUNCTIONS) else NotImplemented


_RESTORE: dict[str, Callable[[Any], Any]] = {
    "message": _message,
    "document": restored_document,
    "deque": lambda form: deque(thaw(form[0]), form[1]),
    "exception": _exception,
    "function": _function,
}


def _enum(kind: Any, form: dict[str, Any]) -> Any:
    # a recording may come from anywhere: only what the tag stands for is ever called
    return kind(thaw(form["value"])) if issubclass(kind, enum.Enum) else NotImplemented


def _namedtuple(kind: Any, form: dict[str, Any]) -> Any:
    if not issubclass(kind, tuple):
        return NotImplemented
    return tuple.__new__(kind, [thaw(item) for item in form["value"]])


def _model(kind: Any, form: dict[str, Any]) -> Any:
    if not issubclass(kind, pydantic.BaseModel):
        return NotImplemented
    fields = thaw(form["value"])
    built = kind.__new__(kind)
    object.__setattr__(built, "__dict__", fields)
    object.__setattr__(
        built, "__pydantic_fields_set__", fields.keys() - thaw(form.get("unset") or [])
    )
    extra = thaw(form.get("extra"))
    if extra is None and kind.model_config.get("extra") == "allow":
        extra = {}
    object.__setattr__(built, "__pydantic_extra__", extra)
    private = thaw(form.get("private"))
    object.__setattr__(built, "__pydantic_private__", private)
    return built


def _dataclass(kind: Any, form: dict[str, Any]) -> Any:
    if not dataclasses.is_dataclass(kind):
        return NotImplemented
    built: Any = object.__new__(kind)  # type: ignore[arg-type] # it is a class: `_decode` looked
    return _with_fields(built, thaw(form["value"]))


def _slots(kind: Any, form: dict[str, Any]) -> Any:
    if not issubclass(kind, Send):
        return NotImplemented
    return _with_fields(object.__new__(kind), thaw(form["value"]))


def _subclass(kind: Any, form: dict[str, Any]) -> Any:
    if not issubclass(kind, tuple(_BARE)):
        return NotImplemented
    base, value = _base_of(kind), thaw(form["value"])
    if issubclass(base, _CHANGEABLE):
        built = base.__new__(kind)
        base.__init__(built, *((None, value) if base is defaultdict else (value,)))
    else:
        built = base.__new__(kind, value)
    return _with_fields(built, thaw(form.get("fields") or {}))


def _with_fields(built: Any, fields: dict[str, Any]) -> Any:
    for name, item in fields.items():
        object.__setattr__(built, name, item)
    return built


_BUILD: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "enum": _enum,
    "model": _model,
    "namedtuple": _namedtuple,
    "dataclass": _dataclass,
    "slots": _slots,
    "subclass": _subclass,
    "class": lambda kind, _: kind,
}


def _tagged(tag: str, value: Any) -> dict[str, Any]:
    return {"$type": tag, "$value": value}
