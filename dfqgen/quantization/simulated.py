"""What integer activations do to a network's outputs, simulated on real samples: the noise model's test.

Where samples are real, the model's choices can be tried on them before one is taken. To first order clipping
looks cheaper than it is on some networks: the few samples that reactions are measured on do not have all
extremes, and a value that is cut may decide an answer. How much more than predicted it counts is therefore
found by trying.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from dfqgen.graph.ir import Array, Node
from dfqgen.quantization.prepared import Prepared
from dfqgen.quantization.types import Typed, assign_types
from dfqgen.recipe.records import ActivationsRecipe

CAUTIONS = (1.0, 10.0, 1e9)
"""What clipping may count, in multiples of what is predicted; the last never clips a sample: min-max."""
LEAST_GAIN = 10.0**0.1
"""How many times less noise than min-max clipping must make: a decibel. What a simulation leaves out, the
rounding of weights, changes that much (seen on armkws_DS_CNN, where 0.7 dB gained so were 1.1 dB lost in C).
"""
SIMULATED_ELEMENTS = 1 << 26
"""Of all tensors and samples together; as many samples as that allows, at least one."""


def with_tried_caution(prepared: Prepared, samples: Mapping[str, Array]) -> Prepared:
    """`prepared` with the caution that makes the least noise on real samples [N, ...]: min-max's, unless
    another gains `LEAST_GAIN`.
    """
    if not prepared.reactions:
        return prepared
    elements = sum(math.prod(shape) for shape in prepared.graph.shapes.values())
    given = len(next(iter(samples.values())))
    count = max(1, min(given, SIMULATED_ELEMENTS // elements))
    spread = np.linspace(0, given - 1, count).round().astype(int)
    some = {name: value[spread] for name, value in samples.items()}
    candidates = [replace(prepared, caution=caution) for caution in CAUTIONS]
    exact = prepared.graph.evaluate(some)
    noises = [
        simulated_noise(assign_types(candidate, ActivationsRecipe()), some, exact) for candidate in candidates
    ]
    best = int(np.argmin(noises))
    return candidates[best if noises[best] * LEAST_GAIN <= noises[-1] else -1]


def simulated_noise(typed: Typed, samples: Mapping[str, Array], exact: Mapping[str, Array]) -> float:
    """Noise-to-signal, mean over outputs, of rounding and clipping activations to types; weights exact."""

    def rounded(tensor: str, value: Array) -> Array:
        qtype = typed.types.get(tensor)
        return value if qtype is None else qtype.dequantize(qtype.quantize(value))

    def watch(node: Node, arguments: tuple[Array, ...], output: Array) -> Array:
        return rounded(node.output, output)

    found = typed.graph.evaluate({name: rounded(name, x) for name, x in samples.items()}, watch)
    outputs = [port.tensor for port in typed.graph.given]
    return float(
        np.mean(
            [np.square(found[n] - exact[n]).sum() / max(np.square(exact[n]).sum(), 1e-30) for n in outputs]
        )
    )
