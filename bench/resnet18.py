"""An untrained ResNet-18 (He et al. 2016, 11.7 million parameters): what building it takes.

    python bench/resnet18.py [--side 64]          CPU, and peak memory by step
    python bench/resnet18.py --save resnet18.onnx

Pictures of 224x224 by default, 1000 classes; batch normalization is folded, as torch.onnx exports it. The
peak is that of dfqgen's process, which Linux tells (VmHWM); compilers run while it waits and take less.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dfqgen.commands import build
from dfqgen.recipe.choices import make_recipe


def save(path: Path, side: int) -> None:
    """Statistics of batch normalization are those of random pictures, so that values stay in range."""
    import torch
    from torch import Tensor, nn

    class Block(nn.Module):
        """Two 3x3 convolutions and the input, or a 1x1 convolution of it where shapes differ."""

        def __init__(self, channels: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(channels, outputs, 3, stride, 1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
                nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
                nn.BatchNorm2d(outputs),
            )
            self.short: nn.Module = nn.Identity()
            if stride != 1 or channels != outputs:
                self.short = nn.Sequential(
                    nn.Conv2d(channels, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
                )

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(self.body(x) + self.short(x))

    torch.manual_seed(0)
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    ]
    channels = 64
    for outputs in (64, 128, 256, 512):
        layers += [Block(channels, outputs, 1 if outputs == channels else 2), Block(outputs, outputs, 1)]
        channels = outputs
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))
    with torch.no_grad():
        network.train()
        for _ in range(2):
            network(torch.randn(8, 3, side, side))
    torch.onnx.export(
        network.eval(), (torch.zeros(1, 3, side, side),), str(path), dynamo=False, input_names=["image"]
    )


class Peaks:
    """Watches a build: the most memory that each step had, MB."""

    def __init__(self) -> None:
        self._step = "start"
        self._largest = 0

    def __call__(self, step: str) -> None:
        peak = int(re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[0]) // 1024
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again
        self._largest = max(self._largest, peak)
        print(f"{self._step:45}{peak:5} MB, {time.process_time():5.1f} s", flush=True)
        self._step = step

    @property
    def largest(self) -> int:
        return self._largest


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", type=int, default=224, help="height and width of the pictures")
    parser.add_argument("--save", type=Path, help="only write the model")
    arguments = parser.parse_args()
    if arguments.save is not None:
        save(arguments.save, arguments.side)
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch) / "resnet18.onnx"
        # In a process of its own: PyTorch takes as much memory as the build.
        options = ["--side", str(arguments.side), "--save", str(model)]
        subprocess.run([sys.executable, "-W", "ignore", __file__, *options], check=True)
        peaks = Peaks()
        recipe = make_recipe(target="host", input_std=(0.25,), input_range=(-2.0, 2.0))
        build(model, Path(scratch) / "out", recipe, progress=peaks)
        peaks("end")
        print(f"largest: {peaks.largest} MB, {time.process_time():.0f} s of CPU")
    return 0


if __name__ == "__main__":
    sys.exit(main())
