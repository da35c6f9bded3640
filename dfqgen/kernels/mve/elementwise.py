"""Sums, products, tables and pooling on Helium: functions for the descriptors of the portable kernels."""

from __future__ import annotations

from collections.abc import Sequence

from dfqgen.fixedpoint.program import QTensor
from dfqgen.kernels.base import REGISTRY
from dfqgen.kernels.portable.broadcast import MultiplyS8Kernel
from dfqgen.kernels.portable.elementwise import AddS8Kernel, LookupS8Kernel
from dfqgen.kernels.portable.pool import AveragePoolS8Kernel, MaxPoolS8Kernel
from dfqgen.kernels.portable.wide import AddS16Kernel
from dfqgen.kernels.portable.wide_pairs import MultiplyS16Kernel
from dfqgen.kernels.requantize import one_clamp
from dfqgen.ops.add import QAdd
from dfqgen.ops.pool import QAveragePool
from dfqgen.targets import Isa


class AddS8MveKernel(AddS8Kernel):
    """Four elements at a time in 32 bits."""

    function = "dfq_add_s8_mve"
    header = "mve/dfq_elementwise_s8_mve.h"
    isa = Isa.MVE

    def supports(self, op: QAdd, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return super().supports(op, inputs, output) and one_clamp(op.lo, op.hi)


class AddS16MveKernel(AddS16Kernel):
    """Four elements at a time, where products are upper words."""

    function = "dfq_add_s16_mve"
    header = "mve/dfq_add_s16_mve.h"
    isa = Isa.MVE

    def supports(self, op: QAdd, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return super().supports(op, inputs, output) and one_clamp(op.lo, op.hi) and op.dropped > 0


class MultiplyS8MveKernel(MultiplyS8Kernel):
    """Four elements at a time in 32 bits."""

    function = "dfq_multiply_s8_mve"
    header = "mve/dfq_elementwise_s8_mve.h"
    isa = Isa.MVE


class MultiplyS16MveKernel(MultiplyS16Kernel):
    """Four elements at a time in 32 bits."""

    function = "dfq_multiply_s16_mve"
    header = "mve/dfq_multiply_s16_mve.h"
    isa = Isa.MVE


class LookupS8MveKernel(LookupS8Kernel):
    """Gather loads of 16 entries."""

    function = "dfq_lookup_s8_mve"
    header = "mve/dfq_elementwise_s8_mve.h"
    isa = Isa.MVE


class AveragePoolS8MveKernel(AveragePoolS8Kernel):
    """Four channels at a time."""

    function = "dfq_average_pool_s8_mve"
    header = "mve/dfq_pool_s8_mve.h"
    isa = Isa.MVE

    def supports(self, op: QAveragePool, inputs: Sequence[QTensor], output: QTensor) -> bool:
        return super().supports(op, inputs, output) and not op.even_count


class MaxPoolS8MveKernel(MaxPoolS8Kernel):
    """Sixteen channels at a time."""

    function = "dfq_max_pool_s8_mve"
    header = "mve/dfq_pool_s8_mve.h"
    isa = Isa.MVE


REGISTRY.add(AddS8MveKernel())
REGISTRY.add(AddS16MveKernel())
REGISTRY.add(MultiplyS8MveKernel())
REGISTRY.add(MultiplyS16MveKernel())
REGISTRY.add(LookupS8MveKernel())
REGISTRY.add(AveragePoolS8MveKernel())
REGISTRY.add(MaxPoolS8MveKernel())
