"""All metrics of a pair together, the Python interface to them, and what they are over
which tokens.
"""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logdrift.core.compare.measure import measure, sampled_by
from logdrift.core.compare.pair import make_pair
from logdrift.core.session.layout import SequencesInfo
from logdrift.core.session.reader import Session, open_session
from tests.common import INF, NAN, SAMPLE, refused
from tests.made_sessions import capture, edit_manifest, write_session

ROWS_A = [[NAN, -1.0, -2.0, -0.5], [NAN, -1.5], [NAN, -3.0, -0.25]]
ROWS_B = [[NAN, -1.5, -2.0, -0.75], [NAN, -1.5], [NAN, -1.0, -INF]]


def session_of(
    folder: Path, a: Any = ROWS_A, b: Any = ROWS_B, prompts: tuple[int, ...] = (2, 1, 1)
) -> Session:
    return write_session(
        folder / "s",
        list(prompts),
        [capture("trainer/prefill", a), capture("vllm/decode", b)],
    )


def test_every_number_is_of_the_same_tokens(tmp_path: Path) -> None:
    found = make_pair(session_of(tmp_path), "trainer/prefill", "vllm/decode").metrics(
        "completion"
    )
    deltas = [[0.0, 0.25], [0.0], [-2.0, INF]]
    flat = [d for row in deltas for d in row]
    finite = [d for d in flat if math.isfinite(d)]
    assert found.tokens == 5
    assert found.sequences == 3
    assert found.errors.mae == pytest.approx(sum(map(abs, finite)) / 4, rel=1e-15)
    assert found.errors.infinite == 1
    assert found.mismatch.k1 == pytest.approx(-sum(finite) / 4, rel=1e-15)
    for buckets in (found.buckets.by_probability, found.buckets.by_position):
        assert sum(b.tokens for b in buckets) == 5
    # Positions count from the completion's start: three sequences have a first one, two
    # a second.
    expected = [(0, 3), (1, 2)]
    assert [(b.low, b.tokens) for b in found.buckets.by_position] == expected
    assert found.buckets.by_entropy is None


def test_worst_sequences_are_those_with_the_largest_mean(tmp_path: Path) -> None:
    pair = make_pair(session_of(tmp_path), "trainer/prefill", "vllm/decode")
    found = pair.metrics("completion").worst_sequences
    assert [
        (s.sequence, s.tokens, s.mae, s.mean, s.max_abs, s.log_ratio) for s in found
    ] == [
        (
            2,
            1,
            2.0,
            -2.0,
            2.0,
            -2.0,
        ),  # its other token is impossible for B and in no mean
        (0, 2, 0.125, 0.125, 0.25, 0.25),
    ]
    assert len(measure(pair, "all", worst=1).worst_sequences) == 1


def test_scopes_recombine_to_all(tmp_path: Path) -> None:
    found = make_pair(session_of(tmp_path), "trainer/prefill", "vllm/decode").metrics(
        "all"
    )
    prompt, completion, everything = (
        next(s for s in found.scopes if s.scope == name)
        for name in ("prompt", "completion", "all")
    )
    assert prompt.tokens + completion.tokens == everything.tokens == found.tokens
    assert everything.errors == found.errors
    assert everything.k3 == found.mismatch.k3
    kept = [
        s.tokens - (s.errors.infinite or 0) for s in (prompt, completion, everything)
    ]
    total = sum(
        (s.errors.mae or 0) * n
        for s, n in zip((prompt, completion), kept, strict=False)
    )
    expected = (everything.errors.mae or 0) * kept[2]
    assert total == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("rows", [[[NAN, NAN]], [[NAN]]])
def test_nothing_scored_is_none_everywhere(
    tmp_path: Path, rows: list[list[float]]
) -> None:
    found = make_pair(
        session_of(tmp_path, rows, rows, (1,)), "trainer/prefill", "vllm/decode"
    ).metrics("all")
    assert found.tokens == 0
    assert found.sequences == 0
    assert found.topk is None
    assert found.worst_sequences == ()
    numbers = [
        v
        for group in (found.errors, found.probability, found.mismatch)
        for v in group.to_json().values()
    ]
    assert all(v is None for v in numbers if not isinstance(v, dict | bool))
    assert found.ci95.mae is None


def test_a_completion_of_length_0_is_no_completion(tmp_path: Path) -> None:
    pair = make_pair(
        session_of(tmp_path, prompts=(4, 1, 3)), "trainer/prefill", "vllm/decode"
    )
    found = pair.metrics("completion")
    assert found.tokens == 1
    assert found.sequences == 1


@pytest.mark.parametrize(
    ("generator", "label", "expected"),
    [
        ("vllm", "vllm/decode", True),
        (None, "vllm/decode", True),  # a decode capture samples by definition
        ("sglang", "vllm/decode", False),
        ("vllm", "vllm/prefill", False),
        (None, "vllm/prefill", None),
    ],
)
def test_sampled_by_b(
    tmp_path: Path, generator: str | None, label: str, expected: bool | None
) -> None:
    captures = [
        capture("trainer/prefill", ROWS_A),
        capture("vllm/decode", ROWS_B),
        capture("vllm/prefill", ROWS_B),
    ]
    session = write_session(tmp_path / "s", [2, 1, 1], captures)
    session = edit_manifest(
        session, lambda data: data["sequences"].update(generated_by=generator)
    )
    assert isinstance(session.manifest.sequences, SequencesInfo)
    pair = make_pair(session, "trainer/prefill", label)
    assert sampled_by(pair) is expected
    # The first sequence has a prompt of two tokens, of which one is scored.
    assert (
        sampled_by(pair, "all")
        is sampled_by(pair, "prompt")
        is (False if expected else expected)
    )


def test_permuting_the_sequences_changes_no_number(tmp_path: Path) -> None:
    """But for the order of sums, which float64 rounds in the last digits, and for which
    sequence is which.
    """
    rng = np.random.default_rng(5)
    lengths = rng.integers(2, 60, 40)
    a = [[NAN, *rng.normal(-2, 1, n - 1).clip(max=0)] for n in lengths]
    b = [
        [NAN, *(np.array(row[1:]) + rng.normal(0, 0.05, len(row) - 1)).clip(max=0)]
        for row in a
    ]
    order = rng.permutation(40)
    found = []
    for index, chosen in enumerate((range(40), order)):
        session = session_of(
            tmp_path / str(index),
            [a[i] for i in chosen],
            [b[i] for i in chosen],
            (1,) * 40,
        )
        pair = make_pair(session, "trainer/prefill", "vllm/decode")
        # The made top-k and its ids follow the position, not the sequence: as the
        # tokens do.
        found.append(replace(pair.metrics("all"), worst_sequences=()).to_json())

    def compare(x: Any, y: Any, where: str) -> None:
        if isinstance(x, dict):
            for key in x:
                compare(x[key], y[key], f"{where}.{key}")
        elif isinstance(x, list | tuple):
            for i, (u, v) in enumerate(zip(x, y, strict=True)):
                compare(u, v, f"{where}[{i}]")
        elif isinstance(x, float):
            assert x == pytest.approx(y, rel=1e-12, abs=1e-15), where
        else:
            assert x == y, where

    compare(found[0], found[1], "")


# ---- the Python interface, as docs/python.md shows it


def test_a_pair_by_roles_and_its_arrays() -> None:
    pair = make_pair(open_session(SAMPLE), "trainer", "vllm")
    assert pair.a.info.label == "trainer/prefill"
    assert pair.b.info.label == "vllm/decode"
    columns = pair.columns()
    found = {len(values) for values in columns.values()}
    assert found == {pair.tokens}
    at = int(np.nanargmax(np.abs(np.where(columns["scored"], columns["delta"], 0))))
    start, _ = pair.sequences.bounds(int(columns["sequence"][at]))
    assert start + columns["position"][at] == at
    assert abs(columns["delta"][at]) == pair.metrics("all").errors.max_abs


def test_to_pandas_holds_the_same_numbers() -> None:
    pair = make_pair(open_session(SAMPLE), "trainer", "vllm")
    frame = pair.to_pandas()
    kept = frame[frame.scored & frame.in_completion]
    expected = pair.metrics().errors.mae
    assert float(kept.delta.astype("float64").abs().mean()) == pytest.approx(
        expected, rel=1e-12
    )
    session = pair.session
    assert list(frame.piece[:50]) == [
        session.pieces.text(int(i)) for i in frame.token_id[:50]
    ]


def test_without_pandas_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with refused("pip install pandas"):
        make_pair(open_session(SAMPLE), "trainer", "vllm").to_pandas()


def test_unknown_names_and_scopes_are_one_line() -> None:
    session = open_session(SAMPLE)
    with refused("no capture 'nobody': the session has reference/prefill"):
        make_pair(session, "nobody", "vllm")
    with refused("scope 'half' is unknown"):
        make_pair(session, "trainer", "vllm").metrics("half")  # type: ignore[arg-type]


def test_the_interface_needs_neither_torch_nor_a_screen() -> None:
    code = (
        "from logdrift.core.session.reader import open_session\nfrom logdrift.core.compare.pair import"
        f" make_pair\nimport sys\nmake_pair(open_session({str(SAMPLE)!r}), 'trainer',"
        " 'vllm').metrics()\nprint([m for m in ('torch', 'transformers', 'textual',"
        " 'plotext', 'scipy', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
