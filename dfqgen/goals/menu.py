"""What there is to choose for a network on a target, and what each choice costs.

Prices are the planner's measured ones, constants are packed as the kernels read them, and noise is predicted:
of activations by the outputs' reactions, of weights of few bits by samples (`quantization/sensitivity.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations

from dfqgen import kernels
from dfqgen.errors import ProgramError
from dfqgen.fixedpoint.program import Program, QOp, QTensor
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.goals.code import CodeSizes, LayerCall, layer_call
from dfqgen.goals.solver import Alive, Answer, LayerOptions, Limits, Option, Question
from dfqgen.graph.ir import Node
from dfqgen.kernels.base import Plan, Step
from dfqgen.ops.conv import Conv2D, QConv2D
from dfqgen.ops.recurrent import Recurrent
from dfqgen.ops.recurrent_integer import QRecurrent
from dfqgen.plan.kernels import Choice, price, ranked, selected, share_functions
from dfqgen.plan.lifetimes import lifetimes
from dfqgen.plan.sharing import CALL_BYTES, share_code
from dfqgen.plan.widening import Search
from dfqgen.plan.workload import planned_workload
from dfqgen.quantization.choose_bits import mapped_bits, may_choose, searchable
from dfqgen.quantization.low_bit_layers import LowBitQuantizer
from dfqgen.quantization.prepared import Prepared
from dfqgen.quantization.sensitivity import Sensitivity
from dfqgen.recipe.choices import WIDTHS
from dfqgen.recipe.records import Optimize, Recipe
from dfqgen.targets import Target

MOST_PATTERNS = 4
"""Of so many families around a layer every one may be int16 by itself; of more all or none."""


class Menu:
    """The choices that a recipe leaves open, of a network prepared for it.

    `program` is what was not small or fast enough. Its int16 tensors may become int8, those of others are not
    worth it anyway. With `few_bits` weights may have any width where the recipe says none. `given` has the
    program's by the layer's name; without `few_bits` they stay, and their noise is no matter of choice. What
    is known of code's `sizes` is added to.
    """

    def __init__(
        self,
        prepared: Prepared,
        recipe: Recipe,
        target: Target,
        program: Program,
        *,
        few_bits: bool,
        sizes: Mapping[Optimize, CodeSizes],
    ) -> None:
        self.prepared, self.recipe, self.target = prepared, recipe, target
        self.search = Search(prepared, recipe, target)
        self.few_bits = few_bits
        self.given = {op.name: op.weight_type for op in program.ops if isinstance(op, QConv2D | QRecurrent)}
        gains = self.search.gains
        worth = self.search.free() & self._wide(program)
        self.open = {root: gains[root] for root in sorted(worth) if gains.get(root, 0.0) > 0.0}
        self.noise = sum(gains.values()) + (0.0 if few_bits else self.search.floor)
        self._layers: dict[Optimize, list[LayerOptions]] = {}
        self._calls: dict[Hashable, tuple[LayerCall, int]] = {}
        self._sizes = sizes
        self._alive: dict[Plan, list[Alive]] = {}

    def question(self, optimize: Optimize, alive: Sequence[Alive], limits: Limits) -> Question:
        """What to solve for C that is made for this."""
        layers, functions = self.layers(optimize), self._sizes[optimize].functions
        calls = {name for layer in layers for option in layer.options for name in option.calls}
        shared = {name: functions[name] for name in sorted(calls)}
        return Question(layers, self.open, self.noise, alive, limits, shared)

    def layers(self, optimize: Optimize) -> list[LayerOptions]:
        """Every node's options."""
        if optimize not in self._layers:
            ways = [list(self._ways(index, optimize)) for index in range(len(self.search.nodes))]
            sizes = self._sizes[optimize]
            sizes.measure(call for options in ways for way in options for call, _ in way.calls)
            self._layers[optimize] = [
                LayerOptions(
                    node.output, self._around(index), tuple(way.option(sizes) for way in ways[index])
                )
                for index, node in enumerate(self.search.nodes)
            ]
        return self._layers[optimize]

    def alive(self, program: Program, plan: Plan) -> list[Alive]:
        """The bytes of each step of a plan of `program`, whole layers, whatever runs row by row."""
        if plan not in self._alive:
            self._alive[plan] = self._bytes_alive(program, plan)
        return self._alive[plan]

    def _bytes_alive(self, program: Program, plan: Plan) -> list[Alive]:
        workload, order = planned_workload(program, replace(plan, segments=()))
        found = []
        buffers = lifetimes(workload, order)
        for step in range(len(order)):
            settled, more = 0, dict[str, int]()
            for life in (life for life in buffers if life.first <= step <= life.last):
                tensor = program.tensors.get(life.buffer)
                root = "" if tensor is None else self.search.families.find(life.buffer)
                if tensor is not None and root in self.open:
                    more[root] = more.get(root, 0) + tensor.elements
                    settled += tensor.elements
                else:
                    settled += life.size_bytes
            found.append(Alive(settled, more))
        return found

    def ram_bytes(self, program: Program, plan: Plan) -> int:
        """The most of a step, with the types that the program has."""
        wide = self._wide(program)
        return max(
            step.settled_bytes + sum(more for root, more in step.more_bytes.items() if root in wide)
            for step in self.alive(program, plan)
        )

    def _wide(self, program: Program) -> set[str]:
        """The families that are int16 in a program."""
        return {
            self.search.families.find(name)
            for name, tensor in program.tensors.items()
            if tensor.qtype.dtype is IntType.INT16
        }

    def flash_bytes(self, plan: Plan, optimize: Optimize) -> int:
        """What a plan's layers add up to."""
        calls = [layer_call(step.kernel, step.op, step.inputs, step.output) for step in plan.steps]
        return self._flash_bytes(plan, calls, optimize)

    def _flash_bytes(self, plan: Plan, calls: Sequence[tuple[LayerCall, int]], optimize: Optimize) -> int:
        copies: dict[int, LayerCall] = {}
        own: list[LayerCall] = []
        shared_bytes = 0
        for step, (call, _) in zip(plan.steps, calls, strict=True):
            if step.shared is None:
                own.append(call)
                continue
            shared_bytes += CALL_BYTES
            table = self.target.costs.copy_bytes.get(call.function)
            if step.shared.number not in copies and step.shared.instructions > 0.0 and table is not None:
                shared_bytes += round(table["shared"])  # a copy for layers of all kinds
            elif step.shared.number not in copies:
                own.append(call)
            copies[step.shared.number] = call
        code = self._sizes[optimize].total_bytes(own)
        return code + shared_bytes + sum(array_bytes for _, array_bytes in calls)

    def instructions(self, plan: Plan, optimize: Optimize) -> float:
        """Likewise."""
        return sum(
            price(step.kernel, step.op, step.inputs, step.output, self.target, optimize)[0]
            + (0.0 if step.shared is None else step.shared.instructions)
            for step in plan.steps
        )

    def planned(self, answer: Answer, optimize: Optimize) -> Answer:
        """The same choice as the planner will make it: kernels for size are not the fastest ones, and layers
        share code.
        """
        if optimize == "speed":
            return answer
        able: list[list[Choice]] = []
        around: list[tuple[IntType | None, Mapping[str, QTensor]]] = []
        for index, node in enumerate(self.search.nodes):
            option = answer.options[node.output]
            ops, tensors = self.search.lowered(index, option.wide, option.dtype or IntType.INT8)
            able += [self._able(op, tensors, optimize, spends=option.spends) for op in ops]
            around += [(option.dtype, tensors)] * len(ops)
        if optimize == "size":
            share_functions(able, self.target)
        chosen = [group[0] for group in able]
        steps = [_step(choice, tensors) for choice, (_, tensors) in zip(chosen, around, strict=True)]
        plan = Plan(tuple(steps), {}, 0, 0)
        if optimize == "balanced":
            plan = share_code(plan, self.target)
        calls = [self._call(choice, *types) for choice, types in zip(chosen, around, strict=True)]
        return replace(
            answer,
            flash_bytes=self._flash_bytes(plan, calls, optimize),
            instructions=self.instructions(plan, optimize),
        )

    def _around(self, index: int) -> frozenset[str]:
        roots = {self.search.families.find(name) for name in self.search.touched(index)}
        return frozenset(roots & self.open.keys())

    def _ways(self, index: int, optimize: Optimize) -> Iterator[_Way]:
        """Every way to run a node, by its fastest kernels."""
        node = self.search.nodes[index]
        for wide in _patterns(self._around(index)):
            for dtype in self._widths(node):
                try:
                    ops, tensors = self.search.lowered(index, wide, dtype or IntType.INT8)
                except ProgramError:
                    continue
                noise = self._noise(node, dtype)
                for spends in self._spends(node, optimize):
                    chosen = [self._able(op, tensors, optimize, spends=spends)[0] for op in ops]
                    calls = tuple(self._call(choice, dtype, tensors) for choice in chosen)
                    time = sum(choice.instructions for choice in chosen)
                    spent = any(choice.kernel.spends_flash for choice in chosen)
                    yield _Way(dtype, wide, spent, time, noise, calls)

    def _spends(self, node: Node, optimize: Optimize) -> tuple[bool, ...]:
        winograd = self.recipe.code.winograd
        if optimize == "size" or winograd == "off":
            return (False,)
        if winograd == "auto":
            return (False, True)
        return (node.name in winograd,)

    def _widths(self, node: Node) -> Collection[IntType | None]:
        if not isinstance(node.op, Conv2D | Recurrent):
            return (None,)
        if not self.few_bits or node.output in self._stated or not may_choose(node.op):
            return (self.given.get(node.name, IntType.INT8),)
        return WIDTHS

    @cached_property
    def _stated(self) -> Mapping[str, IntType]:
        return mapped_bits(self.search.narrow.graph, self.recipe.low_bits.bits_map)

    def _noise(self, node: Node, dtype: IntType | None) -> float:
        if not self.few_bits or dtype is None:
            return 0.0
        (choice,) = self._sensitivity.choices(self._sensitivity.graph.producers[node.output], (dtype,))
        return choice.noise

    @cached_property
    def _sensitivity(self) -> Sensitivity:
        recipe, rounding = self.recipe, searchable(self.recipe.rounding)
        typed = self.search.narrow
        return Sensitivity(LowBitQuantizer(typed, recipe.weights, recipe.low_bits, rounding))

    def _able(
        self, op: QOp, tensors: Mapping[str, QTensor], optimize: Optimize, *, spends: bool
    ) -> list[Choice]:
        inputs, output = [tensors[name] for name in op.inputs], tensors[op.output]
        able = ranked(op, inputs, output, self.target, kernels.REGISTRY, optimize, spend=spends)
        if not able:
            raise ProgramError(f"no kernel computes {op.name!r}")
        return able

    def _call(
        self, choice: Choice, dtype: IntType | None, tensors: Mapping[str, QTensor]
    ) -> tuple[LayerCall, int]:
        """Of one kernel for weights of one type, and for tensors of the same types, packed once."""
        op = choice.op
        inputs, output = [tensors[name] for name in op.inputs], tensors[op.output]
        types = tuple(tensor.qtype.dtype for tensor in (*inputs, output))
        key = op.name, dtype, choice.kernel.function, types
        if key not in self._calls:
            self._calls[key] = layer_call(choice.kernel, op, inputs, output)
        return self._calls[key]


@dataclass(frozen=True, slots=True)
class _Way:
    """An option before its code is measured; `calls` are those of its operators, with the bytes of arrays."""

    dtype: IntType | None
    wide: frozenset[str]
    spends: bool
    instructions: float
    noise: float
    calls: tuple[tuple[LayerCall, int], ...]

    def option(self, sizes: CodeSizes) -> Option:
        code = [sizes.of(call) for call, _ in self.calls]
        flash = sum(array_bytes for _, array_bytes in self.calls) + sum(layer.own_bytes for layer in code)
        calls = frozenset[str]().union(*(layer.calls for layer in code))
        return Option(self.dtype, self.wide, self.spends, flash, self.instructions, self.noise, calls)


def _step(choice: Choice, tensors: Mapping[str, QTensor]) -> Step:
    """Of a plan whose memory is of no interest."""
    inputs = tuple(tensors[name] for name in choice.op.inputs)
    return Step(
        choice.op,
        choice.kernel,
        inputs,
        tensors[choice.op.output],
        (0,) * len(inputs),
        0,
        scratch_bytes=choice.scratch_bytes,
        selection=selected(choice, 1, choice.instructions).selection,
    )


def _patterns(families: frozenset[str]) -> Iterator[frozenset[str]]:
    names = sorted(families)
    counts = range(len(names) + 1) if len(names) <= MOST_PATTERNS else (0, len(names))
    return (frozenset(some) for count in counts for some in combinations(names, count))
