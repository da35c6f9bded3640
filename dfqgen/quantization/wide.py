"""Which activations are int16: all that can be, or those of the layers named."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from dfqgen.errors import UserError
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.graph.ir import Graph, Node
from dfqgen.recipe.records import ActivationsRecipe

Family = Callable[[str], str]
"""The representative of all tensors that must have one type with this one."""


def wide_families(
    graph: Graph,
    clips: Mapping[str, Node],
    tensors: Iterable[str],
    family: Family,
    options: ActivationsRecipe,
) -> frozenset[str]:
    """Representatives of the families that become int16.

    Network inputs and outputs stay int8, and so do tensors next to an operator without int16 kernels: the
    layers on the border convert, since a convolution's and a sum's types are free. States are int16 wherever
    they can be, whatever the options say: what is rounded away there at each step adds up. Raises UserError
    for a layer named in the options that does not exist or cannot be int16.
    """
    if not options.wide and not graph.states:
        return frozenset()
    absorbed = {clip.output for clip in clips.values()}
    blocked: dict[str, str] = {}
    writers: dict[str, list[Node]] = {}
    for port in (*graph.fed, *graph.given):
        blocked[family(port.tensor)] = "it holds a network input or output"
    for node in graph.nodes:
        if node.output in absorbed:
            continue
        output = clips[node.output].output if node.output in clips else node.output
        writers.setdefault(family(output), []).append(node)
        types = node.op.activation_types(*(graph.shapes[name] for name in node.inputs))
        if IntType.INT16 not in types:
            for name in (*node.inputs, output):
                blocked.setdefault(family(name), f"{type(node.op).__name__} {node.name!r} computes in int8")
    known = {name for node in graph.nodes for name in (node.name, node.output)}
    unknown = sorted(set(options.activations_map) - known)
    if unknown:
        raise UserError(f"there is no layer {', '.join(map(repr, unknown))}", "See dfqgen inspect.")
    states = {family(before.tensor) for before, _ in graph.kept}
    chosen: set[str] = set()
    refused: list[str] = []
    for root in {family(tensor) for tensor in tensors}:
        named = {
            options.activations_map[name]
            for node in writers.get(root, [])
            for name in (node.name, node.output)
            if name in options.activations_map
        }
        if "int16" not in (named or {"int16" if root in states else options.activations}):
            continue
        if root not in blocked:
            chosen.add(root)
        elif named:
            layers = ", ".join(repr(node.name) for node in writers[root])
            refused.append(f"the output of {layers} must be int8: {blocked[root]}")
    if refused:
        raise UserError("; ".join(sorted(refused)), "Leave these layers out of --activations-map.")
    return frozenset(chosen)
