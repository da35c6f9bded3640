"""Small PyTorch modules, one for each architecture that people put on microcontrollers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Shape = tuple[int, ...]
IMAGE: Shape = (1, 8, 16, 16)
SEQUENCE: Shape = (1, 8, 32)
TOKENS: Shape = (1, 12, 16)


@dataclass(frozen=True, slots=True)
class Architecture:
    """How to make it, and the shape of its input."""

    make: Callable[[], nn.Module]
    shape: Shape = IMAGE


class Applied(nn.Module):
    """Layers by name, and a function of them and the input."""

    def __init__(self, function: Callable[..., Tensor], *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *self.layers)


def conv(i: int, o: int, k: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution, batch normalization, ReLU."""
    layer = nn.Conv2d(i, o, k, stride, k // 2, groups=groups, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(o), nn.ReLU())


def residual(*layers: nn.Module) -> nn.Module:
    return Applied(lambda x, body: x + body(x), nn.Sequential(*layers))


def classified(*layers: nn.Module, channels: int = 8) -> nn.Module:
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 5))


def gate(channels: int, hard: bool = False) -> nn.Module:
    """Squeeze and excitation."""
    last = nn.Hardsigmoid() if hard else nn.Sigmoid()
    branch = nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, 4, 1), nn.ReLU(), nn.Conv2d(4, channels, 1), last
    )
    return Applied(lambda x, scale: x * scale(x), branch)


def inverted(activation: nn.Module, gated: bool = False, hard: bool = False) -> nn.Module:
    depthwise = nn.Conv2d(24, 24, 3, padding=1, groups=24)
    body = [nn.Conv2d(8, 24, 1), nn.BatchNorm2d(24), activation, depthwise, nn.BatchNorm2d(24), activation]
    body += [gate(24, hard)] if gated else []
    return residual(*body, nn.Conv2d(24, 8, 1), nn.BatchNorm2d(8))


def shuffled(x: Tensor, groups: int) -> Tensor:
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


def shuffle_v2(x: Tensor, branch: nn.Module) -> Tensor:
    kept, worked = x.chunk(2, dim=1)
    return shuffled(torch.cat([kept, branch(worked)], 1), 2)


def spatial_attention(x: Tensor, layer: nn.Module) -> Tensor:
    maps = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
    return x * torch.sigmoid(layer(maps))


def channel_attention(x: Tensor, layer: nn.Module) -> Tensor:
    """ECA: a convolution along the channels."""
    vector = x.mean((2, 3)).unsqueeze(1)
    return x * torch.sigmoid(layer(vector)).transpose(1, 2).unsqueeze(-1)


def u_net(x: Tensor, down: nn.Module, bottom: nn.Module, up: nn.Module, last: nn.Module) -> Tensor:
    skip = down(x)
    result: Tensor = last(torch.cat([skip, up(bottom(F.max_pool2d(skip, 2)))], 1))
    return result


def conv_next(x: Tensor, depthwise: nn.Module, norm: nn.Module, wide: nn.Module, back: nn.Module) -> Tensor:
    y = norm(depthwise(x).permute(0, 2, 3, 1))
    result: Tensor = x + back(F.gelu(wide(y))).permute(0, 3, 1, 2)
    return result


def mixer(x: Tensor, norm: nn.Module, tokens: nn.Module, channels: nn.Module) -> Tensor:
    x = x + tokens(norm(x).transpose(1, 2)).transpose(1, 2)
    result: Tensor = x + channels(norm(x))
    return result


def wave_net(x: Tensor, filtered: nn.Module, gated: nn.Module, back: nn.Module) -> Tensor:
    past = F.pad(x, (4, 0))
    result: Tensor = x + back(torch.tanh(filtered(past)) * torch.sigmoid(gated(past)))
    return result


def positions(x: Tensor, table: nn.Module, encoder: nn.Module) -> Tensor:
    result: Tensor = encoder(x + table(torch.arange(x.shape[1])).unsqueeze(0)).mean(1)
    return result


def last_step(x: Tensor, recurrent: nn.Module, head: nn.Module) -> Tensor:
    result: Tensor = head(recurrent(x)[0][:, -1])
    return result


def encoder() -> nn.Module:
    return nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)


def class_token(x: Tensor, embed: nn.Module, token: nn.Module, layer: nn.Module, head: nn.Module) -> Tensor:
    """Patches or frames behind a learned token, which the head reads."""
    embedded = embed(x)
    tokens = embedded.flatten(2).transpose(1, 2) if embedded.dim() == 4 else embedded
    first = token(torch.zeros(1, dtype=torch.long)).unsqueeze(0).expand(x.shape[0], -1, -1)
    result: Tensor = head(layer(torch.cat([first, tokens], 1))[:, 0])
    return result


def causal(x: Tensor, project: nn.Module, back: nn.Module) -> Tensor:
    """Two heads of attention to what came before."""
    steps = x.shape[1]
    q, k, v = project(x).reshape(x.shape[0], steps, 3, 2, 8).permute(2, 0, 3, 1, 4).unbind(0)
    later = torch.ones(steps, steps).triu(1) * -100.0
    weights = (q @ k.transpose(-2, -1) / 8**0.5 + later).softmax(-1)
    result: Tensor = x + back((weights @ v).transpose(1, 2).flatten(2))
    return result


def non_local(x: Tensor, theta: nn.Module, phi: nn.Module, g: nn.Module, back: nn.Module) -> Tensor:
    a, b, c = (layer(x).flatten(2) for layer in (theta, phi, g))
    weights = (a.transpose(1, 2) @ b).softmax(-1)
    mixed = (weights @ c.transpose(1, 2)).transpose(1, 2)
    result: Tensor = x + back(mixed.reshape(x.shape[0], -1, *x.shape[2:]))
    return result


def mobile_vit(x: Tensor, local: nn.Module, layer: nn.Module, back: nn.Module) -> Tensor:
    """Attention between pixels at the same place of 2x2 patches, folded into the batch of heads."""
    y = local(x)
    n, c, h, w = y.shape
    patches = y.reshape(n, c, h // 2, 2, w // 2, 2).permute(0, 3, 5, 2, 4, 1).reshape(n * 4, h * w // 4, c)
    mixed = layer(patches).reshape(n, 2, 2, h // 2, w // 2, c).permute(0, 5, 3, 1, 4, 2)
    result: Tensor = back(torch.cat([x, mixed.reshape(n, c, h, w)], 1))
    return result


def conformer(x: Tensor, norm: nn.Module, wide: nn.Module, depthwise: nn.Module, back: nn.Module) -> Tensor:
    """Its convolution module."""
    y = F.glu(wide(norm(x).transpose(1, 2)), 1)
    result: Tensor = x + back(F.silu(depthwise(y))).transpose(1, 2)
    return result


def swiglu(x: Tensor, gate: nn.Module, up: nn.Module, down: nn.Module) -> Tensor:
    """Behind an RMS normalization, as language models write it."""
    y = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
    result: Tensor = x + down(F.silu(gate(y)) * up(y))
    return result


def response_norm(x: Tensor, wide: nn.Module, back: nn.Module) -> Tensor:
    """ConvNeXt V2's global response normalization."""
    y = F.gelu(wide(x))
    size = y.norm(p=2, dim=(2, 3), keepdim=True)
    result: Tensor = x + back(y * (size / (size.mean(1, keepdim=True) + 1e-6)) + y)
    return result


def attentive_pool(x: Tensor, score: nn.Module, head: nn.Module) -> Tensor:
    """The mean of frames by learned weights."""
    result: Tensor = head((score(x).softmax(1) * x).sum(1))
    return result


def channels_first_norm(x: Tensor, depthwise: nn.Module, back: nn.Module) -> Tensor:
    """Layer normalization of channels that stay first, written out."""
    y = depthwise(x)
    centered = y - y.mean(1, keepdim=True)
    result: Tensor = x + back(centered / torch.sqrt(centered.pow(2).mean(1, keepdim=True) + 1e-6))
    return result


def recurrent(kind: Callable[..., nn.Module], **options: bool) -> Architecture:
    width = 24 if options.get("bidirectional") else 12
    layer = kind(16, 12, batch_first=True, **options)
    return Architecture(lambda: Applied(last_step, layer, nn.Linear(width, 5)), TOKENS)


def of_sequence(*layers: nn.Module) -> Architecture:
    return Architecture(lambda: nn.Sequential(*layers), SEQUENCE)


def dense_net(x: Tensor, *layers: nn.Module) -> Tensor:
    for layer in layers:
        x = torch.cat([x, layer(x)], 1)
    return x


ARCHITECTURES: Mapping[str, Architecture] = {
    "VGG": Architecture(lambda: classified(conv(8, 8), conv(8, 8), nn.MaxPool2d(2))),
    "ResNet": Architecture(lambda: classified(residual(conv(8, 8), conv(8, 8)), nn.ReLU())),
    "ResNet, strided": Architecture(
        lambda: Applied(lambda x, a, b: a(x) + b(x), conv(8, 16, stride=2), nn.Conv2d(8, 16, 1, 2))
    ),
    "ResNeXt": Architecture(
        lambda: classified(residual(conv(8, 16, 1), conv(16, 16, groups=4), conv(16, 8, 1)))
    ),
    "MobileNet V1": Architecture(lambda: classified(conv(8, 8, groups=8), conv(8, 8, 1))),
    "MobileNet V2": Architecture(lambda: classified(inverted(nn.ReLU6()))),
    "MobileNet V3": Architecture(lambda: classified(inverted(nn.Hardswish(), gated=True, hard=True))),
    "EfficientNet": Architecture(lambda: classified(inverted(nn.SiLU(), gated=True))),
    "MnasNet": Architecture(lambda: classified(inverted(nn.ReLU(), gated=True))),
    "ShuffleNet V1": Architecture(
        lambda: Applied(
            lambda x, a, b: F.relu(x + b(shuffled(a(x), 2))), conv(8, 8, 1, groups=2), conv(8, 8, 3, groups=8)
        )
    ),
    "ShuffleNet V2": Architecture(
        lambda: Applied(shuffle_v2, nn.Sequential(conv(4, 4, 1), conv(4, 4, groups=4)))
    ),
    "SqueezeNet": Architecture(
        lambda: Applied(
            lambda x, s, a, b: torch.cat([a(s(x)), b(s(x))], 1), conv(8, 4, 1), conv(4, 8, 1), conv(4, 8)
        )
    ),
    "DenseNet": Architecture(lambda: Applied(dense_net, conv(8, 4), conv(12, 4), conv(16, 4))),
    "GhostNet": Architecture(
        lambda: Applied(lambda x, a, b: torch.cat([a(x), b(a(x))], 1), conv(8, 8, 1), conv(8, 8, groups=8))
    ),
    "RepVGG, in training form": Architecture(
        lambda: Applied(
            lambda x, a, b, c: F.relu(a(x) + b(x) + c(x)),
            nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)),
            nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)),
            nn.BatchNorm2d(8),
        )
    ),
    "Inception": Architecture(
        lambda: Applied(
            lambda x, a, b, c: torch.cat([a(x), b(x), c(F.avg_pool2d(x, 3, 1, 1))], 1),
            conv(8, 4, 1),
            conv(8, 4, 5),
            conv(8, 4, 1),
        )
    ),
    "ConvNeXt": Architecture(
        lambda: Applied(
            conv_next,
            nn.Conv2d(8, 8, 7, padding=3, groups=8),
            nn.LayerNorm(8),
            nn.Linear(8, 32),
            nn.Linear(32, 8),
        )
    ),
    "SE block": Architecture(lambda: gate(8)),
    "CBAM, spatial": Architecture(lambda: Applied(spatial_attention, nn.Conv2d(2, 1, 7, padding=3))),
    "ECA": Architecture(lambda: Applied(channel_attention, nn.Conv1d(1, 1, 3, padding=1))),
    "U-Net, transposed": Architecture(
        lambda: Applied(u_net, conv(8, 8), conv(8, 8), nn.ConvTranspose2d(8, 8, 2, 2), conv(16, 4))
    ),
    "U-Net, bilinear": Architecture(
        lambda: Applied(
            u_net, conv(8, 8), conv(8, 8), nn.Upsample(scale_factor=2, mode="bilinear"), conv(16, 4)
        )
    ),
    "FPN, nearest": Architecture(
        lambda: Applied(u_net, conv(8, 8), conv(8, 8), nn.Upsample(scale_factor=2), conv(16, 4))
    ),
    "DCGAN decoder": Architecture(lambda: nn.Sequential(nn.ConvTranspose2d(8, 4, 4, 2, 1), nn.Tanh())),
    "ESPCN (PixelShuffle)": Architecture(lambda: nn.Sequential(conv(8, 16), nn.PixelShuffle(2))),
    "PixelUnshuffle": Architecture(lambda: nn.Sequential(nn.PixelUnshuffle(2), conv(32, 8))),
    "dilated (ASPP)": Architecture(
        lambda: Applied(
            lambda x, a, b: torch.cat([a(x), b(x)], 1),
            nn.Conv2d(8, 4, 3, padding=2, dilation=2),
            nn.Conv2d(8, 4, 3, padding=4, dilation=4),
        )
    ),
    "autoencoder, convolutional": Architecture(
        lambda: nn.Sequential(conv(8, 4, stride=2), nn.ConvTranspose2d(4, 8, 3, 2, 1, 1), nn.Sigmoid())
    ),
    "autoencoder, dense": Architecture(
        lambda: nn.Sequential(nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 64)), (1, 64)
    ),
    "perceptron": Architecture(
        lambda: nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 4), nn.Softmax(1)), (1, 32)
    ),
    "PReLU": Architecture(lambda: nn.Sequential(nn.Conv2d(8, 8, 3), nn.PReLU(8))),
    "LeakyReLU, ELU, GELU": Architecture(
        lambda: nn.Sequential(
            nn.Conv2d(8, 8, 3), nn.LeakyReLU(0.1), nn.Conv2d(8, 8, 3), nn.ELU(), nn.Conv2d(8, 8, 1), nn.GELU()
        )
    ),
    "Mish, Softplus": Architecture(
        lambda: nn.Sequential(nn.Conv2d(8, 8, 3), nn.Mish(), nn.Conv2d(8, 8, 1), nn.Softplus())
    ),
    "reflected borders": Architecture(lambda: nn.Sequential(nn.ReflectionPad2d(1), nn.Conv2d(8, 8, 3))),
    "GroupNorm": Architecture(lambda: nn.Sequential(nn.Conv2d(8, 8, 3), nn.GroupNorm(2, 8), nn.ReLU())),
    "InstanceNorm": Architecture(
        lambda: nn.Sequential(nn.Conv2d(8, 8, 3), nn.InstanceNorm2d(8, affine=True))
    ),
    "weight normalization": Architecture(
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 3)), nn.ReLU())
    ),
    "embedding (normalized)": Architecture(
        lambda: Applied(lambda x, a: F.normalize(a(x.mean((2, 3)))), nn.Linear(8, 16))
    ),
    "Conv1d": of_sequence(
        nn.Conv1d(8, 8, 5, 2), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 4)
    ),
    "Conv1d, depthwise separable": of_sequence(
        nn.Conv1d(8, 8, 9, padding=4, groups=8), nn.Conv1d(8, 16, 1), nn.BatchNorm1d(16), nn.ReLU()
    ),
    "TCN": Architecture(
        lambda: Applied(lambda x, a: F.relu(x + a(F.pad(x, (4, 0)))), nn.Conv1d(8, 8, 3, dilation=2)),
        SEQUENCE,
    ),
    "WaveNet": Architecture(
        lambda: Applied(
            wave_net, nn.Conv1d(8, 8, 3, dilation=2), nn.Conv1d(8, 8, 3, dilation=2), nn.Conv1d(8, 8, 1)
        ),
        SEQUENCE,
    ),
    "time first": Architecture(
        lambda: Applied(lambda x, a: F.relu(a(x.transpose(0, 1))).mean(0), nn.Linear(16, 8)), TOKENS
    ),
    "position constants": Architecture(
        lambda: Applied(
            lambda x, table, a: a(x + table(torch.arange(12))), nn.Embedding(12, 16), nn.Linear(16, 4)
        ),
        TOKENS,
    ),
    "LayerNorm": Architecture(
        lambda: nn.Sequential(nn.Linear(16, 16), nn.LayerNorm(16), nn.Linear(16, 4)), TOKENS
    ),
    "MLP-Mixer": Architecture(
        lambda: Applied(
            mixer,
            nn.LayerNorm(16),
            nn.Sequential(nn.Linear(12, 24), nn.GELU(), nn.Linear(24, 12)),
            nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16)),
        ),
        TOKENS,
    ),
    "ViT": Architecture(lambda: Applied(positions, nn.Embedding(12, 16), encoder()), TOKENS),
    "ViT, class token": Architecture(
        lambda: Applied(class_token, nn.Conv2d(8, 16, 4, 4), nn.Embedding(1, 16), encoder(), nn.Linear(16, 5))
    ),
    "keyword transformer": Architecture(
        lambda: Applied(class_token, nn.Linear(16, 16), nn.Embedding(1, 16), encoder(), nn.Linear(16, 5)),
        TOKENS,
    ),
    "transformer, norms first": Architecture(
        lambda: nn.Sequential(
            nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True, norm_first=True),
            nn.LayerNorm(16),
            nn.Linear(16, 4),
        ),
        TOKENS,
    ),
    "causal attention": Architecture(lambda: Applied(causal, nn.Linear(16, 48), nn.Linear(16, 16)), TOKENS),
    "non-local block": Architecture(
        lambda: Applied(non_local, *(nn.Conv2d(8, 4, 1) for _ in range(3)), nn.Conv2d(4, 8, 1))
    ),
    "MobileViT": Architecture(
        lambda: Applied(mobile_vit, nn.Conv2d(8, 16, 1), encoder(), nn.Conv2d(24, 8, 3, padding=1))
    ),
    "Conformer convolution": Architecture(
        lambda: Applied(
            conformer,
            nn.LayerNorm(16),
            nn.Conv1d(16, 32, 1),
            nn.Sequential(nn.Conv1d(16, 16, 7, padding=3, groups=16), nn.BatchNorm1d(16)),
            nn.Conv1d(16, 16, 1),
        ),
        TOKENS,
    ),
    "SwiGLU, RMSNorm": Architecture(
        lambda: Applied(swiglu, *(nn.Linear(16, 32) for _ in range(2)), nn.Linear(32, 16)), TOKENS
    ),
    "ConvNeXt V2": Architecture(lambda: Applied(response_norm, nn.Conv2d(8, 16, 1), nn.Conv2d(16, 8, 1))),
    "attentive pooling": Architecture(
        lambda: Applied(attentive_pool, nn.Linear(16, 1), nn.Linear(16, 5)), TOKENS
    ),
    "LayerNorm, channels first": Architecture(
        lambda: Applied(channels_first_norm, nn.Conv2d(8, 8, 7, padding=3, groups=8), nn.Conv2d(8, 8, 1))
    ),
    "LSTM": recurrent(nn.LSTM),
    "LSTM, both directions": recurrent(nn.LSTM, bidirectional=True),
    "GRU": recurrent(nn.GRU),
    "RNN": recurrent(nn.RNN),
}
