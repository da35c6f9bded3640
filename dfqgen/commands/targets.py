"""The machines dfqgen knows."""

from __future__ import annotations

from dfqgen.report.facts import Facts
from dfqgen.targets import list_aliases, list_targets


def targets() -> Facts:
    """Every target and alias."""
    return {
        "targets": [
            {
                "name": target.name,
                "description": target.description,
                "core": target.core,
                "isa": [isa.value for isa in target.isas],
                "scales": target.scales,
                "flash_bytes": target.flash_bytes,
                "ram_bytes": target.ram_bytes,
                "compiler": target.compiler.command,
                "emulator": None if target.emulator is None else target.emulator.machine,
            }
            for target in list_targets()
        ],
        "aliases": list_aliases(),
    }
