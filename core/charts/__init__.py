"""The charts of a pair, each declared once: what is reduced, and which marks show it.

`registry` lists them, a line each. A chart is a subclass of `base.Chart` that gives
axes and marks (`marks`); it knows no terminal and no SVG. Two painters show it:
`logdrift.tui.widgets.charts.terminal` in cells, `logdrift.core.report.svg_chart` as
SVG, for files and for the HTML report.
"""
