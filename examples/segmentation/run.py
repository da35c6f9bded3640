"""Portrait segmentation in C: build the network, run it on photographs, compare its masks with float's.

    python -m examples.segmentation.run --model deeplab_mnv2_050_513.onnx --data portraits_513.npz

The network is DeepLab v3 on MobileNetV2 0.5 (513x513, person or background). Its output holds two scores a
pixel; the larger one is the class.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dfqgen.graph.ir import Array
from dfqgen.samples.meaning import InputMeaning
from dfqgen.verify.metrics import mean_iou
from examples.shared import arguments, build, run_c, run_float

MEANING = InputMeaning(mean=(127.5,), std=(127.5,), lo=0.0, hi=255.0)
CLASSES = 2


def masks(outputs: dict[str, Array]) -> Array:
    """Class of each pixel, int64 [N,H,W], of scores [N,2,H,W]."""
    (scores,) = outputs.values()
    return scores.argmax(axis=1)


def draw(images: Array, found: Array, wanted: Array, path: Path) -> None:
    """A row a photograph: itself, the float network's person, the C's, and where they differ."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(images), 4, figsize=(14, 3.5 * len(images)), squeeze=False)
    for row, image in enumerate(images):
        faded = (image * 0.2).astype(np.uint8)
        panels = (
            ("photograph", image),
            ("float32, onnxruntime", np.where(wanted[row][:, :, None] == 1, image, faded)),
            ("int8, generated C", np.where(found[row][:, :, None] == 1, image, faded)),
            ("difference", (found[row] != wanted[row]).astype(np.uint8)),
        )
        for axis, (title, panel) in zip(axes[row], panels, strict=True):
            axis.imshow(panel, cmap="gray")
            axis.set_title(title)
            axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=60)


def main() -> None:
    options = arguments(__doc__ or "", "deeplab_mnv2_050_513.onnx", "portraits_513.npz")
    images = np.load(options.data)["x"]
    result = build(options.model, options.output, MEANING)
    found = masks(run_c(result, images, MEANING))
    wanted = masks(dict(run_float(options.model, images, MEANING)))
    each = [mean_iou(a, b, CLASSES) for a, b in zip(found, wanted, strict=True)]
    picture = options.picture or options.output / "masks.png"
    draw(images, found, wanted, picture)
    print(
        f"{len(images)} photographs: mean IoU with the float mask {np.mean(each):.4f} "
        f"({', '.join(f'{value:.3f}' for value in each)}); see {picture}"
    )


if __name__ == "__main__":
    main()
