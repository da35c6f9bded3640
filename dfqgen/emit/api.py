"""What a firmware does before and after a network, and the same in C++."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from dfqgen import resources
from dfqgen.emit.context import NetworkContext, number_table
from dfqgen.emit.render import render
from dfqgen.fixedpoint.program import Program
from dfqgen.fixedpoint.qtype import IntType
from dfqgen.samples.meaning import InputMeaning

HEADERS = ("api/dfq_api.h", "api/dfq_boxes.h")
SERIAL_HEADERS = ("serial/dfq_serial.h", "serial/dfq_serial_probe.h")


@dataclass(frozen=True, slots=True)
class PixelInput:
    """An input that takes pixels of 0..255. `tables`: int8 by pixel, one for all channels or one each; none
    where an int8 is the pixel less 128.
    """

    name: str
    suffix: str
    size: int
    how: str
    tables: tuple[str, ...]


def api_files(
    net: NetworkContext, program: Program, meanings: Mapping[str, InputMeaning]
) -> dict[str, bytes]:
    """By path in the generated folder. `meanings` are by input name; without one an input takes no pixels."""
    classes = [
        port
        for port in net.outputs
        if port.dtype in (IntType.INT8, IntType.INT16) and port.size > 1 and port.size == port.shape[-1]
    ]
    files = {
        f"{net.name}_api.h": render(
            "api.h.j2", net=net, pixels=tuple(_pixel_inputs(net, program, meanings)), classes=classes
        ),
        f"{net.name}.hpp": render("network.hpp.j2", net=net),
    }
    return files | _copied(HEADERS)


def serial_files(net: NetworkContext, program: bytes) -> dict[str, bytes]:
    """The network behind a serial port; nothing for one whose inputs come row by row.

    `program` is the content of program.json, by whose hash the host knows the firmware.
    """
    if len(net.whole_inputs) < len(net.inputs):
        return {}
    hash_bytes = [f"0x{byte:02x}" for byte in hashlib.sha256(program).digest()[:8]]
    files = {f"{net.name}_serial.c": render("serial.c.j2", net=net, hash=hash_bytes)}
    return files | _copied(SERIAL_HEADERS)


def _copied(headers: Iterable[str]) -> dict[str, bytes]:
    return {f"runtime_c/{path}": (resources.runtime_dir() / path).read_bytes() for path in headers}


def _pixel_inputs(
    net: NetworkContext, program: Program, meanings: Mapping[str, InputMeaning]
) -> Iterator[PixelInput]:
    whole = {port.suffix for port in net.whole_inputs}
    for port, at in zip(program.inputs, net.inputs, strict=True):
        meaning = meanings.get(port.name)
        tensor = program.tensors[port.tensor]
        if meaning is None or at.suffix not in whole or tensor.qtype.dtype is not IntType.INT8:
            continue
        if not 0.0 <= meaning.lo < 2.0 <= meaning.hi <= 255.0:  # other values than pixels
            continue
        channels = max(len(meaning.mean), len(meaning.std))
        raw = np.repeat(np.arange(256)[:, None], channels, axis=1)
        tables = tensor.qtype.quantize(meaning.normalize(raw))
        if (tables == raw - 128).all():
            yield PixelInput(at.name, at.suffix, at.size, "each less 128", ())
            continue
        if (tables == tables[:, :1]).all():
            tables = tables[:, :1]
        how = "as its mean and deviation say, rounded once"
        yield PixelInput(at.name, at.suffix, at.size, how, tuple(number_table(table) for table in tables.T))
