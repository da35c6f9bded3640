"""A network on a board behind a serial port: every bit against the interpreter, and the cycles it took."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dfqgen.emit.package import PROGRAM
from dfqgen.errors import ToolMissing, UserError, VerificationFailed
from dfqgen.files import read_regular
from dfqgen.fixedpoint.program import Program
from dfqgen.fixedpoint.vectors import golden_vectors
from dfqgen.progress import Part, Progress, silent
from dfqgen.verify.folder import read_program
from dfqgen.verify.serial_link import Link, Port

BAUD = 115_200
HASH_BYTES = 8


@dataclass(frozen=True, slots=True)
class BoardRun:
    """Cycles of one inference (0: the board counts none), of each layer where the firmware has probes, and
    how many frames the cable took.
    """

    vectors: int
    cycles: int
    layer_cycles: tuple[int, ...]
    repeated: int


@contextmanager
def open_port(name: str) -> Iterator[Port]:
    """A serial port by its name or pyserial's URL, with @BAUD behind it. Raises UserError, ToolMissing."""
    try:
        import serial
    except ImportError:
        raise ToolMissing("a serial port needs pyserial", "pip install 'dfqgen[serial]'") from None
    place, _, baud = name.partition("@")
    if baud and not baud.isdecimal():
        raise UserError(f"{baud!r} is no baud rate", "Write serial:/dev/ttyACM0@115200.")
    try:
        port = serial.serial_for_url(place, baudrate=int(baud or BAUD), timeout=1)
    except (serial.SerialException, ValueError, OSError) as error:
        raise UserError(f"cannot open the serial port {place!r}: {error}") from None
    try:
        yield port
    except serial.SerialException as error:
        raise VerificationFailed(f"the serial port {place!r} failed: {error}") from None
    finally:
        port.close()


def run_on_board(folder: Path, link: Link, progress: Progress = silent) -> BoardRun:
    """The golden vectors on the board. Raises VerificationFailed where a bit differs, and UserError where the
    firmware holds another network.
    """
    program = read_program(folder)
    hello = link.hello()
    if hello.program != hashlib.sha256(read_regular(folder / PROGRAM)).digest()[:HASH_BYTES]:
        raise UserError(
            f"the firmware on the board holds another network than {folder}", "Build and flash it again."
        )
    vectors = golden_vectors(program)
    link.reset()
    cycles = 0
    for index, vector in enumerate(vectors):
        progress(Part("running on the board", index, len(vectors), f"vector {index + 1} of {len(vectors)}"))
        for place, port in enumerate(program.inputs):
            link.write_input(place, np.ascontiguousarray(vector.inputs[port.tensor]).tobytes())
        cycles = link.run()
        _compare(program, link, vector.outputs, index)
    return BoardRun(len(vectors), cycles, tuple(link.layer_cycles(hello.layers)), link.repeated)


def _compare(program: Program, link: Link, expected: dict[str, np.ndarray], vector: int) -> None:
    for place, port in enumerate(program.outputs):
        wanted = np.ascontiguousarray(expected[port.tensor])
        data = link.read_output(place, wanted.nbytes)
        found = np.frombuffer(data, wanted.dtype).reshape(wanted.shape)
        wrong = int((found != wanted).sum())
        if wrong:
            raise VerificationFailed(
                f"{wrong} of {wanted.size} values of output {port.name!r} are wrong on the board, "
                f"golden vector {vector}"
            )
