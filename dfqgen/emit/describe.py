"""What the comments of generated C say of a layer: types, activation, place, work, choice of the kernel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dfqgen.emit.names import comment_text
from dfqgen.fixedpoint.program import QTensor
from dfqgen.kernels.base import Selection, Step
from dfqgen.ops.conv import QConv2D


def shape_text(shape: Sequence[int]) -> str:
    """A shape without its batch axis: 32x32x16."""
    return "x".join(map(str, shape[1:])) if len(shape) > 1 else str(shape[0])


def layer_title(step: Step) -> str:
    """The layer's name in the model and what it computes."""
    name = comment_text(step.op.name)
    return f"{name}: {step.code.title}" if name else step.code.title


def layer_lines(step: Step, target: str) -> tuple[str, ...]:
    """Inputs, output, work and choice of the kernel, one line each."""
    macs = step.op.macs(step.output)
    work = [f"{macs:,} MAC"] if macs else []
    inputs = [f"in   {tensor_text(tensor)}" for tensor in step.inputs]
    output = ", ".join(filter(None, (tensor_text(step.output), activation_text(step), place_text(step))))
    why = [] if step.selection is None else [selection_text(step.selection, target)]
    return (*inputs, f"out  {output}", "; ".join(work + why))


def tensor_text(tensor: QTensor) -> str:
    """Shape, type and the reals that integers stand for: 8x8x3 int8, 0.0157 * (q + 128)."""
    if tensor.qtype.dtype.real:
        return f"{shape_text(tensor.shape)} {tensor.qtype.dtype}"
    zero_point = tensor.qtype.zero_point
    q = f"(q {'-' if zero_point > 0 else '+'} {abs(zero_point)})" if zero_point else "q"
    return f"{shape_text(tensor.shape)} {tensor.qtype.dtype}, {tensor.qtype.scale:.4g} * {q}"


def activation_text(step: Step) -> str:
    """What the clamp of the output does to reals: "ReLU", "ReLU6", "clip -1 to 1"; empty where it only
    keeps them representable.
    """
    clamp, qtype = step.op.clamp, step.output.qtype
    if clamp is None:
        return ""
    # The bounds of the type do not clip where the range of the tensor was chosen so that nothing leaves it.
    lo, hi = (np.unique((bound - qtype.zero_point) * qtype.scale) for bound in clamp)
    cuts_below = bool((clamp[0] > qtype.dtype.minimum).any()) or (not lo.any() and _goes_below_zero(step))
    cuts_above = bool((clamp[1] < qtype.dtype.maximum).any())
    if cuts_below and not lo.any():
        if np.all(np.abs(hi - 6.0) <= qtype.scale / 2):
            return "ReLU6"
        return f"ReLU, at most {_bounds_text(hi)}" if cuts_above else "ReLU"
    if cuts_below and cuts_above:
        return f"clip {_bounds_text(lo)} to {_bounds_text(hi)}"
    if cuts_below:
        return f"at least {_bounds_text(lo)}"
    return f"at most {_bounds_text(hi)}" if cuts_above else ""


def _goes_below_zero(step: Step) -> bool:
    """Whether the operator may give negative reals to a type that has none."""
    return isinstance(step.op, QConv2D) or any(tensor.qtype.real_range[0] < 0 for tensor in step.inputs)


def _bounds_text(bounds: np.ndarray) -> str:
    first, last = f"{bounds[0]:.4g}", f"{bounds[-1]:.4g}"
    return first if first == last else f"({first} .. {last}, by channel)"


def place_text(step: Step) -> str:
    """Whether the output overwrites an input, or how many rows of it are made at a time."""
    if step.block is not None:
        return "a row at a time" if step.block.rows == 1 else f"{step.block.rows} rows at a time"
    start, end = step.output_offset, step.output_offset + step.output.size_bytes
    for number, (tensor, offset) in enumerate(zip(step.inputs, step.input_offsets, strict=True), 1):
        if start < offset + tensor.size_bytes and offset < end:
            which = f"input {number}" if len(step.inputs) > 1 else "the input"
            below = offset - start
            return f"overwrites {which} " + (f"from {below:,} bytes ahead" if below else "in place")
    return ""


def selection_text(selection: Selection, target: str) -> str:
    """What the kernel costs on the target and why it is this one."""
    count = selection.candidates
    if not selection.measured:
        return "the only kernel" if count == 1 else f"one of {count} kernels, not measured on {target}"
    cost = f"about {_count_text(selection.instructions)} instructions on {target}"
    if count == 1:
        return f"{cost}, the only kernel"
    if selection.instructions <= selection.fastest:
        return f"{cost}, the fewest of {count} kernels"
    return f"{cost}, for less memory: the fastest of {count} kernels takes {_count_text(selection.fastest)}"


def _count_text(count: float) -> str:
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.0f}"
