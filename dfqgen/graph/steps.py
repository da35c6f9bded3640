"""Networks with states over a sequence of steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from dfqgen.graph.ir import Array, Graph

Step = Callable[[Mapping[str, Array]], Mapping[str, Array]]
"""Arrays [1, ...] by input tensor, states among them -> arrays by output tensor, states among them."""


def with_states(graph: Graph, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """`inputs` [N, ...] by tensor, N steps of one sequence, and the states before each of the steps."""
    visited = dict(inputs)
    if graph.states:
        _, states = run_steps(graph, graph.evaluate, inputs)
        visited.update(states)
    return visited


def run_steps(
    graph: Graph, step: Step, inputs: Mapping[str, Array]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Outputs by tensor [N, ...] of N steps from zero states on, and the states before each step."""
    state = {before.tensor: np.zeros(before.shape, np.float32) for before, _ in graph.kept}
    count = len(next(iter(inputs.values())))
    found: list[Mapping[str, Array]] = []
    visited: list[dict[str, Array]] = []
    for i in range(count):
        visited.append(state)
        found.append(step({name: value[i : i + 1] for name, value in inputs.items()} | state))
        state = {before.tensor: found[-1][after.tensor] for before, after in graph.kept}
    return _joined(found), _joined(visited)


def _joined(steps: list[Mapping[str, Array]] | list[dict[str, Array]]) -> dict[str, Array]:
    return {name: np.concatenate([one[name] for one in steps]) for name in steps[0]}
