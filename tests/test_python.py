"""The Python surface: names at the root, arrays in and out, how objects show themselves, the notebook."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

import dfqgen
from dfqgen.errors import UserError
from tests.models import DIGITS, DIGITS_TEST, ROOT, tiny

NAMES = ("load", "quantize", "build", "verify", "run", "evaluate", "explore", "export")
DIGITS_RECIPE = dfqgen.make_recipe(target="cortex-m4", input_std=(16.0,), input_range=(0.0, 16.0))


@pytest.fixture(scope="module")
def program() -> dfqgen.Program:
    return dfqgen.quantize(DIGITS, DIGITS_RECIPE)


def test_every_verb_is_a_function_at_the_root_whatever_was_imported_before() -> None:
    code = (
        "import sys, dfqgen\n"
        "assert 'numpy' not in sys.modules\n"
        "import dfqgen.verify.host, dfqgen.export.qdq, dfqgen.explore.search\n"
        f"assert all(callable(getattr(dfqgen, name)) and getattr(dfqgen, name).__doc__ for name in {NAMES!r})"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert set(NAMES) <= set(dfqgen.__all__)
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    assert all(f"dfqgen.{name}(" in page for name in NAMES)


def test_arrays_go_into_a_program_and_come_out(program: dfqgen.Program) -> None:
    with np.load(DIGITS_TEST) as data:
        x, y = data["x"][:50], data["y"][:50]
    scores = program.run((x / 16).astype(np.float32))
    assert scores.dtype == np.float32
    assert np.mean(scores.reshape(50, -1).argmax(axis=1) == y) > 0.9
    source, result = (program.tensors[port.tensor] for port in (program.inputs[0], program.outputs[0]))
    integers = program.run(source.qtype.quantize(x / 16))
    assert integers.dtype == np.int8
    np.testing.assert_array_equal(result.qtype.dequantize(integers), scores)
    with pytest.raises(UserError, match=r"\(8, 8, 1\)"):
        program.run(np.zeros((1, 8, 9, 1), np.float32))
    with pytest.raises(UserError, match="from 200 to 200"):
        program.run(np.full((1, 8, 8, 1), 200, np.uint8))


def test_objects_are_short_in_a_shell_and_tables_in_a_notebook(
    program: dfqgen.Program, tmp_path: Path
) -> None:
    graph = dfqgen.load(DIGITS)
    result = dfqgen.build(tiny(tmp_path / "t.onnx"), tmp_path / "o", dfqgen.make_recipe(target="host"))
    for thing in (graph, program, result):
        assert len(repr(thing)) < 200
        assert repr(thing).startswith(f"<{type(thing).__name__} ")
        page = thing._repr_html_()
        assert page.count("<table") == page.count("</table>") == 1
    assert "8, 8, 1] int8 -> scores [1, 10] int8, 10 layers" in repr(program)
    evil = dfqgen.Program("<b>", program.inputs, program.outputs, program.tensors, program.ops)
    assert "<Program <b>" not in evil._repr_html_()


def test_the_notebook_runs(tmp_path: Path) -> None:
    text = (ROOT / "examples" / "digits" / "tour.ipynb").read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=4)  # type: ignore[no-untyped-call]
    folder = {"metadata": {"path": str(ROOT / "examples" / "digits")}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=folder).execute()
    outputs = [str(output) for cell in notebook.cells for output in cell.get("outputs", ())]
    assert any("every bit" in output for output in outputs)
    assert any("<table" in output for output in outputs)
