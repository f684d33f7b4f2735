"""Logits to logprob, rank, top-k and entropy, against float64 and an exact sort, in the
engine's interpreter.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.common import Fields

SCRIPT = Path(__file__).parent / "engine_scripts" / "transformers_reduce.py"

# Both sides hold exactly the same logits, so what is left is rounding of the result to
# float32 (half a last place: 9.5e-7 up to 32 nats, 3.8e-6 up to 128) and of 2**y in
# float32 before it is summed (below 5e-7 of the sum).
TOLERANCE = 5e-6

CASES = (
    "real size",
    "real size, bfloat16",
    "float16",
    "uniform",
    "one id only",
    "far from zero",
    "ties, and zeros of both signs",
    "ties, bfloat16",
    "minus infinity",
    "lowest float",
    "fewer ids above minus infinity than top-k",
    "vocabulary below top-k",
    "vocabulary of one group",
    "no top-k",
    "top-k above the number of groups",
)


@pytest.fixture(scope="module")
def result(transformers_python: Path) -> Fields:
    done = subprocess.run(
        [transformers_python, SCRIPT], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_every_case_ran(result: Fields) -> None:
    assert set(result["cases"]) == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_equals_float64(result: Fields, name: str) -> None:
    case = result["cases"][name]
    assert case["logprob"] < TOLERANCE
    assert case["top_logprobs"] < TOLERANCE
    assert case["entropy"] < TOLERANCE
    assert case["ranks_wrong"] == 0
    assert case["ids_wrong"] == 0, "order is by value, then by id, padded with -1"
    assert case["first_unscored"]
    assert case["input_untouched"]


def test_rows_without_a_distribution_have_no_score_and_are_marked(
    result: Fields,
) -> None:
    expected = {"marked": True, "unscored": True, "neighbours": True}
    assert result["odd_rows"] == expected


def test_block_size_changes_no_bit(result: Fields) -> None:
    assert result["block_sizes"] == 0.0
