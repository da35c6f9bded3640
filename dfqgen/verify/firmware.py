"""Builds a generated folder's self-test for an emulated board and runs it: bits and instruction counts."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfqgen import resources
from dfqgen.errors import ToolMissing, UserError, VerificationFailed
from dfqgen.targets import Emulator, Isa, Target
from dfqgen.verify.folder import read_manifest
from dfqgen.verify.toolchain import run_program

_DEBIAN_PACKAGES = {
    "cortex_m": "gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm",
    "riscv": "gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf qemu-system-misc",
}
"""Compiler, C library and emulator, by board."""
TIMEOUT_S = 600.0

# Kernels for an instruction set are in a folder of their own.
_ISA_FOLDERS = {"dsp": Isa.DSP, "mve": Isa.MVE}
_EXCEPTIONS = {
    "cortex_m": {3: "hard fault", 4: "memory fault", 5: "bus fault", 6: "usage fault", 7: "secure fault"},
    # The RISC-V Instruction Set Manual, volume II, table "Machine cause register values after trap".
    "riscv": {
        0: "misaligned jump",
        1: "instruction access fault",
        2: "illegal instruction",
        4: "misaligned load",
        5: "load access fault",
        6: "misaligned store",
        7: "store access fault",
    },
}
_ERROR_LINES = 12


@dataclass(frozen=True, slots=True)
class LayerCount:
    """Instructions of one layer, averaged over the golden vectors; to the resolution of a SysTick tick."""

    name: str
    title: str
    macs: int
    instructions: int


@dataclass(frozen=True, slots=True)
class FirmwareResult:
    """What happened on the board.

    `text_bytes`, `rodata_bytes` and `data_bytes` are the network's own in the linked firmware (no
    start-up code, no test vectors); RAM is `arena_bytes` plus `stack_bytes`, the deepest stack seen.
    """

    target: str
    machine: str
    wrong_values: int
    layers: tuple[LayerCount, ...]
    text_bytes: int
    rodata_bytes: int
    data_bytes: int
    arena_bytes: int
    stack_bytes: int

    @property
    def passed(self) -> bool:
        return self.wrong_values == 0

    @property
    def instructions(self) -> int:
        """Of one inference."""
        return sum(layer.instructions for layer in self.layers)

    @property
    def flash_bytes(self) -> int:
        return self.text_bytes + self.rodata_bytes + self.data_bytes


def run_firmware(
    out_dir: Path, target: Target, *, optimize: str | None = None, timeout_s: float = TIMEOUT_S
) -> FirmwareResult:
    """Build the self-test of `out_dir` for `target`, run it in QEMU, and tell what it found.

    `optimize` defaults to what the folder was built with. Raises ToolMissing without compiler or
    emulator, VerificationFailed when the C does not compile, or faults, or does not end. Wrong bits
    raise nothing: see `passed`.
    """
    emulator = emulator_of(target)
    manifest = read_manifest(out_dir)
    with tempfile.TemporaryDirectory(prefix="dfqgen-") as folder:
        elf = build_firmware(out_dir, target, Path(folder), optimize=optimize)
        lines = emulate(elf, target, timeout_s=timeout_s)
        sizes = section_sizes_bytes(elf, target)
    report = Report(lines)
    instructions_per_tick = 1e9 / emulator.tick_hz
    layers = manifest["layers"]
    if len(report.layer_ticks) != len(layers):
        raise VerificationFailed(
            f"the firmware reported {len(report.layer_ticks)} layers, the network has {len(layers)}"
        )
    return FirmwareResult(
        target=target.name,
        machine=emulator.machine,
        wrong_values=report.wrong_values,
        layers=tuple(
            LayerCount(layer["name"], layer["title"], layer["macs"], round(ticks * instructions_per_tick))
            for layer, ticks in zip(layers, report.layer_ticks, strict=True)
        ),
        text_bytes=sizes.get(".network_text", 0),
        rodata_bytes=sizes.get(".network_rodata", 0),
        data_bytes=sizes.get(".network_data", 0),
        arena_bytes=manifest["arena_bytes"],
        stack_bytes=report.stack_bytes,
    )


def build_firmware(
    out_dir: Path,
    target: Target,
    work_dir: Path,
    *,
    optimize: str | None = None,
    extra_flags: Sequence[str] = (),
) -> Path:
    """Compile and link network, self-test and board support in `work_dir`; gives the ELF file."""
    emulator = emulator_of(target)
    manifest = read_manifest(out_dir)
    name = manifest["network"]
    _check_isa(out_dir, target, manifest)
    firmware = resources.runtime_dir() / "firmware"
    selftest = [out_dir / f"{name}_selftest.c", out_dir / f"{name}_golden.c"]
    if not all(path.is_file() for path in selftest):
        raise UserError(f"{out_dir} has no golden vectors to run")

    compiler = find_tool(target.compiler.command, target)
    flags = [
        *target.compiler.flags_for(optimize or manifest.get("optimize", "speed")),
        *("-std=c99", "-g", "-ffunction-sections", "-fdata-sections"),
        *extra_flags,
        *("-I", str(out_dir.absolute()), "-I", str(firmware)),
    ]
    probe = ["-include", "dfq_probe.h", f"-D{name.upper()}_PROBE=dfq_probe"]
    layers = f"-DDFQ_LAYERS={len(manifest['layers'])}"
    main = [f"-DDFQ_NETWORK={name}", f'-DDFQ_NETWORK_HEADER="{name}.h"', layers]
    # The folder "network" tells the linker script whose sections these are.
    jobs = [
        (out_dir / f"{name}.c", "network", probe),
        (out_dir / f"{name}_weights.c", "network", []),
        *((path, "selftest", [f"-D{name.upper()}_NO_MAIN"]) for path in selftest),
        (firmware / "main.c", "board", main),
        *((path, "board", []) for path in start_files(emulator)),
    ]

    def compile_one(job: tuple[Path, str, list[str]]) -> str:
        source, group, own_flags = job
        target_file = work_dir / group / f"{source.stem}.o"
        target_file.parent.mkdir(parents=True, exist_ok=True)
        command = [*flags, *own_flags, "-c", str(source.absolute()), "-o", str(target_file)]
        run_tool(compiler, command, f"{source.name} does not compile for {target.name}")
        return str(target_file)

    with ThreadPoolExecutor(max_workers=2) as pool:
        objects = list(pool.map(compile_one, jobs))
    elf = work_dir / "firmware.elf"
    link = ["-nostartfiles", "-Wl,--gc-sections", "-L", str(firmware), "-T", emulator.linker_script]
    run_tool(
        compiler,
        [*flags, *objects, *link, "-o", str(elf)],
        f"the firmware does not link for {emulator.machine}, the board that emulates {target.name}",
    )
    return elf


def start_files(emulator: Emulator) -> list[Path]:
    """The C that takes a board from reset to main, beside dfq_board.h."""
    firmware = resources.runtime_dir() / "firmware"
    return [firmware / "start.c", firmware / f"start_{emulator.board}.c"]


def emulate(
    elf: Path, target: Target, *, timeout_s: float = TIMEOUT_S, extra_arguments: Sequence[str] = ()
) -> list[str]:
    """Run a firmware in QEMU; gives the lines it printed, without their "dfq "."""
    emulator = emulator_of(target)
    command = [
        find_tool(emulator.command, target),
        *("-machine", emulator.machine, *emulator.arguments),
        *("-display", "none", "-monitor", "none", "-serial", "none"),
        *("-semihosting-config", "enable=on,target=native", "-icount", "shift=0", *extra_arguments),
        *("-kernel", str(elf)),
    ]
    try:
        done = run_program(command, timeout_s=timeout_s, merge_errors=True)
    except VerificationFailed:
        raise VerificationFailed(
            f"the firmware did not end within {timeout_s:g} s on {emulator.machine}"
        ) from None
    lines = [line[4:] for line in done.stdout.splitlines() if line.startswith("dfq ")]
    for line in lines:
        if line.startswith("fault "):
            raise VerificationFailed(_fault_message(line, elf, target))
    if done.returncode not in (0, 1):
        raise VerificationFailed(
            f"{emulator.command} ended with status {done.returncode}:\n{_head(done.stdout)}"
        )
    return lines


def section_sizes_bytes(elf: Path, target: Target) -> dict[str, int]:
    """Sizes of the sections of an ELF file."""
    text = run_tool(binutil(target, "size"), ["-A", str(elf)], "cannot read the firmware's sections")
    rows = (line.split() for line in text.splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 3 and row[0].startswith(".")}


def find_tool(command: str, target: Target) -> str:
    """Full path of a program that `target` needs. Raises ToolMissing with how to install it."""
    path = shutil.which(command)
    if path is None:
        packages = _DEBIAN_PACKAGES[emulator_of(target).board]
        raise ToolMissing(
            f"{command} is not installed; {target.name} in the emulator needs it",
            f"On Debian or Ubuntu: apt-get install {packages}",
        )
    return path


class Report:
    """The firmware's lines, understood: ticks of each layer a run, runs, stack, wrong output values."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.layer_ticks: list[float] = []
        self.stack_bytes = 0
        self.runs = 0
        wrong = None
        for line in lines:
            kind, *numbers = line.split()
            values = [int(number, 16) for number in numbers]
            if kind == "layer" and values[0] == len(self.layer_ticks):
                self.layer_ticks.append(values[1] / values[2])
                self.runs = values[2]
            elif kind == "stack":
                self.stack_bytes = values[0]
            elif kind == "wrong":
                wrong = values[0]
        if wrong is None:
            raise VerificationFailed("the firmware ended without a result")
        self.wrong_values = wrong


def emulator_of(target: Target) -> Emulator:
    """The target's emulated board. Raises UserError when it has none."""
    if target.emulator is None:
        hint = "Use `dfqgen verify` for the host." if target.is_host else ""
        raise UserError(f"{target.name} has no emulator", hint)
    return target.emulator


def _check_isa(out_dir: Path, target: Target, manifest: dict[str, Any]) -> None:
    for folder, isa in _ISA_FOLDERS.items():
        if isa not in target.isas and (out_dir / "runtime_c" / folder).is_dir():
            raise UserError(
                f"{out_dir} was built for {manifest.get('target')} and uses {isa.value.upper()} instructions,"
                f" which {target.name} lacks",
                f"Build it again with --target {target.name}.",
            )


def binutil(target: Target, tool: str) -> str:
    """Full path of a program that comes with the target's compiler: "nm", "objdump" ..."""
    return find_tool(target.compiler.command.removesuffix("gcc") + tool, target)


def run_tool(tool: str, arguments: Sequence[str], complaint: str) -> str:
    """Standard output of a program. Raises VerificationFailed with `complaint` and its own words."""
    done = run_program([tool, *arguments])
    if done.returncode != 0:
        raise VerificationFailed(f"{complaint}:\n{_head(done.stderr)}")
    return done.stdout


def _fault_message(line: str, elf: Path, target: Target) -> str:
    exception, address, status = (int(number, 16) for number in line.split()[1:4])
    where = f"at address 0x{address:08x}"
    if address:
        lookup = ["-f", "-s", "-e", str(elf), f"0x{address:x}"]
        found = run_tool(binutil(target, "addr2line"), lookup, "cannot look up the fault").split()
        where = f"in {found[0]} ({found[1]})" if len(found) > 1 else where
    kind = _EXCEPTIONS[emulator_of(target).board].get(exception, f"exception {exception}")
    return f"the firmware stopped with a {kind} {where}, fault status 0x{status:08x}"


def _head(text: str) -> str:
    lines = text.strip().splitlines()
    more = [f"... and {len(lines) - _ERROR_LINES} more lines"] if len(lines) > _ERROR_LINES else []
    return "\n".join([*lines[:_ERROR_LINES], *more])
