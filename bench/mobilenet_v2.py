"""An untrained MobileNetV2 (Sandler et al. 2018) as ONNX, to plan memory and count instructions with.

    python bench/mobilenet_v2.py 0.35 160 mobilenetv2_035_160.onnx

Width multiplier, side of the image, file. Channels are multiples of 8, as in the paper's code; 1000 classes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, repetitions, stride of the first."""


def rounded(channels: float) -> int:
    """The nearest multiple of 8 that is not more than a tenth below."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


def convolution(i: int, o: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Without activation."""
    layer = nn.Conv2d(i, o, kernel, stride, kernel // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(o))


class Block(nn.Module):
    """An inverted residual."""

    def __init__(self, i: int, o: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = i * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            layers += [convolution(i, inner), nn.ReLU6()]
        layers += [convolution(inner, inner, 3, stride, inner), nn.ReLU6(), convolution(inner, o)]
        self.body = nn.Sequential(*layers)
        self.adds = stride == 1 and i == o

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.adds else self.body(x)


def mobilenet_v2(width: float, classes: int = 1000) -> nn.Module:
    """The whole network."""
    channels = rounded(32 * width)
    layers: list[nn.Module] = [convolution(3, channels, 3, 2), nn.ReLU6()]
    for expansion, wanted, repetitions, stride in BLOCKS:
        for index in range(repetitions):
            after = rounded(wanted * width)
            layers.append(Block(channels, after, stride if index == 0 else 1, expansion))
            channels = after
    last = rounded(1280 * max(1.0, width))
    layers += [convolution(channels, last), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(last, classes))


def save(width: float, side: int, path: Path) -> None:
    """Statistics of batch normalization are those of random pictures, so that values stay in range."""
    torch.manual_seed(0)
    network = mobilenet_v2(width)
    with torch.no_grad():
        for _ in range(20):
            network(torch.randn(4, 3, side, side))
    network.eval()
    torch.onnx.export(
        network, (torch.zeros(1, 3, side, side),), str(path), dynamo=False, do_constant_folding=False
    )


if __name__ == "__main__":
    save(float(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
