"""Measure what every kernel takes on emulated targets, and write targets/costs/<target>.toml.

    python bench/cost_table.py [--targets cortex-m4,cortex-m3] [--kernels dfq_conv2d] [--optimize speed]

For each kernel: all layers of bench/cost_cases.py that it supports, in one firmware; exact instructions of
each; and a fit of a few prices, never negative, to the counts of `Kernel.work`, which minimizes relative
errors. "shared" compares copies of code of the layers' own with one copy for all of them. Run it when a
kernel has changed; what is not measured again stays as it is in the table. Prints the mean and the largest
error of every fit.

A table may name another as its `base`, whose prices stand in for kernels it lacks: the M7 and the M33 run
the M4's code, RV32IMAC that of RV32IMC (kernels have no use for atomics), and on the M55 only Helium's own
kernels and the portable ones, which the compiler vectorizes, are measured.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from cost_cases import Case, cases
from cost_cases_more import more_cases
from rich.console import Console
from scipy.optimize import nnls
from single_layers import program_of

from dfqgen import kernels, resources
from dfqgen.emit.package import emit, write_folder
from dfqgen.fixedpoint.program import Program
from dfqgen.fixedpoint.vectors import golden_vectors
from dfqgen.kernels.base import Kernel, Plan, SharedCode, Step
from dfqgen.plan.workload import align
from dfqgen.targets import Isa, Target, list_targets, load_target
from dfqgen.verify.firmware import binutil, build_firmware, run_tool
from dfqgen.verify.profile import count_segments
from dfqgen.verify.stack import reached

MAX_PRICES = 6
WORTH = 0.06
"""A price more must lower the remaining squared error by this part."""
NAME = "cost"


@dataclass(frozen=True, slots=True)
class Sample:
    """A layer's work and its instructions."""

    work: dict[str, float]
    instructions: int


@dataclass(frozen=True, slots=True)
class Fit:
    """Prices of a kernel, and the mean and largest relative error over its samples."""

    prices: dict[str, float]
    mean_error: float
    largest_error: float
    samples: int


def measure(
    some: Sequence[tuple[Kernel[Any], Case]], target: Target, optimize: str
) -> tuple[list[Sample], dict[str, int]]:
    """Samples of one C function by the kernels that call it, and the bytes of it and what it calls."""
    program = program_of(NAME, [case for _, case in some])
    mode: Literal["speed", "size"] = "size" if optimize == "size" else "speed"
    plan = side_by_side(program, [kernel for kernel, _ in some])
    golden = golden_vectors(program, 1)
    with tempfile.TemporaryDirectory(prefix="dfqgen-cost-") as name:
        work, folder = Path(name), Path(name) / "out"
        write_folder(emit(program, plan, target, optimize=mode, golden=golden), folder)
        elf = build_firmware(folder, target, work)
        counted = count_segments(elf, target, len(plan.steps), work)
        code = code_bytes(work / "network" / f"{NAME}.o", target) if mode == "size" else {}
    if counted.wrong_values:
        raise SystemExit(f"{some[0][0].function} on {target.name}: {counted.wrong_values} values are wrong")
    by_name = {step.op.name: count for step, count in zip(plan.steps, counted.instructions, strict=True)}
    samples = [
        Sample(kernel.work(case.op, case.inputs, case.output), by_name[case.op.name]) for kernel, case in some
    ]
    return samples, code


def measure_shared(
    some: Sequence[tuple[Kernel[Any], Case]], target: Target
) -> tuple[dict[str, float], dict[str, float]]:
    """What one copy of a C function for all these layers takes beside copies of their own: prices of the
    instructions more; the mean bytes of an own copy, and those of the one with what it alone calls.
    """
    program = program_of(NAME, [case for _, case in some])
    plan = side_by_side(program, [kernel for kernel, _ in some])
    golden, found = golden_vectors(program, 1), []
    for each in (plan, all_shared(plan)):
        with tempfile.TemporaryDirectory(prefix="dfqgen-cost-") as name:
            work, folder = Path(name), Path(name) / "out"
            write_folder(emit(program, each, target, golden=golden), folder)
            elf = build_firmware(folder, target, work)
            counted = count_segments(elf, target, len(plan.steps), work)
            if counted.wrong_values:
                raise SystemExit(
                    f"{some[0][0].function} on {target.name}: {counted.wrong_values} values are wrong"
                )
            obj = work / "network" / f"{NAME}.o"
            found.append((np.array(counted.instructions), code_bytes(obj, target), calls(obj, target)))
    (own, own_bytes, own_calls), (shared, shared_bytes, shared_calls) = found
    layers = [name for name in own_bytes if name.startswith("run_")]
    copies = [name for name in shared_bytes if name.startswith("shared_")]
    helpers = set().union(*(reached(name, shared_calls) for name in copies)) - set(copies)
    alone = [
        sum(shared_bytes.get(name, 0) for name in helpers - reached(layer, own_calls)) for layer in layers
    ]
    work_of = [kernel.work(case.op, case.inputs, case.output) for kernel, case in some]
    names = sorted({name for work in work_of for name in work})
    matrix = np.array([[work.get(name, 0.0) for name in names] for work in work_of]) / own[:, None]
    scale = np.maximum(matrix.max(axis=0), 1e-30)
    prices, _ = nnls(matrix / scale, shared / own - 1.0)
    more = {name: price for name, price in zip(names, (prices / scale).tolist(), strict=True) if price > 0.0}
    return more, {
        "own": float(np.mean([own_bytes[name] for name in layers])),
        "shared": max(shared_bytes[name] for name in copies) + float(np.mean(alone)),
    }


def all_shared(plan: Plan) -> Plan:
    """The plan with one copy of each function, and one for each number of inputs."""
    alike: dict[tuple[str, int, bool], int] = {}
    steps = []
    for step in plan.steps:
        call = step.kernel.function, len(step.inputs), step.scratch_bytes > 0
        steps.append(replace(step, shared=SharedCode(alike.setdefault(call, len(alike)), 0.0)))
    return replace(plan, steps=tuple(steps))


def calls(obj: Path, target: Target) -> dict[str, set[str]]:
    """The functions that each function of an object file names in its code."""
    text = run_tool(binutil(target, "objdump"), ["-dr", str(obj)], "cannot read the code")
    found: dict[str, set[str]] = {}
    for line in text.splitlines():
        if header := re.match(r"[0-9a-f]+ <(.+)>:", line):
            current = found.setdefault(header[1], set())
        elif called := re.search(r"[<\t ]([A-Za-z_]\w+)(?:\+0x[0-9a-f]+)?>?$", line):
            current.add(called[1])
    return found


def side_by_side(program: Program, chosen: Sequence[Kernel[Any]]) -> Plan:
    """Every operator with its kernel, every buffer with memory of its own."""
    top = 0

    def place(size_bytes: int) -> int:
        nonlocal top
        top += align(size_bytes)
        return top - align(size_bytes)

    offsets = {name: place(tensor.size_bytes) for name, tensor in program.tensors.items()}
    steps = []
    for op, kernel in zip(program.ops, chosen, strict=True):
        inputs, output = program.tensors_of(op)
        scratch_bytes = align(kernel.scratch_bytes(op, inputs, output))
        places = tuple(offsets[tensor.name] for tensor in inputs)
        scratch = place(scratch_bytes)
        steps.append(Step(op, kernel, inputs, output, places, offsets[op.output], scratch, scratch_bytes))
    return Plan(tuple(steps), offsets, top, top)


def code_bytes(obj: Path, target: Target) -> dict[str, int]:
    """Machine code of each function of an object file, those of the network's interface left out."""
    text = run_tool(binutil(target, "nm"), ["-S", str(obj)], "cannot read the symbols")
    rows = [line.split() for line in text.splitlines()]
    return {
        row[3]: int(row[1], 16)
        for row in sorted(rows)
        if len(row) == 4 and row[2] in "tT" and not row[3].startswith(f"{NAME}_")
    }


def fit(samples: Sequence[Sample]) -> Fit:
    """Prices one after the other, each time the one that helps most, while it is worth it."""
    names = sorted({name for sample in samples for name in sample.work})
    counted = np.array([sample.instructions for sample in samples], np.float64)
    columns = {name: np.array([sample.work.get(name, 0.0) for sample in samples]) / counted for name in names}

    def solve(some: Sequence[str]) -> tuple[dict[str, float], float]:
        matrix = np.stack([columns[name] for name in some], axis=1)
        scale = np.maximum(matrix.max(axis=0), 1e-30)
        prices, residual = nnls(matrix / scale, np.ones(len(samples)))
        return dict(zip(some, (prices / scale).tolist(), strict=True)), float(residual**2)

    chosen: list[str] = []
    prices: dict[str, float] = {}
    error = float(len(samples))
    limit = min(MAX_PRICES, len(names), max(1, len(samples) - 1))
    while len(chosen) < limit:
        trials = [(solve([*chosen, name]), name) for name in names if name not in chosen]
        (found, smaller), best = min(trials, key=lambda trial: (trial[0][1], trial[1]))
        if smaller > (1.0 - WORTH) * error or error < 1e-5 * len(samples):
            break
        chosen.append(best)
        prices, error = found, smaller
    prices = {name: price for name, price in prices.items() if price > 0.0}
    estimate = sum((price * columns[name] for name, price in prices.items()), np.zeros(len(samples)))
    errors = np.abs(estimate - 1.0)
    return Fit(prices, float(errors.mean()), float(errors.max()), len(samples))


SECTIONS = ("speed", "size", "code_bytes", "shared", "copy_bytes")

Tables = dict[str, dict[str, dict[str, float]]]
"""As in the file: by section, then by kernel."""


def table_text(target: Target, tables: Tables, base: str | None) -> str:
    """The TOML file."""
    version = run_tool(target.compiler.command, ["-dumpversion"], "no compiler").strip()
    lines = [
        f"# Written by bench/cost_table.py: what {target.name}'s kernels take by their work, in instructions",
        f"# counted in QEMU, GCC {version}.",
        *([f'base = "{base}"'] if base else []),
    ]
    for section in SECTIONS:
        for function, values in sorted(tables.get(section, {}).items()):
            lines += ["", f"[{section}.{function}]"]
            lines += [f"{_key(name)} = {value:.5g}" for name, value in sorted(values.items())]
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    return name if name.replace("_", "").isalnum() else f'"{name}"'


def _percent(found: Fit) -> str:
    return f"{100 * found.mean_error:.1f} %, {100 * found.largest_error:.1f} %"


def measure_target(
    target: Target, tables: Tables, prefixes: Sequence[str], modes: Sequence[str], console: Console
) -> Iterator[None]:
    """Replace in `tables` what is measured, function by function: the target's own whose names begin so."""
    power_of_two = target.scales == "power-of-two"
    everything = [*cases(power_of_two=power_of_two), *more_cases(power_of_two=power_of_two)]
    isas = OWN.get(target.name, target.isas)
    able = [kernel for kernel in kernels.REGISTRY.kernels if kernel.isa in isas]
    for function in sorted(
        {kernel.function for kernel in able if kernel.function.startswith(tuple(prefixes))}
    ):
        some = [
            (kernel, case)
            for kernel in able
            for case in everything
            if kernel.function == function
            and kernel.op is type(case.op)
            and kernel.supports(case.op, case.inputs, case.output)
        ]
        for mode in modes:
            if mode == "shared":
                more, copies = measure_shared(some, target)
                text = ", ".join(f"{name} {value:.4g}" for name, value in (more | copies).items())
                console.print(f"{target.name} {function} shared: {text}")
                tables.setdefault("shared", {})[function] = more
                tables.setdefault("copy_bytes", {})[function] = copies
                continue
            samples, sizes = measure(some, target, mode)
            found = fit(samples)
            prices = ", ".join(f"{name} {price:.3g}" for name, price in found.prices.items())
            worst = max(zip(some, samples, strict=True), key=lambda pair: abs(_error(found, pair[1])))
            shapes = f"{worst[0][1].op.name}, {worst[0][1].inputs[0].shape} -> {worst[0][1].output.shape}"
            console.print(f"{target.name} {function} {mode}: {_percent(found)} ({shapes}); {prices}")
            tables.setdefault(mode, {})[function] = found.prices
            if sizes:
                tables.setdefault("code_bytes", {})[function] = dict(sizes)
        yield


def drop_unknown(tables: Tables) -> None:
    """Remove the prices of functions that no kernel calls any more."""
    known = {kernel.function for kernel in kernels.REGISTRY.kernels}
    for section in SECTIONS:
        for function in set(tables.get(section, {})) - known:
            del tables[section][function]


def _error(found: Fit, sample: Sample) -> float:
    """Relative."""
    estimate = sum(price * sample.work.get(name, 0.0) for name, price in found.prices.items())
    return estimate / sample.instructions - 1.0


# Where not all of a target's instruction sets are measured: those that are; and the table of the others.
OWN: dict[str, tuple[Isa, ...]] = {
    "cortex-m55": (Isa.PORTABLE, Isa.MVE),
    "cortex-m7": (),
    "cortex-m33": (),
    "riscv32imac": (),
}
BASE = {
    "cortex-m55": "cortex-m4",
    "cortex-m7": "cortex-m4",
    "cortex-m33": "cortex-m4",
    "riscv32imac": "riscv32imc",
}


def main() -> int:
    names = [target.name for target in list_targets() if target.emulator is not None]
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--targets", default=",".join(names), help="some of %(default)s")
    parser.add_argument("--kernels", default="", help="beginnings of C functions; default: all")
    parser.add_argument("--optimize", default="speed,size,shared", help="some of %(default)s")
    parser.add_argument("--dry-run", action="store_true", help="print, write nothing")
    arguments = parser.parse_args()
    console = Console(stderr=True, width=220)
    for name in arguments.targets.split(","):
        path = resources.targets_dir() / "costs" / f"{name}.toml"
        tables = tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        prefixes = arguments.kernels.split(",")
        target, modes = load_target(name), arguments.optimize.split(",")
        drop_unknown(tables)
        for _ in measure_target(target, tables, prefixes, modes, console):
            if not arguments.dry_run:
                path.parent.mkdir(exist_ok=True)
                path.write_text(table_text(target, tables, BASE.get(name)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
