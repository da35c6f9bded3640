"""Empirical bias correction (Nagel et al. 2019, appendix D): channel means compared on samples."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dfqgen.graph.ir import Array, Node, Op
from dfqgen.ops.conv import Conv2D
from dfqgen.passes.contract import Note
from dfqgen.quantization.rounding import Bits, Rounded, round_weights
from dfqgen.quantization.types import Typed
from dfqgen.recipe.records import RoundingMethod, WeightsRecipe
from dfqgen.samples.made import NetworkSamples
from dfqgen.statistics.from_data import measure


@dataclass(frozen=True, slots=True, eq=False)
class CorrectedOnSamples:
    """Every layer by itself; biases shifted by the mean difference of float and quantized outputs.

    The samples run through both networks at once, front to back; the quantized one has rounded weights,
    rounded activations and the biases corrected so far. Unlike the correction by statistics it sees
    activations' rounding and clipping too.
    """

    weights: WeightsRecipe
    samples: NetworkSamples
    method: RoundingMethod = "nearest"

    def round(self, typed: Typed, bits: Bits) -> Rounded:
        """See `Rounder`."""
        graph, samples = typed.graph, self.samples.values
        weights = round_weights(typed, bits, self.weights, self.method, samples)
        means = {name: channels.mean for name, channels in measure(graph, samples).items()}
        rounded: dict[str, Op] = {
            node.output: replace(node.op, weight=weights[node.output].dequantize())
            for node in graph.nodes
            if isinstance(node.op, Conv2D)
        }
        shifts: dict[str, Array] = {}

        def correct(node: Node, _: tuple[Array, ...], output: Array) -> Array:
            if node.output in weights and not typed.states(node.output, weights[node.output]):
                actual = output.reshape(-1, output.shape[-1]).mean(axis=0, dtype=np.float64)
                shifts[node.output] = means[node.output] - actual
                output = output + shifts[node.output].astype(output.dtype)
            qtype = typed.types.get(node.output)
            return output if qtype is None else qtype.dequantize(qtype.quantize(output))

        inputs = {
            name: typed.types[name].dequantize(typed.types[name].quantize(value))
            for name, value in samples.items()
        }
        graph.replace_ops(rounded).evaluate(inputs, correct)
        corrected: dict[str, Op] = {
            node.output: replace(node.op, bias=node.op.bias + shifts[node.output])
            for node in graph.nodes
            if isinstance(node.op, Conv2D) and node.output in shifts
        }
        effect = f"channel means compared on {self.samples.count} {self.samples.description}"
        return Rounded(graph.replace_ops(corrected), weights, bits, (Note("bias correction", effect),))
