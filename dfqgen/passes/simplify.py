"""Rewrites that need no knowledge of layouts, until none fits."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from dfqgen.graph.ir import Graph, Node, Op
from dfqgen.graph.rewrite import rewrite
from dfqgen.passes.attention import (
    columns_as_rows,
    scale_after_product,
    scale_before_product,
    scale_normalized,
)
from dfqgen.passes.fold_affine import (
    fold_affine_into_batch_norm,
    fold_affine_into_convolution,
    fold_affine_into_next,
)
from dfqgen.passes.merge import MERGE, transpose_to_reshape
from dfqgen.passes.padding import fuse_pad, pad_after_reshape, pad_after_transpose


def simplify(graph: Graph) -> Graph:
    """Merge what is in a row, fold borders and constant arithmetic into layers, compute equal things once."""
    while True:
        before = [(node.op, node.inputs) for node in graph.nodes]
        graph = rewrite(graph, *MERGE, transpose_to_reshape)
        graph = rewrite(graph, pad_after_transpose, pad_after_reshape)
        graph = rewrite(graph, fuse_pad)
        graph = rewrite(graph, fold_affine_into_convolution, fold_affine_into_batch_norm)
        graph = rewrite(graph, fold_affine_into_next)
        graph = rewrite(graph, scale_normalized, scale_after_product, scale_before_product, columns_as_rows)
        graph = common_subexpressions(graph)
        if [(node.op, node.inputs) for node in graph.nodes] == before:
            return graph


def common_subexpressions(graph: Graph) -> Graph:
    """The graph where equal operators on equal inputs are computed once."""
    seen: dict[tuple[Any, ...], str] = {}
    rename: dict[str, str] = {}
    kept: list[Node] = []
    for node in graph.nodes:
        inputs = tuple(rename.get(name, name) for name in node.inputs)
        key = (*_op_key(node.op), *inputs)
        if key in seen:
            rename[node.output] = seen[key]
        else:
            seen[key] = node.output
            kept.append(replace(node, inputs=inputs))
    return graph.with_nodes(kept).rename_tensors(rename)


def _op_key(op: Op) -> tuple[Any, ...]:
    def freeze(value: Any) -> Any:
        return (value.shape, value.dtype.str, value.tobytes()) if isinstance(value, np.ndarray) else value

    return (type(op), *(freeze(getattr(op, field.name)) for field in fields(op)))  # type: ignore[arg-type]
