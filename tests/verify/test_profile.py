"""Counts by address: exact on known loops, split by layer, and turned into cycles as the manuals say."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfqgen.targets import CycleModel, Target, list_targets, load_target
from dfqgen.verify.disassembly import Instruction, parse_disassembly
from dfqgen.verify.firmware import run_firmware
from dfqgen.verify.profile import (
    estimate_cycles,
    instruction_cycles,
    parse_counts,
    profile_firmware,
)
from tests.verify.test_firmware import EMULATED, ITERATIONS, tiny_network

M4 = CycleModel(load=2, load_pipelined=1, store=1, register=1, taken_branch=2, divide=6)


@pytest.mark.parametrize("target", EMULATED, ids=lambda target: target.name)
def test_loops_of_known_length_are_counted_exactly(tmp_path: Path, target: Target) -> None:
    """Both layers are a call of the same function, 2 * 2 * ITERATIONS instructions apart."""
    profile = profile_firmware(tiny_network(tmp_path), target, timeout_s=60)
    once, thrice = profile.layers
    assert profile.wrong_values == 0
    overhead = once.instructions - 2 * ITERATIONS
    assert 3 <= overhead <= 12
    assert thrice.instructions - 6 * ITERATIONS == overhead
    if target.cycles is not None:
        assert once.cycles is not None
        per_iteration = 2 + target.cycles.taken_branch
        assert per_iteration * ITERATIONS < once.cycles < per_iteration * ITERATIONS + 40
    if target.dual_issue is not None:
        assert once.cycles is not None
        assert ITERATIONS <= once.cycles < ITERATIONS + 40  # a subtraction and its branch are one cycle


@pytest.mark.parametrize("name", ["cortex-m4", "riscv32imc"])
def test_the_two_ways_to_count_agree(tmp_path: Path, name: str) -> None:
    folder, target = tiny_network(tmp_path), load_target(name)
    ticks = run_firmware(folder, target, timeout_s=60)
    exact = profile_firmware(folder, target, timeout_s=60)
    for by_tick, layer in zip(ticks.layers, exact.layers, strict=True):
        assert abs(by_tick.instructions - layer.instructions) <= 60


def test_only_targets_with_a_cycle_model_have_cycles(tmp_path: Path) -> None:
    modelled = [target.cycles or target.dual_issue for target in list_targets()]
    assert [target.name for target, model in zip(list_targets(), modelled, strict=True) if model is None] == [
        "host",
        "riscv32imac",
        "riscv32imc",
    ]
    assert profile_firmware(tiny_network(tmp_path), load_target("riscv32imc")).cycles is None


@pytest.mark.parametrize(
    ("text", "cycles"),
    [
        ("add r0, r1", 1),
        ("ldr r0, [r1]", 2),
        ("ldrsb.w r0, [r1, #1]", 2),
        ("ldrd r0, r1, [r2], #8", 3),
        ("strd r0, r1, [r2]", 3),
        ("str r0, [r1]", 1),
        ("push {r4, r5, r6, lr}", 5),
        ("ldmia.w sp!, {r4-r11, pc}", 10),
        ("vpush {d8-d11}", 9),
        ("vpush {s16-s19}", 5),
        ("vldr s0, [r1]", 2),
        ("vldr d0, [r1]", 3),
        ("udiv r0, r1, r2", 6),
        ("smlal r0, r1, r2, r3", 1),
        ("smlad r0, r1, r2, r3", 1),
        ("it eq", 1),
    ],
)
def test_cycles_of_an_instruction_on_the_m4(text: str, cycles: int) -> None:
    mnemonic, operands = text.split(" ", 1)
    assert instruction_cycles(Instruction(mnemonic, operands, "f", pipelined=False), M4) == cycles


def test_a_load_after_a_load_is_pipelined_and_taken_branches_cost_more() -> None:
    code = parse_disassembly(
        """
00000100 <loop>:
     100:\tldr\tr0, [r1, #0]
     102:\tldr.w\tr2, [r1, #4]
     106:\tsubs\tr3, #1
     108:\tbne.n\t100 <loop>
""".splitlines()
    )
    runs = dict.fromkeys(code, 10)
    assert estimate_cycles(runs, {0x108: 9}, code, M4) == 10 * (2 + 1 + 1 + 1) + 9 * 2


def test_low_overhead_loops_jump_for_nothing() -> None:
    code = parse_disassembly(["00000100 <loop>:", "     100:\tle\tlr, 100 <loop>"])
    assert estimate_cycles({0x100: 10}, {0x100: 9}, code, M4) == 10


def test_vector_instructions_are_told_by_their_registers() -> None:
    model = CycleModel(load=1, load_pipelined=1, store=1, register=1, taken_branch=2, vector=2)
    assert instruction_cycles(Instruction("vldrb.s16", "q0, [r0]", "f", False), model) == 2
    assert instruction_cycles(Instruction("vldr", "s0, [r0]", "f", False), model) == 2
    assert instruction_cycles(Instruction("vmladava.s8", "r0, q1, q2", "f", False), model) == 2
    assert instruction_cycles(Instruction("add", "r0, r1", "f", False), model) == 1


def test_counts_are_added_by_layer_and_address() -> None:
    first, second = parse_counts(["0 5 1 100 102", "0 2 2 102", "1 7 0 100", "2 9 9 100"], 2)
    assert first.runs == {0x100: 5, 0x102: 7}
    assert first.jumps == {0x102: 3}
    assert second.runs == {0x100: 7}
