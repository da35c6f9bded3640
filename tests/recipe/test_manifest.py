"""The recipe in a manifest comes back as it was, or is refused; its command line makes it again."""

from __future__ import annotations

import copy
import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from dfqgen.cli.expand import choices_from
from dfqgen.errors import UserError
from dfqgen.recipe import Choices, make_recipe
from dfqgen.recipe.command import build_command, choices_of, number
from dfqgen.recipe.manifest import recipe_from_json, recipe_to_json
from dfqgen.samples.files import Samples
from tests.models import DIGITS_TEST

EVERY: list[Choices] = [
    {},
    {"target": "cortex-m0plus", "name": "wake", "optimize": "size", "scales": "multiplier"},
    {"input_mean": (0.1, 1 / 3, 2.0), "input_std": (58.395,), "input_range": (-1.0, 1e-3)},
    {"target": "cortex-m4", "stream": "on"},
    {"target": "cortex-m4", "input_rows": True, "rows_along": "width"},
    {"input_shape": {"": (1, 3, 8, 8)}, "io_layout": "nchw"},
    {"inputs": ("a:0",), "outputs": ("b c", "d")},
    {"input_shape": {"a b": (1, 3), "c": (1, 4)}, "weights": "per-tensor", "relu6": "replace"},
    {"weights": "per-tensor", "equalize": False, "fold_dead": False, "absorb_bias": True},
    {"statistics": "synthetic", "samples": 5, "seed": 7, "ranges": "percentile"},
    {"statistics": "synthetic", "empirical_bias": False, "n_sigma": 3.5},
    {"statistics": "analytic", "correct_bias": False},
    {"empirical_bias": True, "rounding": "squant", "rounding_data": "noise"},
    {"calibration_data": DIGITS_TEST, "ranges": "mse"},
    {"rounding": "adaround", "adaround_iterations": 10, "rounding_data": "procedural", "bits": "4"},
    {"bits": "2/6", "low_ends": True, "ternary": "threshold", "compensate": "weighted"},
    {"flash_budget": "57.3%", "bits_map": {"conv": 3, "depthwise": 8}},
    {"flash_budget": "96K", "compensate": "none"},
    {"target_sqnr": 21.7, "rounding": "nearest"},
    {"activations": "int16", "activations_map": {"conv'1": "int8"}},
]


@pytest.mark.parametrize("choices", EVERY, ids=str)
def test_the_record_gives_the_recipe_back(choices: Choices) -> None:
    recipe = make_recipe(**choices)
    record = json.loads(json.dumps(recipe_to_json(recipe)))
    again = recipe_from_json(record)
    assert recipe_to_json(again) == record
    if "calibration_data" not in choices:
        assert again == recipe


@pytest.mark.parametrize("choices", EVERY, ids=str)
def test_the_fewest_choices_make_the_same_recipe(choices: Choices) -> None:
    recipe = make_recipe(**choices)
    fewest = choices_of(recipe)
    assert fewest is not None
    assert make_recipe(**fewest) == recipe
    assert not make_recipe(**fewest).warnings


def test_the_command_is_quoted_for_the_shell() -> None:
    hostile = "a b'$(touch x).onnx"
    command = build_command(hostile, make_recipe(name="n", bits_map={"l;rm -rf": 4}))
    assert command is not None
    assert shlex.split(command) == [
        "dfqgen", "build", hostile, "--target", "host", "--name", "n", "--bits-map", "l;rm -rf=4",
    ]  # fmt: skip
    assert (build_command("-o.onnx", make_recipe()) or "").split()[2] == "./-o.onnx"


def test_what_has_no_flag_has_no_command() -> None:
    assert build_command("m.onnx", make_recipe(n_sigma_scores=5.0)) is None
    assert build_command("m.onnx", make_recipe(bits_map={"a,b": 4})) is None
    samples = Samples({"x": DIGITS_TEST})  # type: ignore[dict-item]
    assert build_command("m.onnx", make_recipe(calibration_data=samples)) is None


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e-3, 127.5, 60.0, 1e30])
def test_a_number_is_written_so_that_it_reads_the_same(value: float) -> None:
    assert float(number(value)) == value


def record_of(**choices: Any) -> dict[str, Any]:
    return recipe_to_json(make_recipe(**choices))


DAMAGED: list[tuple[tuple[str, ...], object]] = [
    (("version",), 1),
    (("version",), None),
    (("weights",), None),
    (("weights", "granularity"), "per-row"),
    (("weights", "scales"), "power-of-two"),
    (("low_bits", "wish"), {"pattern": [4, 5]}),
    (("low_bits", "wish"), {"pattern": [4], "percent": 3.0}),
    (("low_bits", "bits_map"), {"a": "4"}),
    (("samples", "seed"), True),
    (("samples", "calibration"), "absent.npz"),
    (("input", "meaning"), {"mean": ["0"], "std": [1.0], "lo": 0.0, "hi": 1.0}),
    (("passes", "fold_dead"), 1),
    (("passes", "more"), 1),
]


@pytest.mark.parametrize(("path", "value"), DAMAGED, ids=str)
def test_a_damaged_record_is_refused(path: tuple[str, ...], value: object) -> None:
    record = copy.deepcopy(record_of(bits="4"))
    place = record
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(UserError):
        recipe_from_json(record)


def test_a_record_that_lacks_an_entry_or_is_none_is_refused() -> None:
    record = record_of()
    del record["passes"]["relu6"]
    with pytest.raises(UserError, match="lacks 'relu6'"):
        recipe_from_json(record)
    nothing: Any
    for nothing in (None, [], "recipe"):
        with pytest.raises(UserError):
            recipe_from_json(nothing)


def test_options_of_the_command_line_parse_to_the_same_choices(tmp_path: Path) -> None:
    given = {"input_mean": "1,2", "bits_map": ["a=4,b=8"], "input_shape": ["x:1,3"], "seed": 3}
    assert choices_from(given) == {
        "input_mean": (1.0, 2.0),
        "bits_map": {"a": 4, "b": 8},
        "input_shape": {"x": (1, 3)},
        "seed": 3,
    }
