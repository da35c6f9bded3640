"""Products of activations, normalizations, quotients, trees and tables for bench/cost_table.py."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from cost_cases import TYPE, Case

from dfqgen.fixedpoint.program import QTensor
from dfqgen.fixedpoint.qtype import IntType, QType
from dfqgen.graph.ir import Op
from dfqgen.graph.site import Site
from dfqgen.ops.divide import Div
from dfqgen.ops.embedding import Embedding
from dfqgen.ops.magnitude import Magnitude
from dfqgen.ops.matmul import MatMul
from dfqgen.ops.standardize import Standardize
from dfqgen.ops.trees import TreeEnsemble

WIDE = QType(IntType.INT16, 2.0**-12, 0)
UNCLIPPED = (np.array([-np.inf]), np.array([np.inf]))
TYPES = ((TYPE, TYPE), (WIDE, WIDE), (TYPE, WIDE), (WIDE, TYPE))
"""Of inputs and output."""
PRODUCTS = ((1, 16, 16, 16), (4, 12, 16, 12), (2, 49, 32, 49), (8, 10, 8, 10), (1, 100, 24, 5))
"""Matrices, rows, depth and columns."""
FORESTS = ((1, 6, 1), (10, 4, 3), (40, 5, 1), (20, 3, 10), (5, 8, 2))
"""Trees, their depth, outputs."""
LOOKUPS = ((10, 100, 16), (1, 1000, 64), (32, 50, 3), (49, 20, 8))
"""Rows that are read, rows there are, and their length."""
TENSORS = ((1, 10, 64), (1, 49, 32), (1, 8, 8, 16), (1, 16, 16, 12), (1, 3, 200))


def attention_cases() -> Iterator[Case]:
    """Every case, always the same ones."""
    rng = np.random.default_rng(3)
    for number, (batches, rows, depth, columns) in enumerate(PRODUCTS):
        a, b = (1, batches, rows, depth), (1, batches, depth, columns)
        for place, types in enumerate(TYPES):
            yield _case(f"product{number}{place}", MatMul(), (a, b), types)
            swapped = (*b[:2], columns, depth)
            yield _case(f"transposed{number}{place}", MatMul(transpose_b=True), (a, swapped), types)
    for number, (count, depth, outputs) in enumerate(FORESTS):
        for place, types in enumerate(TYPES):
            yield _case(f"trees{number}{place}", _forest(rng, count, depth, outputs), ((1, 16),), types)
    for number, (count, rows, channels) in enumerate(LOOKUPS):
        for place, (source, to) in enumerate(TYPES):
            numbers = QType(source.dtype, 1.0, 0)
            table = Embedding(rng.normal(size=(rows, channels)))
            yield _case(f"rows{number}{place}", table, ((1, count),), (numbers, to))
    for number, shape in enumerate(TENSORS):
        channels = shape[-1]
        gamma, beta = rng.uniform(0.5, 1.5, channels), rng.normal(size=channels)
        for place, types in enumerate(TYPES):
            last = Standardize(len(shape) - 1, gamma, beta)
            grouped = Standardize(1, gamma, np.zeros(1), groups=channels // 4, centered=place % 2 == 0)
            yield _case(f"layer{number}{place}", last, (shape,), types)
            yield _case(f"group{number}{place}", grouped, (shape,), types)
            yield _case(f"quotient{number}{place}", Div(), (shape, shape), types)
            one = (*shape[:-1], 1)
            yield _case(f"quotient_by_one{number}{place}", Div(), (shape, one), types)
            yield _case(f"magnitude{number}{place}", Magnitude(), (shape, shape), types)


def _forest(rng: np.random.Generator, count: int, depth: int, outputs: int) -> TreeEnsemble:
    """Full trees on 16 features."""
    inner, last = (1 << depth) - 1, 1 << depth
    children = np.arange(2 * inner).reshape(inner, 2) + 1
    whole = [np.where(children < inner, children + tree * inner, -1 - (children - inner) - tree * last)
             for tree in range(count)]  # fmt: skip
    return TreeEnsemble(
        rng.integers(0, 16, count * inner),
        rng.normal(size=count * inner),
        np.concatenate(whole),
        np.arange(count) * inner,
        rng.normal(size=(count * last, outputs)) / count,
        np.zeros(outputs),
    )


def _case(name: str, op: Op, shapes: tuple[tuple[int, ...], ...], types: tuple[QType, QType]) -> Case:
    inputs = tuple(QTensor(f"{name}_x{i}", shape, types[0]) for i, shape in enumerate(shapes))
    output = QTensor(f"{name}_y", op.infer_shape(*shapes), types[1])
    (integer,) = op.lower(Site(name, inputs, output, UNCLIPPED))
    return Case(integer, inputs, output)
