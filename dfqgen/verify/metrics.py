"""How close two networks' outputs are, in the terms of their task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def top_k_accuracy(scores: Array, labels: Array, k: int) -> float:
    """Share of samples whose label is among the k largest scores; scores [N, classes], labels [N]."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return float(np.mean(np.any(order == labels[:, None], axis=1)))


def agreement(a: Array, b: Array) -> float:
    """Share of samples with the same arg-max over the last axis; [N, classes] each."""
    return float(np.mean(a.argmax(axis=-1) == b.argmax(axis=-1)))


def mean_iou(mask: Array, reference: Array, classes: int) -> float:
    """Mean intersection over union of class maps, over the classes that occur in either."""
    values = []
    for label in range(classes):
        a, b = mask == label, reference == label
        union = np.count_nonzero(a | b)
        if union:
            values.append(np.count_nonzero(a & b) / union)
    return float(np.mean(values))


def iou_matrix(a: Array, b: Array) -> Array:
    """Intersection over union of boxes [N, 4] and [M, 4] as (x1, y1, x2, y2) -> [N, M]."""
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inner = np.prod(np.clip(bottom_right - top_left, 0, None), axis=2)
    area_a, area_b = (np.prod(x[:, 2:] - x[:, :2], axis=1) for x in (a, b))
    return inner / np.maximum(area_a[:, None] + area_b[None, :] - inner, 1e-12)


def non_maximum_suppression(boxes: Array, scores: Array, *, iou: float, score: float) -> Array:
    """Indices of the boxes [N, 4] that survive greedy suppression, best first; scores [N]."""
    alive = np.flatnonzero(scores > score)
    alive = alive[np.argsort(-scores[alive], kind="stable")]
    kept: list[int] = []
    while alive.size:
        best, alive = int(alive[0]), alive[1:]
        kept.append(best)
        if alive.size:
            alive = alive[iou_matrix(boxes[best : best + 1], boxes[alive])[0] <= iou]
    return np.array(kept, np.int64)


@dataclass(frozen=True, slots=True)
class BoxAgreement:
    """How detections compare with a reference's: matched and missed of the reference, invented beyond it."""

    reference: int
    matched: int
    invented: int

    def __add__(self, other: BoxAgreement) -> BoxAgreement:
        return BoxAgreement(
            self.reference + other.reference, self.matched + other.matched, self.invented + other.invented
        )

    @property
    def recall(self) -> float:
        return self.matched / self.reference if self.reference else 1.0


def box_agreement(
    boxes: Array,
    scores: Array,
    reference_boxes: Array,
    reference_scores: Array,
    *,
    iou: float = 0.5,
    score_tolerance: float = 0.1,
    sure: float = 0.8,
) -> BoxAgreement:
    """Match detections (after suppression) one to one with the reference's, best reference first.

    A match has IoU >= `iou` and a score within `score_tolerance`. A detection with a score above `sure`
    that overlaps no reference box by `iou` is invented.
    """
    if not len(reference_boxes):
        return BoxAgreement(0, 0, int(np.count_nonzero(scores > sure)))
    overlaps = iou_matrix(reference_boxes, boxes) if len(boxes) else np.zeros((len(reference_boxes), 0))
    free = np.ones(len(boxes), bool)
    matched = 0
    for row in np.argsort(-reference_scores, kind="stable"):
        fits = free & (overlaps[row] >= iou) & (np.abs(scores - reference_scores[row]) <= score_tolerance)
        if fits.any():
            free[int(np.argmax(np.where(fits, overlaps[row], -1.0)))] = False
            matched += 1
    invented = int(np.count_nonzero((scores > sure) & (overlaps.max(axis=0, initial=0.0) < iou)))
    return BoxAgreement(len(reference_boxes), matched, invented)
