"""What a search asks for: words, "words in a row", `or`, and -words that must not be there. Pure.

A run is found when its own words and those of its messages say so together, whichever of them says
which. (Postgres' own `websearch_to_tsquery` has the same syntax, but asks one text at a time.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from workbench.errors import UsageError

MOST_TERMS = 32
_TERM = re.compile(r'(-?)(?:"([^"]*)"?|([^\s"]+))')


@dataclass(slots=True)
class Group:
    """Terms that have to be said, and terms that must not be."""

    said: list[str] = field(default_factory=list)
    unsaid: list[str] = field(default_factory=list)


def groups_of(search: str) -> list[Group]:
    """Return the alternatives of a search; a run has to fit one of them."""
    groups = [Group()]
    for minus, phrase, word in _TERM.findall(search):
        if word.lower() == "or" and not minus:
            groups.append(Group())
        elif any(character.isalnum() for character in phrase or word):
            (groups[-1].unsaid if minus else groups[-1].said).append(phrase or word)
    groups = [group for group in groups if group.said or group.unsaid]
    terms = sum(len(group.said) + len(group.unsaid) for group in groups)
    if not 1 <= terms <= MOST_TERMS:
        raise UsageError(
            "the search has no words" if not terms else "the search has too many words",
            where="q",
            expected=f'1 to {MOST_TERMS} words or "words in a row"; -word leaves out, or is either',
            found=terms or search[:80],
        )
    return groups
