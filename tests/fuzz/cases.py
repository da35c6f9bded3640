"""Case number N: a seed and its mutations, the same on every machine that has the same seeds."""

from __future__ import annotations

import random

from dfqgen.frontend import supported_operators
from tests.fuzz.mutate import mutated
from tests.fuzz.seeds import real_seeds, small_seeds

REAL_SHARE = 0.02
"""Of cases that start from a whole network, which take longer."""


def case(number: int) -> bytes:
    """The model file of a case."""
    generator = random.Random(number)
    seeds = real_seeds() if generator.random() < REAL_SHARE else small_seeds()
    return mutated(generator.choice(seeds), generator, sorted(supported_operators()))
