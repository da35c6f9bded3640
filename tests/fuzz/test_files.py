"""Files and options that anybody may have written: taken or refused in words, whatever is in them."""

from __future__ import annotations

import contextlib
import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from dfqgen.cli import app
from dfqgen.cli.failures import INTERNAL
from dfqgen.errors import UserError
from dfqgen.fixedpoint.program import Program
from dfqgen.fixedpoint.serialize import program_from_json, program_to_json
from dfqgen.frontend import load
from dfqgen.recipe.manifest import recipe_from_json, recipe_to_json
from dfqgen.recipe.records import Recipe
from dfqgen.samples.files import load_samples
from dfqgen.samples.stated import meanings_from_table, parse_inputs
from dfqgen.targets import load_target
from tests.models import tiny
from tests.programs import branched
from tests.programs import tiny as tiny_program

JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.sampled_from([0, 1, -1, 255, -129, 1 << 31, -(1 << 31), 1 << 63, 1 << 200]),
        st.sampled_from([0.0, 0.5, -1.5, 1e-300, 1e300, math.inf, math.nan]),
        st.sampled_from(["", "x", "INT8", "INT16", "QConv2D", "t1", "int8", "AAAA", "..", "\0"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=4,
)
RUN = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Of every value within a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy with another value at `path`."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def one_place_replaced(original: Any) -> st.SearchStrategy[Any]:
    """The document with any of its values replaced by any other, of its own among them."""
    found = places(original)

    def at(path: tuple[Any, ...]) -> Any:
        value = original
        for key in path:
            value = value[key]
        return value

    others = st.one_of(JSON, st.sampled_from(found[1:]).map(at))
    return st.builds(lambda path, new: replaced(original, path, new), st.sampled_from(found), others)


PROGRAMS = [json.loads(program_to_json(program)) for program in (tiny_program(), branched())]


@RUN
@given(st.sampled_from(PROGRAMS).flatmap(one_place_replaced))
def test_a_program_of_any_content_is_refused_or_proved(document: Any) -> None:
    try:
        program = program_from_json(json.dumps(document))
    except UserError:
        return
    assert isinstance(program, Program)
    program.verify()
    assert program_from_json(program_to_json(program)).ops


@RUN
@given(one_place_replaced(recipe_to_json(Recipe())))
def test_a_recipe_of_any_content_is_refused_or_read(document: Any) -> None:
    with contextlib.suppress(UserError):
        recipe_to_json(recipe_from_json(document))


@RUN
@given(st.text(max_size=30))
def test_a_target_of_any_name_is_refused_or_known(name: str) -> None:
    with contextlib.suppress(UserError):
        assert load_target(name).name


@RUN
@given(st.dictionaries(st.text(max_size=4) | st.sampled_from(["x", "mean", "std", "range", "preset"]), JSON))
def test_a_table_of_inputs_is_refused_or_read(table: dict[str, Any]) -> None:
    with contextlib.suppress(UserError):
        meanings_from_table("inputs", table)


@RUN
@given(st.lists(st.text("imagent:=,.0123456789e-x std range", max_size=25), max_size=3))
def test_inputs_in_words_are_refused_or_read(texts: list[str]) -> None:
    with contextlib.suppress(UserError):
        parse_inputs(texts)


def test_a_sample_file_of_any_bytes_is_refused_or_read(tmp_path: Path) -> None:
    graph = load(tiny(tmp_path / "tiny.onnx"))
    path = tmp_path / "x.npz"
    np.savez(path, image=np.zeros((2, 6, 6, 2), np.uint8), y=np.zeros(2, np.int64))
    original = path.read_bytes()
    generator = random.Random(0)
    outcomes = set()
    for _ in range(400):
        content = bytearray(original)
        for _ in range(generator.choice((1, 1, 3))):
            place = generator.randrange(len(content))
            content[place : place + generator.choice((0, 1, 1, 4))] = generator.choice(
                (b"\xff", b"\0", b"(", b"9", b"\xff\xff\xff\x7f", b"99999999")
            )
        path.write_bytes(content)
        try:
            assert load_samples(path, graph).count > 0
            outcomes.add("read")
        except UserError:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


CHOICES = {
    "--activations": ("int8", "int16"),
    "--bits": ("8", "4", "mixed", "1"),
    "--input-mean": ("0", "1,2", "1e30"),
    "--input-range": ("0,1", "1,0", "-1e-40,1e-40"),
    "--input-shape": ("1,2,6,6", "image:1x2x9x9", "0", "1,2,65536,65536"),
    "--input-std": ("1", "255", "1e-30"),
    "--inputs": ("image", "inner", "nothing"),
    "--io-layout": ("nchw", "nhwc"),
    "--name": ("", "x", "int", "9" * 300),
    "--optimize": ("size", "balanced", "speed", "both"),
    "--outputs": ("result", "inner", "image", ""),
    "--ranges": ("min-max", "error", "x"),
    "--rounding": ("nearest", "squant", "feedback", "adaround"),
    "--rows-along": ("height", "width"),
    "--samples": ("1", "0", "7"),
    "--scales": ("multiplier", "power-of-two"),
    "--statistics": ("analytic", "procedural", "synthetic"),
    "--target": ("cortex-m4", "cortex-m0plus", "host", "esp32-c3", "x"),
    "--target-sqnr": ("20", "-5", "nan"),
    "--weights": ("per-channel", "per-tensor"),
    "--flash-budget": ("50%", "1K", "0"),
    "--min-sqnr": ("10", "inf"),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny(tmp_path_factory.mktemp("options") / "tiny.onnx")


def test_options_in_any_company_end_in_a_program_or_in_words(model: Path) -> None:
    """Up to five at a time: contradictions, values of other options, repetitions."""
    generator = random.Random(0)
    codes = set()
    for _ in range(60):
        arguments = ["inspect", str(model), "--ir"]
        for _ in range(generator.randint(1, 5)):
            option = generator.choice(list(CHOICES))
            values = CHOICES[option] if generator.random() < 0.9 else generator.choice(list(CHOICES.values()))
            arguments += [option, generator.choice(values)]
        if "adaround" in arguments or "synthetic" in arguments:
            continue  # minutes
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code != INTERNAL, (arguments, result.output)
        assert result.exception is None or isinstance(result.exception, SystemExit), arguments
        codes.add(result.exit_code)
    assert codes == {0, 2}
