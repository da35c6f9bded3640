"""Networks that run step by step: their states live in the C, begin at zero and go on exactly."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from dfqgen.commands import build, run, verify
from dfqgen.errors import DfqgenError, ProgramError, UserError, VerificationFailed
from dfqgen.fixedpoint.program import Program
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.fixedpoint.serialize import program_from_json, program_to_json
from dfqgen.fixedpoint.text import parse_program, program_text
from dfqgen.fixedpoint.vectors import verification_inputs
from dfqgen.frontend import load
from dfqgen.graph.ir import Graph
from dfqgen.graph.steps import run_steps
from dfqgen.graph.text import graph_text, parse_graph
from dfqgen.plan import plan_program
from dfqgen.plan.check import check_plan
from dfqgen.recipe import make_recipe
from dfqgen.targets import load_target
from dfqgen.verify.folder import read_program
from dfqgen.verify.host import HostNetwork, first_mismatch, verify_on_host
from tests.frontend.nets import Net
from tests.tools import needs

CHANNELS, UNITS, TAPS = 4, 6, 3
STATES = {"cache_in": "cache_out", "h0": "hn", "past_frame": "present_frame"}


def stream() -> Net:
    """A convolution over the last frames, a GRU, and the frame before: a cache, a hidden state, a delay."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return (rng.normal(size=shape) / np.sqrt(shape[-1])).astype(np.float32)

    net = Net()
    x = net.input(1, CHANNELS, 1)
    cache = net.input(1, CHANNELS, TAPS - 1, name="cache_in")
    hidden = net.input(1, 1, UNITS, name="h0")
    past = net.input(1, CHANNELS, 1, name="past_frame")
    window = net.node("Concat", cache, x, axis=2)
    net.constant(np.array([1]), "one")
    net.constant(np.array([TAPS]), "end")
    net.constant(np.array([2]), "time")
    cache_out = net.node("Slice", window, "one", "end", "time")
    y = net.node("Relu", net.node("Conv", window, normal(UNITS, CHANNELS, TAPS), normal(UNITS)))
    sequence = net.node("Transpose", y, perm=[0, 2, 1])
    gates = 3 * UNITS
    weights = (normal(1, gates, UNITS), normal(1, gates, UNITS), normal(1, 2 * gates))
    recurrent = net.node(
        "GRU", sequence, *weights, "", hidden, outputs=2, hidden_size=UNITS, linear_before_reset=1
    )
    vector = net.node("Reshape", recurrent, np.array([1, UNITS]))
    change = net.node("Reshape", net.node("Sub", x, past), np.array([1, CHANNELS]))
    joined = net.node("Concat", vector, change, axis=1)
    scores = net.node("Gemm", joined, normal(5, UNITS + CHANNELS), normal(5), transB=1)
    present = net.node("Identity", x)
    for node in net.nodes:
        for i, name in enumerate(node.output):
            node.output[i] = {cache_out: "cache_out", f"{recurrent}_1": "hn", present: "present_frame"}.get(
                name, name
            )
    return net.output(scores, "cache_out", "hn", "present_frame")


def three(path: Path) -> Graph:
    return load(path, states=STATES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network's C, with its model beside it."""
    place = tmp_path_factory.mktemp("stream")
    model = stream().save(place)
    recipe = make_recipe(target="cortex-m3", state=STATES, input_range=(-2.0, 2.0))
    build(model, place / "out", recipe)
    return place


@pytest.fixture(scope="module")
def program(folder: Path) -> Program:
    return read_program(folder / "out")


def test_states_are_found_by_their_names_and_told(tmp_path: Path) -> None:
    graph = load(stream().save(tmp_path))
    assert [(state.input, state.output) for state in graph.states] == [
        ("cache_in", "cache_out"),
        ("h0", "hn"),
    ]
    assert any("'h0' is taken as the state" in remark for remark in graph.remarks)
    assert load(tmp_path / "net.onnx", states={}).states == ()


def test_a_sequence_in_float_is_what_onnxruntime_gives_step_by_step(tmp_path: Path) -> None:
    path = stream().save(tmp_path)
    graph = three(path)
    (x,) = (port for port in graph.fed)
    frames = np.random.default_rng(1).normal(size=(5, *x.shape[1:])).astype(np.float32)
    found, _ = run_steps(graph, graph.evaluate, {x.tensor: frames})
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    state = {i.name: np.zeros(i.shape, np.float32) for i in session.get_inputs()}
    for step in range(5):
        state["x"] = x.to_model(frames[step : step + 1])
        scores, state["cache_in"], state["h0"], state["past_frame"] = session.run(None, state)
        np.testing.assert_allclose(found[graph.given[0].tensor][step], scores[0], atol=1e-5)


def test_one_state_in_the_models_axes_costs_no_transpose(tmp_path: Path) -> None:
    graph = three(stream().save(tmp_path))
    assert "Transpose" not in {type(node.op).__name__ for node in graph.nodes}
    assert all(before.permutation == after.permutation for before, after in graph.kept)


def test_a_sequence_stays_close_to_float(folder: Path) -> None:
    facts = verify(folder / "out", model=folder / "net.onnx")
    (output,) = facts["comparison"]["outputs"]
    assert output["sqnr_db"] > 20.0  # over 64 steps in a row


def test_states_share_one_type_and_the_hidden_one_has_16_bits(program: Program) -> None:
    types = {state.name: program.tensors[state.input].qtype for state in program.states}
    assert types["h0"].dtype is IntType.INT16
    for state in program.states:
        assert types[state.name] == program.tensors[state.output].qtype


def test_the_c_goes_on_from_step_to_step_and_begins_anew(folder: Path, program: Program) -> None:
    assert verify_on_host(program, folder / "out").values > 0
    network = HostNetwork(folder / "out")
    inputs = dict(verification_inputs(program))["random 0"]
    first, again = network.run(inputs), network.run(inputs)
    single = program.run({name: value[1:2] for name, value in inputs.items()} | program.reset())
    for tensor, value in first.items():
        np.testing.assert_array_equal(value, again[tensor])
        assert np.any(value[1:2] != single[tensor])  # the second step knows of the first


def test_a_state_that_does_not_go_on_is_found(folder: Path, program: Program, tmp_path: Path) -> None:
    """Without the copy at the end of a step, the first step is right and the second is not."""
    shutil.copytree(folder / "out", tmp_path / "out")
    code = tmp_path / "out" / "net.c"
    text = code.read_text()
    start = text.index("/* State h0 for the next step. */")
    end = text.index("}", start) + 1
    code.write_text(text[:start] + text[end:])
    with pytest.raises(VerificationFailed, match=r"layer .* 'GRU:t5'"):
        verify_on_host(program, tmp_path / "out")
    inputs = dict(verification_inputs(program))["random 0"]
    assert first_mismatch(program, tmp_path / "out", {"x": inputs["x"][:1]}) is None


@needs("qemu-system-arm", "arm-none-eabi-gcc")
def test_golden_vectors_are_one_sequence_on_the_board(folder: Path) -> None:
    assert run(folder / "out", "cortex-m3")["bit_exact"]


def test_no_layer_may_use_a_states_place(program: Program) -> None:
    plan = plan_program(program, load_target("cortex-m3"))
    check_plan(program, plan)
    state = program.states[0]
    moved = dict(plan.offsets)
    moved[state.output] = moved[state.input]
    with pytest.raises(ProgramError):
        check_plan(program, replace(plan, offsets=moved))


def test_texts_and_json_keep_the_states(program: Program, folder: Path) -> None:
    assert parse_program(program_text(program, full=True)).states == program.states
    assert program_from_json(program_to_json(program)).states == program.states
    graph = three(folder / "net.onnx")
    assert parse_graph(graph_text(graph, full=True)).states == graph.states


def test_a_program_whose_states_do_not_fit_is_refused(program: Program) -> None:
    first, second, third = program.states
    for states, message in (
        ((first, replace(second, output=first.output), third), "after a step"),
        ((first, second, replace(third, input=first.input)), "one tensor"),
        ((first, second, replace(third, output="nothing")), "never written"),
        ((first, second, replace(third, output="x")), "never written"),
        ((first, second), "reads 'past_frame' before it is written"),
    ):
        with pytest.raises(ProgramError, match=message):
            replace(program, states=states).verify()


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ({"c_in": "cache_out"}, "no input 'c_in'"),
        ({"cache_in": "c_out"}, "no output 'c_out'"),
        ({"cache_in": "hn"}, "the input is 1x4x2, the output 1x1x6"),
        ({"x": "present_frame", "past_frame": "present_frame"}, "one output is the state of two"),
    ],
)
def test_states_that_cannot_be_are_refused(tmp_path: Path, states: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load(stream().save(tmp_path), states=states)


def test_an_input_can_be_fixed(tmp_path: Path) -> None:
    """A sampling rate that chooses a branch: without it, an error says how."""
    net = Net()
    x, rate = net.input(1, 4), net.input(name="rate", dtype=7)
    slow = net.node("Equal", rate, np.array(8000))
    net.output(net.node("Relu", net.node("Mul", x, net.node("Cast", slow, to=1))))
    path = net.save(tmp_path)
    with pytest.raises(DfqgenError, match="--fix rate=NUMBER"):
        load(path)
    assert [port.name for port in load(path, fixed={"rate": 8000.0}).inputs] == ["x"]
    with pytest.raises(UserError, match=r"cannot be 0\.5"):
        load(path, fixed={"rate": 0.5})
    with pytest.raises(UserError, match="no input 'sr' to fix"):
        load(path, fixed={"sr": 1.0})
