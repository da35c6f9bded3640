"""AdaRound: which weights to round up and which down, learned layer by layer from samples.

Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization", ICML 2020. Each layer's
rounding minimises the squared error of its (activated) output, given inputs from the already quantized
layers before it, over any samples: synthetic, the user's, or noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from dfqgen.errors import UserError
from dfqgen.fixedpoint.qtype import QType
from dfqgen.graph.ir import Array, Graph, Node, Op
from dfqgen.graph.site import QuantizedWeight
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.lookup import Clip
from dfqgen.passes.contract import Note
from dfqgen.progress import Part, Progress, silent
from dfqgen.quantization.rounding import Bits, Rounded
from dfqgen.quantization.types import Typed
from dfqgen.quantization.weights import quantize_weights
from dfqgen.recipe.records import WeightsRecipe
from dfqgen.samples.made import NetworkSamples
from dfqgen.synthesis.threads import one_thread
from dfqgen.synthesis.torch_graph import constant, pad_border, torch_function

# h(V) = clip(sigmoid(V) (ZETA - GAMMA) + GAMMA, 0, 1): the rectified sigmoid reaches 0 and 1.
ZETA, GAMMA = 1.1, -0.1
# Floats of one layer's gathered inputs stay under this many.
POOL_ELEMENTS = 30_000_000
# Samples evaluated at once on the way to a layer.
CHUNK = 8


@dataclass(frozen=True, slots=True)
class AdaRoundSettings:
    """How rounding is learned.

    `rows`: output pixels a step; `pool`: output pixels kept of all samples, drawn at random. `beta` is the
    regulariser's exponent from and to, annealed after the warm start.
    """

    iterations: int = 2000
    rows: int = 256
    pool: int = 16384
    learning_rate: float = 1e-2
    regularizer: float = 0.01
    warm_start: float = 0.2
    beta: tuple[float, float] = (20.0, 2.0)
    seed: int = 0


@dataclass(frozen=True, slots=True)
class LayerResult:
    """Mean squared error of a layer's output relative to its variance, rounding to nearest and learned."""

    layer: str
    nearest: float
    learned: float


@dataclass(frozen=True, slots=True, eq=False)
class Reconstruction:
    """The integers of every layer, and the graph with the biases that go with them."""

    graph: Graph
    weights: Mapping[str, QuantizedWeight]
    layers: tuple[LayerResult, ...]


@dataclass(frozen=True, slots=True, eq=False)
class AdaRound:
    """A `Rounder` that learns roundings and biases from samples. `progress` is told of every layer."""

    weights: WeightsRecipe
    samples: NetworkSamples
    settings: AdaRoundSettings = AdaRoundSettings()
    progress: Progress = silent

    def round(self, typed: Typed, bits: Bits) -> Rounded:
        """See `Rounder`."""
        found = self.learn(typed, bits)
        # Decibels of the geometric means: layers' own errors differ by orders of magnitude.
        errors = np.array([(layer.nearest, layer.learned) for layer in found.layers])
        nearest, learned = -10.0 * np.log10(np.maximum(errors, 1e-12)).mean(axis=0)
        used = f"{self.samples.count} {self.samples.description}"
        effect = f"{len(errors)} layers on {used}: their outputs {nearest:.1f} -> {learned:.1f} dB"
        return Rounded(found.graph, found.weights, bits, (Note("AdaRound", effect),))

    @one_thread()
    def learn(self, typed: Typed, bits: Bits) -> Reconstruction:
        """Round every convolution's weights so that its output on the samples changes least.

        Scales are those of `quantize_weights`. Each layer's bias is learned with its rounding.
        Deterministic from the seed.
        """
        graph, settings = typed.graph, self.settings
        initial = quantize_weights(graph, typed.types, typed.clips, self.weights, bits)
        walk = _Walk(typed, self.samples.values)
        weights = {name: weight for name, weight in initial.items() if typed.states(name, weight)}
        layers: list[LayerResult] = []
        biased: dict[str, Op] = {}
        generator = torch.Generator().manual_seed(settings.seed)
        for node in graph.nodes:
            op = node.op
            if not isinstance(op, Conv2D) or typed.states(node.output, initial[node.output]):
                walk.advance(node, op, walk.float_output(node))
                continue
            name = node.output
            target = walk.float_output(node)
            layer = Layer(op, typed.clips.get(name), initial[name])
            rows, wanted = gather_rows(op, walk.quantized[node.inputs[0]], target, settings, generator)
            weights[name], bias, result = layer.reconstruct(rows, wanted, settings, generator)
            layers.append(replace(result, layer=node.name))
            biased[name] = replace(op, bias=bias)
            walk.advance(node, replace(op, weight=weights[name].dequantize(), bias=bias), target)
            self.progress(
                Part("AdaRound", len(weights), len(initial), f"{len(weights)} of {len(initial)} layers")
            )
        return Reconstruction(graph.replace_ops(biased), weights, tuple(layers))


def fake_quantize(x: Tensor, qtype: QType) -> Tensor:
    """x rounded to what the type can represent."""
    dtype = qtype.dtype
    return torch.fake_quantize_per_tensor_affine(
        x, qtype.scale, qtype.zero_point, dtype.minimum, dtype.maximum
    )


class _Walk:
    """All samples' activations, float and quantized, from node to node; dropped after their last use."""

    def __init__(self, typed: Typed, samples: Mapping[str, Array]) -> None:
        counts = {len(value) for value in samples.values()}
        if len(counts) != 1 or not counts.pop():
            raise UserError("AdaRound needs samples, and the same number for every input")
        self.typed = typed
        self.exact: dict[str, Tensor] = {}
        self.quantized: dict[str, Tensor] = {}
        self._remaining = {name: len(nodes) for name, nodes in typed.graph.consumers.items()}
        for port in typed.graph.inputs:
            self.exact[port.tensor] = constant(samples[port.tensor])
            self.quantized[port.tensor] = self._round(port.tensor, self.exact[port.tensor])

    def _round(self, tensor: str, x: Tensor) -> Tensor:
        # The input of a fused clip never exists as integers.
        qtype = self.typed.types.get(tensor)
        return x if qtype is None else fake_quantize(x, qtype)

    def float_output(self, node: Node) -> Tensor:
        """The node's output in the float network."""
        return _run(node.op, [self.exact[name] for name in node.inputs])

    def advance(self, node: Node, op: Op, exact: Tensor) -> None:
        """Take the node's outputs in: `op` is what the quantized network computes there."""
        self.exact[node.output] = exact
        quantized = _run(op, [self.quantized[name] for name in node.inputs])
        self.quantized[node.output] = self._round(node.output, quantized)
        for name in node.inputs:
            self._remaining[name] -= 1
            if not self._remaining[name]:
                del self.exact[name], self.quantized[name]


@torch.no_grad()
def _run(op: Op, arguments: list[Tensor]) -> Tensor:
    function = torch_function(op)
    chunks = zip(*(argument.split(CHUNK) for argument in arguments), strict=True)
    return torch.cat([function(*chunk) for chunk in chunks]).contiguous()


def gather_rows(
    conv: Conv2D, x: Tensor, output: Tensor, settings: AdaRoundSettings, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Random output pixels: what each one's window sees [rows, kh * kw, Cin], and its value [rows, Cout]."""
    count, height, width, _ = output.shape
    total = count * height * width
    kept = min(settings.pool, total, POOL_ELEMENTS // (conv.kernel[0] * conv.kernel[1] * conv.in_channels))
    chosen = torch.randperm(total, generator=generator)[:kept].sort().values
    image, pixel = chosen // (height * width), chosen % (height * width)
    row, column = pixel // width * conv.stride[0], pixel % width * conv.stride[1]
    padded = pad_border(x, conv.pads, 0.0)
    taps = [
        padded[image, row + i * conv.dilation[0], column + j * conv.dilation[1]]
        for i in range(conv.kernel[0])
        for j in range(conv.kernel[1])
    ]
    return torch.stack(taps, dim=1), output.reshape(total, -1)[chosen]


class Layer:
    """One convolution as a product of gathered rows, with learnable rounding."""

    def __init__(self, conv: Conv2D, clip: Node | None, nearest: QuantizedWeight) -> None:
        self.conv, self.nearest = conv, nearest
        self.activation: Callable[[Tensor], Tensor] = (
            torch_function(clip.op) if clip is not None and isinstance(clip.op, Clip) else lambda x: x
        )
        self.scale = constant(nearest.scale.reshape(-1, 1, 1, 1))
        largest = float(nearest.dtype.maximum)
        units = constant(conv.weight.astype(np.float64) / nearest.scale.reshape(-1, 1, 1, 1))
        # Where rounding cannot move a clipped weight, it stays.
        units = units.clamp(-largest, largest)
        self.floor = units.floor().clamp(max=largest - 1.0)
        fraction = (units - self.floor).clamp(1e-4, 1.0 - 1e-4)
        self.start = -torch.log((ZETA - GAMMA) / (fraction - GAMMA) - 1.0)

    def output(self, rows: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Pre-activations [rows, Cout] for a weight [Cout, kh, kw, Cin/groups] in units of the scale."""
        real = weight * self.scale
        channels, kh, kw, group_in = real.shape
        groups = self.conv.groups
        if groups == 1:
            return torch.addmm(bias, rows.reshape(len(rows), -1), real.reshape(channels, -1).T)
        if group_in == 1 and groups == channels:
            return (rows * real.reshape(channels, -1).T).sum(dim=1) + bias
        windows = rows.reshape(len(rows), kh * kw, groups, group_in)
        kernels = real.reshape(groups, channels // groups, kh * kw, group_in)
        return torch.einsum("rkgi,goki->rgo", windows, kernels).reshape(len(rows), channels) + bias

    def error(self, rows: Tensor, wanted: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Squared error of the activated output, summed over channels, mean over rows."""
        difference = self.activation(self.output(rows, weight, bias)) - self.activation(wanted)
        return difference.square().sum(dim=1).mean()

    def reconstruct(
        self, rows: Tensor, wanted: Tensor, settings: AdaRoundSettings, generator: torch.Generator
    ) -> tuple[QuantizedWeight, Array, LayerResult]:
        """Learn the rounding and the bias; gives the integers, the bias and the errors."""
        original = constant(self.conv.bias)
        unit = float(self.activation(wanted).var(dim=0, correction=0).mean()) or 1.0
        # The mean error of rounding to nearest, as a start.
        nearest = constant(self.nearest.values)
        with torch.no_grad():
            shift = (wanted - self.output(rows, nearest, original)).mean(dim=0)
            before = self.error(rows, wanted, nearest, original + shift)
        rounding = self.start.clone().requires_grad_()
        spread = math.sqrt(unit)
        offset = (shift / spread).requires_grad_()
        adam = torch.optim.Adam([rounding, offset], lr=settings.learning_rate, fused=True)
        warm = int(settings.warm_start * settings.iterations)
        for iteration in range(settings.iterations):
            chosen = torch.randint(len(rows), (settings.rows,), generator=generator)
            up = rectified_sigmoid(rounding)
            bias = original + offset * spread
            loss = self.error(rows[chosen], wanted[chosen], self.floor + up, bias) / unit
            if iteration >= warm:
                beta = annealed(settings.beta, (iteration - warm) / max(1, settings.iterations - warm))
                loss = loss + settings.regularizer * undecided(up, beta)
            adam.zero_grad()
            loss.backward()
            adam.step()
        with torch.no_grad():
            integers = self.floor + (rectified_sigmoid(rounding) >= 0.5)
            bias = original + offset * spread
            bias += (wanted - self.output(rows, integers, bias)).mean(dim=0)
            after = self.error(rows, wanted, integers, bias)
        weight = QuantizedWeight(integers.numpy().astype(np.int8), self.nearest.scale, self.nearest.dtype)
        channels = wanted.shape[1]
        result = LayerResult("", float(before) / (unit * channels), float(after) / (unit * channels))
        return weight, bias.double().numpy(), result


def rectified_sigmoid(v: Tensor) -> Tensor:
    """h(V): how far each weight is rounded up, from 0 to 1."""
    return torch.clamp(torch.sigmoid(v) * (ZETA - GAMMA) + GAMMA, 0.0, 1.0)


def undecided(up: Tensor, beta: float) -> Tensor:
    """sum of 1 - |2 h - 1|**beta: 0 where every weight is rounded one way."""
    return (1.0 - (2.0 * up - 1.0).abs().pow(beta)).sum()


def annealed(ends: tuple[float, float], progress: float) -> float:
    """From the first to the second along half a cosine."""
    return ends[1] + 0.5 * (ends[0] - ends[1]) * (1.0 + math.cos(math.pi * progress))
