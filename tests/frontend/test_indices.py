"""Inputs that are numbers of a table's rows, as embeddings of tokens take them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from dfqgen.compile import compile_model, draft_c, verify_draft
from dfqgen.errors import UnsupportedModel, UserError
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.fixedpoint.vectors import golden_vectors
from dfqgen.frontend import load
from dfqgen.plan.budget import TARGETS_OWN
from dfqgen.recipe.choices import make_recipe
from dfqgen.verify.against_float import compare_with_float
from tests.frontend.nets import Net, check, kinds

RNG = np.random.default_rng(4)


def table(rows: int, *shape: int) -> np.ndarray:
    return RNG.normal(size=(rows, *shape)).astype(np.float32)


def tokens(rows: int = 20, dtype: int = TensorProto.INT64, shape: tuple[int, ...] = (1, 6)) -> Net:
    """Embeddings of tokens and of their places, then a layer."""
    net = Net()
    numbers = net.input(*shape, dtype=dtype)
    if dtype == TensorProto.UINT8:  # not a type of Gather's
        numbers = net.node("Cast", numbers, to=TensorProto.INT32)
    x = net.node("Gather", table(rows, 8), numbers)
    x = net.node("Add", x, table(*shape[1:], 8))
    return net.output(net.node("MatMul", x, table(8, 3)))


@pytest.mark.parametrize("dtype", [TensorProto.INT64, TensorProto.INT32, TensorProto.UINT8], ids=str)
def test_a_table_is_read_by_an_input_of_integers(tmp_path: Path, dtype: int) -> None:
    graph = check(tokens(dtype=dtype), tmp_path)
    assert "Embedding" in kinds(graph)
    assert graph.inputs[0].indices
    assert graph.inputs[0].holds == (0, 19)


@pytest.mark.parametrize("shape", [(6, 1), (1, 6), (3, 2)])
def test_time_may_come_first_and_samples_may_be_several(tmp_path: Path, shape: tuple[int, ...]) -> None:
    net = Net()
    x = net.node("Gather", table(9, 4), net.input(*shape, name="ids", dtype=TensorProto.INT32))
    path = net.output(net.node("Relu", x)).save(tmp_path)
    graph = load(path, input_shapes={"ids": shape})
    assert "Embedding" in kinds(graph)
    assert graph.outputs[0].shape[-1] == 4


def test_floats_that_a_cast_makes_numbers_are_numbers(tmp_path: Path) -> None:
    """Keras' Embedding takes floats."""
    net = Net()
    numbers = net.node("Cast", net.input(1, 5), to=TensorProto.INT32)
    graph = check(net.output(net.node("Gather", table(7, 2, 3), numbers)), tmp_path)
    assert graph.inputs[0].holds == (0, 6)


def test_numbers_may_move_before(tmp_path: Path) -> None:
    net = Net()
    x = net.input(1, 6, dtype=TensorProto.INT64)
    first = net.node("Slice", x, np.array([0]), np.array([3]), np.array([1]))
    net.output(net.node("Tanh", net.node("Gather", table(7, 4), net.node("Unsqueeze", first, np.array([1])))))
    assert check(net, tmp_path).inputs[0].holds == (0, 6)


def test_two_tables_share_the_smaller_ones_numbers(tmp_path: Path) -> None:
    net = Net()
    x = net.input(1, 6, dtype=TensorProto.INT64)
    both = [net.node("Gather", table(rows, 4), x) for rows in (9, 5)]
    assert check(net.output(net.node("Add", *both)), tmp_path).inputs[0].holds == (0, 4)


def test_positions_that_the_network_finds_are_numbers(tmp_path: Path) -> None:
    net = Net()
    best = net.node("ArgMax", net.input(1, 5, 7), axis=2, keepdims=0)
    graph = check(net.output(net.node("Gather", table(7, 3), best)), tmp_path)
    assert kinds(graph)[-1] == "Embedding"


@pytest.mark.parametrize(
    ("rows", "dtype", "zero_point"),
    [
        (128, IntType.INT8, 0),
        (129, IntType.INT16, 0),
        (32768, IntType.INT16, 0),
        (32769, IntType.INT16, -32768),
    ],
)
def test_the_c_takes_numbers_as_they_are_where_they_fit(
    tmp_path: Path, rows: int, dtype: IntType, zero_point: int
) -> None:
    compiled = compile_model(tokens(rows).save(tmp_path), make_recipe(input_range=(-1.0, 1.0)))
    qtype = compiled.program.tensors[compiled.program.inputs[0].tensor].qtype
    assert (qtype.dtype, qtype.scale, qtype.zero_point) == (dtype, 1.0, zero_point)
    assert not compiled.warnings
    (number,) = {len(vector.inputs) for vector in golden_vectors(compiled.program)}
    assert number == 1
    drawn = golden_vectors(compiled.program)[0].inputs[compiled.program.inputs[0].tensor]
    assert 0 <= drawn.astype(int).min() - zero_point <= drawn.astype(int).max() - zero_point < rows


def test_the_c_equals_the_reference_and_comes_close_to_float(tmp_path: Path) -> None:
    compiled = compile_model(tokens(rows=300).save(tmp_path))
    built = verify_draft(compiled, draft_c(compiled, TARGETS_OWN))
    (output,) = compare_with_float(compiled.network, compiled.program, built.check.network, None).outputs
    assert output.sqnr_db > 30.0
    assert "int16, numbers of a table's rows, 0 to 299 */" in built.files["net.h"].decode()


def test_numbers_that_are_counted_with_are_refused_with_the_way_out(tmp_path: Path) -> None:
    net = Net()
    x = net.node("Cast", net.input(1, 6, name="age", dtype=TensorProto.INT64), to=TensorProto.FLOAT)
    path = net.output(net.node("Mul", x, np.float32(0.1))).save(tmp_path)
    with pytest.raises(UserError, match="'age' is int64, and not the number of a table's row") as caught:
        load(path)
    assert "--fix age=NUMBER" in str(caught.value)


@pytest.mark.parametrize("axis", [1, -1])
def test_another_axis_of_a_constant_is_refused(tmp_path: Path, axis: int) -> None:
    net = Net()
    x = net.node("Cast", net.input(1, 5, dtype=TensorProto.UINT8), to=TensorProto.INT64)
    path = net.output(net.node("Gather", table(6, 7), x, axis=axis)).save(tmp_path)
    with pytest.raises(UnsupportedModel, match="another axis than the first"):
        load(path)


def test_numbers_from_reals_are_refused(tmp_path: Path) -> None:
    net = Net()
    x = net.node("Cast", net.node("Tanh", net.input(1, 5)), to=TensorProto.INT32)
    with pytest.raises(UnsupportedModel, match="Cast"):
        load(net.output(net.node("Gather", table(6, 7), x)).save(tmp_path))
