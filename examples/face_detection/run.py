"""Face detection in C: build the detector, run it on photographs, compare its boxes with the float network's.

    python -m examples.face_detection.run --model face_slim_320.onnx --data faces_320x240.npz

The network is the slim variant of Ultra-Light-Fast-Generic-Face-Detector-1MB (320x240). Its outputs are
scores, and boxes relative to priors; decoding them and suppressing overlapping ones stays outside.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dfqgen.graph.ir import Array
from dfqgen.samples.meaning import InputMeaning
from dfqgen.verify.metrics import BoxAgreement, box_agreement, non_maximum_suppression
from examples.shared import arguments, build, run_c, run_float

MEANING = InputMeaning(mean=(127.0,), std=(128.0,), lo=0.0, hi=255.0)
WIDTH, HEIGHT = 320, 240
# Feature maps (columns, rows) and the sides of their priors, in pixels.
LEVELS = (
    (40, 30, (10, 16, 24)),
    (20, 15, (32, 48)),
    (10, 8, (64, 96)),
    (5, 4, (128, 192, 256)),
)
CENTRE_VARIANCE, SIZE_VARIANCE = 0.1, 0.2
SCORE, OVERLAP = 0.7, 0.3


def priors() -> Array:
    """Default boxes [4420, 4] as (centre x, centre y, width, height), in units of the image."""
    rows = [
        ((x + 0.5) / columns, (y + 0.5) / lines, side / WIDTH, side / HEIGHT)
        for columns, lines, sides in LEVELS
        for y in range(lines)
        for x in range(columns)
        for side in sides
    ]
    return np.clip(np.array(rows), 0.0, 1.0)


def decode(boxes: Array, scores: Array) -> tuple[Array, Array]:
    """Faces in one image: boxes [K, 4] as (x1, y1, x2, y2) in pixels, and their scores [K], best first.

    `boxes` [4420, 4] are regressions against the priors, `scores` [4420, 2] probabilities of (none, face).
    """
    prior = priors()
    centre = prior[:, :2] + CENTRE_VARIANCE * boxes[:, :2] * prior[:, 2:]
    size = prior[:, 2:] * np.exp(SIZE_VARIANCE * boxes[:, 2:])
    corners = np.concatenate([centre - size / 2, centre + size / 2], axis=1)
    corners = corners * np.array([WIDTH, HEIGHT, WIDTH, HEIGHT])
    kept = non_maximum_suppression(corners, scores[:, 1], iou=OVERLAP, score=SCORE)
    return corners[kept], scores[kept, 1]


def agreement(outputs: dict[str, Array], reference: dict[str, Array]) -> BoxAgreement:
    """Over all images: float's boxes found again (IoU 0.5, score within 0.1), and invented ones."""
    total = BoxAgreement(0, 0, 0)
    for index in range(len(reference["boxes"])):
        found = decode(outputs["boxes"][index], outputs["scores"][index])
        wanted = decode(reference["boxes"][index], reference["scores"][index])
        total = total + box_agreement(*found, *wanted)
    return total


def draw(images: Array, outputs: dict[str, Array], reference: dict[str, Array], path: Path) -> None:
    """The images in two rows: the float network's boxes above, the C's below."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.patches import Rectangle

    shown = min(4, len(images))
    figure, axes = pyplot.subplots(2, shown, figsize=(4 * shown, 6.4), squeeze=False)
    for row, (title, answer) in enumerate(
        (("float32, onnxruntime", reference), ("int8, generated C", outputs))
    ):
        for column in range(shown):
            axis = axes[row][column]
            axis.imshow(images[column])
            axis.set_title(title)
            axis.axis("off")
            boxes, scores = decode(answer["boxes"][column], answer["scores"][column])
            for (x1, y1, x2, y2), score in zip(boxes, scores, strict=True):
                axis.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, color="lime", lw=2))
                axis.text(x1, y1 - 3, f"{score:.2f}", color="lime", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=80)


def main() -> None:
    options = arguments(__doc__ or "", "face_slim_320.onnx", "faces_320x240.npz")
    images = np.load(options.data)["x"]
    result = build(options.model, options.output, MEANING)
    outputs = run_c(result, images, MEANING)
    reference = dict(run_float(options.model, images, MEANING))
    total = agreement(outputs, reference)
    picture = options.picture or options.output / "faces.png"
    draw(images, outputs, reference, picture)
    print(
        f"{len(images)} photographs: {total.matched} of {total.reference} boxes of the float network matched "
        f"({100 * total.recall:.1f} %), {total.invented} invented; see {picture}"
    )


if __name__ == "__main__":
    main()
