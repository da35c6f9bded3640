"""Program and plan -> what the templates write: names, descriptors, calls, number tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dfqgen.emit.arena import ArenaTable, arena_table
from dfqgen.emit.describe import layer_lines, layer_title, shape_text
from dfqgen.emit.names import comment_lines, comment_text, identifier, unique_identifiers
from dfqgen.emit.provenance import Provenance
from dfqgen.emit.rows import Places, RowsContext, rows_contexts
from dfqgen.fixedpoint.program import Program, QPort
from dfqgen.fixedpoint.qtype import Array, IntType, QType
from dfqgen.kernels.base import ConstArray, Field, Plan, SharedCode, Step, input_names
from dfqgen.recipe.records import Optimize
from dfqgen.targets import Isa
from dfqgen.version import __version__

LINE_WIDTH = 110


@dataclass(frozen=True, slots=True)
class ArrayContext:
    """A `const` array and what is in it."""

    symbol: str
    ctype: str
    values: Array
    comment: str

    @property
    def count(self) -> int:
        return self.values.size

    @property
    def size_bytes(self) -> int:
        return self.values.nbytes

    @property
    def body(self) -> str:
        """The initializer, wrapped. Made when it is written: five times the size of the numbers."""
        return number_table(self.values)


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
    means: str
    by_rows: bool = False
    fed: bool = False

    @property
    def ctype(self) -> str:
        return "float" if self.dtype.real else f"{self.dtype.carrier.name}_t"

    @property
    def levels(self) -> int:
        """How many values there are, less one."""
        return self.dtype.maximum - self.dtype.minimum


@dataclass(frozen=True, slots=True)
class StateContext:
    """What lives from step to step: `before` and `after` are the places of the old one and the new one."""

    name: str
    shape: str
    dtype: IntType
    size: int
    zero_point: int
    before: str
    after: str

    @property
    def ctype(self) -> str:
        return f"{self.dtype.carrier.name}_t"

    @property
    def size_bytes(self) -> int:
        return self.size * self.dtype.carrier.itemsize


@dataclass(frozen=True, slots=True)
class LayerContext:
    """One call of the schedule. `title` and `lines` are its comment, `places` point into the arena."""

    index: int
    symbol: str
    title: str
    lines: tuple[str, ...]
    shapes: str
    struct: str
    initializer: str
    parameters: str
    places: tuple[str, ...]
    call: str
    arrays: tuple[ArrayContext, ...]

    @property
    def constant_bytes(self) -> int:
        return sum(array.size_bytes for array in self.arrays)


@dataclass(frozen=True, slots=True)
class SharedContext:
    """A copy of a kernel that several layers call: what it takes and how it calls the kernel."""

    name: str
    function: str
    layers: int
    parameters: str
    struct: str
    initializer: str
    arguments: str


@dataclass(frozen=True, slots=True)
class NetworkContext:
    """Everything net.h and net.c say. `origin` are lines on where it comes from and how to make it again."""

    name: str
    macro: str
    title: str
    version: str
    target: str
    origin: tuple[str, ...]
    macs: int
    headers: tuple[str, ...]
    arena_bytes: int
    arena: tuple[str, ...]
    shared: tuple[SharedContext, ...]
    layers: tuple[LayerContext, ...]
    inputs: tuple[PortContext, ...]
    outputs: tuple[PortContext, ...]
    states: tuple[StateContext, ...]
    optimize: Optimize
    left_out: tuple[str, ...]
    segments: tuple[RowsContext, ...]

    @property
    def rows(self) -> RowsContext | None:
        """The layers that run as rows of an input come: they may come one by one."""
        return self.segments[0] if self.fed_input is not None else None

    @property
    def schedule(self) -> tuple[RowsContext | LayerContext, ...]:
        """What is left to run when the rows of the input are all there."""
        begins = {rows.begin: rows for rows in self.segments}
        taken = {index for rows in self.segments for index in range(rows.begin, rows.end)}
        done = 0 if self.rows is None else self.rows.end
        return tuple(
            begins.get(layer.index, layer)
            for layer in self.layers[done:]
            if layer.index in begins or layer.index not in taken
        )

    @property
    def whole_inputs(self) -> tuple[PortContext, ...]:
        """Those that lie in the arena as a whole."""
        if self.rows is None or not self.rows.fed:
            return self.inputs
        return tuple(port for port in self.inputs if not port.fed)

    @property
    def other_inputs(self) -> tuple[PortContext, ...]:
        """Those whose rows never come one by one."""
        return tuple(port for port in self.inputs if not port.by_rows)

    @property
    def fed_input(self) -> PortContext | None:
        """The one whose rows come one by one, or may."""
        return next((port for port in self.inputs if port.by_rows), None)

    @property
    def constant_bytes(self) -> int:
        return sum(layer.constant_bytes for layer in self.layers)


LEFT_OUT = {"plain": "DFQ_DSP_NO_PLAIN", "narrow": "DFQ_DSP_NO_BOUNDS"}
"""Members of descriptors, and what the C defines where no layer has them: shared code lacks that part."""


CONTENTS = {
    "bias": "a channel: its bias, with the input's zero point in it",
    "multipliers": "a channel: its factor from sums to outputs, times 2^32",
    "table": "the output for each input",
}
"""What is in arrays whose kernels leave it at the name."""


def layer_symbols(plan: Plan) -> list[str]:
    """The C name of each step, in order: unique, from the names of the model's nodes."""
    return unique_identifiers((step.op.name for step in plan.steps), "layer")


def network_context(
    program: Program, plan: Plan, *, target: str, optimize: Optimize, provenance: Provenance | None
) -> NetworkContext:
    """Context of the templates; `headers` are the runtime headers the steps need, sorted."""
    name = identifier(program.name, "net")
    symbols = layer_symbols(plan)
    inputs = _ports(program, plan, program.inputs)
    words = {port.tensor: f"input{at.suffix}" for port, at in zip(program.inputs, inputs, strict=True)}
    words |= {state.input: word for state, word in zip(program.states, _state_words(program), strict=True)}
    arena = arena_table(program, plan, name.upper(), symbols, words)
    layers = tuple(
        _layer(name, index, symbol, step, arena, target)
        for index, (symbol, step) in enumerate(zip(symbols, plan.steps, strict=True))
    )
    common = {"portable/dfq_common.h"}
    if plan.segments:
        common.add("portable/dfq_rows.h")
    words |= {step.output.name: symbol for step, symbol in zip(plan.steps, symbols, strict=True)}
    return NetworkContext(
        name=name,
        macro=name.upper(),
        title=comment_text(program.name),
        version=__version__,
        target=target,
        origin=() if provenance is None else _origin(provenance),
        macs=program.macs,
        headers=tuple(sorted({step.kernel.header for step in plan.steps} | common)),
        arena_bytes=plan.arena_bytes,
        arena=arena.lines,
        shared=_shared(plan),
        layers=layers,
        inputs=inputs,
        outputs=_ports(program, plan, program.outputs),
        states=_states(program, arena),
        optimize=optimize,
        left_out=()
        if optimize == "speed"
        else left_out((step.kernel.isa, step.code.fields) for step in plan.steps),
        segments=rows_contexts(plan, Places(arena.tensors, arena.buffers, words)),
    )


def _origin(provenance: Provenance) -> tuple[str, ...]:
    model = f"{comment_text(provenance.model_file)}, SHA-256 {provenance.model_sha256[:16]}..."
    command = provenance.command or "options that no command line has; manifest.json lists them"
    first, *more = comment_lines(command, 96, 8)
    return (f"Model      {model}", f"Made by    {first}", *(f"           {line}" for line in more))


def left_out(layers: Iterable[tuple[Isa, Sequence[Field]]]) -> tuple[str, ...]:
    """The macros of LEFT_OUT that C defines whose layers share code, by its layers' cores and descriptors."""
    all_layers = list(layers)
    if not any(isa is Isa.DSP for isa, _ in all_layers):
        return ()
    names = {name for _, fields in all_layers for name in _member_names(fields)}
    return tuple(macro for member, macro in LEFT_OUT.items() if member not in names)


def _member_names(fields: Sequence[Field]) -> Iterator[str]:
    """Names of members and of members of members."""
    for item in fields:
        yield item.name
        if isinstance(item.value, tuple):
            yield from _member_names([part for part in item.value if isinstance(part, Field)])


def _ports(program: Program, plan: Plan, ports: Sequence[QPort]) -> tuple[PortContext, ...]:
    names = unique_identifiers((port.name for port in ports), "port")
    rows = plan.rows_in
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
                means=_meaning_text(program, port.tensor),
                by_rows=rows is not None and port.tensor == rows.source,
                fed=rows is not None and port.tensor == rows.source and rows.fed,
            )
        )
    return tuple(contexts)


def _meaning_text(program: Program, tensor: str) -> str:
    """What the integers of an input or output stand for, in a few words."""
    qtype = program.tensors[tensor].qtype
    for op in program.ops:
        heard = op.heard() if tensor in op.inputs else None
        if heard is not None:
            less = f", less {-qtype.zero_point}" if qtype.zero_point else ""
            return f"numbers of a table's rows, 0 to {heard[1] - heard[0]}{less}"
    reals = _reals_text(qtype)
    return reals and f"reals from {reals}"


def _reals_text(qtype: QType) -> str:
    return "" if qtype.dtype.real else "{:.4g} to {:.4g}".format(*qtype.real_range)


def _state_words(program: Program) -> list[str]:
    names = unique_identifiers((state.name for state in program.states), "state")
    return [f"state_{name}" for name in names] if len(names) > 1 else ["state"] * len(names)


def _states(program: Program, arena: ArenaTable) -> tuple[StateContext, ...]:
    contexts = []
    for state in program.states:
        tensor = program.tensors[state.input]
        contexts.append(
            StateContext(
                name=comment_text(state.name),
                shape=shape_text(tensor.shape),
                dtype=tensor.qtype.dtype,
                size=tensor.elements,
                zero_point=tensor.qtype.zero_point,
                before=arena.tensors[state.input],
                after=arena.tensors[state.output],
            )
        )
    return tuple(contexts)


def _shared(plan: Plan) -> tuple[SharedContext, ...]:
    """The copies of kernels that steps share, in the order of their first calls."""
    uses: dict[str, list[Step]] = {}
    for step in plan.steps:
        if step.shared is not None:
            uses.setdefault(_shared_name(step.kernel.function, step.shared), []).append(step)
    contexts = []
    for name, steps in uses.items():
        codes, inputs = [step.code for step in steps], input_names(steps[0])
        outputs = ["y", "scratch"] if steps[0].scratch_bytes else ["y"]
        parameters = [f"const {codes[0].struct} *layer"]
        parameters += [f"const int8_t *{x}" for x in inputs] + [f"int8_t *{y}" for y in outputs]
        contexts.append(
            SharedContext(
                name=name,
                function=codes[0].function,
                layers=len(steps),
                parameters=", ".join(parameters),
                struct=codes[0].struct,
                initializer="\n".join(_common([code.fields for code in codes], "layer->", "        ")),
                arguments=", ".join(["&common", *inputs, *outputs]),
            )
        )
    return tuple(contexts)


def _common(fields: Sequence[Sequence[Field]], place: str, indent: str) -> list[str]:
    """A descriptor's members as several layers have them: constants where they are the same, else what the
    layer says. Members that none has are left out.
    """
    tables = [{item.name: item for item in some} for some in fields]
    lines = []
    for name in dict.fromkeys(name for table in tables for name in table):
        found = [table.get(name) for table in tables]
        values = [None if item is None else item.value for item in found]
        if any(_is_nested(value) for value in values):
            inner: list[Sequence[Field]] = [() if value is None else value for value in values]  # type: ignore[misc]
            lines.append(f"{indent}.{name} = {{")
            lines += _common(inner, f"{place}{name}.", indent + "    ")
            lines.append(f"{indent}}},")
            continue
        first = found[0]
        size = max(len(value) if isinstance(value, tuple) else 0 for value in values)
        if (
            first is not None
            and not isinstance(first.value, str)
            and values.count(first.value) == len(values)
        ):
            lines.append(f"{indent}.{name} = {_value(first, {})},")
        elif size:
            members = ", ".join(f"{place}{name}[{i}]" for i in range(size))
            lines.append(f"{indent}.{name} = {{ {members} }},")
        else:
            lines.append(f"{indent}.{name} = {place}{name},")
    return lines


def _shared_name(function: str, shared: SharedCode) -> str:
    return f"shared_{function.removeprefix('dfq_')}_{shared.number}"


def _layer(network: str, index: int, symbol: str, step: Step, arena: ArenaTable, target: str) -> LayerContext:
    code = step.code
    symbols = {array.role: f"{network}_{symbol}_{array.role}" for array in code.arrays}
    names = input_names(step)
    places: list[tuple[str, str, str]] = []
    parameters = ["int8_t *arena"]
    if step.block is None:
        places += [
            ("const int8_t", x, arena.tensors[t.name]) for x, t in zip(names, step.inputs, strict=True)
        ]
        places.append(("int8_t", "y", arena.tensors[step.output.name]))
    else:
        parameters = [
            *(["int8_t *arena"] if step.scratch_bytes else []),
            *(f"const int8_t *{x}" for x in names),
        ]
        parameters.append("int8_t *y")
    if step.scratch_bytes:
        places.append(("int8_t", "scratch", arena.scratch[index]))
    scratch = ["scratch"] if step.scratch_bytes else []
    arguments = ", ".join((f"&{symbol}_layer", *names, "y", *scratch))
    inputs = " + ".join(shape_text(tensor.shape) for tensor in step.inputs)
    called = code.function if step.shared is None else _shared_name(step.kernel.function, step.shared)
    return LayerContext(
        index=index,
        symbol=symbol,
        title=layer_title(step),
        lines=layer_lines(step, target),
        shapes=f"{inputs} -> {shape_text(step.output.shape)}",
        struct=code.struct,
        initializer=initializer(code.fields, symbols),
        parameters=", ".join(parameters),
        places=tuple(f"{ctype} *{name} = arena + {macro};" for ctype, name, macro in places),
        call=f"{called}({arguments});",
        arrays=tuple(_array(symbols[array.role], array) for array in code.arrays),
    )


def _array(symbol: str, array: ConstArray) -> ArrayContext:
    return ArrayContext(
        symbol=symbol,
        ctype=array.ctype,
        values=array.values,
        comment=comment_text(array.comment or CONTENTS.get(array.role, "")),
    )


def initializer(fields: Sequence[Field], symbols: Mapping[str, str]) -> str:
    """The lines between the braces of a layer's descriptor; `symbols` are its arrays' by their roles."""
    return "\n".join(_members(fields, symbols, "    "))


def _members(fields: Sequence[Field], symbols: Mapping[str, str], indent: str) -> list[str]:
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


def _value(item: Field, symbols: Mapping[str, str]) -> str:
    if isinstance(item.value, str):
        return symbols[item.value]
    if isinstance(item.value, float):
        return float_literal(item.value)
    if isinstance(item.value, tuple):
        return "{ " + ", ".join(str(number) for number in item.value) + " }"
    return str(item.value)


def number_table(values: Array) -> str:
    """Numbers separated by commas, in lines of one width, indented."""
    flat = values.reshape(-1)
    if not flat.size:
        return ""
    if flat.dtype.kind == "f":
        flat = np.array([float_literal(number) for number in flat.tolist()], "S")
        width = flat.dtype.itemsize
    else:
        width = max(len(str(flat.min())), len(str(flat.max())))
    per_line = max(1, min(16, (LINE_WIDTH - 4) // (width + 2)))
    # Cells of fixed size and no text of their own between: millions of numbers in a second.
    cells = np.zeros(flat.size, [("number", f"S{width}"), ("between", "S6")])
    cells["number"] = _texts(flat)
    cells["between"] = b", "
    cells["between"][per_line - 1 :: per_line] = b",\n    "
    cells["between"][-1] = b""
    return "    " + cells.tobytes().translate(None, b"\0").decode("ascii")


def _texts(flat: Array) -> Array:
    """Each integer as ASCII; of small types from a table of all there are. What is text stays."""
    if flat.dtype.kind == "S":
        return flat
    if flat.dtype.itemsize > 2:
        return np.array([str(number) for number in flat.tolist()], "S")
    limits = np.iinfo(flat.dtype)
    every = np.array([str(number) for number in range(limits.min, limits.max + 1)], "S")
    texts: Array = every[flat.astype(np.int64) - limits.min]
    return texts


def float_literal(value: float) -> str:
    """A C float constant with enough digits to name one float."""
    text = f"{float(np.float32(value)):.9g}"
    return f"{text}f" if any(char in text for char in ".e") else f"{text}.0f"
