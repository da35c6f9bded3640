"""The torch graph computes what the numpy graph computes, for every operator there is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dfqgen.errors import UserError
from dfqgen.graph.ir import Array, Op, Shape
from dfqgen.ops.add import Add
from dfqgen.ops.functions import FUNCTIONS
from dfqgen.synthesis.torch_functions import TORCH_FUNCTIONS
from dfqgen.synthesis.torch_graph import TorchGraph, torch_function
from tests.builders import batch_norm, chain, conv, conv_of, relu
from tests.ops.examples import EXAMPLES, IMAGE, of_inputs, operator_name

RNG = np.random.default_rng(5)


def test_every_function_of_one_number_has_a_torch_form() -> None:
    missing = sorted(set(FUNCTIONS) - set(TORCH_FUNCTIONS))
    assert not missing, f"add {missing} to dfqgen/synthesis/torch_functions.py"


@pytest.mark.parametrize(("op", "shapes"), EXAMPLES, ids=operator_name)
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
    bias = np.maximum(conv_of(graph, 3).bias, 0.0)
    np.testing.assert_allclose(zeroed[0, 0, 0].numpy(), bias, atol=1e-6)


def test_an_operator_without_a_torch_function_is_named() -> None:
    class Strange(Add):
        pass

    torch_function.register(Strange, torch_function.dispatch(Op))
    with pytest.raises(UserError, match="no differentiable form of the operator Strange"):
        TorchGraph(of_inputs(Strange(), (IMAGE, IMAGE)))
