"""Quantities as people write them."""

from __future__ import annotations

import re

from dfqgen.errors import UserError

_HERTZ = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}


def parse_size(text: str) -> int:
    """Bytes of "300000", "64K" or "2M" (powers of 1024; an optional B or iB is ignored)."""
    match = re.fullmatch(r"\s*([0-9]{1,15})\s*([kKmM]?)(?:i?[bB])?\s*", text)
    if match is None:
        raise UserError(f"{text!r} is not a size in bytes", "Write it like 300000, 64K or 2M.")
    return int(match[1]) * {"": 1, "k": 1 << 10, "m": 1 << 20}[match[2].lower()]


def parse_frequency(text: str) -> int:
    """Hertz of "80000000", "80M", "80 MHz" or "1.2G"."""
    match = re.fullmatch(r"\s*([0-9]{1,15}(?:\.[0-9]+)?)\s*([kKmMgG]?)(?:[hH][zZ])?\s*", text)
    hertz = 0 if match is None else round(float(match[1]) * _HERTZ[match[2].lower()])
    if hertz < 1:
        raise UserError(f"{text!r} is not a frequency", "Write it like 80M, 64000k or 80000000.")
    return hertz
