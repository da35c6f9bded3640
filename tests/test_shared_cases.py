"""The damaged, mutated and awkward models beside the project."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from dfqgen import make_recipe, quantize
from dfqgen.errors import UserError

pytestmark = pytest.mark.shared_models

MOST_SECONDS = 20


def test_mutated_models_are_refused_or_compiled_in_time(shared_models: Path) -> None:
    cases = sorted((shared_models.parent / "cases" / "fuzz").glob("*.onnx"))
    assert cases
    for case in cases:
        started = time.process_time()
        try:
            quantize(case)
        except UserError as error:
            message = str(error)
            assert "Error:" not in message.replace("ValidationError:", ""), message  # no library's words
        assert time.process_time() - started < MOST_SECONDS, case.name


@pytest.mark.parametrize("name", ["concat_keyerror", "accumulator_overflow"])
def test_parts_of_released_networks_compile(shared_models: Path, name: str) -> None:
    recipe = make_recipe(input_range=(-32.0, 32.0))
    assert quantize(shared_models.parent / "cases" / "real" / f"{name}.onnx", recipe).ops


def test_scales_found_at_run_time_are_refused_as_such(shared_models: Path) -> None:
    with pytest.raises(UserError, match="finds the scale of every input while the network runs") as caught:
        quantize(shared_models.parent / "cases" / "real" / "dynquant_indexerror.onnx")
    assert "malformed" not in str(caught.value)
