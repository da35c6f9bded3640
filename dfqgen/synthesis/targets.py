"""What the features of good samples look like: the statistics that the network itself remembers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dfqgen.graph.ir import Array, Graph, Port
from dfqgen.ops.conv import Conv2D
from dfqgen.ops.norm import BatchNorm
from dfqgen.statistics.propagate import Statistics, propagate
from dfqgen.synthesis.torch_graph import TorchGraph, constant

NOISE_SAMPLES = 1024
# Keeps the gradient of a square root finite where a feature is constant.
TINY = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """Mean and deviation [C] that a tensor's channels should have."""

    tensor: str
    mean: Array
    std: Array

    @property
    def unit(self) -> float:
        """The layer's own scale, in which deviations of different layers compare."""
        return float(np.sqrt(np.mean(self.std**2))) or 1.0


@dataclass(frozen=True, slots=True)
class Slack:
    """How far a sample's mean and deviation may be off before it costs anything (in the tensor's units)."""

    mean: float = 0.0
    std: float = 0.0


def batch_norm_targets(graph: Graph) -> tuple[Target, ...]:
    """Running mean and deviation of every batch normalization, at its input."""
    return tuple(
        Target(
            node.inputs[0],
            np.asarray(node.op.mean, np.float64),
            np.sqrt(np.maximum(np.asarray(node.op.variance, np.float64), 0.0)),
        )
        for node in graph.nodes
        if isinstance(node.op, BatchNorm)
    )


def propagated_targets(graph: Graph, known: Statistics) -> tuple[Target, ...]:
    """For a graph whose batch normalization was folded away: propagated statistics at convolution outputs.

    An estimate: propagation takes a layer's inputs as independent (`dfqgen.statistics.propagate`).
    """
    statistics = propagate(graph, known)
    targets = []
    for node in graph.nodes:
        if isinstance(node.op, Conv2D):
            mean, variance = statistics[node.output].moments()
            targets.append(Target(node.output, mean, np.sqrt(variance)))
    return tuple(targets)


def feature_graph(graph: Graph, targets: Sequence[Target]) -> TorchGraph:
    """The part of the graph that computes the targets' tensors, with these as its outputs."""
    tensors = dict.fromkeys(target.tensor for target in targets)
    ports = tuple(Port(name, name, graph.shapes[name]) for name in tensors)
    return TorchGraph(replace(graph, outputs=ports).without_dead_nodes())


class _MeanStd(torch.autograd.Function):
    """Mean and deviation over axis 1, with the gradient in one pass (autograd's own makes six)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        mean = x.mean(dim=1)
        # Means of squares cancel where a channel is nearly constant: centre first.
        square = (x - mean[:, None]).square_().mean(dim=1)
        std = torch.sqrt(square + TINY)
        ctx.save_for_backward(x, mean, std)
        return mean, std

    @staticmethod
    def backward(ctx: Any, grad_mean: Tensor, grad_std: Tensor) -> Tensor:
        x, mean, std = ctx.saved_tensors
        slope = grad_std / (std * x.shape[1])
        level = grad_mean / x.shape[1] - slope * mean
        return torch.addcmul(level[:, None], x, slope[:, None])


def sample_statistics(feature: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel [N, C] over the positions of each sample.

    A sample with one position has no deviation of its own; there the batch's stand for every sample.
    """
    samples, channels = feature.shape[0], feature.shape[-1]
    rows = feature.reshape(samples, -1, channels)
    if rows.shape[1] > 1:
        mean, std = _MeanStd.apply(rows)  # type: ignore[no-untyped-call]
        return mean, std
    mean, std = _MeanStd.apply(rows.reshape(1, -1, channels))  # type: ignore[no-untyped-call]
    return mean.expand(samples, -1), std.expand(samples, -1)


def gaussian_slack(
    graph: TorchGraph,
    targets: Sequence[Target],
    inputs: Statistics,
    *,
    quantile: float,
    generator: torch.Generator,
    batch: int,
    count: int = NOISE_SAMPLES,
) -> dict[str, Slack]:
    """Slack of every target: what already noise reaches ([DSG] 3.2, slack distribution alignment).

    delta and xi are the `quantile` over a layer's channels of |mean - target| and |std - target| of the
    features of `count` Gaussian inputs.
    """
    totals = {target.tensor: _Moments(len(target.mean)) for target in targets}
    with torch.no_grad():
        for start in range(0, count, batch):
            noise = gaussian_inputs(graph.graph.inputs, inputs, min(batch, count - start), generator)
            for name, feature in graph(noise).items():
                totals[name].add(feature)
    slack = {}
    for target in targets:
        mean, std = totals[target.tensor].mean_std()
        slack[target.tensor] = Slack(
            float(np.quantile(np.abs(mean - target.mean), quantile)),
            float(np.quantile(np.abs(std - target.std), quantile)),
        )
    return slack


class _Moments:
    """Running first and second moments of each channel."""

    def __init__(self, channels: int) -> None:
        self.count = 0
        self.sums = np.zeros(channels)
        self.squares = np.zeros(channels)

    def add(self, feature: Tensor) -> None:
        rows = feature.reshape(-1, feature.shape[-1])
        variance, mean = (t.double().numpy() for t in torch.var_mean(rows, dim=0, correction=0))
        self.count += rows.shape[0]
        self.sums += mean * rows.shape[0]
        self.squares += (variance + mean**2) * rows.shape[0]

    def mean_std(self) -> tuple[Array, Array]:
        mean = self.sums / self.count
        return mean, np.sqrt(np.maximum(self.squares / self.count - mean**2, 0.0))


def gaussian_inputs(
    ports: Sequence[Port], inputs: Statistics, count: int, generator: torch.Generator
) -> dict[str, Tensor]:
    """Independent Gaussian elements with each input channel's mean and deviation, within its bounds."""
    noise: dict[str, Tensor] = {}
    for port in ports:
        channels = inputs[port.tensor]
        values = torch.randn((count, *port.shape[1:]), generator=generator)
        values = values * constant(channels.std) + constant(channels.mean)
        noise[port.tensor] = torch.minimum(
            torch.maximum(values, constant(channels.lo)), constant(channels.hi)
        )
    return noise


def slack_loss(mean: Tensor, std: Tensor, target: Target, slack: Slack) -> Tensor:
    """One layer's loss [N] for statistics [N, C]: squared deviations beyond the slack, mean over channels.

    In units of the layer's deviation, so that no layer weighs more because its numbers are larger
    (the papers sum raw squares). With no slack this is the plain, ZeroQ-style loss.
    """
    off_mean = torch.relu((mean - constant(target.mean)).abs() - slack.mean)
    off_std = torch.relu((std - constant(target.std)).abs() - slack.std)
    return (off_mean.square() + off_std.square()).mean(dim=1) / target.unit**2


def batch_statistics(mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation [1, C] of all samples together, from each one's [N, C]."""
    together = mean.mean(dim=0, keepdim=True)
    square = (std.square() + mean.square()).mean(dim=0, keepdim=True)
    return together, torch.sqrt(torch.relu(square - together.square()) + TINY)


def enhancement_weights(first: int, count: int, layers: int, *, enhance: bool) -> Tensor:
    """Weight [count, layers] of each layer for samples first, first + 1, ...

    Layerwise sample enhancement ([DSG] 3.3): sample i gives layer i mod layers double weight.
    """
    weights = torch.ones(count, layers)
    if enhance:
        samples = torch.arange(count)
        weights[samples, (first + samples) % layers] = 2.0
    return weights


def synthesis_targets(graph: Graph, known: Statistics) -> tuple[tuple[Target, ...], str]:
    """The targets of a graph and where they come from, for the report."""
    targets = batch_norm_targets(graph)
    if targets:
        return targets, f"{len(targets)} batch normalizations"
    targets = propagated_targets(graph, known)
    return targets, f"statistics propagated to {len(targets)} convolutions (no batch normalization left)"


def as_tensors(samples: Mapping[str, Array]) -> dict[str, Tensor]:
    return {name: constant(value) for name, value in samples.items()}
