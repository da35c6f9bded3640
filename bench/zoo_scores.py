"""How close a network's outputs are to the float network's, in the terms of its task."""

from __future__ import annotations

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


def score(name: str, reference: Outputs, outputs: Outputs, labels: Array | None) -> Scores:
    """Judge outputs by the float network's on the same samples."""
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
    if name in DETECTORS:
        found = faces(reference, outputs, DETECTORS[name])
        boxes = (found.reference, found.matched, found.invented)
    iou = None
    if name in SEGMENTERS:
        pairs = zip(outputs[first].argmax(axis=1), reference[first].argmax(axis=1), strict=True)
        iou = float(np.mean([mean_iou(mask, expected, outputs[first].shape[1]) for mask, expected in pairs]))
    return Scores(decibels, top1, boxes, iou)


def float_scores(name: str, reference: Outputs, labels: Array | None) -> Scores:
    """The float network's own: accuracy and number of boxes."""
    own = score(name, reference, reference, labels)
    return Scores({}, own.top1, own.boxes)


Decoder = Callable[[Array, Array], tuple[Array, Array]]
"""Boxes [P, 4] and scores [P, 2] of one image -> boxes (x1, y1, x2, y2) and scores after suppression."""


def decoded(boxes: Array, scores: Array) -> tuple[Array, Array]:
    """Boxes that the network itself decoded, as corners in units of the image."""
    corners = boxes * np.array([WIDTH, HEIGHT, WIDTH, HEIGHT])
    kept = non_maximum_suppression(corners, scores[:, 1], iou=OVERLAP, score=SCORE)
    return corners[kept], scores[kept, 1]


DETECTORS: Mapping[str, Decoder] = {
    "face_slim_320": decode,
    "face_slim_320-folded": decode,
    "linzaer_version-slim-320": decoded,
}
SEGMENTERS = ("deeplab_mnv2_050_513",)


def faces(reference: Outputs, outputs: Outputs, decoder: Decoder) -> BoxAgreement:
    """Over all images: the float network's boxes found again (IoU 0.5, score within 0.1)."""
    total = BoxAgreement(0, 0, 0)
    for i in range(len(reference["boxes"])):
        found = decoder(outputs["boxes"][i], outputs["scores"][i])
        total += box_agreement(*found, *decoder(reference["boxes"][i], reference["scores"][i]))
    return total
