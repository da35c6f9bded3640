"""`dfqgen run --on serial:`: the real firmware on an emulated board, over a good cable and a bad one."""

from __future__ import annotations

import contextlib
import io
import random
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dfqgen import build, make_recipe, resources
from dfqgen.commands.run import run
from dfqgen.errors import UserError, VerificationFailed
from dfqgen.verify.board import open_port, run_on_board
from dfqgen.verify.serial_link import Link, frame, read_frame
from tests.avr.board import FLAGS
from tests.models import DIGITS
from tests.test_cli import command
from tests.tools import needs

pytestmark = needs("arm-none-eabi-gcc", "qemu-system-arm")
BOARD = resources.runtime_dir() / "firmware"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serial") / "digits"
    build(DIGITS, folder, make_recipe(target="cortex-m4", input_std=(16.0,), input_range=(0.0, 16.0)))
    return folder


@pytest.fixture(scope="module")
def elf(folder: Path) -> Path:
    """The firmware of tests/serial/firmware.c with the network."""
    made = folder.parent / "firmware.elf"
    names = ("digits.c", "digits_weights.c", "digits_serial.c")
    sources = [*(folder / name for name in names), BOARD / "start.c", BOARD / "start_cortex_m.c"]
    flags = ["-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16", "-O2", "-std=c99"]
    flags += ["-Wall", "-Wextra", "-Wconversion", "-Werror", "-nostartfiles", "-T", "mps2.ld"]
    flags += ["-DDIGITS_PROBE=dfq_serial_probe", "-DDFQ_CYCLES=(uint32_t)dfq_ticks()"]
    for header in (BOARD / "dfq_board.h", folder / "runtime_c" / "serial" / "dfq_serial_probe.h"):
        flags += ["-include", str(header)]
    flags += ["-Wno-unused-function", f"-I{BOARD}", f"-I{folder}", f"-L{BOARD}"]
    words = ["arm-none-eabi-gcc", *flags, str(Path(__file__).parent / "firmware.c"), *map(str, sources)]
    done = subprocess.run([*words, "-o", str(made)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return made


@contextlib.contextmanager
def listening(words: Callable[[int], list[str]]) -> Iterator[int]:
    """A program that serves a TCP port, which is given."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen(words(port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        try:
            for _ in range(100):
                time.sleep(0.05)
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
            yield port
        finally:
            running.kill()


def board(elf: Path) -> contextlib.AbstractContextManager[int]:
    """QEMU with the firmware; gives the TCP port that its UART is at."""

    def words(port: int) -> list[str]:
        serial = f"tcp:127.0.0.1:{port},server=on,wait=off,nodelay=on"
        machine = ["-machine", "mps2-an386", "-display", "none", "-monitor", "none", "-semihosting"]
        return ["qemu-system-arm", *machine, "-serial", serial, "-kernel", str(elf)]

    return listening(words)


Fault = Callable[[bytes], bytes]


@contextlib.contextmanager
def cable(port: int, fault: Fault) -> Iterator[int]:
    """A TCP port that leads to another one; `fault` does to every byte string what the cable does."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def carry(source: socket.socket, to: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while data := source.recv(4096):
                    to.sendall(fault(data))

        def serve() -> None:
            with contextlib.suppress(OSError):
                near, _ = server.accept()
                far = socket.create_connection(("127.0.0.1", port))
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=carry, args=pair, daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


def test_the_command_prints_what_the_board_measured(folder: Path, elf: Path) -> None:
    with board(elf) as port:
        name = f"serial:socket://127.0.0.1:{port}"
        printed = command("run", folder, "--on", name).stdout
        facts = run(folder, name)
    assert facts["bit_exact"] is True
    assert facts["cycles"] > 0
    assert len(facts["layers"]) == 9
    assert all(layer["estimated_instructions"] for layer in facts["layers"])
    assert sum(layer["cycles"] for layer in facts["layers"]) <= facts["cycles"]
    assert "Every bit equals the reference" in printed


def bad_cable(seed: int) -> Fault:
    """Of 300 bytes one is lost, one is another one, and one is there twice."""
    draw = random.Random(seed)

    def fault(data: bytes) -> bytes:
        out = bytearray()
        for byte in data:
            chance = draw.randrange(300)
            if chance == 1:
                byte ^= 1 << draw.randrange(8)
            out += bytes([byte] * {0: 0, 2: 2}.get(chance, 1))
        return bytes(out)

    return fault


def test_a_bad_cable_costs_time_and_no_bit(folder: Path, elf: Path) -> None:
    with (
        board(elf) as port,
        cable(port, bad_cable(0)) as worse,
        open_port(f"socket://127.0.0.1:{worse}") as opened,
    ):
        result = run_on_board(folder, Link(opened, answer_s=0.3, compute_s=0.5))
    assert result.repeated > 0
    assert result.vectors == 2


@needs("avr-gcc", "simavr")
def test_an_8_bit_board_computes_the_same_over_a_good_cable_and_a_bad_one(tmp_path: Path) -> None:
    """An ATmega2560 in simavr, with its constants in flash and its UART behind a TCP port."""
    folder, bridge, elf = tmp_path / "digits", tmp_path / "bridge", tmp_path / "firmware.elf"
    build(DIGITS, folder, make_recipe(target="cortex-m0plus", input_std=(16.0,), input_range=(0.0, 16.0)))
    here, probe = Path(__file__).parent, folder / "runtime_c" / "serial" / "dfq_serial_probe.h"
    host = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", here / "avr_bridge.c", "-o", bridge, "-lsimavr"]
    (tmp_path / "cycles.h").write_text("#include <stdint.h>\nuint32_t avr_cycles(void);\n")
    flags = [*FLAGS, "-mmcu=atmega2560", "-DF_CPU=16000000UL", "-Wno-unused-function", f"-I{folder}"]
    flags += ["-DDIGITS_PROBE=dfq_serial_probe", "-DDFQ_CYCLES=avr_cycles()"]
    names = ("digits.c", "digits_weights.c", "digits_serial.c")
    sources = [here / "avr_firmware.c", *(folder / name for name in names)]
    core = ["avr-gcc", *flags, "-include", tmp_path / "cycles.h", "-include", probe, *sources, "-o", elf]
    for words in (host, core):
        done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    with listening(lambda port: [str(bridge), "atmega2560", str(elf), str(port)]) as port:
        facts = run(folder, f"serial:socket://127.0.0.1:{port}")
    assert facts["bit_exact"] is True
    assert 5_000_000 < facts["cycles"] < 20_000_000  # the counter counts in steps of 1024
    assert sum(layer["cycles"] for layer in facts["layers"]) <= facts["cycles"]
    with (
        listening(lambda port: [str(bridge), "atmega2560", str(elf), str(port)]) as port,
        cable(port, bad_cable(1)) as worse,
        open_port(f"socket://127.0.0.1:{worse}") as opened,
    ):
        result = run_on_board(folder, Link(opened, answer_s=0.5))
    assert result.repeated > 0
    assert result.vectors == 2


def test_a_dead_cable_is_told(folder: Path, elf: Path) -> None:
    with (
        board(elf) as port,
        cable(port, lambda data: b"") as dead,
        open_port(f"socket://127.0.0.1:{dead}") as opened,
        pytest.raises(VerificationFailed, match="does not answer"),
    ):
        run_on_board(folder, Link(opened, answer_s=0.05))


def test_a_board_with_another_network_is_told(folder: Path, elf: Path, tmp_path: Path) -> None:
    other = shutil.copytree(folder, tmp_path / "o")
    (other / "program.json").write_text((folder / "program.json").read_text() + " ")
    with (
        board(elf) as port,
        open_port(f"socket://127.0.0.1:{port}") as opened,
        pytest.raises(UserError, match="another network"),
    ):
        run_on_board(other, Link(opened))


def test_a_wrong_bit_of_the_board_is_told(folder: Path, elf: Path) -> None:
    """The board computes on an input that is not the vector's."""

    class Meddling(Link):
        def write_input(self, port: int, data: bytes) -> None:
            super().write_input(port, bytes(len(data)))

    with (
        board(elf) as port,
        open_port(f"socket://127.0.0.1:{port}") as opened,
        pytest.raises(VerificationFailed, match="are wrong on the board"),
    ):
        run_on_board(folder, Meddling(opened))


def test_what_the_network_does_not_have_is_refused_by_the_board(elf: Path) -> None:
    with board(elf) as port, open_port(f"socket://127.0.0.1:{port}") as opened:
        link = Link(opened)
        assert link.hello().layers == 9
        for ask in (
            lambda: link.read_output(1, 4),
            lambda: link.read_output(0, 11),
            lambda: link.write_input(0, bytes(65)),
            lambda: link.write_input(7, b"x"),
        ):
            with pytest.raises(VerificationFailed, match="refused"):
                ask()
        assert link.hello().layers == 9


def test_a_port_that_is_not_there_is_a_users_error(folder: Path) -> None:
    assert (
        "cannot open the serial port" in command("run", folder, "--on", "serial:/dev/nowhere", code=2).stderr
    )
    assert "no baud rate" in command("run", folder, "--on", "serial:/dev/nowhere@fast", code=2).stderr


def reader(stream: bytes) -> Callable[[int], bytes]:
    return io.BytesIO(stream).read


def test_frames_are_found_in_noise() -> None:
    draw = random.Random(0)
    for _ in range(200):
        data, number = draw.randbytes(draw.randrange(129)), draw.randrange(256)
        noise = draw.randbytes(20).replace(b"\xd5", b"")
        assert read_frame(reader(noise + frame(b"X", number, data))) == (b"X", number, data)


def test_no_frame_of_which_a_bit_differs_is_believed() -> None:
    whole = frame(b"X", 1, b"abc")
    for bit in range(16, 8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        found = None
        with contextlib.suppress(struct.error):  # a larger size: more bytes are read than there are
            found = read_frame(reader(bytes(flipped)))
        assert found is None
