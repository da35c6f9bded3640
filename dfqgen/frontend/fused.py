"""A fused node while it is written out as nodes of ONNX's standard operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper

from dfqgen.graph.ir import Array


class NotPlain(Exception):
    """A fused operator whose meaning is not plain; the text says why."""


@dataclass(frozen=True, slots=True)
class Expansion:
    """Nodes in place of one, in order, and the constants that they read."""

    nodes: tuple[onnx.NodeProto, ...]
    constants: Mapping[str, Array]


class Fused:
    """One fused node while it is written out: its attributes, and the nodes and constants so far."""

    def __init__(self, node: onnx.NodeProto) -> None:
        self.node = node
        self.attributes: Mapping[str, Any] = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {}
        self._base = next(name for name in node.output if name)
        self._result = self._base

    @property
    def inputs(self) -> list[str]:
        return list(self.node.input)

    def number(self, name: str, default: float) -> float:
        value = self.attributes.get(name, default)
        if not isinstance(value, int | float):
            raise NotPlain(f"its attribute {name} is no number; the file is damaged")
        return float(value)

    def numbers(self, name: str) -> Array:
        try:
            return np.asarray(self.attributes.get(name, ()), np.float32)
        except (TypeError, ValueError):
            raise NotPlain(f"its attribute {name} is no list of numbers; the file is damaged") from None

    def constant(self, value: Any) -> str:
        name = f"{self._base}/c{len(self.constants)}"
        self.constants[name] = np.asarray(value)
        return name

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Append a standard node; gives its output."""
        output = f"{self._base}/{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(operator, inputs, [output], name=self.node.name or self._base, **attributes)
        )
        return output

    def kept(self, *names: str) -> dict[str, Any]:
        """The attributes of these names, where the node has them."""
        return {name: self.attributes[name] for name in names if name in self.attributes}

    def gives_output(self, index: int) -> None:
        """What the node ends with is this output; NotPlain where nothing takes it."""
        if index >= len(self.node.output) or not self.node.output[index]:
            raise NotPlain("gives labels and no scores")
        self._result = self.node.output[index]

    def ends_with(self, tensor: str) -> Expansion:
        self.nodes.append(helper.make_node("Identity", [tensor], [self._result]))
        return Expansion(tuple(self.nodes), self.constants)


RankOf = Callable[[str], int | None]
"""The rank of a tensor by name, None where nobody knows it."""
Rule = Callable[[Fused, RankOf], str]
"""Adds nodes to the fused one; gives the tensor that it ends with."""
