"""Models of scikit-learn as skl2onnx writes them: what onnxruntime gives, labels left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

from dfqgen.compile import compile_model
from dfqgen.errors import UnsupportedModel
from dfqgen.frontend import load
from dfqgen.graph.reference import Reference
from dfqgen.ops.trees import TreeEnsemble
from dfqgen.recipe.choices import make_recipe
from tests.frontend.nets import Net, assert_equals_onnxruntime, kinds, only

ML = "ai.onnx.ml"
FEATURES, CLASSES = 4, 3
RNG = np.random.default_rng(11)


def normal(*shape: int) -> list[float]:
    return [float(np.float32(v)) for v in RNG.normal(size=shape).ravel()]


def tail(net: Net, classifier: str, *, norm: bool) -> Net:
    """What skl2onnx puts behind a classifier: labels as integers, probabilities in maps."""
    scores = f"{classifier}_1"
    if norm:
        scores = net.node("Normalizer", scores, domain=ML, norm="L1")
    label = net.node("Cast", classifier, to=TensorProto.INT64)
    maps = net.node("ZipMap", scores, domain=ML, classlabels_int64s=list(range(CLASSES)))
    for node in net.nodes:
        node.output[:] = [{label: "label", maps: "probability"}.get(name, name) for name in node.output]
    return net.output("label", "probability")


def check(net: Net, folder: Path) -> Any:
    path = net.save(folder)
    graph = load(path)
    assert_equals_onnxruntime(path, graph)
    return graph


def trees(**changes: Any) -> dict[str, Any]:
    """Two trees: one of three leaves, one of two."""
    lists = {
        "nodes_treeids": [0, 0, 0, 0, 0, 1, 1, 1],
        "nodes_nodeids": [0, 1, 2, 3, 4, 0, 1, 2],
        "nodes_featureids": [1, 3, 0, 0, 0, 2, 0, 0],
        "nodes_values": [0.25, -0.5, 0.0, 0.0, 0.0, 0.1, 0.0, 0.0],
        "nodes_modes": ["BRANCH_LEQ", "BRANCH_LEQ", "LEAF", "LEAF", "LEAF", "BRANCH_LEQ", "LEAF", "LEAF"],
        "nodes_truenodeids": [1, 3, 0, 0, 0, 2, 0, 0],
        "nodes_falsenodeids": [2, 4, 0, 0, 0, 1, 0, 0],
    }
    return lists | changes


def leaves(what: str, outputs: int) -> dict[str, Any]:
    places = [(0, 2), (0, 3), (0, 4), (1, 1), (1, 2)]
    rows = [(tree, node, k) for tree, node in places for k in range(outputs)]
    return {
        f"{what}_treeids": [row[0] for row in rows],
        f"{what}_nodeids": [row[1] for row in rows],
        f"{what}_ids": [row[2] for row in rows],
        f"{what}_weights": normal(len(rows)),
    }


@pytest.mark.parametrize("transform", ["NONE", "LOGISTIC", "SOFTMAX"])
def test_a_linear_classifier_gives_its_scores_under_the_name_of_the_maps(
    tmp_path: Path, transform: str
) -> None:
    net = Net()
    x = net.node("Scaler", net.input(1, FEATURES), domain=ML, offset=normal(FEATURES), scale=normal(FEATURES))
    layer = net.node(
        "LinearClassifier", x, domain=ML, outputs=2, coefficients=normal(CLASSES, FEATURES),
        intercepts=normal(CLASSES), classlabels_ints=[0, 1, 2], post_transform=transform,
    )  # fmt: skip
    graph = check(tail(net, layer, norm=transform == "LOGISTIC"), tmp_path)
    assert [port.name for port in graph.outputs] == ["probability"]
    assert graph.remarks == (
        "the output 'label' is the label of a class; it is left out: it follows from 'probability'",
    )


def test_a_linear_regressor_is_a_layer(tmp_path: Path) -> None:
    net = Net()
    settings: dict[str, Any] = {"coefficients": normal(2, FEATURES), "intercepts": normal(2), "targets": 2}
    net.output(net.node("LinearRegressor", net.input(1, FEATURES), domain=ML, **settings))
    assert kinds(check(net, tmp_path)).count("Conv2D") == 1


@pytest.mark.parametrize("kernel", ["LINEAR", "RBF", "POLY", "SIGMOID"])
def test_a_support_vector_regressor_is_two_layers_and_a_function(tmp_path: Path, kernel: str) -> None:
    net = Net()
    vectors = 5
    net.output(
        net.node(
            "SVMRegressor", net.input(1, FEATURES), domain=ML, kernel_type=kernel, n_supports=vectors,
            coefficients=normal(vectors), support_vectors=normal(vectors, FEATURES), rho=normal(1),
            kernel_params=[0.3, 0.5, 2.0],
        )
    )  # fmt: skip
    check(net, tmp_path)


@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize("kernel", ["LINEAR", "RBF"])
def test_a_support_vector_classifier_decides_between_each_two(
    tmp_path: Path, classes: int, kernel: str
) -> None:
    net = Net()
    per_class = [3, 2, 4, 1][:classes]
    count = sum(per_class)
    layer = net.node(
        "SVMClassifier", net.input(1, FEATURES), domain=ML, outputs=2, kernel_type=kernel,
        coefficients=normal((classes - 1) * count), support_vectors=normal(count, FEATURES),
        rho=normal(classes * (classes - 1) // 2), kernel_params=[0.3, 0.5, 2.0],
        vectors_per_class=per_class, classlabels_ints=list(range(classes)),
    )  # fmt: skip
    check(net.output(net.node("Neg", f"{layer}_1")), tmp_path)


def test_an_rbf_kernel_is_known_to_be_at_most_one(tmp_path: Path) -> None:
    """A sum of exponentials that might grow beyond 1 would get a range thirty times too wide."""
    net = Net()
    vectors = 40
    net.output(
        net.node(
            "SVMRegressor", net.input(1, FEATURES), domain=ML, kernel_type="RBF", n_supports=vectors,
            coefficients=normal(vectors), support_vectors=normal(vectors, FEATURES), rho=normal(1),
            kernel_params=[0.3, 0.0, 0.0],
        )
    )  # fmt: skip
    compiled = compile_model(net.save(tmp_path), make_recipe(input_range=(-2.0, 2.0)))
    kernels = [t for t in compiled.program.tensors.values() if t.elements == vectors]
    assert kernels[-1].qtype.real_range[1] <= 1.01


def test_a_classifier_with_probabilities_of_its_own_is_refused(tmp_path: Path) -> None:
    net = Net()
    layer = net.node(
        "SVMClassifier", net.input(1, FEATURES), domain=ML, outputs=2, kernel_type="RBF",
        coefficients=normal(2), support_vectors=normal(2, FEATURES), rho=normal(1), prob_a=[1.0],
        prob_b=[0.0], kernel_params=[0.3, 0.5, 2.0], vectors_per_class=[1, 1], classlabels_ints=[0, 1],
    )  # fmt: skip
    with pytest.raises(UnsupportedModel, match="without probability=True"):
        load(net.output(f"{layer}_1").save(tmp_path))


@pytest.mark.parametrize("operator", ["Less", "Greater", "LessOrEqual", "GreaterOrEqual", "Equal"])
@pytest.mark.parametrize("constant", [0, 1, None])
def test_comparisons_are_functions(tmp_path: Path, operator: str, constant: int | None) -> None:
    net = Net()
    x = net.node("Round", net.input(1, FEATURES))
    bounds = np.array([normal(FEATURES)], np.float32).round()
    other = bounds if constant is not None else net.node("Neg", x)
    pair = (other, x) if constant == 0 else (x, other)
    truth = net.node(operator, *pair)
    truth = net.node("And", net.node("Not", truth), net.node("Or", truth, net.node("Cast", x, to=9)))
    check(net.output(net.node("Mul", x, net.node("Cast", truth, to=1))), tmp_path)


@pytest.mark.parametrize("constant", [0, 1, None])
def test_a_choice_by_a_comparison(tmp_path: Path, constant: int | None) -> None:
    """As PyTorch's newer exporter writes Softplus."""
    net = Net()
    x = net.input(1, FEATURES)
    branches: list[Any] = [net.node("Neg", x), net.node("Exp", x)]
    if constant is not None:
        branches[constant] = np.array(normal(FEATURES), np.float32)
    greater = net.node("Greater", x, np.array([0.3], np.float32))
    check(net.output(net.node("Where", greater, *branches)), tmp_path)


def test_scores_less_their_log_sum_exp_are_a_softmax(tmp_path: Path) -> None:
    """As naive Bayes is written."""
    net = Net()
    x = net.input(1, FEATURES)
    total = net.node("ReduceLogSumExp", x, axes=[1], keepdims=0)
    scores = net.node("Sub", x, net.node("Reshape", total, np.array([-1, 1])))
    assert kinds(check(net.output(net.node("Exp", scores)), tmp_path)) == ["Softmax"]


def test_the_logarithm_of_a_sum_of_exponentials(tmp_path: Path) -> None:
    net = Net()
    net.output(net.node("ReduceLogSumExp", net.input(1, 3, FEATURES), axes=[1]))
    check(net, tmp_path)


@pytest.mark.parametrize("mode", ["BRANCH_LEQ", "BRANCH_LT"])
@pytest.mark.parametrize("aggregate", ["SUM", "AVERAGE"])
def test_trees_are_tables(tmp_path: Path, mode: str, aggregate: str) -> None:
    net = Net()
    modes = [m if m == "LEAF" else mode for m in trees()["nodes_modes"]]
    settings = trees(nodes_modes=modes) | leaves("target", 2)
    x = net.input(1, FEATURES)
    net.output(
        net.node(
            "TreeEnsembleRegressor", x, domain=ML, n_targets=2, aggregate_function=aggregate,
            base_values=normal(2), **settings,
        )
    )  # fmt: skip
    op = only(check(net, tmp_path), TreeEnsemble)
    assert len(op.roots) == 2
    graph = load(tmp_path / "net.onnx")
    at = np.array([[0.0, 0.25, 0.1, -0.5], [0.0, 0.3, 0.2, 0.0]], np.float32)  # at thresholds, and beyond
    (expected,) = Reference.of(tmp_path / "net.onnx", graph).run({"x": at}).values()
    (found,) = graph.evaluate({"x": at}).values()
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_forest_gives_probabilities(tmp_path: Path) -> None:
    net = Net()
    x = net.input(1, FEATURES)
    settings = trees() | leaves("class", CLASSES) | {"classlabels_int64s": [0, 1, 2]}
    forest = net.node("TreeEnsembleClassifier", x, domain=ML, outputs=2, **settings)
    graph = check(tail(net, forest, norm=False), tmp_path)
    assert kinds(graph) == ["TreeEnsemble"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nodes_truenodeids": [1, 0, 0, 0, 0, 2, 0, 0]}, "node 0 of tree 0 is reached twice"),
        ({"nodes_truenodeids": [9, 3, 0, 0, 0, 2, 0, 0]}, "node 9 of tree 0 is reached twice, or is not"),
        ({"nodes_modes": ["BRANCH_EQ", *trees()["nodes_modes"][1:]]}, "branches by BRANCH_EQ"),
        ({"nodes_nodeids": [0] * 8}, "of different names are supported"),
        ({"nodes_values": [0.0]}, "is malformed"),
        ({"nodes_featureids": [99] * 8}, "looks at feature 99 of 4"),
    ],
)
def test_trees_that_are_none_are_refused_with_the_reason(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    net = Net()
    x = net.input(1, FEATURES)
    settings = trees(**changes) | leaves("target", 1)
    net.output(net.node("TreeEnsembleRegressor", x, domain=ML, n_targets=1, **settings))
    with pytest.raises(UnsupportedModel, match=message):
        load(net.save(tmp_path))
