"""The networks beside the project: one command each, every bit, on the host and on emulated cores."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dfqgen import Budget, build, make_recipe
from dfqgen.commands import run, verify
from tests.bench import ROOT  # noqa: F401 (puts bench/ on the path)

from networks import NETWORKS, Network  # isort: skip

BIG = Budget(8 << 20, 4 << 20)
# Folded batch normalization is another way to ranges, not to bits: of one network it is enough.
FOLDED_ALIKE = ("mobilenetv1_075_224-folded", "vww01_mobilenetv1_025-folded")


@pytest.mark.shared_models
@pytest.mark.parametrize(
    "network",
    [network for network in NETWORKS if network.name not in FOLDED_ALIKE],
    ids=lambda network: network.name,
)
def test_network_builds_and_runs_with_the_same_bits(
    network: Network, shared_models: Path, tmp_path: Path
) -> None:
    model = shared_models / f"{network.name}.onnx"
    if not model.is_file():
        pytest.fail(f"{model} is not there")
    folder = tmp_path / "o"
    result = build(model, folder, make_recipe(target="cortex-m4", meaning=network.meaning), budget=BIG)
    assert result.facts["verification"]["bit_exact"] is True
    sizes = result.facts["sizes"]
    assert sizes["arena_bytes"] <= sizes["arena_lower_bound_bytes"]
    if not network.emulate:
        return
    assert verify(folder)["verification"]["bit_exact"] is True
    for core in ("cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55"):
        assert run(folder, core)["bit_exact"] is True


@pytest.mark.shared_models
@pytest.mark.parametrize(
    ("core", "name"),
    [
        ("cortex-m0plus", "vww01_mobilenetv1_025"),
        ("cortex-m0plus", "ad01_autoencoder"),
        ("cortex-m3", "ic01_resnet8"),
        ("cortex-m3", "kws01_dscnn"),
    ],
)
def test_cores_without_dsp_get_code_of_their_own(
    name: str, core: str, shared_models: Path, tmp_path: Path
) -> None:
    (network,) = (network for network in NETWORKS if network.name == name)
    recipe = make_recipe(target=core, meaning=network.meaning)
    build(shared_models / f"{name}.onnx", tmp_path / "o", recipe, budget=BIG)
    assert run(tmp_path / "o", core)["bit_exact"] is True


# What the C compilers take is not counted: they are other programs.
TIMED = """
import sys, time, resource
from dfqgen import Budget, InputMeaning, build, make_recipe
compilers = ("measuring code size", "compiling the C")
spent, stage, start = 0.0, "", time.monotonic()
def progress(what):
    global spent, stage, start
    now = time.monotonic()
    if not stage.startswith(compilers):
        spent += now - start
    stage, start = what, now
recipe = make_recipe(target="cortex-m4", meaning=InputMeaning((127.5,), (127.5,)))
build(sys.argv[1], sys.argv[2], recipe, budget=Budget(8 << 20, 4 << 20), progress=progress)
progress("")
print(spent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@pytest.mark.shared_models
def test_mobilenet_builds_in_half_a_minute_and_little_memory(shared_models: Path, tmp_path: Path) -> None:
    model = shared_models / "mobilenetv1_075_224.onnx"
    command = [sys.executable, "-c", TIMED, str(model), str(tmp_path / "o")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, megabytes = map(float, done.stdout.split())
    assert megabytes < 1500
    # Another test may run on the other core meanwhile.
    assert seconds < 30 * max(1.0, os.getloadavg()[0] / 2)
