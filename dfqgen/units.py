"""Quantities as people write them."""

from __future__ import annotations

import re

from dfqgen.errors import UserError

_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
_HERTZ = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}


def parse_size(text: str) -> int:
    """Bytes of "300000", "64K" or "2M" (powers of 1024; an optional B or iB is ignored)."""
    match = re.fullmatch(r"\s*([0-9]{1,15})\s*([kKmM]?)(?:i?[bB])?\s*", text)
    if match is None:
        raise UserError(f"{text!r} is not a size in bytes", "Write it like 300000, 64K or 2M.")
    return int(match[1]) * {"": 1, "k": 1 << 10, "m": 1 << 20}[match[2].lower()]


def parse_duration(text: str) -> float:
    """Seconds of "80ms", "1.5 s", "900us" or "0.08"."""
    match = re.fullmatch(r"\s*([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(s|ms|us)?\s*", text)
    seconds = 0.0 if match is None else float(match[1]) * _SECONDS[match[2] or "s"]
    if seconds <= 0:
        raise UserError(f"{text!r} is not a time", "Write it like 80ms, 900us or 0.5s.")
    return seconds


def duration_text(seconds: float) -> str:
    """Three digits and a unit."""
    for unit, scale in (("s", 1.0), ("ms", 1e3)):
        if seconds * scale >= 1:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def parse_frequency(text: str) -> int:
    """Hertz of "80000000", "80M", "80 MHz" or "1.2G"."""
    match = re.fullmatch(r"\s*([0-9]{1,15}(?:\.[0-9]+)?)\s*([kKmMgG]?)(?:[hH][zZ])?\s*", text)
    hertz = 0 if match is None else round(float(match[1]) * _HERTZ[match[2].lower()])
    if hertz < 1:
        raise UserError(f"{text!r} is not a frequency", "Write it like 80M, 64000k or 80000000.")
    return hertz
