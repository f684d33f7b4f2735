"""How numbers are written: every format of the reports, of the screen and of messages.

Three styles, because three places have different room. `fixed` fills a column of the
text report, `figure` is for sentences, Markdown and HTML, `number` for narrow cells of
the screen. Standard library only, so that everything may import it.
"""

from __future__ import annotations

import math
from typing import Any, Literal, TypeGuard

Unit = Literal["nats", "probability", "ratio", "correlation", "share", "tokens", ""]
"""What a number is of; it decides how many digits `figure` writes."""

UNKNOWN = "-"
"""Stands where a report has no number."""
NOTHING = "·"
"""Stands where the screen has no number."""

_BYTES = ("bytes", "kB", "MB", "GB", "TB")
_MOST_HOURS = 9999
"""What fits five cells with its unit: any longer `duration` is shown as this."""


def is_number(value: Any) -> TypeGuard[float]:
    """A finite number, and no truth value."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value)


def plus(value: float | None, text: str) -> str:
    """``text`` of ``value``, a plus before what is above zero."""
    if value is not None and value > 0:
        return f"+{text}"
    return text


# The text report: columns of numbers.


def fixed(value: float | None, sign: bool = False) -> str:
    """A number in at most 8 cells (9 below -1000): ``0.0312``, ``1.2e-06``, ``inf``;
    ``-`` for None and NaN.
    """
    if value is None or math.isnan(value):
        return UNKNOWN
    text = _fixed(value)
    if sign:
        return plus(value, text)
    return text


def _fixed(value: float) -> str:
    size = abs(value)
    if math.isinf(value):
        return str(value)
    if size == 0:
        return "0"
    if size < 0.001 or size >= 100_000:
        return f"{value:.1e}"
    if size < 10:
        return f"{value:.4f}"
    return f"{value:.2f}"


# Sentences, Markdown and HTML.


def figure(value: Any, unit: Unit = "nats", *, sign: bool = False) -> str:
    """A number as people read it: three digits for nats, four decimals for a share,
    ``-`` for what is unknown.
    """
    if isinstance(value, bool):
        if value:
            return "yes"
        return "no"
    if not isinstance(value, int | float) or math.isnan(value):
        return UNKNOWN
    text = _figure(value, unit)
    if sign:
        return plus(value, text)
    return text


def _figure(value: float, unit: Unit) -> str:
    if math.isinf(value):
        return str(value)
    if unit == "share":
        return _share(value)
    if unit == "correlation":
        return f"{value:.6f}"
    size = abs(value)
    if unit == "ratio" and 0.1 <= size < 10:
        return f"{value:.5f}"
    if value == int(value):
        return f"{int(value):,}"
    if unit == "ratio" and 10 <= size < 1000:
        return f"{value:.2f}"
    if size >= 100:
        return f"{value:,.1f}"
    # 99.96 has become "100." by now.
    return f"{value:#.3g}".rstrip(".")


def _share(value: float) -> str:
    if value in (0, 1):
        return f"{value:.0f}"
    if 0.99995 <= value < 1:
        # Not quite all of them must not read as all.
        return f"{value:.9f}".rstrip("0")
    if abs(value) >= 0.001:
        return f"{value:.4f}"
    return f"{value:.3g}"


def exact(value: Any) -> str:
    """A number beside a limit: five digits, so that 1.0499 does not read as the 1.05
    that it must stay below.
    """
    if is_number(value):
        return f"{value:.5g}"
    return figure(value)


def six_digits(value: float) -> str:
    """A number that is held against a limit: what a table rounds away may be what is
    outside.
    """
    return f"{value:.6g}"


def three_digits(value: float | None) -> str:
    """A number within a sentence: ``0.0433``; ``unknown`` for None."""
    if value is None:
        return "unknown"
    return f"{value:.3g}"


def multiple_text(times: float | None) -> str:
    """A multiple of the noise floor: ``12x``; a word where the floor is exactly 0, or
    ``-``.
    """
    if times is None:
        return UNKNOWN
    if math.isinf(times):
        return "floor is 0"
    return f"{figure(times)}x"


def interval_text(bounds: tuple[float, float] | None, unit: Unit = "nats") -> str:
    """``[low, high]``, or ``-``."""
    if bounds is None:
        return UNKNOWN
    low, high = bounds
    return f"[{figure(low, unit)}, {figure(high, unit)}]"


def even_ends(low: float, high: float) -> str:
    """An interval in few cells, both ends to the same place, the larger one with three
    digits as `figure` has it: ``0.0199 0.0207``, ``1.00e-05 1.20e-05``.
    """
    size = max(abs(low), abs(high))
    if not math.isfinite(low + high):
        style = ".3g"
    elif size != 0 and (size < 0.001 or size >= 100_000):
        style = ".2e"
    else:
        style = f".{_three_digit_decimals(size)}f"
    return f"{low:{style}} {high:{style}}"


def _three_digit_decimals(size: float) -> int:
    """Decimals of a number of 0.001 and more that is written in three digits."""
    _, _, exponent = f"{size:.2e}".partition("e")
    return max(0, 2 - int(exponent))


# The screen: few cells.


def number(value: float | None, digits: int = 4) -> str:
    """A value in at most ``digits`` + 3 cells: ``-2.2310``, ``0.0312``, ``1.2e-6``,
    ``inf``; a dot for NaN and None.
    """
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return str(value)
    size = abs(value)
    if size != 0 and size < 10.0 ** (1 - digits):
        return _scientific(value, 1)
    if size >= 10**digits:
        return _scientific(value, max(0, digits - 3))
    whole = len(str(int(size)))
    return f"{value:.{max(0, digits + 1 - whole)}f}"


def signed(value: float | None, digits: int = 4) -> str:
    """Like `number`, a plus before what is above zero."""
    return plus(value, number(value, digits))


def short(value: float) -> str:
    """A value for an axis or a legend, in two or three digits: ``0.047``, ``1.9``,
    ``3e-5``.
    """
    if value == 0:
        return "0"
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    if size < 0.001 or size >= 1e5:
        return _scientific(value, 1)
    if size < 1:
        return f"{value:.2g}"
    return f"{value:.3g}"


def probability(logprob: float | None) -> str:
    """exp(logprob) as ``0.107``, small ones as ``2e-7``; ``logprob`` in nats."""
    if logprob is None or math.isnan(logprob):
        return NOTHING
    value = math.exp(min(logprob, 0.0))
    if value and value < 0.001:
        return _scientific(value, 0)
    return f"{value:.3f}"


def _scientific(value: float, decimals: int) -> str:
    mantissa, _, exponent = f"{value:.{decimals}e}".partition("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"


# Percentages.


def percent(part: int, whole: int) -> str:
    """``part`` of ``whole``: ``5.1%``, ``<0.1%`` where it is not nothing."""
    if not whole:
        return "0%"
    value = 100 * part / whole
    if 0 < value < 0.1:
        return "<0.1%"
    return f"{value:.1f}%"


def percentage(share: float | None) -> str:
    """A share, 0 to 1, with one decimal: ``5.1%``; ``-`` for None."""
    if share is None:
        return UNKNOWN
    return f"{100 * share:.1f}%"


def round_percentage(share: float | None) -> str:
    """A share within a sentence: ``88%``. ``99.97%`` where it is nearly all, so that it
    does not read as all; ``unknown`` for None.
    """
    if share is None:
        return "unknown"
    if 0.99 < share < 1:
        return f"{share:.2%}"
    return f"{share:.0%}"


# Durations and sizes.


def clock(seconds: float) -> str:
    """``m:ss``, 0:00 at least."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    return f"{minutes}:{rest:02d}"


def duration(seconds: float) -> str:
    """Time left in at most five cells: ``0:42``, ``12:05``, ``3h20m``, ``52h``."""
    whole = max(0, round(seconds))
    if whole < 3600:
        return clock(whole)
    hours, rest = divmod(whole, 3600)
    if hours < 10:
        return f"{hours}h{rest // 60:02d}m"
    return f"{min(hours, _MOST_HOURS)}h"


def byte_size(count: int) -> str:
    """Bytes in three digits and a decimal unit: ``12 bytes``, ``4.2 MB``."""
    value = float(count)
    for unit in _BYTES[:-1]:
        if value < 999.5:
            whole = unit == _BYTES[0] or value >= 99.5
            if whole:
                return f"{value:.0f} {unit}"
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} {_BYTES[-1]}"


def gigabytes(count: float) -> str:
    """Bytes of a disk or a memory: ``12.3 GB``."""
    return f"{count / 1e9:.1f} GB"


def counted(count: float, one: str) -> str:
    """``1 token``, ``1,024 tokens``."""
    return f"{count:,.0f} {one}{'' if count == 1 else 's'}"


def all_counted(count: int, one: str) -> str:
    """``all 24 sequences``; of one, ``1 sequence``: there is no all of it."""
    if count == 1:
        return counted(count, one)
    return f"all {counted(count, one)}"


def ordinal(count: int) -> str:
    """``1st``, ``2nd``, ``3rd``, ``11th``, ``1,021st``."""
    ending = "th"
    is_teen = 10 < count % 100 < 20
    if not is_teen:
        ending = {1: "st", 2: "nd", 3: "rd"}.get(count % 10, "th")
    return f"{count:,}{ending}"


# Ranges.


def range_text(low: float, high: float | None, *, whole: bool = False) -> str:
    """``0.1 to 0.5``, ``4 and more`` without an end. ``whole``: of whole numbers below
    ``high``, ``4 to 7`` for 4 and 8.
    """
    if high is None or math.isinf(high):
        return f"{low:g} and more"
    if not (whole and float(low).is_integer() and float(high).is_integer()):
        return f"{low:g} to {high:g}"
    if high - low <= 1:
        return f"{int(low):,}"
    return f"{int(low):,} to {int(high) - 1:,}"


def all_digits(value: float) -> str:
    """A float32 in as many digits as give it again: nine."""
    return f"{value:.9g}"
