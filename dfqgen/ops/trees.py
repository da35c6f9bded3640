"""Sums of decision trees: forests and boosted trees."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dfqgen.errors import ProgramError
from dfqgen.fixedpoint.program import QOp, QTensor, Work
from dfqgen.fixedpoint.proof import check_clamp, check_reach, check_shape, check_within, check_zero_point
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.graph.ir import Array, Op, Shape
from dfqgen.graph.site import Site
from dfqgen.ops.families import OneClamp
from dfqgen.statistics.channel import ChannelStatistics

MOST = 1 << 15
"""Nodes, and leaves: their numbers are int16."""
LARGEST_SHIFT = 24


@dataclass(frozen=True, slots=True, eq=False)
class TreeEnsemble(Op):
    """x [N,F] -> start [K] + the sum over all trees of the leaf [K] that x reaches, [N,K].

    From a node the way goes to its first child where x[feature] <= threshold, else to the second. feature,
    threshold [M], children [M,2] and roots [T]: a number is a node, -1 - number a leaf, of leaves [L,K]. A
    child has a larger number than its parent.
    """

    feature: Array
    threshold: Array
    children: Array
    roots: Array
    leaves: Array
    start: Array

    measured: ClassVar[bool] = True

    def infer_shape(self, *shapes: Shape) -> Shape:
        if len(shapes[0]) != 2 or (self.feature.size and int(self.feature.max()) >= shapes[0][1]):
            raise ValueError(f"trees of {self.feature.max(initial=-1) + 1} features meet {shapes[0]}")
        return shapes[0][0], int(self.leaves.shape[1])

    def evaluate(self, *inputs: Array) -> Array:
        leaves = reached(inputs[0], self.feature, self.threshold, self.children, self.roots)
        return (self.leaves[leaves].sum(axis=1) + self.start).astype(inputs[0].dtype)

    def propagate(self, shapes: tuple[Shape, ...], *inputs: ChannelStatistics) -> ChannelStatistics:
        """As if each tree reached each of all leaves alike."""
        count = len(self.roots)
        mean, deviation = self.leaves.mean(axis=0), self.leaves.std(axis=0)
        lowest, highest = self.leaves.min(axis=0), self.leaves.max(axis=0)
        return ChannelStatistics.normal(
            self.start + count * mean,
            math.sqrt(count) * deviation,
            self.start + count * lowest,
            self.start + count * highest,
        )

    def activation_types(self, *shapes: Shape) -> tuple[IntType, ...]:
        return (IntType.INT8, IntType.INT16)

    def transposed(self, permutation: tuple[int, ...]) -> Op:
        """There is one axis."""
        return self

    def reshaped(self, before: Shape, after: Shape) -> None:
        """Features are numbered along the only axis."""

    def lower(self, site: Site) -> tuple[QOp, ...]:
        x, y = site.inputs[0].qtype, site.output.qtype
        # x <= threshold for the reals that integers stand for: exact.
        thresholds = np.floor(self.threshold.astype(np.float64) / x.scale) + x.zero_point
        largest = max(float(np.abs(self.leaves).max()) / y.scale, 2.0**-30)
        shift = max(0, min(LARGEST_SHIFT, 14 - math.frexp(largest)[1] + 1))
        start = np.floor(self.start.astype(np.float64) / y.scale * 2.0**shift + 0.5)
        lo, hi = site.integer_bounds()
        return (
            QTreeEnsemble(
                name=site.name,
                inputs=site.input_names,
                output=site.output.name,
                feature=self.feature.astype(np.int16),
                threshold=np.clip(thresholds, -MOST, MOST - 1).astype(np.int16),
                children=self.children.astype(np.int16),
                roots=self.roots.astype(np.int16),
                leaves=_int16(self.leaves.astype(np.float64) / y.scale * 2.0**shift),
                start=np.clip(start, -(2**30), 2**30).astype(np.int32),
                shift=shift,
                zero_point=y.zero_point,
                lo=int(lo.max()),
                hi=int(hi.min()),
            ),
        )


def _int16(values: Array) -> Array:
    return np.clip(np.floor(values + 0.5), 1 - MOST, MOST - 1).astype(np.int16)


def reached(x: Array, feature: Array, threshold: Array, children: Array, roots: Array) -> Array:
    """The leaf [N,T] that each sample of x [N,F] reaches in each tree."""
    rows = np.arange(len(x))[:, None]
    at = np.broadcast_to(roots.astype(np.int64), (len(x), len(roots))).copy()
    while np.any(inside := at >= 0):
        node = np.where(inside, at, 0)
        right = (x[rows, feature[node]] > threshold[node]).astype(np.int64)
        at = np.where(inside, children[node, right], at)
    return -1 - at


@dataclass(frozen=True, slots=True, eq=False)
class QTreeEnsemble(OneClamp, QOp):
    """clamp(zero_point + ((start + sum of leaves reached + half) >> shift), lo, hi), half = 2**shift // 2.

    As TreeEnsemble, with int16 features, thresholds, children, roots and leaves, and an int32 start.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    feature: Array
    threshold: Array
    children: Array
    roots: Array
    leaves: Array
    start: Array
    shift: int
    zero_point: int
    lo: int
    hi: int

    def evaluate(self, *inputs: Array) -> Array:
        leaves = reached(inputs[0], self.feature, self.threshold, self.children, self.roots)
        total = self.start + self.leaves.astype(np.int64)[leaves].sum(axis=1)
        return np.clip(self.zero_point + ((total + (1 << self.shift >> 1)) >> self.shift), self.lo, self.hi)

    def verify(self, inputs: tuple[QTensor, ...], output: QTensor) -> None:
        (x,) = inputs
        nodes, leaves = len(self.feature), len(self.leaves)
        if len(x.shape) != 2 or output.shape != (1, self.leaves.shape[-1]) or not leaves:
            raise ProgramError(f"{self.name}: {x.shape} -> {output.shape} is not a sum of trees")
        for what, values, shape in (
            ("features", self.feature, (nodes,)),
            ("thresholds", self.threshold, (nodes,)),
            ("children", self.children, (nodes, 2)),
            ("roots", self.roots, (len(self.roots),)),
            ("leaves", self.leaves, (leaves, output.shape[1])),
        ):
            check_shape(self.name, f"the table of {what}", values, shape)
            if values.dtype != np.int16:
                raise ProgramError(f"{self.name}: {what} lie in {values.dtype}, not int16")
        check_shape(self.name, "the start", self.start, output.shape[1:])
        if self.start.dtype != np.int32:
            raise ProgramError(f"{self.name}: the start lies in {self.start.dtype}, not int32")
        check_within(self.name, "a feature", self.feature, 0, x.shape[1] - 1)
        for places in (self.children, self.roots):
            check_within(self.name, "a child", places, -leaves, nodes - 1)
        parents = np.arange(nodes)[:, None]
        if np.any((self.children >= 0) & (self.children <= parents)):
            raise ProgramError(f"{self.name}: a child stands before its parent: a walk might not end")
        check_within(self.name, "the shift", self.shift, 0, LARGEST_SHIFT)
        check_zero_point(self.name, self.zero_point, output.qtype)
        check_clamp(self.name, self.lo, self.hi, output)
        worst = int(np.abs(self.start.astype(np.int64)).max()) + (1 << self.shift >> 1)
        worst += len(self.roots) * int(np.abs(self.leaves.astype(np.int64)).max())
        check_reach(self.name, "the sum", worst + output.qtype.dtype.maximum + 1)

    def work(self, inputs: tuple[QTensor, ...] | list[QTensor], output: QTensor) -> Work:  # type: ignore[override]
        depth = math.log2(len(self.leaves) / max(1, len(self.roots)) + 1.0)
        trees = float(len(self.roots))
        return QOp.work(self, inputs, output) | {"tree": trees, "step": trees * depth}

    @property
    def weight_bytes(self) -> int:
        tables = (self.feature, self.threshold, self.children, self.roots, self.leaves, self.start)
        return sum(table.nbytes for table in tables)
