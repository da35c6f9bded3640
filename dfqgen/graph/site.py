"""What an operator sees when it is lowered to integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dfqgen.errors import ProgramError
from dfqgen.fixedpoint.program import QTensor
from dfqgen.fixedpoint.qtype import IntType

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class QuantizedWeight:
    """Integers (int8 carrier, the weight's shape) with `real = scale[output channel] * integer`."""

    values: Array
    scale: Array
    dtype: IntType = IntType.INT8

    def dequantize(self) -> Array:
        """The reals these integers stand for, float64."""
        return self.values * self.scale.reshape((-1,) + (1,) * (self.values.ndim - 1))


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """One node about to become integer operators.

    `clip` is the fused activation in real units: (lo, hi), each [channels] or [1], infinite where it
    does not clip. `weight` is the node's weight as integers, None for operators without one, or that make
    them here: of `weight_type`. `stated`: the model states the types of all its tensors, so the integers
    should be those that it has in mind.
    """

    name: str
    inputs: tuple[QTensor, ...]
    output: QTensor
    clip: tuple[Array, Array]
    weight: QuantizedWeight | None = None
    weight_type: IntType = IntType.INT8
    stated: bool = False

    @property
    def input_names(self) -> tuple[str, ...]:
        return tuple(tensor.name for tensor in self.inputs)

    def integer_bounds(self) -> tuple[Array, Array]:
        """The fused activation as bounds on the output integers, int64, [channels] or [1]."""
        qtype = self.output.qtype

        def bound(real: Array) -> Array:
            q = np.asarray(real, np.float64) / qtype.scale
            q = np.clip(q, -(2.0**31), 2.0**31)  # infinities
            integers = np.floor(q + 0.5).astype(np.int64) + qtype.zero_point
            return np.clip(integers, qtype.dtype.minimum, qtype.dtype.maximum)

        return bound(self.clip[0]), bound(self.clip[1])

    def one_clip(self) -> tuple[int, int]:
        """`integer_bounds` of an operator that has one pair for all channels. Raises ProgramError."""
        lo, hi = self.integer_bounds()
        if lo.size > 1 or hi.size > 1:
            raise ProgramError(f"{self.name}: a clip per channel must follow a convolution")
        return int(lo[0]), int(hi[0])
