"""What generated C says about itself: the header, the table of the arena, the comment of each layer."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfqgen.emit import emit
from dfqgen.emit.describe import activation_text, place_text, selection_text
from dfqgen.emit.names import comment_lines
from dfqgen.emit.provenance import Provenance
from dfqgen.fixedpoint.program import Program
from dfqgen.kernels.base import Plan, Selection, Step
from dfqgen.ops.conv import QConv2D
from dfqgen.plan import plan_program
from dfqgen.targets import load_target
from dfqgen.verify.toolchain import WARNINGS, compile_c
from tests.emit.test_names import HOSTILE
from tests.emit.test_package import COMPILERS
from tests.programs import branched, stored, tiny, write

TARGET = load_target("cortex-m4")
ROW = re.compile(r"#define (\w+) +(\d+) /\* +(\d+) bytes, layers +(\w+)\.\.(\w+) +(.*) \*/")


def c_of(program: Program, plan: Plan) -> str:
    return emit(program, plan, TARGET)[f"{program.name}.c"].decode()


@pytest.mark.parametrize("make", [tiny, branched])
def test_the_table_has_the_place_and_the_layers_of_every_buffer(make: type) -> None:
    program = make()
    plan = plan_program(program, TARGET)
    text = c_of(program, plan)
    rows = {name: rest for name, *rest in ROW.findall(text)}
    defined = [int(offset) for offset, *_ in rows.values()]
    assert sorted(defined) == sorted(
        [plan.offsets[port.tensor] for port in program.inputs]
        + [step.output_offset for step in plan.steps]
        + [step.scratch_offset for step in plan.steps if step.scratch_bytes]
    )
    assert all(int(offset) + int(size) <= plan.arena_bytes for offset, size, *_ in rows.values())
    assert sum(last == "out" for _, _, _, last, _ in rows.values()) == len(program.outputs)
    assert sum(first == "in" for _, _, first, _, _ in rows.values()) == len(program.inputs)


@pytest.mark.parametrize("make", [tiny, branched])
def test_calls_use_names_that_are_in_the_table(make: type) -> None:
    program = make()
    text = c_of(program, plan_program(program, TARGET))
    used = re.findall(r"arena \+ (\w+);", text)
    assert set(used) == {name for name, *_ in ROW.findall(text)}


def test_layers_named_like_inputs_and_scratch_do_not_share_names() -> None:
    program = tiny()
    names = ("input", "conv_scratch", "conv")
    ops = tuple(
        replace(op, name=names[i]) if i < len(names) else op  # type: ignore[type-var]
        for i, op in enumerate(program.ops)
    )
    program = Program("net", program.inputs, program.outputs, program.tensors, ops)
    rows = [name for name, *_ in ROW.findall(c_of(program, plan_program(program, load_target("cortex-m3"))))]
    assert len(set(rows)) == len(rows)
    assert {"NET_AT_INPUT", "NET_AT_INPUT_2", "NET_AT_CONV_SCRATCH", "NET_AT_CONV"} <= set(rows)


def convolution(lo: int, hi: int) -> Step:
    """The first layer of `tiny`, whose outputs are 0.0116 * (q + 128), with other bounds."""
    step = plan_program(stored(), TARGET).steps[0]
    assert isinstance(step.op, QConv2D)
    ones = np.ones(6, np.int64)
    bounds = replace(step.op.requantize, lo=lo * ones, hi=hi * ones)
    return replace(step, op=replace(step.op, requantize=bounds))


def test_an_activation_is_told_in_reals() -> None:
    assert activation_text(convolution(-128, 127)) == "ReLU"
    assert activation_text(convolution(-128, 0)) == "ReLU, at most 1.49"
    assert activation_text(convolution(-42, 0)) == "clip 1.001 to 1.49"
    assert activation_text(convolution(-42, 127)) == "at least 1.001"
    step = convolution(-128, 127)
    six = replace(step.output, qtype=replace(step.output.qtype, scale=6 / 255))
    assert activation_text(replace(step, output=six)) == "ReLU6"
    signed = replace(step.output, qtype=replace(step.output.qtype, zero_point=3))
    assert activation_text(replace(step, output=signed)) == ""
    by_channel = replace(step.op, requantize=replace(step.op.requantize, hi=np.arange(6)))  # type: ignore
    assert activation_text(replace(step, op=by_channel)) == "ReLU, at most (1.49 .. 1.548, by channel)"


def test_a_pool_of_what_a_relu_left_is_no_second_relu() -> None:
    step = plan_program(stored(), TARGET).steps[4]
    tensors = (*step.inputs, step.output)
    x, y = (replace(tensor, qtype=replace(tensor.qtype, zero_point=-128)) for tensor in tensors)
    assert activation_text(replace(step, inputs=(x,), output=y)) == ""


def test_where_the_output_lies_is_told() -> None:
    step = convolution(-128, 127)  # 192 bytes in, 96 bytes out
    for x, y, text in (
        (96, 0, ""),
        (95, 0, "overwrites the input from 95 bytes ahead"),
        (0, 0, "overwrites the input in place"),
        (0, 192, ""),
    ):
        assert place_text(replace(step, input_offsets=(x,), output_offset=y)) == text


@pytest.mark.parametrize(
    ("selection", "text"),
    [
        (Selection(1, 12_345.0, 12_345.0, True), "about 12.3 k instructions on m4, the only kernel"),
        (Selection(3, 950.0, 950.0, True), "about 950 instructions on m4, the fewest of 3 kernels"),
        (
            Selection(3, 2.5e6, 2.4e6, True),
            "about 2.5 M instructions on m4, for less memory: the fastest of 3 kernels takes 2.4 M",
        ),
        (Selection(2, 10.0, 10.0, False), "one of 2 kernels, not measured on m4"),
    ],
)
def test_the_choice_of_a_kernel_is_explained(selection: Selection, text: str) -> None:
    assert selection_text(selection, "m4") == text


def test_the_plan_knows_how_many_kernels_were_in_question() -> None:
    selections = [step.selection for step in plan_program(stored(), TARGET).steps]
    assert all(s is not None and s.candidates >= 1 and s.fastest <= s.instructions for s in selections)
    assert selections[0] is not None
    assert selections[0].candidates > 1  # a portable kernel and one of the DSP extension


def test_the_header_says_what_it_was_made_of() -> None:
    program = tiny()
    origin = Provenance("tiny.onnx", "0123456789abcdef" * 4, {}, "dfqgen build tiny.onnx --target cortex-m4")
    header = emit(program, plan_program(program, TARGET), TARGET, provenance=origin)["tiny.h"].decode()
    assert "Model      tiny.onnx, SHA-256 0123456789abcdef...\n" in header
    assert "Made by    dfqgen build tiny.onnx --target cortex-m4\n" in header
    assert "Target     cortex-m4, optimized for speed\n" in header


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_command_stays_in_its_comment(tmp_path: Path, text: str) -> None:
    program = tiny()
    origin = Provenance(text, "0" * 64, {}, f"dfqgen build {' '.join([text] * 40)}")
    files = emit(program, plan_program(program, TARGET), TARGET, provenance=origin)
    header = files["tiny.h"].decode("ascii")
    plain = emit(program, plan_program(program, TARGET), TARGET)["tiny.h"].decode("ascii")
    assert header[header.index("#ifndef") :] == plain[plain.index("#ifndef") :]
    assert header[: header.index("#ifndef")].count("*/") == 2


@given(st.text(), st.integers(10, 100))
def test_a_long_text_is_broken_into_harmless_lines(text: str, width: int) -> None:
    lines = comment_lines(text, width, 3)
    assert len(lines) <= 4
    for line in lines:
        assert re.fullmatch(rf"[ -~]{{0,{width}}}", line)
        assert not any(pair in line for pair in ("*/", "/*", "??", "\\"))


@pytest.mark.parametrize("optimize", ["-O0", "-O1", "-O2", "-O3", "-Os"])
@pytest.mark.parametrize("compiler", COMPILERS)
def test_no_optimization_gives_warnings(tmp_path: Path, compiler: str, optimize: str) -> None:
    write(tiny(), tmp_path / "out", target="cortex-m4")
    core = ["-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard"] if compiler.startswith("arm") else []
    for name in ("tiny.c", "tiny_weights.c"):
        compile_c([tmp_path / "out" / name], tmp_path / "a.o", [*WARNINGS, optimize, "-c", *core], [compiler])
