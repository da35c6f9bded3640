"""The networks of the zoo: what their inputs mean, what they are compared on, what they should reach."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx.helper import tensor_dtype_to_np_dtype
from PIL import Image

from dfqgen.samples.meaning import InputMeaning

Array = npt.NDArray[Any]

NORMAL_SAMPLES = 64
SEED = 1

# Beside zoo.toml, in its own words: the networks that models/README.md describes.
DESCRIBED: Mapping[str, Mapping[str, str]] = {
    "mobilenetv1_075_224": {"input": "mean 127.5, std 127.5", "data": "imagenet.npz"},
    "mobilenetv1_075_224-folded": {"input": "mean 127.5, std 127.5", "data": "imagenet.npz"},
    "ic01_resnet8": {"input": "range 0..255", "data": "cifar10.npz"},
    "ic01_resnet8-folded": {"input": "range 0..255", "data": "cifar10.npz"},
    "vww01_mobilenetv1_025": {"input": "mean 0, std 255", "data": "imagenet.npz"},
    "vww01_mobilenetv1_025-folded": {"input": "mean 0, std 255", "data": "imagenet.npz"},
    "kws01_dscnn": {"input": "range -90..90"},
    "ad01_autoencoder": {"input": "range -60..20"},
    "face_slim_320": {"input": "mean 127, std 128", "data": "faces_320x240.npz", "boxes": "ultra_light"},
    "deeplab_mnv2_050_513": {"input": "mean 127.5, std 127.5", "data": "portraits_513.npz"},
}
# What zoo.toml does not say: how boxes are decoded; or what cannot be: other sizes, and the logarithm of a
# negative magnitude.
CORRECTED: Mapping[str, Mapping[str, str]] = {
    "face_slim_320-folded": {"boxes": "ultra_light"},
    "linzaer_version-slim-320": {"boxes": "decoded"},
    "armkws_LSTM": {"data": "mfcc250.npz"},
    "armkws_GRU": {"data": "mfcc250.npz"},
    "andes_dtln1": {"input": "range 0..1"},
}
# What nobody states is an int8 network's input.
INTEGERS = InputMeaning(lo=-128.0, hi=127.0)
# Inputs that are settings, not samples.
CONSTANT_INPUTS: Mapping[str, int] = {"sr": 16000}


@dataclass(frozen=True, slots=True)
class Goal:
    """What the generated C should reach without data: decibels by output, top-1, or boxes found again."""

    sqnr_db: Mapping[str, float] = field(default_factory=dict)
    top1: float | None = None
    boxes: int | None = None


GOALS: Mapping[str, Goal] = {
    "face_slim_320": Goal(boxes=287),
    "face_slim_320-folded": Goal(boxes=266),
    "effnet_lite0": Goal(top1=0.88),
    "effnet_lite0-folded": Goal(top1=0.88),
    "ppocr_det_v4": Goal({"sigmoid_0.tmp_0": 12.0}),
    "ppocr_cls": Goal({"save_infer_model/scale_0.tmp_1": 17.0}),
    "mp_face_detection_short_range": Goal({"regressors": 15.0, "classificators": 13.0}),
    "minifasnet_v2": Goal({"556": 17.0}),
    "bcresnet8": Goal({"664": 15.0}),
    "armkws_CNN": Goal({"labels_softmax:0": 13.0}),
    "armkws_DS_CNN": Goal({"labels_softmax:0": 18.0}),
}


@dataclass(frozen=True, slots=True)
class Network:
    """A model file, what its input means, and which samples it is measured on.

    `shapes` are by input name, "" names the only one. Without `data`: normals that fill the stated range.
    `boxes` says how a detector's outputs become boxes: one of `zoo_scores.DECODERS`.
    """

    name: str
    meaning: InputMeaning | None
    shapes: Mapping[str, tuple[int, ...]]
    data: str | None
    boxes: str | None = None

    def path(self, shared: Path) -> Path:
        return shared / "models" / f"{self.name}.onnx"


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A network's samples: raw values by input name, [N, *the model's own shape], and labels."""

    raw: Mapping[str, Array]
    labels: Array | None
    meaning: InputMeaning
    types: Mapping[str, npt.DTypeLike]
    constants: Mapping[str, Array]

    @property
    def count(self) -> int:
        return len(next(iter(self.raw.values())))

    def feeds(self) -> list[dict[str, Array]]:
        """What the float network is fed, sample by sample."""
        return [
            {name: self.meaning.normalize(x[i]).astype(self.types[name]) for name, x in self.raw.items()}
            | dict(self.constants)
            for i in range(self.count)
        ]


def read_zoo(shared: Path) -> dict[str, Network]:
    """Every network, by name: those described in words first, then zoo.toml's."""
    entries = tomllib.loads((shared / "models" / "zoo.toml").read_text())
    found = {}
    for name, stated in {**DESCRIBED, **entries}.items():
        entry = {**stated, **CORRECTED.get(name, {})}
        meaning = parse_meaning(entry["input"]) if "input" in entry else None
        shapes = parse_shapes(entry.get("shape", ""))
        found[name] = Network(name, meaning, shapes, entry.get("data"), entry.get("boxes"))
    return found


def parse_meaning(text: str) -> InputMeaning:
    """ "mean 127, std 128" or "range -90..90"."""
    words = dict(part.split() for part in text.split(","))
    lo, hi = (float(bound) for bound in words.get("range", "0..255").split(".."))
    return InputMeaning((float(words.get("mean", 0)),), (float(words.get("std", 1)),), lo, hi)


def parse_shapes(text: str) -> dict[str, tuple[int, ...]]:
    """ "1,3,320,320" or "input:1,512 state:2,1,128"."""
    shapes = {}
    for part in text.split():
        name, _, numbers = part.rpartition(":")
        shapes[name] = tuple(int(number) for number in numbers.split(","))
    return shapes


def model_inputs(model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Shapes of the inputs that samples go into, by name; what the file leaves open comes from `shapes`."""
    constants = {tensor.name for tensor in model.graph.initializer} | set(CONSTANT_INPUTS)
    found = {}
    for value in model.graph.input:
        if value.name not in constants:
            own = tuple(max(1, d.dim_value) for d in value.type.tensor_type.shape.dim)
            found[value.name] = shapes.get(value.name, shapes.get("", own))
    return found


def subject(network: Network, shared: Path, limit: int | None) -> Subject:
    """The samples of a network, `limit` of them spread evenly over the file."""
    model = onnx.load(str(network.path(shared)), load_external_data=False)
    shapes = model_inputs(model, network.shapes)
    meaning = network.meaning or INTEGERS
    types = {v.name: tensor_dtype_to_np_dtype(v.type.tensor_type.elem_type) for v in model.graph.input}
    constants = {
        value.name: np.array(CONSTANT_INPUTS[value.name], np.int64)
        for value in model.graph.input
        if value.name in CONSTANT_INPUTS
    }
    if network.data is None:
        generator = np.random.default_rng(SEED)
        centre, spread = (meaning.lo + meaning.hi) / 2, (meaning.hi - meaning.lo) / 6
        count = min(NORMAL_SAMPLES, limit or NORMAL_SAMPLES)
        raw = {
            name: np.clip(generator.normal(centre, spread, (count, *shape)), meaning.lo, meaning.hi)
            for name, shape in shapes.items()
        }
        raw = {name: value.astype(np.float32) for name, value in raw.items()}
        return Subject(raw, None, meaning, types, constants)
    archive = np.load(shared / "data" / network.data)
    x, labels = archive["x"], archive["y"] if "y" in archive.files else None
    if limit is not None and limit < len(x):
        chosen = np.linspace(0, len(x) - 1, limit).round().astype(int)
        x, labels = x[chosen], None if labels is None else labels[chosen]
    ((name, shape),) = shapes.items()
    fitted = fit(x, shape[1:])[:, None]
    if fitted.size != x.size:
        labels = None  # other pictures than the labels are of
    return Subject({name: fitted}, labels, meaning, types, constants)


def fit(x: Array, shape: tuple[int, ...]) -> Array:
    """Samples [N, ...] in a model's axes [N, *shape]; images (channels last) of another size are resized."""
    if x.shape[1:] == shape:
        return x
    if len(shape) == 3 and shape[0] == x.shape[-1]:  # the model's channels are first
        rows, columns = shape[1:]
        if x.shape[1:3] != (rows, columns):
            bilinear = Image.Resampling.BILINEAR
            x = np.stack(
                [np.asarray(Image.fromarray(image).resize((columns, rows), bilinear)) for image in x]
            )
        return np.moveaxis(x, -1, 1)
    return x.reshape(len(x), *shape)
