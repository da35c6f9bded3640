"""The commands as a user runs them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from dfqgen.cli import app
from tests.models import DIGITS, DIGITS_INPUT, DIGITS_TEST, ROOT, tiny

DFQGEN = Path(sys.executable).parent / "dfqgen"


def command(*arguments: object, code: int = 0, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the installed command; fails the test unless it ends with `code`."""
    done = subprocess.run(
        [str(DFQGEN), *map(str, arguments)], capture_output=True, text=True, cwd=cwd, check=False
    )
    assert done.returncode == code, done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled network, built for a Cortex-M4."""
    folder = tmp_path_factory.mktemp("cli") / "digits"
    command("build", DIGITS, "--target", "cortex-m", *DIGITS_INPUT, "-o", folder)
    return folder


def test_build_prints_sizes_bits_and_accuracy(tmp_path: Path) -> None:
    arguments = [
        "build",
        DIGITS,
        "-t",
        "cortex-m4",
        *DIGITS_INPUT,
        "--data",
        DIGITS_TEST,
        "-o",
        tmp_path / "o",
    ]
    output = command(*arguments).stdout
    assert "equal, every bit" in output
    assert "600 samples of digits_test.npz" in output
    accuracies = [float(x) for x in re.findall(r"(\d+\.\d+) %", output)]
    agreement, float_accuracy, accuracy = accuracies[-3:]
    assert agreement >= 98.5
    assert float_accuracy == pytest.approx(98.67)
    assert accuracy >= 98.0


def test_json_is_one_object_with_the_facts_of_the_tables(tmp_path: Path) -> None:
    done = command("build", DIGITS, "-t", "cortex-m4", "--json", "--per-layer", "-o", tmp_path / "o")
    facts = json.loads(done.stdout)
    assert "warning" in done.stderr  # nothing was said of the input
    assert facts["warnings"]
    assert facts["verification"]["bit_exact"] is True
    assert facts["target"]["name"] == "cortex-m4"
    assert facts["sizes"]["arena_bytes"] > 0
    assert facts["sizes"]["code_bytes"] > 0
    assert all(layer["sqnr_db"] > 10 for layer in facts["layers"])
    assert facts["comparison"]["outputs"][0]["samples"] == 64


def test_verify_repeats_the_check(built: Path) -> None:
    facts = json.loads(command("verify", built, "--json").stdout)
    assert facts["verification"]["bit_exact"] is True
    assert facts["comparison"] is None


def test_verify_with_the_model_compares_with_float(built: Path) -> None:
    arguments = ["verify", built, "--model", DIGITS, "--data", DIGITS_TEST, "--per-layer"]
    output = command(*arguments).stdout
    assert "float accuracy" in output
    assert "depthwise" in output


def test_verify_fails_with_exit_code_1_where_a_bit_differs(tmp_path: Path) -> None:
    folder = tmp_path / "o"
    command("build", DIGITS, "-t", "host", *DIGITS_INPUT, "-o", folder)
    weights = folder / "digits_weights.c"
    text = weights.read_text()
    place = re.search(r"\{\s*(-?\d+)", text)  # the first weight of the first layer
    assert place is not None
    changed = "100" if place[1] != "100" else "-100"
    weights.write_text(text[: place.start(1)] + changed + text[place.end(1) :])
    error = command("verify", folder, "--edited", code=1).stderr
    assert "differ" in error
    assert "layer 0" in error


def test_verify_refuses_another_model(built: Path, tmp_path: Path) -> None:
    error = command("verify", built, "--model", tiny(tmp_path / "other.onnx"), code=2).stderr
    assert "is not the file" in error


def test_run_counts_instructions_of_every_layer(built: Path) -> None:
    facts = json.loads(command("run", built, "--on", "cortex-m4", "--json").stdout)
    assert facts["bit_exact"] is True
    assert len(facts["layers"]) == 9
    assert facts["instructions"] == sum(layer["instructions"] for layer in facts["layers"])
    assert facts["instructions"] > facts["macs"] / 4


def test_run_refuses_what_has_no_emulator(built: Path, tmp_path: Path) -> None:
    assert "no emulator" in command("run", built, "--on", "host", code=2).stderr
    assert "there is no target" in command("run", built, "--on", "z80", code=2).stderr
    assert "not a folder" in command("run", tmp_path, "--on", "cortex-m4", code=2).stderr


def test_inspect_prints_graph_and_program(tmp_path: Path) -> None:
    model = tiny(tmp_path / "tiny.onnx")
    runner = CliRunner()
    graph = runner.invoke(app, ["inspect", str(model)])
    assert graph.exit_code == 0
    assert "Conv2D(%image) weight=float32[4,3,3,2]" in graph.stdout
    program = runner.invoke(app, ["inspect", str(model), "--ir", "--input-std", "255"])
    assert program.exit_code == 0
    assert "QConv2D" in program.stdout
    facts = json.loads(runner.invoke(app, ["inspect", str(model), "--json"]).stdout)
    assert [node["operator"] for node in facts["nodes"]] == ["Conv2D", "Clip"]


def test_targets_lists_every_target_and_alias() -> None:
    result = CliRunner().invoke(app, ["targets", "--json"])
    facts = json.loads(result.stdout)
    names = [target["name"] for target in facts["targets"]]
    assert {
        "host",
        "cortex-m0plus",
        "cortex-m3",
        "cortex-m4",
        "cortex-m7",
        "cortex-m33",
        "cortex-m55",
    } <= set(names)
    assert facts["aliases"]["cortex-m"] in names


@pytest.mark.parametrize("name", ["build", "verify", "run", "inspect", "targets"])
def test_every_command_has_help(name: str) -> None:
    result = CliRunner().invoke(app, [name, "--help"])
    assert result.exit_code == 0
    assert "--json" in result.stdout
    assert name == "targets" or "Examples" in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["build"],
        ["build", "x.onnx", "-t", "host", "--weights", "per-row"],
        ["build", "x.onnx", "-t", "host", "--input-mean", "grey"],
        ["build", "x.onnx", "-t", "host", "--input-range", "1"],
        ["build", "x.onnx", "-t", "host", "--input-shape", "1,a,3"],
        ["build", "x.onnx", "-t", "host", "--input-std", "0"],
        ["build", "x.onnx", "-t", "host", "--input-range", "3,3"],
        ["build", "x.onnx", "-t", "host", "--ram", "lots"],
        ["build", "x.onnx", "-t", "cortex-m99"],
        ["compile"],
    ],
)
def test_wrong_usage_ends_with_exit_code_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 2


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder by its path inside."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_building_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        command("build", DIGITS, "-t", "cortex-m4", *DIGITS_INPUT, "-o", tmp_path / name)
    first, second = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert len(first) > 8
    assert first == second


def test_input_shape_fixes_a_dynamic_input(tmp_path: Path) -> None:
    model = tiny(tmp_path / "tiny.onnx", shape=("n", 2, "h", "w"))
    command("build", model, "-t", "host", "--input-shape", "1,2,6,6", "-o", tmp_path / "a")
    command("build", model, "-t", "host", "--input-shape", "image:1x2x6x6", "-o", tmp_path / "b")
    assert (tmp_path / "a" / "tiny.c").read_bytes() == (tmp_path / "b" / "tiny.c").read_bytes()


def test_io_layout_nchw_takes_the_models_axes(tmp_path: Path) -> None:
    model = tiny(tmp_path / "tiny.onnx")
    facts = json.loads(
        command("build", model, "-t", "host", "--io-layout", "nchw", "--json", "-o", tmp_path / "o").stdout
    )
    assert facts["inputs"][0]["shape"] == [1, 2, 6, 6]
    assert facts["verification"]["bit_exact"] is True


def test_power_of_two_and_per_tensor_build_too(tmp_path: Path) -> None:
    for index, extra in enumerate((["--scales", "power-of-two"], ["--weights", "per-tensor"])):
        output = tmp_path / str(index)
        facts = json.loads(
            command("build", DIGITS, "-t", "host", *DIGITS_INPUT, *extra, "--json", "-o", output).stdout
        )
        assert facts["verification"]["bit_exact"] is True
        assert facts["comparison"]["outputs"][0]["sqnr_db"] > 10


def test_name_prefixes_the_c(tmp_path: Path) -> None:
    command("build", tiny(tmp_path / "tiny.onnx"), "-t", "host", "--name", "wake", "-o", tmp_path / "o")
    assert "wake_invoke" in (tmp_path / "o" / "wake.h").read_text()


def test_without_a_host_compiler_the_build_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    done = command("build", tiny(tmp_path / "tiny.onnx"), "-t", "host", "-o", tmp_path / "o", "--json")
    facts = json.loads(done.stdout)
    assert facts["verification"]["bit_exact"] is None
    assert any("no-such-compiler" in warning for warning in facts["warnings"])
    assert (tmp_path / "o" / "tiny.c").is_file()
    assert "no-such-compiler" in command("verify", tmp_path / "o", code=2).stderr


def test_the_python_api_is_one_call() -> None:
    import dfqgen

    program = dfqgen.quantize(DIGITS)
    x = np.zeros((1, 8, 8, 1), np.int8)
    (scores,) = program.run({program.inputs[0].tensor: x}).values()
    assert scores.shape == (1, 10)


def test_generated_c_compiles_in_the_readmes_way(built: Path, tmp_path: Path) -> None:
    sources = [built / f"digits{part}.c" for part in ("", "_weights", "_golden", "_selftest")]
    program = tmp_path / "selftest"
    subprocess.run(["gcc", "-std=c99", "-O1", *map(str, sources), "-o", str(program)], check=True)
    assert subprocess.run([str(program)], check=False).returncode == 0


def test_the_checkout_stays_clean(built: Path) -> None:
    """No command writes beside its output folder."""
    assert not list(built.parent.glob(".*"))
    assert not (ROOT / "dfqgen" / "_data").exists()


def test_a_build_without_a_target_asks_for_one(tmp_path: Path) -> None:
    done = command("build", tiny(tmp_path / "tiny.onnx"), "-o", tmp_path / "o", code=2)
    assert "--target" in done.stderr
    assert "cortex-m4" in done.stderr
    assert not (tmp_path / "o").exists()


def test_a_build_for_a_part_has_its_core_and_its_memory(tmp_path: Path) -> None:
    arguments = ["-t", "nucleo-l4r5zi", "--json", "-o", tmp_path / "o"]
    facts = json.loads(command("build", DIGITS, *DIGITS_INPUT, *arguments).stdout)
    assert (facts["target"]["name"], facts["target"]["core"]) == ("stm32l4r5", "cortex-m4")
    assert (facts["target"]["flash_bytes"], facts["target"]["ram_bytes"]) == (2 << 20, 640 << 10)


def test_a_search_shows_parts_with_their_memory() -> None:
    output = command("targets", "--search", "nrf52840").stdout
    assert re.search(r"nrf52840 .*1.00 MB .*256.0 KB", output)
