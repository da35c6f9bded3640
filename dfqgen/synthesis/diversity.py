"""Diversity shown, not claimed: how samples' feature statistics lie around batch normalization's.

After figures 1 and 2 of Zhang, Qin et al. 2021: samples that all have exactly the trained statistics are
alike; real images scatter around them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dfqgen.graph.ir import Array, Graph
from dfqgen.statistics.propagate import Statistics
from dfqgen.synthesis.targets import (
    as_tensors,
    feature_graph,
    sample_statistics,
    synthesis_targets,
)

BATCH = 8


@dataclass(frozen=True, slots=True, eq=False)
class Diversity:
    """For each layer, over samples and channels, in units of the layer's deviation.

    `mean_off`, `std_off` are samples' means and deviations minus the trained ones [layers][N, C];
    `spread` [layers] is the deviation of the samples' means from sample to sample, mean over channels.
    """

    layers: tuple[str, ...]
    mean_off: tuple[Array, ...]
    std_off: tuple[Array, ...]

    @property
    def spread(self) -> Array:
        return np.array([off.std(axis=0).mean() for off in self.mean_off])

    @property
    def bias(self) -> Array:
        """|mean over samples of the deviation| [layers], mean over channels: 0 if right on average."""
        return np.array([np.abs(off.mean(axis=0)).mean() for off in self.mean_off])


def diversity(graph: Graph, samples: Mapping[str, Array], known: Statistics | None = None) -> Diversity:
    """Measure samples ([N, ...] by input tensor) against the statistics in `graph`.

    `known` are the inputs' statistics, needed only where batch normalization is folded.
    """
    targets, _ = synthesis_targets(graph, known or {})
    network = feature_graph(graph, targets)
    means: dict[str, list[Array]] = {target.tensor: [] for target in targets}
    stds: dict[str, list[Array]] = {target.tensor: [] for target in targets}
    count = len(next(iter(samples.values())))
    with torch.no_grad():
        for start in range(0, count, BATCH):
            chunk = {name: value[start : start + BATCH] for name, value in samples.items()}
            for name, feature in network(as_tensors(chunk)).items():
                mean, std = sample_statistics(feature)
                means[name].append(mean.numpy())
                stds[name].append(std.numpy())
    return Diversity(
        tuple(target.tensor for target in targets),
        tuple((np.concatenate(means[t.tensor]) - t.mean) / t.unit for t in targets),
        tuple((np.concatenate(stds[t.tensor]) - t.std) / t.unit for t in targets),
    )


def plot_diversity(path: Path, measured: Mapping[str, Diversity]) -> None:
    """One figure of several sets of samples: deviations of means, of deviations, and the spread by layer."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.0), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    bins = np.linspace(-2.0, 2.0, 121)
    for name, result in measured.items():
        for axes, offs in ((left, result.mean_off), (middle, result.std_off)):
            values = np.clip(np.concatenate([off.ravel() for off in offs]), bins[0], bins[-1])
            axes.hist(values, bins=bins, density=True, histtype="step", label=name)
        right.plot(np.arange(len(result.spread)), result.spread, marker=".", label=name)
    left.set(xlabel="a sample's mean - trained mean", ylabel="density over samples and channels")
    middle.set(xlabel="a sample's deviation - trained deviation")
    right.set(xlabel="layer", ylabel="spread of samples' means", ylim=(0, None))
    left.set_yscale("log")
    middle.set_yscale("log")
    labels = right.get_legend_handles_labels()
    figure.legend(*labels, loc="outside lower center", ncols=len(measured), frameon=False)
    figure.suptitle("Feature statistics, in units of each layer's trained deviation")
    # No time stamp: the same samples give the same file.
    figure.savefig(path, dpi=90, metadata={"Software": None})
