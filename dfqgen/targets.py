"""Targets: one TOML file each in targets/; a new target is a new file.

A core's file says how code is made and what it costs; a part's, in targets/parts/, which core it has, how
much memory, and how fast it runs.
"""

from __future__ import annotations

import contextlib
import difflib
import enum
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
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
        """All flags for `optimize`: "size", or "speed" and "balanced", which are compiled alike."""
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
class DualIssueModel:
    """Cycles until a result can be used, of a core that issues two instructions at once.

    `narrow_load_latency` is of loads of bytes and halves; a division stops everything for `divide`;
    `mispredict` is what a branch costs that was foretold wrong.
    """

    load_latency: int
    narrow_load_latency: int
    multiply_latency: int
    float_latency: int
    divide: int
    mispredict: int


@dataclass(frozen=True, slots=True)
class CostTable:
    """What kernels take on a target, measured by bench/cost_table.py: targets/costs/<target>.toml.

    `speed` and `size` are by way to optimize: kernel function -> count of `Kernel.work` -> instructions
    for one. `code_bytes`: kernel function -> C function -> bytes of its machine code made for size.
    `shared`: as `speed`, what a layer takes more that shares one copy of the code with layers of all kinds;
    `copy_bytes`: kernel function -> "own" and "shared", the bytes of one layer's own code and of such a copy.
    A file's `base` is another target, whose values stand in for the kernels it lacks.
    """

    speed: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    size: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    code_bytes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    shared: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    copy_bytes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def prices(self, function: str, optimize: str) -> Mapping[str, float] | None:
        """Instructions by count of work, None for a function that was not measured."""
        return (self.size if optimize == "size" else self.speed).get(function)


@dataclass(frozen=True, slots=True)
class Region:
    """A stretch of RAM without holes, in bytes."""

    name: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Part:
    """What a part adds to its core. The arena goes into the first of `regions`.

    `wait_states` is how long a read of the flash waits at the part's full clock, None where it is not known
    or varies; `read_bytes` how much of a stream of constants comes after each such wait, None where that is
    not known or a cache of many lines may hold them; `cache` what hides waits. `flash` is "internal",
    "serial" (executed in place) or "external". `source` names the data sheet the numbers are from.
    """

    vendor: str
    core_target: str
    regions: tuple[Region, ...]
    flash: str
    wait_states: int | None
    read_bytes: int | None
    cache: str | None
    boards: tuple[str, ...]
    source: str


@dataclass(frozen=True, slots=True)
class Target:
    """What the compiler knows about a machine. Budgets are None where memory does not matter.

    `cycles` is None where cycles cannot be estimated from single instructions: with dual issue `dual_issue`
    is there instead, and for RISC-V neither, whose cores differ.
    `cycles_per_instruction` is what that model gave on whole networks, None where nobody knows: it makes
    times of the counts that are predicted. `constant_bytes_per_instruction` is how much of weights and other
    constants the core's kernels read. `part` is None for a core by itself.
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
    dual_issue: DualIssueModel | None = None
    cycles_per_instruction: float | None = None
    constant_bytes_per_instruction: float | None = None
    costs: CostTable = field(default_factory=CostTable)
    part: Part | None = None

    @property
    def is_host(self) -> bool:
        return self.core == "host"

    @property
    def wait_cycles_per_instruction(self) -> float | None:
        """Cycles that an instruction waits for the flash: code never, constants once for each read of the
        flash's width, since its few lines of cache do not hold streams until they are read again.
        None for a part of which this is not known; 0 for a core by itself, whose memory never waits.
        """
        part, constants = self.part, self.constant_bytes_per_instruction
        if part is None:
            return 0.0
        if constants is None or part.wait_states is None or part.read_bytes is None:
            return None
        return constants * part.wait_states / part.read_bytes


SCALE_MODES = ("multiplier", "power-of-two")


COMMON = ("cortex-m4", "cortex-m33", "cortex-m0plus", "stm32l4r5", "nrf52840", "rp2040", "esp32-c3", "host")
"""What a user who names no target is shown."""


def list_targets() -> list[Target]:
    """Every core, by name; aliases and parts are left out."""
    return [target for name in _names() if (target := load_target(name)).name == name]


def list_parts() -> list[Target]:
    """Every part, by name."""
    return [load_target(name) for name in _part_names()]


def list_aliases() -> dict[str, str]:
    """Alias -> target name, boards with a part among them."""
    aliases = {name: load_target(name).name for name in _names() if load_target(name).name != name}
    return aliases | _boards()


@cache
def load_target(name: str) -> Target:
    """The target, part, board or alias of this name. Raises UserError when there is none."""
    folder = resources.targets_dir()
    if name in _names():
        return _load_core(name, folder / f"{name}.toml")
    if name in _part_names():
        return _load_part(name, folder / "parts" / f"{name}.toml")
    if name in _boards():
        return load_target(_boards()[name])
    raise UserError(f"there is no target {name!r}", _advice(name))


def search_targets(text: str) -> list[Target]:
    """Cores and parts with all words of `text` in their name, boards, vendor or description."""
    words = text.lower().split()
    return [target for target in [*list_targets(), *list_parts()] if all(w in _prose(target) for w in words)]


def _prose(target: Target) -> str:
    part = target.part
    more = () if part is None else (part.vendor, part.core_target, *part.boards)
    return " ".join((target.name, target.description, target.core, *more)).lower()


def _advice(name: str) -> str:
    known = sorted([*_names(), *_part_names(), *_boards()])
    begun = [other for other in known if len(name) > 3 and (other in name or name in other)]
    close = (begun or difflib.get_close_matches(name, known, n=4, cutoff=0.6))[:4]
    guess = f"Did you mean {' or '.join(close)}? " if close else ""
    return f"{guess}Cores: {', '.join(_names())}. Parts: dfqgen targets --search TEXT."


def target_names() -> list[str]:
    """Every name that `load_target` knows, but for boards."""
    return sorted([*_names(), *_part_names()])


def _names() -> list[str]:
    return sorted(path.stem for path in resources.targets_dir().glob("*.toml"))


def _part_names() -> list[str]:
    return sorted(path.stem for path in (resources.targets_dir() / "parts").glob("*.toml"))


def _boards() -> dict[str, str]:
    """Board -> part."""
    boards: dict[str, str] = {}
    for name in _part_names():
        part = load_target(name).part
        assert part is not None
        boards |= dict.fromkeys(part.boards, name)
    return boards


def _load_core(name: str, path: Path) -> Target:
    table = _read(path)
    alias = table.get("alias")
    if alias is not None:
        if alias not in _names() or "alias" in _read(path.with_name(f"{alias}.toml")):
            raise UserError(f"target {name!r} is an alias of {alias!r}, which is not a target")
        return load_target(alias)
    with _told_by_name(path):
        return _parse(name, table)


def _load_part(name: str, path: Path) -> Target:
    table = _read(path)
    with _told_by_name(path):
        return _parse_part(name, table)


@contextlib.contextmanager
def _told_by_name(path: Path) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path.name}: {type(error).__name__}: {error}") from error


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
        shared={**base.shared, **table.get("shared", {})},
        copy_bytes={**base.copy_bytes, **table.get("copy_bytes", {})},
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
        dual_issue=DualIssueModel(**table["dual_issue"]) if "dual_issue" in table else None,
        cycles_per_instruction=table.get("cycles_per_instruction"),
        constant_bytes_per_instruction=table.get("constant_bytes_per_instruction"),
        costs=_costs(name),
    )


def _parse_part(name: str, table: dict[str, Any]) -> Target:
    flash = table["flash"]
    regions = tuple(Region(region["name"], int(region["bytes"])) for region in table["ram"])
    if not regions:
        raise ValueError("there is no RAM")
    part = Part(
        vendor=table["vendor"],
        core_target=table["target"],
        regions=regions,
        flash=flash.get("kind", "internal"),
        wait_states=flash.get("wait_states"),
        read_bytes=flash.get("read_bytes"),
        cache=flash.get("cache"),
        boards=tuple(table.get("boards", ())),
        source=table["source"],
    )
    return replace(
        load_target(part.core_target),
        name=name,
        description=table["description"],
        clock_hz=int(table["clock_hz"]),
        flash_bytes=flash.get("bytes"),
        ram_bytes=regions[0].bytes,
        part=part,
    )
