"""An untrained DenseNet-BC (Huang et al. 2017) as ONNX, to plan memory with.

    python bench/densenet.py 100 8 densenet_100_8.onnx

Depth, growth, file. Pictures of 32x32 and 10 classes, as for CIFAR; of depth 100 it has 48 dense layers.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, nn


class DenseLayer(nn.Module):
    """Its output is joined to its input's channels by whoever calls it."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, 4 * growth, 1, bias=False),
            nn.BatchNorm2d(4 * growth),
            nn.ReLU(),
            nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
        )

    def forward(self, parts: list[Tensor]) -> Tensor:
        y: Tensor = self.body(torch.cat(parts, 1))
        return y


class DenseNet(nn.Module):
    """Three dense blocks; between them channels and pixels are halved."""

    def __init__(self, depth: int, growth: int, classes: int = 10) -> None:
        super().__init__()
        layers = (depth - 4) // 6
        channels = 2 * growth
        self.stem = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        self.blocks, self.transitions = nn.ModuleList(), nn.ModuleList()
        for block in range(3):
            self.blocks.append(
                nn.ModuleList(DenseLayer(channels + growth * index, growth) for index in range(layers))
            )
            channels += growth * layers
            if block < 2:
                half = nn.Conv2d(channels, channels // 2, 1, bias=False)
                self.transitions.append(
                    nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(), half, nn.AvgPool2d(2))
                )
                channels //= 2
        self.head = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(channels, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for index, block in enumerate(self.blocks):
            parts = [x]
            for layer in block:  # type: ignore[attr-defined]
                parts.append(layer(parts))
            x = torch.cat(parts, 1)
            if index < len(self.transitions):
                x = self.transitions[index](x)
        y: Tensor = self.head(x)
        return y


def save(depth: int, growth: int, path: Path) -> None:
    """Statistics of batch normalization are those of random pictures, so that values stay in range."""
    torch.manual_seed(0)
    network = DenseNet(depth, growth)
    with torch.no_grad():
        for _ in range(10):
            network(torch.randn(8, 3, 32, 32))
    network.eval()
    torch.onnx.export(
        network, (torch.zeros(1, 3, 32, 32),), str(path), dynamo=False, do_constant_folding=False
    )


if __name__ == "__main__":
    save(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
