"""Train the bundled network: a small depthwise-separable ReLU6 CNN on scikit-learn's digits.

    python examples/digits/train.py

writes digits.onnx (BatchNorm kept: its statistics are what data-free quantization works from) and
digits_test.npz (x uint8 NHWC 0..16, y) beside this file. Deterministic on one machine; needs
`pip install dfqgen[synthesis,dev]`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

HERE = Path(__file__).resolve().parent
INPUT_STD = 16.0  # pixels are 0..16, the network sees x / 16
EPOCHS = 120
BATCH = 64


def conv_norm(cin: int, cout: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(cin, cout, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(cout),
        nn.ReLU6(),
    )


def separable(cin: int, cout: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(conv_norm(cin, cin, 3, stride, groups=cin), conv_norm(cin, cout, 1))


def network() -> nn.Module:
    return nn.Sequential(
        conv_norm(1, 16, 3),
        separable(16, 32),
        separable(32, 48, stride=2),
        separable(48, 48),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(48, 10),
    )


def shifted(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The batch moved by up to one pixel each way: the only augmentation."""
    dy, dx = torch.randint(0, 3, (2,), generator=generator).tolist()
    return nn.functional.pad(x, (1, 1, 1, 1))[:, :, dy : dy + 8, dx : dx + 8]


def train(x: torch.Tensor, y: torch.Tensor) -> nn.Module:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    generator = torch.Generator().manual_seed(0)
    net = network()
    optimizer = torch.optim.AdamW(net.parameters(), lr=4e-3, weight_decay=1e-2)
    steps = EPOCHS * -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 8e-3, total_steps=steps)
    loss = nn.CrossEntropyLoss(label_smoothing=0.05)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(x), generator=generator).split(BATCH):
            optimizer.zero_grad()
            loss(net(shifted(x[batch], generator)), y[batch]).backward()
            optimizer.step()
            schedule.step()
    return net.eval()


def to_onnx(net: nn.Module) -> onnx.ModelProto:
    """The network node by node, so that BatchNormalization stays a node of its own."""
    helper, nodes, weights = onnx.helper, [], []
    current = "image"

    def constant(name: str, value: torch.Tensor) -> str:
        weights.append(onnx.numpy_helper.from_array(value.detach().numpy().astype(np.float32), name))
        return name

    def add(operator: str, inputs: list[str], name: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    for path, layer in net.named_modules():
        name = f"{type(layer).__name__.lower()}_{path}"
        match layer:
            case nn.Conv2d():
                pad = layer.padding[0]
                current = add(
                    "Conv",
                    [current, constant(f"{name}.weight", layer.weight)],
                    name,
                    kernel_shape=list(layer.kernel_size),
                    strides=list(layer.stride),
                    pads=[pad] * 4,
                    group=layer.groups,
                )
            case nn.BatchNorm2d():
                statistics: dict[str, Any] = {
                    "gamma": layer.weight,
                    "beta": layer.bias,
                    "mean": layer.running_mean,
                    "var": layer.running_var,
                }
                inputs = [constant(f"{name}.{key}", value) for key, value in statistics.items()]
                current = add("BatchNormalization", [current, *inputs], name, epsilon=layer.eps)
            case nn.ReLU6():
                bounds = [constant(f"{name}.{k}", torch.tensor(v)) for k, v in (("lo", 0.0), ("hi", 6.0))]
                current = add("Clip", [current, *bounds], name)
            case nn.AdaptiveAvgPool2d():
                current = add("GlobalAveragePool", [current], name)
            case nn.Flatten():
                current = add("Flatten", [current], name)
            case nn.Linear():
                parameters = [constant(f"{name}.weight", layer.weight), constant(f"{name}.bias", layer.bias)]
                current = add("Gemm", [current, *parameters], "scores", transB=1)
    image = helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, [1, 1, 8, 8])
    scores = helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, [1, 10])
    graph = helper.make_graph(nodes, "digits", [image], [scores], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    digits = load_digits()
    x = digits.images.astype(np.uint8)[..., None]  # NHWC, 0..16
    split = train_test_split(x, digits.target, test_size=600, random_state=0, stratify=digits.target)
    x_train, x_test, y_train, y_test = split
    planes = torch.from_numpy(x_train.transpose(0, 3, 1, 2).astype(np.float32) / INPUT_STD)
    model = to_onnx(train(planes, torch.from_numpy(y_train)))
    onnx.save(model, HERE / "digits.onnx")
    np.savez_compressed(HERE / "digits_test.npz", x=x_test, y=y_test.astype(np.uint8))

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    images = x_test.transpose(0, 3, 1, 2).astype(np.float32) / INPUT_STD
    scores = np.concatenate([session.run(None, {"image": image[None]})[0] for image in images])
    accuracy = float(np.mean(scores.argmax(axis=1) == y_test))
    print(f"float accuracy {100 * accuracy:.2f} % on {len(y_test)} test images")


if __name__ == "__main__":
    main()
