"""The least predicted noise within flash, time and RAM: one integer program over all choices of all layers.

Every layer takes one of its options: a width of its weights, a kernel that spends flash or none, and types of
the tensors around it. Families of tensors that share a type are int8 or int16 for all layers at once; each
family that becomes int16 takes its noise away. Noise, flash and time of a choice add up, and so do the bytes
alive at each step. C functions that layers share are paid for once, if any layer calls them. HiGHS solves it
(Huangfu and Hall 2018, by `scipy.optimize.milp`).
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

from dfqgen.fixedpoint.qtype import IntType

ENOUGH = 1e-4
"""Noise-to-signal at the outputs below which less is worth nothing: 40 dB."""
TIME_WORTH = 0.01
"""Of choices of equal noise the faster one is better: all of the time is worth so much of the noise."""
GAP = 1e-3
"""How far the noise found may be from the least, relative."""
MOST_NODES = 20_000
"""Of HiGHS's tree: a bound that is the same on every machine."""
SLACKS = ("flash", "time", "ram")


@dataclass(frozen=True, slots=True)
class Option:
    """One way to run a layer: the type of its weights (None without weights), the families around it that
    are int16, and whether its kernel spends flash for speed. `noise` is what its weights alone put on the
    outputs, `calls` the C functions that it shares with other layers, beside `flash_bytes` of its own.
    """

    dtype: IntType | None
    wide: frozenset[str]
    spends: bool
    flash_bytes: int
    instructions: float
    noise: float = 0.0
    calls: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class LayerOptions:
    """A layer by name, the families around it whose type is open, and its options."""

    name: str
    families: frozenset[str]
    options: tuple[Option, ...]


@dataclass(frozen=True, slots=True)
class Alive:
    """Bytes alive at a step: those of settled types, and what each family takes more as int16."""

    settled_bytes: int
    more_bytes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Limits:
    """None is no limit. Negative ones are possible, where corrections take more than there is."""

    flash_bytes: float | None = None
    instructions: float | None = None
    ram_bytes: float | None = None

    def less(self, flash_bytes: float, instructions: float) -> Limits:
        """What is left when these are taken."""
        return Limits(
            None if self.flash_bytes is None else self.flash_bytes - flash_bytes,
            None if self.instructions is None else self.instructions - instructions,
            self.ram_bytes,
        )

    def excess(self, taken: Answer) -> dict[str, float]:
        """How much more an answer takes, relative to each limit that it exceeds."""
        pairs = {
            "flash": (taken.flash_bytes, self.flash_bytes),
            "time": (taken.instructions, self.instructions),
            "ram": (taken.ram_bytes, self.ram_bytes),
        }
        return {
            name: (amount - limit) / max(abs(limit), 1.0)
            for name, (amount, limit) in pairs.items()
            if limit is not None and amount > limit * (1 + 1e-6)
        }


@dataclass(frozen=True, slots=True)
class Question:
    """`gains` are the noise that each family takes away as int16, `noise` what there is beside weights' when
    all families are int8, `shared_bytes` the sizes of C functions that layers share.
    """

    layers: Sequence[LayerOptions]
    gains: Mapping[str, float]
    noise: float
    alive: Sequence[Alive]
    limits: Limits
    shared_bytes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """An option for each layer, the families that are int16, and what that takes; `excess` is how much more
    than the limits, relative to them, by "flash", "time" and "ram", empty where all is within.
    """

    options: Mapping[str, Option]
    wide: frozenset[str]
    noise: float
    flash_bytes: int
    instructions: float
    ram_bytes: int
    excess: Mapping[str, float] = field(default_factory=dict)


def solve(question: Question) -> Answer:
    """The choice of least noise within the limits; where there is none, that of the least relative excess."""
    program = _Program(question)
    found = program.minimize(slack=False)
    return program.minimize(slack=True) if found is None else found  # type: ignore[return-value]


def _worth_a_look(options: Sequence[Option]) -> list[Option]:
    """Without those that another option of the same types beats in everything."""
    kept: list[Option] = []
    for option in sorted(options, key=lambda o: (o.noise, o.flash_bytes, o.instructions)):
        if not any(
            other.wide == option.wide
            and other.calls <= option.calls
            and other.flash_bytes <= option.flash_bytes
            and other.instructions <= option.instructions
            for other in kept
        ):
            kept.append(option)
    return kept


class _Program:
    """The variables are the options of all layers, then the families, the functions that layers share and
    the excess over each limit.
    """

    def __init__(self, question: Question) -> None:
        self.question = question
        self.options = [
            (layer, option) for layer in question.layers for option in _worth_a_look(layer.options)
        ]
        self.families = sorted(question.gains)
        self.place = {root: len(self.options) + i for i, root in enumerate(self.families)}
        self.shared = sorted(question.shared_bytes)
        callee = {name: len(self.options) + len(self.families) + i for i, name in enumerate(self.shared)}
        self.size = len(self.options) + len(self.families) + len(self.shared) + len(SLACKS)
        self.rows: list[dict[int, float]] = []
        self.bounds: list[tuple[float, float]] = []
        for layer in question.layers:
            own = [i for i, (other, _) in enumerate(self.options) if other is layer]
            self._row(dict.fromkeys(own, 1.0), 1.0, 1.0)
            for root in layer.families:
                wide = {i: 1.0 for i in own if root in self.options[i][1].wide}
                self._row({**wide, self.place[root]: -1.0}, 0.0, 0.0)
            for name in sorted(frozenset[str]().union(*(option.calls for option in layer.options))):
                callers = {i: 1.0 for i in own if name in self.options[i][1].calls}
                self._row({**callers, callee[name]: -1.0}, -np.inf, 0.0)
        limits = question.limits
        flash = [float(option.flash_bytes) for _, option in self.options]
        time = [option.instructions for _, option in self.options]
        if limits.flash_bytes is not None:
            code = {callee[name]: float(size) for name, size in question.shared_bytes.items()}
            self._limit("flash", {**dict(enumerate(flash)), **code}, limits.flash_bytes)
        if limits.instructions is not None:
            self._limit("time", dict(enumerate(time)), limits.instructions)
        if limits.ram_bytes is not None:
            for alive in question.alive:
                more = {self.place[root]: float(size) for root, size in alive.more_bytes.items()}
                self._limit("ram", more, limits.ram_bytes - alive.settled_bytes)
        noise = np.array([option.noise for _, option in self.options])
        gains = np.array([question.gains[root] for root in self.families])
        fastest = sum(min(option.instructions for option in layer.options) for layer in question.layers)
        least = question.noise + sum(min(o.noise for o in layer.options) for layer in question.layers)
        self.scale = max(least - float(gains.sum()), ENOUGH)
        cost = noise / self.scale + TIME_WORTH * np.array(time) / max(fastest, 1.0)
        self.cost = np.concatenate([cost, -gains / self.scale, np.zeros(len(self.shared) + len(SLACKS))])

    def _row(self, values: Mapping[int, float], low: float, high: float) -> None:
        self.rows.append(dict(values))
        self.bounds.append((low, high))

    def _limit(self, name: str, values: Mapping[int, float], limit: float) -> None:
        """At most `limit`, in units of it: HiGHS's tolerances are absolute."""
        unit = max(abs(limit), 1.0)
        slack = self.size - len(SLACKS) + SLACKS.index(name)
        self._row({**{i: value / unit for i, value in values.items()}, slack: -1.0}, -np.inf, limit / unit)

    def minimize(self, *, slack: bool) -> Answer | None:
        """The best choice; with `slack` that of the least excess. None where there is none."""
        cost, upper = self.cost, np.ones(self.size)
        upper[-len(SLACKS) :] = np.inf if slack else 0.0
        if slack:
            cost = np.zeros(self.size)
            cost[-len(SLACKS) :] = 1.0
        entries = [(row, i, value) for row, values in enumerate(self.rows) for i, value in values.items()]
        rows, columns, values = zip(*entries, strict=True)
        matrix = coo_array((values, (rows, columns)), shape=(len(self.rows), self.size)).tocsr()
        low, high = np.array(self.bounds).T
        integral = np.ones(self.size)
        integral[-len(self.shared) - len(SLACKS) :] = 0  # at least 1 where one calls the function
        with _silence():
            result: Any = milp(
                cost,
                integrality=integral,
                bounds=Bounds(np.zeros(self.size), upper),
                constraints=LinearConstraint(matrix, low, high),
                options={"mip_rel_gap": GAP, "node_limit": MOST_NODES},
            )
        return None if result.x is None else self._answer(result.x)

    def _answer(self, values: Any) -> Answer:
        question = self.question
        picks = {
            layer.name: option
            for (layer, option), taken in zip(self.options, values, strict=False)
            if taken > 0.5
        }
        wide = frozenset(root for root in self.families if values[self.place[root]] > 0.5)
        noise = question.noise - sum(question.gains[root] for root in wide)
        ram = max(
            (a.settled_bytes + sum(a.more_bytes.get(root, 0) for root in wide) for a in question.alive),
            default=0,
        )
        called = frozenset[str]().union(*(option.calls for option in picks.values()))
        answer = Answer(
            picks,
            wide,
            noise + sum(option.noise for option in picks.values()),
            sum(option.flash_bytes for option in picks.values())
            + sum(question.shared_bytes[name] for name in called),
            float(sum(option.instructions for option in picks.values())),
            ram,
        )
        return replace(answer, excess=question.limits.excess(answer))


@contextmanager
def _silence() -> Iterator[None]:
    """Nothing written to file descriptor 1 arrives: HiGHS has lines of its own there, whatever it is told."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        yield
        if os.name == "posix":
            ctypes.CDLL(None).fflush(None)
    finally:
        os.dup2(kept, 1)
        os.close(kept)
