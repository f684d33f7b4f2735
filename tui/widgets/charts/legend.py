"""The legend of a chart in a few rows."""

from __future__ import annotations

from rich.cells import cell_len

from logdrift.tui.glyphs import fit


def legend_rows(phrases: tuple[str, ...], width: int, rows: int) -> list[str]:
    """As many phrases as fit into the rows, the first ones first; what is left out is
    marked by an ellipsis.
    """
    filled: list[str] = []
    last = ""
    for phrase in phrases:
        longer = f"{last} · {phrase}"
        if filled and cell_len(longer) <= width:
            last = longer
            filled[-1] = last
            continue
        if len(filled) == rows:
            if cell_len(last) + 2 <= width:
                filled[-1] += " …"
            break
        cells = min(width, cell_len(phrase))
        last = fit(phrase, cells)
        filled.append(last)
    return filled
