"""The data-free passes in their order: a float graph ready to be quantized, and its statistics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from dfqgen.errors import UserError
from dfqgen.graph.ir import Array, Graph
from dfqgen.graph.steps import with_states
from dfqgen.passes.contract import Note, apply_passes
from dfqgen.passes.data_free import data_free_passes
from dfqgen.quantization.stated import fully_stated
from dfqgen.recipe.records import PassesRecipe, StatisticsRecipe
from dfqgen.samples.made import NetworkSamples
from dfqgen.samples.meaning import InputMeaning
from dfqgen.statistics.channel import ChannelStatistics
from dfqgen.statistics.from_data import measure
from dfqgen.statistics.procedural import is_image, procedural_samples
from dfqgen.statistics.propagate import Statistics, propagate
from dfqgen.statistics.reactions import Reaction, measure_reactions

PROCEDURAL_SAMPLES = 8
PROCEDURAL_STEPS = 64
"""Of a sequence: states have settled well before."""
PROCEDURAL_ELEMENTS = 1 << 30
"""Of all tensors and samples together: half a minute. A segmentation network of 513x513 stays below."""
PROBED_SAMPLES = 2
PROBED_ELEMENTS = 1 << 26
"""Of all tensors and samples together: what the backward pass holds at once."""
FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A float graph with the function of the model, statistics of all its tensors, and what was done.

    Inner tensors of the program are compared with this graph's: equalization changed the model's own.
    `reactions` are the outputs' to errors in each tensor; none where statistics are in closed form, or of
    real samples.
    """

    graph: Graph
    statistics: Mapping[str, ChannelStatistics]
    notes: tuple[Note, ...]
    reactions: Mapping[str, Reaction] = field(default_factory=dict)


def prepare(
    graph: Graph,
    meanings: Mapping[str, InputMeaning],
    passes: PassesRecipe,
    statistics: StatisticsRecipe,
    given: NetworkSamples | None = None,
) -> Prepared:
    """Rewrite the graph (Nagel et al. 2019) and find the statistics of all its tensors; weights stay float.

    `meanings` says by port name what each input means. Real samples given replace all statistics by measured
    ones: level 2. Others replace procedural samples only: no class is certain on them, so extremes, above all
    of scores, fall short of real ones.
    """
    rewritten = rewrite(graph, meanings, passes)
    graph, known, notes = rewritten.graph, rewritten.known, list(rewritten.notes)
    if given is not None and given.real:
        notes.append(Note("statistics", f"measured on {given.count} {given.description}"))
        found = measure(graph, given.values)
        check_finite(graph, found)
        return Prepared(graph, found, tuple(notes))
    if given is None and fully_stated(graph):
        notes.append(Note("statistics", "none needed: the model states all types"))
        return Prepared(graph, propagate(graph, known), tuple(notes))
    made: Mapping[str, Array] = {}
    if given is not None:
        made = given.values
        known = with_measured_states(graph, known, made)
        found = sampled_statistics(graph, known, made, keep_values=True)
        effect = f"batch normalization's, else of {given.count} {given.description}; theirs are all extremes"
    elif statistics.source == "analytic":
        found = propagate(graph, known)
        effect = "batch normalization's, propagated where there is none"
    else:
        made = procedural_inputs(graph, known)
        found = sampled_statistics(graph, with_measured_states(graph, known, made), made)
        count = len(next(iter(made.values())))
        effect = f"batch normalization's, else of {count} procedural samples"
    check_finite(graph, found)
    return Prepared(graph, found, (*notes, Note("statistics", effect)), probe(graph, made))


def probe(graph: Graph, samples: Mapping[str, Array]) -> dict[str, Reaction]:
    """The outputs' reaction to every tensor at some of the samples, as many as memory allows."""
    if not samples:
        return {}
    elements = sum(math.prod(shape) for shape in graph.shapes.values())
    count = max(1, min(PROBED_SAMPLES, PROBED_ELEMENTS // elements))
    return measure_reactions(graph, {name: value[:count] for name, value in samples.items()})


@dataclass(frozen=True, slots=True, eq=False)
class Rewritten:
    """A graph after the passes, and the statistics that they know: of inputs and of batch normalization."""

    graph: Graph
    known: Mapping[str, ChannelStatistics]
    notes: tuple[Note, ...]


def rewrite(graph: Graph, meanings: Mapping[str, InputMeaning], passes: PassesRecipe) -> Rewritten:
    """Fold, equalize and absorb, as `passes` says."""
    stated = {
        port.tensor: meanings[port.name].statistics(port.shape[-1], image=is_image(port.shape))
        for port in graph.fed
    } | {before.tensor: unknown_state(before.shape[-1]) for before, _ in graph.kept}
    steps = data_free_passes(
        fold_dead=passes.fold_dead,
        equalization=passes.equalize,
        relu6_replaced=passes.relu6 == "replace",
        bias_absorbed=passes.absorb_bias,
    )
    return Rewritten(*apply_passes(steps, graph, stated))


def unknown_state(channels: int) -> ChannelStatistics:
    """Of a state before anything ran."""
    return ChannelStatistics.normal(np.zeros(channels), np.ones(channels))


def with_measured_states(
    graph: Graph, known: Statistics, samples: Mapping[str, Array]
) -> dict[str, ChannelStatistics]:
    """`known` with the moments of each state on samples, beyond which it may grow."""
    found = dict(known)
    for before, _ in graph.kept:
        rows = samples[before.tensor].reshape(-1, before.shape[-1])
        found[before.tensor] = ChannelStatistics.normal(rows.mean(axis=0), rows.std(axis=0))
    return found


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
    """A few samples of every input; fewer of networks whose images are huge. Steps of one sequence, more of
    them, where the network has states.
    """
    elements = sum(math.prod(shape) for shape in graph.shapes.values())
    wanted = PROCEDURAL_STEPS if graph.states else PROCEDURAL_SAMPLES
    count = max(1, min(wanted, PROCEDURAL_ELEMENTS // elements))
    return with_states(graph, procedural_samples(graph, known, count))


def sampled_statistics(
    graph: Graph, known: Statistics, samples: Mapping[str, Array], *, keep_values: bool = False
) -> dict[str, ChannelStatistics]:
    """`known` statistics propagated, with what samples show in place of what nobody knows.

    A `measured` operator without known statistics gets the moments its output has on the samples. Every
    tensor's `seen` values are the samples' extremes; `keep_values` keeps samples' values too, for ranges by
    them.
    """
    measured = measure(graph, samples)
    filled = dict(known)
    for node in graph.nodes:
        if node.op.measured and node.output not in known:
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
