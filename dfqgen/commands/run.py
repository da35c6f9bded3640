"""The golden vectors on an emulated microcontroller, or on a board behind a serial port."""

from __future__ import annotations

from pathlib import Path

from dfqgen.errors import UserError, VerificationFailed
from dfqgen.plan import plan_program
from dfqgen.plan.estimate import estimate
from dfqgen.progress import Progress, silent
from dfqgen.report.facts import Facts
from dfqgen.targets import load_target
from dfqgen.verify.board import open_port, run_on_board
from dfqgen.verify.firmware import run_firmware
from dfqgen.verify.folder import check_unchanged, read_manifest, read_program
from dfqgen.verify.serial_link import Link

SERIAL = "serial:"
"""Before the name of a port in `on`."""


def run(folder: str | Path, on: str, progress: Progress = silent, *, edited: bool = False) -> Facts:
    """Build the self-test firmware of a folder for a target and run it on the emulated board.

    `on` "serial:PORT[@BAUD]" is a board with a firmware that serves the folder's network there.
    Raises VerificationFailed where an output is wrong or, but for `edited`, a file is not as the build
    wrote it.
    """
    if not edited:
        check_unchanged(Path(folder))
    if on.startswith(SERIAL):
        return _run_on_board(Path(folder), on.removeprefix(SERIAL), progress)
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


def _run_on_board(folder: Path, name: str, progress: Progress) -> Facts:
    progress(f"opening {name}")
    with open_port(name) as port:
        result = run_on_board(folder, Link(port), progress)
    manifest = read_manifest(folder)
    estimated = _estimated(folder, manifest)
    layers = [
        {
            "layer": layer["name"],
            "title": layer["title"],
            "macs": layer["macs"],
            "cycles": cycles,
            "estimated_instructions": estimated.get(layer["name"]),
        }
        for layer, cycles in zip(manifest["layers"], result.layer_cycles, strict=False)
    ]
    return {
        "folder": str(folder),
        "port": name,
        "target": manifest.get("target"),
        "bit_exact": True,
        "vectors": result.vectors,
        "cycles": result.cycles,
        "macs": sum(layer["macs"] for layer in layers),
        "layers": layers,
        "repeated_frames": result.repeated,
    }


def _estimated(folder: Path, manifest: Facts) -> dict[str, int]:
    """Instructions of the layers by name, where the target has prices."""
    try:
        target = load_target(str(manifest.get("target")))
        optimize = str(manifest.get("optimize", "speed"))
        layers = estimate(plan_program(read_program(folder), target, optimize=optimize))
    except UserError:
        return {}
    return {} if target.is_host else {layer.op.name: layer.instructions for layer in layers}
