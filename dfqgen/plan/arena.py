"""Offsets for buffers in one arena: small, deterministic, quick.

Buffers are placed one after another, each at the lowest address its neighbours leave free. The result
depends on the sequence alone, so the search is over sequences: a few good ones, then local search.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dfqgen.plan.lifetimes import Lifetime, Overlap
from dfqgen.plan.workload import align

SEARCH_EFFORT = 400_000  # neighbour visits, about a quarter of a second


@dataclass(frozen=True, slots=True)
class Placement:
    """Where every buffer starts, and the bytes they take together."""

    offsets: Mapping[str, int]
    size_bytes: int


def place(
    buffers: Sequence[Lifetime],
    overlaps: Sequence[Overlap],
    ties: Sequence[Mapping[str, int]] = (),
    enough_bytes: int = 0,
    effort: int = SEARCH_EFFORT,
) -> Placement:
    """A small placement: two buffers alive together are disjoint, or overlap as `overlaps` allows.

    `ties` are buffers that lie at fixed distances, by the distance from the lowest; no two of one share
    bytes. All others' sizes and leads are multiples of the alignment, and so are their offsets and each
    lowest one. The search ends early at `enough_bytes`, a size known to be the least possible.
    """
    problem = _Problem(buffers, overlaps, ties)
    best_sequence, best = min(
        ((sequence, problem.place(sequence)) for sequence in problem.first_sequences()),
        key=lambda item: problem.rank(item[1]),
    )
    if buffers:
        best = problem.improve(best_sequence, best, enough_bytes, effort)
    return Placement(
        {
            buffer.buffer: best[unit] + distance
            for buffer, (unit, distance) in zip(buffers, problem.places, strict=True)
        },
        problem.size(best),
    )


# A neighbour of unit x: (index, below, above). With the neighbour at address a, x must not start strictly
# between a - below and a + above.
_Neighbour = tuple[int, int, int]


class _Problem:
    """What is placed are units: tied buffers together, every other one alone."""

    def __init__(
        self, buffers: Sequence[Lifetime], overlaps: Sequence[Overlap], ties: Sequence[Mapping[str, int]]
    ) -> None:
        index_of = {buffer.buffer: index for index, buffer in enumerate(buffers)}
        group_of = {name: group for group in ties for name in group}
        self.places: list[tuple[int, int]] = []  # by buffer: the unit, and how far above its start
        units: dict[str, int] = {}
        for buffer in buffers:
            group = group_of.get(buffer.buffer, {buffer.buffer: 0})
            unit = units.setdefault(next(iter(group)), len(units))
            self.places.append((unit, group[buffer.buffer]))
        self.sizes, self.first, self.last = [0] * len(units), [len(buffers)] * len(units), [-1] * len(units)
        for buffer, (unit, distance) in zip(buffers, self.places, strict=True):
            self.sizes[unit] = max(self.sizes[unit], distance + buffer.size_bytes)
            self.first[unit] = min(self.first[unit], buffer.first)
            self.last[unit] = max(self.last[unit], buffer.last)
        leads = {(index_of[o.output], index_of[o.input]): o.lead_bytes for o in overlaps}
        self.neighbours: list[list[_Neighbour]] = [[] for _ in units]
        for i, a in enumerate(buffers):
            unit, distance = self.places[i]
            for j, b in enumerate(buffers):
                other, far = self.places[j]
                if unit == other or not a.meets(b):
                    continue
                below, above = a.size_bytes, b.size_bytes
                if (i, j) in leads:  # a overwrites b: b - a >= lead will do
                    below = min(below, leads[i, j])
                if (j, i) in leads:  # b overwrites a: a - b >= lead will do
                    above = min(above, leads[j, i])
                below, above = below + distance - far, align(above + far - distance)
                if -below < above:
                    self.neighbours[unit].append((other, below, above))

    def place(self, sequence: Sequence[int]) -> list[int]:
        """Offsets by unit, each unit of the sequence at the lowest address left."""
        offsets = [-1] * len(self.sizes)
        for index in sequence:
            blocked = []
            for other, below, above in self.neighbours[index]:
                at = offsets[other]
                if at >= 0 and at + above > 0:
                    blocked.append((at - below, at + above))
            blocked.sort()
            start = 0
            for low, high in blocked:
                if low < start < high:
                    start = high
                elif low >= start:
                    # Sorted by `low`: nothing further blocks this address.
                    break
            offsets[index] = start
        return offsets

    def size(self, offsets: Sequence[int]) -> int:
        return max((at + size for at, size in zip(offsets, self.sizes, strict=True)), default=0)

    def rank(self, offsets: Sequence[int]) -> tuple[int, int]:
        """Smaller is better: the arena, then the sum of all ends (a tie leaves room to move)."""
        ends = [at + size for at, size in zip(offsets, self.sizes, strict=True)]
        return max(ends, default=0), sum(ends)

    def first_sequences(self) -> list[list[int]]:
        """By size; by time, both ways (backwards puts an output below its input); by the fullest step."""
        everything = range(len(self.sizes))
        first, last = self.first, self.last
        crowd = [self.sizes[i] + sum(self.sizes[j] for j, _, _ in self.neighbours[i]) for i in everything]
        return [
            sorted(everything, key=lambda i: (-self.sizes[i], -first[i], i)),
            sorted(everything, key=lambda i: (-self.sizes[i], first[i], i)),
            sorted(everything, key=lambda i: (-last[i], -first[i], -self.sizes[i], i)),
            sorted(everything, key=lambda i: (first[i], last[i], -self.sizes[i], i)),
            sorted(everything, key=lambda i: (-crowd[i], -self.sizes[i], i)),
            sorted(everything, key=lambda i: (first[i] - last[i], -self.sizes[i], i)),
        ]

    def improve(self, sequence: list[int], offsets: list[int], enough_bytes: int, effort: int) -> list[int]:
        """Local search: give a buffer at the top, or any, another turn; keep what is no worse."""
        visits = len(sequence) + sum(len(neighbours) for neighbours in self.neighbours)
        rng = random.Random(0)
        best, best_rank = offsets, self.rank(offsets)
        current, current_rank = list(sequence), best_rank
        for _ in range(effort // visits):
            if best_rank[0] <= enough_bytes:
                break
            trial = list(current)
            if rng.random() < 0.7:
                tops = [i for i in trial if offsets[i] + self.sizes[i] == current_rank[0]]
                moved = rng.choice(tops)
                moved = rng.choice([moved, *(j for j, _, _ in self.neighbours[moved])])
            else:
                moved = rng.choice(trial)
            trial.remove(moved)
            trial.insert(rng.randrange(len(trial) + 1), moved)
            trial_offsets = self.place(trial)
            rank = self.rank(trial_offsets)
            if rank[0] <= current_rank[0]:
                current, current_rank, offsets = trial, rank, trial_offsets
                if rank < best_rank:
                    best, best_rank = trial_offsets, rank
        return best
