"""Fixtures shared by all tests. Engines are real: a missing one is a failure, never a
skip.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from logdrift.core.errors import LogdriftError, unforeseen
from tests.changed_model import NOISY_TENSOR, noisy_model
from tests.common import REPOSITORY, Run
from tests.shared_captures import SharedCaptures, shared_folder

# Four files are tested at a time on as few as two cores, and OpenMP's threads spin
# while they wait for each other: with more of them than cores an engine is five to ten
# times slower. What a test starts inherits this.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# An engine is started dozens of times: what it imports is to be compiled once, not each
# time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# How long an example takes is the machine's affair.
hypothesis.settings.register_profile("logdrift", deadline=None)
hypothesis.settings.load_profile("logdrift")

_ENGINES_AT_WORK = (
    "test_planted_held_out",
    "test_sglang_backend",
    "test_capture",
    "test_vllm_backend",
    "test_endurance",
    "test_planted",
    "test_kill",
    "test_transformers_backend",
    "test_demo",
    "test_models",
    "test_moved",
    "test_lengths",
    "test_overflow",
    "test_gate_engines",
    "test_import_names",
    "test_experiment_runs",
    "test_identity",
    "test_identity_families",
    "test_loaded_engines",
    "test_environments",
    "test_identity_kinds",
    "test_layers",
)
"""Files whose tests keep a core busy, the longest first. Of those that read the same
shared capture one comes early and makes it: nobody waits for it then.
"""
_LONG = (
    "test_damage",
    "test_record",
    "test_streams",
    "test_export",
    "test_trust",
    "test_why",
    "test_visible",
    "test_recompute_sample",
    "test_uncertainty",
    "test_verify",
    "test_false_alarms",
)
"""Files without engine or screen that take longest, the longest first: one of them at
the end would be waited for by all processes but one.
"""

_BY_THE_CLOCK = ("test_monkey",)
"""Files that take minutes by the clock and wait for most of them: from the start, beside
the engines, or all processes but one would wait for them at the end.
"""


@pytest.fixture(scope="session", autouse=True)
def state_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the tests capture is recorded as their own, not as the user's; commands that
    they start inherit it.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True)
def _nothing_unforeseen() -> Iterator[None]:
    """What is shown in a window and ends nothing must not pass a test either."""
    unforeseen.clear()
    yield
    found, unforeseen[:] = list(unforeseen), []
    if found:
        raise found[0]


_NEEDS_ENGINE = {
    "transformers_python",
    "vllm_python",
    "sglang_python",
    "small_model",
    "shared_captures",
}
"""Fixtures that only an engine's environment gives: a test that uses one is marked
`engine` by itself; one that takes them by name (getfixturevalue) says so.
"""


@pytest.hookimpl(tryfirst=True)  # before -m deselects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs an engine; put the files in the order in which processes take
    them; the order within a file stays.
    """
    for item in items:
        if _NEEDS_ENGINE & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.engine)
    place = _places(list(dict.fromkeys(item.path.stem for item in items)))
    items.sort(key=lambda item: place[item.path.stem])


def _places(files: list[str]) -> dict[str, float]:
    """File -> its place: engines from the start to the end, beside them what goes by
    the clock or waits for its screen, then what is long, then what is quick.
    """
    engines = [name for name in _ENGINES_AT_WORK if name in files]
    screens = [name for name in files if name.startswith("test_tui_")]
    place: dict[str, float] = dict.fromkeys(files, float(len(files) + len(_LONG)))
    for i, name in enumerate(_LONG):
        place[name] = float(len(files) + i)
    for i, name in enumerate(engines):
        place[name] = max(0, i - 2)
    step = max(1, len(engines) - 2) / max(1, len(screens))
    for i, name in enumerate(screens):
        place[name] = (i + 0.5) * step
    place.update(dict.fromkeys(_BY_THE_CLOCK, 0.0))
    return place


def _interpreter(engine: str) -> Path:
    from logdrift.core.capture.environments import find_interpreter

    try:
        return Path(find_interpreter(engine, None).python)
    except LogdriftError as error:
        pytest.fail(f"{error} (make test does this by itself)")


@pytest.fixture(scope="session")
def transformers_python() -> Path:
    """Interpreter that holds Transformers."""
    return _interpreter("transformers")


@pytest.fixture(scope="session")
def vllm_python() -> Path:
    """Interpreter that holds vLLM."""
    return _interpreter("vllm")


@pytest.fixture(scope="session")
def sglang_python() -> Path:
    """Interpreter that holds SGLang."""
    return _interpreter("sglang")


@pytest.fixture(scope="session")
def small_model() -> Path:
    """Folder of the small real model."""
    from logdrift.core.capture.models import resolve_model

    return Path(resolve_model("smollm2"))


@pytest.fixture(scope="session")
def noisy_small_model(
    small_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A copy of the small model with 0.5% noise on `NOISY_TENSOR`, as a trainer has it
    some steps later.
    """
    return noisy_model(
        small_model, tmp_path_factory.mktemp("noisy") / "step-2", NOISY_TENSOR
    )


@pytest.fixture(scope="session")
def run_logdrift() -> Run:
    """Run the command as a user does, without a terminal; stdout and stderr are kept
    apart.
    """

    def run(
        *arguments: Any, timeout: float = 600, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(REPOSITORY / ".venv" / "bin" / "logdrift"), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, **environment},
        )

    return run


@pytest.fixture(scope="session")
def shared_captures(
    run_logdrift: Run, small_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> SharedCaptures:
    """Sessions that several files read, captured by real engines once in a run; a test
    that wants one needs its engine's interpreter too.
    """
    return SharedCaptures(shared_folder(tmp_path_factory), run_logdrift)


@pytest.fixture(scope="session")
def run_script(
    small_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Any]:
    """Run one of `tests/engine_scripts` in an engine's interpreter on the small model;
    the JSON that it wrote.

    What it prints goes to a file, as a worker's output does.
    """
    scripts = REPOSITORY / "tests" / "engine_scripts"

    def run(
        python: Path, script: str, argument: str, environment: dict[str, str]
    ) -> Any:
        folder = tmp_path_factory.mktemp(script.partition("_")[0])
        log = folder / "log"
        out = folder / "out.json"
        with log.open("wb") as file:
            code = subprocess.run(
                [
                    str(python),
                    str(scripts / script),
                    str(small_model),
                    str(out),
                    argument,
                ],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
                timeout=600,
            ).returncode
        assert code == 0, log.read_text(errors="replace")[-4000:]
        return json.loads(out.read_text())

    return run


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user whose screen keeps its state and its settings in the test's own folder;
    where they stand.
    """
    for name in ("state", "config"):
        monkeypatch.setenv(f"XDG_{name.upper()}_HOME", str(tmp_path / name))
    for name in ("LOGDRIFT_CONFIG", "NO_COLOR", "TMUX"):
        monkeypatch.delenv(name, raising=False)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return here


@pytest.fixture
def prompts_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a JSONL prompt file from objects (written as JSON) and strings (written as
    they are).
    """

    def write(*lines: Any, name: str = "prompts.jsonl") -> Path:
        path = tmp_path / name
        path.write_text(
            "".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines),
            encoding="utf-8",
        )
        return path

    return write
