"""The checks that need a GPU go their whole way without one, on tiny models, so that
they work on the day that a GPU is there.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks.gpu_check.table import MARK, Finding, findings_in, markdown, say

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.engine
def test_the_checks_run_without_a_gpu(
    transformers_python: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.md"
    argv = [transformers_python, "-m", "benchmarks.gpu_check", "--tiny"]
    argv += ["--only", "bfloat16,reducer,chunks", "--out", page]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# Checked without a GPU")
    for check in ("time", "peak memory", "reducer", "chunks", "halving"):
        assert f"| {check} |" in text
    assert text.count("| holds |") >= 5
    assert "not measured on a CPU" in text


def test_a_page_says_what_does_not_hold(capsys: pytest.CaptureFixture[str]) -> None:
    sent = Finding("chunks", "a | b", "two\nlines", "one line", False)
    say(sent)
    printed = "noise of a library\n" + capsys.readouterr().out
    assert MARK in printed
    assert findings_in(printed) == [sent]
    page = markdown({"gpu": "a GPU"}, [sent])
    assert page.startswith("# Checked on a GPU")
    assert "| chunks | a \\| b | two lines | one line | **does not hold** |" in page
