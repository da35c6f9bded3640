"""docs/parts.md from targets/parts/: `python -m scripts.parts_docs`; a test sees that it is current."""

from __future__ import annotations

from pathlib import Path

from dfqgen.report.words import size_text
from dfqgen.targets import Target, list_parts

PAGE = Path(__file__).resolve().parents[1] / "docs" / "parts.md"

HEAD = """\
# Parts

What `--target` knows beside the cores: `dfqgen targets --search TEXT` finds them by name, board or vendor.
A part is its core's kernels, prices and compiler flags with its own memory and clock; its arena goes into
the first region of RAM. Flash and RAM are limits of a build unless `--flash` and `--ram` say otherwise, and
firmware around the network needs some of both. Wait states are those at the full clock, where the source
names them. The numbers were typed from the sources named and are checked
by nobody else: compare them with your part's ordering code, whose letters stand for sizes.

Estimated times count waits of the flash where the table says how wide a read is. Code is taken not to
wait, as prefetch and the instruction cache promise for loops; each read of constants of that width waits
once, for the few lines of the data cache hold no layer's weights until they are read again. The M4's kernels
read 0.5 bytes of constants an instruction (0.46 to 0.58 in four networks of convolutions, counted from their
loops; fully connected layers alone 1.0, so their times are too short), which makes 0.31 cycles an
instruction at 5 wait states and 64 bits, and 0.16 at 128 bits. Other parts' times say that waits are not
counted: what their caches hide is not known. No board was measured for this. It makes 13.5 of ic01's 11.1
million cycles on the STM32L4R5; [speed.md](speed.md#beside-measured-boards) has what others' software takes.

Written by `python -m scripts.parts_docs` from `targets/parts/`, one file each.

| part | core | MHz | flash | wait states | RAM | boards | source |
|---|---|---|---|---|---|---|---|
"""


def page() -> str:
    """The whole text."""
    return HEAD + "".join(row(target) for target in list_parts())


def row(target: Target) -> str:
    """One part's line."""
    part = target.part
    assert part is not None
    flash = "outside" if target.flash_bytes is None else size_text(target.flash_bytes)
    waits = "" if part.wait_states is None else str(part.wait_states)
    if part.read_bytes is not None:
        waits += f" for {8 * part.read_bytes} bits"
    cells = [
        f"`{target.name}`: {part.vendor} {target.description}",
        part.core_target,
        f"{target.clock_hz / 1e6:.0f}",
        flash if part.flash == "internal" else f"{flash}, {part.flash}",
        f"{waits}; {part.cache}" if waits and part.cache else waits or part.cache or "",
        ", ".join(f"{size_text(region.bytes)} {region.name}" for region in part.regions),
        ", ".join(f"`{board}`" for board in part.boards),
        part.source,
    ]
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
