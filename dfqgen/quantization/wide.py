"""Which activations are int16: all, those of layers and inputs named, and what inputs and outputs are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from dfqgen.errors import UserError
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.graph.ir import Graph, Node, Port
from dfqgen.recipe.records import ActivationsRecipe, ActivationType, PortType

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

    A stated type of network inputs and outputs is that of their whole families. Tensors next to an operator
    without int16 kernels stay int8: the layers on the border convert, since a convolution's and a sum's
    types are free. Whatever the options say, int16 are, but for those that are an input or an output too,
    states, since what is rounded away there at each step adds up, and inputs that are read finely. Raises
    UserError for a layer named in the options that does not exist or cannot be int16, and for an input that
    is an output of another type.
    """
    needed = {before.tensor for before, _ in graph.kept}
    needed.update(name for node in graph.nodes if node.op.reads_finely for name in node.inputs)
    if not options.wide and not needed:
        return frozenset()
    usual: ActivationType = "int16" if options.activations == "int16" else "int8"
    stated = port_types(graph, family, options)
    blocked, writers = _neighbours(graph, clips, family)
    fed = {port.name: family(port.tensor) for port in graph.fed}
    known = {name for node in graph.nodes for name in (node.name, node.output)} | fed.keys()
    unknown = sorted(set(options.activations_map) - known)
    if unknown:
        raise UserError(f"there is no layer {', '.join(map(repr, unknown))}", "See dfqgen inspect.")
    always = {family(tensor) for tensor in needed}
    always -= {family(port.tensor) for port in (*graph.fed, *graph.given)}
    chosen: set[str] = set()
    refused: list[str] = []
    for root in {family(tensor) for tensor in tensors}:
        named = {
            options.activations_map[name]
            for node in writers.get(root, [])
            for name in (node.name, node.output)
            if name in options.activations_map
        }
        named |= {dtype for name, dtype in options.activations_map.items() if fed.get(name) == root}
        default = "int16" if root in always else usual
        if "int16" not in (named or {stated.get(root, default)}):
            continue
        if root not in blocked:
            chosen.add(root)
        elif named or root in stated:
            layers = ", ".join(repr(node.name) for node in writers.get(root, [])) or "an input"
            refused.append(f"the output of {layers} must be int8: {blocked[root]}")
    if refused:
        raise UserError("; ".join(sorted(refused)), "Leave these layers out of --activations-map.")
    return frozenset(chosen)


def port_types(graph: Graph, family: Family, options: ActivationsRecipe) -> dict[str, ActivationType]:
    """The stated types of the families that hold network inputs or outputs; float32 says nothing of them."""
    stated: dict[str, ActivationType] = {}
    ports: list[tuple[Port, PortType | None]] = [
        *((port, options.input_type) for port in graph.fed),
        *((port, options.output_type) for port in graph.given),
    ]
    for port, dtype in ports:
        if dtype is None or dtype == "float32":
            continue
        root = family(port.tensor)
        if stated.setdefault(root, dtype) != dtype:
            raise UserError(
                f"output {port.name!r} has the integers of an input: it cannot be {dtype} when that is "
                f"{stated[root]}",
                "State one --input-type and --output-type, or leave one out.",
            )
    return stated


def _neighbours(
    graph: Graph, clips: Mapping[str, Node], family: Family
) -> tuple[dict[str, str], dict[str, list[Node]]]:
    """Families that cannot be int16, each with the reason; and what writes each family."""
    absorbed = {clip.output for clip in clips.values()}
    blocked: dict[str, str] = {}
    writers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        if node.output in absorbed:
            continue
        output = clips[node.output].output if node.output in clips else node.output
        writers.setdefault(family(output), []).append(node)
        types = node.op.activation_types(*(graph.shapes[name] for name in node.inputs))
        if IntType.INT16 not in types:
            for name in (*node.inputs, output):
                blocked.setdefault(family(name), f"{type(node.op).__name__} {node.name!r} computes in int8")
    return blocked, writers
