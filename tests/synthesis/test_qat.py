"""A network trained with quantization in PyTorch, exported as it comes: the C has its numbers."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor, nn

from dfqgen import make_recipe
from dfqgen.compile import compile_model
from dfqgen.synthesis.threads import one_thread
from dfqgen.verify.compare import compare_outputs

STEPS = 200


class Rounded(nn.Module):
    """Fake quantization of an activation, its range the extremes seen while training."""

    def __init__(self) -> None:
        super().__init__()
        self.lo, self.hi = 0.0, 0.0

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.lo, self.hi = min(self.lo, float(x.detach().min())), max(self.hi, float(x.detach().max()))
        scale = (self.hi - self.lo) / 255 or 1.0
        return torch.fake_quantize_per_tensor_affine(x, scale, round(-128 - self.lo / scale), -128, 127)


class Filters(nn.Conv2d):
    """A convolution whose weight is rounded, a scale for each filter."""

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight.detach().abs().amax(dim=(1, 2, 3)) / 127
        zeros = torch.zeros(len(scale), dtype=torch.int32)
        weight = torch.fake_quantize_per_channel_affine(self.weight, scale, zeros, 0, -128, 127)
        return nn.functional.conv2d(x, weight, self.bias, self.stride, self.padding)


@one_thread()
def trained() -> tuple[nn.Module, NDArray[np.float32], NDArray[np.int64]]:
    """The network, and the images [N,1,8,8] and labels that it was not trained on."""
    torch.manual_seed(0)
    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
    y = torch.tensor(labels)
    net = nn.Sequential(
        Rounded(), Filters(1, 8, 3, padding=1), nn.ReLU(), Rounded(),
        Filters(8, 16, 3, stride=2, padding=1), nn.ReLU(), Rounded(),
        Filters(16, 10, 4), Rounded(), nn.Flatten(),
    )  # fmt: skip
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for step in range(STEPS):
        batch = slice(step * 64 % 1400, step * 64 % 1400 + 64)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
        optimizer.step()
    return net.eval(), x[1500:].numpy(), y[1500:].numpy()


def test_a_network_trained_with_quantization_keeps_its_numbers(tmp_path: Path) -> None:
    net, images, labels = trained()
    path = tmp_path / "qat.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (torch.zeros(1, 1, 8, 8),), str(path), opset_version=17, dynamo=False)
    compiled = compile_model(path, make_recipe())
    graph, program = compiled.network.graph, compiled.program
    steps = {note.step: note.effect for note in compiled.quantized.notes}
    assert "ours" not in steps["types of the model"] + steps["weights of the model"]
    samples = {graph.inputs[0].tensor: graph.inputs[0].from_model(images)}
    (found,) = compare_outputs(program, compiled.network.runner(), program.run, samples, labels)
    assert found.within_step is not None
    assert found.within_step >= 0.99
    assert found.top1_agreement is not None
    assert found.top1_agreement >= 0.99
    assert found.accuracy is not None
    assert found.accuracy > 0.9
    with torch.no_grad():
        accuracy = float(np.mean(net(torch.tensor(images)).numpy().argmax(axis=1) == labels))
    assert abs(found.accuracy - accuracy) <= 0.005
