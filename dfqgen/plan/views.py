"""Tensors that are other names for bytes of others: reshapes, and what joins or selects whole runs of bytes.

A concatenation along the outermost axis is its operands one behind the other: they are placed there, and
nothing is copied. Each keeps a lifetime of its own; only their distances are fixed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from dfqgen.fixedpoint.program import Program, QOp, QTensor

WORD_BYTES = 4
"""What kernels may take inputs and outputs to be aligned to."""

Parts = tuple[tuple[str, int], ...]
"""The buffers that hold a tensor's bytes, in their order, and how far behind its first byte each begins,
which is below 0 where it begins before."""


@dataclass(frozen=True, eq=False)
class Views:
    """`parts` of every tensor. Buffers are named after the tensors that are written; each of `ties` has some
    that lie at fixed distances, by the distance from the lowest.
    """

    parts: Mapping[str, Parts]
    ties: tuple[Mapping[str, int], ...]

    @cached_property
    def tied(self) -> frozenset[str]:
        """The buffers that lie at a fixed distance from others."""
        return frozenset(buffer for group in self.ties for buffer in group)


def free_outputs(program: Program) -> frozenset[str]:
    """The outputs of all operators that need not run, as far as no two of them want a buffer elsewhere."""
    layout = _Layout(program)
    return frozenset(op.output for op in program.ops if layout.view(op, *program.tensors_of(op)))


def views_of(program: Program, free: Collection[str]) -> Views:
    """Where tensors lie when the operators of the outputs `free`, some of `free_outputs`, do not run."""
    layout = _Layout(program)
    for op in program.ops:
        if op.output not in free:
            layout.parts[op.output] = ((op.output, 0),)
        elif not layout.view(op, *program.tensors_of(op)):
            raise ValueError(f"{op.name} must run")
    groups = {id(group): group for group in layout.groups.values()}
    ties = []
    for group in groups.values():
        lowest = min(group.values())
        ties.append({buffer: at - lowest for buffer, at in group.items()})
    return Views(layout.parts, tuple(ties))


class _Layout:
    """Grows by one operator after the other."""

    def __init__(self, program: Program) -> None:
        self.tensors = program.tensors
        self.parts: dict[str, Parts] = {name: ((name, 0),) for name in program.sources}
        self.groups: dict[str, Mapping[str, int]] = {}
        # A state's place is written at the end from that of the new one, which must be another.
        self.apart = frozenset(program.sources if program.states else ())

    def view(self, op: QOp, inputs: tuple[QTensor, ...], output: QTensor) -> bool:
        """Give an output its place in its inputs' bytes; a place of its own where that is not possible."""
        self.parts[op.output] = ((op.output, 0),)
        begins = op.view_bytes(inputs, output)
        if begins is None:
            return False
        parts = tuple(
            (buffer, begin + at)
            for name, begin in zip(op.inputs, begins, strict=True)
            for buffer, at in self.parts[name]
            if begin + at < output.size_bytes and begin + at + self.tensors[buffer].size_bytes > 0
        )
        if len(op.inputs) == 1 and begins == (0,) and output.size_bytes == inputs[0].size_bytes:
            self.parts[op.output] = parts
            return True
        group = self._tied(parts)
        if group is None:
            return False
        self.parts[op.output] = parts
        self.groups |= dict.fromkeys(group, group)
        return True

    def _tied(self, parts: Parts) -> Mapping[str, int] | None:
        """All buffers that then lie at fixed distances; None where that cannot be."""
        places: dict[str, int] = {}
        for buffer, at in parts:
            group = self.groups.get(buffer, {buffer: 0})
            for other, place in group.items():
                distance = place + at - group[buffer]
                if places.setdefault(other, distance) != distance:
                    return None
        spans = sorted((at, at + self.tensors[buffer].size_bytes) for buffer, at in places.items())
        together = any(end > begin for (_, end), (begin, _) in pairwise(spans))
        aligned = all(at % WORD_BYTES == 0 for at in places.values())
        return places if aligned and not together and self.apart.isdisjoint(places) else None
