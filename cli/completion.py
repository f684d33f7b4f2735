"""`logdrift completion SHELL`: a script that completes commands, flags, engines and
session folders.

The script holds the commands and flags of this version, so that Tab starts no Python
(docs/decisions.md); sessions are looked up by the shell itself.
"""

from __future__ import annotations

import argparse
import importlib
import sys

SHELLS = ("bash", "zsh", "fish")
_WHERE = {
    "bash": "put into ~/.bashrc: source <(logdrift completion bash)",
    "zsh": "put into ~/.zshrc, after compinit: source <(logdrift completion zsh)",
    "fish": "logdrift completion fish > ~/.config/fish/completions/logdrift.fish",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.description = (
        "Prints a script that completes commands, flags, engines and sessions. The"
        " script is that of this version: make it again after an update."
    )
    ways = "; ".join(f"{shell}: {way}" for shell, way in _WHERE.items())
    parser.epilog = f"To use it: {ways}."
    parser.add_argument("shell", choices=SHELLS, help="the shell to complete in")


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    from logdrift.cli.main import COMMANDS, build_parser, command_parser
    from logdrift.cli.shells.words import command_words

    top = build_parser(None)
    commands = [command_words("", "", top)]
    for name, help in COMMANDS.items():
        parser = command_parser(build_parser(name), name)
        assert parser is not None
        commands.append(command_words(name, help, parser))
    writer = importlib.import_module(f"logdrift.cli.shells.{args.shell}")
    sys.stdout.write(writer.script(commands))
    sys.stdout.write(f"# {_WHERE[args.shell]}\n")
    return 0
