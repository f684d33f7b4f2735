"""The completion script for bash: one function, with a case for each command.

A session's name is compared and quoted, never expanded: what it holds is not run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from logdrift.cli.shells.words import CommandWords, FlagWords, Takes

_HEAD = """\
_logdrift_add() {
  # The first argument is what is typed, the others are words: those that begin with it.
  local typed=$1 word; shift
  for word in "$@"; do
    [[ $word == "$typed"* ]] && COMPREPLY+=("$word")
  done
}
_logdrift_paths() {
  # $1: -d for folders, -f for files and folders; $2: what is typed.
  local path
  compopt -o filenames 2>/dev/null
  while IFS= read -r path; do COMPREPLY+=("$path"); done < <(compgen "$1" -- "$2")
}
_logdrift_sessions() {
  local folder=${LOGDRIFT_SESSIONS:-sessions} file
  for file in "$folder"/*/session.json; do
    [[ -e $file ]] || continue
    file=${file%/session.json}
    [[ ${file##*/} == "$1"* ]] && COMPREPLY+=("${file##*/}")
  done
  _logdrift_paths -d "$1"
}
_logdrift() {
  local typed=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
  local command='' place
  COMPREPLY=()
  for ((place = 1; place < COMP_CWORD; place++)); do
    case ${COMP_WORDS[place]} in
      --sessions) ((place++)) ;;
      -*) ;;
      *) command=${COMP_WORDS[place]}; break ;;
    esac
  done
  case "$command $before" in
"""
_MIDDLE = """\
  esac
  case $command in
"""
_TAIL = """\
    *) _logdrift_paths -d "$typed" ;;
  esac
}
complete -F _logdrift logdrift
"""
_COMPLETERS: dict[Takes, str] = {
    "session": '_logdrift_sessions "$typed"',
    "file": '_logdrift_paths -f "$typed"',
    "folder": '_logdrift_paths -d "$typed"',
}


def script(commands: Sequence[CommandWords]) -> str:
    """The whole script."""
    values = "".join(line for command in commands for line in _values(command))
    arguments = "".join(map(_arguments, commands))
    return f"{_HEAD}{values}{_MIDDLE}{arguments}{_TAIL}"


def _values(command: CommandWords) -> Iterator[str]:
    """A case for each flag that takes a value."""
    for flag in command.flags:
        if flag.takes:
            names = "|".join(f"'{command.name} {name}'" for name in flag.spellings)
            yield f"    {names}) {_completed(flag)}return ;;\n"


def _completed(part: FlagWords | CommandWords) -> str:
    """What fills COMPREPLY for a value or an argument; ends with ``; ``."""
    steps = []
    if part.words:
        steps.append(f'_logdrift_add "$typed" {" ".join(part.words)}')
    if part.takes in _COMPLETERS:
        steps.append(_COMPLETERS[part.takes])
    return "".join(f"{step}; " for step in steps)


def _arguments(command: CommandWords) -> str:
    """A case for the flags and arguments of a command; a path may stand for one."""
    flags = " ".join(command.all_flags)
    name = command.name or "''"
    completed = _completed(command)
    if not command.name:
        completed += f"{_COMPLETERS['session']}; "
    return (
        f"    {name}) if [[ $typed == -* ]]; then\n"
        f'        _logdrift_add "$typed" {flags}\n'
        f"      else {completed or ': ; '}fi ;;\n"
    )
