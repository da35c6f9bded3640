"""Options that several commands share, and the parsing of their values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def numbers(text: str | None, option: str, count: int | None = None) -> tuple[float, ...] | None:
    """ "1,2.5" -> (1.0, 2.5); a wrong value is a usage error."""
    if text is None:
        return None
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is not a list of numbers like 127.5 or 0.5,0.5,0.5", param_hint=option
        ) from None
    if count is not None and len(values) != count:
        raise typer.BadParameter(
            f"{text!r} should be {count} numbers with a comma between", param_hint=option
        )
    return values


def shapes(texts: list[str] | None) -> dict[str, tuple[int, ...]]:
    """["image:1,3,32,32"] -> {"image": (1, 3, 32, 32)}; the key is empty where no input is named."""
    parsed: dict[str, tuple[int, ...]] = {}
    for text in texts or []:
        name, _, dimensions = text.rpartition(":")
        try:
            parsed[name] = tuple(int(part) for part in dimensions.replace("x", ",").split(","))
        except ValueError:
            raise typer.BadParameter(
                f"{text!r} is not a shape like 1,3,32,32 or image:1,3,32,32", param_hint="--input-shape"
            ) from None
    return parsed


_INPUT = "The network's input"
_QUANTIZATION = "Quantization"

Model = Annotated[Path, typer.Argument(help="The ONNX file.", show_default=False)]
OutDir = Annotated[Path, typer.Argument(help="A folder that dfqgen build made.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output instead.")]
Target = Annotated[str, typer.Option("--target", "-t", help="Which machine; see dfqgen targets.")]
Name = Annotated[
    str | None,
    typer.Option("--name", help="Prefix of all names in the C.", show_default="the model file's name"),
]
Optimize = Annotated[Literal["speed", "size"], typer.Option("--optimize", help="What the C is made for.")]
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
IoLayout = Annotated[
    Literal["nhwc", "nchw"],
    typer.Option("--io-layout", help="Axes of the C interface's inputs and outputs.", rich_help_panel=_INPUT),
]
InputMean = Annotated[
    str | None,
    typer.Option(
        "--input-mean",
        metavar="M[,M...]",
        help="The network sees (x - mean) / std: one value, or one a channel.",
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
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Samples to compare on: .npz with x (uint8 or float32, NHWC) and optional labels y.",
        show_default="random inputs",
    ),
]
PerLayer = Annotated[bool, typer.Option("--per-layer", help="Compare every layer with the float network.")]
