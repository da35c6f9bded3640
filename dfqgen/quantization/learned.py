"""Weights and biases made on samples: AdaRound, or empirical bias correction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from dfqgen.errors import UserError
from dfqgen.fixedpoint.program import Program
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.graph.ir import Array
from dfqgen.graph.site import QuantizedWeight
from dfqgen.passes.contract import Note
from dfqgen.quantization.bias_from_samples import correct_bias_on_samples
from dfqgen.quantization.mixed import LowBitQuantizer
from dfqgen.quantization.mixed_program import allocate
from dfqgen.quantization.options import QuantizeOptions
from dfqgen.quantization.prepare import Prepared
from dfqgen.quantization.quantize import quantize_graph

Progress = Callable[[str], None]


def learned_program(
    prepared: Prepared,
    options: QuantizeOptions,
    samples: Mapping[str, Array],
    description: str,
    progress: Progress = lambda stage: None,
) -> tuple[Prepared, Program]:
    """The program whose rounding (`options.rounding` "adaround") or biases are made on `samples`.

    `samples` are [N, ...] by input tensor as the float network sees them, `description` says what they
    are. Also gives `prepared` with notes of what was done. Raises UserError, for AdaRound without torch too.
    """
    low = options.mixes
    if options.rounding == "feedback" or (options.rounding == "auto" and low):
        raise UserError(
            "empirical bias correction does not go with feedback rounding, which sees to the bias itself",
            "Choose --rounding nearest, squant or adaround.",
        )
    plain = replace(options, rounding="nearest" if options.rounding != "squant" else "squant")
    bits: Mapping[str, IntType] = {}
    notes: list[Note] = []
    if low:
        progress("choosing bits")
        full = quantize_graph(prepared, plain)
        allocation, notes = allocate(LowBitQuantizer(prepared, plain), full.weight_bytes)
        bits = allocation.bits
        notes.append(Note("weights of few bits", allocation.counts_text(prepared.graph)))
    if options.rounding == "adaround":
        corrected, weights, note = _adaround(prepared, plain, samples, description, bits, progress)
    else:
        progress("correcting biases on samples")
        corrected, weights = correct_bias_on_samples(prepared, plain, samples, bits=bits)
        count = len(next(iter(samples.values())))
        note = Note("bias correction", f"channel means compared on {count} {description}")
    program = quantize_graph(corrected, plain, bits=bits, weights=weights)
    return replace(prepared, notes=(*prepared.notes, *notes, note)), program


def _adaround(
    prepared: Prepared,
    options: QuantizeOptions,
    samples: Mapping[str, Array],
    description: str,
    bits: Mapping[str, IntType],
    progress: Progress,
) -> tuple[Prepared, Mapping[str, QuantizedWeight], Note]:
    # Here, not above: torch is an extra.
    from dfqgen.synthesis import AdaRound, adaround

    settings = AdaRound(iterations=options.adaround_iterations, seed=options.seed)
    result = adaround(
        prepared,
        options,
        samples,
        settings,
        bits=bits,
        progress=lambda done, total, layer: progress(f"AdaRound: {done} of {total} layers"),
    )
    # Decibels of the geometric means: layers' own errors differ by orders of magnitude.
    errors = np.array([(layer.nearest, layer.learned) for layer in result.layers])
    nearest, learned = -10.0 * np.log10(np.maximum(errors, 1e-12)).mean(axis=0)
    count = len(next(iter(samples.values())))
    effect = f"{len(errors)} layers on {count} {description}: their outputs {nearest:.1f} -> {learned:.1f} dB"
    return result.prepared, result.weights, Note("AdaRound", effect)
