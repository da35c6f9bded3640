"""The host's side of a serial port with a network behind it; the board's is runtime_c/serial/dfq_serial.h.

Whatever the cable does to a frame, it is sent again; nothing that came is believed without its checksum.
"""

from __future__ import annotations

import binascii
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from dfqgen.errors import UserError, VerificationFailed

MAGIC = b"\xd5\xf1"
DATA_BYTES = 128
VERSION = 1
TRIES = 6


class Port(Protocol):
    """What of pyserial's ports is used."""

    timeout: float | None

    def read(self, size: int = 1, /) -> bytes: ...

    def write(self, data: bytes, /) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Hello:
    """What the board says it has: 8 bytes of its program's hash, and how many layers."""

    program: bytes
    layers: int


def frame(kind: bytes, number: int, data: bytes) -> bytes:
    """A frame as it goes over the cable."""
    body = kind + struct.pack("<BH", number, len(data)) + data
    return MAGIC + body + struct.pack(">H", binascii.crc_hqx(body, 0xFFFF))


class Link:
    """Requests over a port, each answered or sent again. Raises VerificationFailed when no answer comes."""

    def __init__(self, port: Port, *, answer_s: float = 1.0, compute_s: float = 30.0) -> None:
        self.port, self.answer_s, self.compute_s = port, answer_s, compute_s
        self.repeated = 0
        self._number = 0

    def hello(self) -> Hello:
        """Who is there. Raises UserError for a board of another version."""
        data = self._ask(b"H", b"")
        if len(data) != 11 or data[0] != VERSION:
            raise UserError("the board speaks another version of the protocol", "Build its firmware again.")
        return Hello(data[1:9], int.from_bytes(data[9:11], "little"))

    def reset(self) -> None:
        """Set the network's states to zero."""
        self._ask(b"Z", b"")

    def write_input(self, port: int, data: bytes) -> None:
        """An input's bytes, as they lie in memory."""
        room = DATA_BYTES - 5
        for at in range(0, len(data), room):
            self._ask(b"I", struct.pack("<BI", port, at) + data[at : at + room])

    def run(self) -> int:
        """Compute once; gives the cycles, 0 where the board counts none."""
        (cycles,) = struct.unpack("<I", self._ask(b"R", b"", self.compute_s))
        return int(cycles)

    def layer_cycles(self, layers: int) -> list[int]:
        """Cycles of each layer in the last run; zeros in a firmware without probes."""
        found: list[int] = []
        while len(found) < layers:
            data = self._ask(b"C", struct.pack("<H", len(found)))
            if not data or len(data) % 4:
                raise VerificationFailed("the board does not tell the cycles of all layers")
            found += struct.unpack(f"<{len(data) // 4}I", data)
        return found[:layers]

    def read_output(self, port: int, size: int) -> bytes:
        """An output's bytes, as they lie in memory."""
        parts = []
        for at in range(0, size, DATA_BYTES):
            count = min(DATA_BYTES, size - at)
            parts.append(self._ask(b"O", struct.pack("<BIB", port, at, count)))
            if len(parts[-1]) != count:
                raise VerificationFailed(f"the board sent {len(parts[-1])} bytes of an output for {count}")
        return b"".join(parts)

    def _ask(self, kind: bytes, data: bytes, wait_s: float | None = None) -> bytes:
        self._number = (self._number + 1) % 256
        request = frame(kind, self._number, data)
        for attempt in range(TRIES):
            self.repeated += attempt > 0
            self.port.write(request)
            answer = self._answer(time.monotonic() + (wait_s or self.answer_s))
            if answer is None:
                continue
            if answer[0] == b"e":
                raise VerificationFailed(f"the board refused a request ({kind.decode()})")
            if answer[0] == kind.lower():
                return answer[1]
        raise VerificationFailed(
            f"the board does not answer ({TRIES} tries of {wait_s or self.answer_s:g} s); does its firmware "
            "call NAME_serial(), and is it the right port and baud rate?"
        )

    def _answer(self, deadline: float) -> tuple[bytes, bytes] | None:
        """The next frame with this request's number; None when there is none in time."""
        read = self._reader(deadline)
        while True:
            try:
                found = read_frame(read)
            except TimeoutError:
                return None
            if found is not None and found[1] == self._number:
                return found[0], found[2]

    def _reader(self, deadline: float) -> Callable[[int], bytes]:
        def read(count: int) -> bytes:
            data = b""
            while len(data) < count:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                self.port.timeout = left
                data += self.port.read(count - len(data))
            return data

        return read


def read_frame(read: Callable[[int], bytes]) -> tuple[bytes, int, bytes] | None:
    """(kind, number, data) of the next frame; None for what is none. `read` gives all it is asked for."""
    window = read(2)
    while window != MAGIC:
        window = window[1:] + read(1)
    head = read(4)
    number, size = struct.unpack("<BH", head[1:])
    if size > DATA_BYTES:
        return None
    rest = read(size + 2)
    if binascii.crc_hqx(head + rest, 0xFFFF) != 0:
        return None
    return head[:1], number, rest[:size]
