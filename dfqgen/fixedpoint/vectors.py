"""Integer inputs that make kernels show their mistakes, and golden vectors.

A network with states gets sequences: what it does at one step shows at a later one.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dfqgen.fixedpoint.program import Program, QTensor
from dfqgen.fixedpoint.qtype import Array

KINDS = ("random", "all-min", "all-max", "checkerboard", "ramp")
STEPS = 4
"""Of a sequence."""


def make_input(tensor: QTensor, kind: str, seed: int = 0) -> Array:
    """One array of the tensor's shape and type; `kind` is one of KINDS. Deterministic."""
    dtype = tensor.qtype.dtype
    if dtype.real:
        return _reals(tensor, kind, seed)
    if kind == "random":
        # crc32, not hash(): the same on every machine and run.
        rng = np.random.default_rng([seed, zlib.crc32(tensor.name.encode("utf-8", "replace"))])
        values = rng.integers(dtype.minimum, dtype.maximum + 1, tensor.shape)
    elif kind == "all-min":
        values = np.full(tensor.shape, dtype.minimum)
    elif kind == "all-max":
        values = np.full(tensor.shape, dtype.maximum)
    elif kind == "checkerboard":
        parity = np.indices(tensor.shape).sum(axis=0) % 2
        values = np.where(parity == 1, dtype.maximum, dtype.minimum)
    elif kind == "ramp":
        span = dtype.maximum - dtype.minimum + 1
        values = (np.arange(tensor.elements) % span + dtype.minimum).reshape(tensor.shape)
    else:
        raise ValueError(f"no test input is called {kind!r}")
    return values.astype(dtype.carrier)


def _reals(tensor: QTensor, kind: str, seed: int) -> Array:
    """Numbers of all sizes; what scale they are quantized with is not known here."""
    rng = np.random.default_rng([seed, tensor.elements])
    sizes = np.exp2(rng.uniform(-10.0, 10.0, tensor.shape))
    ramp = np.linspace(-4.0, 4.0, tensor.elements).reshape(tensor.shape)
    parity = np.indices(tensor.shape).sum(axis=0) % 2
    values = {
        "random": rng.normal(0.0, 1.0, tensor.shape) * sizes,
        "all-min": np.full(tensor.shape, tensor.qtype.dtype.minimum, np.float64),
        "all-max": np.full(tensor.shape, tensor.qtype.dtype.maximum, np.float64),
        "checkerboard": np.where(parity == 1, 1e6, -1e6),
        "ramp": ramp,
    }
    if kind not in values:
        raise ValueError(f"no test input is called {kind!r}")
    return values[kind].astype(np.float32)


def make_inputs(program: Program, kind: str, seed: int = 0) -> dict[str, Array]:
    """An input of this kind for every program input, by tensor; random ones are of integers that matter."""
    made = {port.tensor: make_input(program.tensors[port.tensor], kind, seed) for port in program.inputs}
    if kind == "random":
        for op in program.ops:
            heard, name = op.heard(), op.inputs[0]
            if heard is not None and name in made:
                lo, hi = heard
                made[name] = (lo + made[name].astype(np.int64) % (hi - lo + 1)).astype(made[name].dtype)
    return made


@dataclass(frozen=True, slots=True, eq=False)
class GoldenVector:
    """Inputs and the exact outputs they must give, by tensor."""

    inputs: dict[str, Array]
    outputs: dict[str, Array]


def golden_vectors(program: Program, count: int = 2) -> tuple[GoldenVector, ...]:
    """Random inputs and what the interpreter says of them, one after the other."""
    count = STEPS if program.states else count
    inputs = _sequence([make_inputs(program, "random", seed) for seed in range(count)])
    steps = program.steps(inputs)
    return tuple(
        GoldenVector({name: value[i : i + 1] for name, value in inputs.items()}, outputs)
        for i, outputs in enumerate(steps)
    )


def verification_inputs(program: Program, random: int = 2) -> Iterator[tuple[str, dict[str, Array]]]:
    """(name, inputs) of every kind; `random` of them random. Of a sequence the first half is of the kind."""
    more = range(STEPS - 1) if program.states else ()
    for seed in range(random):
        first = make_inputs(program, "random", seed + 1000)
        yield f"random {seed}", _sequence([first, *(make_inputs(program, "random", i) for i in more)])
    for kind in KINDS[1:]:
        first = make_inputs(program, kind)
        rest = [first if i < STEPS // 2 - 1 else make_inputs(program, "random", i) for i in more]
        yield kind, _sequence([first, *rest])


def _sequence(steps: list[dict[str, Array]]) -> dict[str, Array]:
    return {name: np.concatenate([step[name] for step in steps]) for name in steps[0]}
