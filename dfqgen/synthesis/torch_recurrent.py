"""Recurrent layers in PyTorch, step by step: any states, peepholes and projections, with gradients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from dfqgen.graph.ir import Array
from dfqgen.ops.recurrent import GRU, LSTM, Recurrent

Step = Callable[[Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]]
"""The states after one step, from the input's part of the gates' sums [N, G H] and the states before."""


def recurrent_function(op: Recurrent) -> Callable[..., Tensor]:
    """x [N,T,I], and initial states [N,1,H] where they are not zero, to what the operator gives."""
    weight, bias = _constant(op.weight), _constant(op.bias)
    one_step = _step(op)

    def function(x: Tensor, *given: Tensor) -> Tensor:
        states = tuple(state[:, 0] for state in given)
        states = states or tuple(x.new_zeros(x.shape[0], width) for width in op.widths)
        sums = x @ weight.T + bias
        order = range(x.shape[1])
        outputs = []
        for step in reversed(order) if op.reverse else order:
            states = one_step(sums[:, step], states)
            outputs.append(states[0])
        if op.gives == "states":
            return torch.cat(states, dim=-1)[:, None]
        if op.gives != "sequence":
            return states[1 if op.gives == "cell" else 0][:, None]
        return torch.stack(outputs[::-1] if op.reverse else outputs, dim=1)

    return function


def _step(op: Recurrent) -> Step:
    if isinstance(op, LSTM):
        return _lstm_step(op)
    if isinstance(op, GRU):
        return _gru_step(op)
    recurrent = _constant(op.recurrent)
    return lambda sums, states: (torch.tanh((sums + states[0] @ recurrent.T).clamp(-op.clip, op.clip)),)


def _lstm_step(op: LSTM) -> Step:
    recurrent = _constant(op.recurrent)
    peephole = _constant(np.zeros((3, 1)) if op.peephole is None else op.peephole)
    projection = None if op.projection is None else _constant(op.projection)

    def step(sums: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        h, c = states
        i, o, f, g = (sums + h @ recurrent.T).chunk(4, dim=1)

        def gate(x: Tensor) -> Tensor:
            return torch.sigmoid(x.clamp(-op.clip, op.clip))

        new = gate(f + peephole[2] * c) * c
        new = new + gate(i + peephole[0] * c) * torch.tanh(g.clamp(-op.clip, op.clip))
        h = gate(o + peephole[1] * new) * torch.tanh(new)
        return h if projection is None else h @ projection.T, new

    return step


def _gru_step(op: GRU) -> Step:
    recurrent, bias = _constant(op.recurrent), _constant(op.recurrent_bias)
    units = op.hidden

    def step(sums: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        (h,) = states
        gates = (sums[:, : 2 * units] + h @ recurrent[: 2 * units].T).clamp(-op.clip, op.clip)
        z, r = torch.sigmoid(gates).chunk(2, dim=1)
        last = recurrent[2 * units :].T
        fed = r * (h @ last + bias) if op.reset_after else (r * h) @ last
        n = torch.tanh((sums[:, 2 * units :] + fed).clamp(-op.clip, op.clip))
        return ((1.0 - z) * n + z * h,)

    return step


def _constant(value: Array) -> Tensor:
    return torch.tensor(np.asarray(value, np.float32))
