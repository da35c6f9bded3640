"""Targets: one TOML file each in targets/; a new target is a new file."""

from __future__ import annotations

import enum
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from dfqgen import resources
from dfqgen.errors import UserError


class Isa(enum.Enum):
    """Instruction set a kernel is written for; every core also runs PORTABLE."""

    PORTABLE = "portable"
    DSP = "dsp"  # Armv7E-M / Armv8-M DSP extension: SMLAD, SXTB16, SMMULR
    MVE = "mve"  # Helium


@dataclass(frozen=True, slots=True)
class Compiler:
    """A C compiler command, the flags that select the core, and those of each way to optimize."""

    command: str
    flags: tuple[str, ...]
    speed: tuple[str, ...]
    size: tuple[str, ...]

    def flags_for(self, optimize: str) -> tuple[str, ...]:
        """All flags for `optimize`, "speed" or "size"."""
        return self.flags + (self.size if optimize == "size" else self.speed)


@dataclass(frozen=True, slots=True)
class Emulator:
    """A QEMU board with this core.

    `command` is the emulator, `arguments` what the board needs beside its name. `board` names the start-up
    code, runtime_c/firmware/start_<board>.c; `linker_script` is a file beside it. `tick_hz` is the rate of
    the board's counter: one instruction is one nanosecond of virtual time, so a tick is 1e9 / tick_hz
    instructions.
    """

    command: str
    board: str
    machine: str
    linker_script: str
    tick_hz: int
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CycleModel:
    """Cycles by kind of instruction, with memory that never waits. What is not named takes one cycle.

    `load_pipelined` is for a load straight after another single load whose result is not its address;
    loads and stores of several registers take one cycle and `register` for each. `taken_branch` comes on
    top of the instruction, `vector` is for instructions on Helium's Q registers.
    """

    load: int
    load_pipelined: int
    store: int
    register: int
    taken_branch: int
    multiply_accumulate: int = 1
    multiply_long: int = 1
    multiply_long_accumulate: int = 1
    divide: int = 1
    vector: int = 1


@dataclass(frozen=True, slots=True)
class CostTable:
    """What kernels take on a target, measured by bench/cost_table.py: targets/costs/<target>.toml.

    `speed` and `size` are by way to optimize: kernel function -> count of `Kernel.work` -> instructions
    for one. `code_bytes`: kernel function -> C function -> bytes of its machine code made for size.
    A file's `base` is another target, whose values stand in for the kernels it lacks.
    """

    speed: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    size: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    code_bytes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def prices(self, function: str, optimize: str) -> Mapping[str, float] | None:
        """Instructions by count of work, None for a function that was not measured."""
        return (self.size if optimize == "size" else self.speed).get(function)


@dataclass(frozen=True, slots=True)
class Target:
    """What the compiler knows about a machine. Budgets are None where memory does not matter.

    `cycles` is None where cycles cannot be estimated from single instructions (dual issue).
    """

    name: str
    description: str
    core: str
    isas: tuple[Isa, ...]
    has_long_multiply: bool
    scales: str
    clock_hz: int
    compiler: Compiler
    emulator: Emulator | None = None
    flash_bytes: int | None = None
    ram_bytes: int | None = None
    cycles: CycleModel | None = None
    costs: CostTable = field(default_factory=CostTable)

    @property
    def is_host(self) -> bool:
        return self.core == "host"


SCALE_MODES = ("multiplier", "power-of-two")


def list_targets() -> list[Target]:
    """Every target, by name; aliases are left out."""
    names = sorted(path.stem for path in resources.targets_dir().glob("*.toml"))
    return [target for name in names if (target := load_target(name)).name == name]


def list_aliases() -> dict[str, str]:
    """Alias -> target name."""
    names = sorted(path.stem for path in resources.targets_dir().glob("*.toml"))
    return {name: load_target(name).name for name in names if load_target(name).name != name}


@cache
def load_target(name: str) -> Target:
    """The target (or alias) of this name. Raises UserError when there is none."""
    known = {path.stem: path for path in resources.targets_dir().glob("*.toml")}
    if name not in known:
        raise UserError(f"there is no target {name!r}", f"Known targets: {', '.join(sorted(known))}.")
    table = _read(known[name])
    alias = table.get("alias")
    if alias is not None:
        if alias not in known or "alias" in _read(known[alias]):
            raise UserError(f"target {name!r} is an alias of {alias!r}, which is not a target")
        return load_target(alias)
    try:
        return _parse(name, table)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{known[name].name}: {type(error).__name__}: {error}") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path.name} is not valid TOML: {error}") from error


def _costs(name: str) -> CostTable:
    path = resources.targets_dir() / "costs" / f"{name}.toml"
    if not path.is_file():
        return CostTable()
    table = _read(path)
    base = _costs(table.pop("base")) if "base" in table else CostTable()
    return CostTable(
        speed={**base.speed, **table.get("speed", {})},
        size={**base.size, **table.get("size", {})},
        code_bytes={**base.code_bytes, **table.get("code_bytes", {})},
    )


def _parse(name: str, table: dict[str, Any]) -> Target:
    compiler = table["compiler"]
    emulator = table.get("emulator")
    isas = tuple(Isa(isa) for isa in table["isa"])
    if Isa.PORTABLE not in isas:
        raise ValueError('isa lacks "portable", which every core runs')
    if table["scales"] not in SCALE_MODES:
        raise ValueError(f"scales is {table['scales']!r}, not one of {', '.join(SCALE_MODES)}")
    return Target(
        name=name,
        description=table["description"],
        core=table["core"],
        isas=isas,
        has_long_multiply=bool(table["long_multiply"]),
        scales=table["scales"],
        clock_hz=int(table["clock_hz"]),
        compiler=Compiler(
            command=compiler["command"],
            flags=tuple(compiler["flags"]),
            speed=tuple(compiler["speed"]),
            size=tuple(compiler["size"]),
        ),
        emulator=None
        if emulator is None
        else Emulator(
            command=emulator["command"],
            board=emulator["board"],
            machine=emulator["machine"],
            linker_script=emulator["linker_script"],
            tick_hz=int(emulator["tick_hz"]),
            arguments=tuple(emulator.get("arguments", ())),
        ),
        flash_bytes=table.get("flash_bytes"),
        ram_bytes=table.get("ram_bytes"),
        cycles=CycleModel(**table["cycles"]) if "cycles" in table else None,
        costs=_costs(name),
    )
