"""Recurrent layers: the integer operator follows the float one, and its functions the real ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dfqgen.fixedpoint.program import QTensor
from dfqgen.fixedpoint.qtype import IntType, QType
from dfqgen.graph.site import Site
from dfqgen.ops.gates import rounded_weight, sigmoid, state_rows, tanh
from tests.kernels.strategies_more import UNCLIPPED
from tests.kernels.strategies_recurrent import KINDS, recurrent_layer

ALL = np.arange(-32768, 32768)


# Half a unit each of the table's entries and of the result, and (1/64)**2 / 8 max|tanh''| for the line.
LARGEST_ERROR = 0.5 + 0.5 + 32768.0 / (8 * 64**2) * 4 / (3 * np.sqrt(3))


def test_tanh_is_as_near_the_real_function_as_its_table_allows() -> None:
    real = np.tanh(ALL / 4096.0) * 32768.0
    assert np.abs(tanh(ALL) - real).max() < LARGEST_ERROR


def test_sigmoid_is_as_near_and_never_one() -> None:
    found = sigmoid(ALL)
    assert np.abs(found - 32768.0 / (1.0 + np.exp(-ALL / 2048.0))).max() < LARGEST_ERROR / 2 + 1
    assert found.min() >= 0
    assert found.max() <= 32767


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gives", ["sequence", "last"])
def test_the_integer_layer_follows_the_float_one(kind: str, gives: str) -> None:
    rng = np.random.default_rng(2)
    layer = recurrent_layer(kind, rng, 10, 16, 1.5, gives=gives)
    wide = QType(IntType.INT16, 4.0 / 32768)
    x = QTensor("x", (1, 20, 10), wide)
    state = QTensor("y", layer.infer_shape(x.shape), wide)
    (op,) = layer.lower(Site("layer", (x,), state, UNCLIPPED))
    op.verify((x,), state)
    q = wide.quantize(np.clip(rng.normal(size=x.shape), -3.5, 3.5))
    expected = layer.evaluate(wide.dequantize(q).astype(np.float64))
    found = wide.dequantize(op.evaluate(q))
    noise = np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected**2))
    assert noise < 0.02


@pytest.mark.parametrize(("weight_type", "most"), [(IntType.INT8, 127), (IntType.INT4, 7)])
def test_weights_of_a_quantized_model_keep_their_integers(weight_type: IntType, most: int) -> None:
    rng = np.random.default_rng(6)
    integers = rng.integers(-most, most + 1, (8, 40))
    largest = (most, most - 1, most - 2, most - 3, most // 2 + 1, most, -most, 1)
    integers[:, 0] = largest
    integers[:, 1:] = np.clip(integers[:, 1:], -(most // 2), most // 2)
    integers[7, 1:] = 0  # one weight alone: as fine a step as for any other row
    stated = integers * np.float32(0.0123)
    kept = state_rows(stated.astype(np.float32), None, 15, np.ones(8), weight_type).weight
    counts = np.abs(kept).max(axis=1) / np.abs(integers).max(axis=1)
    np.testing.assert_allclose(kept, integers * counts[:, None])
    assert counts.tolist() == [1, 1, 1, 1, 1, 1, 1, most]
    free = state_rows(rng.normal(0, 1, (8, 40)), None, 15, np.ones(8), weight_type).weight
    assert np.all(np.abs(free).max(axis=1) == most)


@pytest.mark.parametrize("weight_type", [IntType.INT2, IntType.INT3, IntType.INT4, IntType.INT6])
def test_weights_err_as_their_steps_are_coarse_or_less(weight_type: IntType) -> None:
    weight = np.random.default_rng(7).normal(0, 1, (16, 64))
    error = rounded_weight(weight, weight_type) - weight
    finer = rounded_weight(weight, IntType.INT8) - weight
    bits = np.log2(np.sqrt(np.mean(error**2) / np.mean(finer**2)))
    covering = np.log2(127 / weight_type.maximum)
    # Clipping the largest weights gains up to a bit where there are few.
    assert covering - 1.3 < bits <= covering + 0.1


def test_a_cell_may_grow_by_one_a_step_beyond_where_it_begins() -> None:
    rng = np.random.default_rng(4)
    layer = replace(  # type: ignore[type-var]
        recurrent_layer("lstm", rng, 3, 2, 0.1, gives="cell"), bias=np.full(8, 6.0)
    )
    wide = QType(IntType.INT16, 4.0 / 32768)
    inputs = [QTensor("x", (1, 1, 3), wide)]
    inputs += [QTensor(name, (1, 1, 2), QType(IntType.INT16, 1.0 / 32768)) for name in "hc"]
    y = QTensor("y", (1, 1, 2), wide)
    (op,) = layer.lower(Site("layer", tuple(inputs), y, UNCLIPPED))
    values = [np.zeros((1, 1, 3)), np.zeros((1, 1, 2)), np.full((1, 1, 2), 0.99)]
    q = [tensor.qtype.quantize(value) for tensor, value in zip(inputs, values, strict=True)]
    found = wide.dequantize(op.evaluate(*q))
    assert found.min() > 1.9
    np.testing.assert_allclose(found, layer.evaluate(*values), atol=1e-3)
