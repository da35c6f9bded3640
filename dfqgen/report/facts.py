"""The facts of a build as one dictionary of plain JSON values: for `--json`, report.html and the tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dfqgen.fixedpoint.program import Program, QTensor
from dfqgen.graph.ir import Graph
from dfqgen.kernels.base import Plan, Step
from dfqgen.passes.contract import Note
from dfqgen.plan.budget import Budget
from dfqgen.plan.estimate import LayerEstimate, seconds
from dfqgen.plan.lifetimes import placed_buffers, scratch_name
from dfqgen.samples.meaning import InputMeaning
from dfqgen.targets import Target
from dfqgen.verify.against_float import FloatComparison
from dfqgen.verify.check import HostCheck
from dfqgen.verify.code_size import CodeSize
from dfqgen.verify.compare import OutputComparison

Facts = dict[str, Any]


def rounded(value: float | None, digits: int) -> float | None:
    """A number for the report; JSON has no infinity: that and what has no meaning are None."""
    return None if value is None or not math.isfinite(value) else round(value, digits)


def target_facts(target: Target, budget: Budget) -> Facts:
    """The target and the limits in force."""
    limit = budget.on(target)
    return {
        "name": target.name,
        "description": target.description,
        "core": target.core,
        "flash_bytes": limit.flash_bytes,
        "ram_bytes": limit.ram_bytes,
    }


def tensor_facts(tensor: QTensor) -> Facts:
    """Shape and integer type of an activation."""
    lo, hi = tensor.qtype.real_range
    return {
        "tensor": tensor.name,
        "shape": list(tensor.shape),
        "type": str(tensor.qtype.dtype),
        "scale": tensor.qtype.scale,
        "zero_point": tensor.qtype.zero_point,
        "range": [rounded(lo, 6), rounded(hi, 6)],
    }


def port_facts(program: Program) -> Facts:
    """Inputs, outputs and states by name, with how their integers map to reals."""
    ports = {"inputs": program.inputs, "outputs": program.outputs}
    return {
        kind: [{"name": port.name} | tensor_facts(program.tensors[port.tensor]) for port in group]
        for kind, group in ports.items()
    } | {
        "states": [
            {"name": state.name} | tensor_facts(program.tensors[state.input]) for state in program.states
        ]
    }


def meaning_facts(meanings: Mapping[str, InputMeaning]) -> list[Facts]:
    """What each input means, and the range that the float network sees."""
    return [
        {
            "input": name,
            "mean": list(meaning.mean),
            "std": list(meaning.std),
            "range": [meaning.lo, meaning.hi],
            "seen": [rounded(value, 6) for value in meaning.seen],
        }
        for name, meaning in meanings.items()
    ]


def memory_facts(program: Program, plan: Plan) -> list[Facts]:
    """Every buffer's place in the arena, and the steps it is alive: -1 is before the first."""
    labels = {scratch_name(i): f"scratch of {step.op.name}" for i, step in enumerate(plan.steps)}
    for segment in plan.segments:
        labels[segment.counters] = "row counters"
        labels |= {
            segment.buffer(name): f"{band.capacity} rows of {name}"
            for name, band in segment.bands.items()
            if not band.whole and band.over is None
        }
    rows = []
    for life, offset in placed_buffers(program, plan):
        place = {"buffer": labels.get(life.buffer, life.buffer), "offset": offset, "bytes": life.size_bytes}
        rows.append(place | {"first": life.first, "last": life.last})
    return sorted(rows, key=lambda row: (row["first"], row["offset"]))


def size_facts(program: Program, plan: Plan, code: CodeSize | None) -> Facts:
    """Flash and RAM. `code` is what the target's compiler made of it, None where that was not asked."""
    code_bytes = None if code is None else code.code_bytes
    constants = plan.array_bytes
    return {
        "weight_bytes": constants,
        "speed_bytes": sum(_spent_bytes(step) for step in plan.steps),
        "code_bytes": code_bytes,
        "flash_bytes": constants + (code_bytes or 0),
        "stack_bytes": None if code is None else code.stack_bytes,
        "arena_bytes": plan.arena_bytes,
        "arena_lower_bound_bytes": plan.lower_bound_bytes,
        "macs": program.macs,
    }


def _spent_bytes(step: Step) -> int:
    """Flash that a kernel spends for speed, beyond the layer's weights."""
    if not step.kernel.spends_flash:
        return 0
    return step.kernel.flash_bytes(step.op, step.inputs, step.output) - step.op.weight_bytes


def check_facts(check: HostCheck) -> Facts:
    """Whether the C is the program, bit for bit; None where nothing could be checked."""
    return {
        "bit_exact": None if check.network is None else True,
        "inputs": list(check.report.inputs),
        "values": check.report.values,
        "compiler": check.compiler,
        "summary": check.summary,
    }


def comparison_facts(comparison: FloatComparison) -> Facts:
    """Integers against the float network, per output."""
    return {
        "source": comparison.source,
        "integers_by": comparison.integers_by,
        "outputs": output_comparison_facts(comparison.outputs),
    }


def time_facts(layers: Sequence[LayerEstimate], target: Target) -> Facts | None:
    """How long one inference takes by the cost table; None where a core has none (the host)."""
    if not target.costs.speed:
        return None
    instructions = sum(layer.instructions for layer in layers)
    return {
        "instructions": instructions,
        "cycles_per_instruction": target.cycles_per_instruction,
        "wait_cycles_per_instruction": target.wait_cycles_per_instruction,
        "clock_hz": target.clock_hz,
        "seconds": seconds(instructions, target),
    }


def estimate_facts(layers: Sequence[LayerEstimate], target: Target, optimize: str) -> Facts:
    """Instructions that nobody has counted yet."""
    return {
        "target": target.name,
        "optimize": optimize,
        "macs": sum(layer.macs for layer in layers),
        "instructions": sum(layer.instructions for layer in layers),
        "layers": [
            {
                "layer": layer.op.name,
                "operator": type(layer.op).__name__.removeprefix("Q"),
                "kernel": layer.kernel,
                "macs": layer.macs,
                "instructions": layer.instructions,
                "measured": layer.measured,
            }
            for layer in layers
        ],
    }


def graph_facts(graph: Graph) -> Facts:
    """Ports and nodes of a float graph."""

    def port(name: str, tensor: str) -> Facts:
        return {"name": name, "tensor": tensor, "shape": list(graph.shapes[tensor])}

    return {
        "name": graph.name,
        "inputs": [port(p.name, p.tensor) for p in graph.inputs],
        "outputs": [port(p.name, p.tensor) for p in graph.outputs],
        "states": [{"input": state.input, "output": state.output} for state in graph.states],
        "nodes": [
            {
                "name": node.name,
                "operator": type(node.op).__name__,
                "inputs": list(node.inputs),
                "output": node.output,
                "shape": list(graph.shapes[node.output]),
            }
            for node in graph.nodes
        ],
    }


def output_comparison_facts(outputs: Iterable[OutputComparison]) -> list[Facts]:
    """Per output."""
    return [
        {
            "name": output.name,
            "samples": output.samples,
            "sqnr_db": rounded(output.sqnr_db, 2),
            "max_error": rounded(output.max_error, 6),
            "undefined": output.undefined,
            "top1_agreement": rounded(output.top1_agreement, 4),
            "same_step": rounded(output.same_step, 5),
            "within_step": rounded(output.within_step, 5),
            "float_accuracy": rounded(output.float_accuracy, 4),
            "accuracy": rounded(output.accuracy, 4),
            "equal": rounded(output.equal, 4),
        }
        for output in outputs
    ]


def note_facts(notes: Iterable[Note]) -> list[Facts]:
    """The steps of data-free quantization and what each did."""
    return [{"step": note.step, "effect": note.effect} for note in notes]


def largest(layers: Sequence[Mapping[str, Any]], key: str, count: int = 3) -> list[str]:
    """The layers with most of something, in words, for messages."""
    ranked = sorted(layers, key=lambda layer: -int(layer[key]))[:count]
    return [f"{layer['layer']!r} {layer[key]:,}" for layer in ranked if layer[key]]
