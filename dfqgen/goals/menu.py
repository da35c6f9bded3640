"""What there is to choose for a network on a target, and what each choice costs.

Prices are the planner's measured ones, constants are packed as the kernels read them, and noise is predicted:
of activations by the outputs' reactions, of weights of few bits by samples (`quantization/sensitivity.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import combinations

from dfqgen import kernels
from dfqgen.compile import Draft
from dfqgen.errors import ProgramError
from dfqgen.fixedpoint.program import Program, QOp, QTensor
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.goals.solver import Alive, LayerOptions, Limits, Option, Question
from dfqgen.graph.ir import Node
from dfqgen.kernels.base import Plan
from dfqgen.ops.conv import Conv2D, QConv2D
from dfqgen.plan.kernels import Choice, ranked
from dfqgen.plan.lifetimes import lifetimes
from dfqgen.plan.widening import Search
from dfqgen.plan.workload import planned_workload
from dfqgen.quantization.choose_bits import mapped_bits, searchable
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
    program's by the layer's name; without `few_bits` they stay, and their noise is no matter of choice.
    `code_share` is how large the code of a layer is beside that in the cost table.
    """

    def __init__(
        self,
        prepared: Prepared,
        recipe: Recipe,
        target: Target,
        program: Program,
        *,
        few_bits: bool,
        code_share: float,
    ) -> None:
        self.prepared, self.recipe, self.target = prepared, recipe, target
        self.search = Search(prepared, recipe, target)
        self.few_bits, self.code_share = few_bits, code_share
        self.given = {op.name: op.weight_type for op in program.ops if isinstance(op, QConv2D)}
        gains = self.search.gains
        worth = self.search.free() & self._wide(program)
        self.open = {root: gains[root] for root in sorted(worth) if gains.get(root, 0.0) > 0.0}
        self.noise = sum(gains.values()) + (0.0 if few_bits else self.search.floor)
        self._layers: dict[Optimize, list[LayerOptions]] = {}
        self._constants: dict[tuple[str, IntType | None, str], int] = {}
        self._alive: dict[Plan, list[Alive]] = {}

    def question(self, optimize: Optimize, alive: Sequence[Alive], limits: Limits) -> Question:
        """What to solve for C that is made for this."""
        layers = self.layers(optimize)
        calls = {name for layer in layers for option in layer.options for name in option.calls}
        shared = {name: self._function_bytes[name] for name in sorted(calls)}
        return Question(layers, self.open, self.noise, alive, limits, shared)

    def layers(self, optimize: Optimize) -> list[LayerOptions]:
        """Every node's options."""
        if optimize not in self._layers:
            self._layers[optimize] = [
                LayerOptions(node.output, self._around(index), tuple(self._options(index, optimize)))
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
        """What the options of a plan's layers would add up to: with their fastest kernels, as those have,
        which may be others than the plan's.
        """
        functions = [
            self._cheapest(
                step.op, step.inputs, step.output, optimize, spends=step.kernel.spends_flash
            ).kernel.function
            for step in plan.steps
        ]
        shared = {name for function in functions for name in self._calls(function, optimize)}
        return (
            plan.array_bytes
            + sum(self._code_bytes(function, optimize) for function in functions)
            + sum(self._function_bytes[name] for name in shared)
        )

    def instructions(self, plan: Plan, optimize: Optimize) -> float:
        """Likewise."""
        return sum(
            self._cheapest(
                step.op, step.inputs, step.output, optimize, spends=step.kernel.spends_flash
            ).instructions
            for step in plan.steps
        )

    def _around(self, index: int) -> frozenset[str]:
        roots = {self.search.families.find(name) for name in self.search.touched(index)}
        return frozenset(roots & self.open.keys())

    def _options(self, index: int, optimize: Optimize) -> Iterator[Option]:
        node = self.search.nodes[index]
        for wide in _patterns(self._around(index)):
            for dtype in self._widths(node):
                try:
                    ops, tensors = self.search.lowered(index, wide, dtype or IntType.INT8)
                except ProgramError:
                    continue
                noise = self._noise(node, dtype)
                for spends in self._spends(node, optimize):
                    chosen = [
                        self._cheapest(
                            op,
                            [tensors[name] for name in op.inputs],
                            tensors[op.output],
                            optimize,
                            spends=spends,
                        )
                        for op in ops
                    ]
                    flash = sum(self._flash(choice, dtype, tensors, optimize) for choice in chosen)
                    time = sum(choice.instructions for choice in chosen)
                    spent = any(choice.kernel.spends_flash for choice in chosen)
                    calls = frozenset(
                        name for choice in chosen for name in self._calls(choice.kernel.function, optimize)
                    )
                    yield Option(dtype, wide, spent, flash, time, noise, calls)

    def _spends(self, node: Node, optimize: Optimize) -> tuple[bool, ...]:
        winograd = self.recipe.code.winograd
        if optimize == "size" or winograd == "off":
            return (False,)
        if winograd == "auto":
            return (False, True)
        return (node.name in winograd,)

    def _widths(self, node: Node) -> Collection[IntType | None]:
        if not isinstance(node.op, Conv2D):
            return (None,)
        if not self.few_bits or node.output in self._stated or node.op.weight_scale is not None:
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

    def _cheapest(
        self, op: QOp, inputs: Sequence[QTensor], output: QTensor, optimize: Optimize, *, spends: bool
    ) -> Choice:
        able = ranked(op, inputs, output, self.target, kernels.REGISTRY, optimize, spend=spends)
        if not able:
            raise ProgramError(f"no kernel computes {op.name!r}")
        return able[0]

    def _flash(
        self, choice: Choice, dtype: IntType | None, tensors: Mapping[str, QTensor], optimize: Optimize
    ) -> int:
        op, function = choice.op, choice.kernel.function
        key = op.name, dtype, function
        if key not in self._constants:
            code = choice.kernel.code(op, [tensors[name] for name in op.inputs], tensors[op.output])
            self._constants[key] = code.array_bytes
        return self._constants[key] + self._code_bytes(function, optimize)

    def _code_bytes(self, function: str, optimize: Optimize) -> int:
        """About the code of a layer's own; of what is made for size all layers share it."""
        return 0 if optimize == "size" else round(self.code_share * _table_bytes(function, self.target))

    def _calls(self, function: str, optimize: Optimize) -> Collection[str]:
        """The functions of C made for size that layers with this kernel share."""
        return self.target.costs.code_bytes.get(function, {}).keys() if optimize == "size" else ()

    @cached_property
    def _function_bytes(self) -> Mapping[str, int]:
        """C functions made for size, the largest found where compilers specialized them."""
        found: dict[str, int] = {}
        for sizes in self.target.costs.code_bytes.values():
            for name, size in sizes.items():
                found[name] = max(size, found.get(name, 0))
        return found


def code_share(draft: Draft, target: Target) -> float:
    """What the layers' own copies of code take of what tables say of functions that serve all layers."""
    whole = sum(_table_bytes(step.kernel.function, target) for step in draft.plan.steps)
    return 0.0 if draft.code is None or whole == 0 else draft.code.code_bytes / whole


def _table_bytes(function: str, target: Target) -> int:
    return sum(target.costs.code_bytes.get(function, {}).values())


def _patterns(families: frozenset[str]) -> Iterator[frozenset[str]]:
    names = sorted(families)
    counts = range(len(names) + 1) if len(names) <= MOST_PATTERNS else (0, len(names))
    return (frozenset(some) for count in counts for some in combinations(names, count))
