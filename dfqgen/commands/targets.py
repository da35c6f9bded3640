"""The machines dfqgen knows."""

from __future__ import annotations

from dfqgen.report.facts import Facts
from dfqgen.targets import Target, list_aliases, list_parts, list_targets, search_targets


def targets(search: str | None = None) -> Facts:
    """Every core, part and alias, or those with all words of `search`."""
    found = [*list_targets(), *list_parts()] if search is None else search_targets(search)
    names = {target.name for target in found}
    return {
        "search": search,
        "targets": [_core_facts(target) for target in found if target.part is None],
        "parts": [_part_facts(target) for target in found if target.part is not None],
        "aliases": {alias: name for alias, name in list_aliases().items() if name in names},
    }


def _core_facts(target: Target) -> Facts:
    return {
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


def _part_facts(target: Target) -> Facts:
    part = target.part
    assert part is not None
    return {
        "name": target.name,
        "description": target.description,
        "vendor": part.vendor,
        "core": part.core_target,
        "clock_hz": target.clock_hz,
        "flash_bytes": target.flash_bytes,
        "flash": part.flash,
        "wait_states": part.wait_states,
        "read_bytes": part.read_bytes,
        "cache": part.cache,
        "ram": [{"name": region.name, "bytes": region.bytes} for region in part.regions],
        "boards": list(part.boards),
        "source": part.source,
    }
