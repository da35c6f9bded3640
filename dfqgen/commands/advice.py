"""Warnings for outputs that are far from the float network's: where it is lost, and what was seen to help."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from dfqgen.commands.evaluate import Evaluation, comparison
from dfqgen.compile import Compiled, prepare_again, quantize_again
from dfqgen.errors import DfqgenError, VerificationFailed
from dfqgen.fixedpoint.program import Program
from dfqgen.progress import Progress, silent
from dfqgen.quantization.noise import LEAST_SQNR_DB
from dfqgen.recipe.records import Recipe
from dfqgen.verify.against_float import FloatComparison, choose_samples, compare_layers_with_float
from dfqgen.verify.compare import LayerComparison, OutputComparison, compare_outputs
from dfqgen.verify.judge import largest_loss, says_nothing, shortfall

# A remedy that gains less than half the error's amplitude is not worth a word.
LEAST_GAIN_DB = 6.0


def quality_warnings(
    compiled: Compiled,
    comparison: FloatComparison,
    layers: Sequence[LayerComparison],
    data: Path | None,
    progress: Progress = silent,
) -> tuple[str, ...]:
    """One for each output below `LEAST_SQNR_DB` or its like: the layer that loses it, and the remedies; one
    for each that hardly moves on the samples.

    `layers` may be empty: then they are compared here where it matters.

    Remedies are tried on a few samples before they are named, so this takes a while where a network is bad.
    """
    resting = tuple(_of_resting(comparison, data))
    bad = {output.name: words for output in comparison.outputs if (words := shortfall(output))}
    if not bad:
        return resting
    progress("looking for the layer that loses most")
    graph = compiled.quantized.prepared.graph
    layers = layers or compare_layers_with_float(compiled.network, graph, compiled.program, data)
    remedies = _remedies(compiled, tuple(bad), data, progress)
    tensors = {port.name: port.tensor for port in compiled.program.outputs}
    judged = "" if data is not None else "; random inputs are harder than real ones: judge by --data"
    far = (
        f"output {name!r} is far from the float network's: {words} on {comparison.source}"
        f"{_where(compiled.program, tensors[name], layers)}; {remedies}{judged}"
        for name, words in bad.items()
    )
    return (*far, *resting)


def _of_resting(comparison: FloatComparison, data: Path | None) -> Iterator[str]:
    """Of each output that the samples say nothing of."""
    judged = "judge by real inputs, with --data" if data is None else "give samples that move it"
    for output in filter(says_nothing, comparison.outputs):
        yield (
            f"output {output.name!r} hardly moves on {comparison.source}, by less than a step of 8 bits "
            f"(largest error {output.max_error:.2g}): they do not tell how good it is; {judged}"
        )


def require_sqnr(outputs: Sequence[OutputComparison], least_db: float) -> None:
    """Raise VerificationFailed for outputs below `least_db`."""
    below = [f"{output.name!r} {output.sqnr_db:.1f} dB" for output in outputs if output.sqnr_db < least_db]
    if below:
        raise VerificationFailed(
            f"--min-sqnr {least_db:g}: outputs are farther from the float network's: {', '.join(below)}"
        )


def judge_evaluation(
    evaluation: Evaluation, data: Path, min_sqnr: float | None, progress: Progress = silent
) -> tuple[str, ...]:
    """`quality_warnings` on the samples of a file. Raises VerificationFailed below `min_sqnr` dB."""
    found = comparison(evaluation, f"{evaluation.samples.count} samples of {data.name}")
    if min_sqnr is not None:
        require_sqnr(found.outputs, min_sqnr)
    return quality_warnings(evaluation.compiled, found, (), data, progress)


def _where(program: Program, tensor: str, layers: Sequence[LayerComparison]) -> str:
    loss = largest_loss(program, tensor, layers)
    if loss is None or loss.before_db <= loss.after_db:
        return ""
    return f"; most is lost in layer {loss.layer!r}, from {loss.before_db:.0f} to {loss.after_db:.0f} dB"


def _remedies(compiled: Compiled, names: Sequence[str], data: Path | None, progress: Progress) -> str:
    """What helped when it was tried, in words."""
    samples, _ = choose_samples(compiled.network, compiled.program, data, 0)
    inputs = compiled.network.normalize(samples.raw)
    run_float = compiled.network.runner()

    def least(program: Program) -> float:
        found = compare_outputs(program, run_float, program.play, inputs)
        return min(_decibels(output) for output in found if output.name in names)

    now = least(compiled.program)
    helped = []
    for option, recipe in _candidates(compiled.recipe, data):
        step = f"trying {option}"
        progress(step)

        def within(stage: str, step: str = step) -> None:
            progress(f"{step}: {stage}")

        try:
            prepared = prepare_again(compiled, recipe, within)
            program = quantize_again(compiled, prepared, recipe, within).program
        except DfqgenError:  # int16 may not be possible here, and then it is no remedy
            continue
        within("comparing with the float network")
        reached = least(program)
        if reached - now >= LEAST_GAIN_DB:
            helped.append(f"{option} gives {reached:.0f} dB instead of {now:.0f} on a few of them")
    if helped:
        return " and ".join(helped)
    if compiled.recipe.statistics.source == "data":
        return "neither int16 activations nor equalization helps"
    return "neither int16 activations nor equalization helps; your own samples may, with --calibration-data"


def _decibels(output: OutputComparison) -> float:
    """Indices have none; their share of equal ones puts programs in the same order."""
    return output.sqnr_db if output.equal is None else LEAST_SQNR_DB * output.equal


def _candidates(recipe: Recipe, data: Path | None) -> Iterator[tuple[str, Recipe]]:
    # Where noise decided on the factors, ranges made equal cannot be foretold to have less of it.
    undecided = recipe.passes.equalize is None and recipe.statistics.source == "analytic"
    if recipe.passes.equalize is False or undecided:
        yield "--equalize", replace(recipe, passes=replace(recipe.passes, equalize=True))
    if not recipe.activations.wide and not recipe.low_bits.mixes:
        yield (
            "--activations int16",
            replace(recipe, activations=replace(recipe.activations, activations="int16")),
        )
    if data is not None and recipe.samples.calibration is None and recipe.statistics.source == "auto":
        yield (
            "--calibration-data with these samples",
            replace(
                recipe,
                samples=replace(recipe.samples, calibration=data),
                statistics=replace(recipe.statistics, source="data"),
            ),
        )
