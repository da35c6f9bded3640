"""The firmware around CMSIS-NN, without CMSIS-NN: TFLite's integers, and C for every kind of layer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dfqgen.errors import UserError
from dfqgen.fixedpoint.program import Program
from dfqgen.ops.movement import QReshape
from dfqgen.targets import load_target
from tests import programs
from tests.bench import ROOT  # noqa: F401 (puts bench/ on the path)

from cmsis_nn import _firmware, _quantized, build_library, count_layers  # isort: skip
from single_layers import LAYERS, layers_program  # isort: skip


@pytest.mark.parametrize("factor", [0.75, 0.5, 1.0, 0.001234, 3.7, 2.0**-20, 1 - 2.0**-40])
def test_factors_become_a_multiplier_of_31_bits_and_a_shift(factor: float) -> None:
    multiplier, shift = _quantized(factor)
    assert 1 << 30 <= multiplier < 1 << 31
    assert multiplier * 2.0 ** (shift - 31) == pytest.approx(factor, rel=1e-9)


def source(program: Program) -> str:
    return _firmware(program, [op for op in program.ops if not isinstance(op, QReshape)])


def test_every_layer_is_one_call_between_two_probes() -> None:
    text = source(programs.tiny())
    for call in (
        "arm_convolve_wrapper_s8(", "arm_depthwise_conv_wrapper_s8(", "arm_fully_connected_wrapper_s8(",
        "arm_max_pool_s8(", "arm_avgpool_s8(", "arm_softmax_s8(",
    ):  # fmt: skip
        assert call in text
    main = text[text.index("int main") :]
    layers = len([op for op in programs.tiny().ops if not isinstance(op, QReshape)])
    assert main.count("dfq_probe();") == 2 * layers + 1
    assert "arm_elementwise_add_s8(" in source(programs.branched())


def test_the_list_of_single_layers_is_a_program() -> None:
    program = layers_program()
    program.verify()
    assert len(program.ops) == len(LAYERS)


def test_a_folder_that_is_no_checkout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a checkout"):
        build_library(tmp_path, load_target("cortex-m4"), tmp_path)


@pytest.mark.skipif("CMSIS_NN" not in os.environ, reason="CMSIS_NN names no checkout of CMSIS-NN")
def test_a_checkout_gives_our_results_and_takes_longer(tmp_path: Path) -> None:
    library = build_library(Path(os.environ["CMSIS_NN"]), load_target("cortex-m4"), tmp_path)
    layers = count_layers(programs.tiny(), library, tmp_path)
    assert all(layer.instructions > 100 for layer in layers)
