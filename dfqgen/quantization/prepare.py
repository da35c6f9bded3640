"""The data-free passes in their order: a float graph ready to be quantized, and its statistics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from dfqgen.errors import UserError
from dfqgen.graph.ir import Array, Graph
from dfqgen.ops.conv import Conv2D
from dfqgen.passes.contract import Note, apply_passes
from dfqgen.passes.data_free import data_free_passes
from dfqgen.quantization.options import InputMeaning, QuantizeOptions
from dfqgen.quantization.widths import trusted_tensors
from dfqgen.statistics.channel import ChannelStatistics
from dfqgen.statistics.from_data import measure
from dfqgen.statistics.procedural import is_image, procedural_samples
from dfqgen.statistics.propagate import Statistics, propagate

PROCEDURAL_SAMPLES = 8
PROCEDURAL_ELEMENTS = 1 << 30
"""Of all tensors and samples together: half a minute. A segmentation network of 513x513 stays below."""
FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A float graph with the function of the model, statistics of all its tensors, and what was done.

    Inner tensors of the program are compared with this graph's: equalization changed the model's own.
    `measured` tells that the statistics come from real samples. Those of `trusted` tensors follow from batch
    normalization; there are none where all are measured, or where the model has no batch normalization.
    """

    graph: Graph
    statistics: Mapping[str, ChannelStatistics]
    notes: tuple[Note, ...]
    measured: bool = False
    trusted: frozenset[str] = frozenset()


def prepare(
    graph: Graph,
    meanings: Mapping[str, InputMeaning],
    options: QuantizeOptions,
    samples: Mapping[str, Array] | None = None,
    *,
    source: str = "samples",
    synthetic: bool = False,
) -> Prepared:
    """Fold, equalize and absorb (Nagel et al. 2019), as `options` say; the weights are still float.

    `meanings` says by port name what each input means. `samples` ([N, ...] by input tensor, in our axes
    and normalised) replaces the statistics by measured ones: level 2. `synthetic` ones replace procedural
    samples only: no class is certain on them, so extremes, above all of scores, fall short of real ones.
    `source` says in the notes what they are.
    """
    stated = {
        port.tensor: meanings[port.name].statistics(port.shape[-1], image=is_image(port.shape))
        for port in graph.inputs
    }
    steps = data_free_passes(
        fold_dead=options.fold_dead,
        equalization=options.equalizes,
        relu6_replaced=options.relu6 == "replace",
        bias_absorbed=options.absorb_bias,
    )
    graph, known, done = apply_passes(steps, graph, stated)
    notes = list(done)
    if samples is not None and not synthetic:
        statistics = measure(graph, samples)
        notes.append(Note("statistics", f"measured on {len(next(iter(samples.values())))} {source}"))
    elif samples is not None:
        statistics = sampled_statistics(graph, known, samples, keep_values=True)
        count = len(next(iter(samples.values())))
        effect = f"batch normalization's, else of {count} {source}; theirs are all extremes"
        notes.append(Note("statistics", effect))
    elif options.statistics == "analytic":
        statistics = propagate(graph, known)
        notes.append(Note("statistics", "batch normalization's, propagated where there is none"))
    else:
        made = procedural_inputs(graph, known)
        count = len(next(iter(made.values())))
        statistics = sampled_statistics(graph, known, made)
        notes.append(Note("statistics", f"batch normalization's, else of {count} procedural samples"))
    check_finite(graph, statistics)
    normalized = known.keys() - {port.tensor for port in graph.inputs}
    real = samples is not None and not synthetic
    trusted = trusted_tensors(graph, known) if normalized and not real else frozenset()
    return Prepared(graph, statistics, tuple(notes), real, trusted)


def check_finite(graph: Graph, statistics: Statistics) -> None:
    """Raise UserError at the first layer whose values leave the numbers float32 can hold."""
    for node in graph.nodes:
        found = statistics[node.output]
        ends = (found.mean, found.std, *(found.seen or ()))
        if not all(np.all(np.abs(values) <= FLOAT32_MAX) for values in ends):
            raise UserError(
                f"the values of layer {node.name!r} ({type(node.op).__name__}) are too large for float32",
                "Its weights are damaged, or the input means something else: state --input-mean, "
                "--input-std and --input-range.",
            )


def procedural_inputs(graph: Graph, known: Statistics) -> dict[str, Array]:
    """A few samples of every input; fewer of networks whose images are huge."""
    elements = sum(math.prod(shape) for shape in graph.shapes.values())
    count = max(1, min(PROCEDURAL_SAMPLES, PROCEDURAL_ELEMENTS // elements))
    return {port.tensor: procedural_samples(known[port.tensor], port.shape, count) for port in graph.inputs}


def sampled_statistics(
    graph: Graph, known: Statistics, samples: Mapping[str, Array], *, keep_values: bool = False
) -> dict[str, ChannelStatistics]:
    """`known` statistics propagated, with what samples show in place of what nobody knows.

    A convolution without known statistics gets the moments its output has on the samples. Every tensor's
    `seen` values are the samples' extremes; `keep_values` keeps samples' values too, for ranges by them.
    """
    measured = measure(graph, samples)
    filled = dict(known)
    for node in graph.nodes:
        if isinstance(node.op, Conv2D) and node.output not in known:
            filled[node.output] = ChannelStatistics.normal(
                measured[node.output].mean, measured[node.output].std
            )
    return {
        name: replace(
            statistics,
            seen=(measured[name].lo, measured[name].hi),
            values=measured[name].values if keep_values else None,
        )
        for name, statistics in propagate(graph, filled).items()
    }
