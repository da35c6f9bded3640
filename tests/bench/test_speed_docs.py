"""docs/speed.md: misses are told, and what was not measured is left out."""

from __future__ import annotations

from typing import Any

from tests.bench import ROOT  # noqa: F401 (puts bench/ on the path)

from speed_docs import render_docs  # isort: skip


def row(**changes: Any) -> dict[str, Any]:
    return {
        "network": "ic01", "target": "cortex-m4", "optimize": "speed", "macs": 300, "instructions": 400,
        "quoted": 1000,
        "goal": 0.45, "estimate": 420, "cycles": 600, "cmsis_instructions": 1050, "cmsis_cycles": 1200,
        "text_bytes": 10, "rodata_bytes": 20, "flash_goal_bytes": 40, "arena_bytes": 5, "arena_goal_bytes": 6,
        "stack_bytes": 1, "wrong_values": 0,
    } | changes  # fmt: skip


def page(*rows: dict[str, Any], **more: Any) -> str:
    return render_docs({f"network/{i}": found for i, found in enumerate(rows)} | more)


def test_what_meets_its_goals_is_not_listed() -> None:
    text = page(row())
    assert "| cortex-m4 | ic01 | 300 | 400 | 1,000 | 0.40 | 0.45 | 1,050 | 0.38 |" in text
    assert "+5.0 %" in text
    assert "Nothing that was measured." in text


def test_every_miss_is_bold_and_listed() -> None:
    text = page(
        row(instructions=500, cycles=900, estimate=600, text_bytes=30, arena_bytes=7),
        host=200.0,
    )
    misses = text[text.index("## What misses") :]
    for what in ("0.50", "0.75", "+20.0 %", "50", "7"):
        assert f"**{what}**" in text
    assert misses.count("\n- ") == 6


def test_parts_without_results_are_left_out() -> None:
    text = page(row(cmsis_instructions=None, cmsis_cycles=None, cycles=None))
    assert "## Estimated cycles" not in text
    assert "## Single layers" not in text
    assert "## On the host" not in text


def test_layers_made_for_size_and_the_host() -> None:
    layer = {
        "layer": "sum", "target": "cortex-m4", "units": 10, "quoted_per_unit": 81.0, "instructions": 60,
        "cycles": 80, "cmsis_instructions": 800, "cmsis_cycles": 1000,
    }  # fmt: skip
    text = page(row(), row(optimize="size", instructions=600, text_bytes=8), host=99.5, **{"layer/x": layer})
    assert "| cortex-m4 | sum | 6.000 | 81 | 80.000 | 0.07 | 0.08 |" in text
    assert "| cortex-m4 | ic01 | 8 | 10 | 20 | 20 | 1.50 |" in text
    assert "99.5 ms" in text


def test_what_winograds_algorithm_costs_is_told() -> None:
    with_it, without = "network/cortex-m4/ic01/speed", "network/cortex-m4/ic01/no-winograd"
    spare = row(instructions=800, text_bytes=4, rodata_bytes=5, arena_bytes=3)
    text = render_docs({with_it: row(), without: spare})
    assert "| cortex-m4 | ic01 | 400 | 800 | 0.50 | 30 | 9 | 5 | 3 |" in text
    assert text.count("| cortex-m4 | ic01 | 300 |") == 1


def test_risc_v_stands_beside_the_m3_and_needs_no_quoted_figure() -> None:
    riscv = row(
        target="riscv32imc", instructions=900, quoted=None, goal=None, cmsis_instructions=None, cycles=None
    )
    text = page(row(target="cortex-m3", instructions=600), riscv)
    assert "| riscv32imc | ic01 | 300 | 900 |  |  |  |  |  |" in text
    assert "| ic01 | 900 | 3.00 | 2.00 | 1.50 |" in text


def test_boards_are_told_in_cycles_beside_our_estimates() -> None:
    text = page(row(cycles=11_070_000))
    assert "| cortex-m4 |  | dfqgen, estimated without wait states |  | 11.07 |  |  |  |" in text
    assert "| cortex-m4 | NUCLEO-L4R5ZI | Plumerai 2023.05 | v1.1 | 20.13 | 11.85 | 5.73 | 0.49 |" in text


def test_cmsis_nns_best_flags_are_found() -> None:
    counts = {"-O2": 1000, "-O3": 800}
    flags = {
        f"flags/{each}": {"target": "cortex-m4", "network": "ic01", "flags": each, "instructions": count}
        for each, count in counts.items()
    }
    assert "| cortex-m4 | ic01 | 1,000 | 800 | 0.50 |" in page(row(), **flags)
