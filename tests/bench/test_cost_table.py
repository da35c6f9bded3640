"""Cost tables: what is in them fits the kernels, and what they tell is near the count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dfqgen import kernels, resources
from dfqgen.compile import compile_model
from dfqgen.emit import emit, write_folder
from dfqgen.kernels.base import Kernel
from dfqgen.plan import plan_program
from dfqgen.plan.estimate import estimate
from dfqgen.recipe import make_recipe
from dfqgen.targets import Isa, Target, list_targets, load_target
from dfqgen.verify.firmware import run_firmware
from dfqgen.verify.host import verify_on_host
from dfqgen.verify.toolchain import WARNINGS, compile_c
from tests import programs
from tests.bench import ROOT  # noqa: F401 (puts bench/ on the path)
from tests.models import DIGITS

from cost_cases import Case, cases  # isort: skip
from cost_cases_more import more_cases  # isort: skip
from cost_table import Sample, all_shared, fit, measure, side_by_side, table_text  # isort: skip
from single_layers import program_of  # isort: skip

EMULATED = [target for target in list_targets() if target.emulator is not None]


TABLES = [target for target in EMULATED if target.costs.speed]


def able(kernel: Kernel[Any], everything: list[Case]) -> list[Case]:
    return [
        case
        for case in everything
        if kernel.op is type(case.op) and kernel.supports(case.op, case.inputs, case.output)
    ]


@pytest.mark.parametrize("target", TABLES, ids=lambda target: target.name)
def test_every_kernel_has_a_price_and_every_price_a_kernel(target: Target) -> None:
    functions = {kernel.function for kernel in kernels.REGISTRY.kernels if kernel.isa in target.isas}
    hint = f"run bench/cost_table.py --targets {target.name}"
    for table in (target.costs.speed, target.costs.size, target.costs.code_bytes):
        assert functions <= set(table) <= ALL, hint
    for table in (target.costs.speed, target.costs.size):
        assert all(price >= 0.0 for prices in table.values() for price in prices.values())


ALL = {kernel.function for kernel in kernels.REGISTRY.kernels}


def test_prices_are_of_counts_that_kernels_have() -> None:
    """And bench/cost_cases.py has layers enough for every kernel."""
    everything = [*cases(power_of_two=False), *more_cases(power_of_two=False)]
    for kernel in kernels.REGISTRY.kernels:
        some = able(kernel, everything)
        assert len(some) >= 4, kernel.function
        counts = {count for case in some for count in kernel.work(case.op, case.inputs, case.output)}
        if kernel.function.startswith("dfq_strided_copy_"):  # two kernels' functions
            counts |= {"copied", "stepped"}
        for target in TABLES:
            for table in (target.costs.speed, target.costs.size):
                assert set(table.get(kernel.function, ())) <= counts, (target.name, kernel.function)


def test_tables_are_of_targets() -> None:
    names = {path.stem for path in (resources.targets_dir() / "costs").glob("*.toml")}
    assert names <= {target.name for target in EMULATED}


def test_every_portable_kernel_computes_the_same_bits_in_code_that_layers_share(tmp_path: Path) -> None:
    """And its descriptor's members, copied one by one, give no warnings."""
    everything = [*cases(power_of_two=False), *more_cases(power_of_two=False)]
    everything.sort(key=lambda case: case.op.macs(case.output))
    some: list[tuple[Kernel[Any], Case]] = []
    for kernel in kernels.REGISTRY.kernels:
        taken = {case.op.name for _, case in some}
        free = [case for case in able(kernel, everything) if case.op.name not in taken]
        some += [(kernel, case) for case in free[:3] if kernel.isa is Isa.PORTABLE]
    program = program_of("all", [case for _, case in some])
    plan = all_shared(side_by_side(program, [kernel for kernel, _ in some]))
    write_folder(emit(program, plan, load_target("host"), optimize="balanced", golden=()), tmp_path / "all")
    verify_on_host(program, tmp_path / "all")
    compile_c([tmp_path / "all" / "all.c"], tmp_path / "a.o", [*WARNINGS, "-O1", "-c"])


@pytest.mark.parametrize("name", ["cortex-m4", "cortex-m55", "cortex-m3", "cortex-m0plus"])
def test_the_estimate_is_within_15_percent_of_the_count(name: str, tmp_path: Path) -> None:
    target = load_target(name)
    recipe = make_recipe(target=name, input_std=(16.0,), input_range=(0.0, 16.0))
    program = compile_model(DIGITS, recipe).program
    layers = estimate(plan_program(program, target))
    programs.write(program, tmp_path / "digits", target=name)
    counted = run_firmware(tmp_path / "digits", target)
    assert sum(layer.instructions for layer in layers) == pytest.approx(counted.instructions, rel=0.15)
    assert [layer.op.name for layer in layers] == [layer.name for layer in counted.layers]
    assert all(layer.measured for layer in layers)


def test_a_fit_finds_the_prices_that_made_the_samples() -> None:
    works = [{"call": 1.0, "mac": float(mac), "output": float(output)} for mac, output in SHAPES]
    samples = [Sample(work, round(90 + 1.5 * work["mac"])) for work in works]
    found = fit(samples)
    assert found.prices == pytest.approx({"call": 90.0, "mac": 1.5}, rel=0.02)
    assert found.largest_error < 0.01


SHAPES = [(100, 7), (2000, 300), (50_000, 40), (800, 800), (12_345, 6), (70, 70), (9000, 10)]


def test_a_kernel_is_measured_and_its_functions_sized() -> None:
    target = load_target("cortex-m3")
    kernel = next(kernel for kernel in kernels.REGISTRY.kernels if kernel.function == "dfq_lookup_s8")
    some = able(kernel, cases(power_of_two=False))
    samples, code = measure([(kernel, case) for case in some], target, "size")
    assert len(samples) == len(some)
    assert all(sample.instructions > sample.work["output"] for sample in samples)
    assert sum(code.values()) < 500
    sizes = {name: float(size) for name, size in code.items()}
    text = table_text(
        target, {"size": {"dfq_lookup_s8": fit(samples).prices}, "code_bytes": {"dfq_lookup_s8": sizes}}, None
    )
    assert "[size.dfq_lookup_s8]" in text
