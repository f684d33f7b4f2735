"""Folders called `core`, `tui`, `cli` or `tests`, as half of all research repositories
have them, change nothing: neither on PYTHONPATH nor in the working directory, neither
for a command nor for an engine's worker.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.screen import Terminal
from logdrift.core.engines import ENGINES
from logdrift.core.session.reader import open_session
from tests.conftest import REPOSITORY
from tests.shared_captures import SharedCaptures, plan_of

LOGDRIFT = REPOSITORY / ".venv" / "bin" / "logdrift"
SAMPLE = REPOSITORY / "sessions" / "sample-smollm2"
COMMON = ("core", "tui", "cli", "tests")
TRAP = 'raise ImportError("a package of another project was imported")\n'


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A research repository: importing any of its packages fails."""
    folder = tmp_path_factory.mktemp("project")
    for name in COMMON:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(TRAP)
    return folder


@pytest.fixture(scope="module")
def within(project: Path) -> Callable[..., str]:
    """Run a program in the project, which is on PYTHONPATH too; what it prints."""

    def run(*program: object, disturbed: bool = True) -> str:
        environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "100"}
        if disturbed:
            environment["PYTHONPATH"] = str(project)
        done = subprocess.run(
            [*map(str, program)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=environment,
            cwd=project if disturbed else REPOSITORY,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_the_trap_works(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import core"],
        capture_output=True,
        text=True,
        cwd=project,
        check=False,
    )
    assert "a package of another project" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("capture", "--help"),
        ("report", SAMPLE),
        ("report", SAMPLE, "--json"),
        ("why", SAMPLE),
        ("keys",),
    ],
)
def test_commands_say_the_same(
    within: Callable[..., str], arguments: tuple[object, ...]
) -> None:
    undisturbed = within(LOGDRIFT, *arguments, disturbed=False)
    assert within(LOGDRIFT, *arguments) == undisturbed
    assert undisturbed


def test_a_session_is_opened(project: Path, tmp_path: Path) -> None:
    program = f'cd "{project}" && exec "{LOGDRIFT}" open "{SAMPLE}"'
    terminal = Terminal(
        ["/bin/sh", "-c", program],
        120,
        36,
        PYTHONPATH=str(project),
        XDG_STATE_HOME=str(tmp_path),
    )
    try:
        terminal.wait_for(SAMPLE.name.encode())
        terminal.wait_for(b"trainer/prefill")
    finally:
        terminal.close()
    assert b"Traceback" not in terminal.output


def test_import_logdrift_is_light(within: Callable[..., str]) -> None:
    statement = (
        "import sys, logdrift; print(logdrift.open_session.__module__ and '');"
        " print(*sys.modules)"
    )
    alone = within(sys.executable, "-c", "import sys, logdrift; print(*sys.modules)")
    heavy = {"numpy", "torch", "textual", "rich", "transformers", "vllm", "sglang"}
    assert not heavy & set(alone.split())
    with_api = set(within(sys.executable, "-c", statement).split())
    assert not (heavy - {"numpy"}) & with_api
    assert not set(COMMON) & with_api


def test_the_wheel_installs_logdrift_and_no_other_name(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    files = set(zipfile.ZipFile(wheel).namelist())
    assert {name.partition("-")[0].partition("/")[0] for name in files} == {"logdrift"}
    for top in ("core", "tui", "cli"):
        for file in (REPOSITORY / top).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                assert f"logdrift/{file.relative_to(REPOSITORY).as_posix()}" in files
    for engine in ENGINES:
        for device in ("cpu", "cuda"):
            assert f"logdrift/core/engines/{engine}/recipes/{device}.txt" in files


@pytest.mark.engine
@pytest.mark.parametrize("engine", ENGINES)
def test_a_capture_is_the_same(
    request: pytest.FixtureRequest,
    within: Callable[..., Any],
    shared_captures: SharedCaptures,
    tmp_path: Path,
    engine: str,
) -> None:
    """The worker inherits PYTHONPATH, as an engine with a model's own code needs it.
    The shared capture was made by the same command from elsewhere.
    """
    request.getfixturevalue(f"{engine}_python")
    out = tmp_path / "with"
    within(LOGDRIFT, "capture", *plan_of(engine, scored=False), "--out", out)
    disturbed = open_session(out)
    plain = open_session(shared_captures.session(engine))
    np.testing.assert_array_equal(
        disturbed.sequences.token_ids, plain.sequences.token_ids
    )
    labels = {info.label for info in disturbed.captures}
    paths = {info.path for info in disturbed.captures}
    assert paths == {"decode", "prefill"}
    of_engine = [info for info in plain.captures if info.label in labels]
    assert len(of_engine) == len(labels)
    for info in of_engine:
        other = disturbed.manifest.capture(info.label)
        assert info.status == other.status == "complete"
        assert info.facts is not None
        assert other.facts is not None
        assert json.dumps(other.facts.to_json()) == json.dumps(info.facts.to_json())
        one, two = disturbed.capture(info.label), plain.capture(info.label)
        np.testing.assert_array_equal(one.logprob.whole(), two.logprob.whole())
        np.testing.assert_array_equal(one.top_ids.whole(), two.top_ids.whole())
