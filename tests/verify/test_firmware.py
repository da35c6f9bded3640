"""A tiny hand-written network on every emulated board: bits, exact counts, faults, hangs, missing tools."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dfqgen.errors import ToolMissing, UserError, VerificationFailed
from dfqgen.targets import Target, list_targets, load_target
from dfqgen.verify.firmware import FirmwareResult, run_firmware

EMULATED = [target for target in list_targets() if target.emulator is not None]
M4 = load_target("cortex-m4")
RV32 = load_target("riscv32imc")

# Two layers: a loop of 2 * ITERATIONS instructions, and as many again times three.
ITERATIONS = 100_000
HEADER = """
#include <stdint.h>
typedef struct { int8_t arena[64]; } tiny_t;
void tiny_invoke(tiny_t *net);
"""
NETWORK = """
#include "tiny.h"
#ifndef TINY_PROBE
#define TINY_PROBE(layer) ((void)0)
#endif
extern const int8_t tiny_weights[16];
static void __attribute__((noinline)) spin(uint32_t times)
{
#if defined(__riscv)
    __asm__ volatile("1: addi %0, %0, -1\\n bnez %0, 1b" : "+r"(times));
#else
    __asm__ volatile(".syntax unified\\n1: subs %0, %0, #1\\n bne 1b" : "+l"(times) : : "cc");
#endif
}
void tiny_invoke(tiny_t *net)
{
    TINY_PROBE(0);
    spin(ITERATIONS);
    TINY_PROBE(1);
    spin(3 * ITERATIONS);
    TINY_PROBE(2);
    for (int i = 0; i < 16; i++) { net->arena[i] = tiny_weights[i]; }
    MISBEHAVE
}
"""
WEIGHTS = """
#include <stdint.h>
const int8_t tiny_weights[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
"""
SELFTEST = """
#include "tiny.h"
#define TINY_RUNS 3
int tiny_selftest(tiny_t *net);
int tiny_selftest(tiny_t *net)
{
    int wrong = 0;
    for (int run = 0; run < TINY_RUNS; run++) {
        tiny_invoke(net);
        for (int i = 0; i < 16; i++) { wrong += net->arena[i] != i; }
    }
    return wrong;
}
"""


def tiny_network(folder: Path, misbehave: str = "") -> Path:
    """A folder laid out as the emitter does."""
    network = NETWORK.replace("ITERATIONS", str(ITERATIONS)).replace("MISBEHAVE", misbehave)
    layers = [
        {"name": "once", "title": "loop", "macs": ITERATIONS},
        {"name": "thrice", "title": "loop", "macs": 3 * ITERATIONS},
    ]
    more = {"kernel": "spin", "output": "y", "output_shape": [16], "output_type": "int8", "output_offset": 0}
    manifest = {"network": "tiny", "target": "cortex-m4", "arena_bytes": 64}
    manifest |= {"inputs": [], "outputs": [], "layers": [layer | more for layer in layers], "files": {}}
    (folder / "tiny.h").write_text(HEADER)
    (folder / "tiny.c").write_text(network)
    (folder / "tiny_weights.c").write_text(WEIGHTS)
    (folder / "tiny_selftest.c").write_text(SELFTEST)
    (folder / "tiny_golden.c").write_text("typedef int tiny_nothing;\n")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def instructions_per_tick(target: Target) -> float:
    assert target.emulator is not None
    return 1e9 / target.emulator.tick_hz


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FirmwareResult]:
    folder = tiny_network(tmp_path_factory.mktemp("tiny"))
    return {target.name: run_firmware(folder, target, timeout_s=60) for target in EMULATED}


@pytest.mark.parametrize("target", EMULATED, ids=lambda target: target.name)
def test_a_loop_of_known_length_is_counted_to_the_tick(
    results: dict[str, FirmwareResult], target: Target
) -> None:
    """The loop, and the dozen instructions of calling it and the probe."""
    once, thrice = results[target.name].layers
    slack = instructions_per_tick(target) + 24
    assert 2 * ITERATIONS <= once.instructions <= 2 * ITERATIONS + slack
    assert 6 * ITERATIONS <= thrice.instructions <= 6 * ITERATIONS + slack


@pytest.mark.parametrize("target", EMULATED, ids=lambda target: target.name)
def test_the_result_describes_the_network_alone(results: dict[str, FirmwareResult], target: Target) -> None:
    result = results[target.name]
    assert result.passed
    assert result.rodata_bytes == 16
    assert 20 < result.text_bytes < 300
    assert result.data_bytes == 0
    assert 0 < result.stack_bytes < 1024
    assert [layer.name for layer in result.layers] == ["once", "thrice"]


def test_counts_repeat(results: dict[str, FirmwareResult], tmp_path: Path) -> None:
    assert run_firmware(tiny_network(tmp_path), M4) == results["cortex-m4"]


def test_wrong_bits_are_counted(tmp_path: Path) -> None:
    result = run_firmware(tiny_network(tmp_path, "net->arena[5] = 99;"), M4)
    assert not result.passed
    assert result.wrong_values == 3


@pytest.mark.parametrize("target", EMULATED, ids=lambda target: target.name)
def test_a_fault_names_the_function(tmp_path: Path, target: Target) -> None:
    folder = tiny_network(tmp_path, "*(volatile int *)0xF0000000 = 1;")
    with pytest.raises(VerificationFailed, match=r"(hard|access) fault in tiny_invoke \(tiny\.c:"):
        run_firmware(folder, target, timeout_s=60)


@pytest.mark.parametrize("target", [M4, RV32], ids=lambda target: target.name)
def test_a_stack_overflow_faults(tmp_path: Path, target: Target) -> None:
    deep = "volatile char big[40000]; big[0] = 1; tiny_invoke(net); big[0] = 2;"
    folder = tiny_network(tmp_path, "{" + deep + "}")
    with pytest.raises(VerificationFailed, match="fault"):
        run_firmware(folder, target, timeout_s=60)


def test_a_hanging_firmware_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(VerificationFailed, match="did not end within 2 s"):
        run_firmware(tiny_network(tmp_path, "for (;;) {}"), M4, timeout_s=2)


def test_c_that_does_not_compile_shows_the_compilers_words(tmp_path: Path) -> None:
    with pytest.raises(VerificationFailed, match=r"(?s)tiny\.c does not compile for cortex-m4.*undeclared"):
        run_firmware(tiny_network(tmp_path, "undeclared = 1;"), M4)


@pytest.mark.parametrize(
    ("target", "package"), [(M4, "gcc-arm-none-eabi"), (RV32, "gcc-riscv64-unknown-elf")]
)
def test_missing_tools_are_told_with_how_to_install_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: Target, package: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissing, match=f"apt-get install {package}"):
        run_firmware(tiny_network(tmp_path), target)


def test_kernels_the_core_cannot_run_are_refused(tmp_path: Path) -> None:
    (tiny_network(tmp_path) / "runtime_c" / "dsp").mkdir(parents=True)
    with pytest.raises(UserError, match="DSP instructions"):
        run_firmware(tmp_path, load_target("cortex-m3"))


def test_the_host_is_not_emulated(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="host has no emulator"):
        run_firmware(tiny_network(tmp_path), load_target("host"))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"network": "a b\\";"}'])
def test_a_folder_that_is_not_ours_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(UserError):
        run_firmware(tmp_path, M4)
