"""The cause "sampled with older weights": found where the gap grows with the age of the
weights, and not where it does not; and where SGLang's answers tell the versions.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logdrift.core.compare.pair import make_pair
from logdrift.core.diagnose import Diagnosis, diagnose
from logdrift.core.diagnose.evidence import LIKELY, Evidence
from logdrift.core.session.importers import import_session
from logdrift.core.session.reader import Session, open_session
from tests import made_recordings as made
from tests.common import Fields
from tests.made_turns import conversation

Change = Callable[[Fields], None]


def session_of(folder: Path, lines: list[Fields]) -> Session:
    file = folder / "lines.jsonl"
    file.write_text("\n".join(json.dumps(line) for line in lines))
    import_session("jsonl", [str(file)], folder / "session")
    return open_session(folder / "session")


def diagnosed(
    folder: Path, growth: float, *, seed: int = 0, change: Change | None = None
) -> Diagnosis:
    """60 conversations whose rollouts were one to five versions behind the trainer."""
    lines = []
    for number in range(60):
        line = conversation(
            turns=1 + number % 3,
            seed=seed * 1000 + number,
            version=4 + number % 5,
            growth=growth,
        )
        if change is not None:
            change(line)
        lines.append(line)
    session = session_of(folder, lines)
    return diagnose(session, make_pair(session, "trainer", "vllm/decode"))


def score(found: Diagnosis) -> float:
    scores = [ranked.score for ranked in found.causes if ranked.cause == "stale"]
    return max(scores, default=0.0)


def evidence(found: Diagnosis, signature: str) -> list[Evidence]:
    return [
        piece
        for ranked in found.causes
        for piece in ranked.evidence
        if piece.signature == signature
    ]


def test_a_gap_that_grows_with_the_age_is_of_older_weights(tmp_path: Path) -> None:
    found = diagnosed(tmp_path, growth=0.05)
    assert found.causes[0].cause == "stale"
    assert found.causes[0].sureness == "certain"
    (piece,) = evidence(found, "age of weights")
    assert "sampled with weights 4" in piece.sentence
    assert "with 9" in piece.sentence
    assert piece.positions
    assert found.verdict == "certain: sampled with older weights."


@pytest.mark.parametrize("seed", range(12))
def test_an_age_that_changes_nothing_is_innocent(tmp_path: Path, seed: int) -> None:
    """Versions differ, and so does what the facts say; the numbers do not."""
    assert score(diagnosed(tmp_path, growth=0.0, seed=seed)) < LIKELY


def test_without_versions_nothing_is_said_of_them(tmp_path: Path) -> None:
    def forget(line: Fields) -> None:
        del line["captures"]["vllm/decode"]["versions"]
        del line["captures"]["trainer"]["weight_version"]

    found = diagnosed(tmp_path, growth=0.05, change=forget)
    assert score(found) == 0
    assert not [lack for lack in found.unchecked if lack.cause == "stale"]


def test_a_difference_that_is_one_for_all_tokens_is_likely(tmp_path: Path) -> None:
    """Nothing grows, since all tokens are of one version: the fact alone speaks."""

    def one_version(line: Fields) -> None:
        body = line["captures"]["vllm/decode"]
        body["versions"] = [[7, len(body["logprobs"])]]

    found = diagnosed(tmp_path, growth=0.05, change=one_version)
    assert LIKELY <= score(found) < 0.9
    assert evidence(found, "facts")


def test_versions_that_are_names_are_told_apart_in_their_order(tmp_path: Path) -> None:
    def named(line: Fields) -> None:
        body = line["captures"]["vllm/decode"]
        body["versions"] = [[f"run-{name}", count] for name, count in body["versions"]]

    found = diagnosed(tmp_path, growth=0.08, change=named)
    assert found.causes[0].cause == "stale"
    (piece,) = evidence(found, "age of weights")
    assert "run-4" in piece.sentence


def test_a_fall_where_newer_weights_take_over_is_seen(tmp_path: Path) -> None:
    """Long completions with one change each, at different places: the age is the same
    at equal places of all sequences only by chance, and the fall is sharp.
    """
    lines = []
    for number in range(40):
        line = conversation(1, number, 8)
        rng = np.random.default_rng(number)
        length = 60
        before = int(rng.integers(20, 40))
        rollout = -rng.exponential(1.0, length)
        is_before = np.arange(length) < before
        spread = np.where(is_before, 0.3, 0.02)
        noise = rng.normal(0, spread)
        trainer = np.minimum(0, rollout + noise)
        line |= {
            "token_ids": rng.integers(0, 30, length + 5).tolist(),
            "roles": [["user", 5], ["assistant", length]],
            "mask": [1] * (length + 5),
        }
        del line["tokens"]
        line["captures"] = {
            "trainer": {"logprobs": trainer.tolist(), "weight_version": 9},
            "vllm/decode": {
                "logprobs": rollout.tolist(),
                "versions": [[8, before], [9, length - before]],
            },
        }
        lines.append(line)
    session = session_of(tmp_path, lines)
    found = diagnose(session, make_pair(session, "trainer", "vllm/decode"))
    (piece,) = evidence(found, "change of weights")
    assert piece.score > LIKELY
    assert "40 places" in piece.sentence
    assert found.causes[0].cause == "stale"


# ---- where answers of SGLang tell it


def imported_answers(folder: Path, **meta: Any) -> Session:
    answer = made.sglang(made.draw(1, 3, 6))
    answer["meta_info"] |= meta
    file = made.lines(folder / "one.jsonl", [answer])
    import_session("sglang", [str(file)], folder / "out")
    return open_session(folder / "out")


def spans(session: Session) -> list[str | None]:
    info = session.captures[0]
    capture = session.capture(info.label)
    assert capture.versions is not None
    names = [*capture.version_names, None]
    return [names[place] for place in capture.versions.whole()]


def test_sglangs_runs_of_versions(tmp_path: Path) -> None:
    runs = [
        {"version": "7", "start": 0, "end": 2},
        {"version": "8", "start": 2, "end": 6},
    ]
    session = imported_answers(tmp_path, weight_version="8", weight_versions=runs)
    expected = [None] * 3 + ["7"] * 2 + ["8"] * 4
    assert spans(session) == expected


def test_one_version_of_an_answer_is_that_of_all_it_sampled(tmp_path: Path) -> None:
    session = imported_answers(tmp_path, weight_version="8")
    expected = [None] * 3 + ["8"] * 6
    assert spans(session) == expected
    facts = session.captures[0].facts
    assert facts is not None
    assert facts.weight_version == "8"


def test_weights_that_were_never_updated_have_no_version(tmp_path: Path) -> None:
    session = imported_answers(tmp_path, weight_version="default")
    assert session.capture(session.captures[0].label).versions is None


def test_what_sglang_writes_beside_a_choice_of_openais_form(tmp_path: Path) -> None:
    answer = made.chat(made.draw(1, 3, 4))
    runs = [
        {"version": "7", "start": 0, "end": 1},
        {"version": "8", "start": 1, "end": 4},
    ]
    answer["metadata"] = {"weight_version": "8", "weight_versions": runs}
    file = made.lines(tmp_path / "one.jsonl", [answer])
    import_session("openai", [str(file)], tmp_path / "out")
    versions = spans(open_session(tmp_path / "out"))
    found = [version for version in versions if version]
    expected = ["7", "8", "8", "8"]
    assert found == expected


def test_vllms_runs_of_a_choice(tmp_path: Path) -> None:
    answer = made.chat(made.draw(1, 3, 4))
    run = {"version": "3", "start": 0, "end": 4}
    answer["choices"][0]["weight_versions"] = [run]
    file = made.lines(tmp_path / "one.jsonl", [answer])
    import_session("openai", [str(file)], tmp_path / "out")
    assert spans(open_session(tmp_path / "out"))[-4:] == ["3"] * 4
