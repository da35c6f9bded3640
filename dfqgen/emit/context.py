"""Program and plan -> what the templates write: names, descriptors, calls, number tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dfqgen.emit.names import comment_text, identifier, unique_identifiers
from dfqgen.fixedpoint.program import Program, QPort
from dfqgen.fixedpoint.qtype import Array, IntType
from dfqgen.kernels.base import ConstArray, Field, LayerCode, Plan, Step
from dfqgen.targets import Isa

LINE_WIDTH = 110


@dataclass(frozen=True, slots=True)
class ArrayContext:
    """A `const` array: `body` is its initializer, wrapped."""

    symbol: str
    ctype: str
    count: int
    body: str
    comment: str


@dataclass(frozen=True, slots=True)
class PortContext:
    """A network input or output. `suffix` is "_name" where there are several, else empty."""

    name: str
    suffix: str
    shape: tuple[int, ...]
    size: int
    scale: str
    zero_point: int
    offset: int
    dtype: IntType

    @property
    def ctype(self) -> str:
        return f"{self.dtype.carrier.name}_t"

    @property
    def levels(self) -> int:
        """How many values there are, less one."""
        return self.dtype.maximum - self.dtype.minimum


@dataclass(frozen=True, slots=True)
class LayerContext:
    """One call of the schedule."""

    index: int
    symbol: str
    comment: str
    shapes: str
    struct: str
    initializer: str
    call: str
    arrays: tuple[ArrayContext, ...]


@dataclass(frozen=True, slots=True)
class NetworkContext:
    """Everything net.h and net.c say."""

    name: str
    macro: str
    title: str
    headers: tuple[str, ...]
    arena_bytes: int
    layers: tuple[LayerContext, ...]
    inputs: tuple[PortContext, ...]
    outputs: tuple[PortContext, ...]
    optimize_size: bool
    left_out: tuple[str, ...]


LEFT_OUT = {"plain": "DFQ_DSP_NO_PLAIN", "narrow": "DFQ_DSP_NO_BOUNDS"}
"""Members of descriptors, and what the C defines where no layer has them: shared code lacks that part."""


def layer_symbols(plan: Plan) -> list[str]:
    """The C name of each step, in order: unique, from the names of the model's nodes."""
    return unique_identifiers((step.op.name for step in plan.steps), "layer")


def network_context(program: Program, plan: Plan, *, optimize: str) -> NetworkContext:
    """Context of the templates; `headers` are the runtime headers the steps need, sorted."""
    name = identifier(program.name, "net")
    layers = tuple(
        _layer(name, index, symbol, step)
        for index, (symbol, step) in enumerate(zip(layer_symbols(plan), plan.steps, strict=True))
    )
    return NetworkContext(
        name=name,
        macro=name.upper(),
        title=comment_text(program.name),
        headers=tuple(sorted({step.kernel.header for step in plan.steps} | {"portable/dfq_common.h"})),
        arena_bytes=plan.arena_bytes,
        layers=layers,
        inputs=_ports(program, plan, program.inputs),
        outputs=_ports(program, plan, program.outputs),
        optimize_size=optimize == "size",
        left_out=_left_out(plan) if optimize == "size" else (),
    )


def _left_out(plan: Plan) -> tuple[str, ...]:
    if not any(step.kernel.isa is Isa.DSP for step in plan.steps):
        return ()
    names = {name for step in plan.steps for name in _member_names(step.code.fields)}
    return tuple(macro for member, macro in LEFT_OUT.items() if member not in names)


def _member_names(fields: Sequence[Field]) -> Iterator[str]:
    """Names of members and of members of members."""
    for item in fields:
        yield item.name
        if isinstance(item.value, tuple):
            yield from _member_names([part for part in item.value if isinstance(part, Field)])


def _ports(program: Program, plan: Plan, ports: Sequence[QPort]) -> tuple[PortContext, ...]:
    names = unique_identifiers((port.name for port in ports), "port")
    contexts = []
    for port, symbol in zip(ports, names, strict=True):
        tensor = program.tensors[port.tensor]
        contexts.append(
            PortContext(
                name=comment_text(port.name),
                suffix=f"_{symbol}" if len(ports) > 1 else "",
                shape=tensor.shape,
                size=tensor.elements,
                scale=float_literal(tensor.qtype.scale),
                zero_point=tensor.qtype.zero_point,
                offset=plan.offsets[port.tensor],
                dtype=tensor.qtype.dtype,
            )
        )
    return tuple(contexts)


def _layer(network: str, index: int, symbol: str, step: Step) -> LayerContext:
    code = step.code
    symbols = {array.role: f"{network}_{symbol}_{array.role}" for array in code.arrays}
    arguments = [f"&{symbol}_layer"]
    arguments += [f"arena + {offset}" for offset in step.input_offsets]
    arguments.append(f"arena + {step.output_offset}")
    if step.scratch_bytes:
        arguments.append(f"arena + {step.scratch_offset}")
    name = comment_text(step.op.name)
    inputs = " + ".join(shape_text(tensor.shape) for tensor in step.inputs)
    return LayerContext(
        index=index,
        symbol=symbol,
        comment=f"{name}: {code.title}" if name else code.title,
        shapes=f"{inputs} -> {shape_text(step.output.shape)}",
        struct=code.struct,
        initializer=initializer(code, symbols),
        call=f"{code.function}({', '.join(arguments)});",
        arrays=tuple(_array(symbols[array.role], array) for array in code.arrays),
    )


def _array(symbol: str, array: ConstArray) -> ArrayContext:
    return ArrayContext(
        symbol, array.ctype, array.values.size, number_table(array.values), comment_text(array.comment)
    )


def shape_text(shape: Sequence[int]) -> str:
    """A shape without its batch axis: 32x32x16."""
    return "x".join(map(str, shape[1:])) if len(shape) > 1 else str(shape[0])


def initializer(code: LayerCode, symbols: dict[str, str]) -> str:
    """The lines between the braces of a layer's descriptor."""
    return "\n".join(_members(code.fields, symbols, "    "))


def _members(fields: Sequence[Field], symbols: dict[str, str], indent: str) -> list[str]:
    lines = []
    for item in fields:
        note = f" /* {comment_text(item.comment)} */" if item.comment else ""
        if _is_nested(item.value):
            inner: Sequence[Field] = item.value  # type: ignore[assignment]
            lines.append(f"{indent}.{item.name} = {{{note}")
            lines += _members(inner, symbols, indent + "    ")
            lines.append(f"{indent}}},")
        else:
            lines.append(f"{indent}.{item.name} = {_value(item, symbols)},{note}")
    return lines


def _is_nested(value: object) -> bool:
    return isinstance(value, tuple) and bool(value) and isinstance(value[0], Field)


def _value(item: Field, symbols: dict[str, str]) -> str:
    if isinstance(item.value, str):
        return symbols[item.value]
    if isinstance(item.value, tuple):
        return "{" + ", ".join(str(number) for number in item.value) + "}"
    return str(item.value)


def number_table(values: Array) -> str:
    """Integers separated by commas, in lines of one width, indented."""
    texts = [str(number) for number in values.reshape(-1).tolist()]
    width = max(map(len, texts), default=1)
    per_line = max(1, min(16, (LINE_WIDTH - 4) // (width + 2)))
    lines = ["    " + ", ".join(texts[start : start + per_line]) for start in range(0, len(texts), per_line)]
    return ",\n".join(lines)


def float_literal(value: float) -> str:
    """A C float constant with enough digits to name one float."""
    text = f"{float(np.float32(value)):.9g}"
    return f"{text}f" if any(char in text for char in ".e") else f"{text}.0f"
