"""A few runs of each kind of fault of `endurance`, which has hundreds, each in a process
of its own: it adopts whatever is left running.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.common import REPOSITORY

RUNS = {"kills": 40, "resources": 11, "lives": 60}
SECONDS = 900
"""However slow the machine is."""


@pytest.mark.parametrize("kind", RUNS)
def test_nothing_is_lost(kind: str) -> None:
    argv = [sys.executable, "-m", "endurance", kind, "--runs", str(RUNS[kind])]
    done = subprocess.run(
        argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n0 losses" in done.stdout, done.stdout
