"""What a build is made by: one small record for each stage, and all of them as a recipe.

Every stage gets its own record and no other. Records say what is done, never "automatic": `make_recipe`
has settled that, except where the model decides (None). The command line reads its defaults here, so this
imports nothing slow: types that only annotations name are `manifest.ANNOTATED`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    from dfqgen.fixedpoint.qtype import IntType
    from dfqgen.graph.ir import Shape
    from dfqgen.samples.files import Samples
    from dfqgen.samples.meaning import InputMeaning

    UserSamples: TypeAlias = "Path | Samples | RecordedSamples"
    """A file or folder of samples, samples at hand, or the record of either."""

ScaleMode = Literal["multiplier", "power-of-two"]
Optimize = Literal["speed", "balanced", "size"]
Package = Literal["cmake", "arduino", "platformio", "zephyr", "esp-idf", "cmsis-pack", "make"]
PACKAGES: tuple[Package, ...] = get_args(Package)
Winograd = Literal["auto", "off"] | tuple[str, ...]
Stream = Literal["auto", "on", "off"]
IoLayout = Literal["nhwc", "nchw"]
RowsAlong = Literal["height", "width"]
StatisticsSource = Literal["auto", "analytic", "synthetic", "data"]
RangeMethod = Literal["predicted", "sigma", "mse", "min-max", "percentile"]
ActivationType = Literal["int8", "int16"]
PortType = Literal["int8", "int16", "float32"]
Effort = Literal["fast", "default", "best"]
ActivationChoice = Literal["auto", "int8", "int16"]
Granularity = Literal["per-channel", "per-tensor"]
RoundingMethod = Literal["nearest", "squant", "feedback", "adaround"]
BiasCorrection = Literal["auto", "none", "statistics", "samples"]
Compensate = Literal["none", "plain", "weighted", "activation"]
Ternary = Literal["rounded", "threshold"]
SampleSource = Literal["synthetic", "procedural", "noise"]
SAMPLE_SOURCES: tuple[SampleSource, ...] = get_args(SampleSource)


@dataclass(frozen=True, slots=True)
class RecordedSamples:
    """Samples that a manifest tells of: what the build used, not at hand. `file` None: they had no file."""

    file: str | None
    sha256: str | None
    count: int | None


@dataclass(frozen=True, slots=True)
class InputRecipe:
    """How the model is read.

    `inputs` and `outputs` are tensors of the model to cut it at, empty: its own. `shapes` go by input name,
    "" names the only one. `states` gives the output that each state is by its input's name; None: those that
    names show. `fixed` are inputs that become constants. `rows_along`: which axis of an image comes first
    in the C, that of rows. `meanings` are of inputs by name, `meaning` is of all others; None: not stated.
    """

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    states: Mapping[str, str] | None = None
    fixed: Mapping[str, float] = field(default_factory=dict)
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    io_layout: IoLayout = "nhwc"
    rows_along: RowsAlong = "height"
    meaning: InputMeaning | None = None
    meanings: Mapping[str, InputMeaning] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CodeRecipe:
    """What the C is made for. `name` prefixes everything in it; None takes the model file's.

    `optimize` None is "balanced", unless only what is made for size or for speed fits (`dfqgen/goals`).
    `winograd` "auto" allows kernels whose weights take 3.6 times the flash, for speed, in so much flash and
    RAM; None: the target's. Layers by name: those, whatever there is. `packages` are for the ecosystems that
    get it as a package too.
    `stream`: whether the first layers run row by row, "auto" where whole ones do not fit the RAM.
    `input_rows`: the caller gives the input in rows.
    """

    target: str = "host"
    name: str | None = None
    optimize: Optimize | None = None
    packages: tuple[Package, ...] = ()
    winograd: Winograd = "auto"
    flash_bytes: int | None = None
    ram_bytes: int | None = None
    stream: Stream = "auto"
    input_rows: bool = False

    @property
    def made_for(self) -> Optimize:
        """What the C of this very recipe is made for."""
        return self.optimize or "balanced"


@dataclass(frozen=True, slots=True)
class PassesRecipe:
    """Which rewrites of the float graph are made.

    `equalize` None: with the factors of least predicted noise at the outputs, where they lower it, in the
    prediction and on samples (`quantization/trial.py`); True makes the weights' ranges equal (the paper's
    choice). `absorb_bias` None: where that lowers it too; never where `equalize` is stated.
    `relu6` "keep" holds ReLU6 as a clip per channel while equalizing, "replace" turns it into ReLU first
    (the paper's choice, changes the function).
    """

    fold_dead: bool = True
    equalize: bool | None = None
    relu6: Literal["keep", "replace"] = "keep"
    absorb_bias: bool | None = None


@dataclass(frozen=True, slots=True)
class StatisticsRecipe:
    """Where statistics come from.

    "auto" takes batch normalization's where there is one and measures the rest on procedural samples, whose
    extremes also widen the ranges; "analytic" propagates in closed form instead and widens nothing;
    "synthetic" measures the rest on samples synthesized from the network (docs/dsg.md); "data" measures
    everything on the user's samples.
    """

    source: StatisticsSource = "auto"


@dataclass(frozen=True, slots=True)
class ActivationsRecipe:
    """How activations get their types.

    Ranges are "predicted" to make the least error at the outputs (`quantization/tensor_ranges.py`), or reach
    the extremes of real samples where statistics are measured on these. `n_sigma`, where stated, is their
    half-width, `n_sigma_scores` that of the network's last layers, whose rare extremes are the answer.
    `activations` "int16" makes every activation 16 bits wide (`quantization/wide.py`), "auto" those where it
    is worth it (`plan/activations.py`), at most `time_allowance` per cent slower than int8 (None: the usual
    `plan.widening.TIME_ALLOWANCE`, and more where int8 is predicted to be poor);
    `activations_map` (by name) those of single layers' outputs and of inputs. `input_type` and `output_type`
    are of all network inputs and outputs, None: as `activations`.
    """

    range_method: RangeMethod = "predicted"
    n_sigma: float | None = None
    n_sigma_scores: float | None = None
    scales: ScaleMode = "multiplier"
    activations: ActivationChoice = "auto"
    activations_map: Mapping[str, ActivationType] = field(default_factory=dict)
    input_type: PortType | None = None
    output_type: PortType | None = None
    time_allowance: float | None = None

    @property
    def power_of_two(self) -> bool:
        return self.scales == "power-of-two"

    @property
    def wide(self) -> bool:
        """Whether any activation may be int16."""
        stated = (self.activations, self.input_type, self.output_type, *self.activations_map.values())
        return "int16" in stated


@dataclass(frozen=True, slots=True)
class WeightsRecipe:
    """What weights' scales are like."""

    granularity: Granularity = "per-channel"
    scales: ScaleMode = "multiplier"

    @property
    def power_of_two(self) -> bool:
        return self.scales == "power-of-two"

    @property
    def per_tensor(self) -> bool:
        return self.granularity == "per-tensor"

    @property
    def free_scale(self) -> bool:
        """Whether each output channel's scale may be any number."""
        return not self.power_of_two and not self.per_tensor


@dataclass(frozen=True, slots=True)
class RoundingRecipe:
    """How weights become integers, and what puts their mean error right.

    "squant" makes errors cancel in sums; "feedback" lets each weight make up for the errors of the others, as
    inputs go together (beside layers of few bits, those of 8 round to nearest); "adaround" learns rounding
    and biases from samples (needs torch). Biases are corrected by the statistics' means or on samples;
    "auto": by the statistics' means, unless simulated integers are better without.
    """

    method: RoundingMethod = "feedback"
    bias: BiasCorrection = "auto"
    adaround_iterations: int = 2000

    @property
    def needs_samples(self) -> bool:
        return self.method == "adaround" or self.bias == "samples"


@dataclass(frozen=True, slots=True)
class BitsPattern:
    """One width for all layers, or the widths of the two layers of a pair."""

    pattern: tuple[IntType, ...]


@dataclass(frozen=True, slots=True)
class FlashBytes:
    """The least error with constants of at most so many bytes."""

    bytes: int


@dataclass(frozen=True, slots=True)
class FlashPercent:
    """The least error with constants of at most so many per cent of their size at 8 bits."""

    percent: float


@dataclass(frozen=True, slots=True)
class LeastSqnr:
    """The least flash with this predicted signal to noise ratio."""

    decibels: float


BitsWish = BitsPattern | FlashBytes | FlashPercent | LeastSqnr


@dataclass(frozen=True, slots=True)
class LowBitsRecipe:
    """Weights of fewer than 8 bits.

    `wish` says how many, `bits_map` (by layer name) overrides it. `low_ends` lets the first and the last
    layer have fewer than 8 bits too; None: where each layer's are chosen by predicted error. `compensate`
    puts low layers right in the next one (docs/df-mpc.md); `ternary` "threshold" makes 2 bits -1, 0 and 1 as
    the paper does.
    """

    wish: BitsWish | None = None
    bits_map: Mapping[str, IntType] = field(default_factory=dict)
    low_ends: bool | None = None
    compensate: Compensate = "activation"
    ternary: Ternary = "rounded"

    @property
    def ends(self) -> bool:
        """Whether the first and the last layer may have fewer than 8 bits."""
        patterned = self.wish is None or isinstance(self.wish, BitsPattern)
        return not patterned if self.low_ends is None else self.low_ends

    @property
    def mixes(self) -> bool:
        """Whether any layer may get fewer than 8 bits."""
        return self.wish is not None or bool(self.bits_map)


@dataclass(frozen=True, slots=True)
class SamplesRecipe:
    """Samples given and made.

    `calibration` is what all statistics are measured on. `rounding` is what AdaRound and bias correction on
    samples run on: None is the calibration data, else synthetic samples, or procedural ones where the model
    has no batch normalization. `count` (None: by the network's size) and `seed` are of samples made.
    """

    calibration: UserSamples | None = None
    rounding: SampleSource | UserSamples | None = None
    count: int | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides the bytes of a build, beside the model; made by `make_recipe`.

    `warnings` tells of choices without effect; it is no part of the build.
    """

    input: InputRecipe = field(default_factory=InputRecipe)
    code: CodeRecipe = field(default_factory=CodeRecipe)
    passes: PassesRecipe = field(default_factory=PassesRecipe)
    statistics: StatisticsRecipe = field(default_factory=StatisticsRecipe)
    activations: ActivationsRecipe = field(default_factory=ActivationsRecipe)
    weights: WeightsRecipe = field(default_factory=WeightsRecipe)
    rounding: RoundingRecipe = field(default_factory=RoundingRecipe)
    low_bits: LowBitsRecipe = field(default_factory=LowBitsRecipe)
    samples: SamplesRecipe = field(default_factory=SamplesRecipe)
    warnings: tuple[str, ...] = field(default=(), compare=False)
