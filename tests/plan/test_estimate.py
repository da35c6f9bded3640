"""Times of instructions: the clock, cycles an instruction, and waits of the flash where they are known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dfqgen.cli.output import time_text
from dfqgen.plan.estimate import per_second, seconds
from dfqgen.report.facts import time_facts
from dfqgen.targets import Target, list_parts, load_target


def cycles(target: Target) -> float:
    """Of an instruction."""
    return target.clock_hz / per_second(target)


def test_a_core_by_itself_never_waits() -> None:
    core = load_target("cortex-m4")
    assert core.wait_cycles_per_instruction == 0
    assert cycles(core) == pytest.approx(core.cycles_per_instruction)


@pytest.mark.parametrize(
    ("name", "waits"), [("stm32l4r5", 0.5 * 5 / 8), ("stm32f407", 0.5 * 5 / 16), ("stm32f401", 0.5 * 2 / 16)]
)
def test_each_read_of_constants_waits_once(name: str, waits: float) -> None:
    part = load_target(name)
    assert part.wait_cycles_per_instruction == pytest.approx(waits)
    assert part.cycles_per_instruction is not None
    assert seconds(1e6, part) == pytest.approx(1e6 * (part.cycles_per_instruction + waits) / part.clock_hz)


def test_what_is_not_known_is_not_counted() -> None:
    part = load_target("nrf52840")
    assert part.wait_cycles_per_instruction is None
    assert cycles(part) == pytest.approx(load_target("cortex-m4").cycles_per_instruction)


def test_a_width_of_reads_is_used_wherever_it_is_stated() -> None:
    parts = [target for target in list_parts() if target.part and target.part.read_bytes]
    assert len(parts) == 9
    assert all(target.wait_cycles_per_instruction for target in parts)


def text(target: Target) -> str:
    facts = time_facts([], target)
    assert facts is not None
    return time_text(facts)


def test_the_terminal_says_what_of_waits_is_counted() -> None:
    part = load_target("stm32l4r5")
    assert "1.37 cycles each and 0.31 waiting for the flash)" in text(part)
    assert text(replace(part, part=None)).endswith("1.37 cycles each)")
    assert "waits of the flash not counted)" in text(load_target("nrf52840"))
