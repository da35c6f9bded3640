"""A kernel: one way to compute one integer operator in C, and all the compiler must know about it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from dfqgen.fixedpoint.program import QOp, QTensor, Work
from dfqgen.kernels.rows import RowBlock, Segment
from dfqgen.targets import Isa

Array = npt.NDArray[Any]
OpT = TypeVar("OpT", bound=QOp)


@dataclass(frozen=True, slots=True, eq=False)
class ConstArray:
    """A `const` array in flash: its role in the layer ("weight"), its integers as the kernel reads them.

    The role is one word: with the layer's name before it, it is the C symbol.
    """

    role: str
    values: Array
    comment: str = ""

    @property
    def ctype(self) -> str:
        """C element type, from the numpy type."""
        return f"{self.values.dtype.name}_t"

    @property
    def size_bytes(self) -> int:
        return int(self.values.nbytes)


@dataclass(frozen=True, slots=True)
class Field:
    """One member of a layer's descriptor; members left out are zero or NULL.

    A str value is the role of one of the layer's ConstArrays and becomes its symbol, a tuple of
    integers an array, a tuple of fields a nested structure.
    """

    name: str
    value: int | float | str | tuple[int, ...] | tuple[Field, ...]
    comment: str = ""

    @property
    def words(self) -> int:
        """Numbers and addresses in it; nearly all members of descriptors are 32 bits wide."""
        if not isinstance(self.value, tuple):
            return 1
        return sum(item.words if isinstance(item, Field) else 1 for item in self.value)


@dataclass(frozen=True, slots=True, eq=False)
class LayerCode:
    """What the emitter writes for one layer.

    net_weights.c gets `arrays`; net.c gets `static const <struct> <layer> = {fields};` and the call
    `<function>(&<layer>, inputs..., output[, scratch]);` (scratch only when scratch_bytes > 0).
    `title` is a short description for the comment and the report ("3x3 convolution, stride 2").
    """

    function: str
    struct: str
    title: str
    fields: tuple[Field, ...]
    arrays: tuple[ConstArray, ...] = ()

    @property
    def array_bytes(self) -> int:
        """Of the arrays alone."""
        return sum(array.size_bytes for array in self.arrays)

    @property
    def constant_bytes(self) -> int:
        """Of the arrays and the descriptor."""
        return self.array_bytes + 4 * sum(item.words for item in self.fields)


class Kernel(ABC, Generic[OpT]):
    """One C function of runtime_c and when it may be used. Stateless; register in `dfqgen.kernels`.

    `header` is the file under runtime_c/ that defines the function (a `static` function whose first
    parameter is the layer's descriptor). `isa` is what the target must have.
    """

    op: ClassVar[type[QOp]]
    function: ClassVar[str]
    header: ClassVar[str]
    isa: ClassVar[Isa] = Isa.PORTABLE

    rows_at_once: ClassVar[int] = 1
    """Output rows it computes together: what a call for a few rows should ask for. 0: it keeps something from
    row to row, which makes such calls a waste.
    """
    spends_flash: ClassVar[bool] = False
    """Whether its constants are several times the layer's weights, for speed. Another kernel of the same
    instruction set can do whatever it can.
    """

    over_window: ClassVar[bool] = False
    """Whether, called for a few rows, it may write them over the first rows of its window."""

    @abstractmethod
    def supports(self, op: OpT, inputs: Sequence[QTensor], output: QTensor) -> bool:
        """Whether the function handles this shape and these types."""

    @abstractmethod
    def code(self, op: OpT, inputs: Sequence[QTensor], output: QTensor) -> LayerCode:
        """Descriptor and packed constants."""

    def scratch_bytes(self, op: OpT, inputs: Sequence[QTensor], output: QTensor) -> int:
        """Working memory while the layer runs, 16-byte aligned."""
        return 0

    def flash_bytes(self, op: OpT, inputs: Sequence[QTensor], output: QTensor) -> int:
        """About what its constants take, known without packing them."""
        return op.weight_bytes

    def overlap_lead_bytes(
        self, op: OpT, inputs: Sequence[QTensor], output: QTensor, index: int
    ) -> int | None:
        """How far below input `index` the output must start to be allowed to overwrite it, if it may at all.

        The kernel writes output byte j only when every input byte below dead(j) has been read for the
        last time; any placement with `input address - output address >= max_j(j + 1 - dead(j))` is then
        safe. 0 is exactly in place; None means the two must be disjoint. Never negative.
        """
        return None

    def work(self, op: OpT, inputs: Sequence[QTensor], output: QTensor) -> Work:
        """What a call's instructions may depend on; a target's cost table has the price of each."""
        return op.work(inputs, output)


@dataclass(frozen=True, slots=True)
class Selection:
    """Why a step has its kernel: of `candidates` that can do it, one with these `instructions` on the target;
    the fastest takes `fastest`. `measured`: by the target's own cost table.
    """

    candidates: int
    instructions: float
    fastest: float
    measured: bool


@dataclass(frozen=True, slots=True)
class SharedCode:
    """A copy of a kernel's code that several layers call, with what is the same in all of them as constants.

    `number` tells it from the plan's others. `instructions` are what the layer takes more than with its own.
    """

    number: int
    instructions: float


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One operator of the schedule with its kernel and its place in the arena (byte offsets).

    `block`: it runs row by row and the kernel is called for that; the offsets are those of bands. `shared`:
    it has no copy of its kernel's code of its own.
    """

    op: QOp
    kernel: Kernel[Any]
    inputs: tuple[QTensor, ...]
    output: QTensor
    input_offsets: tuple[int, ...]
    output_offset: int
    scratch_offset: int = 0
    scratch_bytes: int = 0
    selection: Selection | None = None
    block: RowBlock | None = None
    shared: SharedCode | None = None

    @property
    def code(self) -> LayerCode:
        called = self if self.block is None else self.block
        return self.kernel.code(called.op, called.inputs, called.output)


def input_names(step: Step) -> list[str]:
    """What a step's inputs are called in C."""
    return [f"x{number}" for number, _ in enumerate(step.inputs)] if len(step.inputs) > 1 else ["x"]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A schedule with every buffer placed. `offsets` holds all tensors, graph inputs and outputs included.

    `lower_bound_bytes` is the largest sum of bytes alive at once in this order, without any overlap
    of an operator's output with its inputs; the arena may be smaller where kernels allow overlap.
    Of the steps of `segments`, in order, `offsets` tells where the bands are. `feeds`: the source of the
    first one is an input whose rows may come one by one, since nothing reads it later.
    """

    steps: tuple[Step, ...]
    offsets: dict[str, int]
    arena_bytes: int
    lower_bound_bytes: int
    segments: tuple[Segment, ...] = ()
    feeds: bool = False

    @property
    def array_bytes(self) -> int:
        """Of all layers' arrays, in flash."""
        return sum(step.code.array_bytes for step in self.steps)

    @property
    def rows_in(self) -> Segment | None:
        """The segment that may begin before all rows of its source are there."""
        return self.segments[0] if self.feeds else None


@dataclass(frozen=True, slots=True)
class Registry:
    """The kernels of dfqgen, by operator."""

    kernels: list[Kernel[Any]] = field(default_factory=list)

    def add(self, kernel: Kernel[Any]) -> Kernel[Any]:
        self.kernels.append(kernel)
        return kernel

    def candidates(
        self, op: QOp, inputs: Sequence[QTensor], output: QTensor, isas: Sequence[Isa]
    ) -> list[Kernel[Any]]:
        """Kernels that can compute `op` on a core with these instruction sets, as they were registered."""
        return [
            kernel
            for kernel in self.kernels
            if kernel.op is type(op) and kernel.isa in isas and kernel.supports(op, inputs, output)
        ]


REGISTRY = Registry()
"""Every kernel; `dfqgen.kernels` fills it."""


def channel_array(role: str, values: Array, dtype: str, comment: str = "") -> ConstArray:
    """A ConstArray of one value a channel in a C integer type; raises OverflowError when it does not fit."""
    info = np.iinfo(dtype)
    if values.min(initial=0) < info.min or values.max(initial=0) > info.max:
        raise OverflowError(f"{role} does not fit {dtype}")
    return ConstArray(role, values.astype(dtype), comment)
