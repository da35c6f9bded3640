"""Models of scikit-learn as skl2onnx writes them: operators of the domain ai.onnx.ml, and tails of labels.

A label is a name or a number of a class, which no network needs to give: it is that of the largest score.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from dfqgen.frontend.forest import tables
from dfqgen.frontend.fused import Fused, NotPlain, RankOf, Rule
from dfqgen.graph.ir import Array

ML = "ai.onnx.ml"
CLASSIFIERS = frozenset(["LinearClassifier", "SVMClassifier", "TreeEnsembleClassifier"])
"""Their first output is labels, the second scores."""
LOOK_UP = frozenset(["ArrayFeatureExtractor", "LabelEncoder"])
PASS_ON = frozenset(["Cast", "Reshape", "Identity", "Squeeze", "Flatten"])


def without_labels(model: onnx.ModelProto) -> tuple[str, ...]:
    """Leave out outputs that are labels, and the maps of names that ZipMap makes of scores, in place.

    Gives a remark on each. Where nothing else is an output, labels stay.
    """
    graph = model.graph
    zipped = {node.output[0]: node.input[0] for node in graph.node if _is(node, "ZipMap") and node.output}
    constants = {tensor.name for tensor in graph.initializer}
    given = {name for node in graph.node for name in node.output}
    names = {value.name for value in graph.output}
    rename = {
        source: name
        for name, source in zipped.items()
        if name in names and source in given - names and list(zipped.values()).count(source) == 1
    }
    kept = [node for node in graph.node if not (_is(node, "ZipMap") and node.output[0] in rename.values())]
    for node in kept:
        for ends in (node.input, node.output):
            ends[:] = [rename.get(name, name) for name in ends]
    del graph.node[:]
    graph.node.extend(kept)
    for value in graph.output:
        if value.name in rename.values():
            value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, onnx.TensorProto.FLOAT, None))
    labels = _labels(graph, constants)
    left = [value for value in graph.output if value.name not in labels]
    if not left or len(left) == len(graph.output):
        return ()
    scores = ", ".join(repr(value.name) for value in left)
    remarks = tuple(
        f"the output {value.name!r} is the label of a class; it is left out: it follows from {scores}"
        for value in graph.output
        if value.name in labels
    )
    del graph.output[:]
    graph.output.extend(left)
    return remarks


def _is(node: onnx.NodeProto, *kinds: str) -> bool:
    return node.domain == ML and node.op_type in kinds


def _labels(graph: onnx.GraphProto, constants: set[str]) -> set[str]:
    """Tensors that hold labels."""
    found: set[str] = set()
    for node in graph.node:
        looked_up = _is(node, *LOOK_UP) and (node.op_type == "LabelEncoder" or node.input[0] in constants)
        if _is(node, *CLASSIFIERS) or looked_up:
            found.update(node.output[:1])
        elif node.op_type in PASS_ON and node.input and node.input[0] in found:
            found.update(node.output)
    return found


def _scaler(fused: Fused, rank_of: RankOf) -> str:
    """(x - offset) * scale, one value or one a feature."""
    (x,) = fused.inputs
    offset, scale = fused.numbers("offset"), fused.numbers("scale")
    return fused.add("Mul", fused.add("Sub", x, fused.constant(offset)), fused.constant(scale))


def _normalizer(fused: Fused, rank_of: RankOf) -> str:
    """Each sample over its norm."""
    (x,) = fused.inputs
    norm = _word(fused, "norm", "MAX")
    if norm in ("L1", "L2"):
        return fused.add("LpNormalization", x, axis=-1, p=int(norm[1]))
    if norm != "MAX":
        raise NotPlain(f"normalizes by {norm!r}, which is unknown")
    largest = fused.add("ReduceMax", fused.add("Abs", x), fused.constant(np.array([-1])), keepdims=1)
    return fused.add("Div", x, largest)


def _imputer(fused: Fused, rank_of: RankOf) -> str:
    """Puts a number in place of one that is missing, which integers never are."""
    return fused.inputs[0]


def _extractor(fused: Fused, rank_of: RankOf) -> str:
    """Features by their places, which stay an axis where there is one place alone."""
    x, places = fused.inputs
    listed = fused.add("Reshape", places, fused.constant(np.array([-1])))
    return fused.add("Gather", x, listed, axis=-1)


def _vectorizer(fused: Fused, rank_of: RankOf) -> str:
    return fused.add("Concat", *fused.inputs, axis=-1)


def _linear_regressor(fused: Fused, rank_of: RankOf) -> str:
    return _transformed(fused, _rows(fused, _count(fused, "targets")))


def _linear_classifier(fused: Fused, rank_of: RankOf) -> str:
    classes = [len(fused.attributes.get(f"classlabels_{kind}", ())) for kind in ("ints", "strings")]
    scores = _rows(fused, max(classes))
    fused.gives_output(1)
    return _transformed(fused, scores)


def _rows(fused: Fused, rows: int) -> str:
    """coefficients [rows, features] times x, and intercepts."""
    coefficients, intercepts = fused.numbers("coefficients"), fused.numbers("intercepts")
    if rows < 1 or coefficients.size % rows or intercepts.size not in (0, rows):
        raise NotPlain(f"has {coefficients.size} coefficients, {intercepts.size} intercepts of {rows} rows")
    weight = np.ascontiguousarray(coefficients.reshape(rows, -1).T)
    product = fused.add("MatMul", fused.inputs[0], fused.constant(weight))
    return fused.add("Add", product, fused.constant(intercepts)) if intercepts.size else product


def _tree_regressor(fused: Fused, rank_of: RankOf) -> str:
    targets = _count(fused, "n_targets")
    aggregate = _word(fused, "aggregate_function", "SUM")
    if aggregate not in ("SUM", "AVERAGE"):
        raise NotPlain(f"aggregates its trees by {aggregate}; SUM and AVERAGE are supported")
    return _transformed(fused, _forest(fused, "target", targets, average=aggregate == "AVERAGE"))


def _tree_classifier(fused: Fused, rank_of: RankOf) -> str:
    classes = max(len(fused.attributes.get(f"classlabels_{kind}", ())) for kind in ("int64s", "strings"))
    if len(set(fused.attributes.get("class_ids", ()))) < classes:
        raise NotPlain("has leaves of fewer classes than labels: scores of one class stand for two")
    scores = _forest(fused, "class", classes, average=False)
    fused.gives_output(1)
    return _transformed(fused, scores)


def _forest(fused: Fused, what: str, outputs: int, *, average: bool) -> str:
    found = tables(fused.attributes, what, outputs)
    base = fused.numbers("base_values")
    if base.size not in (0, outputs):
        raise NotPlain(f"has {base.size} base values of {outputs} outputs")
    if average:
        found["leaves"] = found["leaves"] / np.float32(len(found["roots"]))
    found["start"] = base if base.size else np.zeros(outputs, np.float32)
    names = ("feature", "threshold", "children", "roots", "leaves", "start")
    return fused.add("TreeEnsemble", fused.inputs[0], *(fused.constant(found[name]) for name in names))


def _svm_regressor(fused: Fused, rank_of: RankOf) -> str:
    """The sum of coefficients times kernels of x and each support vector, and rho."""
    (x,) = fused.inputs
    coefficients, rho = fused.numbers("coefficients"), fused.numbers("rho")
    count, kind = _count(fused, "n_supports", 0), _word(fused, "kernel_type", "LINEAR")
    if rho.size != 1 or fused.attributes.get("one_class"):
        raise NotPlain("is no regressor with one rho")
    if count == 0:
        product = fused.add("MatMul", x, fused.constant(coefficients.reshape(-1, 1)))
        return _transformed(fused, fused.add("Add", product, fused.constant(rho)))
    vectors = fused.numbers("support_vectors").reshape(count, -1)
    gamma, shift, degree = (*(float(v) for v in fused.numbers("kernel_params")), 0.0, 0.0, 0.0)[:3]
    kernels = _kernels(fused, kind, vectors, gamma, shift, degree)
    total = fused.add("MatMul", kernels, fused.constant(coefficients.reshape(count, 1)))
    return _transformed(fused, fused.add("Add", total, fused.constant(rho)))


def _svm_classifier(fused: Fused, rank_of: RankOf) -> str:
    """One decision for each pair of classes, the first one's above zero; of two classes for each class."""
    coefficients, rho = fused.numbers("coefficients"), fused.numbers("rho")
    per_class = fused.attributes.get("vectors_per_class", ())
    classes, count = len(per_class), sum(per_class)
    pairs = [(i, j) for i in range(classes) for j in range(i + 1, classes)]
    if fused.numbers("prob_a").size:
        raise NotPlain("gives probabilities of its own; export an SVC without probability=True")
    if classes < 2 or coefficients.size != (classes - 1) * count or rho.size != len(pairs):
        raise NotPlain("has no support vectors of two classes or more")
    vectors = fused.numbers("support_vectors").reshape(count, -1)
    weights = coefficients.reshape(classes - 1, count)
    ends = np.cumsum(per_class)
    decisions = np.zeros((count, len(pairs)), np.float32)
    for place, (i, j) in enumerate(pairs):
        for mine, other in ((i, j - 1), (j, i)):
            own = slice(ends[mine] - per_class[mine], ends[mine])
            decisions[own, place] = weights[other, own]
    if classes == 2:
        decisions, rho = (np.concatenate([-v, v], axis=-1) for v in (decisions, rho))
    gamma, shift, degree = (*(float(v) for v in fused.numbers("kernel_params")), 0.0, 0.0, 0.0)[:3]
    kernels = _kernels(fused, _word(fused, "kernel_type", "LINEAR"), vectors, gamma, shift, degree)
    scores = fused.add("Add", fused.add("MatMul", kernels, fused.constant(decisions)), fused.constant(rho))
    fused.gives_output(1)
    return _transformed(fused, scores)


def _kernels(fused: Fused, kind: str, vectors: Array, gamma: float, shift: float, degree: float) -> str:
    """Of x and each of the support vectors [count, features]."""
    (x,) = fused.inputs
    if kind == "RBF":
        # |x - v|^2 = sum (x^2 - 2 v x) + |v|^2: a product with [x^2, x].
        both = fused.add("Concat", fused.add("Mul", x, x), x, axis=-1)
        weight = np.concatenate([np.full(vectors.T.shape, -gamma), 2.0 * gamma * vectors.T])
        exponent = fused.add("MatMul", both, fused.constant(weight.astype(np.float32)))
        lengths = (-gamma * np.square(vectors).sum(axis=1)).astype(np.float32)
        distances = fused.add("Add", exponent, fused.constant(lengths))
        # No distance is below zero; what rounding makes of one must not widen the range of the exponentials.
        return fused.add("Exp", fused.add("Min", distances, fused.constant(np.float32(0.0))))
    factor = 1.0 if kind == "LINEAR" else gamma
    product = fused.add("MatMul", x, fused.constant(np.ascontiguousarray(factor * vectors.T, np.float32)))
    if kind == "LINEAR":
        return product
    moved = fused.add("Add", product, fused.constant(np.float32(shift)))
    if kind == "SIGMOID":
        return fused.add("Tanh", moved)
    if kind != "POLY":
        raise NotPlain(f"its kernel {kind!r} is unknown")
    return fused.add("Pow", moved, fused.constant(np.float32(degree)))


def _transformed(fused: Fused, scores: str) -> str:
    """What the operator makes of scores in the end."""
    transform = _word(fused, "post_transform", "NONE")
    if transform == "NONE":
        return scores
    if transform == "SOFTMAX":
        return fused.add("Softmax", scores, axis=-1)
    if transform == "LOGISTIC":
        return fused.add("Sigmoid", scores)
    raise NotPlain(f"its post_transform {transform!r} is not supported")


def _word(fused: Fused, name: str, default: str) -> str:
    value = fused.attributes.get(name, default)
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _count(fused: Fused, name: str, default: int = 1) -> int:
    value = fused.attributes.get(name, default)
    if not isinstance(value, int) or value < 0:
        raise NotPlain(f"its attribute {name} is no count; the file is damaged")
    return value


CLASSICAL: Mapping[tuple[str, str], Rule] = {
    (ML, "Scaler"): _scaler,
    (ML, "Normalizer"): _normalizer,
    (ML, "Imputer"): _imputer,
    (ML, "ArrayFeatureExtractor"): _extractor,
    (ML, "FeatureVectorizer"): _vectorizer,
    (ML, "LinearRegressor"): _linear_regressor,
    (ML, "LinearClassifier"): _linear_classifier,
    (ML, "SVMRegressor"): _svm_regressor,
    (ML, "SVMClassifier"): _svm_classifier,
    (ML, "TreeEnsembleRegressor"): _tree_regressor,
    (ML, "TreeEnsembleClassifier"): _tree_classifier,
}
