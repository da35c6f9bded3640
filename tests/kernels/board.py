"""Many cases in one program, compared bit by bit: on an emulated board, or here under the sanitizers."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dfqgen import resources
from dfqgen.emit.context import initializer, number_table
from dfqgen.kernels import REGISTRY
from dfqgen.kernels.base import Kernel
from dfqgen.targets import Isa, Target
from dfqgen.verify.firmware import emulate, find_tool, start_files
from dfqgen.verify.toolchain import WARNINGS, compile_c
from tests.kernels.library import buffer_alignment
from tests.kernels.strategies import Case

GUARD = 32
CANARY = 0x5A

_BOARD_HEAD = """
#include "dfq_board.h"
#include <string.h>

static int8_t arena[ARENA] __attribute__((aligned(16)));
typedef void call_t(int8_t *const *inputs, int8_t *out, int8_t *scratch);

static void number(uint64_t value) { dfq_print_hex(value); dfq_print(" "); }

static int8_t *aligned(int8_t *at, uintptr_t align)
{
    return (int8_t *)(((uintptr_t)at + align - 1u) & ~(align - 1u));
}

/* Buffers one after the other with guards between them; the output over input `overlap`, if any. */
static void check(unsigned index, call_t *call, const int8_t *const *values, const int32_t *sizes, int count,
                  const int8_t *expected, int32_t out_size, int32_t scratch_size, int overlap, int32_t lead,
                  uintptr_t align)
{
    int8_t *inputs[2] = {0, 0};
    int8_t *out = 0;
    int8_t *at = arena;
    memset(arena, CANARY, sizeof arena);
    for (int i = 0; i < count; i++) {
        at = aligned(at + GUARD, align);
        if (i == overlap) {
            out = at;
            at += lead;
        }
        inputs[i] = at;
        memcpy(at, values[i], (size_t)sizes[i]);
        at += sizes[i];
        if (i == overlap && at < out + out_size) { at = out + out_size; }
    }
    if (overlap < 0) {
        at = aligned(at + GUARD, align) + SHIFT * align;
        out = at;
        at += out_size;
    }
    at += GUARD;
    int8_t *const scratch = aligned(at, 16);
    const uint64_t start = dfq_ticks();
    call(inputs, out, scratch);
    const uint64_t ticks = dfq_ticks() - start;
    unsigned wrong = 0;
    unsigned harm = 0;
    for (int32_t i = 0; i < out_size; i++) { wrong += out[i] != expected[i]; }
    for (int32_t i = 1; i <= GUARD; i++) {
        harm += out[-i] != CANARY;
        harm += scratch[scratch_size + i - 1] != CANARY;
        if (overlap < 0 || inputs[overlap] + sizes[overlap] <= out + out_size) {
            harm += out[out_size + i - 1] != CANARY;
        }
    }
    for (int i = 0; i < count; i++) {
        if (i != overlap) {
            for (int32_t k = 0; k < sizes[i]; k++) { harm += inputs[i][k] != values[i][k]; }
        }
    }
    dfq_print("dfq case ");
    number(index);
    number(ticks);
    number(wrong);
    number(harm);
    dfq_print("\\n");
}
"""

_NO_CHECKS = """
typedef void call_t(int8_t *const *inputs, int8_t *out, int8_t *scratch);
void check(unsigned index, call_t *call, const int8_t *const *values, const int32_t *sizes, int count,
           const int8_t *expected, int32_t out_size, int32_t scratch_size, int overlap, int32_t lead,
           uintptr_t align);
"""

# Every buffer is its own allocation of exactly its size, so that the sanitizer sees each byte beyond it.
_HOST_HEAD = """
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void call_t(int8_t *const *inputs, int8_t *out, int8_t *scratch);

static int8_t *buffer(int32_t size) { return malloc(size > 0 ? (size_t)size : 1u); }

static void check(unsigned index, call_t *call, const int8_t *const *values, const int32_t *sizes, int count,
                  const int8_t *expected, int32_t out_size, int32_t scratch_size, int overlap, int32_t lead,
                  uintptr_t align)
{
    (void)align;
    int8_t *inputs[8] = {0};
    int8_t *const scratch = buffer(scratch_size);
    int8_t *out = overlap < 0 ? buffer(out_size) : 0;
    for (int i = 0; i < count; i++) {
        const int32_t size = lead + sizes[i];
        inputs[i] = i == overlap ? buffer(size > out_size ? size : out_size) : buffer(sizes[i]);
        if (i == overlap) {
            out = inputs[i];
            inputs[i] += lead;
        }
        memcpy(inputs[i], values[i], (size_t)sizes[i]);
    }
    call(inputs, out, scratch);
    if (memcmp(out, expected, (size_t)out_size) != 0) { printf("wrong %u\\n", index); }
    for (int i = 0; i < count; i++) {
        if (i == overlap) { continue; }
        if (memcmp(inputs[i], values[i], (size_t)sizes[i]) != 0) { printf("harm %u\\n", index); }
        free(inputs[i]);
    }
    free(out);
    free(scratch);
}
"""


@dataclass(frozen=True)
class Run:
    """A kernel on a case; its output over input `overlap` or apart."""

    kernel: Kernel[Any]
    case: Case
    overlap: int | None = None


def runs_of(case: Case, isa: Isa) -> list[Run]:
    """Each kernel that can do it, apart from its inputs and over each that it may overwrite."""
    runs = []
    for kernel in REGISTRY.candidates(case.op, case.inputs, case.output, [isa]):
        runs.append(Run(kernel, case))
        for index in range(len(case.inputs)):
            if kernel.overlap_lead_bytes(case.op, case.inputs, case.output, index) is not None:
                runs.append(Run(kernel, case, index))
    return runs


@dataclass(frozen=True)
class Result:
    """Instructions, wrong output bytes, and bytes changed that are not the kernel's."""

    instructions: int
    wrong: int
    harmed: int


def run_on_board(
    runs: Sequence[Run], target: Target, folder: Path, optimize: str = "speed", shift: int = 1
) -> list[Result]:
    """All runs in one firmware. `shift` moves outputs off their alignment."""
    assert target.emulator is not None
    firmware = resources.runtime_dir() / "firmware"
    source = folder / "sweep.c"
    source.write_text(_program(runs, optimize == "size", shift, _BOARD_HEAD))
    flags = [*target.compiler.flags_for(optimize), *WARNINGS, "-Wno-overlength-strings", "-nostartfiles"]
    flags += ["-Wno-conversion", "-Wno-sign-conversion", f"-I{firmware}", f"-L{firmware}"]
    flags += ["-T", target.emulator.linker_script]
    elf = folder / "sweep.elf"
    sources = [source, *start_files(target.emulator)]
    compile_c(sources, elf, flags, [find_tool(target.compiler.command, target)])
    lines = [line.split()[1:] for line in emulate(elf, target) if line.startswith("case ")]
    assert len(lines) == len(runs), "the firmware stopped early"
    per_tick = 1e9 / target.emulator.tick_hz
    numbers = [[int(word, 16) for word in line] for line in lines]
    return [Result(round(ticks * per_tick), wrong, harm) for _, ticks, wrong, harm in numbers]


def board_source(runs: Sequence[Run], size: bool, *, checks: bool = True) -> str:
    """The C of a firmware that makes these runs; without `checks`, the kernels and their calls alone."""
    head = _BOARD_HEAD.replace('"dfq_board.h"', f'"{resources.runtime_dir() / "firmware" / "dfq_board.h"}"')
    return _program(runs, size, 1, head if checks else _NO_CHECKS)


def run_under_sanitizers(runs: Sequence[Run], folder: Path) -> None:
    """All runs on this machine; fails on a wrong byte, a touched neighbour, undefined behaviour."""
    source, binary = folder / "sweep.c", folder / "sweep"
    source.write_text(_program(runs, True, 0, _HOST_HEAD))
    flags = [*WARNINGS, "-Wno-overlength-strings", "-O1", "-g"]
    flags += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    compile_c([source], binary, flags, ["gcc"])
    result = subprocess.run([binary], capture_output=True, text=True, check=False, timeout=300)
    assert (result.returncode, result.stdout) == (0, ""), (result.stdout + result.stderr)[:4000]


def _program(runs: Sequence[Run], size: bool, shift: int, head: str) -> str:
    headers = sorted({run.kernel.header for run in runs})
    arena = max(map(_arena_bytes, runs)) + 6 * GUARD + 4 * shift + 32
    lines = ["#define DFQ_OPTIMIZE_SIZE 1"] if size else []
    lines += [f"#define ARENA {arena}", f"#define GUARD {GUARD}", f"#define CANARY {CANARY}"]
    lines += [f"#define SHIFT {shift}"]
    lines += [f'#include "{resources.runtime_dir() / header}"' for header in headers]
    lines.append(head)
    calls = []
    tables: dict[int, int] = {}
    for index, run in enumerate(runs):
        case, kernel = run.case, run.kernel
        code = kernel.code(case.op, case.inputs, case.output)
        symbols = {array.role: f"c{index}_{array.role}" for array in code.arrays}
        for array in code.arrays:
            lines.append(_table(array.ctype, symbols[array.role], array.values))
        if id(case) not in tables:
            tables[id(case)] = index
            for i, values in enumerate(case.values):
                lines.append(_table("int8_t", f"c{index}_in{i}", _bytes(values)))
            lines.append(_table("int8_t", f"c{index}_expected", _bytes(case.expected)))
        data = tables[id(case)]
        lines.append(
            f"static const {code.struct} c{index}_layer = {{\n{initializer(code.fields, symbols)}\n}};"
        )
        scratch = kernel.scratch_bytes(case.op, case.inputs, case.output)
        arguments = [f"inputs[{i}]" for i in range(len(case.values))] + ["out"]
        arguments += ["scratch"] if scratch else []
        lines.append(
            f"DFQ_NOINLINE void c{index}(int8_t *const *inputs, int8_t *out, int8_t *scratch)"
            f"\n{{\n    (void)scratch;\n    {kernel.function}(&c{index}_layer, {', '.join(arguments)});\n}}"
        )
        lead, align = 0, buffer_alignment(case.inputs, case.output)
        if run.overlap is not None:
            found = kernel.overlap_lead_bytes(case.op, case.inputs, case.output, run.overlap)
            assert found is not None
            lead = found + -found % align
        inputs = ", ".join(f"c{data}_in{i}" for i in range(len(case.values)))
        sizes = ", ".join(str(values.nbytes) for values in case.values)
        overlap = -1 if run.overlap is None else run.overlap
        calls.append(
            f"    {{ const int8_t *const values[] = {{{inputs}}}; const int32_t sizes[] = {{{sizes}}};\n"
            f"      check({index}, c{index}, values, sizes, {len(case.values)}, c{data}_expected, "
            f"{case.output.size_bytes}, {scratch}, {overlap}, {lead}, {align}); }}"
        )
    lines += ["int main(void)", "{", *calls, "    return 0;", "}"]
    return "\n".join(lines) + "\n"


def _arena_bytes(run: Run) -> int:
    case = run.case
    scratch = run.kernel.scratch_bytes(case.op, case.inputs, case.output)
    lead = 0
    if run.overlap is not None:
        lead = run.kernel.overlap_lead_bytes(case.op, case.inputs, case.output, run.overlap) or 0
    return sum(values.nbytes for values in case.values) + case.output.size_bytes + scratch + lead


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values).reshape(-1).view(np.int8)


def _table(ctype: str, symbol: str, values: np.ndarray) -> str:
    return f"static const {ctype} {symbol}[{values.size}] = {{\n{number_table(values)}\n}};"
