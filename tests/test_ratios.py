"""The table of all benchmarks: what is kept, and what it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.ratios import VARIABLE, Ratio, in_words, ratios_in, say, table

ROOT = Path(__file__).resolve().parent.parent
WITHIN = Ratio("report", "1.20 s", "kernels", "1.00 s", 1.2, 2.0)
BEYOND = Ratio("start", "210.0 ms", "an empty app", "100.0 ms", 2.1, 1.5)
UNLIMITED = Ratio("diff", "3.00 s", "kernels", "1.00 s", 3.0)


def test_ratios_are_kept_for_a_table_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ratios"
    monkeypatch.delenv(VARIABLE, raising=False)
    say(WITHIN)
    assert ratios_in(file) == []
    monkeypatch.setenv(VARIABLE, str(file))
    for ratio in (WITHIN, BEYOND, UNLIMITED):
        say(ratio)
    assert ratios_in(file) == [WITHIN, BEYOND, UNLIMITED]
    assert [ratio.holds for ratio in ratios_in(file)] == [True, False, True]


def test_the_table_says_what_is_beyond_its_limit() -> None:
    _, _, *rows = table([WITHIN, BEYOND, UNLIMITED]).splitlines()
    assert rows == [
        "| report | 1.20 s | kernels | 1.00 s | 1.200 | 2 | holds |",
        "| start | 210.0 ms | an empty app | 100.0 ms | 2.100 | 1.5 | **beyond** |",
        "| diff | 3.00 s | kernels | 1.00 s | 3.000 |  |  |",
    ]
    assert (in_words(0.0123), in_words(12.0)) == ("12.3 ms", "12.00 s")


def test_the_table_is_made_of_real_benchmarks() -> None:
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only", "size"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "| bytes on disk |" in done.stdout
    unknown = subprocess.run(
        [*command[:-1], "nothing"], cwd=ROOT, capture_output=True, text=True
    )
    assert unknown.returncode == 2
    assert "give some of scorer, screen" in unknown.stderr
