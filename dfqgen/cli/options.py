"""Options that several commands share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dfqgen.cli import values
from dfqgen.cli.config import CONFIG
from dfqgen.cli.help import show_all
from dfqgen.recipe.records import PACKAGES, Recipe
from dfqgen.samples.presets import MEAN_AND_STD

if TYPE_CHECKING:
    from dfqgen.recipe.choices import Choices
else:
    Choices = dict  # a name for `expand_options`; the module that has it is slow to import

DEFAULTS = Recipe()


def target_names(incomplete: str) -> list[str]:
    """Targets, parts and aliases that begin so, for the shell's completion."""
    from dfqgen.targets import target_names

    return [name for name in target_names() if name.startswith(incomplete)]


_CODE = "The C"
_INPUT = "The network's input"
_QUANTIZATION = "Quantization"

Model = Annotated[Path, typer.Argument(help="The ONNX or TFLite file.", show_default=False)]
OutDir = Annotated[Path, typer.Argument(help="A folder that dfqgen build made.", show_default=False)]
Edited = Annotated[
    bool, typer.Option("--edited", help="Compile and run files that were changed after the build, too.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output instead.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Print every stage and how long it takes.")]
Target = Annotated[
    str,
    typer.Option(
        "--target",
        "-t",
        help="Which machine, part or board; see dfqgen targets. A build must say it.",
        autocompletion=target_names,
        show_default="host",
    ),
]
HelpAll = Annotated[
    bool,
    typer.Option(
        "--help-all",
        is_eager=True,
        callback=show_all,
        help="Show this message with the options for experts.",
    ),
]
Name = Annotated[
    str | None,
    typer.Option(
        "--name",
        help="Prefix of all names in the C.",
        rich_help_panel=_CODE,
        show_default="the model file's name",
    ),
]
Winograd = Annotated[
    str,
    typer.Option(
        "--winograd",
        metavar="auto|off|LAYER[,LAYER...]",
        help="Flash for speed, where there is room: Winograd's algorithm for 3x3 and 1x3 convolutions, whose "
        "weights take 3.6 and 2.7 times as much, and zeros between groups; or for these layers. The bits are "
        "the same.",
        rich_help_panel=_CODE,
    ),
]
Optimize = Annotated[
    Literal["speed", "balanced", "size"] | None,
    typer.Option(
        "--optimize",
        help="speed, size, or balanced between them (if it fits).",
        metavar="WHAT",
        show_default=False,
    ),
]
Stream = Annotated[
    Literal["auto", "on", "off"],
    typer.Option(
        "--stream",
        help="Run layers row by row where that takes less RAM; auto: where whole layers do not fit it.",
        rich_help_panel=_CODE,
    ),
]
InputRows = Annotated[
    bool,
    typer.Option(
        "--input-rows",
        help="The caller gives the input in rows, as a camera does: no frame in RAM.",
        rich_help_panel=_CODE,
    ),
]
Packages = Annotated[
    list[str] | None,
    typer.Option(
        "--package",
        metavar="KIND[,KIND...]",
        help="Make packages of the C too: " + ", ".join(PACKAGES) + ".",
        show_default=False,
    ),
]
InputShape = Annotated[
    list[str] | None,
    typer.Option(
        "--input-shape",
        metavar="[NAME:]1,3,32,32",
        help="Fix a dynamic input's shape (the model's axes). Once for each input.",
        rich_help_panel=_INPUT,
        show_default=False,
    ),
]
CutInputs = Annotated[
    list[str] | None,
    typer.Option(
        "--inputs",
        metavar="TENSOR[,TENSOR...]",
        help="Cut the model: these tensors of it are its inputs.",
        rich_help_panel=_INPUT,
        show_default="the model's",
    ),
]
CutOutputs = Annotated[
    list[str] | None,
    typer.Option(
        "--outputs",
        metavar="TENSOR[,TENSOR...]",
        help="Cut the model: these tensors of it are its outputs, and what comes after runs elsewhere.",
        rich_help_panel=_INPUT,
        show_default="the model's",
    ),
]
State = Annotated[
    list[str] | None,
    typer.Option(
        "--state",
        metavar="INPUT=OUTPUT|none",
        help="What the output gives is the input of the next step, and lives in the network. Once for each.",
        rich_help_panel=_INPUT,
        show_default="those that names show",
    ),
]
Fix = Annotated[
    list[str] | None,
    typer.Option(
        "--fix",
        metavar="INPUT=NUMBER",
        help="Make an input a constant, such as a sampling rate. Once for each.",
        rich_help_panel=_INPUT,
        show_default=False,
    ),
]
IoLayout = Annotated[
    Literal["nhwc", "nchw"],
    typer.Option("--io-layout", help="Axes of the C interface's inputs and outputs.", rich_help_panel=_INPUT),
]
RowsAlong = Annotated[
    Literal["height", "width"],
    typer.Option(
        "--rows-along",
        help="Axis of images that comes first in the C; width: spectrograms whose columns come one by one.",
        rich_help_panel=_INPUT,
    ),
]
Input = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="[NAME:]MEANING",
        help="What an input means: mean=M[,M...],std=S[,S...],range=LO..HI, or a preset: "
        + ", ".join(MEAN_AND_STD)
        + ". Once for each input; without a name for all others.",
        rich_help_panel=_INPUT,
        show_default=False,
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="A TOML file of options and of what inputs mean; the command line comes first.",
        rich_help_panel=_INPUT,
        show_default=f"{CONFIG}, if there is one",
    ),
]
InputMean = Annotated[
    str | None,
    typer.Option(
        "--input-mean",
        metavar="M[,M...]",
        help="The network sees (x - mean) / std in every input: one value, or one a channel.",
        rich_help_panel=_INPUT,
        show_default="0",
    ),
]
InputStd = Annotated[
    str | None,
    typer.Option(
        "--input-std", metavar="S[,S...]", help="See --input-mean.", rich_help_panel=_INPUT, show_default="1"
    ),
]
InputRange = Annotated[
    str | None,
    typer.Option(
        "--input-range",
        metavar="LO,HI",
        help="Smallest and largest x, before mean and std.",
        rich_help_panel=_INPUT,
        show_default="0,255 with --input-mean or --input-std",
    ),
]
Weights = Annotated[
    Literal["per-channel", "per-tensor"],
    typer.Option(
        "--weights", help="One weight scale a channel, or one a layer.", rich_help_panel=_QUANTIZATION
    ),
]
Scales = Annotated[
    Literal["multiplier", "power-of-two"] | None,
    typer.Option(
        "--scales",
        help="Fixed-point multipliers, or shifts alone.",
        rich_help_panel=_QUANTIZATION,
        show_default="the target's",
    ),
]
_DFQ = "Data-free quantization"


def _dfq(*names: str, text: str, **settings: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=_DFQ, **settings)


Statistics = Annotated[
    Literal["auto", "analytic", "synthetic"],
    _dfq(
        "--statistics",
        text="Where no batch normalization tells: procedural samples, closed forms, synthetic samples.",
    ),
]
CalibrationData = Annotated[
    Path | None,
    _dfq(
        "--calibration-data",
        text="Your own samples in place of statistics: whatever --data takes.",
        show_default=False,
    ),
]
FoldDead = Annotated[
    bool, _dfq("--fold-dead/--no-fold-dead", text="Fold constant channels into the next layer's bias.")
]
Equalize = Annotated[
    bool | None,
    _dfq(
        "--equalize/--no-equalize",
        text="Cross-layer equalization of weights' ranges, or none.",
        show_default="channels scaled where that lowers the predicted noise",
    ),
]
Relu6 = Annotated[
    Literal["keep", "replace"],
    _dfq("--relu6", text="Equalize through a clip a channel, or replace ReLU6 by ReLU."),
]
AbsorbBias = Annotated[
    bool | None,
    _dfq(
        "--absorb-bias/--no-absorb-bias",
        text="Move high biases into the next layer (ReLU only).",
        show_default="where that lowers the predicted noise",
    ),
]
CorrectBias = Annotated[
    bool | None,
    _dfq(
        "--correct-bias/--no-correct-bias",
        text="Undo the mean error of rounded weights.",
        show_default="unless the simulated noise is lower without",
    ),
]
EmpiricalBias = Annotated[
    bool | None,
    _dfq(
        "--empirical-bias/--no-empirical-bias",
        text="Correct biases on samples instead, see --rounding-data.",
        show_default="with synthetic statistics",
    ),
]
RangeMethod = Annotated[
    Literal["predicted", "sigma", "mse", "min-max", "percentile"],
    _dfq(
        "--ranges",
        text="Activation ranges: of least predicted error, of n sigma, of least squared error; of samples, "
        "extremes or 99.99 %.",
    ),
]
NSigma = Annotated[
    float | None,
    _dfq(
        "--n-sigma",
        text="Half-width of activation ranges.",
        min=1.0,
        max=100.0,
        callback=values.finite,
        show_default="by predicted error",
    ),
]
Rounding = Annotated[
    Literal["auto", "nearest", "squant", "feedback", "adaround"],
    _dfq(
        "--rounding",
        text="Weights to nearest, so that errors cancel in sums, each making up for the others' errors, or "
        "learned (AdaRound; needs PyTorch).",
        show_default="feedback",
    ),
]
RoundingData = Annotated[
    str | None,
    _dfq(
        "--rounding-data",
        text="What AdaRound and --empirical-bias run on.",
        metavar="synthetic|procedural|noise|FILE.npz",
        show_default="the calibration data, else synthetic, without batch normalization procedural",
    ),
]
AdaRoundIterations = Annotated[
    int, _dfq("--adaround-iterations", text="Steps of AdaRound for each layer.", min=1, max=1_000_000)
]
SampleCount = Annotated[
    int | None,
    _dfq(
        "--samples",
        text="How many samples to make.",
        min=1,
        max=65536,
        show_default="64, of large networks 32",
    ),
]
Seed = Annotated[int, _dfq("--seed", text="Of samples and AdaRound.", min=0, max=2**31)]
_MIXED = "Weights of few bits"


def _mixed(*names: str, text: str, **settings: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=_MIXED, **settings)


Bits = Annotated[
    str | None,
    _mixed(
        "--bits",
        text="Of the weights between the first and the last layer: for all, or for pairs of layers.",
        metavar="B|B/B",
        show_default="8",
    ),
]
BitsMap = Annotated[
    list[str] | None,
    _mixed(
        "--bits-map",
        text="Bits of single layers, named as by dfqgen inspect, or of all `depthwise` ones.",
        metavar="LAYER=B[,LAYER=B...]",
        show_default=False,
    ),
]
FlashBudget = Annotated[
    str | None,
    _mixed(
        "--flash-budget",
        text="Choose each layer's bits for the least error within so much flash for constants.",
        metavar="SIZE|PERCENT",
        show_default=False,
    ),
]
TargetSqnr = Annotated[
    float | None,
    _mixed(
        "--target-sqnr",
        text="Choose each layer's bits for the least flash with this predicted signal to noise ratio.",
        metavar="DB",
        callback=values.finite,
        show_default=False,
    ),
]
LowEnds = Annotated[
    bool | None,
    _mixed(
        "--low-ends/--no-low-ends",
        text="Let the first and the last layer have fewer bits too.",
        show_default="with --flash-budget and --target-sqnr, not with --bits",
    ),
]
Compensate = Annotated[
    Literal["none", "plain", "weighted", "activation"],
    _mixed(
        "--compensate",
        text="Put low layers right in the next, by the error of weights, outputs or activations.",
    ),
]
Ternary = Annotated[
    Literal["rounded", "threshold"],
    _mixed("--ternary", text="2 bits as four levels, or as -1, 0 and 1 by a threshold (the paper's)."),
]
Activations = Annotated[
    Literal["auto", "int8", "int16"],
    typer.Option(
        "--activations",
        help="auto: int16 for the tensors that are worth it. int16: for all, inputs and outputs too.",
        rich_help_panel="Activations",
    ),
]
ActivationsMap = Annotated[
    list[str] | None,
    typer.Option(
        "--activations-map",
        help="Types of single layers' outputs, and of single inputs; see dfqgen inspect for names.",
        metavar="LAYER=TYPE[,LAYER=TYPE...]",
        show_default=False,
        rich_help_panel="Activations",
    ),
]
Effort = Annotated[
    Literal["fast", "default", "best"],
    typer.Option(
        "--effort",
        help="fast: int8 throughout. best: rounding learned, in minutes, with PyTorch.",
    ),
]
TimeAllowance = Annotated[
    float | None,
    typer.Option(
        "--time-allowance",
        metavar="PERCENT",
        min=0.0,
        help="How much slower than int8 the network may become by --activations auto; 10 unless stated, more "
        "where int8 is predicted below 15 dB.",
        rich_help_panel="Activations",
        callback=values.finite,
    ),
]
InputType = Annotated[
    Literal["int8", "int16", "float32"] | None,
    typer.Option(
        "--input-type",
        help="Type of the network's inputs in C.",
        show_default="as --activations",
        rich_help_panel="Activations",
    ),
]
OutputType = Annotated[
    Literal["int8", "int16", "float32"] | None,
    typer.Option(
        "--output-type",
        help="Type of the network's outputs in C; float32: those of a last layer need no range.",
        show_default="as --activations",
        rich_help_panel="Activations",
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Samples to compare on: .npz with x and labels y, .npy, .csv, a folder of images, or a .toml "
        "that says how to read one of them (docs/data.md).",
        show_default="random inputs",
    ),
]
MinSqnr = Annotated[
    float | None,
    typer.Option(
        "--min-sqnr",
        metavar="DB",
        help="End with an error when an output's SQNR against the float network is lower.",
        show_default=False,
    ),
]
PerLayer = Annotated[bool, typer.Option("--per-layer", help="Compare every layer with the float network.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class InputArguments:
    """What every command that reads a model takes: one field an option, with what help shows as default."""

    inputs: CutInputs = None
    outputs: CutOutputs = None
    state: State = None
    fix: Fix = None
    input_shape: InputShape = None
    help_all: HelpAll = False
    io_layout: IoLayout = DEFAULTS.input.io_layout
    rows_along: RowsAlong = DEFAULTS.input.rows_along
    input: Input = None
    config: Config = None
    input_mean: InputMean = None
    input_std: InputStd = None
    input_range: InputRange = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileArguments(InputArguments):
    """What every command that compiles a model takes, likewise."""

    target: Target = DEFAULTS.code.target
    name: Name = None
    optimize: Optimize = DEFAULTS.code.optimize
    package: Packages = None
    effort: Effort = "default"
    winograd: Winograd = "auto"
    stream: Stream = DEFAULTS.code.stream
    input_rows: InputRows = DEFAULTS.code.input_rows
    weights: Weights = DEFAULTS.weights.granularity
    scales: Scales = None
    statistics: Statistics = "auto"
    calibration_data: CalibrationData = None
    fold_dead: FoldDead = DEFAULTS.passes.fold_dead
    equalize: Equalize = None
    relu6: Relu6 = DEFAULTS.passes.relu6
    absorb_bias: AbsorbBias = None
    correct_bias: CorrectBias = None
    ranges: RangeMethod = DEFAULTS.activations.range_method
    n_sigma: NSigma = None
    rounding: Rounding = "auto"
    rounding_data: RoundingData = None
    empirical_bias: EmpiricalBias = None
    adaround_iterations: AdaRoundIterations = DEFAULTS.rounding.adaround_iterations
    samples: SampleCount = None
    seed: Seed = DEFAULTS.samples.seed
    bits: Bits = None
    bits_map: BitsMap = None
    flash_budget: FlashBudget = None
    target_sqnr: TargetSqnr = None
    low_ends: LowEnds = None
    compensate: Compensate = DEFAULTS.low_bits.compensate
    ternary: Ternary = DEFAULTS.low_bits.ternary
    activations: Activations = DEFAULTS.activations.activations
    activations_map: ActivationsMap = None
    input_type: InputType = None
    output_type: OutputType = None
    time_allowance: TimeAllowance = None


InputChoices = Annotated[Choices, InputArguments]
CompileChoices = Annotated[Choices, CompileArguments]
