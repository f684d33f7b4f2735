"""`logdrift keys`: what every key does, and a sample of the `[keys]` table of the
config file.
"""

from __future__ import annotations

import argparse
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.description = (
        "Lists every command of the screens with its keys, as the config file sets"
        " them."
    )
    parser.add_argument(
        "--sample", action="store_true", help="print a [keys] table for the config file"
    )


def run(args: argparse.Namespace) -> int:
    """Print the keys. InputError where the config file has keys that do not do."""
    from logdrift.core.config import config_path, load_config
    from logdrift.core.report.layout import canvas_of
    from logdrift.tui.actions import SCOPE_TITLES, commands
    from logdrift.tui.keymap import check_keymap, sample

    canvas = canvas_of(sys.stdout)  # ASCII where the stream takes no more
    if args.sample:
        print(canvas.text(f"# {config_path()}"))
        print(*map(canvas.text, sample()), sep="\n")
        return 0
    config = load_config()
    keymap = check_keymap(config.keys, f"config {config.source}")
    for scope, title in SCOPE_TITLES.items():
        print(canvas.text(title))
        for command in commands(scope):
            keys = " ".join(command.key_names(keymap)) or "palette"
            print(canvas.text(f"  {keys:<18} {command.help}  ({command.id})"))
        print()
    return 0
