"""Ways to feed pixels, 0..255, by name."""

from __future__ import annotations

from collections.abc import Mapping

Numbers = tuple[float, ...]

MEAN_AND_STD: Mapping[str, tuple[Numbers, Numbers]] = {
    # torchvision's ToTensor and Normalize, in units of pixels.
    "imagenet": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "signed": ((127.5,), (127.5,)),
    "unit": ((0.0,), (255.0,)),
    "raw": ((0.0,), (1.0,)),
}
"""Normalised as for ImageNet, -1..1, 0..1, as they are."""
