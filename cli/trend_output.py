"""Measuring and writing a trend, for the command and for what follows a folder."""

from __future__ import annotations

import sys
from pathlib import Path

from logdrift.cli.streams import write_document
from logdrift.core.report.layout import Canvas, canvas_of
from logdrift.core.report.output import write_output
from logdrift.core.trend.answered import TrendReport
from logdrift.core.trend.forms import rendered_trend
from logdrift.core.trend.reader import TrendLook, TrendReader

_SLICE = 0.5
"""Seconds of measuring after which the terminal is told how far it is."""


def measured(reader: TrendReader) -> TrendLook:
    """Everything that there is, measured; a terminal is told how far it is."""
    tells = sys.stderr.isatty()
    look = reader.look(seconds=_SLICE)
    while not look.done:
        if tells:
            done = look.total - look.left
            _tell(f"measured {done:,} of {look.total:,} steps")
        look = reader.look(seconds=_SLICE)
    if tells:
        _tell("")
    return look


def _tell(text: str) -> None:
    """Put a text in place of the one before."""
    sys.stderr.write(f"\r\x1b[K{text}")
    sys.stderr.flush()


def write(report: TrendReport, form: str, output: Path | None) -> None:
    """Write a trend to a file, or to standard output."""
    canvas = canvas_of(sys.stdout) if output is None else Canvas()
    text = rendered_trend(form, report, canvas)
    if output is not None:
        write_output(output, text)
    elif form in ("md", "html"):
        write_document(text)
    else:
        sys.stdout.write(text)
        sys.stdout.flush()
