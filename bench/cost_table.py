"""Measure what every kernel takes on emulated targets, and write targets/costs/<target>.toml.

    python bench/cost_table.py [--targets cortex-m4,cortex-m3] [--kernels dfq_dsp_conv2d] [--dry-run]

For each kernel: all layers of bench/cost_cases.py that it supports, in one firmware; exact instructions of
each; and a fit of a few prices, never negative, to the counts of `Kernel.work`, which minimizes relative
errors. Run it when a kernel has changed. Prints the mean and the largest error of every fit.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cost_cases import Case, cases
from rich.console import Console
from scipy.optimize import nnls

from dfqgen import kernels, resources
from dfqgen.emit.package import emit, write_folder
from dfqgen.fixedpoint.program import Program, QPort
from dfqgen.kernels.base import Kernel, Registry
from dfqgen.plan import plan_program
from dfqgen.targets import Target, list_targets, load_target
from dfqgen.verify.firmware import binutil, build_firmware, run_tool
from dfqgen.verify.profile import profile_firmware

MAX_PRICES = 6
WORTH = 0.12
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


def program_of(some: Sequence[Case]) -> Program:
    """All cases side by side."""
    tensors = {tensor.name: tensor for case in some for tensor in (*case.inputs, case.output)}
    return Program(
        NAME,
        tuple(QPort(tensor.name, tensor.name) for case in some for tensor in case.inputs),
        tuple(QPort(case.output.name, case.output.name) for case in some),
        tensors,
        tuple(case.op for case in some),
    )


def measure(
    kernel: Kernel[Any], some: Sequence[Case], target: Target, optimize: str
) -> tuple[list[Sample], dict[str, int]]:
    """Samples of a kernel, and the bytes of its C functions."""
    program = program_of(some)
    plan = plan_program(program, target, registry=Registry([kernel]), optimize=optimize)
    mode = "size" if optimize == "size" else "speed"
    with tempfile.TemporaryDirectory(prefix="dfqgen-cost-") as name:
        folder = Path(name) / "out"
        write_folder(emit(program, plan, target, optimize=mode), folder)
        profile = profile_firmware(folder, target)
        code = {}
        if optimize == "size":
            elf = build_firmware(folder, target, Path(name))
            code = code_bytes(elf.parent / "network" / f"{NAME}.o", target)
    if profile.wrong_values:
        raise SystemExit(f"{kernel.function} on {target.name}: {profile.wrong_values} values are wrong")
    counted = {layer.name: layer.instructions for layer in profile.layers}
    samples = [Sample(kernel.work(case.op, case.inputs, case.output), counted[case.op.name]) for case in some]
    return samples, code


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
    limit = min(MAX_PRICES, max(1, len(samples) - 1))
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


def table_text(
    target: Target, fits: dict[str, dict[str, Fit]], code: dict[str, dict[str, int]], compiler: str
) -> str:
    """The TOML file."""
    lines = [
        f"# Written by bench/cost_table.py: what {target.name}'s kernels take by their work, in instructions",
        f"# counted in QEMU, {compiler}. In comments: layers measured, mean and largest error of the fit.",
    ]
    for optimize in ("speed", "size"):
        for function, found in sorted(fits[optimize].items()):
            lines.append("")
            lines.append(f"[{optimize}.{function}]  # {found.samples}: {_percent(found)}")
            lines += [f"{name} = {price:.5g}" for name, price in sorted(found.prices.items())]
    for function, sizes in sorted(code.items()):
        lines += ["", f"[code_bytes.{function}]"]
        lines += [f"{_key(name)} = {size}" for name, size in sorted(sizes.items())]
    return "\n".join(lines) + "\n"


def _error(found: Fit, sample: Sample) -> float:
    """Relative."""
    estimate = sum(price * sample.work.get(name, 0.0) for name, price in found.prices.items())
    return estimate / sample.instructions - 1.0


def _key(name: str) -> str:
    return name if name.replace("_", "").isalnum() else f'"{name}"'


def _percent(found: Fit) -> str:
    return f"{100 * found.mean_error:.1f} %, {100 * found.largest_error:.1f} %"


def measure_target(target: Target, only: Sequence[str], console: Console) -> str:
    """Fits of all kernels of a target."""
    everything = cases(power_of_two=target.scales == "power-of-two")
    fits: dict[str, dict[str, Fit]] = {"speed": {}, "size": {}}
    code: dict[str, dict[str, int]] = {}
    for kernel in kernels.REGISTRY.kernels:
        if kernel.isa not in target.isas or (only and kernel.function not in only):
            continue
        some = [
            case
            for case in everything
            if kernel.op is type(case.op) and kernel.supports(case.op, case.inputs, case.output)
        ]
        if len(some) < 3:
            continue
        for optimize in ("speed", "size"):
            samples, sizes = measure(kernel, some, target, optimize)
            found = fits[optimize][kernel.function] = fit(samples)
            prices = ", ".join(f"{name} {price:.3g}" for name, price in found.prices.items())
            worst = max(zip(some, samples, strict=True), key=lambda pair: abs(_error(found, pair[1])))
            console.print(f"{target.name} {kernel.function} {optimize}: {_percent(found)}; {prices}")
            console.print(
                f"    worst: {worst[0].op.name}, {worst[0].inputs[0].shape} -> {worst[0].output.shape}"
            )
            if sizes:
                code[kernel.function] = sizes
    version = run_tool(target.compiler.command, ["-dumpversion"], "no compiler").strip()
    return table_text(
        target, fits, code, f"GCC {version} {target.compiler.speed[0]} and {target.compiler.size[0]}"
    )


def main() -> int:
    names = [target.name for target in list_targets() if target.emulator is not None]
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--targets", default=",".join(names), help="some of %(default)s")
    parser.add_argument("--kernels", default="", help="only these C functions (implies --dry-run)")
    parser.add_argument("--dry-run", action="store_true", help="print, write nothing")
    arguments = parser.parse_args()
    only = [name for name in arguments.kernels.split(",") if name]
    console = Console(stderr=True, width=200)
    for name in arguments.targets.split(","):
        text = measure_target(load_target(name), only, console)
        if not only and not arguments.dry_run:
            path = resources.targets_dir() / "costs" / f"{name}.toml"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
