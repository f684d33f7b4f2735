"""Broken numbers: a score that is NaN, and a score that one side alone lacks, from their source to the session."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from core.backends.base import Scores, first_rows
from core.backends.sglang_answers import fill
from core.backends.vllm import unpack
from core.capture.worker import _part_tensors
from core.compare.pair import Pair, make_pair
from core.errors import InputError
from core.session import open_session
from core.session.importers import import_session
from tests.made_sessions import BROKEN, capture, write_session

NAN, INF = math.nan, math.inf
A, B = "trainer/prefill", "vllm/decode"
PROMPT = [NAN, -1.0]  # the first token has no score
DECODED = [NAN, NAN]


def pair_of(
    folder: Path, a: list[list[float]], b: list[list[float]], *, prompt: int = 2, labels: tuple[str, str] = (A, B),
    masks: list[list[int]] | None = None, per_part: int = 2,
) -> Pair:  # fmt: skip
    captures = [capture(labels[0], a), capture(labels[1], b)]
    session = write_session(folder, [prompt] * len(a), captures, masks=masks, per_part=per_part)
    return make_pair(session, *labels)


def places(flags: np.ndarray) -> list[int]:
    return np.flatnonzero(flags).tolist()


# -- the pair tells NaN, missing and scored apart


@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("broken", [[2], [3, 4], [2, 3, 4, 5]])
def test_nan_is_of_its_side_and_no_missing_score(tmp_path: Path, side: str, broken: list[int]) -> None:
    good = [*PROMPT, -1.0, -2.0, -3.0, -INF]
    bad = [BROKEN if i in broken else value for i, value in enumerate(good)]
    a, b = (bad, good) if side == "a" else (good, bad)
    pair = pair_of(tmp_path / "s", [a], [[*DECODED, *b[2:]]])
    found = {"a": pair.nan_a, "b": pair.nan_b}
    assert places(found.pop(side)) == broken
    assert places(found.popitem()[1]) == []
    assert not pair.missing_a.any() and not pair.missing_b.any()
    assert places(pair.scored) == [i for i in range(2, 6) if i not in broken]


@pytest.mark.parametrize("side", ["a", "b"])
def test_a_missing_score_is_no_nan_and_minus_infinity_is_a_score(tmp_path: Path, side: str) -> None:
    good, bad = [-1.0, -INF, -3.0], [-1.0, NAN, NAN]
    a, b = (bad, good) if side == "a" else (good, bad)
    pair = pair_of(tmp_path / "s", [[*PROMPT, *a]], [[*DECODED, *b]])
    found = {"a": pair.missing_a, "b": pair.missing_b}
    assert places(found.pop(side)) == [3, 4]
    assert places(found.popitem()[1]) == []
    assert not pair.nan_a.any() and not pair.nan_b.any()


def test_both_sides_broken_or_silent_at_one_token(tmp_path: Path) -> None:
    pair = pair_of(tmp_path / "s", [[*PROMPT, BROKEN, NAN, BROKEN]], [[*DECODED, BROKEN, NAN, NAN]])
    assert places(pair.nan_a) == [2, 4] and places(pair.nan_b) == [2]
    assert not pair.missing_a.any() and not pair.missing_b.any()  # a broken number is no score to be missed


def test_a_masked_place_is_never_missing(tmp_path: Path) -> None:
    pair = pair_of(tmp_path / "s", [[*PROMPT, NAN, NAN]], [[*DECODED, -1.0, -1.0]], masks=[[1, 1, 0, 1]])
    assert places(pair.missing_a) == [3]


@pytest.mark.parametrize(
    ("labels", "given", "missing"),
    [
        ((A, "vllm/decode"), False, False),
        ((A, "vllm/forced_decode"), False, False),
        ((A, "vllm/recorded"), False, False),  # a rollout log of completions alone
        ((A, "vllm/prefill"), False, False),
        ((A, "vllm/prefill"), True, True),
        ((A, "vllm/recorded"), True, True),
    ],
)
def test_prompts_are_missing_only_where_prompts_are_scored(
    tmp_path: Path, labels: tuple[str, str], given: bool, missing: bool
) -> None:
    full, bare = [NAN, -1.0, -1.0, -2.0], [NAN, NAN, NAN, -2.0]
    pair = pair_of(tmp_path / "s", [full, full], [full if given else bare, bare], prompt=3, labels=labels)
    assert places(pair.missing_b) == ([5, 6] if missing else [])


def test_flags_of_some_parts_alone(tmp_path: Path) -> None:
    rows = [[*PROMPT, -1.0], [*PROMPT, BROKEN], [*PROMPT, -1.0]]
    pair = pair_of(tmp_path / "s", rows, [[*DECODED, -1.0]] * 3, per_part=1)
    assert places(pair.nan_a) == [5]
    assert pair.a.nan is not None and pair.b.nan is None
    assert pair.a.nan.rows(3, 6).tolist() == [0, 0, 1]


def test_without_sequences(tmp_path: Path) -> None:
    pair = pair_of(tmp_path / "s", [], [])
    assert len(pair.nan_a) == len(pair.missing_b) == 0


# -- backends


def scores(logprobs: list[float], nan: list[int] | None) -> Scores:
    made = Scores.empty(len(logprobs), 0)
    made.logprob[:] = logprobs
    flags = None if nan is None else np.asarray(nan, np.uint8)
    return Scores(made.logprob, made.rank, made.top_ids, made.top_logprobs, nan=flags)


@pytest.mark.parametrize("nan", [None, [0, 0]])
def test_a_part_without_nan_has_no_tensor_for_it(nan: list[int] | None) -> None:
    assert "nan" not in _part_tensors("v/prefill", [np.arange(2)], [scores([NAN, -1.0], nan)])


def test_a_part_keeps_the_flags_of_every_sequence() -> None:
    rows = [scores([NAN, -1.0], None), scores([NAN, NAN, -1.0], [0, 1, 0])]
    tensors = _part_tensors("v/prefill", [np.arange(2), np.arange(3)], rows)
    assert tensors["nan"].tolist() == [0, 0, 0, 1, 0] and tensors["nan"].dtype == np.uint8


def test_first_rows_keep_flags() -> None:
    assert first_rows(scores([NAN, NAN, -1.0], [0, 1, 0]), 2).nan.tolist() == [0, 1]  # type: ignore[union-attr]


@pytest.mark.parametrize("top_k", [0, 2])
def test_what_vllm_answers_as_nan_is_marked_and_has_no_alternatives(top_k: int) -> None:
    width = top_k + 1
    values = [[NAN] * width, [-0.5] * width]
    flat = SimpleNamespace(
        start_indices=[0, 0, width], end_indices=[0, width, 2 * width],
        token_ids=[i for i in (7, 8) for _ in range(width)], logprobs=[*values[0], *values[1]], ranks=[1] * (2 * width),
    )  # fmt: skip
    found = unpack(flat, np.asarray([5, 7, 8], np.int32), 1, 1, top_k, "s")
    assert found.nan is not None and found.nan.tolist() == [0, 1, 0]
    assert found.rank.tolist() == [0, 0, 1]
    assert found.top_ids[1].tolist() == [-1] * top_k and found.top_ids[2].tolist() == [8] * top_k


@pytest.mark.parametrize("value", [NAN, None])
def test_what_sglang_answers_as_nan_is_marked(value: float | None) -> None:
    made = Scores.empty(4, 1)
    tops: Any = [[(value, 3, None)], [(-0.5, 4, None)]]
    fill(made, 2, [(value, 7, None), (-0.5, 4, None)], tops, "s")
    assert made.nan is not None and made.nan.tolist() == [0, 0, 1, 0]
    assert made.top_ids[:, 0].tolist() == [-1, -1, -1, 4] and made.rank.tolist() == [0, 0, 0, 1]


# -- importers


def imported(folder: Path, line: str, form: str = "jsonl") -> Any:
    path = folder / "dump.jsonl"
    path.write_text(line + "\n")
    import_session(form, [str(path)], folder / "s")
    return open_session(folder / "s")


@pytest.mark.parametrize("written", ["NaN", '"NaN"', '"nan"', '" NaN "'])
def test_a_file_says_nan_null_and_minus_infinity_apart(tmp_path: Path, written: str) -> None:
    values = f'[-1.0, {written}, null, -Infinity, "-Infinity", -9999.0]'
    line = f'{{"token_ids": [1,2,3,4,5,6,7], "prompt_length": 1, "captures": {{"r": {values}}}}}'
    found = imported(tmp_path, line).capture("r/recorded")
    assert found.nan.whole().tolist() == [0, 0, 1, 0, 0, 0, 0]
    np.testing.assert_array_equal(found.logprob.whole(), np.float32([NAN, -1, NAN, NAN, -INF, -INF, -INF]))


def test_the_first_token_of_a_sequence_is_never_broken(tmp_path: Path) -> None:
    line = '{"token_ids": [1,2], "captures": {"r": [NaN, -1.0]}}'
    assert imported(tmp_path, line).capture("r/recorded").nan is None


@pytest.mark.parametrize("written", ['"none"', "true", "Infinity", "[]"])
def test_other_texts_are_refused(tmp_path: Path, written: str) -> None:
    with pytest.raises(InputError, match=r"captures\.r\.logprobs\[1\]"):
        imported(tmp_path, f'{{"token_ids": [1,2], "captures": {{"r": [null, {written}]}}}}')


def test_alternatives_without_a_number_are_left_out(tmp_path: Path) -> None:
    body = '{"logprobs": [NaN, -1.0], "top_ids": [[5, 6], [7, 8]], "top_logprobs": [[NaN, NaN], [null, -1.0]]}'
    session = imported(tmp_path, f'{{"token_ids": [1,2,3], "prompt_length": 1, "captures": {{"r": {body}}}}}')
    assert session.capture("r/recorded").top_ids.whole().tolist() == [[-1], [-1], [8]]


def test_an_openai_answer_with_nan(tmp_path: Path) -> None:
    logprobs = {"tokens": ["token_id:4", "token_id:5"], "token_logprobs": [NAN, -0.5], "top_logprobs": None}
    answer = {"choices": [{"prompt_token_ids": [9], "logprobs": logprobs, "finish_reason": "stop"}]}
    session = imported(tmp_path, json.dumps(answer), "openai")
    assert session.capture(session.captures[0].label).nan.whole().tolist() == [0, 1, 0]


def test_prime_rl_null_stays_unknown_and_masked_places_say_nothing(tmp_path: Path) -> None:
    line = {
        "schema_version": 1, "token_ids": [5, 6, 7, 8, 9], "loss_mask": [False, False, True, False, True],
        "inference_logprobs": [0.0, 0.0, None, NAN, NAN], "trainer_logprobs": [-11.0, -1.0, -2.0, -3.0, None],
    }  # fmt: skip
    session = imported(tmp_path, json.dumps(line), "prime-rl")
    pair = make_pair(session, "trainer/prefill", "inference/recorded")
    assert places(pair.nan_a) == [] and places(pair.nan_b) == [4]
    assert places(pair.missing_a) == [] and places(pair.missing_b) == [2]


def test_a_copied_session_keeps_its_flags(tmp_path: Path) -> None:
    write_session(tmp_path / "s", [2], [capture(A, [[*PROMPT, BROKEN]])])
    import_session("session", [str(tmp_path / "s")], tmp_path / "copy")
    nan = open_session(tmp_path / "copy").capture(A).nan
    assert nan is not None and nan.whole().tolist() == [0, 0, 1]
