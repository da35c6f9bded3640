"""Typed graph and integer weights -> fixed-point program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from dfqgen.errors import ProgramError, UserError
from dfqgen.fixedpoint.program import Program, QOp, QPort, QState, QTensor
from dfqgen.fixedpoint.qtype import Array, IntType
from dfqgen.graph.ir import Graph, Node
from dfqgen.graph.rewrite import fresh_name
from dfqgen.graph.site import QuantizedWeight, Site
from dfqgen.ops.lookup import Clip
from dfqgen.ops.movement import QReshape, QTranspose
from dfqgen.quantization.real_ports import with_real_ports
from dfqgen.quantization.rounding import Rounded
from dfqgen.quantization.types import Typed
from dfqgen.quantization.weights import bound_biases

UNCLIPPED = (np.array([-np.inf]), np.array([np.inf]))


def lower(typed: Typed, rounded: Rounded) -> Program:
    """Every node as integer operators. The program is verified: no accumulator can overflow.

    Raises UserError where a layer's numbers are so far out of proportion that its arithmetic has no room.
    """
    graph = bound_biases(rounded.graph, typed.types, typed.clips)
    tensors = {name: QTensor(name, graph.shapes[name], qtype) for name, qtype in typed.types.items()}
    try:
        ops = _lowered(graph, typed, tensors, rounded)
        copies, states = _states(graph, tensors, ops)
        ops += copies
        program = Program(
            name=graph.name,
            inputs=tuple(QPort(p.name, p.tensor, p.permutation) for p in graph.fed),
            outputs=tuple(QPort(p.name, p.tensor, p.permutation) for p in graph.given),
            tensors={name: tensors[name] for name in _written(graph, ops)},
            ops=tuple(ops),
            states=states,
        )
        program = with_real_ports(program, inputs=typed.real_inputs, outputs=typed.real_outputs)
        program.verify()
    except ProgramError as error:
        raise UserError(
            f"this network leaves 32-bit arithmetic: {error}",
            "Its numbers are out of proportion there: look at that layer's parameters in a viewer, and at "
            "--input-mean, --input-std and --input-range.",
        ) from error
    return program


def _lowered(graph: Graph, typed: Typed, tensors: Mapping[str, QTensor], rounded: Rounded) -> list[QOp]:
    """The integer operators of every node, in order."""
    ops: list[QOp] = []
    absorbed = {clip.output for clip in typed.clips.values()}
    for node in graph.nodes:
        if node.output in absorbed:
            continue
        weight, dtype = rounded.weights.get(node.output), rounded.bits.get(node.output, IntType.INT8)
        site = site_of(node, typed.clips.get(node.output), tensors, weight, dtype)
        known = typed.stated >= {*site.input_names, site.output.name}
        ops.extend(node.op.lower(replace(site, stated=known)))
    return ops


def site_of(
    node: Node,
    clip: Node | None,
    tensors: Mapping[str, QTensor],
    weight: QuantizedWeight | None,
    weight_type: IntType,
) -> Site:
    """Where a node becomes integers: between these tensors, with the clip that it takes over. `weight_type`
    is of weights that it has yet to round.
    """
    return Site(
        name=node.name,
        inputs=tuple(tensors[name] for name in node.inputs),
        output=tensors[clip.output if clip else node.output],
        clip=_bounds(clip),
        weight=weight,
        weight_type=weight_type,
    )


def _states(
    graph: Graph, tensors: dict[str, QTensor], ops: list[QOp]
) -> tuple[list[QOp], tuple[QState, ...]]:
    """The program's states, and copies of what comes in and is a new state as it is: a delay.

    The copies' tensors join `tensors`.
    """
    moved = {op.output: op.inputs[0] for op in ops if isinstance(op, QReshape)}
    written = {op.output for op in ops}
    copies: list[QOp] = []
    states = []
    for before, after in graph.kept:
        root = output = after.tensor
        while root in moved:
            root = moved[root]
        if root not in written:
            output = fresh_name(f"{output}/kept", set(tensors))
            tensors[output] = replace(tensors[after.tensor], name=output)
            copies.append(QTranspose(output, (after.tensor,), output, tuple(range(len(after.shape)))))
        states.append(QState(before.name, before.tensor, output))
    return copies, tuple(states)


def _bounds(clip: Node | None) -> tuple[Array, Array]:
    if clip is None:
        return UNCLIPPED
    assert isinstance(clip.op, Clip)
    return clip.op.lo, clip.op.hi


def _written(graph: Graph, ops: list[QOp]) -> list[str]:
    return [port.tensor for port in graph.inputs] + [op.output for op in ops]
