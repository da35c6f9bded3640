"""`--activations auto`: which activations are worth 16 bits on a target.

Every family of tensors that must share one type is a candidate. What it would gain is predicted: the noise
at the outputs of its rounding and clipping in int8, less that in int16 (`quantization/predicted_noise.py`).
What it would cost are the planner's measured prices of the layers that write and read it. The greedy search
takes the family with the most gain an instruction, while the allowance of time lasts, until the rest is
inaudible beside the noise of the weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dfqgen import kernels
from dfqgen.errors import ProgramError, UserError
from dfqgen.fixedpoint.program import QOp, QTensor
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.graph.ir import Node
from dfqgen.passes.contract import Note
from dfqgen.plan.kernels import may_spend, ranked
from dfqgen.plan.planner import plan_program
from dfqgen.plan.workload import needs_code
from dfqgen.quantization.lower import lower, site_of
from dfqgen.quantization.predicted_noise import activation_noise, weight_noise
from dfqgen.quantization.prepared import Prepared
from dfqgen.quantization.rounding import Independent
from dfqgen.quantization.types import Typed, assign_types
from dfqgen.quantization.unify import Families
from dfqgen.quantization.weights import bound_biases
from dfqgen.recipe.records import ActivationsRecipe, ActivationType, PortType, Recipe
from dfqgen.targets import Target

WORTH = 0.01
"""The least part of the noise left that a family must take away: 0.04 dB."""
ENOUGH = 1e-4
"""Noise-to-signal at the outputs below which nothing is worth RAM any more: 40 dB. Neither was chosen on
figures."""


@dataclass(frozen=True, slots=True)
class Widening:
    """A family of tensors made int16: the layers that write it, the noise it took away of what was left, and
    the instructions it cost.
    """

    root: str
    layers: tuple[str, ...]
    share: float
    instructions: float


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the search found; noise is predicted, noise-to-signal at the outputs."""

    widenings: tuple[Widening, ...]
    noise_before: float
    noise_after: float
    slowdown: float


def choose_activations(
    prepared: Prepared, recipe: Recipe, target: Target
) -> tuple[ActivationsRecipe, tuple[Note, ...]]:
    """The recipe with "auto" settled: layers by name, and what was chosen and why."""
    options = recipe.activations
    if options.activations != "auto":
        return options, ()
    narrow = replace(options, activations="int8")
    if not prepared.reactions:
        return narrow, (Note("activations", "int8: without samples nothing tells what int16 would gain"),)
    try:
        search = Search(prepared, recipe, target)
    except UserError as error:
        return narrow, (Note("activations", f"int8: in int16 {error.message}"),)
    chosen = search.run()
    while chosen.widenings:
        settled = search.settled(frozenset(widening.root for widening in chosen.widenings))
        if search.fits(settled):
            return settled, notes(chosen)
        kept = chosen.widenings[: len(chosen.widenings) // 2]
        chosen = replace(chosen, widenings=kept, noise_after=search.noise(kept))
    return narrow, notes(chosen)


def notes(chosen: Chosen) -> tuple[Note, ...]:
    """For the report and the terminal."""
    before, after = (_decibels(noise) for noise in (chosen.noise_before, chosen.noise_after))
    if not chosen.widenings:
        return (Note("activations", f"int8: int16 is not worth it, predicted at the outputs {before}"),)
    count = len(chosen.widenings)
    which = f"int16 for {count} tensor{'s' if count > 1 else ''}"
    whole = f"{which}, predicted at the outputs {after} for {before}"
    cost = f"{100.0 * chosen.slowdown:+.1f} % instructions"
    why = [
        f"{', '.join(w.layers[:2]) or 'input'}{' ...' if len(w.layers) > 2 else ''} {100.0 * w.share:.0f} %"
        for w in chosen.widenings
    ]
    return (
        Note("activations", f"{whole}, {cost}"),
        Note("activations", f"what each takes of the noise left: {'; '.join(why)}"),
    )


def _decibels(noise: float) -> str:
    return f"{-10.0 * math.log10(max(noise, 1e-30)):.1f} dB"


class Search:
    """The network with all activations int8, and with all int16, and what lies between. Types that are not
    "auto" are settled: then both are the same.
    """

    def __init__(self, prepared: Prepared, recipe: Recipe, target: Target) -> None:
        self.prepared, self.recipe, self.target = prepared, recipe, target
        self.rounder = Independent(recipe.weights, correct_bias=False)
        self.narrow, self.wide = ends = self._ends()
        self.weights = [self.rounder.round(typed, {}).weights for typed in ends]
        self.tensors = [
            {name: QTensor(name, typed.graph.shapes[name], qtype) for name, qtype in typed.types.items()}
            for typed in ends
        ]
        self.floor = weight_noise(self.narrow, self.weights[0])
        graph = bound_biases(self.narrow.graph, self.narrow.types, self.narrow.clips)
        absorbed = {clip.output for clip in self.narrow.clips.values()}
        self.nodes = [node for node in graph.nodes if node.output not in absorbed]
        self.families = families(self.narrow)
        self._prices: dict[tuple[int, tuple[bool, ...]], float] = {}

    def _ends(self) -> tuple[Typed, Typed]:
        options = self.recipe.activations
        if options.activations != "auto":
            settled = assign_types(self.prepared, options)
            return settled, settled
        plain = replace(options, activations_map={}, input_type=None)
        if plain.output_type != "float32":
            plain = replace(plain, output_type=None)
        narrow = assign_types(self.prepared, replace(plain, activations="int8"))
        return narrow, assign_types(self.prepared, replace(plain, activations="int16"))

    def gains(self) -> dict[str, float]:
        """Predicted noise that int16 takes away, by family: each tensor that is computed rounds once."""
        found: dict[str, float] = {}
        for tensor in self.rounded_tensors():
            reaction = self.prepared.reactions.get(tensor)
            if reaction is None:
                continue
            statistics = self.narrow.statistics[tensor]
            narrow, wide = (
                activation_noise(statistics, reaction, typed.types[tensor])
                for typed in (self.narrow, self.wide)
            )
            root = self.families.find(tensor)
            found[root] = found.get(root, 0.0) + max(narrow - wide, 0.0)
        return found

    def rounded_tensors(self) -> Iterator[str]:
        """Tensors whose integers are computed, not moved."""
        graph = self.narrow.graph
        yield from (port.tensor for port in graph.inputs)
        for node in graph.nodes:
            if not node.op.keeps_type and node.output in self.narrow.types:
                yield node.output

    def free(self) -> set[str]:
        """Families that no option settles and that can be int16."""
        options, graph = self.recipe.activations, self.narrow.graph
        roots = {self.families.find(tensor) for tensor in self.narrow.types}
        settled = {
            self.families.find(_written(node, self.narrow))
            for node in graph.nodes
            if node.name in options.activations_map or node.output in options.activations_map
        }
        if options.input_type is not None:
            settled |= {self.families.find(port.tensor) for port in graph.fed}
        if options.output_type is not None:
            settled |= {self.families.find(port.tensor) for port in graph.given}
        int8 = {self.families.find(name) for name, qtype in self.wide.types.items() if qtype.dtype.bits == 8}
        return roots - settled - int8

    def run(self) -> Chosen:
        """The greedy search."""
        gains = self.gains()
        readers = self._touching()
        candidates = {root: gains[root] for root in sorted(self.free()) if gains.get(root, 0.0) > 0.0}
        everything = self.floor + sum(gains.values())
        time = fastest = sum(self._price(index, frozenset()) for index in range(len(self.nodes)))
        limit = fastest * (1.0 + self.recipe.activations.time_allowance / 100.0)
        wide: frozenset[str] = frozenset()
        noise, taken = everything, list[Widening]()
        while noise > ENOUGH:
            best: tuple[float, str, float] | None = None
            for root, gain in candidates.items():
                if gain < WORTH * noise:
                    continue
                more = sum(
                    self._price(i, wide | {root}) - self._price(i, wide) for i in readers.get(root, ())
                )
                if time + more > limit:
                    continue
                score = gain / max(more, 1e-3 * fastest)
                if best is None or score > best[0]:
                    best = (score, root, more)
            if best is None:
                break
            _, root, more = best
            taken.append(Widening(root, self.layers(root), candidates[root] / noise, more))
            noise, time = noise - candidates.pop(root), time + more
            wide |= {root}
        return Chosen(tuple(taken), everything, noise, time / fastest - 1.0)

    def settled(self, wide: frozenset[str]) -> ActivationsRecipe:
        """These families int16 and no other: a map of layers, and the type of inputs that no layer writes."""
        options = self.recipe.activations
        named: dict[str, ActivationType] = {layer: "int16" for root in wide for layer in self.layers(root)}
        inputs = {self.families.find(port.tensor) for port in self.narrow.graph.fed}
        input_type: PortType | None = "int16" if inputs and inputs <= wide else options.input_type
        return replace(
            options,
            activations="int8",
            activations_map=named | dict(options.activations_map),
            input_type=input_type,
        )

    def noise(self, widenings: Sequence[Widening]) -> float:
        """Predicted with these families int16."""
        gains = self.gains()
        return self.floor + sum(gains.values()) - sum(gains[widening.root] for widening in widenings)

    def fits(self, options: ActivationsRecipe) -> bool:
        """Whether the target's RAM holds the arena: more than int8 is never chosen where that is full."""
        if self.target.ram_bytes is None:
            return True
        typed = assign_types(self.prepared, options)
        program = lower(typed, self.rounder.round(typed, {}))
        plan = plan_program(program, self.target, optimize=self.recipe.code.made_for)
        return plan.arena_bytes <= self.target.ram_bytes

    def layers(self, root: str) -> tuple[str, ...]:
        """The nodes that write the family."""
        return tuple(
            node.name
            for node in self.narrow.graph.nodes
            if _written(node, self.narrow) in self.narrow.types
            and not node.op.keeps_type
            and self.families.find(_written(node, self.narrow)) == root
        )

    def _touching(self) -> Mapping[str, set[int]]:
        """The nodes that read or write each family."""
        found: dict[str, set[int]] = {}
        for index in range(len(self.nodes)):
            for name in self.touched(index):
                found.setdefault(self.families.find(name), set()).add(index)
        return found

    def _price(self, index: int, wide: frozenset[str]) -> float:
        """Instructions of a node where these families are int16; infinite where arithmetic has no room."""
        names = self.touched(index)
        widths = tuple(self.families.find(name) in wide for name in names)
        if (index, widths) not in self._prices:
            try:
                ops, tensors = self.lowered(index, wide)
                found = sum(self._cheapest(op, tensors) for op in ops)
            except ProgramError:
                found = math.inf
            self._prices[index, widths] = found
        return self._prices[index, widths]

    def touched(self, index: int) -> tuple[str, ...]:
        """The tensors of the program that a node reads and writes."""
        node = self.nodes[index]
        return (*node.inputs, _written(node, self.narrow))

    def lowered(
        self, index: int, wide: frozenset[str], dtype: IntType = IntType.INT8
    ) -> tuple[list[QOp], dict[str, QTensor]]:
        """A node's operators that need code, where these families are int16, and the tensors by name. Weights
        of another type than int8 are not rounded, only as large. Raises ProgramError where arithmetic has no
        room.
        """
        node, names = self.nodes[index], self.touched(index)
        widths = [self.families.find(name) in wide for name in names]
        tensors = {name: self.tensors[width][name] for width, name in zip(widths, names, strict=True)}
        weight = self.weights[widths[0]].get(node.output)
        if weight is not None and dtype is not weight.dtype:
            values = np.clip(weight.values, -dtype.maximum, dtype.maximum)
            weight = replace(weight, values=values, dtype=dtype)
        ops = node.op.lower(site_of(node, self.narrow.clips.get(node.output), tensors, weight))
        return [op for op in ops if needs_code(op)], tensors

    def _cheapest(self, op: QOp, tensors: Mapping[str, QTensor]) -> float:
        inputs, output = [tensors[name] for name in op.inputs], tensors[op.output]
        code, registry = self.recipe.code, kernels.REGISTRY
        spend = may_spend(op.name, code.made_for, code.winograd)
        able = ranked(op, inputs, output, self.target, registry, code.made_for, spend=spend)
        return able[0].instructions if able else math.inf


def _written(node: Node, typed: Typed) -> str:
    """The tensor of the program that a node writes: behind a fused clip, the clip's."""
    return typed.clips[node.output].output if node.output in typed.clips else node.output


def families(typed: Typed) -> Families:
    """Tensors that share a type since elements are only moved between them."""
    found = Families()
    for node in typed.graph.nodes:
        if node.op.keeps_type:
            for name in node.inputs:
                found.join(node.output, name)
    return found
