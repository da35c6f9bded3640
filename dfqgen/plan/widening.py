"""The search of `--activations auto`: which tensors of a network are worth 16 bits on a target.

Every family of tensors that must share one type is a candidate. What it gains is predicted: the noise at the
outputs of its rounding and clipping in int8, less that in int16 (`quantization/predicted_noise.py`). What it
costs in time are the planner's measured prices of the layers that write and read it, and in RAM what it adds
to the fullest step, in the order in which int8's layers run.

Gains and costs meet in one currency: half the noise's amplitude at the outputs is a bit gained, down to
`SILENCE`; twice the time is a bit spent, twice the arena half a bit. The search makes one choice for each of
some arenas, and of all that it passes on the way takes the one of most bits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from dfqgen import kernels
from dfqgen.errors import ProgramError
from dfqgen.fixedpoint.program import QOp, QTensor
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.graph.ir import Array, Graph, Node
from dfqgen.graph.steps import with_states
from dfqgen.plan.kernels import may_spend, ranked
from dfqgen.plan.planner import plan_for
from dfqgen.plan.schedule import peak_bytes
from dfqgen.plan.workload import Work, Workload, align, needs_code, whole_workload
from dfqgen.quantization.choose_bits import choose_bits
from dfqgen.quantization.lower import lower, site_of
from dfqgen.quantization.noise import LEAST_SQNR_DB
from dfqgen.quantization.predicted_noise import activation_noise, computed_tensors, weight_noise
from dfqgen.quantization.prepared import Prepared
from dfqgen.quantization.rounding import Independent
from dfqgen.quantization.tensor_ranges import TINY
from dfqgen.quantization.types import Typed, assign_types
from dfqgen.quantization.unify import Families
from dfqgen.quantization.weights import bound_biases
from dfqgen.recipe.records import ActivationsRecipe, ActivationType, PortType, Recipe
from dfqgen.statistics.procedural import is_image, is_signal, layout
from dfqgen.targets import Target

AUDIBLE = 0.01
"""The least part of the noise left that a family must take away: 0.04 dB."""
SILENCE = 1e-3
"""Noise-to-signal at the outputs below which nothing is gained any more: 30 dB, a thirtieth of the signal.
Settled, with `ARENA_BITS`, having seen what the noise model predicts for BlazeFace and the digits network."""
TIME_ALLOWANCE = 10.0
"""Per cent more instructions than int8's, unless stated."""
POOR = 10.0 ** (-LEAST_SQNR_DB / 10.0)
"""Noise-to-signal at the outputs beyond which no allowance holds, only what bits are worth: what a build
warns of."""
LEAST_BITS = 1.0 / 6.0
"""What a choice must be worth as a whole, its costs taken off: a decibel. Networks whose weights make most of
the noise stay as they are."""
ARENA_BITS = 0.5
"""What twice the arena costs. Time is felt at every run, RAM only where something else needs it."""
QUIET = 0.25
"""Of a stated range, what the signal that comes may fill: halfway, in decibels, from one that fills it to one
that fills the sixteenth at which samples get a warning (`samples/doubts.py`). No network was looked at."""
QUIET_SAMPLES = 2
"""On which it is seen what becomes of a quieter signal."""
ROOMS = tuple(2.0 ** (step / 4) for step in range(9))
"""Arenas that are tried, as multiples of int8's."""


@dataclass(frozen=True, slots=True)
class Widening:
    """A family of tensors made int16: the layers that write it, and the part of the noise left that
    it took.
    """

    root: str
    layers: tuple[str, ...]
    share: float


@dataclass(frozen=True, slots=True)
class Chosen:
    """Families in the order in which they were chosen. Noise is predicted, noise-to-signal at the outputs;
    instructions and the arena (bytes) are estimates, beside those of int8.
    """

    widenings: tuple[Widening, ...]
    noise: float
    instructions: float
    arena_bytes: int

    def bits(self, narrow: Chosen) -> float:
        """What it is worth beside int8."""
        gained = 0.5 * math.log2(max(narrow.noise, SILENCE) / max(self.noise, SILENCE))
        slower = math.log2(max(self.instructions, 1.0) / max(narrow.instructions, 1.0))
        larger = math.log2(max(self.arena_bytes, 1) / max(narrow.arena_bytes, 1))
        return gained - slower - ARENA_BITS * larger


@dataclass(frozen=True, slots=True, eq=False)
class Planned:
    """The arena of a program, what it runs, and in which order."""

    arena_bytes: int
    workload: Workload
    order: Sequence[int]


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """A node with its tensors' widths: instructions, infinite where arithmetic has no room, and works."""

    instructions: float
    works: tuple[Work, ...] = ()


class Search:
    """The network with all activations int8, and with all int16, and what lies between. Types that are not
    "auto" are settled: then both are the same.
    """

    def __init__(self, prepared: Prepared, recipe: Recipe, target: Target) -> None:
        """Raises UserError where the network cannot be int16."""
        self.prepared, self.recipe, self.target = prepared, recipe, target
        self.narrow, self.wide = ends = self._ends()
        self.bits = choose_bits(self.narrow, recipe.weights, recipe.low_bits, recipe.rounding).bits
        # To nearest: what layers cost does not depend on it, and other rounding makes no more noise.
        self.rounder = Independent(recipe.weights)
        rounded = [self.rounder.round(typed, self.bits) for typed in ends]
        self.weights = [found.weights for found in rounded]
        self.tensors = [
            {name: QTensor(name, typed.graph.shapes[name], qtype) for name, qtype in typed.types.items()}
            for typed in ends
        ]
        self.floor = float(weight_noise(self.narrow, rounded[0]).mean())
        self.families = families(self.narrow)
        self.gains = self._gains()
        graph = bound_biases(self.narrow.graph, self.narrow.types, self.narrow.clips)
        absorbed = {clip.output for clip in self.narrow.clips.values()}
        self.nodes = [node for node in graph.nodes if node.output not in absorbed]
        self._touching = self._nodes_of_families()
        self._layers: dict[tuple[int, tuple[bool, ...]], _Layer] = {}
        self._rounded = rounded[0]

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

    @cached_property
    def planned(self) -> Planned:
        """All int8."""
        program = lower(self.narrow, self._rounded)
        plan = plan_for(program, self.recipe.code, self.target)
        return Planned(plan.arena_bytes, *whole_workload(program, plan))

    def planned_bytes(self, options: ActivationsRecipe) -> int:
        """The arena with these types, planned as the recipe asks for it."""
        typed = assign_types(self.prepared, options)
        program = lower(typed, self.rounder.round(typed, self.bits))
        return plan_for(program, self.recipe.code, self.target).arena_bytes

    def choices(self) -> tuple[Chosen, list[Chosen]]:
        """All int8; and what is worth more than that, the best first."""
        narrow = self._choice(())
        found: dict[tuple[Widening, ...], Chosen] = {}
        paths = []
        for room in ROOMS:
            path, complete = self._path(narrow, int(room * narrow.arena_bytes))
            paths.append(path)
            if complete:
                break
        if narrow.noise > POOR and self.recipe.activations.time_allowance is None:
            paths.append(self._path(narrow, None)[0])
        for path in paths:
            best = max(path, key=lambda choice: choice.bits(narrow))
            found[best.widenings] = best
        worth = [choice for choice in found.values() if choice.bits(narrow) >= LEAST_BITS]
        return narrow, sorted(worth, key=lambda choice: choice.bits(narrow), reverse=True)

    def _path(self, narrow: Chosen, room_bytes: int | None) -> tuple[list[Chosen], bool]:
        """Choices that grow by the family of most gain an instruction, while the arena and the allowance of
        time last, or, for None, as long as the network is poor; and whether there was always room.
        """
        stated = self.recipe.activations.time_allowance
        allowance = TIME_ALLOWANCE if stated is None else stated
        limit, room = narrow.instructions * (1.0 + allowance / 100.0), float(room_bytes or 0)
        least = max(1e-3 * narrow.instructions, 1.0)  # what costs nothing comes by its gain
        candidates = {root: gain for root in sorted(self.free()) if (gain := self.gains.get(root, 0.0)) > 0.0}
        path, complete = [narrow], True
        wide: frozenset[str] = frozenset()
        price = {root: self._more(root, wide) for root in candidates}
        while (now := path[-1]).noise > SILENCE:
            if room_bytes is None:
                poor = now.noise > POOR
                limit, room = (math.inf, math.inf) if poor else (now.instructions, now.arena_bytes)
            able = [
                root
                for root, gain in candidates.items()
                if gain >= AUDIBLE * now.noise and now.instructions + price[root] <= limit
            ]
            if not able:
                break
            root = max(able, key=lambda root: candidates[root] / max(price[root], least))
            arena_bytes = self.arena_bytes(wide | {root})
            gain = candidates.pop(root)
            if arena_bytes > room:
                complete = False
                continue
            wide |= {root}
            taken = Widening(root, self.layers(root), gain / now.noise)
            time = now.instructions + price[root]
            path.append(Chosen((*now.widenings, taken), now.noise - gain, time, arena_bytes))
            for other in self._neighbours(root) & candidates.keys():
                price[other] = self._more(other, wide)
        return path, complete

    def _choice(self, widenings: tuple[Widening, ...]) -> Chosen:
        wide = frozenset(widening.root for widening in widenings)
        noise = self.floor + sum(gain for root, gain in self.gains.items() if root not in wide)
        time = sum(self._layer(index, wide).instructions for index in range(len(self.nodes)))
        return Chosen(widenings, max(noise, 1e-30), time, self.arena_bytes(wide))

    def free(self) -> set[str]:
        """Families that no option settles and that can be int16. Images come in bytes: they stay int8."""
        options, graph = self.recipe.activations, self.narrow.graph
        roots = {self.families.find(tensor) for tensor in self.narrow.types}
        settled = {
            self.families.find(self._written(node))
            for node in graph.nodes
            if node.name in options.activations_map or node.output in options.activations_map
        }
        settled |= {
            self.families.find(port.tensor)
            for port in graph.fed
            if options.input_type is not None or port.name in options.activations_map or is_image(port.shape)
        }
        if options.output_type is not None:
            settled |= {self.families.find(port.tensor) for port in graph.given}
        int8 = {self.families.find(name) for name, qtype in self.wide.types.items() if qtype.dtype.bits == 8}
        return roots - settled - int8

    def arena_bytes(self, wide: frozenset[str]) -> int:
        """Bytes at the fullest step with these families int16: no placement can use fewer."""
        workload = self.planned.workload
        works = {work.writes: work for work in workload.works}
        for index in range(len(self.nodes)):
            works |= {work.writes: work for work in self._layer(index, wide).works if work.writes in works}
        sizes = dict(workload.sizes_bytes)
        for name in sizes:
            if self.families.find(name) in wide:
                sizes[name] = align(self.tensors[1][name].size_bytes)
        changed = replace(workload, works=tuple(works.values()), sizes_bytes=sizes)
        return peak_bytes(changed, self.planned.order)

    def settled(self, wide: frozenset[str]) -> ActivationsRecipe:
        """These families int16 and no other: a map of layers and of inputs, which no layer writes; or all
        inputs' type.
        """
        options = self.recipe.activations
        named: dict[str, ActivationType] = {layer: "int16" for root in wide for layer in self.layers(root)}
        inputs = {port.name: self.families.find(port.tensor) for port in self.narrow.graph.fed}
        input_type: PortType | None = options.input_type
        if inputs and wide.issuperset(inputs.values()):
            input_type = "int16"
        else:
            named |= {name: "int16" for name, root in inputs.items() if root in wide}
        return replace(
            options,
            activations="int8",
            activations_map=named | dict(options.activations_map),
            input_type=input_type,
        )

    def _gains(self) -> dict[str, float]:
        """Predicted noise that int16 takes away, by family: each tensor that is computed rounds once."""
        found: dict[str, float] = {}
        for tensor in computed_tensors(self.narrow):
            reaction = self.prepared.reactions.get(tensor)
            if reaction is None:
                continue
            statistics = self.narrow.statistics[tensor]
            narrow, wide = (
                float(activation_noise(statistics, reaction, typed.types[tensor]).mean())
                for typed in (self.narrow, self.wide)
            )
            root = self.families.find(tensor)
            gain = max(narrow - wide, 0.0) * self.counted.get(tensor, 1.0)
            found[root] = found.get(root, 0.0) + gain
        return found

    @cached_property
    def counted(self) -> Mapping[str, float]:
        """How many times the rounding of a tensor counts: by how much less power it has where what is unsure
        of its loudness is `QUIET`. Behind a gate or a norm the signal is as loud as ever.
        """
        if not self._unsure:
            return {}
        graph = self.narrow.graph
        loud = {name: value[:QUIET_SAMPLES] for name, value in self.narrow.evidence.samples.items()}
        quiet = {name: QUIET * x if name in self._unsure else x for name, x in loud.items()}
        before, after = (_powers(graph, with_states(graph, samples)) for samples in (loud, quiet))
        return {
            name: min(max(power / max(after[name], TINY), 1.0), QUIET**-2) for name, power in before.items()
        }

    @cached_property
    def _unsure(self) -> frozenset[str]:
        """Signals and steps of signals, of whose loudness nothing tells but a range that they stay within."""
        graph = self.narrow.graph
        if self.prepared.real:
            return frozenset()
        return frozenset(
            port.tensor
            for port in graph.fed
            if port.holds is None
            and port.coding is None
            and not is_image(port.shape)
            and (graph.states or is_signal(layout(graph, port)))
        )

    def _written(self, node: Node) -> str:
        """The tensor of the program that a node writes: behind a fused clip, the clip's."""
        clips = self.narrow.clips
        return clips[node.output].output if node.output in clips else node.output

    def layers(self, root: str) -> tuple[str, ...]:
        """The nodes that write the family."""
        return tuple(
            node.name
            for node in self.narrow.graph.nodes
            if self._written(node) in self.narrow.types
            and not node.op.keeps_type
            and self.families.find(self._written(node)) == root
        )

    def touched(self, index: int) -> tuple[str, ...]:
        """The tensors of the program that a node reads and writes."""
        node = self.nodes[index]
        return (*node.inputs, self._written(node))

    def _families_of(self, index: int) -> tuple[str, ...]:
        return tuple(self.families.find(name) for name in self.touched(index))

    def _nodes_of_families(self) -> Mapping[str, set[int]]:
        """The nodes that read or write each family."""
        found: dict[str, set[int]] = {}
        for index in range(len(self.nodes)):
            for root in self._families_of(index):
                found.setdefault(root, set()).add(index)
        return found

    def _neighbours(self, root: str) -> set[str]:
        """Families that share a node with this one."""
        return {other for index in self._touching.get(root, ()) for other in self._families_of(index)}

    def _more(self, root: str, wide: frozenset[str]) -> float:
        """Instructions that one more family costs."""
        return sum(
            self._layer(index, wide | {root}).instructions - self._layer(index, wide).instructions
            for index in self._touching.get(root, ())
        )

    def _layer(self, index: int, wide: frozenset[str]) -> _Layer:
        """A node where these families are int16."""
        widths = tuple(root in wide for root in self._families_of(index))
        if (index, widths) not in self._layers:
            self._layers[index, widths] = self._priced(index, wide)
        return self._layers[index, widths]

    def _priced(self, index: int, wide: frozenset[str]) -> _Layer:
        try:
            ops, tensors = self.lowered(index, wide)
        except ProgramError:
            return _Layer(math.inf)
        found = [self._cheapest(op, tensors) for op in ops]
        works = [work for _, work in found if work is not None]
        return _Layer(sum(instructions for instructions, _ in found), tuple(works))

    def lowered(
        self, index: int, wide: frozenset[str], dtype: IntType | None = None
    ) -> tuple[list[QOp], dict[str, QTensor]]:
        """A node's operators that need code, where these families are int16, and the tensors by name. Weights
        of another type than they have are not rounded, only as large. Raises ProgramError where arithmetic
        has no room.
        """
        node, names = self.nodes[index], self.touched(index)
        widths = [self.families.find(name) in wide for name in names]
        tensors = {name: self.tensors[width][name] for width, name in zip(widths, names, strict=True)}
        weight = self.weights[widths[0]].get(node.output)
        if weight is not None and dtype not in (None, weight.dtype):
            values = np.clip(weight.values, -dtype.maximum, dtype.maximum)
            weight = replace(weight, values=values, dtype=dtype)
        clip = self.narrow.clips.get(node.output)
        width = dtype or self.bits.get(node.output, IntType.INT8)
        ops = node.op.lower(site_of(node, clip, tensors, weight, width))
        return [op for op in ops if needs_code(op)], tensors

    def _cheapest(self, op: QOp, tensors: Mapping[str, QTensor]) -> tuple[float, Work | None]:
        inputs, output = tuple(tensors[name] for name in op.inputs), tensors[op.output]
        code, registry = self.recipe.code, kernels.REGISTRY
        spend = may_spend(op.name, code.made_for, code.winograd)
        able = ranked(op, inputs, output, self.target, registry, code.made_for, spend=spend)
        if not able:
            return math.inf, None
        known = self.planned.workload
        work = Work.of(op, able[0].kernel, inputs, output, known.views.parts, known.buffer_of)
        return able[0].instructions, work


def _powers(graph: Graph, samples: Mapping[str, Array]) -> dict[str, float]:
    """Mean square of every tensor."""
    found = {name: float(np.mean(np.square(value, dtype=np.float64))) for name, value in samples.items()}

    def watch(node: Node, arguments: tuple[Array, ...], output: Array) -> None:
        found[node.output] = float(np.mean(np.square(output, dtype=np.float64)))

    graph.evaluate(samples, watch)
    return found


def families(typed: Typed) -> Families:
    """Tensors that share a type since elements are only moved between them."""
    found = Families()
    for node in typed.graph.nodes:
        if node.op.keeps_type:
            for name in node.inputs:
                found.join(node.output, name)
    return found
