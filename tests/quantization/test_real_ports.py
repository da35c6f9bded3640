"""float32 network inputs and outputs: exact on every bit, and without a range at the last layer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dfqgen import build
from dfqgen.commands import run
from dfqgen.fixedpoint.program import Program
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.graph.ir import Graph, Node, Op, Port
from dfqgen.ops.movement import Reshape
from dfqgen.ops.softmax import Softmax
from dfqgen.recipe import make_recipe
from dfqgen.samples.meaning import InputMeaning
from dfqgen.verify.host import verify_on_host
from tests.builders import conv, relu
from tests.models import DIGITS
from tests.programs import prepare_by, program_by, write

MEANING = InputMeaning(std=(16.0,), lo=0.0, hi=16.0)


def network(*last: Op) -> Graph:
    """Two layers, and what comes after them."""
    rng = np.random.default_rng(1)
    ops = [conv(rng, 8, 3, stride=2, spread=1.0), relu(), conv(rng, 4, 8, kernel=1, pad=0), *last]
    nodes = tuple(Node(f"n{i}", op, (f"t{i}",), f"t{i + 1}") for i, op in enumerate(ops))
    graph = Graph("net", (Port("t0", "t0", (1, 8, 8, 3)),), (), nodes)
    end = f"t{len(ops)}"
    return replace(graph, outputs=(Port(end, end, graph.shapes[end]),))


def program_of(graph: Graph, **options: Any) -> Program:
    recipe = make_recipe(**options)
    return program_by(prepare_by(graph, {"t0": InputMeaning((0.0,), (64.0,))}, recipe), recipe)


def output_noise(graph: Graph, **options: Any) -> float:
    program = program_of(graph, **options)
    x = np.random.default_rng(2).uniform(0, 4, (16, 8, 8, 3)).astype(np.float32)
    q = program.tensors["t0"].qtype.quantize(x)
    (port,) = graph.outputs
    exact = graph.evaluate({"t0": x})[port.tensor]
    found = program.tensors[port.tensor].qtype.dequantize(program.run({"t0": q})[port.tensor])
    return float(np.mean((found - exact) ** 2) / np.mean(exact**2))


@pytest.mark.parametrize("last", [(), (relu(),), (Reshape((1, 1, 1, 64)),), (Softmax(3),)], ids=str)
@pytest.mark.parametrize("scales", ["multiplier", "power-of-two"])
@pytest.mark.parametrize("activations", ["int8", "int16"])
def test_the_c_equals_the_interpreter(
    tmp_path: Path, last: tuple[Op, ...], scales: Any, activations: Any
) -> None:
    options = {"input_type": "float32", "output_type": "float32"}
    program = program_of(network(*last), scales=scales, activations=activations, **options)
    ends = (program.tensors[port.tensor].qtype.dtype for port in (*program.inputs, *program.outputs))
    assert set(ends) == {IntType.FLOAT32}
    sums = [t.name for t in program.tensors.values() if t.qtype.dtype is IntType.INT32]
    assert bool(sums) == (not isinstance(last[-1] if last else None, Softmax))
    write(program, tmp_path / "out")
    verify_on_host(program, tmp_path / "out")


def test_the_last_layer_needs_no_range() -> None:
    clipped = {"n_sigma_scores": 0.1, "statistics": "analytic"}  # a range that clips most of what comes out
    int8 = output_noise(network(), **clipped)
    assert output_noise(network(), output_type="float32", **clipped) < 0.1 * int8
    # Rounding is gone too.
    assert output_noise(network(), output_type="float32") < 0.2 * output_noise(network())


@pytest.mark.parametrize("target", ["cortex-m4", "cortex-m0plus", "cortex-m55"])
def test_firmware_takes_and_gives_floats(tmp_path: Path, target: str) -> None:
    recipe = make_recipe(target=target, meaning=MEANING, input_type="float32", output_type="float32")
    result = build(DIGITS, tmp_path / "out", recipe)
    header = (tmp_path / "out" / "digits.h").read_text()
    assert "static inline float *digits_input(digits_t *net)" in header
    assert result.facts["verification"]["bit_exact"]
    assert run(tmp_path / "out", target)["bit_exact"]
