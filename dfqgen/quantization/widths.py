"""How many deviations each tensor's range reaches: by what is known of it and by what it is for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod

from dfqgen.graph.ir import Graph
from dfqgen.ops.conv import Conv2D
from dfqgen.recipe.records import ActivationsRecipe

# Measured on classifiers, segmentation and detectors (docs/accuracy.md).
COMMON_SIGMA = 4.0
SCORE_SIGMA = 8.0
DETECTOR_SIGMA = 10.0
UNTRUSTED_DETECTOR_SIGMA = 60.0

# A detector answers for at least this many places, each standing for more pixels than this.
DETECTOR_PLACES = 128
MASK_PIXELS = 8


def range_widths(graph: Graph, trusted: frozenset[str], options: ActivationsRecipe) -> Mapping[str, float]:
    """n of n-sigma by tensor.

    Features of classifiers and of segmentation are common events, and resolution counts for more than
    tails. A detector lives by rare events far out in the tails; where it has no batch normalization to tell
    its deviation (`trusted` tensors have), the range must be wider still. Scores keep their extremes.
    """
    scores = score_tensors(graph)
    detector = is_detector(graph)
    widths: dict[str, float] = {}
    for tensor in graph.shapes:
        if options.n_sigma is not None:
            width = options.n_sigma
        elif not detector:
            width = COMMON_SIGMA
        else:
            width = DETECTOR_SIGMA if tensor in trusted or not trusted else UNTRUSTED_DETECTOR_SIGMA
        if tensor in scores:
            stated = options.n_sigma_scores
            width = max(width, SCORE_SIGMA) if stated is None else stated
        widths[tensor] = width
    return widths


def is_detector(graph: Graph) -> bool:
    """Whether an output answers for many places, anchors or cells, but not for every pixel as a mask does."""
    pixels = max((prod(port.shape[1:-1]) for port in graph.inputs), default=0)
    places = [prod(port.shape[1:-1]) for port in graph.outputs if len(port.shape) > 2]
    return any(count >= DETECTOR_PLACES and count * MASK_PIXELS < pixels for count in places)


def score_tensors(graph: Graph) -> frozenset[str]:
    """Tensors that leave the network as they are, or through a softmax: what decides is their extremes."""
    scores = set(graph.output_tensors)
    for node in reversed(graph.nodes):
        if node.output in scores and (node.op.keeps_type or node.op.reads_scores):
            scores.update(node.inputs)
    return frozenset(scores)


def trusted_tensors(graph: Graph, known: Iterable[str]) -> frozenset[str]:
    """Tensors whose statistics are known, or follow from known ones without a convolution in between."""
    trusted = set(known)
    for node in graph.nodes:
        if not isinstance(node.op, Conv2D) and all(name in trusted for name in node.inputs):
            trusted.add(node.output)
    return frozenset(trusted)
