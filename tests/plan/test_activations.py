"""`--activations auto` makes int16 of what the outputs hear, while time and RAM last, and tells why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dfqgen.compile import compile_model, quantize_prepared
from dfqgen.fixedpoint.program import Program
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.graph.ir import Graph, Node, Op, Port
from dfqgen.methods import SampleRoom
from dfqgen.ops.add import Add
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.lookup import Elementwise
from dfqgen.ops.movement import Reshape
from dfqgen.plan import plan_program
from dfqgen.plan.activations import choose_activations
from dfqgen.plan.estimate import estimate
from dfqgen.plan.widening import AUDIBLE, LEAST_BITS, POOR, QUIET, Search
from dfqgen.quantization.prepared import Prepared
from dfqgen.quantization.types import assign_types
from dfqgen.recipe import Recipe, make_recipe
from dfqgen.samples.meaning import InputMeaning
from dfqgen.targets import load_target
from dfqgen.verify.host import verify_on_host
from tests.builders import conv, relu
from tests.models import DIGITS
from tests.programs import prepare_by, write

M4 = load_target("cortex-m4")


def network(seed: int = 0, height: int = 12, apart: float = 0.3) -> Graph:
    """A pair of layers whose difference is what counts: the outputs hear what happens in `loud`."""
    rng = np.random.default_rng(seed)
    ops: list[tuple[str, Op, tuple[str, ...], str]] = [
        ("stem", conv(rng, 8, 3, spread=1.0), ("x",), "a"),
        ("stem/relu", relu(), ("a",), "b"),
        ("loud", alike(rng, 8, apart), ("b",), "c"),
        ("difference", difference(8), ("c",), "d"),
        ("last", conv(rng, 4, 8), ("d",), "y"),
    ]
    nodes = tuple(Node(name, op, inputs, output) for name, op, inputs, output in ops)
    return Graph("net", (Port("x", "x", (1, height, 12, 3)),), (Port("y", "y", (1, height, 12, 4)),), nodes)


def alike(rng: np.random.Generator, channels: int, apart: float) -> Conv2D:
    """Output channels that hardly differ."""
    weight = rng.normal(size=channels) + apart * rng.normal(size=(channels, channels))
    return Conv2D(weight.reshape(channels, 1, 1, channels), np.zeros(channels))


def difference(channels: int) -> Conv2D:
    """Each channel less its neighbour, much enlarged."""
    weight = 30.0 * (np.eye(channels) - np.eye(channels, k=1) - np.eye(channels, k=1 - channels))
    return Conv2D(weight.reshape(channels, 1, 1, channels), np.zeros(channels))


def prepared(recipe: Recipe, graph: Graph | None = None) -> Prepared:
    return prepare_by(graph or network(), {"x": InputMeaning((0.0,), (64.0,))}, recipe)


def wide_of(recipe: Recipe) -> set[str]:
    program = made_by(recipe)
    return {tensor.name for tensor in program.tensors.values() if tensor.qtype.dtype is IntType.INT16}


def auto(**options: Any) -> Recipe:
    return make_recipe(target="cortex-m4", **options)


def made_by(recipe: Recipe) -> Program:
    found = prepared(recipe)
    return quantize_prepared(found, recipe, SampleRoom(found.graph, {}, recipe.samples)).program


def test_auto_is_what_nobody_chose() -> None:
    assert make_recipe().activations.activations == "auto"
    assert make_recipe(effort="fast").activations.activations == "int8"


def test_what_the_outputs_hear_most_comes_first_and_is_told() -> None:
    recipe = auto(time_allowance=100.0)
    settled, (summary, why) = choose_activations(prepared(recipe), recipe, M4)
    assert settled.activations == "int8"
    assert settled.activations_map["loud"] == "int16"
    assert (summary.step, why.step) == ("activations", "int16 tensors")
    assert "int16 for" in summary.effect
    assert "loud" in why.effect


def test_the_allowance_of_time_holds_by_the_prices_of_the_planner() -> None:
    times, wides = [], []
    for allowance in (0.0, 15.0, 100.0):
        program = made_by(auto(time_allowance=allowance))
        times.append(sum(layer.instructions for layer in estimate(plan_program(program, M4))))
        wides.append(sum(tensor.qtype.dtype is IntType.INT16 for tensor in program.tensors.values()))
    program = made_by(auto(activations="int8"))
    int8 = sum(layer.instructions for layer in estimate(plan_program(program, M4)))
    for time, allowance in zip(times, (0.0, 15.0, 100.0), strict=True):
        assert time <= int8 * (1.0 + allowance / 100.0) * 1.001
    assert wides[-1] > 0


def test_a_poor_network_takes_the_time_it_needs_unless_that_is_stated() -> None:
    m3, graph = load_target("cortex-m3"), network(apart=0.02)
    free, stated = make_recipe(target="cortex-m3"), make_recipe(target="cortex-m3", time_allowance=10.0)
    int8, choices = Search(prepared(free, graph), free, m3).choices()
    assert int8.noise > POOR
    assert choices[0].noise < POOR
    assert choices[0].instructions > 1.1 * int8.instructions
    assert not Search(prepared(stated, graph), stated, m3).choices()[1]


def test_a_network_that_computes_nothing_takes_no_time_more() -> None:
    view = Node("view", Reshape((1, 24)), ("x",), "y")
    graph = Graph("net", (Port("x", "x", (1, 2, 4, 3)),), (Port("y", "y", (1, 24)),), (view,))
    recipe = auto()
    quiet = np.random.default_rng(0).uniform(0.0, 1.0, (4, 2, 4, 3)).astype(np.float32)
    found = prepare_by(graph, {"x": InputMeaning()}, recipe, {"x": quiet}, real=False)
    summary = choose_activations(found, recipe, M4)[1][0]
    assert "int16 for 1 tensor" in summary.effect
    assert "+0.0 % instructions" in summary.effect


def test_auto_is_closer_to_float_than_int8() -> None:
    graph = network()
    x = np.random.default_rng(4).uniform(0, 4, (8, 12, 12, 3)).astype(np.float32)

    def noise(activations: Any) -> float:
        program = made_by(auto(activations=activations, input_type="int8", time_allowance=100.0))
        q = program.tensors["x"].qtype.quantize(x)
        exact = graph.evaluate({"x": program.tensors["x"].qtype.dequantize(q)})["y"]
        found = program.tensors["y"].qtype.dequantize(program.run({"x": q})["y"])
        return float(np.mean((found - exact) ** 2))

    assert noise("auto") < 0.3 * noise("int8")


def test_what_options_settle_is_left_alone() -> None:
    assert "c" not in wide_of(auto(time_allowance=100.0, activations_map={"loud": "int8"}))
    free = wide_of(auto(time_allowance=100.0))
    held = wide_of(auto(time_allowance=100.0, input_type="int8", output_type="int8"))
    assert held <= free - {"x", "y"}
    assert "x" in wide_of(auto(time_allowance=100.0, input_type="int16"))


def test_images_come_in_bytes_and_stay_int8() -> None:
    graph = network()
    photo = replace(
        graph, inputs=(Port("x", "x", (1, 16, 16, 3)),), outputs=(Port("y", "y", (1, 16, 16, 4)),)
    )
    recipe = auto(time_allowance=100.0)
    assert "x" in Search(prepared(recipe, graph), recipe, M4).free()
    assert "x" not in Search(prepared(recipe, photo), recipe, M4).free()


@pytest.mark.parametrize(("height", "quiet"), [(12, 1.0), (24, QUIET)])
def test_a_signal_known_by_its_range_alone_may_be_quiet(height: int, quiet: float) -> None:
    recipe = auto()
    made = prepared(recipe, network(height=height))
    by_range, by_samples = (Search(replace(made, real=real), recipe, M4).gains for real in (False, True))
    assert by_range["x"] == pytest.approx(by_samples["x"] / quiet**2)


def test_what_follows_a_quiet_signal_is_quiet_behind_a_gate_it_is_not() -> None:
    """The first layer's output follows the signal but for its biases, a sigmoid's does not."""
    graph = network(height=24)
    gate = Node("gate", Elementwise("sigmoid"), ("y",), "z")
    gated = replace(graph, nodes=(*graph.nodes, gate), outputs=(Port("z", "z", (1, 24, 12, 4)),))
    recipe = auto()
    counted = Search(prepared(recipe, gated), recipe, M4).counted
    assert counted["x"] == QUIET**-2
    assert 4.0 < counted["b"] < QUIET**-2
    assert counted["z"] < 2.0


def test_one_input_of_two_may_be_int16() -> None:
    graph = network()
    both = replace(
        graph,
        inputs=(*graph.inputs, Port("z", "z", (1, 12, 12, 4))),
        outputs=(Port("s", "s", (1, 12, 12, 4)),),
        nodes=(*graph.nodes, Node("sum", Add(), ("y", "z"), "s")),
    )
    recipe = auto()
    search = Search(prepare_by(both, dict.fromkeys("xz", InputMeaning((0.0,), (64.0,))), recipe), recipe, M4)
    settled = search.settled(frozenset({search.families.find("z")}))
    assert settled.input_type is None
    types = assign_types(search.prepared, settled).types
    assert [types[name].dtype for name in ("x", "z")] == [IntType.INT8, IntType.INT16]


def test_the_arena_stays_within_the_ram_of_the_target_or_of_the_recipe() -> None:
    recipe = auto(time_allowance=100.0, stream="off", input_type="int8")
    made = prepared(recipe)
    search = Search(made, recipe, M4)
    chosen, _ = choose_activations(made, recipe, M4)
    most = search.planned_bytes(chosen)
    assert most > search.planned.arena_bytes
    for bounded_recipe, target in (
        (recipe, replace(M4, ram_bytes=most - 1)),
        (auto(time_allowance=100.0, stream="off", ram=most - 1, input_type="int8"), M4),
    ):
        bounded, (note, *_) = choose_activations(made, bounded_recipe, target)
        assert dict(bounded.activations_map) != dict(chosen.activations_map)
        assert search.planned_bytes(bounded) < most
        assert "bytes for" in note.effect or "no RAM" in note.effect


def test_where_int8_does_not_fit_either_int16_takes_no_more() -> None:
    recipe, graph = auto(time_allowance=100.0, stream="off", input_type="int8"), network()
    first = Node("fullest", conv(np.random.default_rng(1), 48, 3), ("x",), "f")
    stem = replace(graph.nodes[0], op=conv(np.random.default_rng(2), 8, 48), inputs=("f",))
    made = prepared(recipe, replace(graph, nodes=(first, stem, *graph.nodes[1:])))
    search = Search(made, recipe, M4)
    bounded, (note, *_) = choose_activations(made, recipe, replace(M4, ram_bytes=64))
    assert search.planned.arena_bytes > 64
    assert bounded.activations_map
    assert search.planned_bytes(bounded) <= search.planned.arena_bytes
    assert "int16 for" in note.effect


def test_the_estimated_arena_is_the_planned_one_at_both_ends() -> None:
    recipe = auto()
    search = Search(prepared(recipe), recipe, M4)
    assert search.arena_bytes(frozenset()) == search.planned.arena_bytes
    everything = replace(recipe.activations, activations="int16")
    roots = frozenset(search.families.find(tensor) for tensor in search.narrow.types)
    assert search.arena_bytes(roots) == pytest.approx(search.planned_bytes(everything), rel=0.02)


def test_a_choice_is_worth_more_bits_than_it_costs() -> None:
    recipe = auto(time_allowance=100.0)
    search = Search(prepared(recipe), recipe, M4)
    narrow, choices = search.choices()
    assert narrow.bits(narrow) == 0.0
    worth = [choice.bits(narrow) for choice in choices]
    assert worth == sorted(worth, reverse=True)
    assert worth[-1] >= LEAST_BITS
    noise = narrow.noise
    for widening in choices[0].widenings:
        assert widening.share >= AUDIBLE
        noise *= 1.0 - widening.share
    assert noise == pytest.approx(choices[0].noise)
    dear = replace(choices[0], arena_bytes=4 * choices[0].arena_bytes)
    assert dear.bits(narrow) == pytest.approx(worth[0] - 1.0)
    slow = replace(choices[0], instructions=2.0 * choices[0].instructions)
    assert slow.bits(narrow) == pytest.approx(worth[0] - 1.0)


def test_where_weights_make_the_noise_all_stays_int8() -> None:
    recipe = auto(bits="2", low_ends=True, time_allowance=100.0)
    settled, (note,) = choose_activations(prepared(recipe), recipe, M4)
    assert not settled.activations_map
    assert "not worth" in note.effect
    told = auto(bits="2", low_ends=True, activations="int8")
    types = [{name: tensor.qtype for name, tensor in made_by(r).tensors.items()} for r in (recipe, told)]
    assert types[0] == types[1]


@pytest.mark.parametrize("options", [{"statistics": "analytic"}])
def test_without_samples_auto_is_int8(options: dict[str, Any]) -> None:
    recipe = auto(**options)
    settled, (note,) = choose_activations(prepared(recipe), recipe, M4)
    assert (settled.activations, dict(settled.activations_map)) == ("int8", {})
    assert "without samples" in note.effect


def test_the_recipe_repeats_itself_and_the_c_is_exact(tmp_path: Path) -> None:
    recipe = auto(input_std=(16.0,), input_range=(0.0, 16.0), time_allowance=30.0)
    first, second = (compile_model(DIGITS, recipe) for _ in range(2))
    assert first.quantized.notes == second.quantized.notes
    write(first.program, tmp_path / "out", target="cortex-m4")
    verify_on_host(first.program, tmp_path / "out")
