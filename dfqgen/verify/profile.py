"""Exact instructions and estimated cycles of every layer, from a QEMU plugin that counts each address.

The self-test runs as in `dfqgen.verify.firmware`, under our plugin (runtime_c/firmware/count_plugin.c). A
layer is what runs between two calls of the probe, so functions shared by layers are split rightly.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dfqgen import resources
from dfqgen.errors import VerificationFailed
from dfqgen.targets import CycleModel, Target
from dfqgen.verify.disassembly import Instruction, disassemble, words_listed
from dfqgen.verify.dual_issue import dual_issue_cycles
from dfqgen.verify.firmware import (
    TIMEOUT_S,
    Report,
    binutil,
    build_firmware,
    emulate,
    emulator_of,
    find_tool,
    run_tool,
)
from dfqgen.verify.folder import read_manifest
from dfqgen.verify.toolchain import compile_c

# The board's own functions, which run inside the layers' windows but are not the network's.
_BOARD_FUNCTIONS = frozenset({"dfq_probe", "dfq_ticks", "on_systick"})


@dataclass(frozen=True, slots=True)
class LayerProfile:
    """One layer, averaged over the golden vectors. `cycles` is None for a target without a cycle model."""

    name: str
    title: str
    macs: int
    instructions: int
    cycles: int | None


@dataclass(frozen=True, slots=True)
class Profile:
    """Where the time of one inference goes."""

    target: str
    wrong_values: int
    layers: tuple[LayerProfile, ...]

    @property
    def instructions(self) -> int:
        return sum(layer.instructions for layer in self.layers)

    @property
    def cycles(self) -> int | None:
        """Estimated, without wait states; None for a target without a cycle model."""
        cycles = [layer.cycles for layer in self.layers if layer.cycles is not None]
        return sum(cycles) if len(cycles) == len(self.layers) else None


@dataclass(slots=True)
class Counts:
    """How often each address ran, and how often it jumped somewhere else than the next."""

    runs: Counter[int] = field(default_factory=Counter)
    jumps: Counter[int] = field(default_factory=Counter)


def profile_firmware(
    out_dir: Path, target: Target, *, optimize: str | None = None, timeout_s: float = TIMEOUT_S
) -> Profile:
    """Run the self-test of `out_dir` on the emulated target and count. Errors as `run_firmware`."""
    manifest = read_manifest(out_dir)
    layers = manifest["layers"]
    with tempfile.TemporaryDirectory(prefix="dfqgen-") as folder:
        work = Path(folder)
        elf = build_firmware(out_dir, target, work, optimize=optimize)
        counted = count_segments(
            elf, target, len(layers), work, turns=turns_of(manifest), timeout_s=timeout_s
        )
    rows = zip(layers, counted.instructions, counted.cycles, strict=True)
    return Profile(
        target.name,
        counted.wrong_values,
        tuple(
            LayerProfile(layer["name"], layer["title"], layer["macs"], instructions, cycles)
            for layer, instructions, cycles in rows
        ),
    )


@dataclass(frozen=True, slots=True)
class Counted:
    """Instructions and estimated cycles of each segment of a firmware, averaged over its runs."""

    instructions: tuple[int, ...]
    cycles: tuple[int | None, ...]
    wrong_values: int
    stack_bytes: int


def count_segments(
    elf: Path,
    target: Target,
    segment_count: int,
    work: Path,
    *,
    turns: Sequence[int] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Counted:
    """Run a firmware that calls dfq_probe at the start of each segment and once more at the end.

    `turns`: which segment begins at each call of one run, where they do not begin in order. The firmware must
    print the lines of runtime_c/firmware/main.c. `work` is a folder for temporary files.
    """
    calls = range(segment_count) if turns is None else turns
    by_call, report = _count(elf, target, len(calls), work, timeout_s)
    segments = [Counts() for _ in range(segment_count)]
    for segment, counts in zip(calls, by_call, strict=True):
        segments[segment].runs.update(counts.runs)
        segments[segment].jumps.update(counts.jumps)
    code = disassemble(elf, target)
    instructions: list[int] = []
    cycles: list[int | None] = []
    for counts in segments:
        own = {
            address: count
            for address, count in counts.runs.items()
            if address not in code or code[address].function not in _BOARD_FUNCTIONS
        }
        instructions.append(round(sum(own.values()) / report.runs))
        if target.dual_issue is not None:
            cycles.append(round(dual_issue_cycles(own, counts.jumps, code, target.dual_issue) / report.runs))
        elif target.cycles is not None:
            cycles.append(round(estimate_cycles(own, counts.jumps, code, target.cycles) / report.runs))
        else:
            cycles.append(None)
    return Counted(tuple(instructions), tuple(cycles), report.wrong_values, report.stack_bytes)


def turns_of(manifest: Mapping[str, Any]) -> Sequence[int] | None:
    """`turns` of `count_segments`, where layers run row by row."""
    rows = manifest.get("rows")
    return None if rows is None else list(rows["turns"])


def estimate_cycles(
    runs: Mapping[int, int], jumps: Mapping[int, int], code: Mapping[int, Instruction], model: CycleModel
) -> int:
    """Cycles of all instructions in `runs`, and of their taken branches."""
    cycles = 0
    for address, count in runs.items():
        instruction = code.get(address)
        if instruction is None:
            cycles += count
            continue
        cycles += count * instruction_cycles(instruction, model)
        if not instruction.mnemonic.startswith("le"):  # a low-overhead loop jumps for nothing
            cycles += jumps.get(address, 0) * model.taken_branch
    return cycles


def instruction_cycles(instruction: Instruction, model: CycleModel) -> int:
    """Cycles of one instruction that does not jump."""
    mnemonic, operands = instruction.mnemonic, instruction.operands
    if re.search(r"\bq[0-7]\b", operands):
        return model.vector
    if mnemonic.startswith(("ldrd", "strd")):
        return 1 + 2 * model.register
    if mnemonic.startswith(("ldm", "stm", "push", "pop", "vldm", "vstm", "vpush", "vpop")):
        return 1 + words_listed(operands) * model.register
    if mnemonic.startswith(("vldr", "vstr")):
        return 1 + (2 if operands.startswith("d") else 1) * model.register
    if mnemonic.startswith("ldr"):
        return model.load_pipelined if instruction.pipelined else model.load
    if mnemonic.startswith("str"):
        return model.store
    if mnemonic.startswith(("sdiv", "udiv")):
        return model.divide
    if mnemonic.startswith(("smull", "umull")):
        return model.multiply_long
    if mnemonic.startswith(("smlal", "umlal")):
        return model.multiply_long_accumulate
    if mnemonic.startswith(("mla", "mls")):
        return model.multiply_accumulate
    return 1


def _count(
    elf: Path, target: Target, layer_count: int, work: Path, timeout_s: float
) -> tuple[list[Counts], Report]:
    """Counts of every segment, added up over the runs, and what the firmware reported."""
    plugin, out = work / "count_plugin.so", work / "counts.txt"
    source = resources.runtime_dir() / "firmware" / "count_plugin.c"
    api = 1 if emulator_version(target) < 9 else 2
    compile_c([source], plugin, ["-O2", "-shared", "-fPIC", f"-DDFQ_PLUGIN_API={api}"])
    probe = symbol_address(elf, target, "dfq_probe")
    option = f"{plugin},out={out},probe={probe:x},segments={layer_count + 1}"
    lines = emulate(elf, target, timeout_s=timeout_s, extra_arguments=["-plugin", option])
    report = Report(lines)
    if not out.is_file():
        command = emulator_of(target).command
        raise VerificationFailed(f"this {command} was built without plugins, so it cannot profile")
    return parse_counts(out.read_text().splitlines(), layer_count), report


def parse_counts(lines: Iterable[str], layer_count: int) -> list[Counts]:
    """The plugin's file; segments after the last layer are left out."""
    segments = [Counts() for _ in range(layer_count)]
    for line in lines:
        fields = line.split()
        segment, runs, jumps = (int(number) for number in fields[:3])
        if segment >= layer_count:
            continue
        addresses: Sequence[int] = [int(number, 16) for number in fields[3:]]
        for address in addresses:
            segments[segment].runs[address] += runs
        segments[segment].jumps[addresses[-1]] += jumps
    return segments


def emulator_version(target: Target) -> int:
    """The major version of the target's QEMU."""
    command = emulator_of(target).command
    text = run_tool(find_tool(command, target), ["--version"], f"{command} does not start")
    match = re.search(r"version (\d+)\.", text)
    if match is None:
        raise VerificationFailed(f"{command} does not tell its version: {text[:80]!r}")
    return int(match[1])


def symbol_address(elf: Path, target: Target, symbol: str) -> int:
    """Where a function of the firmware is."""
    for line in run_tool(binutil(target, "nm"), [str(elf)], "cannot read the symbols").splitlines():
        fields = line.split()
        if len(fields) == 3 and fields[2] == symbol:
            return int(fields[0], 16) & ~1
    raise VerificationFailed(f"the firmware has no {symbol}")
