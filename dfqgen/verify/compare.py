"""How close integers are to the float network: SQNR, largest error, top-1, accuracy; per layer too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from dfqgen.errors import UserError
from dfqgen.fixedpoint.program import Program, QOp
from dfqgen.graph.ir import Array, Graph, Node

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


@dataclass(frozen=True, slots=True)
class OutputComparison:
    """One output over all samples. Fractions are None where they have no meaning.

    `undefined` values of the float network are infinite, and left out.
    """

    name: str
    samples: int
    sqnr_db: float
    max_error: float
    undefined: int = 0
    top1_agreement: float | None = None
    float_accuracy: float | None = None
    accuracy: float | None = None


@dataclass(frozen=True, slots=True)
class LayerComparison:
    """The tensor an integer operator writes against the same tensor of the float graph."""

    tensor: str
    sqnr_db: float
    max_error: float


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
    `integer_runner` takes and gives integers: the interpreter, or the generated C.
    """
    meters = {port.tensor: ErrorMeter() for port in program.outputs}
    winners: dict[str, tuple[list[Array], list[Array]]] = {tensor: ([], []) for tensor in meters}
    count = len(next(iter(inputs.values())))
    for start in range(0, count, batch):
        chunk = {name: value[start : start + batch] for name, value in inputs.items()}
        quantized = {name: program.tensors[name].qtype.quantize(value) for name, value in chunk.items()}
        expected, found = float_runner(chunk), integer_runner(quantized)
        _refuse_nan(program, expected)
        for tensor, meter in meters.items():
            real = program.tensors[tensor].qtype.dequantize(found[tensor])
            meter.add(expected[tensor], real)
            if is_class_vector(program.tensors[tensor].shape):
                rows = len(real)
                winners[tensor][0].append(expected[tensor].reshape(rows, -1).argmax(axis=1))
                winners[tensor][1].append(real.reshape(rows, -1).argmax(axis=1))
    return tuple(
        _output_comparison(port.name, count, meters[port.tensor], winners[port.tensor], labels)
        for port in program.outputs
    )


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


def _output_comparison(
    name: str, count: int, meter: ErrorMeter, winners: tuple[list[Array], list[Array]], labels: Array | None
) -> OutputComparison:
    agreement = float_accuracy = accuracy = None
    if winners[0]:
        expected, found = np.concatenate(winners[0]), np.concatenate(winners[1])
        agreement = float(np.mean(expected == found))
        if labels is not None:
            float_accuracy = float(np.mean(expected == labels))
            accuracy = float(np.mean(found == labels))
    return OutputComparison(
        name, count, meter.sqnr_db, meter.largest, meter.undefined, agreement, float_accuracy, accuracy
    )


def compare_layers(
    program: Program, graph: Graph, inputs: Mapping[str, Array], batch: int = 4
) -> tuple[LayerComparison, ...]:
    """SQNR of every tensor of the program that `graph` (float, the same tensor names) has too, in order."""
    meters: dict[str, ErrorMeter] = {}
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

        graph.evaluate(chunk, compare)
    return tuple(
        LayerComparison(op.output, meters[op.output].sqnr_db, meters[op.output].largest)
        for op in program.ops
        if op.output in meters
    )
