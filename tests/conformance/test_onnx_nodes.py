"""The float graph equals the ONNX project's own node tests; integers and C are as close as scales allow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dfqgen.fixedpoint.program import QOp
from dfqgen.graph.ir import Array
from dfqgen.kernels import REGISTRY
from dfqgen.plan.workload import needs_code
from dfqgen.targets import Isa
from tests.conformance.runner import Loaded, all_cases, float_error, load_case, quantized, tolerance
from tests.kernels.library import KernelLibrary

# onnxruntime computes this one as we do: the length of the result is a whole number there too.
DIFFERENT = {"test_resize_downsample_scales_linear_align_corners"}
COMPARISONS = {"Less", "Greater", "LessOrEqual", "GreaterOrEqual", "Equal"}
NEARLY_EQUAL = 0.05
"""Of the elements compared, whose difference is less than a step: rounding decides them."""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> list[Loaded]:
    folder: Path = tmp_path_factory.mktemp("onnx")
    return [load_case(case, folder) for case in all_cases() if case.name not in DIFFERENT]


def test_the_float_graph_equals_the_expected_outputs(loaded: list[Loaded]) -> None:
    accepted = [item for item in loaded if item.graph is not None]
    assert len(accepted) >= 210
    wrong = {item.case.name: error for item in accepted if not (error := float_error(item)) < 1e-4}
    assert not wrong


def test_the_integers_are_as_close_as_their_scales_allow(loaded: list[Loaded]) -> None:
    wrong = []
    for item in loaded:
        if item.graph is None:
            continue
        program, inputs, expected = quantized(item)
        for sample, values in enumerate(inputs):
            outputs = program.run(values)
            for port in program.outputs:
                qtype = program.tensors[port.tensor].qtype
                # Ranges are the extremes of exact inputs; what rounded ones give beyond them is cut.
                nearest = np.clip(expected[sample][port.tensor], *qtype.real_range)
                difference = np.abs(qtype.dequantize(outputs[port.tensor]) - nearest)
                bound = tolerance(item, program, port.tensor)
                if item.case.operator in COMPARISONS:
                    difference = np.maximum(difference.mean(keepdims=True) - NEARLY_EQUAL, 0.0)
                if float(difference.max(initial=0.0)) > bound:
                    wrong.append(f"{item.case.name}: {float(difference.max()):.4g} > {bound:.4g}")
    assert not wrong, "\n".join(wrong)


def test_the_kernels_equal_the_integers_on_every_bit(loaded: list[Loaded]) -> None:
    library = KernelLibrary(REGISTRY, Isa.PORTABLE)
    for item in loaded:
        if item.graph is None:
            continue
        program, inputs, _ = quantized(item)
        found: dict[str, Array] = dict(inputs[0])

        def check(op: QOp, output: Array, found: dict[str, Array] = found, item: Loaded = item) -> None:
            found[op.output] = output
            if not needs_code(op):
                return
            types, result = quantized(item)[0].tensors_of(op)
            kernels = REGISTRY.candidates(op, types, result, [Isa.PORTABLE])
            assert kernels, f"{item.case.name}: no kernel for {type(op).__name__}"
            values = [np.ascontiguousarray(found[name]) for name in op.inputs]
            np.testing.assert_array_equal(library.run(kernels[0], op, types, result, values), output)

        program.run(inputs[0], check)


def test_a_refused_test_says_why(loaded: list[Loaded]) -> None:
    assert all(replace(item).refusal for item in loaded if item.graph is None)
