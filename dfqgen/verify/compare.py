"""How close integers are to the float network: SQNR, largest error, top-1, accuracy; per layer too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from dfqgen.errors import UserError
from dfqgen.fixedpoint.program import Program, QOp
from dfqgen.fixedpoint.qtype import IntType, QType
from dfqgen.graph.ir import Array, Graph, Node
from dfqgen.ops.argmax import QArgMax
from dfqgen.ops.log_softmax import QLogSoftmax
from dfqgen.ops.lookup import symmetric
from dfqgen.ops.movement import QReshape, QTranspose
from dfqgen.ops.softmax import QSoftmax, QWideSoftmax, probability
from dfqgen.statistics.silence import STEPS
from dfqgen.verify.spread import Spread, SpreadMeter

STEPS_OFF = 4
"""Of 8 bits: twice as far as the rounding of what enters a sigmoid, and of its output, brings it alone."""

Runner = Callable[[Mapping[str, Array]], Mapping[str, Array]]
"""Arrays [N, ...] by input tensor -> arrays [N, ...] by output tensor."""


class ErrorMeter:
    """Signal and error energy of a tensor, batch by batch.

    `undefined` counts the values that are infinite or NaN in the reference: the logarithm of zero has no
    distance from an integer. They are left out of everything else.
    """

    def __init__(self) -> None:
        self.values = 0
        self.undefined = 0
        self.total = 0.0
        self.signal = 0.0
        self.error = 0.0
        self.largest = 0.0

    def add(self, reference: Array, value: Array) -> None:
        exact = reference.astype(np.float64)
        self.values += exact.size
        difference = value.astype(np.float64) - exact
        finite = np.isfinite(difference)
        if not finite.all():
            self.undefined += int(np.count_nonzero(~finite))
            exact, difference = exact[finite], difference[finite]
        self.total += float(np.sum(exact))
        self.signal += float(np.sum(exact**2))
        self.error += float(np.sum(difference**2))
        self.largest = max(self.largest, float(np.abs(difference).max(initial=0.0)))

    @property
    def sqnr_db(self) -> float:
        """10 log10(signal / error); infinite where nothing differs, NaN where nothing can be compared."""
        if self.undefined == self.values:
            return float("nan")
        if self.error == 0.0:
            return float("inf")
        if self.signal == 0.0:
            return float("-inf")
        return float(10.0 * np.log10(self.signal / self.error))

    def rests(self, qtype: QType) -> bool:
        """Whether nothing can be told of an output of this type: of a function with ends, as a sigmoid, the
        reference moves by less than a step of 8 bits between them, and nothing is `STEPS_OFF` off.
        """
        if qtype == probability(qtype.dtype):
            step = 1.0 / STEPS
        elif qtype == symmetric(qtype.dtype):
            step = 2.0 / STEPS
        else:
            return False
        count = max(self.values - self.undefined, 1)
        variance = self.signal / count - (self.total / count) ** 2
        return variance <= step**2 and self.largest <= STEPS_OFF * step


class StepMeter:
    """How far values are off in steps of a scale, where the reference has whole steps too."""

    def __init__(self, scale: float) -> None:
        self._scale = scale
        self._values = self._same = self._near = 0
        self._whole = True

    def add(self, reference: Array, value: Array) -> None:
        with np.errstate(all="ignore"):
            exact = reference.astype(np.float64) / self._scale
            steps = np.rint(exact)
            self._whole &= bool(np.all(np.abs(exact - steps) <= WHOLE * np.maximum(1.0, np.abs(steps))))
            off = np.abs(value.astype(np.float64) / self._scale - exact)
        self._values += off.size
        self._same += int(np.count_nonzero(off < 0.5))
        self._near += int(np.count_nonzero(off < 1.5))

    @property
    def same(self) -> float | None:
        """The fraction of equal integers, None where the reference has no whole steps."""
        return self._same / self._values if self._whole and self._values else None

    @property
    def within(self) -> float | None:
        """The fraction that is at most one step off."""
        return self._near / self._values if self._whole and self._values else None


WHOLE = 1e-5
"""Of its size, how far a float32 may be from the whole number that it stands for."""

Measure = Literal["values", "classes", "indices"]
"""What an output is judged by: the distance of its values, of scores also their largest, or equal indices."""


def measure_of(program: Program, tensor: str) -> Measure:
    """Positions found by ArgMax are indices; a vector out of a softmax, or the network's only output, is
    scores of classes. A vector beside other outputs may be coordinates, of which no largest one counts.
    """
    shape = program.tensors[tensor].shape
    writers = {op.output: op for op in program.ops}
    while tensor in writers and isinstance(writers[tensor], QReshape | QTranspose):
        (tensor,) = writers[tensor].inputs
    writer = writers.get(tensor)
    if isinstance(writer, QArgMax):
        return "indices"
    scores = isinstance(writer, QSoftmax | QWideSoftmax | QLogSoftmax) or len(program.outputs) == 1
    return "classes" if scores and is_class_vector(shape) else "values"


@dataclass(frozen=True, slots=True)
class OutputComparison:
    """One output over all samples. Fractions are None where they have no meaning.

    `undefined` values of the float network are infinite, and left out. Of indices, `sqnr_db` is NaN and
    `equal` the fraction of them that are the float network's. Where the model itself gives whole steps of the
    program's type, `same_step` is the fraction of values that are the very same, `within_step` of those at
    most one step off. `mean_iou` is a mask's that is the network's answer. Where an output `rests`, it hardly
    moves on these samples and integers are hardly farther off, so that its SQNR says nothing.
    """

    name: str
    samples: int
    sqnr_db: float
    max_error: float
    undefined: int = 0
    top1_agreement: float | None = None
    float_accuracy: float | None = None
    accuracy: float | None = None
    equal: float | None = None
    same_step: float | None = None
    within_step: float | None = None
    mean_iou: float | None = None
    rests: bool = False


@dataclass(frozen=True, slots=True)
class LayerComparison:
    """The tensor an integer operator writes against the same tensor of the float graph.

    `spread` is of the float graph's values in the range of the integer type; None where that is not int8
    or int16.
    """

    tensor: str
    sqnr_db: float
    max_error: float
    spread: Spread | None = None


def compare_outputs(
    program: Program,
    float_runner: Runner,
    integer_runner: Runner,
    inputs: Mapping[str, Array],
    labels: Array | None = None,
    batch: int = 8,
) -> tuple[OutputComparison, ...]:
    """Run both networks on the same inputs and compare every output.

    `inputs` are float arrays [N, ...] by input tensor, as the float network sees them.
    `integer_runner` takes and gives integers: the interpreter, or the generated C. Networks with states run
    over all N as one sequence.
    """
    meters = {
        port.tensor: _OutputMeter(measure_of(program, port.tensor), program.tensors[port.tensor].qtype)
        for port in program.outputs
    }
    count = len(next(iter(inputs.values())))
    batch = count if program.states else batch
    for start in range(0, count, batch):
        chunk = {name: value[start : start + batch] for name, value in inputs.items()}
        quantized = {name: program.tensors[name].qtype.quantize(value) for name, value in chunk.items()}
        expected, found = float_runner(chunk), integer_runner(quantized)
        _refuse_nan(program, expected)
        for tensor, meter in meters.items():
            meter.add(expected[tensor], program.tensors[tensor].qtype.dequantize(found[tensor]))
    return tuple(meters[port.tensor].comparison(port.name, count, labels) for port in program.outputs)


def _refuse_nan(program: Program, outputs: Mapping[str, Array]) -> None:
    """Raise UserError where the float network itself gives no number."""
    for port in program.outputs:
        value = outputs[port.tensor]
        wrong = value.size - int(np.count_nonzero(~np.isnan(value)))
        if wrong:
            raise UserError(
                f"the float network gives NaN in {wrong:,} of {value.size:,} values of its output "
                f"{port.name!r}: these inputs lie outside what it is made for",
                "State what its input means with --input-range, or give samples of it with --data.",
            )


def is_class_vector(shape: tuple[int, ...]) -> bool:
    """Whether one sample of this tensor is a vector of scores, so that the largest one is the answer."""
    return shape[-1] > 1 and int(np.prod(shape)) == shape[-1]


class _OutputMeter:
    """One output, batch by batch, in the terms of its measure."""

    def __init__(self, measure: Measure, qtype: QType) -> None:
        self._measure, self._qtype = measure, qtype
        self._error = ErrorMeter()
        self._steps = StepMeter(qtype.scale)
        self._winners: tuple[list[Array], list[Array]] = ([], [])
        self._equal = 0

    def add(self, expected: Array, found: Array) -> None:
        self._error.add(expected, found)
        self._steps.add(expected, found)
        self._equal += int(np.count_nonzero(expected == found))
        if self._measure == "classes":
            for winners, scores in zip(self._winners, (expected, found), strict=True):
                winners.append(scores.reshape(len(scores), -1).argmax(axis=1))

    def comparison(self, name: str, samples: int, labels: Array | None) -> OutputComparison:
        error = self._error
        if self._measure == "indices":
            equal = self._equal / error.values
            return OutputComparison(name, samples, float("nan"), error.largest, equal=equal)
        result = OutputComparison(name, samples, error.sqnr_db, error.largest, error.undefined)
        result = replace(
            result,
            same_step=self._steps.same,
            within_step=self._steps.within,
            rests=error.rests(self._qtype),
        )
        if self._measure == "values":
            return result
        expected, found = (np.concatenate(winners) for winners in self._winners)
        result = replace(result, top1_agreement=float(np.mean(expected == found)))
        if labels is None:
            return result
        right, right_in_float = (float(np.mean(winners == labels)) for winners in (found, expected))
        return replace(result, accuracy=right, float_accuracy=right_in_float)


def compare_layers(
    program: Program, graph: Graph, inputs: Mapping[str, Array], batch: int = 4
) -> tuple[LayerComparison, ...]:
    """SQNR of every tensor of the program that `graph` (float, the same tensor names) has too, in order."""
    meters: dict[str, ErrorMeter] = {}
    spreads = {
        op.output: SpreadMeter(program.tensors[op.output].qtype)
        for op in program.ops
        if program.tensors[op.output].qtype.dtype in (IntType.INT8, IntType.INT16)
    }
    count = len(next(iter(inputs.values())))
    written = {op.output for op in program.ops}
    for start in range(0, count, batch):
        chunk = {name: value[start : start + batch] for name, value in inputs.items()}
        integers: dict[str, Array] = {}

        def keep(op: QOp, output: Array, into: dict[str, Array] = integers) -> None:
            into[op.output] = output

        program.run({name: program.tensors[name].qtype.quantize(v) for name, v in chunk.items()}, keep)

        def compare(
            node: Node, arguments: tuple[Array, ...], output: Array, found: dict[str, Array] = integers
        ) -> None:
            if node.output in written:
                real = program.tensors[node.output].qtype.dequantize(found[node.output])
                meters.setdefault(node.output, ErrorMeter()).add(output, real)
                if node.output in spreads:
                    spreads[node.output].add(output)

        graph.evaluate(chunk, compare)
    return tuple(
        LayerComparison(
            op.output,
            meters[op.output].sqnr_db,
            meters[op.output].largest,
            spreads[op.output].spread if op.output in spreads else None,
        )
        for op in program.ops
        if op.output in meters
    )
