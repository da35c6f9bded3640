"""Runtime kernels as one shared library, called with the descriptors the compiler makes.

Kernels are compiled once, not inlined, so that Hypothesis can draw any shape without a compilation.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cffi
import numpy as np

from dfqgen import resources
from dfqgen.emit.package import runtime_headers
from dfqgen.fixedpoint.program import QOp, QTensor
from dfqgen.kernels import REGISTRY
from dfqgen.kernels.base import Field, Kernel, LayerCode, Registry
from dfqgen.targets import Isa
from dfqgen.verify.toolchain import WARNINGS, compile_c
from tests.kernels.strategies import Case

GUARD = 64
CANARY = 0x5A

_STRUCT = re.compile(r"typedef struct \{.*?\} \w+;", re.DOTALL)
_FUNCTION = re.compile(r"DFQ_KERNEL void (\w+)\(([^)]*)\)")
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


class KernelLibrary:
    """Every kernel of one instruction set, as functions `call_<kernel>`."""

    def __init__(self, registry: Registry, isa: Isa, flags: Sequence[str] = ()) -> None:
        own = sorted({kernel.header for kernel in registry.kernels if kernel.isa is isa})
        root = resources.runtime_dir()
        self._ffi = cffi.FFI()
        self._ffi.cdef("typedef int16_t dfq_half_t; typedef uint32_t dfq_word_t;")
        seen: set[str] = set()
        for header in runtime_headers(own):
            text = _COMMENT.sub("", (root / header).read_text()).replace("DFQ_FLASH ", "")
            for struct in _STRUCT.findall(text):
                if struct not in seen and "DFQ_" not in struct:
                    seen.add(struct)
                    self._ffi.cdef(struct)
        source = ["#define DFQ_OPTIMIZE_SIZE 1"]
        source += [f'#include "{root / header}"' for header in own]
        for header in own:
            for name, parameters in _FUNCTION.findall((root / header).read_text()):
                declaration, body = _wrapper(name, " ".join(parameters.split()))
                self._ffi.cdef(declaration + ";")
                source.append(f"{declaration};\n{declaration}\n{body}")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "kernels.c"
            path.write_text("\n".join(source) + "\n")
            library = Path(folder) / "kernels.so"
            compile_c([path], library, [*WARNINGS, "-O1", "-shared", "-fPIC", *flags])
            self._library: Any = self._ffi.dlopen(str(library))

    def run(
        self,
        kernel: Kernel[Any],
        op: QOp,
        types: Sequence[QTensor],
        output: QTensor,
        inputs: Sequence[np.ndarray],
        overlap: int | None = None,
    ) -> np.ndarray:
        """The kernel's output. With `overlap` = i it overwrites input i, as closely as the lead allows.

        Fails when the kernel writes outside its output and scratch, or changes an input that lives on.
        """
        code = kernel.code(op, types, output)
        keep: list[Any] = []
        layer = self._descriptor(code, keep)
        scratch_bytes = kernel.scratch_bytes(op, types, output)
        scratch = _Buffer(scratch_bytes)
        raw = [np.ascontiguousarray(values).reshape(-1).view(np.int8) for values in inputs]
        others = [_Buffer(values.size, values) for i, values in enumerate(raw) if i != overlap]
        if overlap is None:
            places = [buffer.address for buffer in others]
            shared, start = _Buffer(output.size_bytes), 0
        else:
            lead = kernel.overlap_lead_bytes(op, types, output, overlap)
            assert lead is not None
            assert lead >= 0
            values = raw[overlap]
            lead += -lead % buffer_alignment(types, output)
            shared, start = _Buffer(max(output.size_bytes, lead + values.size)), 0
            shared.content[lead : lead + values.size] = values
            places = [buffer.address for buffer in others]
            places.insert(overlap, shared.address + lead)
        arguments = [self._ffi.cast("const int8_t *", place) for place in places]
        arguments.append(self._ffi.cast("int8_t *", shared.address + start))
        if scratch_bytes:
            arguments.append(self._ffi.cast("int8_t *", scratch.address))
        getattr(self._library, f"call_{code.function}")(layer, *arguments)
        for buffer in (scratch, shared, *others):
            buffer.check_guards()
        for buffer, values in zip(others, (v for i, v in enumerate(raw) if i != overlap), strict=True):
            assert np.array_equal(buffer.content, values)
        carrier = output.qtype.dtype.carrier
        return shared.content[: output.size_bytes].copy().view(carrier).reshape(output.shape)

    def _descriptor(self, code: LayerCode, keep: list[Any]) -> Any:
        arrays = {}
        for array in code.arrays:
            values = np.ascontiguousarray(array.values)
            keep.append(values)
            arrays[array.role] = self._ffi.cast(f"const {array.ctype} *", values.ctypes.data)
        layer = self._ffi.new(f"{code.struct} *")
        keep.append(layer)
        self._fill(layer, code.fields, arrays)
        return layer

    def _fill(self, struct: Any, fields: Sequence[Field], arrays: dict[str, Any]) -> None:
        for item in fields:
            if isinstance(item.value, str):
                setattr(struct, item.name, arrays[item.value])
            elif isinstance(item.value, tuple) and item.value and isinstance(item.value[0], Field):
                self._fill(getattr(struct, item.name), item.value, arrays)
            elif isinstance(item.value, tuple):
                setattr(struct, item.name, list(item.value))
            else:
                setattr(struct, item.name, item.value)


def check_exact(library: KernelLibrary, case: Case, isa: Isa) -> int:
    """Every kernel that supports the case, apart from its inputs and over each that it may overwrite.

    Gives how many kernels there are.
    """
    kernels = REGISTRY.candidates(case.op, case.inputs, case.output, [isa])
    for kernel in kernels:
        overlaps: list[int | None] = [None]
        for index in range(len(case.inputs)):
            if kernel.overlap_lead_bytes(case.op, case.inputs, case.output, index) is not None:
                overlaps.append(index)
        for overlap in overlaps:
            found = library.run(kernel, case.op, case.inputs, case.output, case.values, overlap)
            np.testing.assert_array_equal(found, case.expected, err_msg=f"{kernel.function}, {overlap=}")
    return len(kernels)


def buffer_alignment(inputs: Sequence[QTensor], output: QTensor) -> int:
    """What kernels may rely on: none for int8, a word where int16 is about."""
    return 4 if any(t.qtype.dtype.bits > 8 for t in (*inputs, output)) else 1


class _Buffer:
    """Aligned bytes between guards."""

    def __init__(self, size: int, values: np.ndarray | None = None) -> None:
        self._raw = np.full(size + 2 * GUARD + 16, CANARY, np.int8)
        begin = GUARD + -(self._raw.ctypes.data + GUARD) % 16
        self.content = self._raw[begin : begin + size]
        self._before, self._after = self._raw[:begin], self._raw[begin + size :]
        self.address = self.content.ctypes.data if size else 0
        if values is not None:
            self.content[:] = values.reshape(-1)

    def check_guards(self) -> None:
        assert np.all(self._before == CANARY), "a kernel wrote below its buffer"
        assert np.all(self._after == CANARY), "a kernel wrote above its buffer"


def _wrapper(function: str, parameters: str) -> tuple[str, str]:
    """An exported function that calls the kernel: declaration and body."""
    names = [parameter.split()[-1].lstrip("*") for parameter in parameters.split(",")]
    return f"void call_{function}({parameters})", f"{{\n    {function}({', '.join(names)});\n}}"
