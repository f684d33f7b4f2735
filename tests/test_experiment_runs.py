"""One-knob experiments on a real engine: what they explain, an interruption and its
resumption, an engine that dies.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from logdrift.core.session.reader import open_session
from tests.common import Fields, Run

ROOT = Path(__file__).resolve().parent.parent
LOGDRIFT = ROOT / ".venv" / "bin" / "logdrift"
IDS = ROOT / "core" / "planted" / "smollm2_ids.json"
pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def session(
    tmp_path_factory: pytest.TempPathFactory, run_logdrift: Run, small_model: Path
) -> Path:
    """A bfloat16 trainer against a float32 Transformers as rollout, on five sequences
    of 32 tokens.
    """
    folder = tmp_path_factory.mktemp("runs")
    rows = json.loads(IDS.read_text())["ids"][:5]
    lines = [
        json.dumps({"token_ids": row[:32], "prompt_length": 8}) + "\n" for row in rows
    ]
    (folder / "prompts.jsonl").write_text("".join(lines))
    done = run_logdrift(
        "capture",
        "--model",
        "smollm2",
        "--prompts",
        folder / "prompts.jsonl",
        "--backend",
        "transformers:bfloat16@trainer",
        "--backend",
        "transformers:float32,role=rollout@rollout",
        "--out",
        folder / "session",
    )
    assert done.returncode == 0, done.stderr
    return folder / "session"


def found(done: subprocess.CompletedProcess[str]) -> Fields:
    """Experiments of the one pair by id."""
    return {
        each["experiment"]["id"]: each
        for each in json.loads(done.stdout)["pairs"][0]["experiments"]
    }


def of(experiments: Fields, beginning: str) -> Any:
    (one,) = [each for name, each in experiments.items() if name.startswith(beginning)]
    return one


def written(folder: Path) -> dict[Path, int]:
    """When each file below a folder was written last, the logs of workers too."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path: path.stat().st_mtime_ns for path in files}


def test_ctrl_c_leaves_no_worker_and_what_is_finished(session: Path) -> None:
    """Runs before the next test, which goes on from here."""
    process = subprocess.Popen(
        [str(LOGDRIFT), "why", str(session), "--run", "--only", "dtype"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.default_int_handler
        ),  # a background job ignores it
    )
    folder = session / "why" / "experiments"
    deadline = time.monotonic() + 300
    while not list(folder.glob("dtype-*/logs/*.pid")) and not list(
        folder.glob("dtype-*/logs/*.log")
    ):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert not (folder / "lock").exists()
    (begun,) = folder.glob("dtype-*")
    assert open_session(begun).lock is None
    assert json.loads((begun / "experiment.json").read_text())["outcome"] is None


def test_the_knob_that_made_the_gap_explains_it_and_the_scorer_s_move_nothing(
    session: Path, run_logdrift: Run
) -> None:
    done = run_logdrift(
        "why",
        session,
        "--run",
        "--only",
        "dtype",
        "--only",
        "batch_tokens-trainer",
        "--only",
        "oom_rows-trainer",
        "--json",
    )
    assert done.returncode == 0, done.stderr
    experiments = found(done)
    dtype = of(experiments, "dtype-trainer")
    assert dtype["status"] == "explains"
    assert dtype["low"] > 0.9
    assert dtype["repeats"] == 2
    assert (
        dtype["mae_after"] == 0 and dtype["mae_before"] > 1e-2
    )  # the same computation then
    for name in ("batch_tokens-trainer", "oom_rows-trainer"):
        still = of(experiments, name)
        assert still["moved"] == 0
        assert not still["finding"]
        assert "as it must be" in still["sentence"]
    first = json.loads(done.stdout)["pairs"][0]["causes"][0]
    assert first["cause"] == "compute_dtype"
    assert "experiment" in {each["signature"] for each in first["evidence"]}


def test_it_reopens_with_the_session_and_is_not_run_again(
    session: Path, run_logdrift: Run
) -> None:
    shown = " ".join(run_logdrift("why", session).stdout.split())
    assert "trainer: dtype=float32 explains 100% of the MAE (100% to 100%)" in shown
    (folder,) = (session / "why" / "experiments").glob("dtype-trainer-*")
    assert open_session(folder).state == "complete"
    assert run_logdrift("report", folder).returncode == 0
    before = written(folder)
    again = run_logdrift(
        "why", session, "--run", "--only", "dtype", "--budget", "1s", "--json"
    )
    assert again.returncode == 0
    assert written(folder) == before
    assert of(found(again), "dtype-trainer")["status"] == "explains"


def test_an_engine_that_dies_fails_its_own_experiment_alone(
    session: Path, run_logdrift: Run, tmp_path: Path
) -> None:
    """The rollout's interpreter is none any more: what changes the trainer alone still
    runs.
    """
    broken = tmp_path / "session"
    shutil.copytree(session, broken, ignore=shutil.ignore_patterns("why"))
    data = json.loads((broken / "session.json").read_text())
    next(b for b in data["plan"]["backends"] if b["name"] == "rollout")["python"] = (
        "/bin/false"
    )
    (broken / "session.json").write_text(json.dumps(data))
    done = run_logdrift(
        "why", broken, "--run", "--only", "attention", "--json", "--trust-session"
    )  # its plan was edited
    assert done.returncode == 1, done.stderr
    assert "1 of 2 experiments failed, the others stand" in done.stderr.splitlines()[-1]
    experiments = found(done)
    died = of(experiments, "attn_implementation-rollout")
    ran = of(experiments, "attn_implementation-trainer")
    assert died["status"] == "failed"
    assert died["reason"] == "transformers worker ended with exit code 1"
    assert ran["status"] in ("no effect", "below the floor", "explains", "worse")
    assert "attn_implementation=eager failed:" in " ".join(
        run_logdrift("why", broken).stdout.split()
    )
