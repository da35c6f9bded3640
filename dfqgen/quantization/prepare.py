"""The data-free passes in their order: a float graph ready to be quantized, and its statistics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from dfqgen.errors import UserError
from dfqgen.graph.ir import Array, Graph
from dfqgen.graph.steps import with_states
from dfqgen.passes.absorb_high_bias import absorb_high_bias
from dfqgen.passes.contract import Note, apply_passes
from dfqgen.passes.data_free import data_free_passes
from dfqgen.progress import Progress, silent
from dfqgen.quantization.equalization import equalize_by_noise
from dfqgen.quantization.prepared import Prepared
from dfqgen.quantization.simulated import with_tried_caution
from dfqgen.quantization.stated import fully_stated
from dfqgen.quantization.trial import Noise, Trial, made_trial
from dfqgen.recipe.records import PassesRecipe, StatisticsRecipe, WeightsRecipe
from dfqgen.samples.made import NetworkSamples
from dfqgen.samples.meaning import InputMeaning
from dfqgen.statistics.channel import ChannelStatistics
from dfqgen.statistics.from_data import measure
from dfqgen.statistics.procedural import is_image, procedural_samples
from dfqgen.statistics.propagate import Statistics, propagate
from dfqgen.statistics.reactions import PROBES, Reaction, measure_reactions
from dfqgen.statistics.silence import resting_outputs

PROCEDURAL_SAMPLES = 8
PROCEDURAL_STEPS = 64
"""Of a sequence: states have settled well before."""
PROCEDURAL_ELEMENTS = 1 << 30
"""Of all tensors and samples together: half a minute. A segmentation network of 513x513 stays below."""
PROBED_SAMPLES = 2
PROBED_REAL_SAMPLES = 16
PROBED_ELEMENTS = 1 << 26
"""Of all tensors and samples together: what the backward pass holds at once. Below the next, all samples."""
CHEAP_ELEMENTS = 1 << 22
MOST_PROBES = 16
"""Where they are cheap, as many together; which range is best then hardly depends on their signs."""
FLOAT32_MAX = float(np.finfo(np.float32).max)


def prepare(
    graph: Graph,
    meanings: Mapping[str, InputMeaning],
    passes: PassesRecipe,
    statistics: StatisticsRecipe,
    weights: WeightsRecipe,
    given: NetworkSamples | None = None,
    progress: Progress = silent,
) -> Prepared:
    """Rewrite the graph (Nagel et al. 2019) and find the statistics of all its tensors; weights stay float.

    `meanings` says by port name what each input means. Real samples given replace all statistics by measured
    ones: level 2. Others replace procedural samples only: no class is certain on them, so extremes, above all
    of scores, fall short of real ones.
    """
    rewritten = rewrite(graph, meanings, passes, statistics, weights, progress)
    graph, known, notes = rewritten.graph, rewritten.known, rewritten.notes
    if given is not None and given.real:
        found = measure(graph, given.values)
        check_finite(graph, found)
        effect = f"measured on {given.count} {given.description}"
        spread = np.linspace(0, given.count - 1, min(PROBED_REAL_SAMPLES, given.count)).round().astype(int)
        chosen = {name: value[spread] for name, value in given.values.items()}
        reactions = probe(graph, chosen, PROBED_REAL_SAMPLES)
        prepared = Prepared(graph, found, (*notes, Note("statistics", effect)), reactions, real=True)
        return with_tried_caution(prepared, given.values)
    if given is None and fully_stated(graph):
        note = Note("statistics", "none needed: the model states all types")
        return Prepared(graph, propagate(graph, known), (*notes, note))
    if given is not None:
        known = with_measured_states(graph, known, given.values)
        found = sampled_statistics(graph, known, given.values, keep_values=True)
        check_finite(graph, found)
        effect = f"batch normalization's, else of {given.count} {given.description}; theirs are all extremes"
        return Prepared(graph, found, (*notes, Note("statistics", effect)), probe(graph, given.values))
    if statistics.source == "analytic":
        found = propagate(graph, known)
        check_finite(graph, found)
        effect = "batch normalization's, propagated where there is none"
        return Prepared(graph, found, (*notes, Note("statistics", effect)))
    return rewritten.sampled or sampled(graph, known, procedural_inputs(graph, known), notes)


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """Procedural samples [N, ...] by input tensor; see `Prepared` for `written` and `resting`."""

    values: Mapping[str, Array]
    written: bool = False
    resting: frozenset[str] = frozenset()

    @property
    def count(self) -> int:
        return len(next(iter(self.values.values())))


def sampled(graph: Graph, known: Statistics, made: Made, notes: tuple[Note, ...]) -> Prepared:
    """With batch normalization's statistics, and what procedural samples show."""
    found = sampled_statistics(graph, with_measured_states(graph, known, made.values), made.values)
    check_finite(graph, found)
    written = " with writing, without which outputs rest" if made.written else ""
    effect = f"batch normalization's, else of {made.count} procedural samples{written}"
    notes = (*notes, Note("statistics", effect))
    reactions = probe(graph, made.values)
    return Prepared(graph, found, notes, reactions, written=made.written, resting=made.resting)


def probe(graph: Graph, samples: Mapping[str, Array], most: int = PROBED_SAMPLES) -> dict[str, Reaction]:
    """The outputs' reaction to every tensor at some of the samples, as many as memory allows."""
    elements = sum(math.prod(shape) for shape in graph.shapes.values())
    count = max(1, min(most, PROBED_ELEMENTS // elements), CHEAP_ELEMENTS // elements)
    probes = min(MOST_PROBES, max(PROBES, PROBED_ELEMENTS // (elements * count)))
    chosen = {name: value[:count] for name, value in samples.items()}
    return measure_reactions(graph, chosen, probes=probes)


@dataclass(frozen=True, slots=True, eq=False)
class Rewritten:
    """A graph after the passes, and the statistics that they know: of inputs and of batch normalization.

    `sampled` is the graph with procedural samples' statistics, where they were looked at.
    """

    graph: Graph
    known: Mapping[str, ChannelStatistics]
    notes: tuple[Note, ...]
    sampled: Prepared | None = None


def rewrite(
    graph: Graph,
    meanings: Mapping[str, InputMeaning],
    passes: PassesRecipe,
    statistics: StatisticsRecipe,
    weights: WeightsRecipe,
    progress: Progress = silent,
) -> Rewritten:
    """Fold, equalize and absorb, as `passes` says.

    Where noise decides on equalization and absorption, it is that on procedural samples, whatever else
    statistics are measured on: so that the model and the recipe are enough to do the same again.
    """
    stated = {
        port.tensor: meanings[port.name].statistics(port.shape[-1], image=is_image(port.shape))
        for port in graph.fed
    } | {before.tensor: unknown_state(before.shape[-1]) for before, _ in graph.kept}
    progress("preparing the graph")
    steps = data_free_passes(
        fold_dead=passes.fold_dead,
        equalization=passes.equalize is True,
        relu6_replaced=passes.relu6 == "replace",
        bias_absorbed=passes.absorb_bias is True,
    )
    loaded = graph
    graph, known, notes = apply_passes(steps, loaded, stated)
    if passes.equalize is not None or statistics.source == "analytic" or fully_stated(graph):
        return Rewritten(graph, known, notes)
    progress("making procedural samples")
    made = procedural_inputs(graph, known)
    trial = made_trial(loaded, graph, known, weights, written=made.written)
    progress("measuring how the outputs react to errors in each tensor")
    first = sampled(graph, known, made, notes)
    best = Version(known, first, Noise(trial, first))
    if passes.absorb_bias is None:
        progress("comparing the network with high biases absorbed")
        best = less_noise("high-bias absorption", absorbed(best), best, made, trial)
    progress("comparing the network with channels equalized")
    equalized = equalize_by_noise(best.prepared, best.known, per_tensor=weights.per_tensor)
    best = less_noise("equalization", equalized, best, made, trial)
    return Rewritten(best.prepared.graph, best.known, best.notes, best.prepared)


@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """One way to write the network: what batch normalization and the passes know of it, what procedural
    samples show, and what 8 bits do to it.
    """

    known: Statistics
    prepared: Prepared
    noise: Noise

    @property
    def notes(self) -> tuple[Note, ...]:
        """On how it came to be: all but the last, which is on statistics."""
        return self.prepared.notes[:-1]


def absorbed(version: Version) -> tuple[Graph, Statistics] | None:
    """Without biases that a ReLU never clips; None where there are none."""
    graph = version.prepared.graph
    found = absorb_high_bias(graph, version.prepared.statistics)
    if found.graph is graph:
        return None
    return found.graph, {name: found.known[name] for name in version.known}


def less_noise(
    step: str,
    other: tuple[Graph, Statistics] | None,
    best: Version,
    made: Made,
    trial: Trial,
) -> Version:
    """The other graph, with its known statistics, where `trial` finds less noise in it, else `best`."""
    if other is None:
        return best
    graph, known = other
    found = sampled(graph, known, made, best.notes)
    noise = Noise(trial, found)
    if not noise.below(best.noise):
        return best
    predicted, simulated = noise.gain(best.noise)
    note = Note(step, f"lowers the noise by {predicted:.1f} dB predicted, {simulated:.1f} dB simulated")
    return Version(known, replace(found, notes=(*best.notes, note, found.notes[-1])), noise)


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


def procedural_inputs(graph: Graph, known: Statistics) -> Made:
    """A few samples of every input; fewer of networks whose images are huge. Steps of one sequence, more of
    them, where the network has states. Images are written on where that moves outputs that rest.
    """
    elements = sum(math.prod(shape) for shape in graph.shapes.values())
    wanted = PROCEDURAL_STEPS if graph.states else PROCEDURAL_SAMPLES
    count = max(1, min(wanted, PROCEDURAL_ELEMENTS // elements))
    plain = with_states(graph, procedural_samples(graph, known, count))
    resting = resting_outputs(graph, plain)
    if resting and any(is_image(port.shape) for port in graph.fed):
        written = with_states(graph, procedural_samples(graph, known, count, written=True))
        left = resting_outputs(graph, written)
        if left < resting:
            return Made(written, True, left)
    return Made(plain, False, resting)


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
