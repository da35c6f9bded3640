"""Weights of enough bits rounded again: each to the integer that is best given the others' errors.

Nearest integers make each weight's error small, not the layer's: over inputs that go together, errors of one
sign add up. Coordinate descent from there makes (s q - w)^T M (s q - w) small for each output channel, M
being the expected x x^T of the layer's inputs behind a corrected bias (`InputMoments.doubted`). Scales stay.
It is the last step of `feedback.py`, which few bits need whole; at 8 bits its first one gains nothing more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from dfqgen.graph.ir import Array, Node
from dfqgen.graph.site import QuantizedWeight
from dfqgen.graph.steps import with_states
from dfqgen.ops.conv import Conv2D
from dfqgen.quantization.feedback import descend
from dfqgen.quantization.types import Typed
from dfqgen.quantization.weights import LARGEST_ACCUMULATOR, Place
from dfqgen.statistics.second_moments import InputMoments, each_input_moments

ROUNDS = 2
"""Descents along every coordinate; a third moves next to nothing."""
MOMENT_ELEMENTS = 1 << 23
"""A layer whose inputs have more products with each other than these keeps its nearest integers: 64 MiB."""


def descended(
    typed: Typed, weights: Mapping[str, QuantizedWeight], samples: Mapping[str, Array] | None = None
) -> dict[str, QuantizedWeight]:
    """`weights`, by output tensor, moved towards the least expected error of each layer's output.

    `samples` [N, ...] by input tensor show how inputs go together, procedural ones by default. What the model
    states stays, and so does a layer whose accumulator would get too large.
    """
    found = dict(weights)

    def wanted(node: Node) -> bool:
        conv = node.op
        if not isinstance(conv, Conv2D) or typed.states(node.output, weights[node.output]):
            return False
        inputs = conv.weight[0].size
        return inputs > 1 and conv.groups * inputs**2 <= MOMENT_ELEMENTS

    def use(node: Node, moments: InputMoments) -> None:
        assert isinstance(node.op, Conv2D)
        better = descend_from(weights[node.output], node.op.weight, moments.doubted())
        if Place.of(node, typed.types, typed.clips).holds(better, LARGEST_ACCUMULATOR):
            found[node.output] = better

    driving = with_states(typed.graph, typed.evidence.samples) if samples is None else samples
    each_input_moments(typed.graph, typed.statistics, driving, use, wanted=wanted)
    return found


def descend_from(start: QuantizedWeight, weight: Array, moments: Array) -> QuantizedWeight:
    """The integers of less error; weight [Cout, kh, kw, Cin/groups], moments [groups, K, K]."""
    groups, size = moments.shape[:2]
    rows = weight.astype(np.float64).reshape(groups, -1, size)
    scale = start.scale.astype(np.float64).reshape(groups, -1)
    largest = start.dtype.maximum
    integers = start.values.astype(np.float64).reshape(groups, -1, size)
    for _ in range(ROUNDS):
        descend(rows, scale, integers, moments, -largest, largest)
    return replace(start, values=integers.reshape(weight.shape).astype(np.int8))
