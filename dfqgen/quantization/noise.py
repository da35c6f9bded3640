"""What rounding and clipping do to the outputs, predicted from their reactions: noise-to-signal, in parts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dfqgen.graph.ir import Array, Graph, Node
from dfqgen.ops.conv import Conv2D
from dfqgen.quantization.prepared import Prepared
from dfqgen.quantization.tensor_ranges import Range, unseen_noise
from dfqgen.quantization.unify import Families, hull

WEIGHT_STEPS = 127.0
LEAST_SQNR_DB = 15.0
"""An output below this is poor: an error of 18 % of it, root mean square. Chosen on the figures that the
zoo's networks had before (classifiers above 20 dB kept their accuracy, what was plainly bad lay between 1 and
14) and on a few networks measured by hand; not tested on others.
"""


def predicted_noise(
    prepared: Prepared, clips: Mapping[str, Node], ranges: Mapping[str, Range], *, per_tensor: bool
) -> float:
    """Noise-to-signal, mean over outputs, of 8-bit weights and activations, with what no sample shows."""
    families, rounded = tensor_families(prepared.graph, clips)
    shared: dict[str, Range] = {}
    for tensor in rounded:
        root = families.find(tensor)
        shared[root] = hull(shared.get(root, (0.0, 0.0)), ranges[tensor])
    total = float(weight_noise(prepared, per_tensor=per_tensor).mean())
    for tensor, is_rounded in rounded.items():
        reaction = prepared.reactions.get(tensor)
        if reaction is None:
            continue
        lo, hi = shared[families.find(tensor)]
        if is_rounded:
            total += float((reaction.rounding(lo, hi) + reaction.clipping(lo, hi)).mean())
            total += unseen_noise(prepared.statistics[tensor], (lo, hi))
    return total


def weight_noise(prepared: Prepared, *, per_tensor: bool) -> Array:
    """Of each output [H]: rounding all weights to 8 bits, biases corrected."""
    total = np.zeros(1)
    for node in prepared.graph.nodes:
        reaction = prepared.reactions.get(node.output)
        if not isinstance(node.op, Conv2D) or reaction is None or reaction.weights is None:
            continue
        largest = np.abs(node.op.weight.reshape(node.op.out_channels, -1)).max(axis=1)
        steps = np.full_like(largest, largest.max()) if per_tensor else largest
        total = total + reaction.weights.sum(axis=2) @ (steps / WEIGHT_STEPS) ** 2 / 12.0
    return np.asarray(total)


def tensor_families(graph: Graph, clips: Mapping[str, Node]) -> tuple[Families, dict[str, bool]]:
    """Which tensors have one type, and of all that will exist whether values are rounded into them."""
    families = Families()
    rounded = {port.tensor: True for port in graph.inputs}
    for node in graph.nodes:
        if node.output in clips or node.op.output_type() is not None:
            continue
        rounded[node.output] = not node.op.keeps_type
        if node.op.keeps_type:
            for name in (*node.inputs[1:], node.output):
                families.join(node.inputs[0], name)
    return families, rounded
