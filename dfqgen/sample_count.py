"""How many samples are made for a network when nobody says."""

from __future__ import annotations

from math import prod

from dfqgen.graph.ir import Graph

# A network whose tensors have more elements than this for one input is large: synthesis costs minutes there.
LARGE_ELEMENTS = 2_000_000
SAMPLES, SAMPLES_OF_LARGE = 64, 32


def is_large(graph: Graph) -> bool:
    """Whether samples are dear."""
    return sum(prod(shape) for shape in graph.shapes.values()) > LARGE_ELEMENTS


def default_count(graph: Graph) -> int:
    """As many samples as a few minutes allow."""
    return SAMPLES_OF_LARGE if is_large(graph) else SAMPLES
