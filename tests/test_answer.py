"""The answer of a pair: one sentence, the same in report, Markdown, HTML, JSON and
`why`.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from logdrift.core.compare.pair import make_pair
from logdrift.core.compare.usual import USUAL, usual_of
from logdrift.core.diagnose import diagnose
from logdrift.core.facts import Facts
from logdrift.core.report.usual import in_words
from logdrift.core.session.layout import CaptureInfo
from logdrift.core.session.reader import Session, open_session
from tests.common import REPOSITORY, SAMPLE, Run
from tests.made_sessions import FACTS, capture, write_session
from tests.planted.made import draw, made, noise, same


def flat(text: str) -> str:
    return " ".join(html.unescape(text).split())


def test_every_surface_prints_the_same_sentence(run_logdrift: Run) -> None:
    session = open_session(SAMPLE)
    sentence = diagnose(
        session, make_pair(session, "trainer", "vllm/decode")
    ).answer.sentence
    assert (
        sentence
        == "comparable; MAE 0.0433 is usual for bfloat16 (0.005 to 0.06); numerical"
        " noise, nothing to fix."
    )
    pair = ("--pair", "trainer:vllm/decode")
    for arguments in (("report",), ("report", "--md"), ("report", "--html"), ("why",)):
        done = run_logdrift(arguments[0], SAMPLE, *arguments[1:], *pair)
        assert done.returncode == 0, done.stderr
        assert sentence in flat(done.stdout), arguments
    why = json.loads(run_logdrift("why", SAMPLE, "--json", *pair).stdout)
    report = json.loads(run_logdrift("report", SAMPLE, "--json", "--why", *pair).stdout)
    assert (
        why["pairs"][0]["answer"]["sentence"]
        == report["pairs"][0]["answer"]["sentence"]
        == sentence
    )
    plain = json.loads(run_logdrift("report", SAMPLE, "--json", *pair).stdout)
    assert plain["pairs"][0]["answer"] is None  # it costs more than the numbers


@pytest.mark.parametrize("dtype", USUAL)
def test_one_range_is_quoted_everywhere(dtype: str, tmp_path: Path) -> None:
    """Report, gate, `why` and the pages of the documentation."""
    usual = USUAL[dtype]
    one = CaptureInfo(
        label="trainer/prefill",
        backend="trainer",
        engine="transformers",
        dtype=dtype,
        path="prefill",
        facts=Facts(**{**FACTS, "dtype": dtype}),
    )
    other = one._replace(backend="vllm")
    assert usual_of((dtype, dtype)) is usual
    assert usual.words in in_words(usual.high / 2 or 1e-5, one, other)
    for page in (
        "report.md",
        "why.md",
        "metrics.md" if dtype != "float16" else "report.md",
    ):
        assert usual.words in (REPOSITORY / "docs" / page).read_text(
            encoding="utf-8"
        ), (dtype, page)


@pytest.mark.parametrize(
    ("size", "standing", "words"),
    [
        (0.0001, "below", "less than usual"),
        (0.03, "usual", "usual for bfloat16 (0.005 to 0.06)"),
        (0.075, "unusual", "unusual"),
        (0.15, "beyond", "more than rounding explains"),
        (0.6, "broken", "broken"),
    ],
)
def test_where_the_number_stands(
    tmp_path: Path, size: float, standing: str, words: str
) -> None:
    facts = {"dtype": "bfloat16", "head_dtype": "bfloat16", "logits_dtype": "bfloat16"}
    sides = {"trainer": noise(size, 1), "rollout": noise(size, 2)}
    session = made(
        tmp_path / "s", draw(), sides, facts={"trainer": facts, "rollout": facts}
    )
    answer = diagnose(session, make_pair(session, "trainer", "rollout")).answer
    assert (answer.standing, answer.assumed) == (standing, False)
    assert words in answer.sentence
    assert answer.sentence.endswith(".")
    assert ".." not in answer.sentence


BFLOAT16 = {"dtype": "bfloat16", "head_dtype": "bfloat16", "logits_dtype": "bfloat16"}


def against_a_reference(folder: Path, size: float) -> Session:
    """Both sides as far from a float32 reference, for bfloat16 of one model."""
    sides = {"reference": same, "trainer": noise(size, 1), "rollout": noise(size, 2)}
    float32 = dict.fromkeys(BFLOAT16, "float32")
    facts = {"reference": float32, "trainer": BFLOAT16, "rollout": BFLOAT16}
    return made(folder, draw(), sides, facts=facts)


def repeated(folder: Path, size: float) -> Session:
    """A side that differs from its own repeat as much as from the other side."""
    rng = np.random.default_rng(5)
    scores = rng.uniform(-6, -1, (12, 80))
    captures = []
    for label in ("trainer/prefill", "rollout/prefill", "rollout/prefill#2"):
        rows = scores + rng.normal(0, size, scores.shape)
        rows[:, 0] = np.nan
        captures.append(capture(label, list(rows), facts=BFLOAT16))
    return write_session(folder, [1] * len(scores), captures)


@pytest.mark.parametrize(
    ("session_of", "shown_by"),
    [
        (against_a_reference, "both are as far from float32 as correct bfloat16 runs"),
        (repeated, "repeats of one side differ by as much"),
    ],
)
def test_noise_that_is_more_than_usual_says_what_shows_it(
    tmp_path: Path, session_of: Callable[[Path, float], Session], shown_by: str
) -> None:
    for size, standing in ((0.03, "usual"), (0.075, "unusual")):
        session = session_of(tmp_path / standing, size)
        found = diagnose(session, make_pair(session, "trainer", "rollout/prefill"))
        answer = found.answer
        assert answer.standing == standing
        assert answer.cause == "noise"
        is_usual = standing == "usual"
        for text in (answer.sentence, found.verdict, found.causes[0].title):
            assert ("nothing to fix" in text) == is_usual
            assert ("noise all the same" in text) == (not is_usual)
        assert (shown_by in answer.sentence) == (not is_usual)


def test_what_cannot_be_compared_has_no_number(tmp_path: Path) -> None:
    other = capture(
        "vllm/prefill",
        [[np.nan, -1.1, -2.2]],
        facts={"weights_digest": "sha256:" + "f" * 64},
    )
    session = write_session(
        tmp_path / "s", [1], [capture("trainer/prefill", [[np.nan, -1.0, -2.0]]), other]
    )
    answer = diagnose(session, make_pair(session, "trainer", "vllm")).answer
    assert answer.sentence.startswith("not comparable: ")
    assert "MAE" not in answer.sentence


def test_few_tokens_and_equal_numbers(tmp_path: Path) -> None:
    few = write_session(
        tmp_path / "few",
        [1],
        [
            capture("trainer/prefill", [[np.nan, -1.0]]),
            capture("vllm/prefill", [[np.nan, -9.0]]),
        ],
    )
    assert (
        "too few tokens to tell why: capture more tokens."
        in diagnose(few, make_pair(few, "trainer", "vllm")).answer.sentence
    )
    equal = made(tmp_path / "equal", draw(), {"trainer": same, "rollout": same})
    assert (
        "nothing to fix"
        in diagnose(equal, make_pair(equal, "trainer", "rollout")).answer.sentence
    )
