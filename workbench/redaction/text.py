"""Replace in texts whatever a rule matches by placeholders. Pure.

A placeholder is ``⟨name:HMAC-8⟩`` under a workspace's key, so equal texts stay equal and nothing
can be read back. Placeholders themselves are never matched: redacting again changes nothing.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

from workbench.errors import UsageError

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Iterator, Sequence

    # where a match begins and ends, and the name of its rule
    Span = tuple[int, int, str]

MOST_RULES, LONGEST_PATTERN = 100, 1_000
_named = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}").fullmatch
_PLACEHOLDER = re.compile(r"⟨[A-Za-z][A-Za-z0-9_.-]{0,63}:[0-9a-f]{8}⟩")


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A name and a regular expression; every match becomes a placeholder of that name."""

    name: str
    pattern: str


def check_rules(rules: Sequence[Rule]) -> None:
    """Refuse rules that cannot be applied.

    Raises
    ------
    UsageError
        A name is no word, a pattern is no regular expression or matches nothing at all, or there
        is too much of it.
    """
    if len(rules) > MOST_RULES:
        raise UsageError(
            "there are too many rules", expected=f"at most {MOST_RULES}", found=len(rules)
        )
    for place, rule in enumerate(rules):
        where = f"rules[{place}]"
        if not _named(rule.name):
            raise UsageError(
                "a rule's name is no word",
                where=where,
                expected="1 to 64 letters, digits, any of _ . -, a letter first",
                found=rule.name[:80],
            )
        if len(rule.pattern) > LONGEST_PATTERN:
            raise UsageError(
                "a rule's pattern is too long",
                where=where,
                expected=f"at most {LONGEST_PATTERN} characters",
                found=len(rule.pattern),
            )
        _check_pattern(rule.pattern, where)


def _check_pattern(pattern: str, where: str) -> None:
    try:
        compiled = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise UsageError(
            "a rule's pattern is no regular expression", where=where, found=str(error)
        ) from error
    if compiled.match(""):
        raise UsageError("a rule's pattern matches the empty text", where=where, found=pattern[:80])


def placeholder(name: str, text: str, key: bytes) -> str:
    """Return what stands for a text."""
    mac = hmac.new(key, text.encode("utf-8", "surrogatepass"), hashlib.sha256)
    return f"⟨{name}:{mac.hexdigest()[:8]}⟩"


def key_id(key: bytes) -> str:
    """Return what tells a placeholder key from others, and opens nothing."""
    return hmac.new(key, b"the id of a placeholder key", hashlib.sha256).hexdigest()[:16]


def first_match(text: str, rules: Sequence[Rule]) -> str | None:
    """Return the name of the first rule that would change a text."""
    spans = _spans(text, rules)
    return spans[0][2] if spans else None


def redact_texts(
    texts: Sequence[str], rules: Sequence[Rule], key: bytes, *, counts: Counter[str] | None = None
) -> list[str]:
    r"""Return texts that follow each other with every match replaced, those across them too.

    A match that spans several texts is replaced in the one it begins in, and leaves the others.
    ``counts`` is told how often each rule matched.

    Examples
    --------
    >>> redact_texts(["to ann@exa", "mple.org!"], [Rule(name="email", pattern=r"\S+@[.\w]+")], b"k")
    ['to ⟨email:41f24aa7⟩', '!']
    """
    found = list(texts)
    # What is left beside a placeholder may be a match of its own; each round leaves less of it.
    while spans := _spans("".join(found), rules):
        found = list(_replaced(found, spans, key))
        if counts is not None:
            counts.update(name for _, _, name in spans)
    return found


def _spans(text: str, rules: Sequence[Rule]) -> list[Span]:
    """Return the matches outside placeholders, in their order; an earlier rule takes its first."""
    free = list(_free(text))
    found: list[Span] = []
    for rule in rules:
        matches = list(_matches(text, free, rule.pattern))
        if matches:
            found += ((start, end, rule.name) for start, end in matches)
            free = [gap for stretch in free for gap in _without(stretch, matches)]
    return sorted(found)


def _free(text: str) -> Iterator[tuple[int, int]]:
    """Yield the stretches between placeholders."""
    taken = [match.span() for match in _PLACEHOLDER.finditer(text)] if "⟨" in text else []
    yield from _without((0, len(text)), taken)


def _matches(text: str, free: Iterable[tuple[int, int]], pattern: str) -> Iterator[tuple[int, int]]:
    compiled = _compiled(pattern)
    for start, end in free:
        for match in compiled.finditer(text, start, end):
            if match.end() > match.start():
                yield match.span()


def _without(
    stretch: tuple[int, int], taken: Sequence[tuple[int, int]]
) -> Iterator[tuple[int, int]]:
    start, end = stretch
    inside = [span for span in taken if start <= span[0] < end]
    for (_, before), (after, _) in pairwise([(start, start), *inside, (end, end)]):
        if before < after:
            yield before, after


def _replaced(texts: Sequence[str], spans: Sequence[Span], key: bytes) -> Iterator[str]:
    """Yield each text with the spans of their sum taken out, a placeholder where one begins."""
    whole, begin = "".join(texts), 0
    for text in texts:
        end, at, parts = begin + len(text), begin, []
        for start, stop, name in spans:
            if stop <= begin or start >= end:
                continue
            if start >= begin:
                parts += [whole[at:start], placeholder(name, whole[start:stop], key)]
            at = min(stop, end)
        yield "".join([*parts, whole[at:end]])
        begin = end


@functools.lru_cache(maxsize=4 * MOST_RULES)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
