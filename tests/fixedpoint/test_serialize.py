"""A program survives JSON; a damaged file is an error of the user, never a crash."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfqgen.errors import UserError
from dfqgen.fixedpoint.serialize import program_from_json, program_to_json
from dfqgen.fixedpoint.text import program_text
from dfqgen.fixedpoint.vectors import make_inputs
from dfqgen.recipe import make_recipe
from tests.programs import branched, tiny

TEXT = program_to_json(tiny())


@pytest.mark.parametrize(
    "program", [tiny(), branched(), tiny(recipe=make_recipe(scales="power-of-two")), tiny("名前*/")]
)
def test_a_program_survives_json(program: Any) -> None:
    text = program_to_json(program)
    copy = program_from_json(text)
    assert program_to_json(copy) == text
    assert program_text(copy) == program_text(program)
    for kind in ("random", "checkerboard"):
        inputs = make_inputs(program, kind)
        for tensor, value in program.run(inputs).items():
            np.testing.assert_array_equal(copy.run(inputs)[tensor], value)


DAMAGE: dict[str, Callable[[Any], Any]] = {
    "not an object": lambda data: [data],
    "no format": lambda data: {**data, "format": "other"},
    "unknown operator": lambda data: _with_op(data, operator="QEvil"),
    "not an operator": lambda data: _with_op(data, operator="Program"),
    "missing entry": lambda data: {**data, "ops": [{"operator": "QConv2D"}]},
    "surplus entry": lambda data: _with_op(data, surplus=1),
    "wrong type": lambda data: _with_op(data, stride="1x1"),
    "wrong length": lambda data: _with_op(data, stride=[1, 1, 1]),
    "boolean for a number": lambda data: _with_op(data, groups=True),
    "a weight as an object array": lambda data: _with_array(data, dtype="object"),
    "too few bytes": lambda data: _with_array(data, base64="AAAA"),
    "no base64": lambda data: _with_array(data, base64="*"),
    "huge shape": lambda data: _with_array(data, shape=[1 << 40, 1, 1, 1]),
    "negative shape": lambda data: _with_array(data, shape=[-1, -6, 3, 9]),
    "reads an unknown tensor": lambda data: _with_op(data, inputs=["nothing"]),
    "stride of zero": lambda data: _with_op(data, stride=[0, 0]),
    "no groups": lambda data: _with_op(data, groups=0),
}


def _with_op(data: Any, **entries: Any) -> Any:
    return {**data, "ops": [{**data["ops"][0], **entries}, *data["ops"][1:]]}


def _with_array(data: Any, **entries: Any) -> Any:
    return _with_op(data, weight={**data["ops"][0]["weight"], **entries})


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_refused(damage: str) -> None:
    with pytest.raises(UserError):
        program_from_json(json.dumps(DAMAGE[damage](json.loads(TEXT))))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(TEXT) - 1), st.integers(0, 40), st.text(max_size=5))
def test_random_damage_never_crashes(start: int, length: int, replacement: str) -> None:
    damaged = TEXT[:start] + replacement + TEXT[start + length :]
    with contextlib.suppress(UserError):
        program_from_json(damaged).verify()
