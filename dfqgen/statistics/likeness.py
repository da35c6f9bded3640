"""How much each sample counts, so that all of them have the moments that batch normalization states.

Made samples may be louder or duller than what a network was trained on. Where it has batch normalization its
running means and variances say by how much, layer by layer: weights of the samples are sought whose
standardized values have a mean of 0 and a second moment of 1 in every channel.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.optimize import nnls

from dfqgen.graph.ir import Array, Graph, Node
from dfqgen.ops.norm import BatchNorm

SUM_WEIGHT = 1e3
"""Of the demand that the weights add up to 1, beside which moments may miss theirs."""
MOST_ROUNDS = 100
"""Of the solver, for each sample; it takes about one."""


def sample_weights(graph: Graph, samples: Mapping[str, Array]) -> Array:
    """Weights [N] >= 0 that add up to 1; equal ones where `graph` has no batch normalization, or states.

    Least squares over all layers, each of which counts as one, and over how much fewer samples the weights
    come to than there are (by Kish's effective size): twice as few count as a layer with second moments of 2.
    """
    count = len(next(iter(samples.values())))
    rows = [] if graph.states else _standardized(graph, samples)
    if not rows:
        return np.full(count, 1.0 / count)
    wanted = np.concatenate([row[1] for row in rows])
    matrix = np.vstack(
        [*(row[0] for row in rows), np.full((1, count), SUM_WEIGHT), np.sqrt(count) * np.eye(count)]
    )
    target = np.concatenate([wanted, [SUM_WEIGHT], np.full(count, 1.0 / np.sqrt(count))])
    weights, _ = nnls(matrix, target, maxiter=MOST_ROUNDS * count)
    return np.asarray(weights / weights.sum())


def _standardized(graph: Graph, samples: Mapping[str, Array]) -> list[tuple[Array, Array]]:
    """Of each layer the samples' moments [2 C, N] and those they should have [2 C], over the root of C."""
    rows: list[tuple[Array, Array]] = []

    def watch(node: Node, arguments: tuple[Array, ...], output: Array) -> None:
        if not isinstance(node.op, BatchNorm):
            return
        value = arguments[0].reshape(len(arguments[0]), -1, arguments[0].shape[-1]).astype(np.float64)
        alive = node.op.variance > 0.0
        if not alive.any() or not np.isfinite(value).all():
            return
        z = (value[..., alive] - node.op.mean[alive]) / np.sqrt(node.op.variance[alive] + node.op.epsilon)
        moments = np.concatenate([z.mean(axis=1), np.square(z).mean(axis=1)], axis=1).T
        channels = int(alive.sum())
        wanted = np.repeat([0.0, 1.0], channels)
        rows.append((moments / np.sqrt(channels), wanted / np.sqrt(channels)))

    graph.evaluate(samples, watch)
    return rows
