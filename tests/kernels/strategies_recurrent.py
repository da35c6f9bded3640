"""Hypothesis strategies of recurrent layers: all kinds, directions, types, states; sums that saturate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from dfqgen.fixedpoint.qtype import IntType, QType
from dfqgen.graph.site import Site
from dfqgen.ops.recurrent import GRU, LSTM, RNN, Recurrent
from tests.kernels.strategies import Case, make_case, rngs, tensor
from tests.kernels.strategies_more import UNCLIPPED


def recurrent_layer(
    kind: str, rng: np.random.Generator, features: int, units: int, size: float, **settings: object
) -> Recurrent:
    """A layer whose gates' sums are of this size."""

    def random(*shape: int) -> np.ndarray:
        return rng.normal(size=shape) * size / np.sqrt(shape[-1])

    if kind == "lstm":
        return LSTM(random(4 * units, features), random(4 * units, units), random(4 * units), **settings)  # type: ignore[arg-type]
    if kind == "projected lstm":
        width = 2 * (units // 4) + 2 if units % 2 == 0 else 1 + units // 2
        return LSTM(
            random(4 * units, features), random(4 * units, width), random(4 * units), random(3, units),
            random(width, units), **settings,  # type: ignore[arg-type]
        )  # fmt: skip
    if kind == "rnn":
        return RNN(random(units, features), random(units, units), random(units), **settings)  # type: ignore[arg-type]
    after = kind == "gru reset after"
    bias = random(units) if after else np.zeros(units)
    return GRU(
        random(3 * units, features), random(3 * units, units), random(3 * units), bias, after, **settings  # type: ignore[arg-type]
    )  # fmt: skip


KINDS = ("lstm", "projected lstm", "gru", "gru reset after", "rnn")
TYPES = (QType(IntType.INT8, 0.03, 5), QType(IntType.INT8, 0.008, -128), QType(IntType.INT16, 2.0**-13))
WIDTHS = (IntType.INT8, IntType.INT8, IntType.INT8, IntType.INT6, IntType.INT4, IntType.INT3, IntType.INT2)
"""Of weights: as often few bits as eight."""
UNITS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 20, 22)
"""Even ones, which kernels for instruction sets ask for, in whole blocks of four or not."""


def recurrent_case(
    rng: np.random.Generator,
    layer: Recurrent,
    steps: int,
    types: Sequence[QType],
    weight_type: IntType,
    *,
    from_states: bool,
) -> Case:
    """`types` of the input, the output, and states."""
    x = tensor("x", (1, steps, layer.weight.shape[1]), types[0])
    inputs = [x]
    if from_states:
        inputs += [tensor(f"s{i}", (1, 1, n), types[2 + i]) for i, n in enumerate(layer.widths)]
    y = tensor("y", layer.infer_shape(*(x.shape for x in inputs)), types[1])
    (op,) = layer.lower(Site("layer", tuple(inputs), y, UNCLIPPED, weight_type=weight_type))
    return make_case(op, tuple(inputs), y, rng)


@st.composite
def recurrent(draw: st.DrawFn) -> Case:
    """One layer, from zeros or from states."""
    rng, kind = draw(rngs), draw(st.sampled_from(KINDS))
    steps, features, units = draw(st.integers(1, 4)), draw(st.integers(1, 19)), draw(st.sampled_from(UNITS))
    choices = ("sequence", "last", "cell", "states") if "lstm" in kind else ("sequence", "last")
    layer = recurrent_layer(
        kind, rng, features, units, draw(st.sampled_from([0.5, 3.0, 20.0])),
        reverse=draw(st.booleans()), gives=draw(st.sampled_from(choices)),
    )  # fmt: skip
    types = [draw(st.sampled_from(TYPES)) for _ in range(4)]
    width = draw(st.sampled_from(WIDTHS))
    return recurrent_case(rng, layer, steps, types, width, from_states=draw(st.booleans()))


def recurrent_cases(count: int) -> list[Case]:
    """So many layers of an even number of units, always the same: all kinds, from zeros and from states."""
    rng = np.random.default_rng(9)
    cases = []
    for number in range(count):
        features, units = int(rng.integers(1, 70)), (4, 4, 2)[number % 3] * int(rng.integers(1, 24))
        kind, size = KINDS[number % len(KINDS)], (0.5, 3.0, 20.0)[number % 3]
        layer = recurrent_layer(kind, rng, features, units, size, reverse=number % 4 == 0)
        types = [TYPES[i] for i in rng.integers(0, len(TYPES), 4)]
        from_states, width = number // len(KINDS) % 2 == 1, WIDTHS[number % len(WIDTHS)]
        cases.append(recurrent_case(rng, layer, 3, types, width, from_states=from_states))
    return cases
