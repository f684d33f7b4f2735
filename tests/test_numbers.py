"""The formats of numbers: digits, signs, unknown values and edges of each unit."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from logdrift.core import numbers, words


@pytest.mark.parametrize(
    ("value", "fixed", "figure", "number", "short"),
    [
        (0.03124, "0.0312", "0.0312", "0.0312", "0.031"),
        (1.2e-6, "1.2e-06", "1.20e-06", "1.2e-6", "1.2e-6"),
        (0.0, "0", "0", "0.0000", "0"),
        (-2.2310, "-2.2310", "-2.23", "-2.2310", "-2.23"),
        (1234.5, "1234.50", "1,234.5", "1234.5", "1.23e+03"),
        (math.inf, "inf", "inf", "inf", "inf"),
        (-math.inf, "-inf", "-inf", "-inf", "-inf"),
        (math.nan, "-", "-", "·", "nan"),
    ],
)
def test_one_value_in_the_four_styles(
    value: float, fixed: str, figure: str, number: str, short: str
) -> None:
    assert numbers.fixed(value) == fixed
    assert numbers.figure(value) == figure
    assert numbers.number(value) == number
    assert numbers.short(value) == short


def test_a_plus_stands_before_what_is_above_zero_alone() -> None:
    assert numbers.fixed(0.5, sign=True) == "+0.5000"
    assert numbers.figure(0.5, sign=True) == "+0.500"
    assert numbers.signed(0.5) == "+0.5000"
    for value in (0.0, -0.5, None, math.nan):
        assert "+" not in numbers.fixed(value, sign=True)
        assert "+" not in numbers.figure(value, sign=True)
        assert "+" not in numbers.signed(value)


def test_nearly_all_never_reads_as_all() -> None:
    assert numbers.figure(0.9999999, "share") == "0.9999999"
    assert numbers.round_percentage(0.9997) == "99.97%"
    assert numbers.percent(1, 100_000) == "<0.1%"
    assert numbers.percent(0, 0) == "0%"


def test_what_is_unknown() -> None:
    assert numbers.fixed(None) == numbers.figure(None) == numbers.UNKNOWN
    assert numbers.percentage(None) == numbers.UNKNOWN
    assert numbers.interval_text(None) == numbers.UNKNOWN
    assert numbers.multiple_text(None) == numbers.UNKNOWN
    assert numbers.number(None) == numbers.signed(None) == numbers.NOTHING
    assert numbers.three_digits(None) == numbers.round_percentage(None) == "unknown"


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.018, 0.02, "0.0180 0.0200"),
        (0.0096, 0.0104, "0.0096 0.0104"),
        (0.09, 0.1, "0.090 0.100"),
        (0.5, 0.0, "0.500 0.000"),
        (8.0, 10.4, "8.0 10.4"),
        (999.0, 1234.0, "999 1234"),
        (1e-5, 1.2e-5, "1.00e-05 1.20e-05"),
        (0.0, 0.0, "0.00 0.00"),
        (-0.02, 0.01, "-0.0200 0.0100"),
        (2e5, 3e5, "2.00e+05 3.00e+05"),
        (1.0, math.inf, "1 inf"),
    ],
)
def test_both_ends_of_an_interval_have_the_same_digits(
    low: float, high: float, text: str
) -> None:
    assert numbers.even_ends(low, high) == text


def test_durations_and_sizes() -> None:
    assert [numbers.clock(s) for s in (-3, 42, 725, 4000)] == [
        "0:00",
        "0:42",
        "12:05",
        "66:40",
    ]
    assert [numbers.duration(s) for s in (42, 725, 12_000, 187_200)] == [
        "0:42",
        "12:05",
        "3h20m",
        "52h",
    ]
    assert numbers.gigabytes(12_340_000_000) == "12.3 GB"
    assert numbers.byte_size(999) == "999 bytes"
    assert numbers.byte_size(4_200_000) == "4.2 MB"
    assert numbers.counted(1, "token") == "1 token"
    assert numbers.counted(1024, "token") == "1,024 tokens"


def test_the_words_of_verdicts_stand_in_one_place() -> None:
    """A second table of them would drift from the first."""
    root = Path(words.__file__).parent.parent
    again = [
        path
        for folder in ("core", "cli", "tui")
        for path in (root / folder).rglob("*.py")
        if re.search(r"\"NOT COMPARABLE\"", path.read_text("utf-8"))
    ]
    found = [path.name for path in again]
    assert found == ["words.py"]
