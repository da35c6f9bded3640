"""Whether a network is close enough to the float network, and where it is not, which layer loses it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan

from dfqgen.fixedpoint.program import Program
from dfqgen.quantization.noise import LEAST_SQNR_DB
from dfqgen.verify.compare import LayerComparison, OutputComparison

# Chosen by eye against the rows of docs/accuracy.md.
LEAST_AGREEMENT = 0.9
# What enters a layer may be cleaner than this; a loss from there is none.
CLEAN_DB = 40.0


@dataclass(frozen=True, slots=True)
class Loss:
    """The layer behind which an output is most worse than before it, in dB."""

    layer: str
    before_db: float
    after_db: float


def shortfall(output: OutputComparison, least_sqnr_db: float = LEAST_SQNR_DB) -> str | None:
    """What is wrong with an output, in words; None where it is close enough to the float network's.

    Indices are judged by equal ones, masks by their overlap; an output without signal, at rest, or infinite
    in float, is not judged.
    """
    if output.equal is not None:
        return (
            None if output.equal >= LEAST_AGREEMENT else f"only {100 * output.equal:.0f} % of indices equal"
        )
    if output.mean_iou is not None:
        return None if output.mean_iou >= LEAST_AGREEMENT else f"a mean IoU of {output.mean_iou:.2f}"
    judged = not isnan(output.sqnr_db) and not output.rests
    if judged and float("-inf") < output.sqnr_db < least_sqnr_db:
        return f"{output.sqnr_db:.1f} dB"
    agreement = output.top1_agreement if output.accuracy is not None else None
    if agreement is not None and agreement < LEAST_AGREEMENT:
        return f"the same class in only {100 * agreement:.0f} % of samples"
    return None


def says_nothing(output: OutputComparison, least_sqnr_db: float = LEAST_SQNR_DB) -> bool:
    """Whether an output would be called bad on samples on which it rests."""
    return output.rests and output.sqnr_db < least_sqnr_db


def largest_loss(program: Program, output: str, layers: Sequence[LayerComparison]) -> Loss | None:
    """The first layer on the way to the tensor `output` that loses most; None where nothing was compared."""
    measured = {layer.tensor: min(layer.sqnr_db, CLEAN_DB) for layer in layers if not isnan(layer.sqnr_db)}
    needed = _ancestors(program, output)
    reaches: dict[str, float] = {}
    worst: Loss | None = None
    for op in program.ops:
        before = min((reaches.get(name, CLEAN_DB) for name in op.inputs), default=CLEAN_DB)
        after = measured.get(op.output, before)
        reaches[op.output] = after
        if op.output not in needed or op.output not in measured:
            continue
        if worst is None or before - after > worst.before_db - worst.after_db:
            worst = Loss(op.name, before, after)
    return worst


def noise_added(program: Program, layers: Sequence[LayerComparison]) -> dict[str, float]:
    """By output tensor, how much its noise-to-signal ratio exceeds that of the layer's worst input.

    A network's inputs count as clean. Layers that were not compared hand on what they get.
    """
    judged = [layer for layer in layers if layer.sqnr_db > float("-inf")]  # neither NaN nor without signal
    measured = {layer.tensor: 10.0 ** (-layer.sqnr_db / 10.0) for layer in judged}
    reaches: dict[str, float] = {}
    added = {}
    for op in program.ops:
        before = max((reaches.get(name, 0.0) for name in op.inputs), default=0.0)
        reaches[op.output] = after = measured.get(op.output, before)
        if op.output in measured:
            added[op.output] = max(after - before, 0.0)
    return added


def _ancestors(program: Program, tensor: str) -> set[str]:
    """The tensors that one depends on, itself among them."""
    writers: Mapping[str, tuple[str, ...]] = {op.output: op.inputs for op in program.ops}
    found, rest = {tensor}, [tensor]
    while rest:
        new = set(writers.get(rest.pop(), ())) - found
        found |= new
        rest += new
    return found
