"""`logdrift why SESSION --layers PLACE`: the first layer that rounding cannot
explain.
"""

from __future__ import annotations

import argparse
import re
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from logdrift.core.compare.pair import default_pair, parse_pair
from logdrift.core.diagnose.layers import Layers, LayerSide
from logdrift.core.errors import InputError
from logdrift.core.report.layout import Canvas
from logdrift.core.session.reader import Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from logdrift.core.charts.marks import Axes, Curve

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
    sequence = int(match[1])
    position = None if match[2] is None else int(match[2])
    return sequence, position


def run(args: argparse.Namespace, session: Session) -> int:
    """Ask both backends, with progress on stderr, save and print what was found."""
    from logdrift.cli.progress import progress_view
    from logdrift.cli.trusting import confirmed
    from logdrift.core.investigate.layers import find_layers

    sequence, position = parse_place(args.layers)
    pair = _pair(args, session)
    if args.debuggers:
        from logdrift.core.investigate.debuggers import debugger_script

        sys.stdout.write(debugger_script(session, pair, sequence, position))
        return 0
    confirmed(session.folder, session.manifest, flag=args.trust_session)
    with progress_view() as view:

        def report(text: str) -> None:
            view(_event(text))

        layers = find_layers(session, pair, sequence, position, report=report)
    _print(layers, session, as_json=args.json)
    return 0


def _print(layers: Layers, session: Session, *, as_json: bool) -> None:
    """Print the answer as JSON, or as text and a chart."""
    from logdrift.core.report.layers import layers_document
    from logdrift.core.report.layout import canvas_of
    from logdrift.core.report.paint.text import paint_text
    from logdrift.core.report.strict_json import dump

    if as_json:
        answers = [layers.to_json()]
        answer = {"schema": 1, "session": session.name, "layers": answers}
        sys.stdout.write(dump(answer))
    else:
        canvas = canvas_of(sys.stdout)
        sys.stdout.write(paint_text(layers_document(layers), canvas))
        sys.stdout.write(chart(layers, canvas))
    sys.stdout.flush()


def _event(text: str) -> dict[str, Any]:
    backend, _, stage = text.partition(": ")
    return {"type": "stage", "backend": backend, "stage": stage}


def _pair(args: argparse.Namespace, session: Session) -> tuple[str, str]:
    if len(args.pair) > 1:
        raise InputError("--layers looks at one pair: give --pair once")
    if args.pair:
        return parse_pair(session, args.pair[0])
    chosen = default_pair(session)
    if chosen is None:
        raise InputError(
            f"session {session.name}: it does not have two captures to compare yet:"
            " wait for it"
        )
    return chosen


def chart(layers: Layers, canvas: Canvas) -> str:
    """Relative error by stage on a logarithmic scale, a curve for each side; empty
    where nothing can be drawn.
    """
    from logdrift.core.charts.marks import Upright
    from logdrift.tui.widgets.charts.terminal import paint

    curves = [_curve(side) for side in layers.sides]
    drawn = [curve for curve in curves if len(curve.x)]
    has_braille = canvas.text("⠁") == "⠁"
    if not drawn or not has_braille:
        return ""
    firsts = [_first_wrong(side) for side in layers.sides]
    guides = [Upright(first, "", "") for first in firsts if first is not None]
    plot = paint(_axes(layers, drawn), [*drawn, *guides], canvas.width, _HEIGHT)
    sides = ", ".join(side.backend for side in layers.sides)
    title = canvas.text(f"relative error by layer: {sides}")
    rows = ["", canvas.cut(title, canvas.width), *plot.rows]
    return "".join(row + "\n" for row in rows)


def _curve(side: LayerSide) -> Curve:
    """The stages of a backend whose error has a logarithm."""
    from logdrift.core.charts.marks import Curve

    error = np.array([stage.error for stage in side.stages], np.float64)
    at = np.flatnonzero(np.isfinite(error) & (error > 0))
    return Curve(at.astype(np.float64), error[at])


def _first_wrong(side: LayerSide) -> int | None:
    return next((i for i, stage in enumerate(side.stages) if stage.wrong), None)


def _axes(layers: Layers, curves: Sequence[Curve]) -> Axes:
    """Stages across, their error upwards, from and to half a power of ten."""
    from logdrift.core.charts.marks import Axes, ChartAxis

    powers = np.log10(np.concatenate([curve.y for curve in curves]))
    low = float(np.floor(powers.min() * 2) / 2)
    high = float(np.ceil(powers.max() * 2 + 1e-9) / 2)
    ticks = (10.0 ** np.linspace(low, high, 4)).tolist()
    stages = max((side.stages for side in layers.sides), key=len)
    last = len(stages) - 1
    names = []
    for index in sorted({0, 1, last // 2, last}):
        names.append((float(index), stages[index].name.removeprefix("layer ")))
    across = ChartAxis("stage", low=0.0, high=float(max(last, 1)), ticks=names)
    upwards = ChartAxis(
        "relative error",
        low=10**low,
        high=10**high,
        ticks=[(value, f"{value:.2g}") for value in ticks],
        scale="log",
    )
    return Axes(across, upwards)
