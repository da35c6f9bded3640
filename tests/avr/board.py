"""Programs on simulated AVR cores, whose `int` has 16 bits and whose flash is no part of the data space."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from dfqgen import resources
from dfqgen.emit.context import initializer, number_table
from tests.kernels.board import Run
from tests.kernels.library import buffer_alignment

FLAGS = ("-std=gnu99", "-Wall", "-Wextra", "-Wconversion", "-Waddr-space-convert", "-Werror", "-Os")
RUNS_PER_PROGRAM = 40
"""Descriptors lie in RAM."""

_HEAD = """
static int8_t arena[ARENA] __attribute__((aligned(16)));
typedef void call_t(int8_t *const *inputs, int8_t *out, int8_t *scratch);

static int8_t *aligned(int8_t *at)
{
    return (int8_t *)(((uintptr_t)at + 15u) & ~(uintptr_t)15u);
}

/* Buffers one after the other; the output over input `overlap`, if any. */
static void check(int index, call_t *call, const DFQ_FLASH int8_t *const *values, const int32_t *sizes,
                  int count, const DFQ_FLASH int8_t *expected, int32_t out_size, int overlap, int32_t lead)
{
    int8_t *inputs[8] = {0};
    int8_t *out = 0;
    int8_t *at = arena;
    int wrong = 0;
    for (int i = 0; i < count; i++) {
        if (i == overlap) {
            out = at;
            at += lead;
        }
        inputs[i] = at;
        for (int32_t k = 0; k < sizes[i]; k++) { at[k] = values[i][k]; }
        at += sizes[i];
        if (i == overlap && at < out + out_size) { at = out + out_size; }
        at = aligned(at);
    }
    if (overlap < 0) {
        out = at;
        at = aligned(at + out_size);
    }
    call(inputs, out, at);
    for (int32_t k = 0; k < out_size; k++) { wrong += out[k] != expected[k]; }
    avr_print_number(index);
    avr_print_number(wrong);
    avr_print("\\n");
}
"""


def simulate(sources: Sequence[Path], core: str, folder: Path, *flags: str) -> str:
    """What a program prints on the serial port of a simulated core."""
    elf = folder / "program.elf"
    support = Path(__file__).parent / "support.c"
    words = ["avr-gcc", f"-mmcu={core}", *FLAGS, *flags, f"-I{support.parent}", "-o", elf, support, *sources]
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return printed_by(elf, core)


def printed_by(elf: Path, core: str, seconds: int = 60) -> str:
    """What a program has printed when it ended, or after so many seconds."""
    words = ["timeout", "--signal=INT", str(seconds), "simavr", "-m", core, "-f", "16000000", str(elf)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as running:
        assert running.stdout is not None
        lines = []
        for line in running.stdout:
            lines.append(line.decode("ascii", "replace"))
            if b"every bit" in line:  # a sketch never ends
                running.terminate()
    # simavr prints a line of the port in colour, with dots for control characters
    return "\n".join(re.findall(r"\x1b\[32m(.*?)\.*\n", "".join(lines)))


def wrong_bytes(runs: Sequence[Run], core: str, folder: Path) -> list[int]:
    """Each run's number of output bytes that differ from the operator's."""
    found: dict[int, int] = {}
    for start in range(0, len(runs), RUNS_PER_PROGRAM):
        source = folder / f"sweep{start}.c"
        source.write_text(_program(runs[start : start + RUNS_PER_PROGRAM], start))
        printed = simulate([source], core, folder)
        found |= {int(a): int(b) for a, b in re.findall(r"(\d+) (\d+)", printed)}
    assert found.keys() == set(range(len(runs))), "a program stopped early"
    return [found[index] for index in range(len(runs))]


def arena_bytes(run: Run) -> int:
    """Room for a run's buffers, each from a multiple of 16 bytes on."""
    case, kernel = run.case, run.kernel
    scratch = kernel.scratch_bytes(case.op, case.inputs, case.output)
    return sum(v.nbytes + 32 for v in case.values) + case.output.size_bytes + scratch + 32 + _lead(run)


def _lead(run: Run) -> int:
    if run.overlap is None:
        return 0
    case = run.case
    found = run.kernel.overlap_lead_bytes(case.op, case.inputs, case.output, run.overlap)
    assert found is not None
    return found + -found % buffer_alignment(case.inputs, case.output)


def _program(runs: Sequence[Run], start: int) -> str:
    root = resources.runtime_dir()
    lines = [
        "#define DFQ_OPTIMIZE_SIZE 1",
        f"#define ARENA {max(map(arena_bytes, runs))}",
        '#include "support.h"',
    ]
    lines += [f'#include "{root / header}"' for header in sorted({run.kernel.header for run in runs})]
    lines.append(_HEAD)
    calls = []
    for index, run in enumerate(runs, start):
        case = run.case
        code = run.kernel.code(case.op, case.inputs, case.output)
        symbols = {array.role: f"c{index}_{array.role}" for array in code.arrays}
        lines += [
            _table(array.ctype, symbols[array.role], number_table(array.values)) for array in code.arrays
        ]
        named = {f"c{index}_in{i}": values for i, values in enumerate(case.values)}
        for name, values in {**named, f"c{index}_expected": case.expected}.items():
            flat = values.reshape(-1).view("int8")
            lines.append(_table("int8_t", name, number_table(flat)))
        lines.append(
            f"static const {code.struct} c{index}_layer = {{\n{initializer(code.fields, symbols)}\n}};"
        )
        scratch = run.kernel.scratch_bytes(case.op, case.inputs, case.output)
        arguments = [*(f"inputs[{i}]" for i in range(len(named))), "out", *(["scratch"] if scratch else [])]
        lines.append(
            f"static void c{index}(int8_t *const *inputs, int8_t *out, int8_t *scratch)\n{{\n"
            f"    (void)scratch;\n"
            f"    {run.kernel.function}(&c{index}_layer, {', '.join(arguments)});\n}}"
        )
        sizes = ", ".join(str(values.nbytes) for values in case.values)
        overlap = -1 if run.overlap is None else run.overlap
        calls.append(
            f"    {{ const DFQ_FLASH int8_t *const values[] = {{{', '.join(named)}}};\n"
            f"      const int32_t sizes[] = {{{sizes}}};\n"
            f"      check({index}, c{index}, values, sizes, {len(named)}, c{index}_expected, "
            f"{case.output.size_bytes}, {overlap}, {_lead(run)}); }}"
        )
    lines += ["int main(void)", "{", *calls, "    avr_end();", "    return 0;", "}"]
    return "\n".join(lines) + "\n"


def _table(ctype: str, symbol: str, numbers: str) -> str:
    count = numbers.count(",") + 1
    return f"static const DFQ_FLASH {ctype} {symbol}[{count}] = {{\n{numbers}\n}};"
