"""Commands of charts, in their pane and on the whole screen."""

from __future__ import annotations

from logdrift.core.charts.registry import CHARTS
from logdrift.tui.actions.command import Command

CHART_COMMANDS: tuple[Command, ...] = (
    Command(
        scope="charts",
        action="next_chart",
        keys=("v",),
        help="Next chart",
        hint="chart",
        near=("chart",),
    ),
    Command(
        scope="charts",
        action="previous_chart",
        keys=("V",),
        help="Previous chart",
    ),
    Command(
        scope="charts",
        action="charts",
        keys=("C",),
        help="Charts: choose one from the list",
    ),
    Command(
        scope="charts",
        action="zoom",
        keys=("z",),
        help="Whole screen for the focused pane or the chart, and back",
        hint="zoom",
        keymap_name="zoom_chart",
        near=("chart", "inspector"),
    ),
    Command(
        scope="charts",
        action="chart_reach",
        keys=("a",),
        help="Chart of all sequences, or of this one",
        hint="all/this",
        near=("chart",),
    ),
    Command(
        scope="charts",
        action="export_chart",
        keys=("ctrl+s",),
        help="Export the chart: as text, SVG, or CSV of the numbers behind it",
        hint="export",
        near=("chart",),
    ),
    Command(
        scope="chart",
        action="chart_step",
        arguments=(
            -1,
            0,
        ),
        keys=("left", "h"),
        help="One column back: the cursor follows",
        palette=False,
        keymap_name="left",
    ),
    Command(
        scope="chart",
        action="chart_step",
        arguments=(
            1,
            0,
        ),
        keys=("right", "l"),
        help="One column forward",
        palette=False,
        keymap_name="right",
    ),
    Command(
        scope="chart",
        action="chart_step",
        arguments=(
            0,
            -1,
        ),
        keys=("up", "k"),
        help="One row up: in the heat map to other sequences",
        palette=False,
        keymap_name="up",
    ),
    Command(
        scope="chart",
        action="chart_step",
        arguments=(
            0,
            1,
        ),
        keys=("down", "j"),
        help="One row down",
        palette=False,
        keymap_name="down",
    ),
    Command(
        scope="chart",
        action="chart_step",
        arguments=(
            -10,
            0,
        ),
        keys=("pageup", "ctrl+u"),
        help="Ten columns back",
        palette=False,
        keymap_name="page_left",
    ),
    Command(
        scope="chart",
        action="chart_step",
        arguments=(
            10,
            0,
        ),
        keys=("pagedown", "ctrl+d"),
        help="Ten columns forward",
        palette=False,
        keymap_name="page_right",
    ),
    Command(
        scope="chart",
        action="chart_end",
        arguments=(-1,),
        keys=("home", "g"),
        help="First column",
        palette=False,
        keymap_name="first",
    ),
    Command(
        scope="chart",
        action="chart_end",
        arguments=(1,),
        keys=("end", "G"),
        help="Last column",
        palette=False,
        keymap_name="last",
    ),
    Command(
        scope="chart",
        action="chart_closer",
        keys=("right_curly_bracket",),
        help="Closer: half of the heat map, around the cursor",
        palette=False,
    ),
    Command(
        scope="chart",
        action="chart_wider",
        keys=("left_curly_bracket",),
        help="Wider: twice as much of the heat map",
        palette=False,
    ),
    Command(
        scope="chart",
        action="to_tokens",
        keys=("enter",),
        help="Go to the text of the token under the cursor",
        palette=False,
        hint="to text",
    ),
    Command(
        scope="zoom",
        action="back",
        keys=("q", "escape"),
        help="Back to the explorer",
        hint="back",
    ),
    Command(
        scope="zoom",
        action="next_divergence",
        keys=("n",),
        help="Next divergent token",
        hint="next Δ",
    ),
    Command(
        scope="zoom",
        action="previous_divergence",
        keys=("N",),
        help="Previous divergent token",
    ),
    *(
        Command(
            scope="chart",
            action="chart",
            arguments=(number,),
            keys=(str((number + 1) % 10),),
            help=f"Chart {number + 1}: {chart.title}",
            palette=False,
            keymap_name=f"chart_{chart.name}",
        )
        for number, chart in enumerate(CHARTS[:10])
    ),
)
