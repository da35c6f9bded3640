"""The command line: parse, call the API, print. Nothing is decided here.

`dfqgen --help` must be quick: what commands work with is imported when they run.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from dfqgen.cli import options as opt
from dfqgen.cli import output as show
from dfqgen.cli.config import ConfiguredCommand
from dfqgen.cli.expand import expand_options
from dfqgen.cli.failures import reporting, stop_politely
from dfqgen.cli.job import bar, finish, job, stderr

if TYPE_CHECKING:
    from dfqgen.commands.synthesize import SynthesisChoices

MORE = "or what dfqgen targets --search finds"


class Commands(TyperGroup):
    """The commands; with --json a usage error is an object too."""

    def main(self, args: Any = None, *positional: Any, **settings: Any) -> Any:
        if "--json" not in (sys.argv[1:] if args is None else args) or not settings.get(
            "standalone_mode", True
        ):
            return super().main(args, *positional, **settings)
        try:
            code = super().main(args, *positional, **(settings | {"standalone_mode": False}))
        except typer.TyperException as error:
            show.print_json({"error": error.format_message(), "exit_code": error.exit_code})
            show.print_error(error.format_message(), stderr())
            code = error.exit_code
        sys.exit(code)


app = typer.Typer(
    name="dfqgen",
    cls=Commands,
    help="Compile float ONNX networks to fixed-point C for microcontrollers, without training data.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Entry point. Exit codes: 0 fine, else those of `dfqgen.cli.failures`."""
    stop_politely()
    try:
        with reporting():
            app(prog_name="dfqgen")
    except typer.Exit as ended:
        sys.exit(ended.exit_code)


def _version(wanted: bool) -> None:
    if wanted:
        from dfqgen.version import __version__

        typer.echo(f"dfqgen {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command(cls=ConfiguredCommand)
@expand_options
def build(
    model: opt.Model,
    choices: opt.CompileChoices,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The folder to make.", show_default="out/<name of the model>"),
    ] = None,
    flash: Annotated[
        str | None,
        typer.Option("--flash", metavar="SIZE", help="Flash, like 256K.", show_default="the target's"),
    ] = None,
    ram: Annotated[
        str | None,
        typer.Option("--ram", metavar="SIZE", help="RAM, like 64K.", show_default="the target's"),
    ] = None,
    time: Annotated[
        str | None,
        typer.Option("--time", metavar="TIME", help="An inference, like 80ms.", show_default="any"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what an earlier build put there.")] = False,
    data: opt.Data = None,
    per_layer: opt.PerLayer = False,
    min_sqnr: opt.MinSqnr = None,
    qdq: Annotated[bool, typer.Option("--qdq", help="Write the program as QDQ ONNX, too.")] = False,
    explored: Annotated[
        Path | None,
        typer.Option(
            "--explored",
            metavar="FOLDER",
            help="Show this build among those that explore made.",
            show_default=False,
        ),
    ] = None,
    verbose: opt.Verbose = False,
    as_json: opt.Json = False,
) -> None:
    """Compile MODEL to a folder of C, prove it equal to the integer reference, compare it with float.

    Examples:

      dfqgen build model.onnx --target cortex-m --input-mean 127.5 --input-std 127.5

      dfqgen build model.onnx -t cortex-m4 --input-std 255 --ram 64K --data test.npz -o out/model
    """
    with job(as_json, verbose, left="the output folder is as it was") as progress:
        from dfqgen import commands
        from dfqgen.errors import UserError
        from dfqgen.plan.budget import Budget
        from dfqgen.recipe.choices import make_recipe
        from dfqgen.targets import COMMON
        from dfqgen.units import parse_duration, parse_size

        if "target" not in choices:
            raise UserError(
                "which machine is the C for?", f"Say it with --target: {', '.join(COMMON)}, {MORE}."
            )
        result = commands.build(
            model,
            output or commands.default_output(model),
            make_recipe(**choices),
            budget=Budget(
                None if flash is None else parse_size(flash),
                None if ram is None else parse_size(ram),
                None if time is None else parse_duration(time),
            ),
            force=force,
            data=data,
            per_layer=per_layer,
            min_sqnr=min_sqnr,
            qdq=qdq,
            explored=explored,
            progress=progress,
        )
    finish(result.facts, as_json, show.print_build)


@app.command(cls=ConfiguredCommand)
def verify(
    out_dir: opt.OutDir,
    model: Annotated[
        Path | None,
        typer.Option("--model", help="The file it was built from: compare with float again."),
    ] = None,
    data: opt.Data = None,
    per_layer: opt.PerLayer = False,
    min_sqnr: opt.MinSqnr = None,
    edited: opt.Edited = False,
    verbose: opt.Verbose = False,
    as_json: opt.Json = False,
) -> None:
    """Compile the C in OUT_DIR for this machine and check it again, bit for bit.

    Files that changed since the build are named and refused.

    Examples:

      dfqgen verify out/model

      dfqgen verify out/model --model model.onnx --per-layer
    """
    with job(as_json, verbose) as progress:
        from dfqgen import commands

        facts = commands.verify(
            out_dir,
            model=model,
            data=data,
            per_layer=per_layer,
            min_sqnr=min_sqnr,
            edited=edited,
            progress=progress,
        )
    finish(facts, as_json, show.print_verify)


@app.command(cls=ConfiguredCommand)
def run(
    out_dir: opt.OutDir,
    on: Annotated[
        str,
        typer.Option(
            "--on",
            help="A target with an emulator, or serial:PORT[@BAUD] for a board.",
            autocompletion=opt.target_names,
        ),
    ] = "cortex-m",
    edited: opt.Edited = False,
    verbose: opt.Verbose = False,
    as_json: opt.Json = False,
) -> None:
    """Run the golden vectors on an emulated microcontroller and count instructions.

    Examples:

      dfqgen run out/model --on cortex-m4

      dfqgen run out/model --on cortex-m55 --json

      dfqgen run out/model --on serial:/dev/ttyACM0
    """
    with job(as_json, verbose) as progress:
        from dfqgen import commands

        facts = commands.run(out_dir, on, progress, edited=edited)
    finish(facts, as_json, show.print_run)


@app.command(cls=ConfiguredCommand)
def profile(
    out_dir: opt.OutDir,
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            "-t",
            help="A target with an emulator.",
            autocompletion=opt.target_names,
            show_default="what OUT_DIR was built for",
        ),
    ] = None,
    clock: Annotated[
        str | None,
        typer.Option("--clock", metavar="FREQUENCY", help="Like 80M.", show_default="the target's"),
    ] = None,
    edited: opt.Edited = False,
    verbose: opt.Verbose = False,
    as_json: opt.Json = False,
) -> None:
    """Count the instructions of every layer on an emulated microcontroller and estimate its cycles.

    Writes profile.json into OUT_DIR and a section into its report.html.

    Examples:

      dfqgen profile out/model --target cortex-m4

      dfqgen profile out/model --target cortex-m4 --clock 80M --json
    """
    with job(as_json, verbose) as progress:
        from dfqgen import commands
        from dfqgen.units import parse_frequency

        clock_hz = None if clock is None else parse_frequency(clock)
        facts = commands.profile(out_dir, target, clock_hz=clock_hz, edited=edited, progress=progress)
    finish(facts, as_json, show.print_profile)


@app.command(cls=ConfiguredCommand)
def export(
    out_dir: opt.OutDir,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The .onnx file to write.", show_default=False)
    ],
    verbose: opt.Verbose = False,
    as_json: opt.Json = False,
) -> None:
    """Write the program in OUT_DIR as ONNX with QuantizeLinear and DequantizeLinear.

    onnxruntime runs every layer of it; how its integers differ from the C's is printed.

    Examples:

      dfqgen export out/model -o model.qdq.onnx
    """
    with job(as_json, verbose) as progress:
        from dfqgen import commands

        facts = commands.export(out_dir, output, progress=progress)
    finish(facts, as_json, show.print_export)


@app.command(cls=ConfiguredCommand)
@expand_options
def inspect(
    model: opt.Model,
    choices: opt.CompileChoices,
    ir: Annotated[bool, typer.Option("--ir", help="Print the fixed-point program instead.")] = False,
    verbose: opt.Verbose = False,
    as_json: opt.Json = False,
) -> None:
    """Show what dfqgen sees in MODEL: the float graph, or the fixed-point program it becomes.

    Examples:

      dfqgen inspect model.onnx

      dfqgen inspect model.onnx --ir --input-std 255
    """
    with job(as_json, verbose) as progress:
        from dfqgen import commands
        from dfqgen.recipe.choices import make_recipe

        facts = commands.inspect(model, make_recipe(**choices), ir=ir, progress=progress)
    finish(facts, as_json, show.print_inspect)


@app.command("eval", cls=ConfiguredCommand)
@expand_options
def evaluate(
    model: opt.Model,
    choices: opt.CompileChoices,
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            help=".npz with x and labels y, .npy, .csv, a folder of images, or a .toml that says how to read "
            "one of them (docs/data.md).",
        ),
    ],
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first samples.")] = None,
    decode: Annotated[
        Path | None,
        typer.Option(
            "--decode", help="A Python file whose decode(outputs) gives (boxes, scores) of a detector."
        ),
    ] = None,
    min_sqnr: opt.MinSqnr = None,
    verbose: opt.Verbose = False,
    as_json: opt.Json = False,
) -> None:
    """Measure accuracy on samples: the float network against the generated C, compiled for this machine.

    Labels give top-1 and top-5, no labels the agreement of both; class maps give the mean IoU. Outputs that
    are far from float are told, with what helps.

    Examples:

      dfqgen eval model.onnx --data test.npz --input-mean 127.5 --input-std 127.5

      dfqgen eval model.onnx --data test.npz --input-std 255 --weights per-tensor --no-equalize --limit 100
    """
    with job(as_json, verbose) as progress:
        from dfqgen import commands
        from dfqgen.recipe.choices import make_recipe

        decoder = None if decode is None else commands.load_decoder(decode)
        found = commands.evaluate(model, data, make_recipe(**choices), limit=limit, progress=progress)
        warnings = commands.judge_evaluation(found, data, min_sqnr, progress)
        facts = commands.evaluation_facts(found, decoder, warnings)
    finish(facts, as_json, show.print_evaluation)


@app.command(cls=ConfiguredCommand)
@expand_options
def explore(
    models: Annotated[list[Path], typer.Argument(help="ONNX files.", show_default=False)],
    choices: opt.CompileChoices,
    targets: Annotated[
        str | None,
        typer.Option(
            "--targets", metavar="NAME[,NAME...]", help="Cores and parts.", show_default="that of --target"
        ),
    ] = None,
    data: opt.Data = None,
    points: Annotated[
        int, typer.Option("--points", min=1, max=100_000, help="About how many builds, over all targets.")
    ] = 40,
    both: Annotated[bool, typer.Option("--sizes", help="Builds made for size too.")] = False,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder of results.")] = Path(
        "out/explore"
    ),
    jobs: Annotated[int, typer.Option("--jobs", "-j", help="Processes; -1: one a core.")] = -1,
    scheduler: Annotated[
        str | None,
        typer.Option("--scheduler", metavar="ADDRESS", help="A Dask scheduler, like tcp://host:8786."),
    ] = None,
    verbose: opt.Verbose = False,
    as_json: opt.Json = False,
) -> None:
    """Measure what accuracy costs in flash, RAM and time: many builds of MODELS, and the best of them.

    Fewer bits for weights and wider activations are tried; every other option is as given. With the same
    folder it goes on where it was.

    Examples:

      dfqgen explore model.onnx --targets stm32f411,nrf5340 --data test.npz --input-std 255

      dfqgen explore zoo/*.onnx -t cortex-m4 --points 200 --scheduler tcp://host:8786
    """
    left = f"{output} has what was measured; the same command goes on"
    with job(as_json, verbose, left=left) as progress:
        from dfqgen import commands
        from dfqgen.errors import UserError
        from dfqgen.explore import Search

        names = tuple(targets.split(",")) if targets else (choices["target"],) if "target" in choices else ()
        if not names:
            raise UserError("which machines is the C for?", "Say it with --targets, like stm32l4r5,rp2040.")
        search = Search(names, ("balanced", "size") if both else ("balanced",), points, jobs, scheduler)
        facts = commands.explore(models, output, search, choices, data, progress)
    finish(facts, as_json, show.print_exploration)


@app.command(cls=ConfiguredCommand)
@expand_options
def synthesize(
    model: opt.Model,
    choices: opt.InputChoices,
    output: Annotated[Path, typer.Option("--output", "-o", help="The .npz file to write.")],
    samples: opt.SampleCount = None,
    seed: opt.Seed = 0,
    iterations: Annotated[
        int | None,
        typer.Option("--iterations", min=0, help="Steps of Adam.", show_default="150, of large networks 50"),
    ] = None,
    slack: Annotated[bool, typer.Option("--slack/--no-slack", help="Slack distribution alignment.")] = True,
    enhance: Annotated[
        bool, typer.Option("--enhance/--no-enhance", help="Layerwise sample enhancement.")
    ] = True,
    start: Annotated[
        Literal["procedural", "noise"], typer.Option("--start", help="What the samples begin as.")
    ] = "procedural",
    contact_sheet: Annotated[
        Path | None, typer.Option("--contact-sheet", help="All samples as one PNG.", show_default=False)
    ] = None,
    diversity: Annotated[
        Path | None,
        typer.Option(
            "--diversity",
            help="Plot the statistics of these samples and of others made without slack and enhancement "
            "(which takes as long again).",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    verbose: opt.Verbose = False,
    as_json: opt.Json = False,
) -> None:
    """Make samples whose features have the statistics that training left in MODEL (DSG). Needs PyTorch.

    Use them with --calibration-data or --rounding-data. Without slack and enhancement: ZeroQ's loss.

    Examples:

      dfqgen synthesize model.onnx -o samples.npz --input-mean 127.5 --input-std 127.5

      dfqgen synthesize model.onnx -o samples.npz --input-std 255 --contact-sheet sheet.png --seed 1
    """
    with job(as_json, verbose, left="no file was written") as stages, bar(stages) as progress:
        from dfqgen import commands
        from dfqgen.commands.synthesize import SynthesisFiles
        from dfqgen.recipe.choices import make_recipe

        how: SynthesisChoices = {
            "count": samples,
            "iterations": iterations,
            "slack": slack,
            "enhance": enhance,
            "start": start,
            "seed": seed,
        }
        files = SynthesisFiles(output, contact_sheet, diversity, force)
        facts = commands.synthesize(model, files, make_recipe(**choices), how, progress)
    finish(facts, as_json, show.print_synthesis)


@app.command(cls=ConfiguredCommand)
def targets(
    search: Annotated[
        str | None,
        typer.Option("--search", metavar="TEXT", help="Parts, boards and cores with these words, like nrf."),
    ] = None,
    as_json: opt.Json = False,
) -> None:
    """List the machines dfqgen knows: cores, and parts with their memory."""
    with job(as_json):
        from dfqgen import commands

        facts = commands.targets(search)
    finish(facts, as_json, show.print_targets)


@app.command(cls=ConfiguredCommand)
def doctor(as_json: opt.Json = False) -> None:
    """Say which compilers, emulators and packages this machine has, and how to get the rest."""
    with job(as_json):
        from dfqgen import commands

        facts = commands.doctor()
    finish(facts, as_json, show.print_doctor)
