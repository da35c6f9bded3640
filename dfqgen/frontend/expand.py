"""Nodes that stand for others: a branch whose condition is known, what onnxruntime and skl2onnx fuse,
and operators on integers.

Each becomes nodes of ONNX's standard operators, which the importers know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import helper

from dfqgen.frontend.classical import CLASSICAL
from dfqgen.frontend.fused import Expansion, Fused, NotPlain, RankOf, Rule
from dfqgen.frontend.qoperators import QUANTIZED

# --- If ---


def taken_branch(node: onnx.NodeProto, condition: bool) -> onnx.GraphProto | None:
    """The branch of an `If` that this condition takes; None where the node has none."""
    wanted = "then_branch" if condition else "else_branch"
    return next((a.g for a in node.attribute if a.name == wanted and a.HasField("g")), None)


def inlined_branch(node: onnx.NodeProto, branch: onnx.GraphProto) -> tuple[onnx.NodeProto, ...]:
    """The branch's nodes, their results renamed so that none is given twice; its outputs are the node's."""
    prefix = next(name for name in node.output if name)
    inner = {name for each in branch.node for name in each.output if name}
    inner.update(tensor.name for tensor in branch.initializer)
    rename = {name: f"{prefix}/{name}" for name in inner}
    nodes = [
        helper.make_node("Constant", [], [rename[tensor.name]], value=tensor) for tensor in branch.initializer
    ]
    nodes += [_renamed(each, rename) for each in branch.node]
    for given, value in zip(node.output, branch.output, strict=False):
        if given:
            nodes.append(helper.make_node("Identity", [rename.get(value.name, value.name)], [given]))
    return tuple(nodes)


def _renamed(node: onnx.NodeProto, rename: Mapping[str, str]) -> onnx.NodeProto:
    """A copy that reads and gives other names, in graphs inside it too."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    for names in (copy.input, copy.output):
        for i, name in enumerate(names):
            names[i] = rename.get(name, name)
    for attribute in copy.attribute:
        for graph in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
            inner = [_renamed(each, rename) for each in graph.node]
            del graph.node[:]
            graph.node.extend(inner)
            for value in graph.output:
                value.name = rename.get(value.name, value.name)
    return copy


# --- operators of other domains ---


def _activation(fused: Fused, tensor: str) -> str:
    """The activation that onnxruntime fused into a layer."""
    kind = fused.attributes.get("activation", b"")
    name = kind.decode() if isinstance(kind, bytes) else str(kind)
    parameters = [float(v) for v in fused.numbers("activation_params")]
    if name in ("", "Relu", "Sigmoid", "Tanh"):
        return fused.add(name, tensor) if name else tensor
    if name == "LeakyRelu":
        alpha = parameters[0] if parameters else fused.number("leaky_relu_alpha", 0.01)
        return fused.add(name, tensor, alpha=alpha)
    if name == "Clip" and len(parameters) == 2:
        low, high = (fused.constant(np.float32(value)) for value in parameters)
        return fused.add("Min", fused.add("Max", tensor, low), high)
    if name == "HardSigmoid" and len(parameters) == 2:
        return fused.add(name, tensor, alpha=parameters[0], beta=parameters[1])
    raise NotPlain(f"fuses the activation {name!r}, which is not supported")


_CONV_ATTRIBUTES = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")


def _fused_conv(fused: Fused, rank_of: RankOf) -> str:
    """Conv [+ z] + activation."""
    result = fused.add("Conv", *fused.inputs[:3], **fused.kept(*_CONV_ATTRIBUTES))
    if len(fused.inputs) > 3 and fused.inputs[3]:
        result = fused.add("Add", result, fused.inputs[3])
    return _activation(fused, result)


def _fused_gemm(fused: Fused, rank_of: RankOf) -> str:
    result = fused.add("Gemm", *fused.inputs, **fused.kept("alpha", "beta", "transA", "transB"))
    return _activation(fused, result)


def _fused_matmul(fused: Fused, rank_of: RankOf) -> str:
    if fused.attributes.get("transBatchA") or fused.attributes.get("transBatchB"):
        raise NotPlain("transposes batches; export with standard ONNX operators")
    sides = []
    for name, flag in zip(fused.inputs[:2], ("transA", "transB"), strict=True):
        if not fused.attributes.get(flag):
            sides.append(name)
            continue
        rank = rank_of(name)
        if rank is None or rank < 2:
            raise NotPlain("transposes a tensor of unknown shape")
        order = [*range(rank - 2), rank - 1, rank - 2]
        sides.append(fused.add("Transpose", name, perm=order))
    result = fused.add("MatMul", *sides)
    alpha = fused.number("alpha", 1.0)
    return result if alpha == 1.0 else fused.add("Mul", result, fused.constant(np.float32(alpha)))


def _gelu(fused: Fused, rank_of: RankOf) -> str:
    """Gelu, BiasGelu: by erf; FastGelu: by tanh; each of x + bias where there is one."""
    x, *bias = fused.inputs
    total = fused.add("Add", x, bias[0]) if bias and bias[0] else x
    approximate = "tanh" if fused.node.op_type == "FastGelu" else "none"
    return fused.add("Gelu", total, approximate=approximate)


def _quick_gelu(fused: Fused, rank_of: RankOf) -> str:
    """x * sigmoid(alpha * x)."""
    (x,) = fused.inputs
    scaled = fused.add("Mul", x, fused.constant(np.float32(fused.number("alpha", 1.702))))
    return fused.add("Mul", x, fused.add("Sigmoid", scaled))


_FUSED: Mapping[tuple[str, str], Rule] = {
    **QUANTIZED,
    **CLASSICAL,
    ("com.microsoft", "FusedConv"): _fused_conv,
    ("com.microsoft", "FusedGemm"): _fused_gemm,
    ("com.microsoft", "FusedMatMul"): _fused_matmul,
    ("com.microsoft", "Gelu"): _gelu,
    ("com.microsoft", "BiasGelu"): _gelu,
    ("com.microsoft", "FastGelu"): _gelu,
    ("com.microsoft", "QuickGelu"): _quick_gelu,
}


def fused_operators() -> Sequence[tuple[str, str]]:
    """(domain, operator) of all that `expanded` knows."""
    return tuple(sorted(_FUSED))


def expanded(node: onnx.NodeProto, rank_of: RankOf) -> Expansion | None:
    """The node as standard operators; None where it is one, or unknown. `rank_of` gives a tensor's rank.

    Raises NotPlain where these cannot say what it does.
    """
    rule = _FUSED.get((node.domain, node.op_type))
    if rule is None or not any(node.output):
        return None
    fused = Fused(node)
    try:
        return fused.ends_with(rule(fused, rank_of))
    except (ValueError, IndexError, UnicodeDecodeError):
        raise NotPlain("is malformed: its inputs are not those of its kind") from None
