"""How an engine is added (CONTRIBUTING.md), followed to the letter with a toy: one
folder and one line in a copy of logdrift. A real capture with it arrives everywhere.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from logdrift.core.session.reader import open_session
from tests.common import Run
from tests.toy_site import TOY, toy_model, toy_runner

SPECS = (
    "toy:float32,paths=prefill@reference",
    "toy:bfloat16,paths=decode+prefill,mode=fixed",
)
PAIR = "reference/prefill:toy/decode"


@pytest.fixture(scope="module")
def run_toy(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run logdrift, or a script, as a copy with the toy engine has it; no other engine
    is installed.
    """
    return toy_runner(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def session(run_toy: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capture through the real supervisor and worker, in this interpreter."""
    folder = tmp_path_factory.mktemp("sessions")
    model = toy_model(folder / "model")
    backends = [word for spec in SPECS for word in ("--backend", spec)]
    texts = ["--text", "HELLO", "--text", "GOODBYE"]
    done = run_toy(
        *("capture", "--model", model, "--out", folder / "toy", "--max-tokens", 4),
        *(*texts, *backends),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    complete, size, answer, following = done.stderr.splitlines()[-4:]
    assert complete == f"session complete: {folder / 'toy'}"
    assert size.startswith("reference/prefill → toy/decode: MAE ")
    assert answer.startswith("comparable")
    assert following in (
        f"next: logdrift {command} {folder / 'toy'}" for command in ("open", "why")
    )
    return folder / "toy"


def test_a_capture_holds_the_numbers_of_the_engine(session: Path) -> None:
    captured = open_session(session)
    assert captured.state == "complete"
    assert [info.label for info in captured.captures] == [
        "reference/prefill",
        "toy/decode",
        "toy/prefill",
    ]
    ids = captured.sequences.token_ids
    first = captured.sequences.offsets[:-1]
    for label, apart in (("reference/prefill", 0), ("toy/prefill", 1 / 64)):
        expected = (-0.5 - 0.25 * (ids % 5) - apart).astype(np.float32)
        expected[first] = np.nan
        stored = captured.capture(label).logprob.whole()
        np.testing.assert_array_equal(stored, expected)


def test_what_the_engine_says_of_itself_is_observed(session: Path) -> None:
    facts = open_session(session).manifest.capture("toy/decode").facts
    assert facts is not None
    assert facts.engine == "toy"
    assert facts.engine_version == "7.0"
    assert facts.environment["TOY_ROUNDING"] == "stochastic"
    assert facts.environment["TOY_SET_BY_LOGDRIFT"] == "1"


def test_env_list_and_help_know_it(run_toy: Run) -> None:
    listed = run_toy("env", "list").stdout
    row = next(line for line in listed.splitlines() if line.startswith("toy "))
    assert sys.executable in row or "current" in row
    assert "toy" in run_toy("env", "create", "--help").stdout
    demo = " ".join(run_toy("demo", "--help").stdout.split())
    assert "one or more of vllm, sglang, toy (default vllm)" in demo
    plain = ("--out", "never", "--text", "a", "--backend")
    refused = run_toy("capture", *plain, "nonsense")
    assert "sglang, toy" in refused.stderr
    refused = run_toy("capture", *plain, "toy,paths=forced_decode")
    assert "toy has no path 'forced_decode': it has decode, prefill" in refused.stderr


@pytest.mark.parametrize("form", [(), ("--json",), ("--md",), ("--html",)])
def test_it_is_in_the_report(
    run_toy: Run, session: Path, form: tuple[str, ...]
) -> None:
    done = run_toy("report", session, *form)
    assert done.returncode == 0, done.stderr
    written = done.stdout
    assert "toy/decode" in written
    assert "0.0156" in written, "its numbers: one 64th apart everywhere"


def test_the_gate_knows_its_settings_and_modes(run_toy: Run, session: Path) -> None:
    report = json.loads(run_toy("report", session, "--json").stdout)
    pair = next(
        p for p in report["pairs"] if (p["a"], p["b"]) == tuple(PAIR.split(":"))
    )
    reasons = {reason["code"]: reason["text"] for reason in pair["gate"]["reasons"]}
    assert (
        "mode (plain in reference/prefill, fixed in toy/decode)" in reasons["settings"]
    )
    assert reasons["batch_invariant"].startswith("toy/decode runs in batch-invariant")


def test_it_answers_its_question(run_toy: Run, session: Path, tmp_path: Path) -> None:
    done = run_toy(session, tmp_path / "out", script=TOY / "question.py")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ids"] == 64


def test_its_knobs_stand_in_the_cause_table(run_toy: Run) -> None:
    table = run_toy("why", "--causes").stdout
    assert "toy_eager=true (no compiler)" in table


def test_screens_show_it(run_toy: Run, session: Path, tmp_path: Path) -> None:
    out = tmp_path / "shown.json"
    done = run_toy(session, out, script=TOY / "screens.py")
    assert done.returncode == 0, done.stderr
    shown = json.loads(out.read_text())
    assert "toy:bfloat16  rollout" in shown["new capture"]
    assert "toy             found" in shown["new capture"]
    assert "toy/decode" in shown["matrix"]


def test_a_control_that_failed_is_captured_again(
    run_toy: Run, session: Path, tmp_path: Path
) -> None:
    """Its worker was killed: what was judged without it is judged again."""
    copy = Path(shutil.copytree(session, tmp_path / "copy"))
    command = ("why", copy, "--run", "--only", "batch")
    assert run_toy(*command).returncode == 0
    experiments = copy / "why" / "experiments"
    control = experiments / "control-toy-prefill-together" / "session.json"
    manifest = json.loads(control.read_text())
    del manifest["digest"]  # as one does who changes it on purpose
    captured = manifest["captures"][-1]
    assert captured["status"] == "complete"
    captured["status"] = "failed"
    control.write_text(json.dumps(manifest))
    assert open_session(control.parent).state == "failed"
    assert run_toy(*command).returncode == 0
    assert open_session(control.parent).state == "complete"
