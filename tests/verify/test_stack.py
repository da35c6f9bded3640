"""The bound of the stack: read rightly, and above what an inference is seen to use on emulated cores."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfqgen import make_recipe, quantize
from dfqgen.emit.package import emit, write_files
from dfqgen.plan import plan_program
from dfqgen.targets import load_target
from dfqgen.verify.code_size import measure_code
from dfqgen.verify.firmware import run_firmware
from dfqgen.verify.stack import LIBRARY_BYTES, deepest_bytes, pushed_bytes, read_call_graph
from tests.models import DIGITS

BOARD_BYTES = 160
"""Of main, the self-test and an interrupt with an FPU's registers, which painting sees too."""


def graph_text(*nodes: tuple[str, str], edges: tuple[tuple[str, str], ...] = ()) -> str:
    lines = [f'node: {{ title: "{name}" label: "{name}\\nx.c:1:1\\n{stack}" }}' for name, stack in nodes]
    lines += [f'edge: {{ sourcename: "{a}" targetname: "{b}" label: "x.c:2:2" }}' for a, b in edges]
    return "\n".join(lines)


def test_the_deepest_way_counts() -> None:
    text = graph_text(
        ("top", "8 bytes (static)"), ("left", "100 bytes (static)"), ("right", "40 bytes (dynamic,bounded)"),
        ("leaf", "70 bytes (static)"), ("memset", ""),
        edges=(("top", "left"), ("top", "right"), ("right", "leaf"), ("leaf", "memset")),
    )  # fmt: skip
    assert deepest_bytes(read_call_graph(text, {}), "top") == 8 + 40 + 70 + LIBRARY_BYTES


def test_assembly_counts_by_its_pushes() -> None:
    lines = [
        "00000000 <kernel>:",
        "   0:\tpush\t{r4-r11, lr}",
        "   4:\tvpush\t{d8-d9}",
        "   8:\tsub\tsp, #16",
    ]
    lines += ["   c:\tstmdb\tsp!, {r4, r5}", "00000010 <other>:", "  10:\tbx\tlr"]
    pushed = pushed_bytes(lines)
    assert pushed == {"kernel": 36 + 16 + 16 + 8, "other": 0}
    text = graph_text(
        ("top", "8 bytes (static)"), ("f.c:kernel", "0 bytes (static)"), edges=(("top", "f.c:kernel"),)
    )
    assert deepest_bytes(read_call_graph(text, pushed), "top") == 8 + 76


@pytest.mark.parametrize("edges", [(("top", "top"),), (("top", "leaf"), ("leaf", "top"))])
def test_recursion_has_no_bound(edges: tuple[tuple[str, str], ...]) -> None:
    text = graph_text(("top", "8 bytes (static)"), ("leaf", "8 bytes (static)"), edges=edges)
    assert deepest_bytes(read_call_graph(text, {}), "top") is None


def test_an_array_of_variable_length_has_no_bound() -> None:
    text = graph_text(("top", "8 bytes (static)"), ("leaf", "8 bytes (dynamic)"), edges=(("top", "leaf"),))
    assert deepest_bytes(read_call_graph(text, {}), "top") is None


def test_a_call_through_a_pointer_may_reach_what_nobody_names() -> None:
    text = graph_text(
        ("top", "8 bytes (static)"), ("__indirect_call", ""), ("kernel", "50 bytes (static)"),
        edges=(("top", "__indirect_call"),),
    )  # fmt: skip
    assert deepest_bytes(read_call_graph(text, {}), "top") == 58


@pytest.mark.parametrize("name", ["cortex-m0plus", "cortex-m4", "cortex-m55", "riscv32imc"])
def test_no_inference_is_seen_to_need_more(tmp_path: Path, name: str) -> None:
    target = load_target(name)
    program = quantize(DIGITS, make_recipe(target=name))
    files = emit(program, plan_program(program, target), target)
    write_files(files, tmp_path)
    size = measure_code(files, target, "speed")
    assert size is not None
    assert size.stack_bytes is not None
    painted = run_firmware(tmp_path, target).stack_bytes
    assert size.stack_bytes <= painted <= size.stack_bytes + BOARD_BYTES
