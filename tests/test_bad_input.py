"""Whatever a user gets wrong: one paragraph, exit code 2, nothing written."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from typer.testing import CliRunner, Result

from dfqgen.cli import app
from tests.models import DIGITS, save, tiny


def build(model: Path, output: Path, *arguments: object) -> Result:
    return CliRunner().invoke(
        app, ["build", str(model), "-t", "host", "-o", str(output), *map(str, arguments)]
    )


def assert_refused(result: Result, output: Path, *words: str) -> None:
    """A message with these words, exit code 2, no output folder and nothing half done beside it."""
    assert result.exit_code == 2, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "error: " in result.stderr
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr, result.stderr
    assert not output.exists()
    assert not [path for path in output.parent.iterdir() if path.name.startswith(".")]


def test_not_an_onnx_file(tmp_path: Path) -> None:
    model = tmp_path / "notes.onnx"
    model.write_text("these are my notes, not a network\n")
    assert_refused(build(model, tmp_path / "o"), tmp_path / "o", "notes.onnx", "ONNX")


def test_no_such_file(tmp_path: Path) -> None:
    assert_refused(build(tmp_path / "none.onnx", tmp_path / "o"), tmp_path / "o", "none.onnx")


@pytest.mark.parametrize("keep", [1, 100, 5000, 31000])
def test_truncated_file(tmp_path: Path, keep: int) -> None:
    model = tmp_path / "cut.onnx"
    model.write_bytes(DIGITS.read_bytes()[:keep])
    assert_refused(build(model, tmp_path / "o"), tmp_path / "o", "cut.onnx")


def test_unsupported_operators_are_listed_all_at_once(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Det", ["x"], ["a"], name="first"),
        helper.make_node("Hardmax", ["x"], ["b"], name="second"),
    ]
    model = save(tmp_path / "odd.onnx", nodes, {}, {"x": (1, 4, 4)}, {"a": None, "b": None})
    assert_refused(build(model, tmp_path / "o"), tmp_path / "o", "Det", "first", "Hardmax", "second")


def test_dynamic_shape(tmp_path: Path) -> None:
    model = tiny(tmp_path / "tiny.onnx", shape=(1, 2, "height", "width"))
    assert_refused(build(model, tmp_path / "o"), tmp_path / "o", "image", "--input-shape")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers(tmp_path: Path, value: float) -> None:
    model = tiny(tmp_path / "tiny.onnx", bad_weight=value)
    assert_refused(build(model, tmp_path / "o"), tmp_path / "o", "NaN" if np.isnan(value) else "infinit")


def test_wrong_dtype(tmp_path: Path) -> None:
    nodes = [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)]
    model = save(tmp_path / "text.onnx", nodes, {}, {"x": (1, 4)}, {"y": None}, dtype=TensorProto.STRING)
    assert_refused(build(model, tmp_path / "o"), tmp_path / "o", "string")


def external(path: Path, location: str) -> Path:
    """The tiny network with its weight in another file."""
    model = onnx.load(tiny(path))
    (weight,) = model.graph.initializer
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    path.write_bytes(model.SerializeToString())
    return path


def test_missing_external_data(tmp_path: Path) -> None:
    model = external(tmp_path / "tiny.onnx", "weights.bin")
    assert_refused(build(model, tmp_path / "o"), tmp_path / "o", "weights.bin")


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname", "a/../../secret.bin"])
def test_external_data_outside_the_models_folder(tmp_path: Path, location: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(4 * 2 * 9 * 4))
    model = external(folder / "tiny.onnx", location)
    assert_refused(build(model, tmp_path / "o"), tmp_path / "o", "folder")


def test_non_empty_output_folder(tmp_path: Path) -> None:
    output = tmp_path / "o"
    output.mkdir()
    (output / "thesis.txt").write_text("mine")
    result = build(tiny(tmp_path / "tiny.onnx"), output)
    assert result.exit_code == 2
    assert "--force" in result.stderr
    assert [path.name for path in output.iterdir()] == ["thesis.txt"]


def test_force_replaces_an_earlier_build_only(tmp_path: Path) -> None:
    model, output = tiny(tmp_path / "tiny.onnx"), tmp_path / "o"
    assert build(model, output).exit_code == 0
    assert build(model, output).exit_code == 2
    assert build(model, output, "--force", "--name", "other").exit_code == 0
    assert not (output / "tiny.c").exists()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("mine")
    assert build(model, mine, "--force").exit_code == 2
    assert (mine / "thesis.txt").read_text() == "mine"


def test_output_folder_that_is_a_file(tmp_path: Path) -> None:
    output = tmp_path / "o"
    output.write_text("a file")
    result = build(tiny(tmp_path / "tiny.onnx"), output, "--force")
    assert result.exit_code == 2
    assert output.read_text() == "a file"


def test_output_folder_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    result = build(tiny(tmp_path / "tiny.onnx"), tmp_path / "file" / "o")
    assert result.exit_code == 2
    assert "error: " in result.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_unwritable_output_folder(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    result = build(tiny(tmp_path / "tiny.onnx"), closed / "o")
    assert result.exit_code == 2
    assert "error: " in result.stderr


def test_unwritable_file_system(tmp_path: Path) -> None:
    output = Path("/proc/dfqgen-output")
    result = build(tiny(tmp_path / "tiny.onnx"), output)
    assert result.exit_code == 2
    assert "error: " in result.stderr


def test_budget_exceeded_says_by_how_much_and_where(tmp_path: Path) -> None:
    result = build(DIGITS, tmp_path / "o", "--target", "cortex-m4", "--ram", "2K", "--flash", "8K")
    assert_refused(result, tmp_path / "o", "RAM", "flash", "too many", "convolution")


def test_budget_counts_the_code(tmp_path: Path) -> None:
    """The constants of the digits network alone fit 9 KB, with the code they do not."""
    result = build(DIGITS, tmp_path / "o", "--target", "cortex-m4", "--flash", "9K")
    assert_refused(result, tmp_path / "o", "flash", "too many")


@pytest.mark.parametrize(
    ("arrays", "word"),
    [
        ({"images": np.zeros((2, 8, 8, 1), np.uint8)}, "'x'"),
        ({"x": np.zeros((2, 9, 9, 1), np.uint8)}, "(9, 9, 1)"),
        ({"x": np.zeros((2, 8, 8, 1), np.int64)}, "int64"),
        ({"x": np.zeros((0, 8, 8, 1), np.uint8)}, "no samples"),
        ({"x": np.full((2, 8, 8, 1), np.nan, np.float32)}, "NaN"),
        ({"x": np.zeros((2, 8, 8, 1), np.uint8), "y": np.zeros(3, np.int64)}, "one integer for each"),
    ],
)
def test_data_that_does_not_fit(tmp_path: Path, arrays: dict[str, Any], word: str) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    assert_refused(build(DIGITS, tmp_path / "o", "--data", tmp_path / "x.npz"), tmp_path / "o", "x.npz", word)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 but not really", b"\x80\x04pickle"])
def test_data_that_is_no_npz_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.npz").write_bytes(content)
    assert_refused(build(DIGITS, tmp_path / "o", "--data", tmp_path / "x.npz"), tmp_path / "o", "x.npz")


def test_an_npz_file_whose_header_asks_for_more_than_it_holds(tmp_path: Path) -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 8, 8, 1), }\n"
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    assert_refused(build(DIGITS, tmp_path / "o", "--data", tmp_path / "x.npz"), tmp_path / "o", "x.npz")


@pytest.mark.parametrize("option", ["--data", "--calibration-data", "--rounding-data"])
@pytest.mark.parametrize("path", ["none.npz", ".", "/dev/zero", "pipe", "huge.npz", "notes.npz"])
def test_data_that_is_no_readable_file(tmp_path: Path, option: str, path: str) -> None:
    odd_files(tmp_path)
    (tmp_path / "notes.npz").write_text("these are my notes\n")
    adaround = ["--rounding", "adaround"] if option == "--rounding-data" else []
    result = build(DIGITS, tmp_path / "o", option, tmp_path / path, *adaround)
    assert_refused(result, tmp_path / "o", str(tmp_path / path).removesuffix("."))


@pytest.mark.parametrize("path", [".", "/dev/zero", "pipe", "huge.npz"])
def test_a_model_that_is_no_readable_file(tmp_path: Path, path: str) -> None:
    odd_files(tmp_path)
    assert_refused(build(tmp_path / path, tmp_path / "o"), tmp_path / "o", str(tmp_path / path).rstrip("."))


def odd_files(folder: Path) -> None:
    """A pipe that nobody writes to, and a file of 3 GB without blocks on the disk."""
    os.mkfifo(folder / "pipe")
    with (folder / "huge.npz").open("wb") as stream:
        stream.truncate(3_000_000_000)


NUMERIC_OPTIONS = ["--input-mean", "--input-std", "--n-sigma", "--target-sqnr", "--clock", "--flash", "--ram"]
NUMERIC_OPTIONS += ["--flash-budget", "--limit", "--samples", "--seed", "--bits", "--adaround-iterations"]


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e400", "\u00b2", "9" * 5000, "", "nan%", "inf%"])
@pytest.mark.parametrize("option", [*NUMERIC_OPTIONS, "--bits-map", "--input-range", "--input-shape"])
def test_numbers_out_of_bounds_are_refused(tmp_path: Path, option: str, value: str) -> None:
    value = {"--bits-map": f"conv={value}", "--input-range": f"0,{value}"}.get(option, value)
    command = {"--clock": "profile", "--limit": "eval"}.get(option, "build")
    arguments = [str(tmp_path)] if command == "profile" else [str(tiny(tmp_path / "tiny.onnx"))]
    arguments += ["-t", "host", "-o", str(tmp_path / "o")] if command == "build" else []
    arguments += ["--data", str(tmp_path)] if command == "eval" else []
    result = CliRunner().invoke(app, [command, *arguments, option, value])
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("value", ["0%", "-3%", "-1", "1e-330%"])
def test_a_flash_budget_is_above_zero(tmp_path: Path, value: str) -> None:
    result = build(tiny(tmp_path / "tiny.onnx"), tmp_path / "o", "--flash-budget", value)
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--input-std", "1e-320"],
        ["--input-std", "1e300"],
        ["--input-mean", "1e30"],
        ["--input-range", "0,1e300"],
        ["--input-range", "0,1e-320"],
        ["--input-mean", "1,2", "--input-std", "1,0"],
    ],
)
def test_a_meaning_that_is_no_range_of_float32_is_refused(tmp_path: Path, arguments: list[str]) -> None:
    assert_refused(build(tiny(tmp_path / "tiny.onnx"), tmp_path / "o", *arguments), tmp_path / "o", "input")


def test_values_too_large_for_float32_are_refused_at_their_layer(tmp_path: Path) -> None:
    nodes = [helper.make_node("Mul", ["x", "w"], ["a"], name="first")]
    nodes.append(helper.make_node("Mul", ["a", "w"], ["y"], name="second"))
    model = save(tmp_path / "big.onnx", nodes, {"w": np.float32(1e30).reshape(1)}, {"x": (1, 4)}, {"y": None})
    assert_refused(build(model, tmp_path / "o"), tmp_path / "o", "'second'", "float32")


def test_a_float_network_that_gives_no_numbers_is_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Log", ["x"], ["y"])]
    model = save(tmp_path / "log.onnx", nodes, {}, {"x": (1, 4)}, {"y": None})
    assert_refused(build(model, tmp_path / "o"), tmp_path / "o", "NaN", "--input-range")
    assert build(model, tmp_path / "o", "--input-range", "0.1,4").exit_code == 0


def test_infinite_values_are_left_out_and_counted(tmp_path: Path) -> None:
    """log(relu(x)): the C gives the smallest number it has."""
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Log", ["r"], ["y"])]
    model = save(tmp_path / "log.onnx", nodes, {}, {"x": (1, 32)}, {"y": None})
    result = build(model, tmp_path / "o", "--json")
    assert result.exit_code == 0, result.output
    (output,) = json.loads(result.stdout)["comparison"]["outputs"]
    assert output["undefined"] > 0
    assert np.isfinite(output["sqnr_db"])
    assert "infinite in float" in build(model, tmp_path / "o", "--force").output


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.array([{"a": 1}], dtype=object))
    assert_refused(build(DIGITS, tmp_path / "o", "--data", tmp_path / "x.npz"), tmp_path / "o", "x.npz")


def test_meaning_of_the_wrong_number_of_channels(tmp_path: Path) -> None:
    result = build(DIGITS, tmp_path / "o", "--input-mean", "1,2,3")
    assert_refused(result, tmp_path / "o", "3 values", "1 channels")


def test_errors_in_json_are_one_object_too(tmp_path: Path) -> None:
    result = build(tmp_path / "none.onnx", tmp_path / "o", "--json")
    facts = json.loads(result.stdout)
    assert facts["exit_code"] == result.exit_code == 2
    assert "none.onnx" in facts["error"]


HOSTILE = [
    "*/ int x; /*",
    "a\"b'c\\",
    "line\nbreak\r#error",
    "int",
    "<script>alert(1)</script>",
    "[red]bold[/red]",
    "$(shell rm -rf /)`",
    "??/ trigraph ??'",
    "\x1b[2J\x07",
    "ünïcödé \u202e",
    "",
    "%s%n",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_cannot_break_c_make_html_or_the_terminal(tmp_path: Path, name: str) -> None:
    """Names that come out equal, too: both nodes have the same one."""
    model = tiny(tmp_path / "tiny.onnx", names=(name, name), tensors=(name or "x", name + "1", name + "2"))
    output = tmp_path / "o"
    result = build(model, output, "--target", "cortex-m4", "--per-layer")
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.output
    assert "\x07" not in result.output
    page = (output / "report.html").read_text(encoding="utf-8")
    assert page.count("<script") == 1
    assert CliRunner().invoke(app, ["verify", str(output)]).exit_code == 0


def test_a_model_file_with_an_odd_name_makes_good_c(tmp_path: Path) -> None:
    model = tiny(tmp_path / "1 net*#$(x).onnx")
    output = tmp_path / "o"
    assert build(model, output).exit_code == 0
    assert CliRunner().invoke(app, ["verify", str(output)]).exit_code == 0
