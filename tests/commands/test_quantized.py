"""Models that are quantized already, through the commands: built, and verified against the model itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dfqgen.commands import build, verify
from tests.frontend.test_quantized import WithMicrosoft, qlinear_conv, small_net


def qdq(folder: Path) -> Path:
    return small_net(np.int8(3), np.int8(-128)).save(folder)


def q_operators(folder: Path) -> Path:
    return qlinear_conv(WithMicrosoft()).save(folder)


def tflite(folder: Path) -> Path:
    pytest.importorskip("ai_edge_litert")
    from tests.frontend import test_tflite as net
    from tests.frontend.tflite import TfliteNet

    model = TfliteNet()
    x = net.activation(model, 1, 8, 8, 3)
    return model.save(folder, [x], [net.classifier(model, x)])


@pytest.mark.parametrize("made", [qdq, q_operators, tflite], ids=lambda made: made.__name__)
def test_verify_counts_steps_from_the_models_own(tmp_path: Path, made: Callable[[Path], Path]) -> None:
    path = made(tmp_path)
    build(path, tmp_path / "out")
    facts = verify(tmp_path / "out", model=path, per_layer=True)
    (output,) = facts["comparison"]["outputs"]
    assert output["within_step"] == 1.0
    assert output["same_step"] > 0.9
    assert facts["layers"]
