"""Integer inputs that make kernels show their mistakes, and golden vectors."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dfqgen.fixedpoint.program import Program, QTensor
from dfqgen.fixedpoint.qtype import Array

KINDS = ("random", "all-min", "all-max", "checkerboard", "ramp")


def make_input(tensor: QTensor, kind: str, seed: int = 0) -> Array:
    """One array of the tensor's shape and type; `kind` is one of KINDS. Deterministic."""
    dtype = tensor.qtype.dtype
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


def make_inputs(program: Program, kind: str, seed: int = 0) -> dict[str, Array]:
    """An input of this kind for every program input, by tensor."""
    return {port.tensor: make_input(program.tensors[port.tensor], kind, seed) for port in program.inputs}


@dataclass(frozen=True, slots=True, eq=False)
class GoldenVector:
    """Inputs and the exact outputs they must give, by tensor."""

    inputs: dict[str, Array]
    outputs: dict[str, Array]


def golden_vectors(program: Program, count: int = 2) -> tuple[GoldenVector, ...]:
    """Random inputs and what the interpreter says of them."""
    return tuple(golden_vector(program, make_inputs(program, "random", seed)) for seed in range(count))


def golden_vector(program: Program, inputs: dict[str, Array]) -> GoldenVector:
    """These inputs with the interpreter's outputs."""
    return GoldenVector(inputs, program.run(inputs))


def verification_inputs(program: Program, random: int = 2) -> Iterator[tuple[str, dict[str, Array]]]:
    """(name, inputs) of every kind; `random` of them random."""
    for seed in range(random):
        yield f"random {seed}", make_inputs(program, "random", seed + 1000)
    for kind in KINDS[1:]:
        yield kind, make_inputs(program, kind)
