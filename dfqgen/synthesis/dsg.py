"""Diverse sample generation: inputs whose features have the statistics that training left in the network.

Zhang, Qin et al., "Diversifying Sample Generation for Accurate Data-Free Quantization", CVPR 2021. Adam
moves the inputs until each layer's feature statistics match batch normalization's. Slack distribution
alignment stops it from overfitting them, and layerwise sample enhancement gives every sample a layer of its
own, so that the samples differ. Without both it is the loss of ZeroQ (Cai et al., CVPR 2020).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from dfqgen.errors import UserError
from dfqgen.graph.ir import Array, Graph
from dfqgen.samples.made import default_count, is_large
from dfqgen.samples.meaning import InputMeaning
from dfqgen.statistics.channel import ChannelStatistics
from dfqgen.statistics.procedural import procedural_samples
from dfqgen.synthesis.targets import (
    Slack,
    Target,
    as_tensors,
    batch_norm_targets,
    batch_statistics,
    enhancement_weights,
    feature_graph,
    gaussian_inputs,
    gaussian_slack,
    sample_statistics,
    slack_loss,
    synthesis_targets,
)
from dfqgen.synthesis.threads import one_thread
from dfqgen.synthesis.torch_graph import TorchGraph, constant

Progress = Callable[[int, int, float], None]

# Float activations of one batch, with their gradients, stay under this many elements.
BATCH_ELEMENTS = 160_000_000
PLATEAU_STEPS = 30
# Deviations beyond the slack of about one per cent; from here on Adam would only add noise to the samples.
CONVERGED = 1e-3
# Of a large network: procedural samples start close, and later iterations change little.
LARGE_ITERATIONS = 50


@dataclass(frozen=True, slots=True)
class SynthesisOptions:
    """How samples are made. `slack` and `enhance` are the two parts that make them diverse.

    `start`: "procedural" begins at dead-leaves images, "noise" at Gaussian noise as in the paper.
    `learning_rate` is in deviations of the input a step.
    """

    count: int = 64
    iterations: int = 150
    slack: bool = True
    enhance: bool = True
    quantile: float = 0.9
    start: Literal["noise", "procedural"] = "procedural"
    learning_rate: float = 0.03
    seed: int = 0

    @property
    def diverse(self) -> bool:
        return self.slack or self.enhance

    @classmethod
    def for_graph(cls, graph: Graph, **choices: Any) -> SynthesisOptions:
        """Settings for a network of this size, where None or nothing is chosen."""
        sized: dict[str, Any] = {"count": default_count(graph)}
        if is_large(graph):
            sized["iterations"] = LARGE_ITERATIONS
        return cls(**sized | {name: value for name, value in choices.items() if value is not None})

    def plain(self) -> SynthesisOptions:
        """The same without what makes samples diverse: the ZeroQ-style baseline."""
        return replace(self, slack=False, enhance=False)


@dataclass(frozen=True, slots=True, eq=False)
class Synthesis:
    """Samples ([N, ...] float32 by input tensor, as the float network sees them) and how they came about.

    `losses` is the mean loss after each iteration; `source` says where the targets come from, `exact`
    whether that is batch normalization.
    """

    samples: Mapping[str, Array]
    losses: Array
    source: str
    exact: bool


@one_thread()
def generate_samples(
    graph: Graph,
    meanings: Mapping[str, InputMeaning],
    options: SynthesisOptions,
    progress: Progress | None = None,
) -> Synthesis:
    """Samples for `graph` (as loaded: batch normalization not folded), the same for the same seed.

    `meanings` says by port name what each input means: samples stay within its bounds, and match its mean
    and deviation. `progress` is called with (iterations done, of how many, loss).
    """
    if options.count < 1 or options.iterations < 0:
        raise UserError("synthesis needs at least one sample, and no negative number of iterations")
    inputs = {port.tensor: meanings[port.name].statistics(port.shape[-1]) for port in graph.inputs}
    targets, source = synthesis_targets(graph, inputs)
    if not targets:
        raise UserError("the network has neither batch normalization nor convolutions to synthesize from")
    generator = torch.Generator().manual_seed(options.seed)
    network = feature_graph(graph, targets)
    batch = batch_size(network.graph, options.count)
    slack = {target.tensor: Slack() for target in targets}
    if options.slack and options.iterations:
        slack = gaussian_slack(
            network, targets, inputs, quantile=options.quantile, generator=generator, batch=batch
        )
    start = _start(graph, inputs, options, generator)
    done: list[dict[str, Tensor]] = []
    losses = np.zeros(options.iterations)
    for first in range(0, options.count, batch):
        chunk = {name: value[first : first + batch] for name, value in start.items()}
        size = len(next(iter(chunk.values())))
        weights = enhancement_weights(first, size, len(targets), enhance=options.enhance)
        matcher = _Matcher(network, targets, slack, inputs, weights)

        def step(iteration: int, loss: float, first: int = first, size: int = size) -> None:
            losses[iteration] += loss * size / options.count
            if progress is not None:
                share = first * options.iterations + (iteration + 1) * size
                progress(share, options.count * options.iterations, loss)

        done.append(optimize(matcher, chunk, options, step))
    samples = {name: torch.cat([part[name] for part in done]).numpy() for name in start}
    return Synthesis(samples, losses, source, bool(batch_norm_targets(graph)))


def batch_size(graph: Graph, count: int) -> int:
    """Samples optimised at once, such that their activations fit memory; batches of nearly equal size."""
    elements = sum(int(np.prod(shape)) for shape in graph.shapes.values())
    batches = -(-count // max(1, BATCH_ELEMENTS // elements))
    return -(-count // batches)


def _start(
    graph: Graph,
    inputs: Mapping[str, ChannelStatistics],
    options: SynthesisOptions,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    if options.start == "noise":
        return gaussian_inputs(graph.inputs, inputs, options.count, generator)
    return as_tensors(procedural_samples(graph, inputs, options.count, options.seed))


class _Matcher:
    """The loss of a batch of inputs."""

    def __init__(
        self,
        network: TorchGraph,
        targets: tuple[Target, ...],
        slack: Mapping[str, Slack],
        inputs: Mapping[str, ChannelStatistics],
        weights: Tensor,
    ) -> None:
        self.network = network
        self.targets = targets
        self.slack = slack
        self.inputs = inputs
        self.weights = weights

    def __call__(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Mean over samples of their layers' weighted losses, and what the batch as a whole is off.

        Slack lets every sample of a batch err to the same side. Where there is slack, the batch's own
        statistics are matched too, without any: single samples scatter, their average is right.
        """
        features = self.network(batch)
        layers = []
        together = torch.zeros(())
        for target in self.targets:
            mean, std = sample_statistics(features[target.tensor])
            layers.append(slack_loss(mean, std, target, self.slack[target.tensor]))
            if self.slack[target.tensor] != Slack():
                together = together + slack_loss(*batch_statistics(mean, std), target, Slack()).sum()
        loss = (torch.stack(layers, dim=1) * self.weights).sum(dim=1).mean() + together
        for name, x in batch.items():
            target = Target(name, self.inputs[name].mean, self.inputs[name].std)
            loss = loss + slack_loss(*batch_statistics(*sample_statistics(x)), target, Slack()).sum()
        return loss


def optimize(
    matcher: _Matcher,
    start: Mapping[str, Tensor],
    options: SynthesisOptions,
    step: Callable[[int, float], None],
) -> dict[str, Tensor]:
    """Adam on the inputs in units of their deviation, kept within their bounds after every step.

    Stops early when the loss has all but vanished.
    """
    scale = {name: constant(s.std) for name, s in matcher.inputs.items()}
    bounds = {name: (constant(s.lo / s.std), constant(s.hi / s.std)) for name, s in matcher.inputs.items()}
    units = {name: (value / scale[name]).requires_grad_() for name, value in start.items()}
    adam = torch.optim.Adam(list(units.values()), lr=options.learning_rate)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
        adam, factor=0.5, patience=PLATEAU_STEPS, min_lr=1e-3 * options.learning_rate
    )
    for iteration in range(options.iterations):
        adam.zero_grad()
        loss = matcher({name: unit * scale[name] for name, unit in units.items()})
        loss.backward()
        adam.step()
        with torch.no_grad():
            for name, unit in units.items():
                lo, hi = bounds[name]
                unit.copy_(torch.minimum(torch.maximum(unit, lo), hi))
        value = float(loss.detach())
        schedule.step(value)
        step(iteration, value)
        if value < CONVERGED:
            for rest in range(iteration + 1, options.iterations):
                step(rest, value)
            break
    return {name: (unit * scale[name]).detach() for name, unit in units.items()}
