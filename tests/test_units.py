"""Sizes and frequencies as people write them."""

from __future__ import annotations

import pytest

from dfqgen.errors import UserError
from dfqgen.units import duration_text, parse_duration, parse_frequency, parse_size


@pytest.mark.parametrize(
    ("text", "size_bytes"), [("300000", 300000), ("64K", 65536), ("2M", 2 << 20), ("2 MiB", 2 << 20)]
)
def test_sizes_are_read_in_powers_of_1024(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


def test_a_size_that_is_none_is_refused() -> None:
    with pytest.raises(UserError, match="not a size"):
        parse_size("lots")


@pytest.mark.parametrize(
    ("text", "hertz"), [("80M", 80_000_000), ("64000k", 64_000_000), ("1.2 GHz", 1_200_000_000), ("7", 7)]
)
def test_frequencies(text: str, hertz: int) -> None:
    assert parse_frequency(text) == hertz


@pytest.mark.parametrize("text", ["", "fast", "-3M", "0", "80MB"])
def test_what_is_no_frequency_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="frequency"):
        parse_frequency(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("80ms", 0.08), ("1.5 s", 1.5), ("900us", 9e-4), ("0.08", 0.08)]
)
def test_times_are_read_with_their_units(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "0", "-1s", "1h", "nan", "1e3"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        parse_duration(text)


@pytest.mark.parametrize(("seconds", "text"), [(1.5, "1.5 s"), (0.0804, "80.4 ms"), (9e-6, "9 us")])
def test_times_are_written_with_three_digits(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
