"""The torch graph computes what the numpy graph computes, for every operator there is."""

from __future__ import annotations

import importlib
import pkgutil

import numpy as np
import pytest
import torch

import dfqgen.ops
from dfqgen.errors import UserError
from dfqgen.graph.ir import Array, Graph, Node, Op, Port, Shape
from dfqgen.ops.add import Add
from dfqgen.ops.affine import Affine
from dfqgen.ops.argmax import ArgMax
from dfqgen.ops.concat import Concat, Rescale
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.functions import FUNCTIONS
from dfqgen.ops.log_softmax import LogSoftmax
from dfqgen.ops.lookup import Clip, Elementwise
from dfqgen.ops.maximum import Maximum
from dfqgen.ops.movement import Pad, Reshape, Transpose
from dfqgen.ops.multiply import Mul
from dfqgen.ops.normalize import LpNormalize
from dfqgen.ops.pointwise import Pointwise, Step
from dfqgen.ops.pool import AveragePool, MaxPool
from dfqgen.ops.prelu import PRelu
from dfqgen.ops.resize import Interpolation, ResizeLinear
from dfqgen.ops.softmax import Softmax
from dfqgen.ops.take import Take
from dfqgen.ops.windows import Pads
from dfqgen.synthesis.torch_functions import TORCH_FUNCTIONS
from dfqgen.synthesis.torch_graph import TorchGraph, torch_function
from tests.builders import batch_norm, chain, conv, relu

RNG = np.random.default_rng(5)
IMAGE = (1, 7, 6, 4)


def convolution(**changes: object) -> Conv2D:
    settings: dict[str, object] = {"weight": RNG.normal(size=(6, 3, 3, 4)), "bias": RNG.normal(size=6)}
    return Conv2D(**(settings | changes))  # type: ignore[arg-type]


CASES: list[tuple[Op, tuple[Shape, ...]]] = [
    (convolution(), (IMAGE,)),
    (convolution(stride=(2, 1), pads=Pads(0, 1, 1, 2), dilation=(1, 2)), (IMAGE,)),
    (convolution(weight=RNG.normal(size=(6, 3, 3, 2)), groups=2, pads=Pads(1, 1, 1, 1)), (IMAGE,)),
    (convolution(weight=RNG.normal(size=(4, 3, 3, 1)), bias=RNG.normal(size=4), groups=4), (IMAGE,)),
    (batch_norm(RNG, 4), (IMAGE,)),
    (Affine(RNG.normal(size=4), RNG.normal(size=1)), (IMAGE,)),
    (relu(), (IMAGE,)),
    (Clip.of(-1.0, 0.5), (IMAGE,)),
    (Clip(np.zeros(1), RNG.uniform(0.1, 1, 4)), (IMAGE,)),
    (Add(), (IMAGE, IMAGE)),
    (Add(-1), (IMAGE, IMAGE)),
    (Mul(), (IMAGE, (1, 1, 1, 4))),
    (Maximum(), (IMAGE, IMAGE)),
    (Maximum(-1), (IMAGE, IMAGE)),
    (PRelu(RNG.uniform(0, 1, 4)), (IMAGE,)),
    (Pointwise((Step(Elementwise("sigmoid"), (0,)), Step(Mul(), (0, 1)))), (IMAGE,)),
    (AveragePool((3, 2), (2, 2), Pads(1, 0, 1, 1)), (IMAGE,)),
    (AveragePool((3, 3), (1, 1), Pads(1, 1, 1, 1), count_include_pad=True), (IMAGE,)),
    (MaxPool((3, 2), (2, 1), (1, 2), Pads(1, 1, 0, 1)), (IMAGE,)),
    (Reshape((1, 42, 4)), (IMAGE,)),
    (Transpose((0, 3, 1, 2)), (IMAGE,)),
    (Pad((0, 1, 0, 2), (0, 0, 3, 1), 0.5), (IMAGE,)),
    (Concat(3), (IMAGE, IMAGE)),
    (Rescale(), (IMAGE,)),
    (Take((None, (3, 0, 0), None, (2, 1))), (IMAGE,)),
    (
        ResizeLinear(
            Interpolation.at(np.linspace(-0.2, 6.3, 9), 7), Interpolation.at(np.linspace(0, 5, 4), 6)
        ),
        (IMAGE,),
    ),
    (ArgMax(3), (IMAGE,)),
    (ArgMax(2, sign=-1, last=True), (IMAGE,)),
    (LpNormalize(3), (IMAGE,)),
    (LpNormalize(1, p=1), (IMAGE,)),
    (LogSoftmax(3), (IMAGE,)),
    (Softmax(3), (IMAGE,)),
    *((Elementwise(function, 0.7), (IMAGE,)) for function in sorted(FUNCTIONS)),
]


def all_operators() -> list[type[Op]]:
    for module in pkgutil.iter_modules(dfqgen.ops.__path__):
        importlib.import_module(f"dfqgen.ops.{module.name}")
    found: set[type[Op]] = set()
    pending: list[type[Op]] = [Op]
    while pending:
        children = pending.pop().__subclasses__()
        pending += children
        # A dataclass with slots is created twice; the module's is the one that lives.
        found.update(
            c for c in children if getattr(importlib.import_module(c.__module__), c.__name__, None) is c
        )
    return sorted((c for c in found if c.__module__.startswith("dfqgen.ops.")), key=lambda c: c.__name__)


@pytest.mark.parametrize("kind", all_operators(), ids=lambda kind: kind.__name__)
def test_every_operator_has_a_torch_function_and_a_case_here(kind: type[Op]) -> None:
    assert torch_function.dispatch(kind) is not torch_function.dispatch(Op), (
        f"{kind.__name__} has no torch function: register one in dfqgen/synthesis/torch_graph.py, "
        "or networks with it cannot be synthesized for"
    )
    assert any(type(op) is kind for op, _ in CASES), f"add a case for {kind.__name__} to CASES"


def test_every_function_of_one_number_has_a_torch_form() -> None:
    missing = sorted(set(FUNCTIONS) - set(TORCH_FUNCTIONS))
    assert not missing, f"add {missing} to dfqgen/synthesis/torch_functions.py"


def of_inputs(op: Op, shapes: tuple[Shape, ...]) -> Graph:
    names = tuple(f"x{i}" for i in range(len(shapes)))
    ports = tuple(Port(name, name, shape) for name, shape in zip(names, shapes, strict=True))
    return Graph("net", ports, (Port("y", "y", op.infer_shape(*shapes)),), (Node("layer", op, names, "y"),))


@pytest.mark.parametrize(("op", "shapes"), CASES, ids=lambda value: type(value).__name__)
def test_torch_and_numpy_agree(op: Op, shapes: tuple[Shape, ...]) -> None:
    graph = of_inputs(op, shapes)
    rng = np.random.default_rng(11)
    inputs: dict[str, Array] = {
        port.tensor: rng.normal(size=(3, *port.shape[1:])).astype(np.float32) for port in graph.inputs
    }
    expected = graph.evaluate(inputs)["y"]
    tensors = {name: torch.tensor(value, requires_grad=True) for name, value in inputs.items()}
    result = TorchGraph(graph)(tensors)["y"]
    np.testing.assert_allclose(result.detach().numpy(), expected, rtol=1e-4, atol=1e-4)
    if result.requires_grad:
        result.sum().backward()
        for tensor in tensors.values():
            assert tensor.grad is not None
            assert torch.isfinite(tensor.grad).all()


def test_a_whole_graph_agrees_and_watch_may_replace_tensors() -> None:
    graph = chain([conv(RNG, 5, 3), batch_norm(RNG, 5), relu(), conv(RNG, 4, 5, stride=2), relu()])
    x = RNG.normal(size=(2, 8, 8, 3)).astype(np.float32)
    network = TorchGraph(graph)
    result = network({"x": torch.tensor(x)})["t4"]
    np.testing.assert_allclose(result.numpy(), graph.evaluate({"x": x})["t4"], atol=1e-4)
    zeroed = network({"x": torch.tensor(x)}, lambda node, _, y: y * 0 if node.output == "t2" else None)["t4"]
    bias = np.maximum(graph.nodes[3].op.bias, 0.0)
    np.testing.assert_allclose(zeroed[0, 0, 0].numpy(), bias, atol=1e-6)


def test_an_operator_without_a_torch_function_is_named() -> None:
    class Strange(Add):
        pass

    torch_function.register(Strange, torch_function.dispatch(Op))
    with pytest.raises(UserError, match="no differentiable form of the operator Strange"):
        TorchGraph(of_inputs(Strange(), (IMAGE, IMAGE)))
