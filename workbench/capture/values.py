"""Values as canonical JSON and back: messages, documents, pydantic models, dataclasses, enums.

What cannot be restored is kept by type and repr, and its call is `lossy`.
"""

from __future__ import annotations

import dataclasses
import enum
from importlib import import_module
from typing import Any

import pydantic
from langchain_core.documents import Document
from langchain_core.messages import BaseMessage
from langgraph.types import Send

from workbench import hashing
from workbench.capture import messages
from workbench.hashing import type_name


def freeze(value: Any) -> tuple[Any, bool]:
    """Return a value as canonical JSON, and whether something of it was lost."""
    freezer = Freezer()
    return freezer(value), freezer.lossy


def thaw(value: Any) -> Any:
    """Return what `freeze` was given, as equal objects."""
    return hashing.thaw(value, decode=_decode)


_BUILTINS: tuple[Any, ...] = (dict, list, str, int, float, tuple)


class Freezer:
    """Freezes values and remembers whether any of them lost something."""

    def __init__(self) -> None:
        self.lossy = False

    def __call__(self, value: Any) -> Any:
        kind = type(value)
        if value is None or kind is bool or (kind is str and value.isascii()):
            return value
        frozen, lossy = hashing.freeze(value, encode=self._encode)
        self.lossy = self.lossy or lossy
        return frozen

    def _encode(self, value: Any) -> Any:  # noqa: PLR0911 - one line for each family of types
        if isinstance(value, BaseMessage):
            return _tagged("message", {"id": value.id, "body": messages.to_body(value, self)})
        if isinstance(value, Document):
            return _tagged("document", self.document(value))
        if isinstance(value, enum.Enum):
            return self._named("enum", type(value), self(value.value))
        if isinstance(value, pydantic.BaseModel):
            return self._named("model", type(value), self._fields(vars(value)))
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return self._named("namedtuple", type(value), [self(item) for item in value])
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return self._dataclass(value)
        if isinstance(value, type):
            return self._named("class", value, None)
        if isinstance(value, Send):
            return self._named("slots", Send, self._slots(value))
        return self._subclass_of_builtin(value)

    def document(self, value: Document) -> dict[str, Any]:
        """Return a document's stored form."""
        form = {"page_content": self(value.page_content), "metadata": self(value.metadata)}
        return form if value.id is None else {**form, "id": value.id}

    def _dataclass(self, value: Any) -> Any:
        names = [field.name for field in dataclasses.fields(value)]
        return self._named(
            "dataclass",
            type(value),
            {name: self(getattr(value, name)) for name in names if hasattr(value, name)},
        )

    def _slots(self, value: Any) -> dict[str, Any]:
        names = [name for name in type(value).__slots__ if hasattr(value, name)]
        return self._fields({name: getattr(value, name) for name in names})

    def _fields(self, fields: dict[str, Any]) -> dict[str, Any]:
        return {name: self(value) for name, value in fields.items()}

    def _named(self, tag: str, kind: type, value: Any) -> Any:
        if _importable(kind):
            return _tagged(tag, {"class": type_name(kind), "value": value})
        self.lossy = True
        return _tagged("object", {"class": type_name(kind), "value": value})

    def _subclass_of_builtin(self, value: Any) -> Any:
        for base in _BUILTINS:
            if isinstance(value, base) and type(value) is not base:
                return self(base(value))
        return NotImplemented


def _importable(kind: type) -> bool:
    return _found(type_name(kind)) is kind


def _found(path: str) -> Any:
    module, _, name = path.partition(":")
    try:
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return None
    return found


def _decode(tag: str, value: Any) -> Any:
    if tag == "message":
        return messages.from_body(value["body"], thaw, id=value.get("id"))
    if tag == "document":
        return restored_document(value)
    if tag not in ("enum", "model", "namedtuple", "dataclass", "slots", "class"):
        return NotImplemented
    kind = _found(value["class"])
    if not isinstance(kind, type):
        return NotImplemented
    return _built(tag, kind, value["value"])


def _built(tag: str, kind: Any, value: Any) -> Any:
    if tag == "class":
        return kind
    if tag == "enum":
        return kind(thaw(value))
    if tag == "namedtuple":
        return kind(*(thaw(item) for item in value))
    fields = {name: thaw(item) for name, item in value.items()}
    if tag == "model":
        return kind.model_construct(**fields)
    built = kind.__new__(kind)
    for name, item in fields.items():
        object.__setattr__(built, name, item)
    return built


def restored_document(form: dict[str, Any]) -> Document:
    """Return the document a stored form was made of."""
    return Document(
        page_content=thaw(form["page_content"]),
        metadata=thaw(form.get("metadata") or {}),
        id=form.get("id"),
    )


def _tagged(tag: str, value: Any) -> dict[str, Any]:
    return {"$type": tag, "$value": value}
