"""LSTM, GRU and RNN: one of our operators for each direction and each output that is read.

Ours are batch first; ONNX's axes become reshapes, which meet the exporter's own and are gone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from dfqgen.frontend.importers.concat import join
from dfqgen.frontend.importers.registry import OnnxNode, Refused, along_first_axis, importer
from dfqgen.frontend.importers.selection import select
from dfqgen.graph.ir import Array
from dfqgen.ops.movement import Reshape
from dfqgen.ops.recurrent import GRU, LSTM, RNN, Recurrent

DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
MOST_SAMPLES = 16
"""How often a layer is repeated for a batch of several: as often in C."""
SMALLEST_CLIP = 8.0
"""The integers of a layer clip what goes into tanh there, and into a sigmoid at twice that."""


@importer("LSTM")
def lstm(node: OnnxNode) -> tuple[str, ...]:
    """Peepholes too; initial states are zero, or both inputs of the network's."""
    if node.flag("input_forget", default=False):
        raise Refused("couples its input and forget gates (input_forget)")
    peepholes = node.weight(7, "peepholes") if node.has_input(7) else None

    def layer(direction: int, weight: Array, recurrent: Array, biases: Array) -> Recurrent:
        peephole = None if peepholes is None else peepholes[direction].reshape(3, -1)
        return LSTM(weight, recurrent, biases.sum(axis=0), peephole)

    return _import(node, layer, 4, ("Sigmoid", "Tanh", "Tanh"), (5, 6))


@importer("GRU")
def gru(node: OnnxNode) -> tuple[str, ...]:
    """Before and after the reset (linear_before_reset)."""
    after = node.flag("linear_before_reset", default=False)

    def layer(direction: int, weight: Array, recurrent: Array, biases: Array) -> Recurrent:
        units = recurrent.shape[1]
        bias, own = biases.sum(axis=0), np.zeros(units, np.float32)
        if after:
            bias[2 * units :], own = biases[0, 2 * units :], biases[1, 2 * units :]
        return GRU(weight, recurrent, bias, own, after)

    return _import(node, layer, 3, ("Sigmoid", "Tanh"), (5,))


@importer("RNN")
def rnn(node: OnnxNode) -> tuple[str, ...]:
    """The simple one."""

    def layer(direction: int, weight: Array, recurrent: Array, biases: Array) -> Recurrent:
        return RNN(weight, recurrent, biases.sum(axis=0))

    return _import(node, layer, 1, ("Tanh",), (5,))


Layer = Callable[[int, Array, Array, Array], Recurrent]
"""A direction's operator: its number, weights [G H, I] and [G H, H], and both biases [2, G H]."""


def _import(
    node: OnnxNode, layer: Layer, gates: int, functions: tuple[str, ...], states: tuple[int, ...]
) -> tuple[str, ...]:
    """Y, Y_h and Y_c, empty where nothing reads them; `states` are the places of initial states."""
    directions = DIRECTIONS.get(node.text("direction", "forward"))
    if directions is None:
        raise Refused(f"its direction {node.text('direction', '')!r} is unknown")
    shape = node.shape()[node.lead :]
    if len(shape) != 3:
        raise Refused(f"its input {list(shape)} is no batch of sequences")
    layout = Layout(node, len(directions))
    if layout.axes[0] + node.lead == 0 and node.builder.model.batch > 1:
        raise along_first_axis(node, "has time along the batch axis")
    steps, samples, features = (shape[axis] for axis in layout.axes)
    if samples > MOST_SAMPLES:
        raise Refused(f"works on {samples} sequences; up to {MOST_SAMPLES} are supported")
    weight, recurrent = node.weight(1), node.weight(2, "recurrence")
    units = recurrent.shape[-1]
    expected = (len(directions), gates * units)
    if weight.shape != (*expected, features) or recurrent.shape != (*expected, units):
        raise Refused(f"weights {weight.shape} and {recurrent.shape} do not fit {features} features")
    bias = node.weight(3, "bias") if node.has_input(3) else np.zeros((len(directions), 2 * expected[1]), "f")
    if bias.shape != (len(directions), 2 * expected[1]):
        raise Refused(f"a bias {bias.shape} does not fit {units} units")
    _check_settings(node, functions, len(directions), steps)
    node.check_reads(samples * steps * (weight.size + recurrent.size))
    clip = node.number("clip", np.inf)
    if clip < SMALLEST_CLIP:
        raise Refused(f"clips at {clip:g}; at least {SMALLEST_CLIP:g} is supported, where gates saturate")
    parts = []
    for sample in range(samples):
        x = select(node, node.tensor(), node.lead + layout.axes[1], [sample])
        x = node.emit(Reshape((1, steps, features)), x)
        ways = []
        for direction, reverse in enumerate(directions):
            op = layer(direction, weight[direction], recurrent[direction], bias[direction].reshape(2, -1))
            op = replace(op, reverse=reverse, clip=clip)  # type: ignore[type-var]
            ways.append((op, _initial_states(node, states, layout, direction, sample)))
        parts.append(_outputs(node, x, ways, layout, steps))
    batch_axes = (layout.sequence.index("N"), *(layout.state.index("N"),) * 2)
    return tuple(
        join(node, node.lead + axis, list(tensors)) if all(tensors) else ""
        for axis, tensors in zip(batch_axes, zip(*parts, strict=True), strict=True)
    )


@dataclass(frozen=True)
class Layout:
    """Where ONNX has time T, samples N, directions D and units H."""

    node: OnnxNode
    directions: int

    @property
    def batch_first(self) -> bool:
        return self.node.flag("layout", default=False)

    @property
    def axes(self) -> tuple[int, int, int]:
        """Time, samples and features of the input."""
        return (1, 0, 2) if self.batch_first else (0, 1, 2)

    @property
    def sequence(self) -> str:
        """Of Y."""
        return "NTDH" if self.batch_first else "TDNH"

    @property
    def state(self) -> str:
        """Of Y_h, Y_c and the initial states."""
        return "NDH" if self.batch_first else "DNH"

    def give(self, tensor: str, axes: str, steps: int, units: int) -> str:
        """One sample [1,T,D H] or [1,D,H] in the order of `axes`; no data moves."""
        sizes = {"N": 1, "T": steps, "D": self.directions, "H": units}
        return self.node.reshape(tensor, (1,) * self.node.lead + tuple(sizes[axis] for axis in axes))


def _check_settings(node: OnnxNode, functions: tuple[str, ...], directions: int, steps: int) -> None:
    """Refuse other functions than the usual ones, and sequences that end early."""
    stated = node.attributes.get("activations")
    if stated is not None:
        names = [name.decode("utf-8", "replace") for name in stated]
        if names != [*functions] * directions:
            raise Refused(f"its functions are {', '.join(names)}; {', '.join(functions)} are supported")
    if node.has_input(4) and np.any(node.constant(4, "sequence lengths") != steps):
        raise Refused("ends its sequence early (sequence_lens); only whole sequences are supported")


def _initial_states(
    node: OnnxNode, places: tuple[int, ...], layout: Layout, direction: int, sample: int
) -> tuple[str, ...]:
    """The initial states [1,1,H] of a direction and a sample, none where they are zero."""
    zero = [p for p in places if node.is_constant(p) and not node.constant(p, "state").any()]
    given = [place for place in places if node.has_input(place) and place not in zero]
    if not given:
        return ()
    if len(given) != len(places) or any(node.is_constant(place) for place in given):
        raise Refused("has a constant initial state; it must be zero, or all states inputs of the network")
    states = []
    for place in given:
        state = node.tensor(place)
        for axis, position in ((layout.state.index("D"), direction), (layout.state.index("N"), sample)):
            state = select(node, state, node.lead + axis, [position])
        states.append(node.emit(Reshape((1, 1, node.shape_of(state)[-1])), state))
    return tuple(states)


def _outputs(
    node: OnnxNode, x: str, ways: list[tuple[Recurrent, tuple[str, ...]]], layout: Layout, steps: int
) -> tuple[str, str, str]:
    """Y, Y_h and Y_c of one sample, "" where nothing reads them."""
    units = ways[0][0].hidden

    def every(gives: str) -> list[str]:
        return [node.emit(replace(op, gives=gives), x, *states) for op, states in ways]  # type: ignore[type-var]

    whole = last = cell = ""
    sequences = every("sequence") if node.is_read(0) else []
    if sequences:
        whole = layout.give(join(node, 2, sequences), layout.sequence, steps, units)
    if node.is_read(1):
        ends = [0 if op.reverse else steps - 1 for op, _ in ways]
        ours = [select(node, tensor, 1, [end]) for tensor, end in zip(sequences, ends, strict=False)]
        last = layout.give(join(node, 1, ours or every("last")), layout.state, steps, units)
    if node.is_read(2):
        cell = layout.give(join(node, 1, every("cell")), layout.state, steps, units)
    return whole, last, cell
