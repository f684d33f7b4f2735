"""A chart as a file: the ending of the name decides between text, SVG and CSV.

Text is the picture of the terminal, CSV the numbers behind it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from logdrift.core.charts.registry import CHARTS, entry_of
from logdrift.core.errors import InputError, LogdriftError
from logdrift.core.paths import user_path
from logdrift.core.report.output import without_flag, write_output
from logdrift.core.report.svg_chart import chart_svg
from logdrift.core.report.svg_parts import document
from logdrift.core.session.visible import visible
from logdrift.tui.report_file import offered_name, problem
from logdrift.tui.widgets.charts.terminal import draw

if TYPE_CHECKING:
    from logdrift.core.charts.base import Chart, Table
    from logdrift.core.charts.data import ChartSource, Reach

ENDINGS = (".svg", ".txt", ".csv")
_TEXT_SIZE = (110, 30)


def default_name(source: ChartSource, kind: int, reach: Reach, folder: Path) -> str:
    """A name for an SVG file that is not in ``folder`` yet."""
    session = ""
    if source.data is not None:
        session = source.data.session.name
    chart = CHARTS[kind]
    ending = f"-{chart.name}"
    if reach == "one":
        ending += f"-seq{source.sequence}"
    return offered_name(session, f"{ending}.svg", folder)


def write_chart(chart: Chart, name: str, session: Path) -> str:
    """Write the file: what was done, in one line. Raises LogdriftError. Not for the
    event loop.
    """
    wrong = problem(name, session, ENDINGS)
    if wrong:
        raise InputError(wrong)
    path = user_path(name)
    ending = path.suffix.lower()
    try:
        content = render(chart, ending)
        write_output(path, content)
    except LogdriftError as error:
        raise LogdriftError(without_flag(error)) from None
    size = path.stat().st_size
    return f"written: {path} ({size:,} bytes)"


def render(chart: Chart, ending: str) -> str:
    """The content of a file with this ending."""
    if ending == ".svg":
        drawing = chart_svg(chart)
        return document(drawing)
    if ending == ".csv":
        table = chart.table()
        return csv_text(table)
    rows = text_rows(chart)
    return "\n".join(rows) + "\n"


def text_rows(chart: Chart) -> Iterator[str]:
    """Title, picture and legend."""
    drawing = draw(chart, *_TEXT_SIZE)
    pair = chart.data.pair
    title = entry_of(chart).title
    a = pair.a.info.label
    b = pair.b.info.label
    yield visible(f"{title} · {chart.what} · A = {a}, B = {b}")
    yield ""
    yield from drawing.rows
    yield ""
    yield from drawing.legend


def csv_text(table: Table) -> str:
    """Rows of the columns; an empty cell for NaN."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table)
    values = table.values()
    columns = [map(_field, column) for column in values]
    rows = zip(*columns, strict=True)
    writer.writerows(rows)
    return out.getvalue()


def _field(value: object) -> str:
    # str of a float32 is its shortest form: 0.1, where its float64 would be
    # 0.10000000149011612.
    is_nan = value != value
    if is_nan:
        return ""
    return str(value)
