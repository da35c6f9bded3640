"""What the user says of inputs, as text and in dfqgen.toml."""

from __future__ import annotations

import tomllib

import numpy as np
import pytest

from dfqgen.errors import UserError
from dfqgen.graph.ir import Graph, Port
from dfqgen.ops.lookup import Clip
from dfqgen.recipe.choices import make_recipe
from dfqgen.recipe.command import build_command
from dfqgen.recipe.manifest import recipe_from_json, recipe_to_json
from dfqgen.samples.doubts import UNSTATED_WARNING, input_warnings, sample_warnings
from dfqgen.samples.files import Samples
from dfqgen.samples.meaning import UNSTATED, InputMeaning, meanings_for
from dfqgen.samples.stated import PRESETS, Meanings, meanings_from_table, parse_inputs, parse_meaning
from tests.builders import chain

PIXELS = InputMeaning((127.5,), (127.5,))


def two_inputs() -> Graph:
    graph = chain([Clip.of(0.0, 1.0)], (1, 8, 6, 3))
    (port,) = graph.inputs
    return Graph("net", (port, Port("a:0", "b", (1, 4))), graph.outputs, graph.nodes)


def test_an_input_is_named_before_the_last_colon() -> None:
    found = parse_inputs(["a:0:range=-90..90", "signed"])
    assert found == {"a:0": InputMeaning(lo=-90.0, hi=90.0), "": PIXELS}


def test_channels_have_commas_between() -> None:
    found = parse_meaning("mean=1,2,3,std=4,range=0..1e2")
    assert found == InputMeaning((1.0, 2.0, 3.0), (4.0,), 0.0, 100.0)


@pytest.mark.parametrize(
    "text",
    ["", "grey", "mean", "mean=", "mean=1,mean=2", "median=1", "range=3", "range=1..2,3", "range=2..1"],
)
def test_what_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        parse_meaning(text)


def test_an_input_is_stated_once() -> None:
    with pytest.raises(UserError, match="stated before"):
        parse_inputs(["x:raw", "x:unit"])


def test_presets_are_what_the_network_sees_of_pixels() -> None:
    seen = {name: PRESETS[name].seen for name in ("signed", "unit", "raw")}
    assert seen == {"signed": (-1.0, 1.0), "unit": (0.0, 1.0), "raw": (0.0, 255.0)}
    np.testing.assert_allclose(PRESETS["imagenet"].seen, (-2.118, 2.64), atol=1e-3)


def meanings(text: str) -> Meanings:
    return meanings_from_table("inputs", tomllib.loads(text)["inputs"])


def test_a_table_of_its_own_comes_before_that_of_all() -> None:
    found = meanings('[inputs]\npreset = "signed"\n[inputs."a:0"]\nmean = [1, 2]\nrange = [-1, 1]\n')
    assert found == {"": PIXELS, "a:0": InputMeaning((1.0, 2.0), (1.0,), -1.0, 1.0)}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("inputs = 3", "table"),
        ("[inputs]\nmedian = 3", "'median' is unknown"),
        ('[inputs]\nmean = "3"', "numbers"),
        ("[inputs]\nmean = true", "numbers"),
        ("[inputs]\nrange = [1]", "numbers"),
        ('[inputs]\npreset = "grey"', "preset is one of"),
        ('[inputs]\npreset = "raw"\nmean = 1', "preset is one of"),
        ("[inputs.x]", "nothing is said"),
    ],
)
def test_a_wrong_table_names_what_is_wrong(text: str, word: str) -> None:
    with pytest.raises(UserError, match=word):
        meanings(text)


def test_every_input_has_its_meaning_and_others_the_common_one() -> None:
    sensor = InputMeaning(lo=-2.0, hi=2.0)
    graph = two_inputs()
    assert list(meanings_for(graph, PIXELS, {"a:0": sensor}).values()) == [PIXELS, sensor]
    assert list(meanings_for(graph, None, {"a:0": sensor}).values()) == [UNSTATED, sensor]
    with pytest.raises(UserError, match="no input 'c'"):
        meanings_for(graph, None, {"c": sensor})


def test_a_recipe_keeps_every_meaning_and_says_it_again() -> None:
    recipe = make_recipe(input=parse_inputs(["unit", "a:0:mean=0.1,std=3,range=-2..2"]))
    assert recipe.input.meaning == PRESETS["unit"]
    assert recipe_from_json(recipe_to_json(recipe)) == recipe
    command = build_command("m.onnx", recipe)
    assert command is not None
    assert "--input a:0:mean=0.1,std=3,range=-2..2" in command


def test_two_meanings_of_all_inputs_contradict_each_other() -> None:
    with pytest.raises(UserError, match="--input-mean"):
        make_recipe(input=parse_inputs(["unit"]), input_mean=(1.0,))
    make_recipe(input=parse_inputs(["x:unit"]), input_mean=(1.0,))


def test_inputs_nobody_explained_are_told() -> None:
    graph = two_inputs()
    assert input_warnings(graph, None, {"x": PIXELS}) == (UNSTATED_WARNING,)
    assert input_warnings(graph, None, {port.name: PIXELS for port in graph.inputs}) == ()


def test_fractions_stated_for_pixels_are_told() -> None:
    graph = chain([Clip.of(0.0, 1.0)], (1, 8, 6, 3))
    (told,) = input_warnings(graph, InputMeaning((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), {})
    assert "-2.118 to 1136" in told
    assert "state that range, or multiply both by 255" in told
    assert input_warnings(graph, InputMeaning((0.5,), (0.5,), 0.0, 1.0), {}) == ()
    for fine in (PRESETS["raw"], PRESETS["imagenet"], InputMeaning((104.0, 117.0, 123.0))):
        assert input_warnings(graph, fine, {}) == ()


def test_samples_that_fill_a_sliver_of_the_range_are_told() -> None:
    graph = chain([Clip.of(0.0, 1.0)], (1, 8, 6, 3))
    x = np.random.default_rng(0).random((4, 8, 6, 3), np.float32)
    (told,) = sample_warnings(graph, {"x": InputMeaning()}, Samples({"x": x}))
    assert "a sliver of the stated range 0 to 255" in told
    assert sample_warnings(graph, {"x": InputMeaning(hi=1.0)}, Samples({"x": x})) == ()
    assert sample_warnings(graph, {"x": InputMeaning(hi=4.0)}, Samples({"x": x})) == ()


def test_samples_beyond_the_range_are_told() -> None:
    graph = chain([Clip.of(0.0, 1.0)], (1, 8, 6, 3))
    x = np.linspace(0.0, 255.0, 4 * 144, dtype=np.float32).reshape(4, 8, 6, 3)
    (told,) = sample_warnings(graph, {"x": InputMeaning(hi=1.0)}, Samples({"x": x}))
    assert "99 % of the samples' values lie outside the stated range 0 to 1" in told
    assert sample_warnings(graph, {"x": InputMeaning(hi=254.0)}, Samples({"x": x})) == ()
