"""Budgets are goals: what the user left open changes until the C fits."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from dfqgen import build, make_recipe
from dfqgen.errors import BudgetExceeded
from dfqgen.plan.budget import Budget
from dfqgen.report.facts import Facts
from tests.models import DIGITS, DIGITS_INPUT, save
from tests.test_cli import command, contents


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three convolutions whose weights, 50 KB, are most of the flash."""
    rng = np.random.default_rng(1)
    shapes = {"a": (64, 3, 3, 3), "b": (64, 64, 3, 3), "c": (10, 64, 3, 3)}
    weights = {
        name: rng.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["p"]),
        helper.make_node("Relu", ["p"], ["q"]),
        helper.make_node("Conv", ["q", "b"], ["r"]),
        helper.make_node("Relu", ["r"], ["s"]),
        helper.make_node("Conv", ["s", "c"], ["y"]),
    ]
    path = tmp_path_factory.mktemp("fit") / "net.onnx"
    return save(path, nodes, weights, {"x": (1, 3, 8, 8)}, {"y": None})


def test_weights_get_fewer_bits_until_the_flash_suffices(tmp_path: Path, model: Path) -> None:
    arguments = ["-t", "cortex-m4", "--input-range", "-1,1", "--flash", "40K", "--json"]
    done = command("build", model, *arguments, "-o", tmp_path / "o")
    facts = json.loads(done.stdout)
    assert 34 << 10 < facts["sizes"]["flash_bytes"] <= 40 << 10
    assert "so that the network fits, weights got fewer bits" in done.stderr
    again = facts["provenance"]["command"]
    assert "--bits-map" in again
    command(*shlex.split(again)[1:], "-o", tmp_path / "again", cwd=model.parent)
    first, second = contents(tmp_path / "o"), contents(tmp_path / "again")
    assert {name for name in first if first[name] != second[name]} == {"report.html"}  # it has the warning
    uniform = command("build", model, *arguments, "--bits", "4", "--low-ends", "-o", tmp_path / "four")
    assert sqnr(facts) > sqnr(json.loads(uniform.stdout))


def sqnr(facts: Facts) -> float:
    (output,) = facts["comparison"]["outputs"]
    return float(output["sqnr_db"])


def test_bits_that_the_user_chose_stay_and_the_miss_is_told(tmp_path: Path, model: Path) -> None:
    recipe = make_recipe(target="cortex-m4", bits="8")
    with pytest.raises(BudgetExceeded, match="flash"):
        build(model, tmp_path / "o", recipe, budget=Budget(flash_bytes=40 << 10))
    assert not (tmp_path / "o").exists()


def test_what_no_bits_can_reach_says_that_they_were_tried(tmp_path: Path, model: Path) -> None:
    with pytest.raises(BudgetExceeded, match="weights of fewer bits") as error:
        build(model, tmp_path / "o", make_recipe(target="cortex-m4"), budget=Budget(flash_bytes=9000))
    assert error.value.excess["flash"] > 0


def test_too_slow_names_the_slowest_layers_and_a_faster_part(tmp_path: Path) -> None:
    arguments = ["-t", "stm32f303", *DIGITS_INPUT, "--time", "2ms", "-o", tmp_path / "o"]
    done = command("build", DIGITS, *arguments, code=2)
    assert "estimated at 72 MHz, 2 ms allowed" in done.stderr
    assert "Parts of this core that have enough: " in done.stderr
    assert not (tmp_path / "o").exists()


def test_time_is_a_goal_too(tmp_path: Path, model: Path) -> None:
    """Products of 2-bit weights are faster on this core, those of 3 and 6 bits slower."""
    stated = ["-t", "cortex-m4", "--input-range", "-1,1", "--winograd", "off", "--activations", "int8"]
    free = json.loads(command("build", model, *stated, "--json", "-o", tmp_path / "free").stdout)
    allowed = 0.95 * free["time"]["seconds"]
    done = command("build", model, *stated, "--time", f"{allowed:.6f}s", "--json", "-o", tmp_path / "o")
    tight = json.loads(done.stdout)
    assert 0.5 * allowed < tight["time"]["seconds"] <= allowed
    assert "so that the network fits, weights got fewer bits" in done.stderr
    assert sqnr(free) > sqnr(tight)


def test_code_for_size_comes_before_fewer_bits(tmp_path: Path) -> None:
    """For speed each layer has its own code, 14,760 bytes with the constants; for size they share it."""
    arguments = ["-t", "cortex-m4", *DIGITS_INPUT, "--json"]
    done = command("build", DIGITS, *arguments, "--flash", "14300", "-o", tmp_path / "o")
    assert "so that the network fits, made for size" in done.stderr
    assert "fewer bits" not in done.stderr
