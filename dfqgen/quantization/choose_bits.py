"""How many bits each layer's weights get: a pattern, a map, or the best use of a flash budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from dfqgen.errors import UserError
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.graph.ir import Graph, Node, Op
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.recurrent import Recurrent
from dfqgen.passes.chains import find_chains
from dfqgen.passes.contract import Note
from dfqgen.quantization.knapsack import Knapsack
from dfqgen.quantization.low_bit_layers import LowBitQuantizer
from dfqgen.quantization.lower import lower
from dfqgen.quantization.rounding import Bits, Independent
from dfqgen.quantization.sensitivity import Sensitivity, weight_size_bytes
from dfqgen.quantization.types import Typed
from dfqgen.recipe.records import (
    BitsPattern,
    FlashBytes,
    FlashPercent,
    LeastSqnr,
    LowBitsRecipe,
    RoundingRecipe,
    WeightsRecipe,
)

DEPTHWISE = "depthwise"


@dataclass(frozen=True, slots=True)
class Allocation:
    """Bits by layer, and how they were found.

    `full_bytes` are all constants with 8-bit weights (None where nobody asked for fewer),
    `predicted_sqnr_db` is the signal to noise ratio that the network's output should keep (weights alone).
    `unpaired` names the layers that no pair takes.
    """

    bits: Bits
    full_bytes: int | None = None
    predicted_sqnr_db: float | None = None
    unpaired: tuple[str, ...] = ()

    def counts_text(self, graph: Graph) -> str:
        """How many layers have which width, in words."""
        widths = [self.bits.get(node.output, IntType.INT8).bits for node in weighted_layers(graph)]
        counts = ", ".join(f"{widths.count(bits)} of {bits}" for bits in sorted(set(widths)))
        return f"layers by bits: {counts}"

    def notes(self, graph: Graph, constant_bytes: int) -> tuple[Note, ...]:
        """For the report; `constant_bytes` are those of the program that came out."""
        if self.full_bytes is None:
            return ()
        text = f"{self.counts_text(graph)}; {self.full_bytes:,} -> {constant_bytes:,} bytes"
        if self.predicted_sqnr_db is not None:
            text += f"; predicted SQNR of the weights {self.predicted_sqnr_db:.1f} dB"
        chosen = Note("weights of few bits", text)
        if not self.unpaired:
            return (chosen,)
        return Note("pairs", f"no pair takes {', '.join(self.unpaired)}: 8 bits"), chosen


def choose_bits(
    typed: Typed, weights: WeightsRecipe, low_bits: LowBitsRecipe, rounding: RoundingRecipe
) -> Allocation:
    """Bits by layer as the recipe says. Raises UserError where its wish cannot be met."""
    if not low_bits.mixes:
        return Allocation({})
    graph = typed.graph
    fixed = mapped_bits(graph, low_bits.bits_map)
    full_bytes = lower(typed, Independent(weights).round(typed, {})).weight_bytes
    if low_bits.wish is None:
        return Allocation(fixed, full_bytes)
    if isinstance(low_bits.wish, BitsPattern):
        bits, unpaired = pattern_bits(graph, low_bits.wish.pattern, ends=low_bits.ends)
        return Allocation(bits | fixed, full_bytes, unpaired=unpaired)
    sensitivity = Sensitivity(LowBitQuantizer(typed, weights, low_bits, searchable(rounding)))
    free = [node for node in candidates(graph, ends=low_bits.ends) if node.output not in fixed]
    if not free:
        raise UserError("there is no layer left to choose bits for", "Allow the ends with --low-ends.")
    choices = {node.output: sensitivity.choices(node) for node in free}
    given = {
        node.output: sensitivity.choices(node, (fixed.get(node.output, IntType.INT8),))
        for node in weighted_layers(graph)
        if node.output not in choices
    }
    knapsack = Knapsack({**choices, **given})
    if isinstance(low_bits.wish, LeastSqnr):
        bits = knapsack.below(10.0 ** (-low_bits.wish.decibels / 10.0))
    else:
        bits = knapsack.within(_budget_of_weights(graph, low_bits.wish, full_bytes, knapsack))
    return Allocation(bits, full_bytes, knapsack.sqnr_db(bits))


def low_bits_warnings(graph: Graph, low_bits: LowBitsRecipe) -> tuple[str, ...]:
    """A pattern of few bits has no effect on a network of two layers with weights, which are its ends."""
    wish = low_bits.wish
    few = isinstance(wish, BitsPattern) and any(t.bits < IntType.INT8.bits for t in wish.pattern)
    if not few or candidates(graph, ends=low_bits.ends) or low_bits.ends:
        return ()
    return ("--bits changes no layer: the first and the last one keep 8 bits without --low-ends",)


def searchable(rounding: RoundingRecipe) -> RoundingRecipe:
    """How layers are rounded on the way to a choice: learning for each layer and width would take hours."""
    return replace(rounding, method="nearest") if rounding.method == "adaround" else rounding


def _budget_of_weights(
    graph: Graph, wish: FlashBytes | FlashPercent, full_bytes: int, knapsack: Knapsack
) -> int:
    """What is left for weights once biases and factors have theirs. Raises UserError."""
    budget = wish.bytes if isinstance(wish, FlashBytes) else int(full_bytes * (wish.percent / 100.0))
    others = full_bytes - sum(weight_size_bytes(node.op, IntType.INT8) for node in weighted_layers(graph))
    if budget < others + knapsack.smallest:
        raise UserError(
            f"the constants do not fit {budget:,} bytes even with the narrowest weights",
            hint=f"Give them {others + knapsack.smallest:,} bytes or more: biases and factors take "
            f"{others:,}, the weights {knapsack.smallest:,}.",
        )
    return budget - others


def weighted_layers(graph: Graph) -> list[Node]:
    """Every layer that has weights, in order."""
    return [node for node in graph.nodes if isinstance(node.op, Conv2D | Recurrent)]


def may_choose(op: Op) -> bool:
    """Whether it has weights, and the model does not state their integers."""
    return isinstance(op, Recurrent) or (isinstance(op, Conv2D) and op.weight_scale is None)


def candidates(graph: Graph, *, ends: bool) -> list[Node]:
    """The layers that may get fewer than 8 bits: without `ends`, not the first and the last.

    Never those whose integers the model states.
    """
    layers = weighted_layers(graph)
    inner = layers if ends else layers[1:-1]
    return [node for node in inner if may_choose(node.op)]


def pattern_bits(
    graph: Graph, pattern: Sequence[IntType], *, ends: bool = False
) -> tuple[dict[str, IntType], tuple[str, ...]]:
    """Bits for a pattern, and the names of the layers that no pair takes: they keep 8 bits.

    In a pair (l, l+1), l+1 alone reads l, through operators that pass a positive factor on. Of a chain
    of layers every second one is the first of a pair. A depthwise layer would rather be the second: it has
    few weights to save on.
    """
    allowed = candidates(graph, ends=ends)
    if len(pattern) == 1:
        return {node.output: pattern[0] for node in allowed}, ()
    names = {node.output for node in allowed}
    bits: dict[str, IntType] = {}
    for depthwise_first in (False, True):
        for chain in find_chains(graph):
            if not {chain.first, chain.second} <= names - bits.keys():
                continue
            first = graph.producers[chain.first].op
            if isinstance(first, Conv2D) and first.depthwise == depthwise_first:
                bits[chain.first], bits[chain.second] = pattern
    return bits, tuple(node.name for node in allowed if node.output not in bits)


def mapped_bits(graph: Graph, wanted: Bits) -> dict[str, IntType]:
    """Bits by tensor from bits by layer name (or output tensor). Raises UserError for an unknown layer.

    "depthwise" stands for all depthwise layers, except for those that are named too.
    """
    layers = weighted_layers(graph)
    found: dict[str, IntType] = {}
    for name, dtype in sorted(wanted.items(), key=lambda item: item[0] != DEPTHWISE):
        matches = [node.output for node in layers if name in (node.name, node.output)]
        if not matches and name == DEPTHWISE:
            matches = [node.output for node in layers if isinstance(node.op, Conv2D) and node.op.depthwise]
        if not matches:
            known = ", ".join(node.name for node in layers)
            raise UserError(f"there is no layer {name!r} with weights", f"The layers are: {known}")
        found |= dict.fromkeys(matches, dtype)
    return found
