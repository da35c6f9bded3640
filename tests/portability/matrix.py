"""Compilers and flags, and the networks whose self-tests they must pass.

`python -m tests.portability.matrix` prints the table of docs/reliability.md.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from dfqgen import make_recipe, quantize
from dfqgen.emit.package import emit, write_files
from dfqgen.plan import plan_program
from dfqgen.recipe.records import Recipe
from dfqgen.targets import load_target
from tests.models import DIGITS

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror")


@dataclass(frozen=True)
class Row:
    """A compiler with its flags; `run` stands before the program: an emulator, or None to compile only."""

    label: str
    compiler: str
    flags: tuple[str, ...]
    run: tuple[str, ...] | None = ()
    portable_only: bool = False

    @property
    def missing(self) -> str:
        """A command that is not installed, or nothing."""
        commands = (self.compiler, *((self.run or ())[:1]))
        return next((command for command in commands if shutil.which(command) is None), "")


def host(compiler: str, *flags: str) -> Row:
    return Row(f"{compiler} {' '.join(flags)}", compiler, (*STRICT, *flags))


ARM = ("-mthumb", "-ffreestanding")
HARD = ("-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16")
BIG_ENDIAN = Row(
    "s390x-linux-gnu-gcc -O2, most significant byte first",
    "s390x-linux-gnu-gcc",
    (*STRICT, "-O2", "-static"),
    ("qemu-s390x",),
    portable_only=True,
)
THIRTY_TWO = Row("i686-linux-gnu-gcc -O2, 32 bits", "i686-linux-gnu-gcc", (*STRICT, "-O2", "-static"))
CHEAP = (
    BIG_ENDIAN,
    THIRTY_TWO,
    host("gcc", "-O1", "-fshort-enums", "-funsigned-char"),
    Row(
        "avr-gcc -Os, int of 16 bits",
        "avr-gcc",
        (*STRICT, "-Os", "-mmcu=atmega2560"),
        None,
        portable_only=True,
    ),
)
"""What the tests run."""
ROWS = (
    *(host("gcc", level) for level in ("-O0", "-Og", "-Os", "-O1", "-O2", "-O3")),
    *(host("clang", level) for level in ("-O0", "-Os", "-O2", "-O3")),
    host("gcc", "-O2", "-flto"),
    host("gcc", "-O3", "-march=native"),
    host("gcc", "-O2", "-fsigned-char"),
    host("gcc", "-O2", "-ftrapv"),
    THIRTY_TWO,
    CHEAP[2],
    BIG_ENDIAN,
    Row(
        "arm-none-eabi-gcc, soft float", "arm-none-eabi-gcc", (*STRICT, "-O2", *ARM, "-mcpu=cortex-m4"), None
    ),
    Row("arm-none-eabi-gcc, hard float", "arm-none-eabi-gcc", (*STRICT, "-O2", *ARM, *HARD), None),
    Row("clang for Arm", "clang", (*STRICT, "-O2", "--target=arm-none-eabi", *ARM, *HARD), None),
    CHEAP[3],
)


def recipes() -> dict[str, tuple[str, Recipe]]:
    """Of the bundled network: target and recipe by name."""
    meaning = {"input_std": (16.0,), "input_range": (0.0, 16.0)}
    int8 = meaning | {"activations": "int8"}
    return {
        "int8": ("cortex-m0plus", make_recipe(target="cortex-m0plus", **int8)),  # type: ignore[arg-type]
        "4 bits": ("cortex-m0plus", make_recipe(target="cortex-m0plus", bits="4", **int8)),  # type: ignore[arg-type]
        "int16": ("host", make_recipe(target="host", activations="int16", **meaning)),  # type: ignore[arg-type]
        "DSP": ("cortex-m4", make_recipe(target="cortex-m4", **int8)),  # type: ignore[arg-type]
    }


def write_builds(folder: Path, names: tuple[str, ...]) -> dict[str, Path]:
    """The folders of C."""
    result = {}
    for name in names:
        target_name, recipe = recipes()[name]
        program, target = quantize(DIGITS, recipe), load_target(target_name)
        place = folder / name.replace(" ", "_")
        write_files(emit(program, plan_program(program, target), target), place)
        result[name] = place
    return result


def verdict(row: Row, build: str, folder: Path) -> str:
    """What a compiler makes of a build: "equal", "compiles", or what is wrong."""
    if row.portable_only and build == "DSP":
        return "little-endian Arm only"
    parts = ("", "_weights") if row.run is None else ("", "_weights", "_golden", "_selftest")
    sources = [f"digits{part}.c" for part in parts]
    output = folder / "selftest"
    for source in sources if row.run is None else [""]:
        mode = ["-c", source] if row.run is None else sources
        command = [row.compiler, *row.flags, *mode, "-o", str(output)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            return "does not compile: " + done.stderr.strip()[:2000]
    if row.run is None:
        return "compiles"
    ended = subprocess.run([*row.run, str(output)], capture_output=True, check=False).returncode
    return "equal" if ended == 0 else f"differs ({ended})"


def main() -> int:
    """The table, and the number of cells that are wrong, at most 1."""
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        builds = write_builds(Path(folder), tuple(recipes()))
        print("| compiler and flags | " + " | ".join(builds) + " |\n|---|" + "---|" * len(builds))
        for row in ROWS:
            if row.missing:
                print(f"| {row.label} | {row.missing} is not installed |" + " |" * (len(builds) - 1))
                continue
            found = [verdict(row, name, place) for name, place in builds.items()]
            wrong += sum("compile:" in cell or "differs" in cell for cell in found)
            print(
                f"| {row.label} | " + " | ".join(cell.splitlines()[0][:90] for cell in found) + " |",
                flush=True,
            )
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
