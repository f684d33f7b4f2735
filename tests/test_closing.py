"""How `capture`, `demo` and `import` end: the size, the answer, what to type next."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest

from benchmarks.make_session import make_session
from logdrift.cli.closing import closing_lines
from logdrift.core.compare.pair import default_pair, make_pair
from logdrift.core.report.answers import answer_of_pair
from logdrift.core.session.reader import open_session
from tests.common import Run

SESSIONS = Path(__file__).resolve().parent.parent / "sessions"


@pytest.mark.parametrize(
    ("name", "command"), [("sample-smollm2", "open"), ("sample-temperature", "why")]
)
def test_the_size_the_answer_and_the_next_command(name: str, command: str) -> None:
    folder = SESSIONS / name
    session = open_session(folder)
    labels = default_pair(session)
    assert labels is not None
    answer = answer_of_pair(session, make_pair(session, *labels))
    size, sentence, following = closing_lines(folder)
    assert size.startswith(f"{labels[0]} → {labels[1]}: MAE 0.")
    assert f"over {answer.tokens:,} tokens" in size
    assert sentence == answer.sentence
    assert following == f"next: logdrift {command} {folder}"


def test_the_next_command_can_be_typed_whatever_the_folder_is_called(
    tmp_path: Path, run_logdrift: Run
) -> None:
    folder = tmp_path / "it's; a $(name)"
    shutil.copytree(SESSIONS / "sample-temperature", folder)
    *_, following = closing_lines(folder)
    words = shlex.split(following.removeprefix("next: logdrift "))
    assert words == ["why", str(folder)]
    assert run_logdrift(*words).returncode == 0


def test_one_capture_is_nothing_to_compare(tmp_path: Path) -> None:
    folder = make_session(tmp_path / "s", tokens=99, sequences=3, top_k=2, captures=1)
    about, following = closing_lines(folder)
    assert about.startswith("nothing to compare: reference/prefill is the only side")
    words = shlex.split(following.removeprefix("next: logdrift "))
    assert words[:3] == ["capture", "--into", str(folder)]
    assert words[-2:] == ["--backend", "vllm@rollout"]


def test_a_session_that_cannot_be_judged_is_no_failure(tmp_path: Path) -> None:
    folder = make_session(tmp_path / "s", tokens=99, sequences=3, top_k=2)
    for part in folder.rglob("*.safetensors"):
        part.write_bytes(b"x")
    *about, following = closing_lines(folder)
    assert about
    assert following == f"next: logdrift report {folder}"


def test_an_import_ends_with_them(tmp_path: Path, run_logdrift: Run) -> None:
    out = tmp_path / "out"
    sample = SESSIONS / "sample-temperature"
    done = run_logdrift("import", "session", sample, "--out", out)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-3:] == closing_lines(out)
