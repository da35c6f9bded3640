"""How close a network's outputs are to the float network's, in the terms of its task."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dfqgen.verify.compare import ErrorMeter
from dfqgen.verify.metrics import BoxAgreement, box_agreement, mean_iou, non_maximum_suppression

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from examples.face_detection.run import HEIGHT, OVERLAP, SCORE, WIDTH, decode

Array = npt.NDArray[Any]
Outputs = Mapping[str, Array]
"""By output name, each [N, ...] in the model's own axes."""


@dataclass(frozen=True, slots=True)
class Scores:
    """What one way to quantize reached. Only what has a meaning for the network is not None.

    `boxes` are the float network's, found again, and those invented.
    """

    sqnr_db: Mapping[str, float] = field(default_factory=dict)
    top1: float | None = None
    boxes: tuple[int, int, int] | None = None
    mean_iou: float | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def text(self) -> str:
        """For a cell of the table."""
        decibels = ", ".join(f"{value:.1f}" for value in self.sqnr_db.values()) + " dB"
        if self.boxes is not None:
            _, found, invented = self.boxes
            return f"{found} boxes" + (f", {invented} invented" if invented else "")
        if self.top1 is not None:
            return f"{100 * self.top1:.1f} % ({decibels})"
        if self.mean_iou is not None:
            return f"IoU {self.mean_iou:.3f} ({decibels})"
        return decibels


def score(
    name: str, reference: Outputs, outputs: Outputs, labels: Array | None, detector: str | None = None
) -> Scores:
    """Judge outputs by the float network's on the same samples; a `detector`'s of `DECODERS` by its boxes."""
    decibels = {}
    for output, expected in reference.items():
        meter = ErrorMeter()
        meter.add(expected, outputs[output])
        decibels[output] = meter.sqnr_db
    first = next(iter(reference))
    top1 = None
    if labels is not None:
        top1 = float(np.mean(outputs[first].reshape(len(labels), -1).argmax(axis=1) == labels))
    boxes = None
    if detector is not None:
        found = faces(reference, outputs, DECODERS[detector])
        boxes = (found.reference, found.matched, found.invented)
    iou = None
    if name in SEGMENTERS:
        pairs = zip(outputs[first].argmax(axis=1), reference[first].argmax(axis=1), strict=True)
        iou = float(np.mean([mean_iou(mask, expected, outputs[first].shape[1]) for mask, expected in pairs]))
    return Scores(decibels, top1, boxes, iou)


def float_scores(name: str, reference: Outputs, labels: Array | None, detector: str | None = None) -> Scores:
    """The float network's own: accuracy and number of boxes."""
    own = score(name, reference, reference, labels, detector)
    return Scores({}, own.top1, own.boxes)


Decoder = Callable[[Outputs], tuple[Array, Array]]
"""Outputs of one image -> boxes (x1, y1, x2, y2) and scores after suppression."""


def ultra_light(outputs: Outputs) -> tuple[Array, Array]:
    """Boxes [4420, 4] against priors, scores [4420, 2]: Ultra-Light-Fast-Generic-Face-Detector-1MB."""
    return decode(outputs["boxes"], outputs["scores"])


def decoded(outputs: Outputs) -> tuple[Array, Array]:
    """The same, but boxes that the network itself decoded, as corners in units of the image."""
    corners = outputs["boxes"] * np.array([WIDTH, HEIGHT, WIDTH, HEIGHT])
    return suppressed(corners, outputs["scores"][:, 1])


def yunet(outputs: Outputs) -> tuple[Array, Array]:
    """libfacedetection's: of each cell of three grids, two probabilities, and a box in units of the cell."""
    corners, scores = [], []
    for stride in (8, 16, 32):
        box = outputs[f"bbox_{stride}"].astype(np.float64)
        lines = round(math.sqrt(len(box)))
        y, x = np.divmod(np.arange(len(box)), lines)
        centre = (np.stack([x, y], axis=1) + box[:, :2]) * stride
        half = np.exp(box[:, 2:]) * stride / 2
        corners.append(np.concatenate([centre - half, centre + half], axis=1))
        classes, objects = (np.clip(outputs[f"{key}_{stride}"][:, 0], 0.0, 1.0) for key in ("cls", "obj"))
        scores.append(np.sqrt(classes * objects))
    return suppressed(np.concatenate(corners), np.concatenate(scores))


def suppressed(corners: Array, scores: Array) -> tuple[Array, Array]:
    kept = non_maximum_suppression(corners, scores, iou=OVERLAP, score=SCORE)
    return corners[kept], scores[kept]


DECODERS: Mapping[str, Decoder] = {"ultra_light": ultra_light, "decoded": decoded, "yunet": yunet}
SEGMENTERS = ("deeplab_mnv2_050_513",)


def faces(reference: Outputs, outputs: Outputs, decoder: Decoder) -> BoxAgreement:
    """Over all images: the float network's boxes found again (IoU 0.5, score within 0.1)."""
    total = BoxAgreement(0, 0, 0)
    for i in range(len(next(iter(reference.values())))):
        found, wanted = (
            decoder({name: value[i] for name, value in of.items()}) for of in (outputs, reference)
        )
        total += box_agreement(*found, *wanted)
    return total
