"""What operators say of themselves to the passes holds, on the examples of every operator."""

from __future__ import annotations

from itertools import pairwise, permutations

import numpy as np
import pytest

from dfqgen.graph.ir import Array, Border, Op, Shape
from dfqgen.ops.lookup import Clip
from tests.ops.examples import EXAMPLES, operator_name

every_operator = pytest.mark.parametrize(("op", "shapes"), EXAMPLES, ids=operator_name)


def inputs(shapes: tuple[Shape, ...], seed: int = 3) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in shapes]


def agree(found: Array, expected: Array) -> None:
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@every_operator
def test_transposed_operators_commute_with_transposes(op: Op, shapes: tuple[Shape, ...]) -> None:
    for rest in permutations(range(1, len(shapes[0]))):
        permutation = (0, *rest)
        other = op.transposed(permutation)
        if other is None:
            continue
        behind = inputs(shapes)
        before = [x.transpose(np.argsort(permutation)) for x in behind]
        agree(op.evaluate(*behind), other.evaluate(*before).transpose(permutation))
        shape = other.infer_shape(*(x.shape for x in before))
        assert tuple(shape[axis] for axis in permutation) == op.infer_shape(*shapes)


@every_operator
def test_turned_operators_commute_with_exchanging_height_and_width(op: Op, shapes: tuple[Shape, ...]) -> None:
    other = op.turned()
    if other is not None:
        behind = inputs(shapes)
        before = [x.transpose(0, 2, 1, 3) for x in behind]
        agree(op.evaluate(*behind), other.evaluate(*before).transpose(0, 2, 1, 3))


@every_operator
def test_reshaped_operators_commute_with_reshapes(op: Op, shapes: tuple[Shape, ...]) -> None:
    if len(set(shapes)) > 1 or len(shapes[0]) != 4:
        return
    after = shapes[0]
    n, height, width, channels = after
    for before in (
        (n, height * width, channels),
        (n, height, width * channels),
        (n, height * width // 2, 2 * channels),
        (n, height * width * channels),
        (n, height, width, 2, channels // 2),
        (n, 1, height, width, channels),
    ):
        other = op.reshaped(before, after)
        if other is not None:
            behind = inputs(shapes)
            result = other.evaluate(*(x.reshape(before) for x in behind))
            expected = op.evaluate(*behind)
            agree(result.reshape(expected.shape), expected)


@every_operator
def test_pointwise_operators_do_not_see_where_an_element_is(op: Op, shapes: tuple[Shape, ...]) -> None:
    if not op.pointwise or len(set(shapes)) > 1:
        return
    order = np.random.default_rng(1).permutation(int(np.prod(shapes[0])))
    values = inputs(shapes)
    mixed = [x.ravel()[order].reshape(x.shape) for x in values]
    expected = op.evaluate(*values)
    agree(op.evaluate(*mixed), expected.ravel()[order].reshape(expected.shape))


@every_operator
def test_scaled_operators_scale_each_channel(op: Op, shapes: tuple[Shape, ...]) -> None:
    factor = np.random.default_rng(2).uniform(0.2, 5.0, shapes[0][-1])
    other = op.scaled(factor, shapes[0])
    if other is not None:
        x = inputs(shapes)[0]
        agree(other.evaluate(factor * x), factor * op.evaluate(x))


@every_operator
@pytest.mark.parametrize("alone", [True, False])
def test_factors_pass_to_the_channels_that_operators_say(
    op: Op, shapes: tuple[Shape, ...], alone: bool
) -> None:
    ends = np.cumsum([1, *(shape[-1] for shape in shapes)])
    labels = [np.arange(first, last) for first, last in pairwise(ends)]
    if alone:  # the other inputs have no factors
        labels = [labels[0], *(np.zeros_like(other) for other in labels[1:])]
    rows = op.carried(shapes, *labels)
    if rows is None:
        return
    factors = np.random.default_rng(2).uniform(0.2, 5.0, ends[-1])
    factors[0] = 1.0
    for row in rows[1:]:
        factors[rows[0]] = factors[row]
    scaled = op.scaled(factors[labels[0]], shapes[0]) if len(shapes) == 1 else None
    values = inputs(shapes)
    found = (scaled or op).evaluate(*(factors[label] * x for label, x in zip(labels, values, strict=True)))
    agree(found, factors[rows[0]] * op.evaluate(*values))


@every_operator
def test_operators_of_selected_channels_see_only_those(op: Op, shapes: tuple[Shape, ...]) -> None:
    channels = shapes[0][-1]
    if op.scaled(np.ones(channels), shapes[0]) is None and not op.folds_into_layer:
        return
    selection = np.array([2, 0, 3])
    x = inputs(shapes)[0]
    agree(op.selected(selection).evaluate(x[..., selection]), op.evaluate(x)[..., selection])


@every_operator
@pytest.mark.parametrize("value", [0.0, -np.inf, 0.5])
def test_padded_operators_make_the_border_themselves(op: Op, shapes: tuple[Shape, ...], value: float) -> None:
    if len(shapes[0]) < 3:
        return
    rest = (0,) * (len(shapes[0]) - 3)
    border = Border((0, 1, 0, *rest), (0, 0, 1, *rest), value)
    widths = tuple(zip(border.before, border.after, strict=True))
    inner = tuple(n - b - a for n, (b, a) in zip(shapes[0], widths, strict=True))
    for floor in (-np.inf, 0.0):
        other = op.padded(border, floor)
        if other is not None:
            x = np.maximum(inputs((inner,))[0], floor)
            agree(other.evaluate(x), op.evaluate(np.pad(x, widths, constant_values=value)))


@every_operator
def test_an_identity_changes_nothing(op: Op, shapes: tuple[Shape, ...]) -> None:
    if op.is_identity(shapes[0]):
        agree(op.evaluate(*inputs(shapes)), inputs(shapes)[0])


@pytest.mark.parametrize(
    ("law", "operators"),
    [
        (
            lambda op, shape: op.scaled(np.ones(4), shape),
            {"AveragePool", "Clip", "Elementwise", "MaxPool", "PRelu", "Pad"},
        ),
        (
            lambda op, shape: op.padded(Border((0, 1, 0, 0), (0, 0, 0, 0), 0.0), 0.0),
            {"AveragePool", "Conv2D", "MaxPool"},
        ),
        (lambda op, shape: op.reads_scores or None, {"LogSoftmax", "Softmax"}),
    ],
    ids=["scaled", "padded", "reads_scores"],
)
def test_the_laws_are_not_true_of_nothing(law: object, operators: set[str]) -> None:
    found = {type(op).__name__ for op, shapes in EXAMPLES if law(op, shapes[0]) is not None}  # type: ignore[operator]
    assert found >= operators


def test_a_clip_to_nothing_shares_its_bounds_when_scaled() -> None:
    relu = Clip.of(0.0, np.inf).scaled(np.array([2.0, 3.0]), (1, 2))
    assert relu.lo.size == relu.hi.size == 1
