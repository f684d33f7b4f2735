"""Completion: the script of every shell, checked without the shell, and what the real
shells make of it: commands, flags, engines and session folders.

fish and zsh need not be installed to develop logdrift, so theirs alone may be skipped
(docs/decisions.md); a run ends by naming what it skipped.
"""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logdrift.cli.main import COMMANDS, build_parser, command_parser
from logdrift.cli.shells import fish, zsh
from logdrift.cli.suggest import flags_of
from logdrift.core.engines import ENGINES
from tests.common import Run

Complete = Callable[[str], set[str]]
SHELLS = ("bash", "fish", "zsh")


def _installed(shell: str) -> str:
    path = shutil.which(shell)
    if path is None:
        if shell == "bash":
            pytest.fail("bash is not installed")
        pytest.skip(f"{shell} is not installed: only its script is checked")
    return path


def _bash(script: Path, folder: Path, line: str) -> set[str]:
    words = " ".join(f"'{word}'" for word in line.split(" "))
    program = (
        f"source '{script}'; COMP_WORDS=({words});"
        f" COMP_CWORD={len(line.split(' ')) - 1}; _logdrift;"
        ' printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", program],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return set(done.stdout.split("\n")) - {""}


def _fish(script: Path, folder: Path, line: str) -> set[str]:
    done = subprocess.run(
        ["fish", "--no-config", "-c", f"source '{script}'; complete -C '{line}'"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    found = (row.partition("\t")[0] for row in done.stdout.split("\n"))
    return {word.rstrip("/") for word in found} - {""}


def _zsh(script: Path, folder: Path, line: str) -> set[str]:
    """What an interactive zsh lists below the line after Ctrl-D."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.environ |= {"TERM": "xterm", "COLUMNS": "200", "LINES": "100", "PS1": "> "}
        os.execvp("zsh", ["zsh", "-f", "-i"])
    try:
        setup = (
            "stty cols 200 rows 100; LISTMAX=1000; autoload -U compinit;"
            f" compinit -D -u; source '{script}'; bindkey '^D' list-choices;"
            " print rea''dy\n"
        )
        os.write(terminal, setup.encode())
        assert "ready" in _read(terminal, until="ready")
        _read(terminal, seconds=0.3)
        os.write(terminal, f"{line}\x04".encode())
        shown = _read(terminal, seconds=1.5)
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(terminal)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]", " ", shown)
    return {word.rstrip("/") for word in plain.replace(line, "", 1).split()}


def _read(terminal: int, *, until: str = "", seconds: float = 20) -> str:
    text = ""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not (until and until in text):
        ready, _, _ = select.select([terminal], [], [], 0.1)
        if ready:
            text += os.read(terminal, 65536).decode("utf-8", "replace")
    return text


_WAYS = {"bash": _bash, "fish": _fish, "zsh": _zsh}


@pytest.fixture(params=SHELLS)
def complete(
    request: pytest.FixtureRequest, tmp_path: Path, run_logdrift: Run
) -> Complete:
    """Completes a line in a folder with two sessions and something else."""
    shell = request.param
    _installed(shell)
    for name in ("first-run", "$(touch gone)"):
        session = tmp_path / "sessions" / name
        session.mkdir(parents=True)
        (session / "session.json").write_text("{}")
    (tmp_path / "sessions" / "no-session").mkdir()
    script = tmp_path / "script"
    script.write_text(run_logdrift("completion", shell).stdout)
    return lambda line: _WAYS[shell](script, tmp_path, line)


def test_commands_are_completed(complete: Complete) -> None:
    assert {*COMMANDS, "sessions"} <= complete("logdrift ")
    assert complete("logdrift re") >= {"report"}


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        ("report", {"--json", "--md", "--html", "--output"}),
        ("env", {"--timeout", "--dir", "--fresh"}),
        ("why", {"--identity", "--layers", "--run", "--causes"}),
    ],
)
def test_flags_of_a_command_are_completed(
    complete: Complete, command: str, flags: set[str]
) -> None:
    found = complete(f"logdrift {command} --")
    assert flags <= found
    assert "--no-mouse" not in found


def test_sessions_are_completed_and_what_their_names_hold_is_not_run(
    complete: Complete, tmp_path: Path
) -> None:
    found = complete("logdrift why ")
    assert "first-run" in found
    assert "no-session" not in found
    assert not (tmp_path / "gone").exists()


def test_values_are_completed(complete: Complete) -> None:
    assert {"all", "prompt", "completion"} <= complete("logdrift report --scope ")
    assert {*ENGINES} <= complete("logdrift capture --backend ")
    assert {"create", "list", "check", *ENGINES} <= complete("logdrift env ")


def test_every_command_and_flag_is_in_every_script(run_logdrift: Run) -> None:
    scripts = {shell: run_logdrift("completion", shell).stdout for shell in SHELLS}
    for command in COMMANDS:
        help_text = run_logdrift(command, "--help").stdout
        for flag in set(re.findall(r"(?<=[ \[(])--([a-z][a-z-]+)", help_text)):
            without = [shell for shell, text in scripts.items() if flag not in text]
            assert not without, (command, flag)


FISH_WORD = r"(?:'(?:[^'\\]|\\['\\])*'|[^\s'\"\\$();|&<>*?~#{}\[\]]+)"
"""One word of fish: in single quotes, or of characters that mean nothing to it."""
ZSH_FLAG = re.compile(r"\*(--?[a-z-]+)\[[^\[\]]+\](?::value:.*)?")


def _flags_in(shell: str, script: str, command: str) -> set[str]:
    """The flags that the script has for a command, read without the shell; what stands
    there is well formed.
    """
    if shell == "bash":
        _, _, case = script.partition(f"\n    {command}) if ")
        words = case.partition(";;")[0].partition(" else ")[0].split()
        return {word for word in words if word.startswith("--")}
    if shell == "zsh":
        _, _, case = script.partition(f"\n    {command})\n")
        case = case.partition(" ;;\n")[0].replace("\\\n", " ")
        called, *words = shlex.split(case)
        assert called == "_arguments"
        assert words[0] == "-S"
        specs = [word for word in words[1:] if not word.startswith("*:argument:")]
        matches = [ZSH_FLAG.fullmatch(spec) for spec in specs]
        assert all(matches), specs
        return {match[1] for match in matches if match and match[1][1] == "-"}
    start = f"complete -c logdrift -n '__fish_seen_subcommand_from {command}' "
    lines = [line for line in script.splitlines() if line.startswith(start)]
    for line in lines:
        assert re.fullmatch(rf"complete(?: +{FISH_WORD})+", line), line
    found = [re.findall(r" -l (\S+)", line) for line in lines]
    return {f"--{name}" for names in found for name in names}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_has_the_flags_of_each_command_and_no_others(
    run_logdrift: Run, shell: str
) -> None:
    script = run_logdrift("completion", shell).stdout
    for command in COMMANDS:
        parser = command_parser(build_parser(command), command)
        assert parser is not None
        flags = {flag for flag in flags_of(parser) if flag.startswith("--")}
        assert _flags_in(shell, script, command) == flags, command


@given(st.text())
def test_any_help_is_one_word_of_the_script(text: str) -> None:
    assert shlex.split(zsh.quoted(text)) == [text]
    word = fish.quoted(text)
    assert re.fullmatch(FISH_WORD, word)
    assert re.sub(r"\\(.)", r"\1", word[1:-1], flags=re.DOTALL) == text


def test_a_shell_that_is_not_known_is_bad_input(run_logdrift: Run) -> None:
    done = run_logdrift("completion", "powershell")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
