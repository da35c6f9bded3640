"""What the target's own compiler makes of layers' C, measured of all candidates at once.

All layers in question are one unit of C, each a function of its own that calls its kernel as net.c does. Made
for speed the function has the kernel in it, made for size it is the call; what several call is counted once
by itself.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfqgen import resources
from dfqgen.emit.context import initializer, left_out
from dfqgen.errors import ToolMissing
from dfqgen.fixedpoint.program import QOp, QTensor
from dfqgen.kernels.base import Field, Kernel
from dfqgen.recipe.records import Optimize
from dfqgen.targets import Isa, Target
from dfqgen.verify.code_size import beside
from dfqgen.verify.stack import FLAG, reached, read_call_graph
from dfqgen.verify.toolchain import compile_c, run_program

PLACE_BYTES = 1024
"""From buffer to buffer, as far apart as those of an arena: an address takes an instruction or two."""


@dataclass(frozen=True, slots=True)
class LayerCall:
    """What a call's C depends on: the kernel's function, its descriptor and what it is called with. Of arrays
    only the names count.
    """

    function: str
    isa: Isa
    header: str
    struct: str
    fields: tuple[Field, ...]
    arrays: tuple[tuple[str, str], ...]
    inputs: int
    scratch: bool


@dataclass(frozen=True, slots=True)
class CodeSize:
    """Bytes of a layer's own, its descriptor among them, and the functions that it shares with others."""

    own_bytes: int
    calls: frozenset[str]


class CodeSizes:
    """What is known of a target's C made one way. On the host, and without the compiler, code counts nothing,
    as in a build. `functions` are the bytes of those that layers share, of each the largest found.
    """

    def __init__(self, target: Target, optimize: Optimize, left_out: tuple[str, ...] = ()) -> None:
        """`left_out` are macros that take parts out of shared functions (`emit.context.LEFT_OUT`)."""
        self.target, self.optimize, self.left_out = target, optimize, left_out
        self.functions: dict[str, int] = {}
        self._layers: dict[LayerCall, CodeSize] = {}
        self._without: dict[tuple[str, ...], CodeSizes] = {}

    def of(self, call: LayerCall) -> CodeSize:
        """Of a call that was measured."""
        return self._layers[call]

    def total_bytes(self, calls: Sequence[LayerCall]) -> int:
        """Of these layers together, as one network leaves out what none of them needs."""
        macros = left_out((call.isa, call.fields) for call in calls) if self.optimize != "speed" else ()
        if macros == self.left_out:
            return self._total_bytes(calls)
        if macros not in self._without:
            self._without[macros] = CodeSizes(self.target, self.optimize, macros)
        return self._without[macros]._total_bytes(calls)

    def _total_bytes(self, calls: Sequence[LayerCall]) -> int:
        self.measure(calls)
        sizes = [self.of(call) for call in calls]
        shared = frozenset[str]().union(*(size.calls for size in sizes))
        return sum(size.own_bytes for size in sizes) + sum(self.functions[name] for name in shared)

    def measure(self, wanted: Iterable[LayerCall]) -> None:
        """Compile those that are not known yet."""
        new = [call for call in dict.fromkeys(wanted) if call not in self._layers]
        if not new:
            return
        sizes, calls = self._compiled(new)
        for index, call in enumerate(new):
            own = sizes.get(f"run_{index}", 0) + sizes.get(f"layer_{index}", 0)
            self._layers[call] = CodeSize(own, reached(f"run_{index}", calls) & sizes.keys())
        for name in frozenset[str]().union(*(self._layers[call].calls for call in new)):
            self.functions[name] = max(sizes[name], self.functions.get(name, 0))

    def _compiled(self, layers: Sequence[LayerCall]) -> tuple[dict[str, int], Mapping[str, frozenset[str]]]:
        """Bytes by symbol, and what each function calls."""
        if self.target.is_host:
            return {}, {}
        command = self.target.compiler.command
        with tempfile.TemporaryDirectory(prefix="dfqgen-") as scratch:
            source = Path(scratch) / "layers.c"
            source.write_text(_unit(layers, self.optimize, self.left_out))
            output = source.with_suffix(".o")
            include = f"-I{resources.runtime_dir().parent}"
            flags = ["-std=c99", "-c", *self.target.compiler.flags_for(self.optimize), FLAG, include]
            try:
                compile_c([source], output, flags, (command,))
                symbols = run_program([beside(command, "nm"), "-S", str(output)]).stdout
            except (ToolMissing, OSError):
                return {}, {}
            graph = output.with_suffix(".ci")
            text = graph.read_text("utf-8", "replace") if graph.is_file() else ""
        rows = (line.split() for line in symbols.splitlines())
        sizes = {row[3]: int(row[1], 16) for row in rows if len(row) == 4 and row[2] in "tTrR"}
        plain = {
            _name(source): frozenset(map(_name, targets))
            for source, targets in read_call_graph(text, {}).calls.items()
        }
        return sizes, plain


def layer_call(
    kernel: Kernel[Any], op: QOp, inputs: Sequence[QTensor], output: QTensor
) -> tuple[LayerCall, int]:
    """The call of a kernel for a whole layer, and the bytes of its arrays."""
    code = kernel.code(op, inputs, output)
    arrays = tuple((array.role, array.ctype) for array in code.arrays)
    scratch = kernel.scratch_bytes(op, inputs, output) > 0
    return (
        LayerCall(
            code.function,
            kernel.isa,
            kernel.header,
            code.struct,
            code.fields,
            arrays,
            len(inputs),
            scratch,
        ),
        code.array_bytes,
    )


def _unit(layers: Sequence[LayerCall], optimize: Optimize, macros: Sequence[str]) -> str:
    """One C file with a function for each layer."""
    lines = ["#define DFQ_OPTIMIZE_SIZE 1"] if optimize == "size" else []
    lines += [f"#define {macro} 1" for macro in macros]
    headers = sorted({code.header for code in layers} | {"portable/dfq_common.h"})
    lines += [f'#include "runtime_c/{header}"' for header in headers]
    for index, code in enumerate(layers):
        names = {role: f"array_{index}_{role}" for role, _ in code.arrays}
        lines += [f"extern const {ctype} {names[role]}[];" for role, ctype in code.arrays]
        places = [f"arena + {PLACE_BYTES * (1 + at)}" for at in range(code.inputs + 1 + code.scratch)]
        lines += [
            f"static const {code.struct} layer_{index} = {{",
            f"{initializer(code.fields, names)}",
            "};",
            f"DFQ_NOINLINE __attribute__((used)) void run_{index}(int8_t *arena)",
            f"{{ {code.function}(&layer_{index}, {', '.join(places)}); }}",
        ]
    return "\n".join(lines) + "\n"


def _name(title: str) -> str:
    """Of a function, without its file."""
    return re.sub(r"^.*:", "", title)
