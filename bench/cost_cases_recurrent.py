"""Recurrent layers for bench/cost_table.py: each kind, forwards and backwards, from zeros and from states."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
from cost_cases import TYPE, Case

from dfqgen.fixedpoint.program import QTensor
from dfqgen.fixedpoint.qtype import IntType, QType
from dfqgen.graph.site import Site
from dfqgen.ops.recurrent import GRU, LSTM, RNN, Recurrent

STATE = QType(IntType.INT16, 2.0**-13, 0)
UNCLIPPED = (np.array([-np.inf]), np.array([np.inf]))
SIZES = ((8, 10, 16), (20, 3, 12), (5, 40, 32), (12, 16, 64), (1, 30, 20), (3, 7, 5), (4, 40, 128))
"""Steps, inputs and units."""
FEW_BITS = (IntType.INT4, IntType.INT2, IntType.INT4, IntType.INT6, IntType.INT4, IntType.INT3, IntType.INT4)
KINDS = ("lstm", "projected", "gru", "gru_after", "rnn")


def recurrent_cases() -> Iterator[Case]:
    """Every case, always the same ones."""
    rng = np.random.default_rng(2)
    for kind in KINDS:
        for number, (steps, features, units) in enumerate(SIZES):
            op = layer(kind, rng, features, units)
            for width in (IntType.INT8, FEW_BITS[number % len(FEW_BITS)]):
                case = partial(recurrent_case, layer=op, steps=steps, features=features, weight_type=width)
                name = f"{kind}{number}w{width.bits}"
                yield case(name, from_states=False, odd=number % 2 == 1)
                yield case(f"{name}s", from_states=True, odd=number % 3 == 1)


def recurrent_case(
    name: str,
    layer: Recurrent,
    steps: int,
    features: int,
    weight_type: IntType = IntType.INT8,
    *,
    from_states: bool,
    odd: bool,
) -> Case:
    """One layer; `odd`: int16 comes in and goes out."""
    qtype = STATE if odd else TYPE
    inputs = [QTensor(f"{name}_x", (1, steps, features), qtype)]
    if from_states:
        inputs += [QTensor(f"{name}_s{i}", (1, 1, width), STATE) for i, width in enumerate(layer.widths)]
    output = QTensor(f"{name}_y", layer.infer_shape(*(x.shape for x in inputs)), qtype)
    (op,) = layer.lower(Site(name, tuple(inputs), output, UNCLIPPED, weight_type=weight_type))
    return Case(op, tuple(inputs), output)


def layer(kind: str, rng: np.random.Generator, features: int, units: int) -> Recurrent:
    """Of one of KINDS, with random weights."""

    def random(*shape: int) -> np.ndarray:
        return rng.normal(size=shape) / np.sqrt(shape[-1])

    if kind == "rnn":
        return RNN(random(units, features), random(units, units), random(units))
    if kind == "lstm":
        return LSTM(random(4 * units, features), random(4 * units, units), random(4 * units))
    if kind == "projected":
        width = 1 + units // 2
        peephole, projection = random(3, units), random(width, units)
        return LSTM(
            random(4 * units, features), random(4 * units, width), random(4 * units), peephole, projection
        )
    bias = random(units) if kind == "gru_after" else np.zeros(units)
    return GRU(
        random(3 * units, features), random(3 * units, units), random(3 * units), bias, kind == "gru_after"
    )
