"""Comparisons and what is made of them: a truth is 0 or 1."""

from __future__ import annotations

import numpy as np

from dfqgen.frontend.importers.constants import affine
from dfqgen.frontend.importers.functions import pairwise, scaled
from dfqgen.frontend.importers.registry import OnnxNode, importer
from dfqgen.ops.add import Add
from dfqgen.ops.lookup import Clip, Elementwise
from dfqgen.ops.maximum import Maximum
from dfqgen.ops.multiply import Mul

LARGER_SECOND = ("Less", "GreaterOrEqual")
OR_EQUAL = ("LessOrEqual", "GreaterOrEqual")


@importer("Less", "Greater", "LessOrEqual", "GreaterOrEqual", "Equal", since=7)
def compare(node: OnnxNode) -> str:
    """By the sign of the difference, of an activation and a constant or of two activations."""
    if node.is_constant(0) or node.is_constant(1):
        place = 0 if node.is_constant(0) else 1
        value = node.weight(place, "bound").astype(np.float64)
        sign_of_x = 1.0 if place == 1 else -1.0
        scale, shift = np.full_like(value, sign_of_x), -sign_of_x * value
        difference = affine(node, node.tensor(1 - place), scale, shift)
    else:
        difference = pairwise(node, Add(-1), node.tensor(0), node.tensor(1))
    if node.op_type == "Equal":
        return _opposite(node, is_true(node, difference))
    sign = node.emit(Elementwise("sign"), difference)
    if node.op_type in LARGER_SECOND:
        sign = scaled(node, sign, -1.0)
    strict = node.emit(Clip.of(0.0, 1.0), sign)
    return _opposite(node, strict) if node.op_type in OR_EQUAL else strict


@importer("And", "Or")
def both_or_either(node: OnnxNode) -> str:
    op = Mul() if node.op_type == "And" else Maximum()
    return pairwise(node, op, node.tensor(0), node.tensor(1))


@importer("Not")
def negation(node: OnnxNode) -> str:
    return _opposite(node, node.tensor())


def is_true(node: OnnxNode, tensor: str) -> str:
    """Whether elements are other than zero."""
    return node.emit(Elementwise("abs"), node.emit(Elementwise("sign"), tensor))


def _opposite(node: OnnxNode, truth: str) -> str:
    return scaled(node, truth, -1.0, 1.0)
