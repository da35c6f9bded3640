"""Bits chosen, layers quantized, errors compensated: a prepared graph as a program of mixed precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from dfqgen.errors import UserError
from dfqgen.fixedpoint.program import Program
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.graph.ir import Graph
from dfqgen.ops.conv import Conv2D
from dfqgen.passes.contract import Note
from dfqgen.quantization.allocate import (
    Allocation,
    Knapsack,
    Sensitivity,
    candidates,
    convolutions,
    mapped_bits,
    parse_pattern,
    pattern_bits,
)
from dfqgen.quantization.mixed import LowBitQuantizer, Mixed
from dfqgen.quantization.options import QuantizeOptions
from dfqgen.quantization.prepare import Prepared
from dfqgen.quantization.quantize import quantize_graph

Progress = Callable[[str], None]


def mixed_program(
    prepared: Prepared, options: QuantizeOptions, progress: Progress = lambda stage: None
) -> tuple[Prepared, Program]:
    """The program with the bits that `options` ask for, and `prepared` with notes of what was done.

    Raises UserError where the wishes contradict each other or cannot be met.
    """
    quantizer = LowBitQuantizer(prepared, options)
    plain = replace(options, rounding="nearest")
    full = quantize_graph(prepared, plain)
    progress("choosing bits")
    allocation, notes = allocate(quantizer, full.weight_bytes)
    progress("quantizing to few bits")
    mixed = quantizer.quantize(allocation.bits)
    program = quantize_graph(mixed.prepared, plain, bits=allocation.bits, weights=mixed.weights)
    notes += [
        _bits_note(prepared.graph, allocation, full, program),
        *compensation_notes(quantizer, mixed),
        *effect_notes(quantizer, allocation.bits, mixed),
    ]
    return replace(prepared, notes=(*prepared.notes, *notes)), program


def allocate(quantizer: LowBitQuantizer, full_bytes: int) -> tuple[Allocation, list[Note]]:
    """Bits by layer as the options say; `full_bytes` are all constants with 8-bit weights."""
    options, graph = quantizer.options, quantizer.graph
    if sum(wish is not None for wish in options.allocation_wishes) > 1:
        raise UserError(
            "bits, a flash budget and a target SQNR are three ways to say one thing", "Give one of them."
        )
    fixed = mapped_bits(graph, options.bits_map)
    if options.bits is not None:
        pattern = parse_pattern(options.bits)
        bits, left = pattern_bits(graph, pattern, ends=options.low_ends)
        notes = [] if not left else [Note("pairs", f"no pair takes {', '.join(left)}: 8 bits")]
        return Allocation(bits | fixed), notes
    if all(wish is None for wish in options.allocation_wishes):
        return Allocation(fixed), []
    sensitivity = Sensitivity(quantizer)
    free = [node for node in candidates(graph, ends=options.low_ends) if node.output not in fixed]
    if not free:
        raise UserError("there is no layer left to choose bits for", "Allow the ends with --low-ends.")
    choices = {node.output: sensitivity.choices(node) for node in free}
    given = {
        node.output: sensitivity.choices(node, (fixed.get(node.output, IntType.INT8),))
        for node in convolutions(graph)
        if node.output not in choices
    }
    constant = full_bytes - sum(
        node.op.weight.size for node in convolutions(graph) if isinstance(node.op, Conv2D)
    )
    knapsack = Knapsack({**choices, **given})
    if options.target_sqnr_db is not None:
        bits = knapsack.below(10.0 ** (-options.target_sqnr_db / 10.0))
    else:
        budget = options.flash_budget_bytes
        if budget is None:
            assert options.flash_budget_ratio is not None
            budget = int(full_bytes * options.flash_budget_ratio)
        if budget < constant + knapsack.smallest:
            raise UserError(
                f"the constants do not fit {budget:,} bytes even with the narrowest weights",
                hint=f"Give them {constant + knapsack.smallest:,} bytes or more: biases and factors take "
                f"{constant:,}, the weights {knapsack.smallest:,}.",
            )
        bits = knapsack.within(budget - constant)
    return Allocation(bits, knapsack.sqnr_db(bits)), []


def _bits_note(graph: Graph, allocation: Allocation, full: Program, program: Program) -> Note:
    text = f"{allocation.counts_text(graph)}; {full.weight_bytes:,} -> {program.weight_bytes:,} bytes"
    if allocation.predicted_sqnr_db is not None:
        text += f"; predicted SQNR of the weights {allocation.predicted_sqnr_db:.1f} dB"
    return Note("weights of few bits", text)


def compensation_notes(quantizer: LowBitQuantizer, mixed: Mixed) -> list[Note]:
    """How many layers were compensated, and which could not be."""
    if quantizer.compensation is None:
        return []
    notes = []
    if mixed.factors:
        values = np.concatenate(list(mixed.factors.values()))
        low, high = np.quantile(values, (0.01, 0.99))
        notes.append(
            Note("compensation", f"{len(mixed.factors)} pairs, factors from {low:.2f} to {high:.2f}")
        )
    if mixed.uncompensated:
        names = ", ".join(mixed.uncompensated)
        notes.append(Note("not compensated", f"read by several or by none of their own: {names}"))
    return notes


def effect_notes(quantizer: LowBitQuantizer, bits: Mapping[str, IntType], mixed: Mixed) -> list[Note]:
    """Output SQNR on the procedural samples, weights alone quantized, with one method after the other.

    `mixed` is what all methods together gave.
    """
    options = quantizer.options
    nothing = replace(options, rounding="nearest", compensate="none", correct_bias=False)
    steps = [("rounded to nearest", nothing)]
    if options.correct_bias:
        steps.append(("+ bias correction", replace(nothing, correct_bias=True)))
    if options.rounding != "nearest":
        rounding = "feedback" if options.rounding == "auto" else options.rounding
        steps.append((f"+ {rounding} rounding", replace(options, compensate="none")))
    if options.compensate != "none":
        steps.append(("+ compensation", options))
    found = []
    sensitivity = Sensitivity(quantizer)
    for name, chosen in steps:
        result = mixed if chosen == options else quantizer.with_options(chosen).quantize(bits)
        noise = sensitivity.noise_of(result.float_graph())
        found.append(f"{name} {-10.0 * np.log10(max(noise, 1e-30)):.1f} dB")
    return [Note("what each adds", ", ".join(found))]
