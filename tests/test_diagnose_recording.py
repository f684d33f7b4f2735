"""Faults of recording, planted in drawn dumps of chosen tokens: named first, on either
side, with where they are; never in a healthy one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logdrift.core.compare.pair import make_pair
from logdrift.core.diagnose import Diagnosis, diagnose
from logdrift.core.diagnose.evidence import LIKELY
from logdrift.core.session.importers import import_session
from logdrift.core.session.reader import Session, open_session
from tests.made_sessions import capture, write_session
from tests.planted.made import bfloat16

Rows = list[np.ndarray]
Corrupt = Callable[[Rows, np.random.Generator], Rows]
PROMPT = 7
SHAPES = {"few": (60,) * 3, "some": (90,) * 8 + (40,) * 4, "long": (400, 400, 380)}
"""Completion tokens of the sequences."""


def scores(rng: np.random.Generator, lengths: Sequence[int]) -> Rows:
    """Log-probabilities of a text: many certain tokens, some surprising ones."""
    return [-rng.gamma(0.6, 3.0, length) for length in lengths]


def noisy(rows: Rows, rng: np.random.Generator, size: float = 0.04) -> Rows:
    """The same from another engine: noise that is larger on surprising tokens."""
    return [
        np.minimum(x + rng.normal(0, size, len(x)) * np.minimum(-x, 1.0), -1e-7)
        for x in rows
    ]


def dump(folder: Path, trainer: Rows, rollout: Rows, swapped: bool = False) -> Session:
    """A dump of chosen tokens, imported; ``swapped``: the trainer has what was meant
    for the rollout.
    """
    folder.mkdir()
    file = folder / "dump.jsonl"
    if swapped:
        trainer, rollout = rollout, trainer
    with file.open("w") as out:
        for number, (x, y) in enumerate(zip(trainer, rollout, strict=True)):
            ids = [(number * 31 + i) % 97 for i in range(PROMPT + len(x))]
            captures = {"trainer": values(x), "rollout": values(y)}
            out.write(
                json.dumps(
                    {"token_ids": ids, "prompt_length": PROMPT, "captures": captures}
                )
                + "\n"
            )
    import_session("jsonl", [str(file)], folder / "s")
    return open_session(folder / "s")


def values(row: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else float(np.float32(value)) for value in row]


def why(session: Session) -> Diagnosis:
    return diagnose(session, make_pair(session, "trainer", "rollout"))


def likely(found: Diagnosis) -> list[str]:
    return [cause.cause for cause in found.causes if cause.score >= LIKELY]


def named(found: Diagnosis) -> Any:
    """The first cause's first evidence."""
    return found.causes[0].evidence[0]


# What a recorder does to values.


def filled(value: float, where: str) -> Corrupt:
    def corrupt(rows: Rows, rng: np.random.Generator) -> Rows:
        out = [row.copy() for row in rows]
        for number, row in enumerate(out):
            if where == "everywhere":
                row[:] = value
            elif where == "ends":
                row[-max(6, len(row) // 4) :] = value
            elif where == "rows" and number % 3 == 0:
                row[:] = value
            elif where == "stretches":
                row[8:20] = value
            elif where == "scattered":
                row[rng.random(len(row)) < 0.3] = value
        return out

    return corrupt


def shifted(lag: int, rows_wanted: Sequence[int], start: int) -> Corrupt:
    """From ``start`` on, values stand ``lag`` tokens late (negative: early) in some
    rows.
    """

    def corrupt(rows: Rows, rng: np.random.Generator) -> Rows:
        out = [row.copy() for row in rows]
        for number in rows_wanted:
            row = out[number]
            tail = rows[number][start:]
            if lag > 0:
                row[start + lag :] = tail[:-lag]
                row[start : start + lag] = -rng.gamma(0.6, 3.0, lag)
            else:
                row[start:lag] = tail[-lag:]
                row[lag:] = -rng.gamma(0.6, 3.0, -lag)
        return out

    return corrupt


def shuffled(rows: Rows, rng: np.random.Generator) -> Rows:
    """Rows of the same length, moved round."""
    order = list(range(len(rows)))
    for length in {len(row) for row in rows}:
        same = [i for i in order if len(rows[i]) == length]
        for a, b in zip(same, [*same[1:], same[0]], strict=True):
            order[a] = b
    return [rows[i] for i in order]


def two_swapped(rows: Rows, rng: np.random.Generator) -> Rows:
    return [rows[1], rows[0], *rows[2:]]


def cumulative_chunks(size: int) -> Corrupt:
    """Each chunk of a stream holds all values so far, and they were joined."""

    def corrupt(rows: Rows, rng: np.random.Generator) -> Rows:
        out = []
        for row in rows:
            joined = np.concatenate(
                [row[: start + size] for start in range(0, len(row), size)]
            )
            out.append(joined[: len(row)])
        return out

    return corrupt


def each(change: Callable[[np.ndarray], np.ndarray]) -> Corrupt:
    return lambda rows, rng: [change(row) for row in rows]


FAULTS: dict[str, tuple[str, Corrupt]] = {
    **{
        f"{value:g} {where}": ("filled", filled(value, where))
        for value in (0.0, -100.0, -20.0, -1.0)
        for where in ("everywhere", "ends", "rows", "stretches", "scattered")
    },
    "one late in one row": ("alignment", shifted(1, [1], 20)),
    "one late in two rows": ("alignment", shifted(1, [0, 1], 11)),
    "two early in a row": ("alignment", shifted(-2, [1], 9)),
    "three late in all rows": (
        "alignment",
        lambda rows, rng: shifted(3, range(len(rows)), 0)(rows, rng),
    ),
    "shuffled rows": ("other_rows", shuffled),
    "two rows swapped": ("other_rows", two_swapped),
    "chunks of 8": ("chunks", cumulative_chunks(8)),
    "chunks of 16": ("chunks", cumulative_chunks(16)),
    "log10": ("units", each(lambda row: row / np.log(10))),
    "log2": ("units", each(lambda row: row / np.log(2))),
    "cut at -3": ("cut", each(lambda row: np.maximum(row, -3.0))),
    "cut at -6": ("cut", each(lambda row: np.maximum(row, -6.0))),
}


@pytest.mark.parametrize("swapped", [False, True], ids=["rollout", "trainer"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_named_first_and_nothing_else_is_likely(
    tmp_path: Path, fault: str, shape: str, swapped: bool
) -> None:
    cause, corrupt = FAULTS[fault]
    rng = np.random.default_rng([len(fault), len(shape)])
    base = scores(rng, SHAPES[shape])
    found = why(dump(tmp_path / "d", base, corrupt(noisy(base, rng), rng), swapped))
    assert found.causes[0].cause == cause, (
        found.verdict,
        [(c.cause, c.score) for c in found.causes],
    )
    assert found.causes[0].score >= LIKELY
    assert not found.noise
    assert [code for code in likely(found) if code not in (cause, "noise")] == []


@pytest.mark.parametrize("grid", ["float32", "bfloat16", "4 decimals", "2 decimals"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(5))
def test_a_healthy_dump_has_none_of_them(
    tmp_path: Path, shape: str, seed: int, grid: str
) -> None:
    """16-bit and rounded values repeat by themselves, and certain tokens are exactly 0:
    nothing was filled in.
    """
    rng = np.random.default_rng(seed)
    base = scores(rng, SHAPES[shape])
    keep: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "float32": lambda row: row,
        "bfloat16": bfloat16,
        "4 decimals": lambda row: np.round(row, 4),
        "2 decimals": lambda row: np.round(row, 2),
    }
    found = why(
        dump(tmp_path / "d", base, [keep[grid](row) for row in noisy(base, rng)])
    )
    recording = {"filled", "chunks", "other_rows", "units", "alignment"}
    assert recording & {cause.cause for cause in found.causes} == set(), found.verdict


def test_tokens_that_are_explained_are_left_out_of_what_follows(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    base = scores(rng, SHAPES["some"])
    found = why(
        dump(tmp_path / "d", base, shifted(1, [2, 5], 30)(noisy(base, rng), rng))
    )
    # Each stretch loses its last token: what was moved out at the end has no place to
    # be compared in.
    assert abs(found.size["left_tokens"] - (sum(SHAPES["some"]) - 2 * 60)) <= 4
    assert found.size["left_mae"] < 0.06 < found.size["mae"]
    assert "sequences 2 and 5" in named(found).sentence
    assert "token 37 on" in named(found).sentence
    assert "Without those" in found.verdict


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("ends", "at the ends of sequences"),
        ("rows", "whole sequences"),
        ("stretches", "stretches"),
        ("everywhere", "everywhere"),
    ],
)
def test_where_a_filled_value_stands_is_said(
    tmp_path: Path, where: str, said: str
) -> None:
    rng = np.random.default_rng(2)
    base = scores(rng, SHAPES["some"])
    found = why(
        dump(tmp_path / "d", base, filled(-100.0, where)(noisy(base, rng), rng))
    )
    assert said in named(found).sentence
    assert named(found).numbers["value"] == -100.0
    assert named(found).positions


@pytest.mark.parametrize("step", [0.01, 0.001])
@pytest.mark.parametrize("swapped", [False, True])
def test_few_digits_are_the_cause_where_they_are_the_gap(
    tmp_path: Path, step: float, swapped: bool
) -> None:
    """Two float32 engines, one of them recorded with few decimals."""
    rng = np.random.default_rng(3)
    base = scores(rng, SHAPES["some"])
    rounded = [np.round(row / step) * step for row in noisy(base, rng, 1e-6)]
    found = why(dump(tmp_path / "d", base, rounded, swapped))
    cut = next(cause for cause in found.causes if cause.cause == "cut")
    assert cut.score >= LIKELY
    assert f"multiples of {step:g}" in cut.evidence[0].sentence


def test_few_digits_that_explain_nothing_are_only_mentioned(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    base = scores(rng, SHAPES["some"])
    found = why(
        dump(tmp_path / "d", base, [np.round(row, 4) for row in noisy(base, rng)])
    )
    assert found.noise
    cut = next(cause for cause in found.causes if cause.cause == "cut")
    assert cut.score < 0.1
    assert "does not explain" in cut.evidence[0].sentence


POSITIVE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "probabilities": np.exp,
    "percent": lambda row: 100 * np.exp(row),
    "negated": np.negative,
}


@pytest.mark.parametrize("swapped", [False, True], ids=["rollout", "trainer"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("unit", POSITIVE)
def test_positive_values_are_named_by_their_unit(
    tmp_path: Path, unit: str, shape: str, swapped: bool
) -> None:
    """The importer refuses them; a session that was written elsewhere may hold them."""
    rng = np.random.default_rng(6)
    base = scores(rng, SHAPES[shape])
    sides = [base, [POSITIVE[unit](row) for row in noisy(base, rng)]]
    a, b = reversed(sides) if swapped else sides
    rows = [[[np.nan] * PROMPT + list(row) for row in side] for side in (a, b)]
    captures = [
        capture("trainer/recorded", rows[0]),
        capture("rollout/recorded", rows[1]),
    ]
    found = why(write_session(tmp_path / "s", [PROMPT] * len(base), captures))
    assert found.causes[0].cause == "units"
    assert unit.split()[0][:7] in named(found).sentence
    assert [code for code in likely(found) if code != "units"] == []


@pytest.mark.parametrize("tokens", [1, 2, 3, 5, 8])
def test_few_tokens_make_no_fault_certain(tmp_path: Path, tokens: int) -> None:
    rng = np.random.default_rng(5)
    base = scores(rng, (tokens,))
    for number, change in enumerate(
        (
            filled(0.0, "everywhere"),
            each(lambda row: row / np.log(10)),
            filled(-100.0, "ends"),
        )
    ):
        found = why(dump(tmp_path / f"d{number}", base, change(noisy(base, rng), rng)))
        assert all(cause.sureness != "certain" for cause in found.causes)
