"""ONNX models written node by node, and their comparison with onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from dfqgen.frontend import load
from dfqgen.graph.ir import Array, Graph, Op, Port
from dfqgen.graph.reference import Reference


class Net:
    """A model under construction. Arrays given to `node` become initializers."""

    def __init__(self, opset: int = 17) -> None:
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def input(self, *shape: int | str, name: str = "x", dtype: int = TensorProto.FLOAT) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def constant(self, value: Array, name: str = "") -> str:
        name = name or f"c{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(
        self,
        operator: str,
        *inputs: str | Array | np.generic,
        name: str = "",
        outputs: int = 1,
        **attributes: Any,
    ) -> str:
        """Append a node; gives its first output, t0, t1 ..."""
        names = [i if isinstance(i, str) else self.constant(np.asarray(i)) for i in inputs]
        first = f"t{len(self.nodes)}"
        given = [first, *(f"{first}_{i}" for i in range(1, outputs))]
        self.nodes.append(helper.make_node(operator, names, given, name=name, **attributes))
        return first

    def output(self, *names: str, dtype: int = TensorProto.FLOAT) -> Net:
        self.outputs += [onnx.ValueInfoProto(name=name) for name in names]
        for value in self.outputs:  # onnxruntime wants at least the element type
            value.type.tensor_type.elem_type = dtype
        return self

    def model(self) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, "net", self.inputs, self.outputs, self.initializers)
        domains = {node.domain for node in self.nodes}
        opsets = [helper.make_opsetid("", self.opset)]
        opsets += [
            helper.make_opsetid(domain, 3 if domain == "ai.onnx.ml" else 1)
            for domain in sorted(domains)
            if domain
        ]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    def save(self, folder: Path) -> Path:
        path = folder / "net.onnx"
        path.write_bytes(self.model().SerializeToString())
        return path


def evaluate(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The graph's outputs, by name in the model's axes, for inputs by name in the model's axes."""
    values = graph.evaluate({port.tensor: port.from_model(inputs[port.name]) for port in graph.inputs})
    return {port.name: port.to_model(values[port.tensor]) for port in graph.outputs}


def random_inputs(graph: Graph, seed: int = 0) -> dict[str, Array]:
    """Normal values for each input, in the model's axes."""
    rng = np.random.default_rng(seed)
    return {port.name: port.to_model(_values(rng, port)).astype(np.float32) for port in graph.inputs}


def _values(rng: np.random.Generator, port: Port) -> Array:
    if port.holds is None:
        return rng.normal(size=port.shape)
    return rng.integers(port.holds[0], port.holds[1] + 1, port.shape)


def assert_equals_onnxruntime(path: Path, graph: Graph, tolerance: float = 1e-4) -> None:
    """Outputs agree within `tolerance` of the largest value."""
    inputs = random_inputs(graph)
    expected = Reference.of(path, graph).run(inputs)
    actual = evaluate(graph, inputs)
    for name, value in expected.items():
        assert actual[name].shape == value.shape
        np.testing.assert_allclose(
            actual[name], value, rtol=0, atol=tolerance * max(1.0, np.abs(value).max())
        )


def check(net: Net, folder: Path) -> Graph:
    """Load in both I/O layouts, compare each with onnxruntime; gives the channels-last one."""
    path = net.save(folder)
    assert_equals_onnxruntime(path, load(path, io_layout="nchw"))
    graph = load(path)
    assert_equals_onnxruntime(path, graph)
    return graph


def kinds(graph: Graph) -> list[str]:
    """Names of the operators, in order."""
    return [type(node.op).__name__ for node in graph.nodes]


def only(graph: Graph, kind: type[Op]) -> Any:
    """The one operator of this kind."""
    (op,) = (node.op for node in graph.nodes if isinstance(node.op, kind))
    return op
