"""The completion script for zsh: `_arguments` of each command."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from logdrift.cli.shells.words import CommandWords, FlagWords, Takes

_HEAD = """\
#compdef logdrift
_logdrift_sessions() {
  local -a names
  names=(${LOGDRIFT_SESSIONS:-sessions}/*/session.json(N:h:t))
  (( $#names )) && compadd -a names
  _files -/
}
_logdrift() {
  local context state state_descr line curcontext=$curcontext
  typeset -A opt_args
  local -a commands
  commands=(
"""
_MIDDLE = """\
    '1: :->command' '*:: :->argument'
  case $state in
    command) _describe command commands; _logdrift_sessions; return ;;
  esac
  case $words[1] in
"""
_TAIL = """\
  esac
}
if (( $+functions[compdef] )); then compdef _logdrift logdrift; fi
"""
_COMPLETERS: dict[Takes, str] = {
    "session": "_logdrift_sessions",
    "file": "_files",
    "folder": "_files -/",
    "words": "",
    "other": "",
    "": "",
}


def script(commands: Sequence[CommandWords]) -> str:
    """The whole script."""
    program, *others = commands
    lines = [f"    {quoted(f'{one.name}:{one.help}')}" for one in others]
    listed = "\n".join(lines)
    flags = " ".join(_flags(program))
    cases = "".join(map(_case, others))
    start = f"{_HEAD}{listed}\n  )\n  _arguments -C -S {flags} \\\n"
    return f"{start}{_MIDDLE}{cases}{_TAIL}"


def _case(command: CommandWords) -> str:
    specs = " \\\n        ".join(_flags(command))
    argument = _argument(command)
    return f"    {command.name})\n      _arguments -S {specs} {argument} ;;\n"


def _flags(command: CommandWords) -> Iterator[str]:
    for flag in command.flags:
        help = flag.help.replace("[", "(").replace("]", ")")
        for spelling in flag.spellings:
            yield quoted(f"*{spelling}[{help}]{_value(flag)}")


def _value(flag: FlagWords) -> str:
    if not flag.takes:
        return ""
    return f":value:{_completer(flag)}"


def _argument(command: CommandWords) -> str:
    completer = _completer(command)
    if completer:
        return quoted(f"*:argument:{completer}")
    return ""


def _completer(part: FlagWords | CommandWords) -> str:
    """What completes a value or an argument, in the words of `_arguments`."""
    completer = _COMPLETERS[part.takes]
    if not part.words:
        return completer
    words = f"({' '.join(part.words)})"
    if completer:
        return f"_alternative 'words:word:{words}' 'paths:path:{completer}'"
    return words


def quoted(text: str) -> str:
    """A text in single quotes, as a POSIX shell takes them."""
    safe = text.replace("'", "'\\''")
    return f"'{safe}'"
