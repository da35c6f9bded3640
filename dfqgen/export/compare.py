"""The exported model by onnxruntime beside the program: how many integers differ in each layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dfqgen.export.qdq import layers_model
from dfqgen.export.writer import program_axes, stored_axes
from dfqgen.fixedpoint.program import Program, QOp
from dfqgen.graph.ir import Array
from dfqgen.graph.reference import session_of


@dataclass(frozen=True, slots=True)
class LayerSteps:
    """One layer on the same integers: of `values`, how many `differ`, and by how many steps at most."""

    layer: str
    operator: str
    values: int
    differ: int
    largest: int


def compare_with_onnxruntime(program: Program, inputs: Mapping[str, Array]) -> tuple[LayerSteps, ...]:
    """Each layer by itself, given what the program gives it; `inputs` are integers [N, ...] by tensor.

    So what differs is a layer's own rounding, not what layers after it make of that.
    """
    model, read, written = layers_model(program)
    session = session_of(model.SerializeToString(), "the exported model")
    found: dict[str, Array] = dict(inputs)

    def keep(op: QOp, output: Array) -> None:
        found[op.output] = output

    program.run(inputs, keep)
    totals = {op.output: [0, 0, 0] for op in program.ops}
    for sample in range(len(next(iter(inputs.values())))):
        feeds = {
            coded: found[name][sample : sample + 1].transpose(stored_axes(found[name].ndim))
            for name, coded in read.items()
        }
        results = session.run(list(written.values()), feeds)
        for name, result in zip(written, results, strict=True):
            ours = found[name][sample : sample + 1]
            theirs = result.transpose(program_axes(result.ndim))
            off = theirs != ours if ours.dtype.kind == "f" else np.abs(theirs.astype(np.int64) - ours)
            counts = totals[name]
            counts[0] += off.size
            counts[1] += int(np.count_nonzero(off))
            counts[2] = max(counts[2], int(off.max(initial=0)))
    return tuple(
        LayerSteps(op.name, type(op).__name__.removeprefix("Q"), *totals[op.output]) for op in program.ops
    )
