"""What nearly every test names: places of the repository, numbers, types."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from logdrift.core.errors import InputError

NAN = math.nan
INF = math.inf
REPOSITORY = Path(__file__).resolve().parent.parent
SAMPLE = REPOSITORY / "sessions" / "sample-smollm2"

Fields = dict[str, Any]
"""Values by name: an object of JSON, the fields of a line, arguments by keyword."""
Run = Callable[..., subprocess.CompletedProcess[str]]
"""The fixture ``run_logdrift``: arguments of the command line, and what came of it."""


def refused(said: str) -> pytest.RaisesExc[InputError]:
    """The block ends with an InputError whose text the pattern ``said`` matches."""
    return pytest.raises(InputError, match=said)
