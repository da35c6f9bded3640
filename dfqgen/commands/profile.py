"""Where the time of an inference goes: a folder's profile as facts, saved beside the C and in its report."""

from __future__ import annotations

import json
from pathlib import Path

from dfqgen.errors import VerificationFailed
from dfqgen.progress import Progress, silent
from dfqgen.report.facts import Facts
from dfqgen.report.html import REPORT, insert_profile
from dfqgen.targets import Target, load_target
from dfqgen.verify.folder import check_unchanged, read_manifest
from dfqgen.verify.profile import LayerProfile, Profile, profile_firmware

PROFILE = "profile.json"
DEFAULT_TARGET = "cortex-m"
"""For folders built for a machine without an emulator."""


def profile(
    folder: str | Path,
    target_name: str | None = None,
    *,
    clock_hz: int | None = None,
    edited: bool = False,
    progress: Progress = silent,
) -> Facts:
    """Profile a generated folder on an emulated target; write profile.json and the report's section.

    `target_name` defaults to what the folder was built for, `clock_hz` to the target's. Raises UserError
    (a folder that is none, a target without emulator), and VerificationFailed where an output is wrong or,
    but for `edited`, a file is not as the build wrote it.
    """
    folder = Path(folder)
    if not edited:
        check_unchanged(folder)
    target = load_target(target_name) if target_name else _own_target(folder)
    progress(f"building the firmware for {target.name} and counting its instructions")
    measured = profile_firmware(folder, target)
    if measured.wrong_values:
        raise VerificationFailed(
            f"{measured.wrong_values} output values of the golden vectors are wrong on {target.name}"
        )
    facts = profile_facts(measured, target, clock_hz or target.clock_hz)
    (folder / PROFILE).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    in_report = insert_profile(folder / REPORT, facts)
    return {"folder": str(folder), "saved": [PROFILE, *([REPORT] if in_report else [])], **facts}


def _own_target(folder: Path) -> Target:
    name = read_manifest(folder).get("target")
    target = load_target(name) if isinstance(name, str) else load_target(DEFAULT_TARGET)
    return target if target.emulator is not None else load_target(DEFAULT_TARGET)


def profile_facts(measured: Profile, target: Target, clock_hz: int) -> Facts:
    """Plain values; `cycles` and `milliseconds` are None where the target has no cycle model.

    A layer's `share` is its part of the cycles, or of the instructions where those are all there is.
    """

    def row(layer: LayerProfile) -> Facts:
        part, whole = layer.instructions, measured.instructions
        if layer.cycles is not None and measured.cycles is not None:
            part, whole = layer.cycles, measured.cycles
        return {
            "layer": layer.name,
            "title": layer.title,
            "macs": layer.macs,
            "instructions": layer.instructions,
            "cycles": layer.cycles,
            "instructions_per_mac": _per(layer.instructions, layer.macs),
            "share": round(part / whole, 4) if whole else 0.0,
            "milliseconds": milliseconds(layer.cycles, clock_hz),
        }

    macs = sum(layer.macs for layer in measured.layers)
    return {
        "target": target.name,
        "clock_hz": clock_hz,
        "macs": macs,
        "instructions": measured.instructions,
        "cycles": measured.cycles,
        "instructions_per_mac": _per(measured.instructions, macs),
        "milliseconds": milliseconds(measured.cycles, clock_hz),
        "layers": [row(layer) for layer in measured.layers],
    }


def _per(count: int, macs: int) -> float | None:
    return round(count / macs, 3) if macs else None


def milliseconds(cycles: int | None, clock_hz: int) -> float | None:
    """Time of so many cycles, to a tenth of a microsecond."""
    return None if cycles is None else round(1e3 * cycles / clock_hz, 4)
