"""Tree ensembles of ai.onnx.ml: lists of nodes and leaves -> the tables of one operator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dfqgen.frontend.fused import NotPlain
from dfqgen.graph.ir import Array

MOST_NODES = 1 << 15

Key = tuple[int, int]
"""A tree and a node of it."""


def tables(attributes: Mapping[str, Any], what: str, outputs: int) -> dict[str, Array]:
    """feature, threshold, children, roots and leaves (as in ops/trees.py) of nodes_... and `what`_... lists.

    Raises NotPlain for trees that are none.
    """
    keys = list(zip(_list(attributes, "nodes_treeids"), _list(attributes, "nodes_nodeids"), strict=True))
    columns = {
        name: dict(zip(keys, _list(attributes, f"nodes_{name}"), strict=True))
        for name in ("featureids", "values", "modes", "truenodeids", "falsenodeids")
    }
    if len(set(keys)) != len(keys) or not keys or len(keys) > MOST_NODES:
        raise NotPlain(f"has {len(keys)} nodes; 1 to {MOST_NODES:,} of different names are supported")
    weights = _weights(attributes, what, outputs)
    numbers: dict[Key, int] = {}
    order: list[Key] = []
    leaves: list[Array] = []
    roots = []
    for tree in dict.fromkeys(tree for tree, _ in keys):
        # The first node of a tree is its root; children come after their parents.
        pending = [next(key for key in keys if key[0] == tree)]
        roots.append(pending[0])
        while pending:
            key = pending.pop(0)
            if key in numbers or key not in columns["modes"]:
                raise NotPlain(f"node {key[1]} of tree {key[0]} is reached twice, or is not there")
            if _mode(columns, key) == "LEAF":
                numbers[key] = -1 - len(leaves)
                leaves.append(weights.get(key, np.zeros(outputs)))
            else:
                numbers[key] = len(order)
                order.append(key)
                pending += [(tree, columns[name][key]) for name in ("truenodeids", "falsenodeids")]
    children = [[numbers[key[0], columns[n][key]] for n in ("truenodeids", "falsenodeids")] for key in order]
    return {
        "feature": np.array([columns["featureids"][key] for key in order], np.int64),
        "threshold": np.array([_threshold(columns, key) for key in order], np.float32),
        "children": np.array(children, np.int64).reshape(-1, 2),
        "roots": np.array([numbers[key] for key in roots], np.int64),
        "leaves": np.array(leaves, np.float32),
    }


def _list(attributes: Mapping[str, Any], name: str) -> list[Any]:
    value = attributes.get(name, [])
    if not isinstance(value, list):
        raise NotPlain(f"its attribute {name} is no list; the file is damaged")
    return value


def _weights(attributes: Mapping[str, Any], what: str, outputs: int) -> dict[Key, Array]:
    """What each leaf adds to each output."""
    found: dict[Key, Array] = {}
    lists = (_list(attributes, f"{what}_{name}") for name in ("treeids", "nodeids", "ids", "weights"))
    for tree, node, place, weight in zip(*lists, strict=True):
        if not 0 <= place < outputs:
            raise NotPlain(f"a leaf is of output {place} of {outputs}")
        found.setdefault((tree, node), np.zeros(outputs))[place] += weight
    return found


def _mode(columns: Mapping[str, Mapping[Key, Any]], key: Key) -> str:
    mode = columns["modes"][key]
    return mode.decode("utf-8", "replace") if isinstance(mode, bytes) else str(mode)


def _threshold(columns: Mapping[str, Mapping[Key, Any]], key: Key) -> float:
    """The largest value that goes to the first child."""
    value, mode = np.float32(columns["values"][key]), _mode(columns, key)
    if mode == "BRANCH_LEQ":
        return float(value)
    if mode == "BRANCH_LT":
        return float(np.nextafter(value, np.float32(-np.inf)))
    raise NotPlain(f"branches by {mode}; BRANCH_LEQ and BRANCH_LT are supported")
