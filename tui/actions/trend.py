"""Commands of the screen over the steps of a training."""

from __future__ import annotations

from logdrift.tui.actions.command import Command

TREND_COMMANDS: tuple[Command, ...] = (
    Command(
        scope="trend",
        action="open",
        keys=("enter",),
        help="Open the session of the step, at the step",
        hint="open",
    ),
    Command(
        scope="trend",
        action="next_chart",
        keys=("v",),
        help="Next number as a chart",
        hint="chart",
        also="plot graph",
    ),
    Command(
        scope="trend",
        action="previous_chart",
        keys=("V",),
        help="Previous number as a chart",
    ),
    Command(
        scope="trend",
        action="charts",
        keys=("C",),
        help="Charts: choose the number that is drawn",
    ),
    Command(
        scope="trend",
        action="mark",
        keys=("space",),
        help="Compare two steps: mark one, then the other",
        hint="compare",
        also="diff before after",
    ),
    Command(
        scope="trend",
        action="next_change",
        keys=("n",),
        help="To the step at which the MAE changed",
        hint="change",
        also="jump first",
    ),
    Command(
        scope="trend",
        action="pair",
        keys=("p",),
        help="Pair: choose one of several, or another model",
        hint="pair",
        also="line",
    ),
    Command(
        scope="trend",
        action="why",
        keys=("w",),
        help="Why: the causes of the gap of this step, ranked",
        hint="why",
    ),
    Command(
        scope="trend",
        action="report",
        keys=("R",),
        help="Report of the session of this step",
    ),
    Command(
        scope="trend",
        action="save_page",
        keys=("H",),
        help="HTML: save the trend as a page, with a chart for each number",
        hint="html",
    ),
    Command(
        scope="trend",
        action="copy",
        keys=("c",),
        help="Copy the trend as text",
        hint="copy",
    ),
    Command(
        scope="trend",
        action="save",
        keys=("ctrl+s",),
        help="Save the trend as text",
        hint="save",
    ),
    Command(
        scope="trend",
        action="refresh",
        keys=("r",),
        help="Read the folder again",
    ),
    Command(
        scope="trend",
        action="clear",
        keys=("escape",),
        help="Remove the mark, or back",
    ),
    Command(
        scope="trend",
        action="back",
        keys=("q",),
        help="Back to the list of sessions",
        hint="back",
    ),
)
