"""The golden vectors on an emulated microcontroller."""

from __future__ import annotations

from pathlib import Path

from dfqgen.errors import VerificationFailed
from dfqgen.progress import Progress, silent
from dfqgen.report.facts import Facts
from dfqgen.targets import load_target
from dfqgen.verify.firmware import run_firmware
from dfqgen.verify.folder import check_unchanged


def run(folder: str | Path, on: str, progress: Progress = silent, *, edited: bool = False) -> Facts:
    """Build the self-test firmware of a folder for a target and run it on the emulated board.

    Raises VerificationFailed where an output is wrong or, but for `edited`, a file is not as the build
    wrote it.
    """
    if not edited:
        check_unchanged(Path(folder))
    progress(f"building and running the firmware for {on}")
    result = run_firmware(Path(folder), load_target(on))
    if not result.passed:
        raise VerificationFailed(
            f"{result.wrong_values} output values of the golden vectors are wrong on {result.target} "
            f"({result.machine} in QEMU)"
        )
    return {
        "folder": str(folder),
        "target": result.target,
        "machine": result.machine,
        "bit_exact": True,
        "wrong_values": result.wrong_values,
        "instructions": result.instructions,
        "macs": sum(layer.macs for layer in result.layers),
        "layers": [
            {
                "layer": layer.name,
                "title": layer.title,
                "macs": layer.macs,
                "instructions": layer.instructions,
            }
            for layer in result.layers
        ],
        "text_bytes": result.text_bytes,
        "rodata_bytes": result.rodata_bytes,
        "data_bytes": result.data_bytes,
        "flash_bytes": result.flash_bytes,
        "arena_bytes": result.arena_bytes,
        "stack_bytes": result.stack_bytes,
    }
