"""Chance at a temperature."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dice:
    """Picks among options, the likeliest first; at temperature 0 always the first."""

    rng: random.Random
    temperature: float

    def pick(self, options: Sequence[T]) -> T:
        """Return one option."""
        if self.temperature <= 0:
            return options[0]
        weights = [math.exp(-0.2 * rank / self.temperature) for rank in range(len(options))]
        return self.rng.choices(options, weights)[0]

    def chance(self, probability: float) -> bool:
        """Return True that often; at temperature 0 when it is likelier than not."""
        if self.temperature <= 0:
            return round(probability) == 1
        return self.rng.random() < probability
