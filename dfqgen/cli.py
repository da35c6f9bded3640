"""The command line: parse, call the API, print. Nothing is decided here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console

from dfqgen import __version__, cli_output, pipeline
from dfqgen import cli_options as opt
from dfqgen.compilation import CompileOptions, Progress
from dfqgen.errors import DfqgenError
from dfqgen.inputs import state_meaning
from dfqgen.plan.budget import parse_size
from dfqgen.quantization.options import QuantizeOptions

WIDTH = 110  # columns where there is no terminal

app = typer.Typer(
    name="dfqgen",
    help="Compile float ONNX networks to fixed-point C for microcontrollers, without training data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Entry point. Exit codes: 0 fine, 1 verification failed, 2 something the user can put right."""
    app()


@contextlib.contextmanager
def _reporting(as_json: bool) -> Iterator[None]:
    """Errors raised on purpose become one paragraph and an exit code."""
    try:
        yield
    except DfqgenError as error:
        if as_json:
            cli_output.print_json({"error": str(error), "exit_code": error.exit_code})
        cli_output.print_error(str(error), _stderr())
        raise typer.Exit(error.exit_code) from None


def _stderr() -> Console:
    return Console(stderr=True, highlight=False)


def _stdout() -> Console:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    return console


@contextlib.contextmanager
def _progress() -> Iterator[Progress]:
    """A line on a terminal's standard error that says what is being done; nothing elsewhere."""
    console = _stderr()
    if not console.is_terminal:
        yield lambda stage: None
        return
    with console.status("starting") as status:
        yield lambda stage: status.update(cli_output.status_text(stage))


def _finish(facts: dict[str, Any], as_json: bool, show: Any) -> None:
    cli_output.print_warnings(facts.get("warnings", ()), _stderr())
    if as_json:
        cli_output.print_json(facts)
    else:
        show(facts, _stdout())


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dfqgen {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _options(
    target: str,
    name: str | None,
    optimize: Literal["speed", "size"],
    input_shape: list[str] | None,
    io_layout: Literal["nhwc", "nchw"],
    input_mean: str | None,
    input_std: str | None,
    input_range: str | None,
    weights: Literal["per-channel", "per-tensor"],
    scales: Literal["multiplier", "power-of-two"] | None,
) -> CompileOptions:
    bounds = opt.numbers(input_range, "--input-range", 2)
    return CompileOptions(
        target=target,
        name=name,
        optimize=optimize,
        input_shapes=opt.shapes(input_shape),
        io_layout=io_layout,
        meaning=state_meaning(
            opt.numbers(input_mean, "--input-mean"),
            opt.numbers(input_std, "--input-std"),
            None if bounds is None else (bounds[0], bounds[1]),
        ),
        quantize=QuantizeOptions(weights=weights),
        scales=scales,
    )


@app.command()
def build(
    model: opt.Model,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The folder to make.", show_default="out/<name of the model>"),
    ] = None,
    target: opt.Target = "host",
    name: opt.Name = None,
    optimize: opt.Optimize = "speed",
    flash: Annotated[
        str | None,
        typer.Option("--flash", metavar="SIZE", help="Flash budget, like 256K.", show_default="the target's"),
    ] = None,
    ram: Annotated[
        str | None,
        typer.Option("--ram", metavar="SIZE", help="RAM budget, like 64K.", show_default="the target's"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what an earlier build put there.")] = False,
    data: opt.Data = None,
    per_layer: opt.PerLayer = False,
    input_shape: opt.InputShape = None,
    io_layout: opt.IoLayout = "nhwc",
    input_mean: opt.InputMean = None,
    input_std: opt.InputStd = None,
    input_range: opt.InputRange = None,
    weights: opt.Weights = "per-channel",
    scales: opt.Scales = None,
    as_json: opt.Json = False,
) -> None:
    """Compile MODEL to a folder of C, prove it equal to the integer reference, compare it with float.

    Examples:

      dfqgen build model.onnx --target cortex-m --input-mean 127.5 --input-std 127.5

      dfqgen build model.onnx -t cortex-m4 --input-std 255 --ram 64K --data test.npz -o out/model
    """
    with _reporting(as_json), _progress() as progress:
        options = pipeline.BuildOptions(
            compile=_options(
                target,
                name,
                optimize,
                input_shape,
                io_layout,
                input_mean,
                input_std,
                input_range,
                weights,
                scales,
            ),
            flash_bytes=None if flash is None else parse_size(flash),
            ram_bytes=None if ram is None else parse_size(ram),
            force=force,
            data=data,
            per_layer=per_layer,
        )
        result = pipeline.build(model, output or pipeline.default_output(model), options, progress)
    _finish(result.facts, as_json, cli_output.print_build)


@app.command()
def verify(
    out_dir: opt.OutDir,
    model: Annotated[
        Path | None,
        typer.Option("--model", help="The ONNX file it was built from: compare with float again."),
    ] = None,
    data: opt.Data = None,
    per_layer: opt.PerLayer = False,
    as_json: opt.Json = False,
) -> None:
    """Compile the C in OUT_DIR for this machine and check it again, bit for bit.

    Examples:

      dfqgen verify out/model

      dfqgen verify out/model --model model.onnx --per-layer
    """
    with _reporting(as_json), _progress() as progress:
        facts = pipeline.verify(out_dir, model=model, data=data, per_layer=per_layer, progress=progress)
    _finish(facts, as_json, cli_output.print_verify)


@app.command()
def run(
    out_dir: opt.OutDir,
    on: Annotated[str, typer.Option("--on", help="A target with an emulator.")] = "cortex-m",
    as_json: opt.Json = False,
) -> None:
    """Run the golden vectors on an emulated microcontroller and count instructions.

    Examples:

      dfqgen run out/model --on cortex-m4

      dfqgen run out/model --on cortex-m55 --json
    """
    with _reporting(as_json), _progress() as progress:
        facts = pipeline.run(out_dir, on, progress)
    _finish(facts, as_json, cli_output.print_run)


@app.command()
def inspect(
    model: opt.Model,
    ir: Annotated[bool, typer.Option("--ir", help="Print the fixed-point program instead.")] = False,
    target: opt.Target = "host",
    name: opt.Name = None,
    optimize: opt.Optimize = "speed",
    input_shape: opt.InputShape = None,
    io_layout: opt.IoLayout = "nhwc",
    input_mean: opt.InputMean = None,
    input_std: opt.InputStd = None,
    input_range: opt.InputRange = None,
    weights: opt.Weights = "per-channel",
    scales: opt.Scales = None,
    as_json: opt.Json = False,
) -> None:
    """Show what dfqgen sees in MODEL: the float graph, or the fixed-point program it becomes.

    Examples:

      dfqgen inspect model.onnx

      dfqgen inspect model.onnx --ir --input-std 255
    """
    with _reporting(as_json), _progress() as progress:
        options = _options(
            target,
            name,
            optimize,
            input_shape,
            io_layout,
            input_mean,
            input_std,
            input_range,
            weights,
            scales,
        )
        facts = pipeline.inspect(model, options, ir=ir, progress=progress)
    _finish(facts, as_json, cli_output.print_inspect)


@app.command()
def targets(as_json: opt.Json = False) -> None:
    """List the machines dfqgen knows."""
    with _reporting(as_json):
        facts = pipeline.targets()
    _finish(facts, as_json, cli_output.print_targets)
