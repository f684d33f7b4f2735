"""Commands of the list of worst tokens."""

from __future__ import annotations

from logdrift.tui.actions.command import Command

WORST_COMMANDS: tuple[Command, ...] = (
    Command(
        scope="worst",
        action="to_tokens",
        keys=("enter",),
        help="Show the token in the text",
        hint="show in the text",
    ),
    Command(
        scope="worst",
        action="sort",
        keys=("s",),
        help="Sort the tokens: by the next number",
        hint="sort",
    ),
    Command(
        scope="worst",
        action="filter",
        keys=("f",),
        help="Filter the tokens: by text, id, size, sign or mark",
        hint="filter",
    ),
    Command(
        scope="worst",
        action="why",
        keys=("w",),
        help="Why: the causes of the gap, ranked, with their evidence",
        hint="why",
    ),
    Command(
        scope="worst",
        action="copy",
        keys=("c",),
        help="Copy the tokens as a table",
        hint="copy",
    ),
    Command(
        scope="worst",
        action="save",
        keys=("ctrl+s",),
        help="Save the tokens to a file",
        hint="save",
    ),
    Command(
        scope="worst",
        action="sorts",
        keys=("S",),
        help="Sort the tokens by: choose from the list",
    ),
    Command(
        scope="worst",
        action="clear",
        keys=("escape",),
        help="Remove the filter, or back to the explorer",
    ),
    Command(
        scope="worst",
        action="back",
        keys=("q",),
        help="Back to the explorer",
        hint="back",
    ),
)
