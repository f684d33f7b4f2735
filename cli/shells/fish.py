"""The completion script for fish: one line for each command and flag."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from logdrift.cli.shells.words import CommandWords, FlagWords, Takes

_HEAD = """\
function __logdrift_sessions
    set -l folder sessions
    set -q LOGDRIFT_SESSIONS; and set folder $LOGDRIFT_SESSIONS
    for file in $folder/*/session.json
        path basename (path dirname $file)
    end
    __fish_complete_directories (commandline -ct)
end
complete -c logdrift -f
"""
_COMPLETERS: dict[Takes, str] = {
    "session": "-xa '(__logdrift_sessions)'",
    "file": "-r -F",
    "folder": "-xa '(__fish_complete_directories (commandline -ct))'",
    "other": "-x",
    "": "",
}


def script(commands: Sequence[CommandWords]) -> str:
    """The whole script."""
    lines = [line for command in commands for line in _lines(command, commands)]
    return _HEAD + "".join(f"{line}\n" for line in lines)


def _lines(command: CommandWords, commands: Sequence[CommandWords]) -> Iterator[str]:
    condition = "__fish_use_subcommand"
    if command.name:
        condition = f"__fish_seen_subcommand_from {command.name}"
    start = f"complete -c logdrift -n {quoted(condition)}"
    for flag in command.flags:
        spellings = " ".join(map(_spelling, flag.spellings))
        yield f"{start} {spellings} {_value(flag)} -d {quoted(flag.help)}".rstrip()
    if command.name:
        yield from _arguments(command, start)
        return
    for other in commands:
        if other.name:
            yield f"{start} -a {other.name} -d {quoted(other.help)}"
    yield f"{start} {_COMPLETERS['session']}"


def _arguments(command: CommandWords, start: str) -> Iterator[str]:
    if command.words:
        yield f"{start} -a {quoted(' '.join(command.words))}"
    if command.takes in ("session", "file", "folder"):
        yield f"{start} {_COMPLETERS[command.takes].removeprefix('-r ')}"


def _spelling(flag: str) -> str:
    if flag.startswith("--"):
        return f"-l {flag[2:]}"
    return f"-s {flag[1:]}"


def _value(flag: FlagWords) -> str:
    if flag.words:
        return f"-xa {quoted(' '.join(flag.words))}"
    return _COMPLETERS[flag.takes]


def quoted(text: str) -> str:
    """A text in single quotes, as fish takes them."""
    safe = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{safe}'"
