"""The desk's knowledge base: text files by release, searched by word overlap (BM25)."""

# ruff: noqa: TC002 - LangChain and pydantic read the annotations when they run

from __future__ import annotations

import math
import re
from collections import Counter
from functools import lru_cache
from pathlib import Path

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever

FOLDER = Path(__file__).with_name("knowledge")
BASE = "kb-41"
K1, B = 1.4, 0.75
STOP = frozenset(
    (  # noqa: SIM905 - a list of sixty words reads worse
        "a an and are as at be been but by can could do does for from had has have how i if in is"
        " it me my not of on or our please so that the this to was we what when with would you your"
    ).split()
)


class KnowledgeBase(BaseRetriever):
    """Documents of one release; a later release replaces single documents of the first.

    ``ranking`` is ``bm25``, or ``density``, which divides by the length far too eagerly.
    """

    release: str = BASE
    ranking: str = "bm25"
    top: int = 3

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,  # noqa: ARG002 - the interface passes it
    ) -> list[Document]:
        texts = documents(self.release)
        score = _density if self.ranking == "density" else _bm25
        scores = score(terms(query), word_counts(self.release))
        best = sorted(texts, key=lambda name: (-scores[name], name))[: self.top]
        return [
            _document(name, texts[name], rank=rank, score=scores[name])
            for rank, name in enumerate(best, start=1)
            if scores[name] > 0
        ]


def terms(text: str) -> list[str]:
    """Return the words that count, lower case, plural and past endings cut."""
    words = re.findall(r"[a-z_]{3,}", text.lower())
    return [re.sub(r"(ing|ed|es|s)$", "", word) for word in words if word not in STOP]


@lru_cache(maxsize=8)
def documents(release: str) -> dict[str, str]:
    """Return name → text of a release, the base's documents where it has none of its own."""
    folders = (FOLDER / BASE, FOLDER / release)
    return {path.stem: path.read_text() for folder in folders for path in folder.glob("*.md")}


@lru_cache(maxsize=8)
def word_counts(release: str) -> dict[str, Counter[str]]:
    """Return name → how often each word stands in the document, the title counted three times."""
    return {
        name: Counter(terms(text) + 2 * terms(text.partition("\n")[0]))
        for name, text in documents(release).items()
    }


def _document(name: str, text: str, *, rank: int, score: float) -> Document:
    title, _, body = text.partition("\n")
    metadata = {
        "source": f"{name}.md",
        "title": title.lstrip("# "),
        "rank": rank,
        "score": round(score, 3),
    }
    return Document(page_content=body.strip(), metadata=metadata)


def _bm25(words: list[str], counts: dict[str, Counter[str]]) -> dict[str, float]:
    average = sum(count.total() for count in counts.values()) / max(1, len(counts))
    rarity = {word: _rarity(word, counts) for word in set(words)}
    return {name: _weight(rarity, count, average) for name, count in counts.items()}


def _weight(rarity: dict[str, float], count: Counter[str], average: float) -> float:
    length = K1 * (1 - B + B * count.total() / average)
    return sum(
        rare * count[word] * (K1 + 1) / (count[word] + length) for word, rare in rarity.items()
    )


def _rarity(word: str, counts: dict[str, Counter[str]]) -> float:
    having = sum(1 for count in counts.values() if count[word])
    return math.log(1 + (len(counts) - having + 0.5) / (having + 0.5))


def _density(words: list[str], counts: dict[str, Counter[str]]) -> dict[str, float]:
    return {
        name: 100 * (1 + len(set(words) & set(count))) / count.total() ** 2
        for name, count in counts.items()
    }
