"""How many bits each layer's weights get: a pattern, a map, or the best use of a flash budget."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dfqgen.errors import UserError
from dfqgen.fixedpoint.qtype import Array, IntType
from dfqgen.graph.ir import Graph, Node, Op
from dfqgen.ops.conv import Conv2D
from dfqgen.passes.chains import find_chains, scale_input_channels
from dfqgen.quantization.mixed import Layer, LowBitQuantizer
from dfqgen.quantization.widths import score_tensors

WIDTHS = (IntType.INT2, IntType.INT3, IntType.INT4, IntType.INT6, IntType.INT8)
MEASURED = IntType.INT4
"""The noise of more bits than these follows from theirs."""
SENSITIVITY_ELEMENTS = 400_000
"""Input values on which the network is run for each layer and width, and at least this many samples:"""
SENSITIVITY_SAMPLES = 2
DEPTHWISE = "depthwise"
TABLE_ENTRIES = 1 << 21
"""The knapsack's table is at most this long; sizes are rounded up to its unit where they are finer."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A width for a layer: flash of its weights, and the noise it alone puts on the network's output."""

    dtype: IntType
    size_bytes: int
    noise: float


@dataclass(frozen=True, slots=True)
class Allocation:
    """Bits by layer, and the signal to noise ratio the network's output should keep (weights alone)."""

    bits: Mapping[str, IntType]
    predicted_sqnr_db: float | None = None

    def counts_text(self, graph: Graph) -> str:
        """How many layers have which width, in words."""
        widths = [self.bits.get(node.output, IntType.INT8).bits for node in convolutions(graph)]
        counts = ", ".join(f"{widths.count(bits)} of {bits}" for bits in sorted(set(widths)))
        return f"layers by bits: {counts}"


def convolutions(graph: Graph) -> list[Node]:
    """Every layer that has weights, in order."""
    return [node for node in graph.nodes if isinstance(node.op, Conv2D)]


def candidates(graph: Graph, *, ends: bool) -> list[Node]:
    """The layers that may get fewer than 8 bits: without `ends`, not the first and the last."""
    layers = convolutions(graph)
    return layers if ends else layers[1:-1]


def weight_size_bytes(conv: Conv2D, dtype: IntType) -> int:
    """Packed."""
    return (int(conv.weight.size) * dtype.bits + 7) // 8


def width(bits: int) -> IntType:
    """The type of so many bits. Raises UserError."""
    if bits not in {dtype.bits for dtype in WIDTHS}:
        raise UserError(f"weights of {bits} bits are not known", "Take 2 (ternary), 3, 4, 6 or 8.")
    return IntType(bits)


def parse_pattern(text: str) -> tuple[IntType, ...]:
    """ "4" -> one width for all, "2/6" -> widths of the two layers of a pair. Raises UserError."""
    parts = text.split("/")
    if len(parts) > 2 or not all(re.fullmatch(r"\s*[0-9]{1,2}\s*", part) for part in parts):
        raise UserError(f"{text!r} is not a number of bits like 4 or a pair like 4/8")
    return tuple(width(int(part)) for part in parts)


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


def mapped_bits(graph: Graph, wanted: Mapping[str, int]) -> dict[str, IntType]:
    """Bits by tensor from bits by layer name (or output tensor). Raises UserError for an unknown layer.

    "depthwise" stands for all depthwise layers, except for those that are named too.
    """
    layers = convolutions(graph)
    found: dict[str, IntType] = {}
    for name, bits in sorted(wanted.items(), key=lambda item: item[0] != DEPTHWISE):
        matches = [node.output for node in layers if name in (node.name, node.output)]
        if not matches and name == DEPTHWISE:
            matches = [node.output for node in layers if isinstance(node.op, Conv2D) and node.op.depthwise]
        if not matches:
            known = ", ".join(node.name for node in layers)
            raise UserError(f"there is no layer {name!r} with weights", f"The layers are: {known}")
        found |= dict.fromkeys(matches, width(bits))
    return found


class Sensitivity:
    """What each layer at each width does to the network's output, measured on procedural samples."""

    def __init__(self, quantizer: LowBitQuantizer) -> None:
        self.quantizer = quantizer
        self.graph = quantizer.graph
        self._measured: dict[tuple[str, IntType], float] = {}
        size = sum(int(np.prod(port.shape)) for port in self.graph.inputs)
        count = max(SENSITIVITY_SAMPLES, SENSITIVITY_ELEMENTS // size)
        self._samples = {name: values[:count] for name, values in quantizer.samples.items()}
        self._values: dict[str, Array] = dict(self._samples)
        for node in self.graph.nodes:
            self._values[node.output] = node.op.evaluate(*(self._values[name] for name in node.inputs))
        # Behind a softmax small errors of sure answers vanish: look in front of it.
        scores = score_tensors(self.graph)
        first = [n for n in self.graph.nodes if n.output in scores and not scores & set(n.inputs)]
        self._outputs = [node.output for node in first]
        self._power = {name: float(self._values[name].var()) or 1.0 for name in self._outputs}

    def choices(self, node: Node, widths: Collection[IntType] = WIDTHS) -> list[Choice]:
        """Every width of a layer; noise is relative to the signal, a mean over the outputs."""
        assert isinstance(node.op, Conv2D)
        found = []
        for dtype in widths:
            found.append(Choice(dtype, weight_size_bytes(node.op, dtype), self._noise_at(node, dtype)))
        return found

    def _noise_at(self, node: Node, dtype: IntType) -> float:
        """As `noise`. From 4 bits on each bit quarters it, which saves most of the work."""
        measured = dtype if dtype.bits < MEASURED.bits else MEASURED
        key = node.output, measured
        if key not in self._measured:
            self._measured[key] = self.noise(node, self.quantizer.layer(node, measured))
        return self._measured[key] / 4.0 ** (dtype.bits - measured.bits)

    def noise(self, node: Node, layer: Layer) -> float:
        """Noise to signal of the outputs when this layer alone is quantized."""
        assert isinstance(node.op, Conv2D)
        changed = {node.output: layer.float_op(node.op).evaluate(self._values[node.inputs[0]])}
        compensated = self._consumer(node, layer)
        for later in self.graph.nodes:
            if later.output not in changed and any(name in changed for name in later.inputs):
                inputs = (changed.get(name, self._values[name]) for name in later.inputs)
                changed[later.output] = compensated.get(later.output, later.op).evaluate(*inputs)
        return self._noise(changed)

    def noise_of(self, graph: Graph) -> float:
        """Noise to signal of the outputs of this graph, which has the tensors of the exact one."""
        found: dict[str, Array] = {}

        def watch(node: Node, arguments: tuple[Array, ...], output: Array) -> None:
            if node.output in self._outputs:
                found[node.output] = output

        graph.evaluate(self._samples, watch)
        return self._noise(found)

    def _noise(self, values: Mapping[str, Array]) -> float:
        total = 0.0
        for name in self._outputs:
            error = values.get(name, self._values[name]) - self._values[name]
            total += float(np.mean(error.astype(np.float64) ** 2)) / self._power[name]
        return total / len(self._outputs)

    def _consumer(self, node: Node, layer: Layer) -> dict[str, Op]:
        """The float consumer that a compensated layer gets, by its tensor."""
        if layer.factor is None:
            return {}
        name = self.quantizer.chains[node.output].second
        op = self.graph.producers[name].op
        assert isinstance(op, Conv2D)
        weight, moments = scale_input_channels(op, layer.factor), self.quantizer.moments[name]
        bias = op.bias + moments.expectation(op.weight) - moments.expectation(weight)
        return {name: replace(op, weight=weight, bias=bias)}


class Knapsack:
    """The least noise for every size in bytes, exactly, by dynamic programming over the layers."""

    def __init__(self, layers: Mapping[str, Sequence[Choice]]) -> None:
        self.layers = layers
        self.smallest = sum(min(c.size_bytes for c in choices) for choices in layers.values())
        extra = {
            name: [c.size_bytes - min(o.size_bytes for o in choices) for c in choices]
            for name, choices in layers.items()
        }
        most = sum(max(sizes) for sizes in extra.values())
        common = math.gcd(*(size for sizes in extra.values() for size in sizes)) or 1
        self.unit = common * max(1, -(-most // (common * TABLE_ENTRIES)))
        self._units = {name: [-(-size // self.unit) for size in sizes] for name, sizes in extra.items()}
        entries = sum(max(units) for units in self._units.values()) + 1
        noise = np.zeros(entries)
        self._picks: dict[str, Array] = {}
        for name, choices in layers.items():
            best, pick = np.full(entries, np.inf), np.zeros(entries, np.int8)
            for index, (choice, units) in enumerate(zip(choices, self._units[name], strict=True)):
                total = np.full(entries, np.inf)
                total[units:] = noise[: entries - units] + choice.noise
                better = total < best
                best[better], pick[better] = total[better], index
            noise, self._picks[name] = best, pick
        self.noise = noise

    def within(self, size_bytes: int) -> dict[str, IntType]:
        """The widths of least noise whose weights take at most `size_bytes`, at least `self.smallest`."""
        if size_bytes < self.smallest:
            raise ValueError(f"{size_bytes} is less than {self.smallest}")
        return self._trace(min((size_bytes - self.smallest) // self.unit, len(self.noise) - 1))

    def below(self, noise: float) -> dict[str, IntType]:
        """The smallest widths whose noise is at most `noise`. Raises UserError."""
        enough = np.flatnonzero(self.noise <= noise)
        if not enough.size:
            best = -10.0 * math.log10(max(float(self.noise.min()), 1e-30))
            raise UserError(f"even at 8 bits these layers leave {best:.1f} dB only")
        return self._trace(int(enough[0]))

    def _trace(self, entry: int) -> dict[str, IntType]:
        bits: dict[str, IntType] = {}
        for name in reversed(list(self.layers)):
            index = int(self._picks[name][entry])
            bits[name] = self.layers[name][index].dtype
            entry -= self._units[name][index]
        return bits

    def sqnr_db(self, bits: Mapping[str, IntType]) -> float:
        """What is predicted for these widths, errors of different layers taken as independent."""
        noise = sum(
            c.noise for name, choices in self.layers.items() for c in choices if c.dtype is bits[name]
        )
        return -10.0 * math.log10(max(noise, 1e-30))
