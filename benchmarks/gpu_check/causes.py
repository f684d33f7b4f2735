"""A whole capture through the command line, with faults planted in a small trained
model: each must be named. Needs no engine but Transformers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.gpu_check.models import write_trained
from benchmarks.gpu_check.table import Finding, say

ROOT = Path(__file__).resolve().parents[2]
EDITED = ROOT / "core" / "planted" / "inside" / "edited.py"
_SEQUENCES = 24
_TOKENS = 96


class Planted(NamedTuple):
    """A rollout with a fault. ``spec`` is its backend, in which a name of `EDITS` in
    braces stands for the folder of those weights; one of the codes ``causes`` must
    come first.
    """

    name: str
    spec: str
    causes: tuple[str, ...]


class WeightEdit(NamedTuple):
    """A fault of `logdrift.core.planted.inside.weights`, with its size."""

    fault: str
    size: float


EDITS = {
    "stale": WeightEdit("stale-weights", 0.02),
    "scaled": WeightEdit("scaled-tensor", 1.3),
}
PLANTED = (
    Planted("clean", "transformers:bfloat16,attn_implementation=eager", ("noise",)),
    Planted("float16", "transformers:float16", ("compute_dtype", "noise")),
    Planted("stale", "transformers:bfloat16,model={stale}", ("weights",)),
    Planted("scaled", "transformers:bfloat16,model={scaled}", ("weights",)),
)


def check(work: Path, steps: int) -> None:
    """Capture every side in one session, and judge each rollout against the trainer."""
    model = write_trained(work / "trained", steps)
    edited = {name: _edited(model, work / name, edit) for name, edit in EDITS.items()}
    session = work / "session"
    prompts = _write_ids(work / "ids.jsonl")
    logdrift = [sys.executable, "-m", "logdrift.cli.main"]
    backends = ["transformers:float32@reference", "transformers:bfloat16@trainer"]
    for planted in PLANTED:
        spec = planted.spec.format(**edited)
        backends.append(f"{spec},role=rollout,paths=prefill@{planted.name}")
    arguments = ["--model", str(model), "--prompts", str(prompts)]
    arguments += ["--python", f"transformers={sys.executable}", "--out", str(session)]
    for backend in backends:
        arguments += ["--backend", backend]
    _run([*logdrift, "capture", *arguments])
    for planted in PLANTED:
        _judge([*logdrift, "why", str(session), "--json"], planted)


def _judge(why: list[str], planted: Planted) -> None:
    pair = f"trainer/prefill:{planted.name}/prefill"
    answer: dict[str, Any] = json.loads(_run([*why, "--pair", pair]))
    (explained,) = answer["pairs"]
    first = explained["causes"][0]
    mae = explained["size"]["mae"]
    measured = f"MAE {mae:.3g}: {first['cause']}, {first['sureness']}"
    wanted = " or ".join(planted.causes)
    holds = first["cause"] in planted.causes
    say(Finding("causes", planted.name, measured, wanted, holds))


def _edited(model: Path, out: Path, edit: WeightEdit) -> Path:
    arguments = [str(model), str(out), edit.fault, str(edit.size)]
    _run([sys.executable, str(EDITED), *arguments])
    return out


def _write_ids(file: Path) -> Path:
    """Sequences of the text that the model was trained on."""
    from logdrift.core.planted.inside.little import text

    ids = text().tolist()
    rows = []
    for number in range(_SEQUENCES):
        start = 5_000 * number
        row = {"token_ids": ids[start : start + _TOKENS], "prompt_length": 8}
        rows.append(json.dumps(row))
    file.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return file


def _run(argv: list[str]) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        last = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise RuntimeError(f"{argv[1:4]}: exit code {done.returncode}: {last}")
    return done.stdout
