"""`logdrift why SESSION --layers SEQUENCE[:POSITION]`: which layer is the first to
differ by more than rounding?
"""

from __future__ import annotations

import argparse
import re
import sys
from typing import Any

import numpy as np

from logdrift.core.compare.pair import default_pair, parse_pair
from logdrift.core.diagnose.layers import Layers
from logdrift.core.errors import InputError
from logdrift.core.report.layout import Canvas
from logdrift.core.session.reader import Session

_HEIGHT = 14


def add_arguments(parser: Any) -> None:
    """The flags of this part of the command."""
    parser.add_argument(
        "--layers",
        metavar="SEQUENCE[:POSITION]",
        help=(
            "start both backends of the pair once more and compare their residual"
            " stream layer by layer, for one sequence or for the score of one of its"
            " tokens"
        ),
    )
    parser.add_argument(
        "--debuggers",
        action="store_true",
        help=(
            "with --layers: run nothing, print commands for deeper debuggers (SGLang's"
            " dumper, msprobe) for this sequence"
        ),
    )


def parse_place(text: str) -> tuple[int, int | None]:
    """``3`` or ``3:41``. Raises InputError for anything else."""
    match = re.fullmatch(r"(\d{1,9})(?::(\d{1,9}))?", text)
    if match is None:
        raise InputError(
            f"--layers {text}: give a sequence, or sequence:position, e.g. 3:41"
        )
    return int(match[1]), None if match[2] is None else int(match[2])


def run(args: argparse.Namespace, session: Session) -> int:
    """Ask both backends, with progress on stderr, save and print what was found."""
    from logdrift.cli.progress import progress_view
    from logdrift.cli.trusting import confirmed
    from logdrift.core.investigate.layers import find_layers
    from logdrift.core.report.layers import render_layers
    from logdrift.core.report.layout import canvas_of
    from logdrift.core.report.strict_json import dump

    sequence, position = parse_place(args.layers)
    pair = _pair(args, session)
    if args.debuggers:
        from logdrift.core.investigate.debuggers import debugger_script

        sys.stdout.write(debugger_script(session, pair, sequence, position))
        return 0
    confirmed(session.folder, session.manifest, flag=args.trust_session)
    with progress_view() as view:
        found = find_layers(
            session, pair, sequence, position, report=lambda text: view(_event(text))
        )
    if args.json:
        sys.stdout.write(
            dump({"schema": 1, "session": session.name, "layers": [found.to_json()]})
        )
    else:
        canvas = canvas_of(sys.stdout)
        sys.stdout.write(render_layers(found, canvas))
        sys.stdout.write(chart(found, canvas))
    sys.stdout.flush()
    return 0


def _event(text: str) -> dict[str, Any]:
    backend, _, stage = text.partition(": ")
    return {"type": "stage", "backend": backend, "stage": stage}


def _pair(args: argparse.Namespace, session: Session) -> tuple[str, str]:
    if len(args.pair) > 1:
        raise InputError("--layers looks at one pair: give --pair once")
    chosen = parse_pair(session, args.pair[0]) if args.pair else default_pair(session)
    if chosen is None:
        raise InputError(
            f"session {session.name}: it has no two captures to compare yet: wait"
            " for it"
        )
    return chosen


def chart(found: Layers, canvas: Canvas) -> str:
    """Relative error by stage on a logarithmic scale, a curve for each side; empty
    where nothing can be drawn.
    """
    from logdrift.tui.widgets.charts.plot import Axes, Curve
    from logdrift.tui.widgets.charts.plot import Canvas as Plot

    curves, low, high = [], np.inf, -np.inf
    for side in found.sides:
        error = np.array([stage.error for stage in side.stages], np.float64)
        at = np.flatnonzero(np.isfinite(error) & (error > 0))
        if len(at):
            y = np.log10(error[at])
            low, high = min(low, float(y.min())), max(high, float(y.max()))
            curves.append(Curve(at.astype(np.float64), y))
    if not curves or canvas.text("⠁") != "⠁":
        return ""
    last = max(len(side.stages) for side in found.sides) - 1
    low, high = np.floor(low * 2) / 2, np.ceil(high * 2 + 1e-9) / 2
    y_ticks = [(float(y), f"{10**y:.2g}") for y in np.linspace(low, high, 4)]
    names = max((side.stages for side in found.sides), key=len)
    x_ticks = [
        (float(i), names[i].name.removeprefix("layer "))
        for i in sorted({0, 1, last // 2, last})
    ]
    plot = Plot(
        Axes((0.0, float(max(last, 1))), (low, high), x_ticks, y_ticks),
        canvas.width,
        _HEIGHT,
        curves,
    )
    for side in found.sides:
        first = next((i for i, stage in enumerate(side.stages) if stage.wrong), None)
        if first is not None:
            plot.v_line(first)
    title = "relative error by layer: " + ", ".join(
        side.backend for side in found.sides
    )
    rows = [
        "",
        canvas.cut(canvas.text(title), canvas.width),
        *("".join(row).rstrip() for row in plot.cells),
    ]
    return "".join(row + "\n" for row in rows)
