"""Single layers of the project's list, beside CMSIS-NN: quoted figures, and those of a checkout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from cost_cases import TYPE, Case, convolution

from dfqgen.fixedpoint.program import Program, QPort, QTensor
from dfqgen.ops.add import QAdd
from dfqgen.ops.windows import NO_PADS, Pads


@dataclass(frozen=True, slots=True)
class SingleLayer:
    """A layer, and CMSIS-NN's instructions per MAC (or element of a sum) as the project quotes them."""

    name: str
    quoted: dict[str, float]


LAYERS = (
    SingleLayer("1x1, 24x24x64 to 64", {"cortex-m4": 2.06, "cortex-m55": 0.393}),
    SingleLayer("1x1, 24x24x16 to 32", {"cortex-m4": 3.96, "cortex-m55": 1.07}),
    SingleLayer("3x3, 32x32x16 to 16", {"cortex-m4": 2.33, "cortex-m55": 0.388}),
    SingleLayer("3x3 stride 2, 96x96x3 to 8", {"cortex-m4": 6.16, "cortex-m55": 1.99}),
    SingleLayer("depthwise 3x3, 24x24x64", {"cortex-m4": 8.70, "cortex-m55": 2.30}),
    SingleLayer("fully connected, 640 to 128", {"cortex-m4": 1.95, "cortex-m55": 0.49}),
    SingleLayer("sum, 32x32x16", {"cortex-m4": 81.0}),
)


def layers_program() -> Program:
    """All of them side by side, in the order of LAYERS; operators are named l0, l1 ..."""
    rng = np.random.default_rng(0)
    same = Pads(1, 1, 1, 1)
    cases = [
        convolution(rng, "l0", (24, 24), (64, 64), (1, 1), 1, NO_PADS),
        convolution(rng, "l1", (24, 24), (16, 32), (1, 1), 1, NO_PADS),
        convolution(rng, "l2", (32, 32), (16, 16), (3, 3), 1, same),
        convolution(rng, "l3", (96, 96), (3, 8), (3, 3), 2, Pads(0, 0, 1, 1)),
        convolution(rng, "l4", (24, 24), (64, 64), (3, 3), 1, same, groups=64),
        convolution(rng, "l5", (1, 1), (640, 128), (1, 1), 1, NO_PADS),
        sum_case("l6", (1, 32, 32, 16)),
    ]
    return program_of("layers", cases)


def program_of(name: str, cases: Sequence[Case]) -> Program:
    """Cases side by side."""
    tensors = {tensor.name: tensor for case in cases for tensor in (*case.inputs, case.output)}
    return Program(
        name,
        tuple(QPort(tensor.name, tensor.name) for case in cases for tensor in case.inputs),
        tuple(QPort(case.output.name, case.output.name) for case in cases),
        tensors,
        tuple(case.op for case in cases),
    )


def sum_case(name: str, shape: tuple[int, ...]) -> Case:
    """A sum of two tensors of one shape."""
    a, b, y = (QTensor(f"{name}_{which}", shape, TYPE) for which in "aby")
    lo, hi = np.full(shape[-1], -128), np.full(shape[-1], 127)
    shift = 14
    multipliers = (9000, 7000)
    # (a - zp) m0 + (b - zp) m1 + zp, rounded
    offset = (TYPE.zero_point << shift) - sum(multipliers) * TYPE.zero_point + (1 << (shift - 1))
    return Case(QAdd(name, (a.name, b.name), y.name, multipliers, offset, shift, lo, hi), (a, b), y)


def work_units(program: Program, index: int) -> int:
    """What a layer's instructions are divided by: MACs, or elements where there are none."""
    op = program.ops[index]
    output = program.tensors[op.output]
    return op.macs(output) or output.elements
