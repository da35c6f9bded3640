"""The float graph: small, typed, single assignment, channels last.

A graph is a tuple of nodes in topological order. A node applies one operator (`dfqgen.ops`) to
tensors and gives exactly one tensor. Weights are attributes of the operator, not tensors: what
flows along the edges is activations only. Everything is immutable; a pass returns a new graph.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from dfqgen.errors import GraphError
from dfqgen.fixedpoint.qtype import Coding, IntType
from dfqgen.notebook import html_table

if TYPE_CHECKING:
    from dfqgen.fixedpoint.program import QOp
    from dfqgen.fixedpoint.qtype import QType
    from dfqgen.graph.site import Site
    from dfqgen.statistics.channel import ChannelStatistics

Array = npt.NDArray[Any]
Shape = tuple[int, ...]


class Border(NamedTuple):
    """Elements of one value around a tensor: how many before and after on each axis."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    value: float


class Op(ABC):
    """A float operator, and all that passes must know of it: no pass keeps a list of operators.

    Subclasses are frozen dataclasses, one module a family in `dfqgen/ops`; they register by class name,
    which is also the operator's name in texts. What is abstract here must be thought of for each operator
    (`ops/families.py` has the common answers); what is not has a default that is safe.
    Axis 0 is the batch: `evaluate` accepts any batch, shapes are those of one sample (batch 1).

    `keeps_type`: the output has the integer type of the input (the operator only moves or selects
    elements). `converts`: it can give any type, and `output_type` is only what suits it (a table).
    `fuses_clip`: a Clip after it becomes the bounds of its requantization.
    `folds_into_layer`: a layer in front can take it in, as weights or as bounds. `reads_scores`: where its
    output leaves the network, its input holds scores, of which the extremes decide (a softmax).
    `reads_finely`: small differences within its input become large ones (a normalization). `measured`:
    sums of many inputs, whose moments samples tell better than rules that take the inputs as independent.
    """

    registry: ClassVar[dict[str, type[Op]]] = {}

    keeps_type: ClassVar[bool] = False
    converts: ClassVar[bool] = False
    fuses_clip: ClassVar[bool] = False
    folds_into_layer: ClassVar[bool] = False
    reads_scores: ClassVar[bool] = False
    reads_finely: ClassVar[bool] = False
    measured: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # A dataclass with slots is created twice; the second one is the one that lives.
        Op.registry[cls.__name__] = cls

    @abstractmethod
    def infer_shape(self, *shapes: Shape) -> Shape:
        """Output shape for these input shapes; raises ValueError when they do not fit."""

    @abstractmethod
    def evaluate(self, *inputs: Array) -> Array:
        """Float meaning, in numpy."""

    @abstractmethod
    def propagate(self, shapes: tuple[Shape, ...], *inputs: ChannelStatistics) -> ChannelStatistics:
        """Statistics of the output from those of the inputs (of these shapes, taken as independent)."""

    @abstractmethod
    def lower(self, site: Site) -> tuple[QOp, ...]:
        """Integer operators with the same meaning at this place of the graph (see `Site`)."""

    def output_type(self, dtype: IntType = IntType.INT8) -> QType | None:
        """The output's type of these bits where the operator fixes it (a softmax), else None."""
        return None

    def activation_types(self, *shapes: Shape) -> tuple[IntType, ...]:
        """The integer types that there are kernels for, for each input and the output by itself."""
        return (IntType.INT8,)

    @abstractmethod
    def transposed(self, permutation: tuple[int, ...]) -> Op | None:
        """op' with op(transpose(x)) == transpose(op'(x)), all inputs transposed alike; None without one."""

    @abstractmethod
    def reshaped(self, before: Shape, after: Shape) -> Op | None:
        """op' with op(reshape(x)) == reshape(op'(x)), all inputs reshaped alike; None without one."""

    def turned(self) -> Op | None:
        """What a window over an image [N,H,W,C] becomes where height and width change places: op' with
        op(transpose(x)) == transpose(op'(x)) for that transpose alone. None for what has no window.
        """
        return None

    def is_identity(self, shape: Shape) -> bool:
        """Whether it does nothing to an input of this shape."""
        return False

    @property
    def pointwise(self) -> bool:
        """Whether an output element depends on the inputs' elements at its place alone, everywhere alike."""
        return False

    def padded(self, border: Border, floor: float) -> Op | None:
        """op' with op(pad(x)) == op'(x), where no element of x is below `floor`; None without one."""
        return None

    def scaled(self, factor: Array, before: Shape) -> Op | None:
        """op' with op'(factor * x) == factor * op(x), x of shape `before`, a factor > 0 a channel [C].

        None where there is none: equalization's chains of layers end there.
        """
        return None

    def carried(self, shapes: tuple[Shape, ...], *channels: Array) -> tuple[Array, ...] | None:
        """Where factors > 0 of the inputs' channels go: labels [C] of each input's -> rows of the output's.

        Channels whose labels stand in one place of the rows must have one factor, and the output's channel
        there then has it too. The label 0 is of channels whose factor is 1. None: no factor passes.
        """
        (shape,) = shapes if len(shapes) == 1 else ((),)
        passes = len(shape) > 0 and self.scaled(np.ones(shape[-1]), shape) is not None
        return channels if passes else None

    def selected(self, channels: Array) -> Op:
        """op' with op'(x[..., channels]) == op(x)[..., channels], where `scaled` or `folds_into_layer`."""
        raise NotImplementedError(f"{type(self).__name__} does not work channel by channel")


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """`output = op(*inputs)`. `name` is the model's own text: never trust it in C, a path or HTML."""

    name: str
    op: Op
    inputs: tuple[str, ...]
    output: str


@dataclass(frozen=True, slots=True)
class Port:
    """A graph input or output.

    `permutation` maps the model's axes to ours (NCHW to NHWC is (0, 2, 3, 1)), None when they agree:
    `ours = model_tensor.transpose(permutation)`. `whole`: the model's tensor is one sample, without an
    axis for the batch; the model's axes are then counted with one in front. `holds`: the model takes whole
    numbers in this range (uint8: 0 to 255), and converts them itself. `coding`: the model's tensor holds
    the integers of a quantized one; ours are the reals that they stand for. Both: numbers of a table's rows.
    """

    name: str
    tensor: str
    shape: Shape
    permutation: tuple[int, ...] | None = None
    whole: bool = False
    holds: tuple[int, int] | None = None
    coding: Coding | None = None

    @property
    def indices(self) -> bool:
        """Whether it holds numbers of a table's rows: of these no range or distribution can be stated."""
        return self.holds is not None and self.coding is not None

    def from_model(self, value: Array) -> Array:
        """An array in the model's axes, in ours."""
        return value if self.permutation is None else value.transpose(self.permutation)

    def to_model(self, value: Array) -> Array:
        """An array in our axes, in the model's."""
        return value if self.permutation is None else value.transpose(np.argsort(self.permutation))

    def encoded(self, value: Array) -> Array:
        """Reals as the model has them: integers where it has a `coding`."""
        return value if self.coding is None else self.coding.encode(value)

    def decoded(self, value: Array) -> Array:
        """The inverse of `encoded`."""
        return value if self.coding is None else self.coding.decode(value)


@dataclass(frozen=True, slots=True)
class State:
    """What a network keeps from one step to the next: an output port is the input port of the next step."""

    input: str
    output: str


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in topological order between input and output ports.

    `states` are pairs of ports, by name; callers feed and get the others (`fed`, `given`). Before the first
    step states are zero. `fixed` are inputs of the model that were made constants. `remarks` say what was
    read otherwise than the file has it, for the user.
    """

    name: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    nodes: tuple[Node, ...]
    remarks: tuple[str, ...] = ()
    states: tuple[State, ...] = ()
    fixed: Mapping[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        ports = (", ".join(f"{p.name} {list(p.shape)}" for p in group) for group in (self.fed, self.given))
        return f"<Graph {self.name}: {' -> '.join(ports)}, {len(self.nodes)} nodes>"

    def _repr_html_(self) -> str:
        rows = [(n.name, type(n.op).__name__, list(self.shapes[n.output])) for n in self.nodes]
        return html_table(repr(self), ("node", "operator", "output"), rows)

    @cached_property
    def fed(self) -> tuple[Port, ...]:
        """The inputs that are no states."""
        states = {state.input for state in self.states}
        return tuple(port for port in self.inputs if port.name not in states)

    @cached_property
    def given(self) -> tuple[Port, ...]:
        """The outputs that are no states."""
        states = {state.output for state in self.states}
        return tuple(port for port in self.outputs if port.name not in states)

    @cached_property
    def kept(self) -> tuple[tuple[Port, Port], ...]:
        """The ports of each state: where it comes in, and where it is given."""
        inputs = {port.name: port for port in self.inputs}
        outputs = {port.name: port for port in self.outputs}
        return tuple((inputs[state.input], outputs[state.output]) for state in self.states)

    @cached_property
    def shapes(self) -> Mapping[str, Shape]:
        """Shape of every tensor, by the operators' shape rules."""
        shapes: dict[str, Shape] = {port.tensor: port.shape for port in self.inputs}
        for node in self.nodes:
            shapes[node.output] = node.op.infer_shape(*(shapes[name] for name in node.inputs))
        return shapes

    @cached_property
    def producers(self) -> Mapping[str, Node]:
        """The node that gives each tensor (graph inputs have none)."""
        return {node.output: node for node in self.nodes}

    @cached_property
    def consumers(self) -> Mapping[str, tuple[Node, ...]]:
        """The nodes that read each tensor, in order, once per use."""
        readers: dict[str, list[Node]] = {port.tensor: [] for port in self.inputs}
        for node in self.nodes:
            readers.setdefault(node.output, [])
            for name in node.inputs:
                readers[name].append(node)
        return {name: tuple(nodes) for name, nodes in readers.items()}

    @cached_property
    def output_tensors(self) -> frozenset[str]:
        return frozenset(port.tensor for port in self.outputs)

    def verify(self) -> None:
        """Raise GraphError unless the graph is well-formed.

        Every tensor is written once, before it is read; operators accept the shapes of their inputs, and
        their parameters fit; there is an output; ports exist and state their tensors' shapes.
        """
        shapes: dict[str, Shape] = {}
        for port in self.inputs:
            _define(shapes, port.tensor, port.shape, f"input {port.name!r}")
        for node in self.nodes:
            unknown = [name for name in node.inputs if name not in shapes]
            if unknown or not node.inputs:
                raise GraphError(f"{node.name}: reads {unknown} before it is written")
            try:
                shape = node.op.infer_shape(*(shapes[name] for name in node.inputs))
            except (ValueError, IndexError, TypeError) as error:
                raise GraphError(f"{node.name}: {error}") from error
            _define(shapes, node.output, shape, node.name)
        for port in self.outputs:
            if shapes.get(port.tensor) != port.shape:
                found = shapes.get(port.tensor, "never written")
                raise GraphError(f"output {port.name!r} is stated to be {port.shape}, and is {found}")
        if not self.outputs:
            raise GraphError("the graph has no output")
        for ports in (self.inputs, self.outputs):
            if len({port.name for port in ports}) != len(ports):
                raise GraphError(f"two ports have one name: {[port.name for port in ports]}")
        self._verify_states()

    def _verify_states(self) -> None:
        for state in self.states:
            if state.input not in {port.name for port in self.inputs}:
                raise GraphError(f"the state {state.input!r} is no input")
            if state.output not in {port.name for port in self.outputs}:
                raise GraphError(f"the state {state.output!r} is no output")
        for ends in ([s.input for s in self.states], [s.output for s in self.states]):
            if len(set(ends)) != len(ends):
                raise GraphError(f"one port is the end of two states: {ends}")
        for before, after in self.kept:
            if (before.shape, before.permutation) != (after.shape, after.permutation):
                raise GraphError(f"the state {before.name!r} {before.shape} comes back as {after.shape}")

    def sole_consumer(self, tensor: str) -> Node | None:
        """The one node that reads `tensor`, or None when others (or the outside) see it too."""
        readers = self.consumers[tensor]
        return readers[0] if len(readers) == 1 and tensor not in self.output_tensors else None

    def with_nodes(self, nodes: Iterable[Node]) -> Graph:
        """The same ports around other nodes."""
        return replace(self, nodes=tuple(nodes))

    def replace_ops(self, ops: Mapping[str, Op]) -> Graph:
        """The same graph with the operators of some nodes (by output tensor) exchanged."""
        return self.with_nodes(
            replace(node, op=ops[node.output]) if node.output in ops else node for node in self.nodes
        )

    def rename_tensors(self, rename: Mapping[str, str]) -> Graph:
        """The same graph reading other tensors; chains a -> b -> c are followed."""

        def final(name: str) -> str:
            while name in rename:
                name = rename[name]
            return name

        return replace(
            self,
            nodes=tuple(replace(n, inputs=tuple(final(i) for i in n.inputs)) for n in self.nodes),
            outputs=tuple(replace(p, tensor=final(p.tensor)) for p in self.outputs),
        )

    def without_dead_nodes(self) -> Graph:
        """The graph without nodes that no output depends on (dead code elimination)."""
        live = set(self.output_tensors)
        kept: list[Node] = []
        for node in reversed(self.nodes):
            if node.output in live:
                kept.append(node)
                live.update(node.inputs)
        return self.with_nodes(reversed(kept))

    def evaluate(
        self,
        inputs: Mapping[str, Array],
        watch: Callable[[Node, tuple[Array, ...], Array], Array | None] | None = None,
    ) -> dict[str, Array]:
        """Run the graph on arrays by input tensor (in our axes); gives the output tensors.

        `watch` sees (node, inputs, output) as each is computed; what it returns, if anything, takes
        the output's place. Tensors are dropped after their last use.
        """
        remaining = {name: len(nodes) for name, nodes in self.consumers.items()}
        values: dict[str, Array] = {port.tensor: inputs[port.tensor] for port in self.inputs}
        for node in self.nodes:
            arguments = tuple(values[name] for name in node.inputs)
            result = node.op.evaluate(*arguments)
            if watch is not None:
                seen = watch(node, arguments, result)
                result = result if seen is None else seen
            values[node.output] = result
            for name in node.inputs:
                remaining[name] -= 1
                if not remaining[name] and name not in self.output_tensors:
                    del values[name]
        return {name: values[name] for name in self.output_tensors}


def _define(shapes: dict[str, Shape], tensor: str, shape: Shape, writer: str) -> None:
    if tensor in shapes:
        raise GraphError(f"{writer}: writes {tensor!r} a second time")
    if not shape or any(not isinstance(n, int | np.integer) or n < 1 for n in shape) or shape[0] != 1:
        raise GraphError(f"{writer}: {tensor!r} cannot have the shape {shape}")
    shapes[tensor] = shape
