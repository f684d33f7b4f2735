"""Charts on the screen: `pane` shows one of `logdrift.core.charts`, `terminal` paints
it in cells, `plot` alone knows plotext, `export` writes files.
"""
