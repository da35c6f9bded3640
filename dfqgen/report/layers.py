"""The facts of each layer: its cost, its distance from float, and how its numbers lie in their ranges."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

import numpy as np

from dfqgen.fixedpoint.program import Program, QOp
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.graph.ir import Graph
from dfqgen.kernels.base import Plan
from dfqgen.ops.conv import Conv2D
from dfqgen.plan.estimate import LayerEstimate, seconds
from dfqgen.plan.lifetimes import lifetimes
from dfqgen.plan.workload import planned_workload
from dfqgen.report.facts import Facts, rounded, tensor_facts
from dfqgen.targets import Target
from dfqgen.verify.compare import LayerComparison
from dfqgen.verify.judge import noise_added
from dfqgen.verify.spread import BINS, Spread


def layer_facts(program: Program, plan: Plan, comparison: Sequence[LayerComparison] = ()) -> list[Facts]:
    """One entry an operator that runs, in the order of the schedule.

    What was compared has `sqnr_db` and `max_error`; `noise_share` is the layer's part of the sum of
    `noise_added` over all of them, `activations` how its values lie in the range of their type.
    """
    compared = {layer.tensor: layer for layer in comparison}
    added = noise_added(program, comparison)
    whole = sum(added.values())
    workload, order = planned_workload(program, plan)
    alive = lifetimes(workload, order)
    rows = []
    for index, step in enumerate(plan.steps):
        code = step.code
        row = {
            "layer": step.op.name,
            "operator": type(step.op).__name__.removeprefix("Q"),
            "kernel": code.function,
            "title": code.title,
            "input_shapes": [list(tensor.shape) for tensor in step.inputs],
            "macs": step.op.macs(step.output),
            "weight_bytes": code.array_bytes,
            "live_bytes": sum(life.size_bytes for life in alive if life.first <= index <= life.last),
            "scratch_bytes": step.scratch_bytes,
            "output": tensor_facts(step.output) | {"offset": step.output_offset},
        }
        if step.output.name in compared:
            layer = compared[step.output.name]
            row |= {
                "sqnr_db": rounded(layer.sqnr_db, 2),
                "max_error": rounded(layer.max_error, 6),
                "noise_share": rounded(added.get(step.output.name, 0.0) / whole, 4) if whole else None,
                "activations": None if layer.spread is None else spread_facts(layer.spread),
            }
        rows.append(row)
    return rows


def spread_facts(spread: Spread) -> Facts:
    """How float values lie in the range of an integer type."""
    return {
        "range": [rounded(spread.lo, 6), rounded(spread.hi, 6)],
        "clipped": rounded(spread.clipped, 6),
        "histogram": list(spread.counts),
    }


def add_times(layers: Sequence[Facts], estimates: Sequence[LayerEstimate], target: Target) -> None:
    """Give every layer its estimated `instructions` and `seconds`; None on the host, which has no prices."""
    known = {layer.op.output: layer.instructions for layer in estimates} if target.costs.speed else {}
    for row in layers:
        count = known.get(row["output"]["tensor"])
        row |= {"instructions": count, "seconds": None if count is None else seconds(count, target)}


def add_weights(layers: Sequence[Facts], program: Program, graph: Graph) -> None:
    """Give every layer `weights`: bits, a histogram of the integers, and of the float ones in `graph` the
    range, and the least and the largest of the channels' largest magnitudes. None where it has no weights.
    """
    floats = {node.name: node.op.weight for node in graph.nodes if isinstance(node.op, Conv2D)}
    operators = {op.output: op for op in program.ops}
    for row in layers:
        op = operators[row["output"]["tensor"]]
        row["weights"] = _weight_facts(op, floats) if op.weights else None


def _weight_facts(op: QOp, floats: Mapping[str, np.ndarray]) -> Facts:
    dtype = op.weights[0][1]
    values = np.concatenate([weight.ravel() for weight, _ in op.weights])
    bins = min(BINS, 1 << dtype.bits)
    counts, _ = np.histogram(values, bins, (dtype.minimum - 0.5, dtype.maximum + 0.5))
    facts: Facts = {"bits": dtype.bits, "histogram": counts.tolist(), "range": None, "channels": None}
    if op.name in floats:
        weight = floats[op.name]
        peaks = np.abs(weight.reshape(len(weight), -1)).max(axis=1)
        facts |= {
            "range": [rounded(float(weight.min()), 6), rounded(float(weight.max()), 6)],
            "channels": [rounded(float(peaks.min()), 6), rounded(float(peaks.max()), 6)],
        }
    return facts


WORST = 3
"""How many layers are marked, and the least part of the noise that is worth a mark."""
LEAST_SHARE = 0.05


def mark_worst(layers: Sequence[Facts], program: Program) -> None:
    """Give every layer a `remedy`: an option worth a try for the few that add most noise, else None."""
    operators = {op.output: op for op in program.ops}
    ranked = sorted(layers, key=lambda row: -(row.get("noise_share") or 0.0))[:WORST]
    for row in layers:
        row["remedy"] = None
    for row in ranked:
        if (row.get("noise_share") or 0.0) >= LEAST_SHARE:
            row["remedy"] = _remedy(row, operators[row["output"]["tensor"]])


def _remedy(row: Facts, op: QOp) -> str | None:
    """More bits for what has few: the weights, else what comes out."""
    name = shlex.quote(row["layer"])
    if op.weights and op.weights[0][1].bits < IntType.INT8.bits:
        return f"--bits-map {name}=8"
    if row["output"]["type"] == str(IntType.INT8) and IntType.INT16 in op.gives:
        return f"--activations-map {name}=int16"
    return None
