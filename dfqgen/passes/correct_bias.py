"""Bias correction (Nagel et al. 2019, section 4.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from dfqgen.graph.ir import Array, Graph, Op
from dfqgen.ops.conv import Conv2D, grouped_sum


def correct_bias(
    graph: Graph, input_means: Mapping[str, Array], quantized_weights: Mapping[str, Array]
) -> Graph:
    """Subtract from every bias the mean error that quantizing the weights makes: b <- b - (W~ - W) E[x].

    `input_means` gives E[x] [channels] of each tensor (clipped-normal means, or measured ones);
    `quantized_weights` the dequantized weight W~ by output tensor of the convolution. The float means
    serve for all layers, since each layer's correction restores its own output mean.
    """
    ops: dict[str, Op] = {}
    for node in graph.nodes:
        if not isinstance(node.op, Conv2D) or node.output not in quantized_weights:
            continue
        conv = node.op
        error = (quantized_weights[node.output] - conv.weight).astype(np.float64).sum(axis=(1, 2))
        shift = grouped_sum(error, np.asarray(input_means[node.inputs[0]], np.float64), conv.groups)
        ops[node.output] = replace(conv, bias=conv.bias - shift)
    return graph.replace_ops(ops)
