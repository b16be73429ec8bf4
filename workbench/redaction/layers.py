"""What is applied to everything a recording says: a hook, then rules in layers, each with its key.

Pure but for the hook, which is somebody else's. What a hook cannot redact is withheld whole.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from workbench import hashing
from workbench.errors import UsageError
from workbench.redaction.text import Rule, check_rules, key_id, placeholder, redact_texts
from workbench.redaction.values import across, changed, changed_body

if TYPE_CHECKING:
    from collections.abc import Callable

    Hook = Callable[[Any], Any]

WITHHELD = "withheld"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked for beside a workspace's own rules: layers of a recording, rules, a hook."""

    layers: tuple[Layer, ...] = ()
    rules: tuple[Rule, ...] = ()
    hook: Hook | None = None

    @classmethod
    def of(cls, redact: Any) -> Wanted | None:
        """Return what ``redact=`` says: a rule, a callable, or a list of both.

        Raises
        ------
        UsageError
            It says something else, or a rule cannot be applied.
        """
        said = list(redact) if isinstance(redact, (list, tuple)) else [redact]
        said = [one for one in said if one is not None]
        rules = tuple(one for one in said if isinstance(one, Rule))
        hooks = tuple(one for one in said if not isinstance(one, Rule))
        if wrong := [one for one in hooks if not callable(one)]:
            raise UsageError(
                "redact= is no rule and no function",
                expected="workbench.Rule, a function of a JSON value, or a list of them",
                found=type(wrong[0]).__name__,
            )
        check_rules(rules)
        if not said:
            return None
        return cls(rules=rules, hook=hooks[0] if len(hooks) == 1 else _chained(hooks))

    def beside(self, layer: Layer) -> Redaction:
        """Return all that is to be applied, where a workspace has these rules and this key."""
        own = Layer(rules=(*self.rules, *layer.rules), key=layer.key, version=layer.version)
        return Redaction((*self.layers, own), key=layer.key, hook=self.hook)


def _chained(hooks: tuple[Hook, ...]) -> Hook | None:
    if not hooks:
        return None

    def chained(value: Any) -> Any:
        for hook in hooks:
            value = hook(value)
        return value

    return chained


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Rules, and the key their placeholders are made with; ``version`` is the key's."""

    rules: tuple[Rule, ...] = ()
    key: bytes = field(repr=False)
    version: int = 0

    def told(self) -> dict[str, Any]:
        """Return what a recording tells of it: the rules, and the id of the key."""
        rules = [{"name": rule.name, "pattern": rule.pattern} for rule in self.rules]
        return {"rules": rules, "key": key_id(self.key), "key_version": self.version}


class Redaction:
    """A hook and layers of rules, and what they found.

    Attributes
    ----------
    counts
        How often each rule matched, by name.
    withheld
        How many values a hook raised on, and were not recorded for that.
    """

    def __init__(self, layers: tuple[Layer, ...], *, key: bytes, hook: Hook | None = None) -> None:
        self.layers = tuple(layer for layer in layers if layer.rules)
        self.hook = hook
        self.key = key
        self.counts: Counter[str] = Counter()
        self.withheld = 0

    def __bool__(self) -> bool:
        return bool(self.layers) or self.hook is not None

    def told(self) -> list[dict[str, Any]]:
        """Return what a recording tells of it, so that a replay can do the same."""
        # a rule may say itself what it is to hide
        told = [changed(layer.told(), self._quietly) for layer in self.layers]
        return told if self.hook is None else [*told, {"hook": True}]

    def value(self, value: Any, rename: Callable[[str], str] | None = None) -> Any:
        """Return a JSON value as it may be stored.

        ``rename`` returns the digest that a pooled message has now, or a text that is none.
        """
        if rename is None:
            return changed(self._hooked(value), self.text)

        def text(said: str) -> str:
            renamed = rename(said)
            return self.text(said) if renamed == said else renamed

        return changed(self._hooked(value), text)

    def body(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return a pooled message's body as it may be stored."""
        made = self._hooked(body)
        if not isinstance(made, dict):
            extra = body.get("extra") or {}
            kept = {name: extra[name] for name in ("type", "class") if name in extra}
            made = {"role": body.get("role"), "content": made, "extra": kept}
            if "tool_call_id" in body:
                made["tool_call_id"] = body["tool_call_id"]
        return changed_body(made, self.text)

    def pieces(self, pieces: list[Any]) -> list[Any]:
        """Return the pieces of a whole stream as they may be stored."""
        if self.hook is not None:
            pieces = across([self._hooked(piece) for piece in pieces], self._hooked_texts)
        return across(pieces, self._texts)

    def text(self, text: str) -> str:
        """Return a text as it may be stored, as far as rules tell."""
        return self._texts([text])[0]

    def _quietly(self, text: str) -> str:
        for layer in self.layers:
            text = redact_texts([text], layer.rules, layer.key)[0]
        return text

    def _texts(self, texts: list[str]) -> list[str]:
        for layer in self.layers:
            texts = redact_texts(texts, layer.rules, layer.key, counts=self.counts)
        return texts

    def _hooked(self, value: Any) -> Any:
        if self.hook is None:
            return value
        whole = hashing.dumps_in_order(value)
        try:
            # It may do with its own copy what it likes.
            made, lossy = hashing.freeze(self.hook(orjson.loads(whole)))
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001 - whatever it raises, the agent goes on and nothing leaks
            lossy = True
        if lossy:
            self.withheld += 1
            return placeholder(WITHHELD, whole.decode(), self.key)
        return made

    def _hooked_texts(self, texts: list[str]) -> list[str]:
        """Show a hook the texts of a stream as one: what it finds need not stand in any of them."""
        if len(texts) == 1:
            return texts
        whole = "".join(texts)
        made = self._hooked(whole)
        if made == whole:
            return texts
        if not isinstance(made, str):
            self.withheld += 1
            made = placeholder(WITHHELD, whole, self.key)
        return [made, *("" for _ in texts[1:])]
