"""The planner on networks that are only sizes: every plan is legal, and small."""

from __future__ import annotations

import dataclasses
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfqgen.errors import ProgramError, UnsupportedModel
from dfqgen.fixedpoint.program import Program, QOp
from dfqgen.kernels.base import Registry
from dfqgen.ops.concat import QConcat
from dfqgen.ops.movement import QReshape
from dfqgen.ops.take import QTake
from dfqgen.plan import check_plan, plan_program
from dfqgen.plan.kernels import Choice
from dfqgen.plan.planner import place_steps
from dfqgen.plan.schedule import best_order, peak_bytes
from dfqgen.plan.views import free_outputs
from dfqgen.plan.workload import Workload
from dfqgen.targets import load_target
from tests.plan.fakes import (
    REGISTRY,
    FakeKernel,
    FakeOp,
    chain,
    plan,
    program,
    simulate,
    topological_orders,
    true_minimum_bytes,
)

KINDS = [kernel.op for kernel in REGISTRY.kernels]
LEADS = st.one_of(st.none(), st.integers(-40, 60), st.just(0))


@st.composite
def programs(draw: st.DrawFn, max_ops: int = 9, max_bytes: int = 90, reshapes: bool = True) -> Program:
    """A random graph: up to two program inputs, operators of one to three inputs, any tensor an output."""
    sizes = {f"in{i}": draw(st.integers(1, max_bytes)) for i in range(draw(st.integers(1, 2)))}
    inputs = list(sizes)
    ops: list[QOp] = []
    for i in range(draw(st.integers(1, max_ops))):
        sources = draw(st.lists(st.sampled_from(sorted(sizes)), min_size=1, max_size=3))
        if reshapes and draw(st.integers(0, 4)) == 0:
            sizes[f"t{i}"] = sizes[sources[0]]
            ops.append(QReshape(f"op{i}", (sources[0],), f"t{i}", (1, sizes[sources[0]])))
            continue
        sizes[f"t{i}"] = draw(st.integers(1, max_bytes))
        leads = tuple(draw(LEADS) for _ in sources)
        scratch = draw(st.sampled_from((0, 0, 0, 20)))
        ops.append(FakeOp(f"op{i}", tuple(sources), f"t{i}", leads, scratch))
    outputs = draw(st.lists(st.sampled_from(sorted(sizes)), min_size=1, max_size=2, unique=True))
    return program(sizes, inputs, outputs, ops)


@settings(deadline=None, max_examples=150)
@given(programs())
def test_every_plan_runs_without_losing_a_byte(fake: Program) -> None:
    result = plan(fake)
    simulate(fake, result)
    assert all(offset % 16 == 0 for offset in result.offsets.values())


@st.composite
def moving_programs(draw: st.DrawFn) -> Program:
    """Graphs of which half the operators join tensors or select from one, most of them in whole words."""
    sizes = {f"in{i}": 4 * draw(st.integers(1, 12)) for i in range(2)}
    ops: list[QOp] = []
    for i in range(draw(st.integers(2, 12))):
        sources = tuple(draw(st.lists(st.sampled_from(sorted(sizes)), min_size=1, max_size=3)))
        kind, name = draw(st.sampled_from(["fake", "fake", "join", "select"])), f"t{i}"
        if kind == "join":
            ops.append(QConcat(f"op{i}", sources, name, 1))
            sizes[name] = sum(sizes[source] for source in sources)
        elif kind == "select":
            begin = 4 * draw(st.integers(0, (sizes[sources[0]] - 1) // 4))
            end = draw(st.integers(begin + 1, sizes[sources[0]]))
            ops.append(QTake(f"op{i}", sources[:1], name, (None, tuple(range(begin, end)))))
            sizes[name] = end - begin
        else:
            leads = tuple(draw(st.sampled_from((None, 0, 8))) for _ in sources)
            ops.append(FakeOp(f"op{i}", sources, name, leads, draw(st.sampled_from((0, 0, 20)))))
            sizes[name] = 4 * draw(st.integers(1, 12))
    outputs = draw(st.lists(st.sampled_from(sorted(sizes)), min_size=1, max_size=2, unique=True))
    return program(sizes, ["in0", "in1"], outputs, ops)


@settings(deadline=None, max_examples=300)
@given(moving_programs())
def test_plans_without_copies_run_without_losing_a_byte(fake: Program) -> None:
    free = free_outputs(fake)
    kernels = [None if op.output in free else REGISTRY.kernels[KINDS.index(type(op))] for op in fake.ops]
    workload = Workload.of(fake, kernels)
    chosen = [Choice(work.op, work.kernel, 1.0) for work in workload.works]
    any_place_will_do = 1 << 20
    for order in {tuple(range(len(chosen))), best_order(workload)}:
        result = place_steps(workload, chosen, order, any_place_will_do)
        check_plan(fake, result)
        simulate(fake, result)
    simulate(fake, plan(fake))


def test_what_is_joined_is_written_in_its_place() -> None:
    ops: list[QOp] = [
        FakeOp("a", ("in",), "a", (None,)),
        FakeOp("b", ("in",), "b", (None,)),
        QConcat("ab", ("a", "b"), "ab", 1),
        QTake("tail", ("ab",), "tail", (None, tuple(range(912, 1612)))),
        FakeOp("end", ("tail",), "end", (0,)),
    ]
    sizes = {"in": 100, "a": 912, "b": 700, "ab": 1612, "tail": 700, "end": 700}
    result = plan(program(sizes, ["in"], ["end", "a"], ops))
    assert [step.op.name for step in result.steps] == ["a", "b", "end"]
    at = result.offsets
    assert (at["a"], at["b"], at["tail"]) == (at["ab"], at["ab"] + 912, at["ab"] + 912)
    assert at["end"] == at["tail"], "in place, while `a` is there"
    moved = dict(at) | {"tail": at["ab"]}
    with pytest.raises(ProgramError, match="'tail' is not where 'ab' is"):
        check_plan(program(sizes, ["in"], ["end", "a"], ops), dataclasses.replace(result, offsets=moved))


@settings(deadline=None, max_examples=60)
@given(programs(max_ops=6))
def test_the_order_has_the_smallest_peak_of_all_orders(fake: Program) -> None:
    kernel = FakeKernel()
    workload = Workload.of(fake, [kernel if isinstance(op, FakeOp) else None for op in fake.ops])
    works = [index for index, op in enumerate(fake.ops) if isinstance(op, FakeOp)]
    position = {index: i for i, index in enumerate(works)}
    peaks = [
        peak_bytes(workload, [position[i] for i in order if i in position])
        for order in topological_orders(fake)
    ]
    assert peak_bytes(workload, best_order(workload)) == min(peaks)


@settings(deadline=None, max_examples=60)
@given(programs(max_ops=9, reshapes=False))
def test_the_beam_gives_an_order_of_all_operators(fake: Program) -> None:
    workload = Workload.of(fake, [FakeKernel()] * len(fake.ops))
    order = best_order(workload, exact_states=0)
    done: set[str] = {port.tensor for port in fake.inputs}
    for index in order:
        assert set(fake.ops[index].inputs) <= done
        done.add(fake.ops[index].output)
    assert sorted(order) == list(range(len(fake.ops)))


def tiny_program(rng: random.Random) -> Program:
    sizes = {"in": 16 * rng.randint(1, 4)}
    ops: list[QOp] = []
    for i in range(rng.randint(2, 4)):
        sources = [rng.choice(list(sizes)) for _ in range(rng.randint(1, 2))]
        sizes[f"t{i}"] = 16 * rng.randint(1, 4)
        leads = tuple(rng.choice((None, 0, 0, 16, 32, -16)) for _ in sources)
        ops.append(FakeOp(f"op{i}", tuple(sources), f"t{i}", leads, rng.choice((0, 0, 16))))
    return program(sizes, ["in"], [list(sizes)[-1]], ops)


def test_small_networks_reach_the_true_minimum() -> None:
    rng = random.Random(1)
    misses = 0
    for _ in range(120):
        fake = tiny_program(rng)
        arena, minimum = plan(fake).arena_bytes, true_minimum_bytes(fake)
        assert arena >= minimum
        misses += arena > minimum
    assert misses <= 2


def test_the_same_network_gets_the_same_plan() -> None:
    fake = large_program(random.Random(2), 40)
    first, second = plan(fake), plan(fake)
    assert first.offsets == second.offsets
    assert [s.op.name for s in first.steps] == [s.op.name for s in second.steps]


def large_program(rng: random.Random, steps: int) -> Program:
    """Blocks of three parallel branches of three operators, joined: Inception's shape."""
    sizes = {"in": 3072}
    ops: list[QOp] = []

    def add(sources: list[str], lead: int | None) -> str:
        name = f"t{len(ops)}"
        sizes[name] = rng.randint(500, 9000)
        scratch = rng.choice((0, 256))
        ops.append(FakeOp(f"op{len(ops)}", tuple(sources), name, (lead,) * len(sources), scratch))
        return name

    last = "in"
    while len(ops) < steps:
        ends = []
        for _ in range(3):
            branch = last
            for _ in range(3):
                branch = add([branch], rng.choice((None, 0, 600)))
            ends.append(branch)
        last = add(ends, 0)
    return program(sizes, ["in"], [last], ops)


@pytest.mark.parametrize("steps", [30, 200])
def test_large_networks_are_planned_in_two_seconds_and_near_the_lower_bound(steps: int) -> None:
    fake = large_program(random.Random(steps), steps)
    started = time.process_time()
    result = plan(fake)
    assert time.process_time() - started < 2.0
    assert result.arena_bytes <= 1.05 * result.lower_bound_bytes


def test_branches_run_one_after_the_other() -> None:
    """Wide tensors first on both branches would be 60 + 60; the better order holds one at a time."""
    sizes = {"in": 16, "wide_a": 6000, "wide_b": 6000, "a": 16, "b": 16, "sum": 16}
    ops = [
        FakeOp("wide_a", ("in",), "wide_a", (None,)),
        FakeOp("wide_b", ("in",), "wide_b", (None,)),
        FakeOp("a", ("wide_a",), "a", (None,)),
        FakeOp("b", ("wide_b",), "b", (None,)),
        FakeOp("sum", ("a", "b"), "sum", (0, 0)),
    ]
    result = plan(program(sizes, ["in"], ["sum"], ops))
    assert [step.op.name for step in result.steps] in (
        ["wide_a", "a", "wide_b", "b", "sum"],
        ["wide_b", "b", "wide_a", "a", "sum"],
    )
    assert result.arena_bytes <= 6032 + 16


def test_a_chain_of_in_place_operators_takes_one_buffer() -> None:
    result = plan(chain([4096] * 6, [0] * 5))
    assert result.arena_bytes == 4096
    assert result.lower_bound_bytes == 8192


def test_a_mobilenet_front_end_fits_forty_kilobytes() -> None:
    """vww01: 96x96x3 -> 48x48x8 -> depthwise -> 48x48x16 -> depthwise/2 -> 24x24x16 -> 24x24x32."""
    sizes = [27648, 18432, 18432, 36864, 9216, 18432]
    leads = [1200, 800, 18448, 1600, 9232]
    assert plan(chain(sizes, leads)).arena_bytes <= 40 * 1024


def test_a_residual_block_holds_two_maps_and_the_lead() -> None:
    """ic01's first block: the sum is in place on the shortcut, the second convolution on the first."""
    sizes = {"image": 3072, "x": 16384, "a": 16384, "b": 16384, "sum": 16384}
    ops = [
        FakeOp("stem", ("image",), "x", (None,)),
        FakeOp("conv1", ("x",), "a", (1100,)),
        FakeOp("conv2", ("a",), "b", (1100,)),
        FakeOp("add", ("x", "b"), "sum", (0, 0)),
    ]
    result = plan(program(sizes, ["image"], ["sum"], ops))
    assert result.arena_bytes <= 2 * 16384 + 1104
    assert result.lower_bound_bytes == 3 * 16384


def test_a_tensor_that_is_also_an_output_is_kept() -> None:
    sizes = {"in": 64, "kept": 64, "last": 64}
    ops = [FakeOp("a", ("in",), "kept", (0,)), FakeOp("b", ("kept",), "last", (0,))]
    result = plan(program(sizes, ["in"], ["kept", "last"], ops))
    assert result.arena_bytes == 128


def test_an_operator_without_a_kernel_is_named() -> None:
    fake = chain([16, 16, 16], [0, 0])
    with pytest.raises(UnsupportedModel, match=r"2 operators .* cortex-m4") as error:
        plan_program(fake, load_target("cortex-m4"), registry=Registry([]))
    assert [problem.node for problem in error.value.problems] == ["op0", "op1"]


def test_check_plan_refuses_a_plan_that_loses_bytes() -> None:
    fake = chain([64, 64, 64], [None, None])
    good = plan(fake)
    steps = tuple(dataclasses.replace(step, output_offset=0, input_offsets=(0,)) for step in good.steps)
    bad = dataclasses.replace(good, steps=steps, offsets=dict.fromkeys(good.offsets, 0))
    with pytest.raises(ProgramError, match="overwrites"):
        check_plan(fake, bad)


def test_the_registry_of_fakes_is_used() -> None:
    assert plan(chain([16, 16], [0])).steps[0].kernel is REGISTRY.kernels[0]
