"""Instructions a multiply-accumulate of recurrent layers, all included, beside a fully connected one.

    python bench/recurrent_layers.py [--targets cortex-m4,cortex-m55]

Counted in QEMU, one layer a firmware, with the kernel that is fastest on the target.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
from cost_cases import Case, cases
from cost_cases_recurrent import layer, recurrent_case
from cost_table import measure

from dfqgen import kernels
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.ops.conv import QConv2D
from dfqgen.targets import Target, load_target

SIZES = (
    ("lstm", 10, 40, 128, 8),
    ("gru_after", 10, 40, 128, 8),
    ("rnn", 10, 40, 128, 8),
    ("lstm", 12, 16, 64, 8),
    ("lstm", 10, 40, 128, 4),
    ("lstm", 10, 40, 128, 2),
)
"""Kind, steps, features, units and bits of weights."""
DENSE = ((1, 1, 1, 128), (1, 1, 1, 64))
"""Shapes of the fully connected layer, of those in cost_cases.py."""


def subjects() -> Iterator[tuple[str, Case]]:
    rng = np.random.default_rng(0)
    for kind, steps, features, units, bits in SIZES:
        op = layer(kind, rng, features, units)
        case = recurrent_case(
            f"{kind}{units}", op, steps, features, IntType(bits), from_states=False, odd=False
        )
        yield f"{kind}, {units} units, {features} features, {steps} steps, {bits}-bit weights", case
    dense = next(
        case
        for case in cases(power_of_two=False)
        if isinstance(case.op, QConv2D) and (case.inputs[0].shape, case.output.shape) == DENSE
    )
    yield "fully connected, 128 inputs, 64 outputs", dense


def instructions(case: Case, target: Target) -> int:
    """Of the fastest kernel that the target has for it."""
    able = [
        kernel
        for kernel in kernels.REGISTRY.kernels
        if kernel.op is type(case.op)
        and kernel.isa in target.isas
        and kernel.supports(case.op, case.inputs, case.output)
    ]
    return min(measure([(kernel, case)], target, "speed")[0][0].instructions for kernel in able)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--targets", default="cortex-m4,cortex-m55")
    targets = parser.parse_args().targets.split(",")
    print(f"| layer | {' | '.join(targets)} |")
    print("| --- " + "| --: " * len(targets) + "|")
    for name, case in subjects():
        each = (instructions(case, load_target(target)) / case.op.macs(case.output) for target in targets)
        print(f"| {name} | {' | '.join(f'{value:.2f}' for value in each)} |", flush=True)


if __name__ == "__main__":
    main()
