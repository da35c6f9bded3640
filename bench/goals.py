"""What builds that must fit ask for, what is found, and what was foretold of it beside what it is.

    python bench/goals.py --shared ../shared [--only ic01,kws01] [--points FILE] [--write docs/goals.md]

Flash is foretold of the solver's first choice, before anything of it was built, and compared with what that
choice took; the arena of the last one. Instructions are those of the planner's prices, counted in QEMU on the
part's core. The SQNR is predicted by the build, and measured at the same tensor on real samples
(bench/prediction.py). The command fails where a prediction is off by more than 8 % of the instructions, 2 %
of the flash, anything of the arena, or 2 dB.
--points keeps rows, so that an interrupted run goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from prediction import decibels
from subjects import SUBJECTS, replace_table

from dfqgen.emit.package import write_files
from dfqgen.goals import Fitted, compile_to_fit
from dfqgen.plan.budget import Budget
from dfqgen.plan.estimate import estimate, seconds
from dfqgen.quantization.predicted_noise import affordable
from dfqgen.recipe import make_recipe
from dfqgen.recipe.command import build_command
from dfqgen.report.words import size_text
from dfqgen.targets import load_target
from dfqgen.units import duration_text, parse_duration, parse_size
from dfqgen.verify.firmware import run_firmware

SAMPLES = 64
"""At most: as many as a simulation affords."""
FEATURES = {"kws01": "mfcc490.npz"}
"""Samples in place of white noise: made too, but with about the moments that batch normalization states."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A network on a part, and its limits as on the command line."""

    network: str
    part: str
    flash: str | None = None
    ram: str | None = None
    time: str | None = None

    @property
    def budget(self) -> Budget:
        return Budget(
            None if self.flash is None else parse_size(self.flash),
            None if self.ram is None else parse_size(self.ram),
            None if self.time is None else parse_duration(self.time),
        )

    @property
    def text(self) -> str:
        limits = {"flash": self.flash, "RAM": self.ram, "time": self.time}
        return ", ".join(f"{name} {limit}" for name, limit in limits.items() if limit) or "the part's"


ASKS = (
    Ask("ic01", "stm32f446", flash="85K"),
    Ask("ic01", "nrf52840", flash="170K", time="180ms"),
    Ask("ic01", "rp2040", flash="60K"),
    Ask("kws01", "stm32l4r5", flash="30K"),
    Ask("kws01", "nrf5340", flash="28K", time="80ms"),
    Ask("kws01", "stm32g0b1", flash="26K"),
    Ask("vww01", "stm32f446", flash="56K", time="90ms"),
    Ask("vww01", "nrf5340", flash="48K"),
    Ask("vww01", "rp2040", flash="40K"),
    Ask("mobilenet", "stm32l4r5", flash="1600K"),
    Ask("mobilenet", "nrf5340", flash="1M"),
    Ask("mobilenet", "stm32h743", flash="2M", ram="256K"),
    Ask("effnet_lite0", "stm32h743", flash="2M"),
    Ask("effnet_lite0", "stm32u5a5", flash="3M"),
    Ask("effnet_lite0", "stm32l4r5", flash="2M"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """Pairs are what was foretold and what is; None where the build fitted at once. `flash_bytes` is the
    build's, `flash` of the first choice; `command` builds the same without a search.
    """

    given_up: str
    command: str | None
    flash_bytes: int
    flash: tuple[float | None, float | None]
    ram: tuple[float | None, int]
    instructions: tuple[float, int]
    sqnr_db: tuple[float, float]


def measure(ask: Ask, shared: Path) -> Row:
    """Fit, count, compare."""
    subject, target = SUBJECTS[ask.network], load_target(ask.part)
    subject = replace(subject, data=FEATURES.get(ask.network, subject.data))
    recipe = make_recipe(target=ask.part, meaning=subject.meaning)
    fitted = compile_to_fit(shared / "models" / subject.file, recipe, ask.budget)
    built, compiled = fitted.built, fitted.compiled
    with tempfile.TemporaryDirectory(prefix="dfqgen-") as folder:
        write_files(built.files, Path(folder))
        counted = run_firmware(Path(folder), target).instructions
    raw = {name: values[:SAMPLES] for name, values in subject.samples(shared).raw.items()}
    inputs = affordable(compiled.program, compiled.network.normalize(raw))
    worst = min(decibels(compiled, inputs), key=lambda entry: entry[2])
    code_bytes = 0 if built.code is None else built.code.code_bytes
    constants = sum(array.size_bytes for step in built.plan.steps for array in step.code.arrays)
    first, found, last = fitted.first, fitted.first_found, fitted.foretold
    return Row(
        words(fitted),
        build_command(subject.file, compiled.recipe),
        constants + code_bytes,
        (None, None) if first is None or found is None else (first.flash_bytes, found.flash_bytes),
        (None if last is None else last.ram_bytes, built.plan.arena_bytes),
        (
            sum(layer.instructions for layer in estimate(built.plan)),
            counted,
        ),
        worst[1:],
    )


def words(fitted: Fitted) -> str:
    """What was given up, without the sentence around it."""
    changes = [text.removeprefix("so that the network fits, ") for text in fitted.sacrifices]
    return "; ".join(changes) or "nothing"


def misses(ask: Ask, row: Row) -> list[str]:
    """Predictions that are off by more than they may."""
    where, found = f"{ask.network} on {ask.part}", []
    for name, (foretold, is_), most in (
        ("flash", row.flash, 0.02),
        ("arena", row.ram, 0.0),
        ("instructions", row.instructions, 0.08),
    ):
        if foretold is not None and is_ is not None and abs(foretold / is_ - 1.0) > most + 1e-9:
            found.append(f"{where}: {name} {foretold:,.0f} foretold, {is_:,}")
    predicted, measured = row.sqnr_db
    if math.isfinite(measured) and abs(predicted - measured) > 2.0:
        found.append(f"{where}: {predicted:.1f} dB foretold, {measured:.1f} dB")
    return found


def line(ask: Ask, row: Row) -> str:
    """Of the Markdown table; time is that of the instructions by the core's cycles for each."""
    target = load_target(ask.part)

    def pair(foretold: float | None, is_: str, off: float) -> str:
        return f"{is_} (fits)" if foretold is None else f"{is_} ({100 * off:+.1f} %)"

    (expected, found), ram, time, sqnr = row.flash, row.ram, row.instructions, row.sqnr_db
    cells = [
        ask.network,
        ask.part,
        ask.text,
        row.given_up,
        pair(expected, size_text(row.flash_bytes), (expected or 0.0) / (found or 1.0) - 1.0),
        pair(ram[0], size_text(ram[1]), (ram[0] or 0.0) / ram[1] - 1.0),
        pair(time[0], duration_text(seconds(time[1], target)), time[0] / time[1] - 1.0),
        f"{sqnr[1]:.1f} dB ({sqnr[0] - sqnr[1]:+.1f})",
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--shared", type=Path, default=os.environ.get("DFQGEN_SHARED", "../shared"))
    parser.add_argument("--only", help="networks, with commas between")
    parser.add_argument("--points", type=Path, help="file of what was measured so far")
    parser.add_argument("--write", type=Path, help="replace the table in this Markdown file")
    arguments = parser.parse_args()
    wanted = arguments.only.split(",") if arguments.only else [ask.network for ask in ASKS]
    known = json.loads(arguments.points.read_text()) if arguments.points and arguments.points.exists() else {}
    lines = [
        "| network | part | asked | given up | flash | arena | time | SQNR |",
        "|---|---|---|---|--:|--:|--:|--:|",
    ]
    missed = []
    for ask in (ask for ask in ASKS if ask.network in wanted):
        key = f"{ask.network} {ask.part} {ask.text}"
        if key not in known:
            known[key] = asdict(measure(ask, arguments.shared))
            if arguments.points:
                arguments.points.write_text(json.dumps(known, indent=1))
        row = Row(**known[key])
        lines.append(line(ask, row))
        missed += misses(ask, row)
        print(lines[-1], flush=True)
    if arguments.write:
        replace_table(arguments.write, "\n".join(lines), "goals table")
    for text in missed:
        print(f"missed: {text}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
