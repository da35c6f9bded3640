"""The fixed-point IR: a straight list of integer operators over named tensors.

Every operator is a frozen dataclass (`dfqgen.ops`) that knows its exact integer meaning. Running
them in order with numpy is the specification: every kernel on every target equals it on every bit.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, overload

import numpy as np

from dfqgen.errors import ProgramError, UserError
from dfqgen.fixedpoint.qtype import Array, IntType, QType
from dfqgen.fixedpoint.rows import RowWindow
from dfqgen.notebook import html_table

INT32_MAX = (1 << 31) - 1

Work = dict[str, float]
"""How much of each quantity a kernel's time may depend on."""


@dataclass(frozen=True, slots=True)
class QTensor:
    """An activation: NHWC shape (batch 1) and how its integers map to reals."""

    name: str
    shape: tuple[int, ...]
    qtype: QType

    @property
    def elements(self) -> int:
        return int(np.prod(self.shape))

    @property
    def size_bytes(self) -> int:
        return self.elements * (self.qtype.dtype.bits // 8)

    def verify(self) -> None:
        """Check that kernels can hold and index it. Raises ProgramError."""
        dtype = self.qtype.dtype
        if dtype not in (IntType.INT8, IntType.INT16, IntType.INT32, IntType.FLOAT32):
            raise ProgramError(f"{self.name}: activations are int8 or int16, not {dtype}")
        if not dtype.minimum <= self.qtype.zero_point <= dtype.maximum:
            raise ProgramError(f"{self.name}: the zero point {self.qtype.zero_point} is no {dtype}")
        if not 0.0 < self.qtype.scale < math.inf:
            raise ProgramError(f"{self.name}: the scale {self.qtype.scale} is not positive and finite")
        if not self.shape or self.shape[0] != 1 or min(self.shape) < 1:
            raise ProgramError(f"{self.name}: {self.shape} is no shape of one sample")
        if math.prod(self.shape) > INT32_MAX:
            raise ProgramError(f"{self.name}: {self.shape} has more elements than an int32 can count")


class QOp(ABC):
    """An integer operator: `output = op(*inputs)`. `name` is the source layer's (untrusted text).

    Subclasses are frozen dataclasses whose first three fields are `name`, `inputs`, `output`; all
    other fields are attributes and constants (numpy arrays). They register themselves by class
    name, which is also the operator's name in the text and JSON forms.
    """

    registry: ClassVar[dict[str, type[QOp]]] = {}

    arity: ClassVar[int | None] = 1
    """How many inputs; None for any number."""
    takes: ClassVar[tuple[IntType, ...]] = (IntType.INT8, IntType.INT16)
    gives: ClassVar[tuple[IntType, ...]] = (IntType.INT8, IntType.INT16)
    """Types that inputs, and outputs, may have; which of them go together `verify` says."""

    name: str
    inputs: tuple[str, ...]
    output: str

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # A dataclass with slots is created twice; the second one is the one that lives.
        QOp.registry[cls.__name__] = cls

    @abstractmethod
    def evaluate(self, *inputs: Array) -> Array:
        """Exact integer meaning, in numpy; axis 0 is the batch."""

    @abstractmethod
    def verify(self, inputs: tuple[QTensor, ...], output: QTensor) -> None:
        """Check shapes and types, and prove that no int32 in a kernel can overflow.

        Raises ProgramError with the reason.
        """

    def row_window(self, inputs: Sequence[QTensor], output: QTensor) -> RowWindow | None:
        """How it works row by row on images [1,H,W,C]; None where it cannot: an output row needs them all.

        Rows lie along `row_axis` of its tensors, which must be the same of all.
        """
        return None

    def of_rows(self, count: int, axis: int) -> QOp:
        """The same operator for a block of `count` output rows, its window's rows there, padding and all.

        Its tensors have other numbers of rows, along `axis`; it stands where `row_window` is not None.
        """
        return self

    def view_bytes(self, inputs: Sequence[QTensor], output: QTensor) -> tuple[int, ...] | None:
        """How many bytes behind the first one of the output each input begins, where the output's bytes are
        those of the inputs, one input after the other; None where it must be computed or copied.
        """
        return None

    def heard(self) -> tuple[int, int] | None:
        """The least and the largest integer of its input that it tells apart, where types hold many more."""
        return None

    def macs(self, output: QTensor) -> int:
        """Multiply-accumulates to compute an output of this shape; 0 but for the linear operators."""
        return 0

    def work(self, inputs: Sequence[QTensor], output: QTensor) -> Work:
        """Counts by name. A cost table gives a kernel instructions for a few of them; the rest cost nothing.

        `tile_` counts are rounded up to blocks of pixels, channels and depth that kernels work in, so that
        what a block wastes at the edge of a small layer counts.
        """
        work: Work = {"call": 1.0, "output": float(output.elements)}
        if len(output.shape) == 4:
            work |= {"row": float(output.shape[1]), "pixel": float(output.shape[1] * output.shape[2])}
        if len(inputs) == 1:
            work["input"] = float(inputs[0].elements)
        return work

    @property
    def clamp(self) -> tuple[Array, Array] | None:
        """Smallest and largest integers that come out, [C] or [1] each; None without a clamp of its own."""
        return None

    @property
    def weights(self) -> tuple[tuple[Array, IntType], ...]:
        """The integers that were learned, and how wide they are; none but of layers with weights."""
        return ()

    @property
    def weight_bytes(self) -> int:
        """Flash of the constants as the IR stores them: packed weights, int32 biases and multipliers."""
        return 0


@dataclass(frozen=True, slots=True)
class QPort:
    """A program input or output; `permutation` as in `graph.Port`."""

    name: str
    tensor: str
    permutation: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class QState:
    """What a network keeps from one step to the next: after each, `output` becomes `input`. Zero at first."""

    name: str
    input: str
    output: str


@dataclass(frozen=True, eq=False)
class Program:
    """Integer operators in execution order, and the type of every tensor.

    Tensors of `states` are inputs and outputs besides the ports.
    """

    name: str
    inputs: tuple[QPort, ...]
    outputs: tuple[QPort, ...]
    tensors: Mapping[str, QTensor]
    ops: tuple[QOp, ...]
    states: tuple[QState, ...] = ()

    def __repr__(self) -> str:
        def words(ports: tuple[QPort, ...]) -> str:
            found = ((port.name, self.tensors[port.tensor]) for port in ports)
            return ", ".join(f"{name} {list(tensor.shape)} {tensor.qtype.dtype}" for name, tensor in found)

        size = f"{len(self.ops)} layers, {self.macs:,} MACs, {self.weight_bytes:,} bytes of constants"
        return f"<Program {self.name}: {words(self.inputs)} -> {words(self.outputs)}, {size}>"

    def _repr_html_(self) -> str:
        rows = []
        for op in self.ops:
            y = self.tensors[op.output]
            kind = type(op).__name__.removeprefix("Q")
            rows.append(
                (op.name, kind, list(y.shape), y.qtype.dtype, f"{y.qtype.scale:.4g}", op.weight_bytes)
            )
        return html_table(repr(self), ("layer", "operator", "output", "type", "scale", "constants"), rows)

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """The tensors that are there before the first operator."""
        return (*(port.tensor for port in self.inputs), *(state.input for state in self.states))

    @cached_property
    def results(self) -> tuple[str, ...]:
        """The tensors that are wanted after the last operator: outputs, and new states."""
        return (*(port.tensor for port in self.outputs), *(state.output for state in self.states))

    @cached_property
    def producers(self) -> Mapping[str, QOp]:
        return {op.output: op for op in self.ops}

    def tensors_of(self, op: QOp) -> tuple[tuple[QTensor, ...], QTensor]:
        """The input and output types of an operator."""
        return tuple(self.tensors[name] for name in op.inputs), self.tensors[op.output]

    @property
    def macs(self) -> int:
        return sum(op.macs(self.tensors[op.output]) for op in self.ops)

    @property
    def weight_bytes(self) -> int:
        return sum(op.weight_bytes for op in self.ops)

    def verify(self) -> None:
        """Check that the program is well formed and cannot overflow. Raises ProgramError."""
        for tensor in self.tensors.values():
            tensor.verify()
        known = set(self.sources)
        for name in known - self.tensors.keys():
            raise ProgramError(f"input {name!r} has no type")
        if len(known) != len(self.sources):
            raise ProgramError("two inputs or states are one tensor")
        for op in self.ops:
            for name in op.inputs:
                if name not in known:
                    raise ProgramError(f"{op.name}: reads {name!r} before it is written")
            if op.arity is not None and len(op.inputs) != op.arity:
                raise ProgramError(f"{op.name}: has {len(op.inputs)} inputs, not {op.arity}")
            if op.output not in self.tensors:
                raise ProgramError(f"{op.name}: {op.output!r} has no type")
            if op.output in known:
                raise ProgramError(f"{op.name}: writes {op.output!r} a second time")
            known.add(op.output)
            inputs, output = self.tensors_of(op)
            for tensors, known_types in ((inputs, op.takes), ((output,), op.gives)):
                for tensor in tensors:
                    if tensor.qtype.dtype not in known_types:
                        raise ProgramError(f"{op.name}: {tensor.name!r} cannot be {tensor.qtype.dtype}")
            op.verify(inputs, output)
        for port in self.outputs:
            if port.tensor not in known:
                raise ProgramError(f"output {port.name!r} is never written")
        for state in self.states:
            if state.output not in self.producers:
                raise ProgramError(f"the new state {state.name!r} is never written")
            before, after = self.tensors[state.input], self.tensors[state.output]
            if (before.shape, before.qtype) != (after.shape, after.qtype):
                raise ProgramError(f"the state {state.name!r} is {before}, and {after} after a step")

    @overload
    def run(
        self, inputs: Mapping[str, Array], watch: Callable[[QOp, Array], None] | None = None
    ) -> dict[str, Array]: ...

    @overload
    def run(self, inputs: Array, watch: None = None) -> Array: ...

    def run(
        self,
        inputs: Mapping[str, Array] | Array,
        watch: Callable[[QOp, Array], None] | None = None,
    ) -> dict[str, Array] | Array:
        """Interpret on integer arrays [N, ...] by input tensor, states among them; gives outputs and states.

        One step for each of N samples. `watch` sees (operator, output) as each is computed.

        For a program of one input and one output also on one array [N, ...], channels last: integers give
        integers, floats (as the float network sees them) floats; with states the samples are a sequence.
        Raises UserError for an array of another shape.
        """
        if isinstance(inputs, np.ndarray):
            return self._run_array(inputs)
        values = {name: inputs[name] for name in self.sources}
        outputs = set(self.results)
        remaining: dict[str, int] = {}
        for op in self.ops:
            for name in op.inputs:
                remaining[name] = remaining.get(name, 0) + 1
        for op in self.ops:
            result = op.evaluate(*(values[name] for name in op.inputs))
            result = result.astype(self.tensors[op.output].qtype.dtype.carrier)
            if watch is not None:
                watch(op, result)
            values[op.output] = result
            for name in op.inputs:
                remaining[name] -= 1
                if not remaining[name] and name not in outputs:
                    del values[name]
        return {name: values[name] for name in outputs}

    def _run_array(self, x: Array) -> Array:
        if len(self.inputs) != 1 or len(self.outputs) != 1:
            names = ", ".join(repr(port.tensor) for port in self.inputs)
            raise UserError(
                f"{self.name} has not one input and one output", f"Give a dict of {names} to arrays."
            )
        source, result = self.tensors[self.inputs[0].tensor], self.tensors[self.outputs[0].tensor]
        if x.shape[1:] != source.shape[1:]:
            raise UserError(f"{self.name} takes samples of shape {source.shape[1:]}, not {x.shape[1:]}")
        real, dtype = x.dtype.kind == "f", source.qtype.dtype
        if not real and (x.min(initial=0) < dtype.minimum or x.max(initial=0) > dtype.maximum):
            raise UserError(f"{self.name} takes {dtype}, and these integers go from {x.min()} to {x.max()}")
        found = self.play({source.name: source.qtype.quantize(x) if real else x.astype(dtype.carrier)})
        return result.qtype.dequantize(found[result.name]) if real else found[result.name]

    def steps(
        self,
        inputs: Mapping[str, Array],
        watch: Callable[[QOp, Array], None] | None = None,
    ) -> Iterator[dict[str, Array]]:
        """The samples [N, ...] one after the other, as C runs them: states begin at zero and go on."""
        state = self.reset()
        for i in range(len(next(iter(inputs.values())))):
            found = self.run({name: value[i : i + 1] for name, value in inputs.items()} | state, watch)
            state = {kept.input: found[kept.output] for kept in self.states}
            yield {port.tensor: found[port.tensor] for port in self.outputs}

    def play(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by tensor for N samples, [N, ...]; where there are states, a sequence from zero on."""
        if not self.states:
            return self.run(inputs)
        steps = list(self.steps(inputs))
        return {name: np.concatenate([step[name] for step in steps]) for name in steps[0]}

    def reset(self) -> dict[str, Array]:
        """The states before the first step."""
        tensors = [self.tensors[state.input] for state in self.states]
        return {t.name: np.full(t.shape, t.qtype.zero_point, t.qtype.dtype.carrier) for t in tensors}
