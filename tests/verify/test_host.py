"""The host check: equal bits pass, a wrong one is found and its layer named."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from dfqgen.errors import ToolMissing, UserError, VerificationFailed
from dfqgen.fixedpoint.vectors import make_inputs
from dfqgen.recipe import make_recipe
from dfqgen.recipe.records import Granularity, Optimize, ScaleMode
from dfqgen.verify import toolchain
from dfqgen.verify.folder import read_program
from dfqgen.verify.host import HostNetwork, first_mismatch, verify_on_host
from tests.programs import branched, tiny, write


@pytest.mark.parametrize("scales", ["multiplier", "power-of-two"])
@pytest.mark.parametrize("weights", ["per-channel", "per-tensor"])
@pytest.mark.parametrize("optimize", ["speed", "size"])
def test_the_c_equals_the_interpreter(
    tmp_path: Path, scales: ScaleMode, weights: Granularity, optimize: Optimize
) -> None:
    recipe = make_recipe(weights=weights, scales=scales)
    program = tiny(recipe=recipe)
    write(program, tmp_path / "out", optimize=optimize)
    assert verify_on_host(program, tmp_path / "out").values > 0


def test_several_inputs_and_outputs(tmp_path: Path) -> None:
    program = branched()
    write(program, tmp_path / "out")
    verify_on_host(program, tmp_path / "out")


def test_a_folder_can_be_verified_without_the_model(tmp_path: Path) -> None:
    write(tiny(), tmp_path / "out")
    verify_on_host(read_program(tmp_path / "out"), tmp_path / "out")


def test_a_wrong_weight_is_found_and_its_layer_named(tmp_path: Path) -> None:
    program = tiny()
    write(program, tmp_path / "out")
    weights = tmp_path / "out" / "tiny_weights.c"
    text = weights.read_text()
    start = text.index("tiny_layer4_weight[")
    start = text.index("= {\n    ", start) + len("= {\n    ")
    number = text[start : text.index(",", start)]
    weights.write_text(text[:start] + str(-int(number) // 2 - 30) + text[start + len(number) :])
    with pytest.raises(VerificationFailed, match=r"layer 2 'layer4' \(dfq_pointwise_s8s8\)"):
        verify_on_host(program, tmp_path / "out")
    mismatch = first_mismatch(program, tmp_path / "out", make_inputs(program, "random"))
    assert mismatch is not None
    assert mismatch.layer == "layer4"


def test_threads_run_one_network_at_once(tmp_path: Path) -> None:
    program = tiny()
    write(program, tmp_path / "out")
    network = HostNetwork(tmp_path / "out")
    batches = [{"x": make_inputs(program, "random", seed)["x"]} for seed in range(16)]
    expected = [program.run(batch)["t9"] for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(network.run, batches * 4))
    for i, result in enumerate(found):
        np.testing.assert_array_equal(result["t9"], expected[i % 16])


def test_a_batch_runs_sample_by_sample(tmp_path: Path) -> None:
    program = tiny()
    write(program, tmp_path / "out")
    x = np.concatenate([make_inputs(program, "random", seed)["x"] for seed in range(3)])
    found = HostNetwork(tmp_path / "out").run({"x": x})
    np.testing.assert_array_equal(found["t9"], program.run({"x": x})["t9"])


def test_wrong_input_types_are_refused(tmp_path: Path) -> None:
    write(tiny(), tmp_path / "out")
    with pytest.raises(ValueError, match="int8"):
        HostNetwork(tmp_path / "out").run({"x": np.zeros((1, 8, 8, 3), np.float32)})


def test_without_a_compiler_the_error_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # nor PyPI's ziglang
    with pytest.raises(ToolMissing, match="apt install gcc"):
        toolchain.host_compiler()
    monkeypatch.setenv("CC", "no-such-compiler -O2")
    with pytest.raises(ToolMissing, match="no-such-compiler"):
        toolchain.host_compiler()


@pytest.mark.parametrize("content", [None, b"{", b"[]", b'{"network": "x"}'])
def test_a_folder_of_something_else_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(UserError):
        HostNetwork(tmp_path)
