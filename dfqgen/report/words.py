"""Quantities and facts in the words of the report and the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def size_text(size_bytes: int | None) -> str:
    """Bytes for people: 1,234 B, 56.7 KB (of 1024), 2.00 MB."""
    if size_bytes is None:
        return "-"
    if size_bytes >= 1 << 20:
        return f"{size_bytes / (1 << 20):.2f} MB"
    return f"{size_bytes:,} B" if size_bytes < 10_000 else f"{size_bytes / 1024:.1f} KB"


def count_text(count: int) -> str:
    """A large count for people: 2.30 M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return str(count)


def percent_text(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.2f} %"


def sqnr_text(row: Mapping[str, Any]) -> str:
    """The SQNR of an entry with `sqnr_db`, None where it is infinite, and `max_error`."""
    if row.get("equal") is not None:
        return f"{percent_text(row['equal'])} equal"
    if row["sqnr_db"] is not None:
        return f"{row['sqnr_db']:.1f} dB"
    if row.get("undefined") and not row["max_error"]:
        return "undefined"
    return "no signal" if row["max_error"] else "exact"


def meaning_text(entry: Mapping[str, Any]) -> str:
    """What an input means, for people: (0 … 255 - 127.5) / 127.5 is -1 … 1."""
    mean, std = (", ".join(f"{value:g}" for value in entry[key]) for key in ("mean", "std"))
    raw, seen = ("{:.4g} … {:.4g}".format(*entry[key]) for key in ("range", "seen"))
    plain = (mean, std) == ("0", "1")
    return raw if plain else f"({raw} - [{mean}]) / [{std}] = {seen}"


def shape_text(shape: list[int]) -> str:
    """Without the batch: 32x32x3."""
    return "x".join(map(str, shape[1:])) or "1"


def span_text(bounds: Sequence[float]) -> str:
    """From and to, in three digits."""
    return "{:.3g} … {:.3g}".format(*bounds)
