"""The command as a whole: what it imports, what it says, how it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.make_session import make_session
from logdrift.cli.main import COMMANDS, build_parser, command_parser
from logdrift.cli.suggest import flags_of, refuse_unknown, with_command
from logdrift.core.compare.pair import default_pair, list_pairs, make_pair
from logdrift.core.errors import InputError
from logdrift.core.report.answers import answer_of_pair
from logdrift.core.session.reader import open_session
from tests.common import REPOSITORY, Run, refused

HEAVY = ("torch", "transformers", "vllm", "sglang")


def _imported(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter loads for ``code``."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    return {
        line.rpartition("|")[2].strip().split(".")[0]
        for line in done.stderr.splitlines()
        if "|" in line
    }


@pytest.mark.parametrize(
    "code",
    [
        "import logdrift.tui.app",
        (
            "from logdrift.core.session.reader import open_session; import"
            " logdrift.core.compare.gate, logdrift.core.report.build"
        ),
        (
            "import logdrift.core.capture.supervisor, logdrift.core.capture.create,"
            " logdrift.core.capture.environments"
        ),
        "from logdrift.cli.main import build_parser; [build_parser(c) for c in COMMANDS]".replace(
            "COMMANDS", repr([*COMMANDS])
        ),
    ],
)
def test_no_engine_is_imported_outside_the_worker(code: str) -> None:
    assert not _imported(code) & set(HEAVY)


def test_core_imports_no_screen() -> None:
    assert not _imported(
        "import logdrift.core.session, logdrift.core.compare.gate,"
        " logdrift.core.report.build, logdrift.core.capture.supervisor"
    ) & {
        "textual",
        "tui",
    }


def test_help_imports_next_to_nothing() -> None:
    assert not _imported("import logdrift.cli.main") & {
        "difflib",
        "textual",
        "numpy",
        "plotext",
        "rich",
        *HEAVY,
    }


def test_a_start_imports_numpy_without_a_thread_per_core() -> None:
    """OpenBLAS makes its threads when NumPy is first imported, which is a tenth of a
    start: nothing may come before.
    """
    assert "numpy" not in _imported(
        "import logdrift.cli.main, logdrift.tui.door, logdrift.cli.open,"
        " logdrift.core.config"
    )


def test_every_command_has_help(run_logdrift: Run) -> None:
    assert all(command in run_logdrift("--help").stdout for command in COMMANDS)
    for command in COMMANDS:
        done = run_logdrift(command, "--help")
        assert done.returncode == 0, done.stderr
        assert f"logdrift {command}" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["shrink"], "no command and no folder is named 'shrink'"),
        (["opne"], "no command 'opne': did you mean 'open'?"),
        (["--no-mouse", "dif", "a", "b"], "did you mean 'diff'?"),
        (["./nothing"], "session nothing: no such folder"),
        (["no/session"], "session no/session: no such folder"),
        (
            ["open"],
            "open needs a session: logdrift open SESSION, or logdrift open --sample",
        ),
        (["report", "x", "--jsn"], "report has no flag --jsn: did you mean --json?"),
        (["report", "x", "--htm=1"], "argument --html: ignored explicit argument '1'"),
        (["report", "x", "--xyzzy"], "report has no flag --xyzzy (see"),
        (["report", "x", "--no-mouse"], "--no-mouse stands before the command"),
        (
            ["env", "create", "--frehs"],
            "env has no flag --frehs: did you mean --fresh?",
        ),
        (["report", "x", "y"], "report takes no 'y'"),
        (["env", "crate"], "no 'crate': did you mean 'create'?"),
        (["report", "x", "--scope", "compl"], "no 'compl': did you mean 'completion'?"),
        (["--sesions", "x"], "no command"),
        (["open", "no/such/session"], "session no/such/session: no such folder"),
        (["report", "no/such/session"], "session no/such/session: no such folder"),
        (["capture"], "--out is missing"),
        (["capture", "--out", "x"], "model is missing"),
        (["capture", "--out", "x", "--model", "smollm2"], "no backend"),
        (
            ["capture", "--out", "x", "--model", "smollm2", "--backend", "vllm"],
            "no prompts",
        ),
        (
            ["capture", "--out", "x", "--resume", "--model", "smollm2"],
            "leave out --model",
        ),
        (["capture", "--out", "x", "--resume", "--seed", "0"], "leave out --seed"),
        (
            ["capture", "--out", "x", "--resume", "--part-sequences", "4"],
            "leave out --part-sequences",
        ),
        (["--sessions", "demo", "report", "none"], "session none: no such folder"),
        (
            ["capture", "--out", "x", "--plan", "none.toml"],
            "plan none.toml: no such file",
        ),
        (
            ["demo", "--engines", "tensorrt"],
            "--engines tensorrt: give one or more of vllm, sglang",
        ),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    run_logdrift: Run,
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run_logdrift(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_one_letter_wrong_suggests_the_flag(run_logdrift: Run, command: str) -> None:
    """Every long flag of every command, a letter of it twice."""
    parser = command_parser(build_parser(command), command)
    assert parser is not None
    flags = [flag for flag in flags_of(parser) if flag.startswith("--")]
    for flag in flags:
        wrong = f"{flag[:4]}{flag[3]}{flag[4:]}"
        if wrong in flags:
            continue
        with pytest.raises(InputError) as error:
            refuse_unknown([wrong], build_parser(None), parser)
        assert f"did you mean {flag}?" in str(error.value), wrong


@pytest.mark.parametrize("command", COMMANDS)
def test_one_letter_wrong_suggests_the_command(command: str) -> None:
    wrong = f"{command[0]}{command[2]}{command[1]}{command[3:]}"
    with refused(f"did you mean '{command}'"):
        with_command([wrong], COMMANDS)


@pytest.mark.parametrize(
    "before", [[], ["--no-mouse"], ["--sessions", "report"], ["--sess=x"]]
)
def test_a_path_stands_for_open(tmp_path: Path, before: list[str]) -> None:
    path = str(tmp_path)
    assert with_command([*before, path], COMMANDS) == [*before, "open", path]
    expected = [*before, "why", path]
    assert with_command([*before, "why", path], COMMANDS) == expected
    assert with_command(before, COMMANDS) == before


def test_a_folder_of_sessions_opens_as_a_list(
    tmp_path: Path, run_logdrift: Run
) -> None:
    make_session(tmp_path / "s", tokens=200, sequences=4, top_k=3)
    for arguments in ([tmp_path], ["open", tmp_path]):
        done = run_logdrift(*arguments)
        assert done.returncode == 2
        assert (
            f"the list of sessions needs a terminal: without one use logdrift report {tmp_path}/NAME"
            in done.stderr
        )
    done = run_logdrift(tmp_path / "s")
    assert f"logdrift report {tmp_path / 's'}" in done.stderr


def test_debug_shows_the_traceback(run_logdrift: Run) -> None:
    assert "Traceback" in run_logdrift("report", "no/such/session", "--debug").stderr


def test_the_explorer_without_a_terminal_points_to_the_report(
    tmp_path: Path, run_logdrift: Run
) -> None:
    folder = make_session(tmp_path / "s", tokens=200, sequences=4, top_k=3)
    done = run_logdrift("open", folder)
    assert done.returncode == 2
    assert f"logdrift report {folder}" in done.stderr
    done = run_logdrift(
        "--sessions", tmp_path, timeout=60
    )  # it would wait for keys for ever
    assert done.returncode == 2
    assert done.stdout == ""
    assert (
        "the list of sessions needs a terminal: without one use logdrift report SESSION"
        in done.stderr
    )


def test_hostile_text_in_an_error_never_reaches_the_terminal_raw(
    tmp_path: Path, run_logdrift: Run
) -> None:
    (tmp_path / "session.json").write_text(
        '{"format": 1, "model": {"id": "m"}, "id": "x", "captures": [{"label":'
        ' "../\\u001b[31m"}]}'
    )
    done = run_logdrift("report", tmp_path)
    assert done.returncode == 2
    assert "\x1b" not in done.stderr


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    folder = make_session(tmp_path / "s", tokens=2000, sequences=4, top_k=3)
    logdrift = Path(sys.executable).parent / "logdrift"
    script = f"'{logdrift}' report --json '{folder}' | head -c 10"
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""


@pytest.mark.parametrize("name", ["sample-smollm2", "sample-temperature"])
def test_a_shipped_sample_is_whole_and_names_no_machine(name: str) -> None:
    folder = REPOSITORY / "sessions" / name
    assert open_session(folder).state == "complete"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 5_000_000
    for file in files:
        data = file.read_bytes()
        for root in ("root", "home", "work", "tmp", "Users"):
            assert f"/{root}/".encode() not in data, file


def test_the_healthy_sample_has_all_three_engines() -> None:
    session = open_session(REPOSITORY / "sessions" / "sample-smollm2")
    engines = {capture.engine for capture in session.captures}
    assert engines == {"transformers", "vllm", "sglang"}
    assert len(list_pairs(session)) >= 8


def test_the_sample_of_the_readme_has_its_cause_proven_on_the_real_engine() -> None:
    session = open_session(REPOSITORY / "sessions" / "sample-temperature")
    labels = default_pair(session)
    assert labels is not None
    answer = answer_of_pair(session, make_pair(session, *labels))
    assert answer.comparable == "not_comparable"
    assert answer.cause == "temperature"
    assert answer.sureness == "certain"
    assert answer.proof.startswith("vllm: logprobs_mode=raw_logprobs explains ")
