"""Sums, tables and pooling on Helium: other functions for the descriptors of the portable kernels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dfqgen.fixedpoint.program import QTensor
from dfqgen.kernels.base import REGISTRY
from dfqgen.kernels.portable.elementwise import AddS8Kernel, LookupS8Kernel
from dfqgen.kernels.portable.pool import AveragePoolS8Kernel, MaxPoolS8Kernel
from dfqgen.ops.add import QAdd
from dfqgen.ops.lookup import QLookup
from dfqgen.ops.pool import QAveragePool, QMaxPool
from dfqgen.targets import Isa


class AddS8MveKernel(AddS8Kernel):
    """Four elements at a time in 32 bits."""

    function = "dfq_add_s8_mve"
    header = "mve/dfq_elementwise_s8_mve.h"
    isa = Isa.MVE

    def supports(self, op: QAdd, inputs: Sequence[QTensor], output: QTensor) -> bool:
        uniform = bool(np.all(op.lo == op.lo[0]) and np.all(op.hi == op.hi[0]))
        return super().supports(op, inputs, output) and uniform

    def cost(self, op: QAdd, inputs: Sequence[QTensor], output: QTensor) -> float:
        return 2.3 * output.elements + 40.0


class LookupS8MveKernel(LookupS8Kernel):
    """Gather loads of 16 entries."""

    function = "dfq_lookup_s8_mve"
    header = "mve/dfq_elementwise_s8_mve.h"
    isa = Isa.MVE

    def cost(self, op: QLookup, inputs: Sequence[QTensor], output: QTensor) -> float:
        return 0.32 * output.elements + 30.0


class AveragePoolS8MveKernel(AveragePoolS8Kernel):
    """Four channels at a time."""

    function = "dfq_average_pool_s8_mve"
    header = "mve/dfq_pool_s8_mve.h"
    isa = Isa.MVE

    def cost(self, op: QAveragePool, inputs: Sequence[QTensor], output: QTensor) -> float:
        pixels = output.shape[1] * output.shape[2]
        vectors = -(-output.shape[3] // 4)
        return pixels * (60.0 + vectors * (25.0 + op.kernel[0] * (6.0 + 5.0 * op.kernel[1])))


class MaxPoolS8MveKernel(MaxPoolS8Kernel):
    """Sixteen channels at a time."""

    function = "dfq_max_pool_s8_mve"
    header = "mve/dfq_pool_s8_mve.h"
    isa = Isa.MVE

    def cost(self, op: QMaxPool, inputs: Sequence[QTensor], output: QTensor) -> float:
        pixels = output.shape[1] * output.shape[2]
        vectors = -(-output.shape[3] // 16)
        return pixels * (60.0 + vectors * (15.0 + op.kernel[0] * (6.0 + 5.0 * op.kernel[1])))


REGISTRY.add(AddS8MveKernel())
REGISTRY.add(LookupS8MveKernel())
REGISTRY.add(AveragePoolS8MveKernel())
REGISTRY.add(MaxPoolS8MveKernel())
