"""The engine: rules are found by pattern, and must come to an end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dfqgen.graph.ir import Graph, Node, Port
from dfqgen.graph.rewrite import ANY, Result, Row, Scope, matched, pattern, rewrite
from dfqgen.ops.add import Add
from dfqgen.ops.lookup import Clip, Elementwise
from tests.builders import chain, relu, relu6


def scope_of(graph: Graph) -> Scope:
    scope = Scope(graph)
    for node in graph.nodes:
        scope.add(node)
    return scope


def test_a_row_is_matched_from_its_last_node_back() -> None:
    graph = chain([Elementwise("tanh"), relu(), relu6()])
    row = matched(graph.nodes[2], scope_of(graph), (Elementwise, Clip, Clip))
    assert row is not None
    assert row.nodes == graph.nodes
    assert row.shape == (1, 8, 8, 3)
    assert matched(graph.nodes[1], scope_of(graph), (Elementwise, Clip, Clip)) is None
    assert matched(graph.nodes[2], scope_of(graph), (Clip, Elementwise, Clip)) is None


def test_a_row_that_others_look_into_is_none_where_it_must_be_read_once() -> None:
    stem = chain([relu(), Elementwise("tanh")])
    nodes = (*stem.nodes, Node("sum", Add(), ("t0", "t1"), "s"))
    graph = Graph("net", stem.inputs, (Port("y", "s", (1, 8, 8, 3)),), nodes)
    kinds = (Clip, Elementwise)
    assert matched(graph.nodes[1], scope_of(graph), kinds) is not None
    assert matched(graph.nodes[1], scope_of(graph), kinds, read_once=True) is None


def test_a_pattern_hands_over_the_operators_in_the_order_of_data() -> None:
    @pattern(Clip, ANY)
    def drop_the_clip(row: Row, clip: Clip, op: object) -> Result:
        assert isinstance(op, Elementwise)
        return row.becomes(op)

    graph = rewrite(chain([relu(), Elementwise("tanh")]), drop_the_clip)
    assert [(type(node.op), node.inputs) for node in graph.nodes] == [(Elementwise, ("x",))]


def test_a_rule_that_never_settles_is_an_error() -> None:
    def again(node: Node, scope: Scope) -> list[Node]:
        return [replace(node, op=Clip.of(0.0, 1.0))]

    with pytest.raises(AssertionError, match="again"):
        rewrite(chain([relu()]), again)
