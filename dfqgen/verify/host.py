"""The generated C as a shared library of this machine, and the check that it equals the interpreter."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cffi
import numpy as np

from dfqgen.emit.package import MANIFEST, PROGRAM
from dfqgen.errors import UserError, VerificationFailed
from dfqgen.fixedpoint.program import Program, QOp
from dfqgen.fixedpoint.qtype import Array
from dfqgen.fixedpoint.vectors import verification_inputs
from dfqgen.verify.folder import read_manifest
from dfqgen.verify.host_weights import binary_weights
from dfqgen.verify.toolchain import CompilationFailed, compile_shared
from dfqgen.verify.trace import LayerTrace

ARENA_ALIGNMENT = 16

# A hook that a build for debugging calls before each layer (and once after the last).
_PROBE_H = """
#include <stdint.h>
extern void (*{name}_probe)(int32_t layer);
#define {macro}_PROBE(layer) do {{ if ({name}_probe) {name}_probe(layer); }} while (0)
"""
_PROBE_C = """
#include <stdint.h>
extern void (*{name}_probe)(int32_t layer);
void (*{name}_probe)(int32_t layer) = 0;
"""


@dataclass(frozen=True, slots=True)
class Port:
    """Where a network input or output lies in the arena."""

    tensor: str
    shape: tuple[int, ...]
    offset: int
    size: int
    dtype: np.dtype[Any]

    @property
    def size_bytes(self) -> int:
        return self.size * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A layer whose C output differs from the interpreter's."""

    layer: str
    index: int
    kernel: str
    wrong: int
    elements: int
    first: tuple[int, ...]
    expected: int
    found: int

    def __str__(self) -> str:
        return (
            f"layer {self.index} {self.layer!r} ({self.kernel}): {self.wrong} of {self.elements} values "
            f"differ, the first at {self.first}: {self.found} instead of {self.expected}"
        )


class HostNetwork:
    """A generated network, compiled for this machine. Threads may share one object.

    `native` uses every instruction of this machine (for speed); without it, the very source that a
    core without SIMD runs is compiled (for verification). `flags` are added to the compiler's.
    """

    def __init__(
        self, folder: Path, *, native: bool = False, flags: Sequence[str] = (), probe: bool = False
    ) -> None:
        manifest = read_manifest(folder)
        self.name = str(manifest["network"])
        self.layers: list[dict[str, Any]] = manifest["layers"]
        self.arena_bytes = int(manifest["arena_bytes"])
        self.inputs = [_port(entry) for entry in manifest["inputs"]]
        self.outputs = [_port(entry) for entry in manifest["outputs"]]
        self._ffi = cffi.FFI()
        self.keeps_state = bool(manifest.get("states"))
        if self.keeps_state:
            self._ffi.cdef(f"int32_t {self.name}_reset(void *net);")
        self._rows: dict[str, Any] = manifest.get("rows") or {}
        self._rows_of = self._rows.get("input")
        if not self._rows or not self._rows["fed"]:
            self._ffi.cdef(f"int32_t {self.name}_invoke(void *net);")
        if self._rows_of is not None:
            self._ffi.cdef(f"int32_t {self.name}_begin(void *net);")
            self._ffi.cdef(f"int32_t {self.name}_feed_rows(void *net, void *rows, int32_t count);")
            self._ffi.cdef(f"int32_t {self.name}_finish(void *net);")
        sources = [folder / f"{self.name}.c"]
        options = ["-std=c99", "-O2", *(["-march=native"] if native else []), *flags]
        # The library stays mapped after its file is gone; Windows lets no file go that is.
        with tempfile.TemporaryDirectory(prefix="dfqgen-", ignore_cleanup_errors=True) as scratch:
            sources.append(binary_weights(folder / f"{self.name}_weights.c", Path(scratch)))
            if probe:
                self._ffi.cdef(f"extern void (*{self.name}_probe)(int32_t layer);")
                text = {"name": self.name, "macro": self.name.upper()}
                (Path(scratch) / "probe.h").write_text(_PROBE_H.format(**text), "utf-8")
                (Path(scratch) / "probe.c").write_text(_PROBE_C.format(**text), "utf-8")
                sources.append(Path(scratch) / "probe.c")
                options += ["-include", str(Path(scratch) / "probe.h")]
            library = compile_shared(sources, Path(scratch), self.name, options)
            try:
                self._library: Any = self._ffi.dlopen(str(library))
            except OSError as error:
                raise CompilationFailed(f"what the C compiler made cannot be loaded: {error}") from None
        self._local = threading.local()

    def _arena(self) -> Array:
        """This thread's arena, aligned as the type in net.h is."""
        arena: Array | None = getattr(self._local, "arena", None)
        if arena is None:
            raw = np.zeros(self.arena_bytes + ARENA_ALIGNMENT, np.int8)
            start = -raw.ctypes.data % ARENA_ALIGNMENT
            arena = self._local.arena = raw[start : start + self.arena_bytes]
        return arena

    @property
    def ways(self) -> tuple[bool, ...]:
        """What `run` may be told of `by_rows`."""
        if self._rows_of is None:
            return (False,)
        return (True,) if self._rows["fed"] else (False, True)

    def run(self, inputs: Mapping[str, Array], *, by_rows: bool | None = None) -> dict[str, Array]:
        """Arrays [N, ...] by input tensor -> arrays [N, ...] by output tensor, one sample after the other.

        `by_rows`: the input is fed row by row, one of `ways`; None: only where there is no other. Where there
        are states, the samples are a stream from its first step on.
        """
        by_rows = self.ways[0] if by_rows is None else by_rows
        arena = self._arena()
        self._reset(arena)
        count = len(inputs[self.inputs[0].tensor])
        results = {port.tensor: np.empty((count, *port.shape[1:]), port.dtype) for port in self.outputs}
        for sample in range(count):
            self._run_sample({name: value[sample] for name, value in inputs.items()}, arena, by_rows)
            for port in self.outputs:
                found = arena[port.offset : port.offset + port.size_bytes].view(port.dtype)
                results[port.tensor][sample] = found.reshape(port.shape[1:])
        return results

    def _reset(self, arena: Array) -> None:
        if self.keeps_state:
            getattr(self._library, f"{self.name}_reset")(self._ffi.cast("void *", arena.ctypes.data))

    def _run_sample(self, inputs: Mapping[str, Array], arena: Array, by_rows: bool) -> None:
        fed = self._rows_of if by_rows else None
        for port in self.inputs:
            value = np.asarray(inputs[port.tensor])
            if value.dtype != port.dtype or value.size != port.size:
                found = f"{value.dtype}{value.shape}"
                raise ValueError(f"input {port.tensor!r} takes {port.size} {port.dtype} values, not {found}")
            if port.tensor == fed:
                row_bytes = self._rows["segments"][0]["bands"][0]["row_bytes"]
                rows = np.ascontiguousarray(value.reshape(-1, row_bytes // value.dtype.itemsize))
            else:
                arena[port.offset : port.offset + port.size_bytes].view(port.dtype)[:] = value.reshape(-1)
        # cffi lets other threads run meanwhile.
        net = self._ffi.cast("void *", arena.ctypes.data)
        if fed is None:
            getattr(self._library, f"{self.name}_invoke")(net)
            return
        getattr(self._library, f"{self.name}_begin")(net)
        for first in range(0, len(rows), 3):
            some = rows[first : first + 3]
            start = self._ffi.cast("void *", some.ctypes.data)
            getattr(self._library, f"{self.name}_feed_rows")(net, start, len(some))
        getattr(self._library, f"{self.name}_finish")(net)

    def trace(self, inputs: Mapping[str, Array]) -> list[list[Array]]:
        """The output of every layer in order, for each of N samples. Needs `probe`; one thread at a time."""
        arena = self._arena()
        seen = LayerTrace(self.layers, self._rows, arena)
        steps: list[list[Array]] = []
        callback = self._ffi.callback("void(int32_t)", seen.before_layer)
        setattr(self._library, f"{self.name}_probe", callback)
        self._reset(arena)
        for sample in range(len(inputs[self.inputs[0].tensor])):
            step = {name: value[sample] for name, value in inputs.items()}
            self._run_sample(step, arena, self.ways[0])
            steps.append([output.copy() for output in seen.outputs])
        setattr(self._library, f"{self.name}_probe", self._ffi.NULL)
        return steps


def _port(entry: Mapping[str, Any]) -> Port:
    shape = tuple(int(size) for size in entry["shape"])
    return Port(
        str(entry["tensor"]), shape, int(entry["offset"]), int(np.prod(shape)), np.dtype(entry["type"])
    )


def first_mismatch(program: Program, folder: Path, inputs: Mapping[str, Array]) -> Mismatch | None:
    """The first layer of the generated C, in its own order, whose output differs from the interpreter's."""
    expected: dict[str, Array] = {}

    def keep(op: QOp, output: Array) -> None:
        expected[op.output] = output

    network = HostNetwork(folder, probe=True)
    for traced, _ in zip(network.trace(inputs), program.steps(inputs, keep), strict=True):
        mismatch = _step_mismatch(network.layers, traced, expected)
        if mismatch is not None:
            return mismatch
    return None


def _step_mismatch(
    layers: Sequence[Mapping[str, Any]], traced: Sequence[Array], expected: Mapping[str, Array]
) -> Mismatch | None:
    """The first layer that differs, of one step."""
    for index, (layer, found) in enumerate(zip(layers, traced, strict=True)):
        reference = expected[layer["output"]].reshape(found.shape)
        wrong = np.argwhere(reference != found)
        if len(wrong):
            first = tuple(int(i) for i in wrong[0])
            return Mismatch(
                layer=str(layer["name"]),
                index=index,
                kernel=str(layer["kernel"]),
                wrong=len(wrong),
                elements=found.size,
                first=first,
                expected=int(reference[first]),
                found=int(found[first]),
            )
    return None


def _check_same_network(program: Program, network: HostNetwork, folder: Path) -> None:
    """The manifest tells the program's inputs, outputs and layers. Raises UserError."""

    def place(tensor: str) -> Port | None:
        found = program.tensors.get(tensor)
        if found is None:
            return None
        return Port(tensor, found.shape, 0, found.elements, found.qtype.dtype.carrier)

    ports = (program.inputs, network.inputs), (program.outputs, network.outputs)
    same = all(
        [place(port.tensor) for port in own] == [replace(port, offset=0) for port in listed]
        for own, listed in ports
    )
    same = same and network.keeps_state == bool(program.states)
    if not same or not {layer["output"] for layer in network.layers} <= {op.output for op in program.ops}:
        raise UserError(
            f"in {folder}, {MANIFEST} and {PROGRAM} are of different networks", "Build the network again."
        )


@dataclass(frozen=True, slots=True)
class HostReport:
    """What was compared: names of the inputs, number of output values."""

    inputs: tuple[str, ...]
    values: int


def verify_on_host(
    program: Program, folder: Path, *, network: HostNetwork | None = None, random: int = 2
) -> HostReport:
    """Run the folder's C and the interpreter on random, extreme and structured inputs.

    Raises VerificationFailed that names the first layer that differs.
    """
    network = HostNetwork(folder) if network is None else network
    _check_same_network(program, network, folder)
    names: list[str] = []
    values = 0
    for name, inputs in verification_inputs(program, random):
        results = [network.run(inputs, by_rows=way) for way in network.ways]
        for tensor, expected in program.play(inputs).items():
            if not all(np.array_equal(expected, found[tensor]) for found in results):
                mismatch = first_mismatch(program, folder, inputs)
                raise VerificationFailed(
                    f"the C and the integer reference differ on the {name} input: "
                    f"{mismatch or f'output {tensor!r}, though every layer agrees'}"
                )
            values += expected.size
        names.append(name)
    return HostReport(tuple(names), values)
