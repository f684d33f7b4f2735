"""Broken numbers: a score that is NaN, and a score that one side alone lacks, from
their source to the session.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from logdrift.cli.progress import _line
from logdrift.core.capture.parts import nan_tokens
from logdrift.core.compare.coverage import coverage
from logdrift.core.compare.gate import judge
from logdrift.core.compare.matrix import metric_value
from logdrift.core.compare.measured import measure_pair
from logdrift.core.compare.metric import resolve
from logdrift.core.compare.pair import Pair, default_scope, make_pair
from logdrift.core.diagnose import diagnose
from logdrift.core.engines.sglang.answers import fill
from logdrift.core.engines.vllm.backend import unpack
from logdrift.core.report.asked_limits import parse_limits
from logdrift.core.report.build import report_on, report_pair
from logdrift.core.report.check import MeasuredSession, check_session
from logdrift.core.report.comment import comment
from logdrift.core.report.forms import html_of
from logdrift.core.report.layout import Canvas
from logdrift.core.report.paint.markdown import paint_markdown
from logdrift.core.report.paint.text import paint_text
from logdrift.core.report.session_text import session_text
from logdrift.core.report.strict_json import dump
from logdrift.core.report.why import explain_session
from logdrift.core.report.why_document import why_document
from logdrift.core.session.importers import import_session
from logdrift.core.session.reader import open_session
from logdrift.core.worker.base import Scores, first_rows
from logdrift.core.worker.part_writer import tensors_of
from tests.common import INF, NAN, refused
from tests.made_sessions import BROKEN, capture, write_session

A = "trainer/prefill"
B = "vllm/decode"
PROMPT = [NAN, -1.0]  # the first token has no score
DECODED = [NAN, NAN]


def pair_of(
    folder: Path,
    a: list[list[float]],
    b: list[list[float]],
    *,
    prompt: int = 2,
    labels: tuple[str, str] = (A, B),
    masks: list[list[int]] | None = None,
    per_part: int = 2,
) -> Pair:
    captures = [capture(labels[0], a), capture(labels[1], b)]
    session = write_session(
        folder, [prompt] * len(a), captures, masks=masks, per_part=per_part
    )
    return make_pair(session, *labels)


def places(flags: np.ndarray) -> list[int]:
    return np.flatnonzero(flags).tolist()


# -- the pair tells NaN, missing and scored apart


@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize("broken", [[2], [3, 4], [2, 3, 4, 5]])
def test_nan_is_of_its_side_and_no_missing_score(
    tmp_path: Path, side: str, broken: list[int]
) -> None:
    good = [*PROMPT, -1.0, -2.0, -3.0, -INF]
    bad = [BROKEN if i in broken else value for i, value in enumerate(good)]
    a, b = (bad, good) if side == "a" else (good, bad)
    pair = pair_of(tmp_path / "s", [a], [[*DECODED, *b[2:]]])
    found = {"a": pair.nan_a, "b": pair.nan_b}
    assert places(found.pop(side)) == broken
    assert places(found.popitem()[1]) == []
    assert not pair.missing_a.any()
    assert not pair.missing_b.any()
    assert places(pair.scored) == [i for i in range(2, 6) if i not in broken]


@pytest.mark.parametrize("side", ["a", "b"])
def test_a_missing_score_is_no_nan_and_minus_infinity_is_a_score(
    tmp_path: Path, side: str
) -> None:
    good = [-1.0, -INF, -3.0]
    bad = [-1.0, NAN, NAN]
    a, b = (bad, good) if side == "a" else (good, bad)
    pair = pair_of(tmp_path / "s", [[*PROMPT, *a]], [[*DECODED, *b]])
    found = {"a": pair.missing_a, "b": pair.missing_b}
    assert places(found.pop(side)) == [3, 4]
    assert places(found.popitem()[1]) == []
    assert not pair.nan_a.any()
    assert not pair.nan_b.any()


def test_both_sides_broken_or_silent_at_one_token(tmp_path: Path) -> None:
    pair = pair_of(
        tmp_path / "s", [[*PROMPT, BROKEN, NAN, BROKEN]], [[*DECODED, BROKEN, NAN, NAN]]
    )
    assert places(pair.nan_a) == [2, 4]
    assert places(pair.nan_b) == [2]
    assert (
        not pair.missing_a.any() and not pair.missing_b.any()
    )  # a broken number is no score to be missed


def test_a_masked_place_is_never_missing(tmp_path: Path) -> None:
    pair = pair_of(
        tmp_path / "s",
        [[*PROMPT, NAN, NAN]],
        [[*DECODED, -1.0, -1.0]],
        masks=[[1, 1, 0, 1]],
    )
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
    full = [NAN, -1.0, -1.0, -2.0]
    bare = [NAN, NAN, NAN, -2.0]
    pair = pair_of(
        tmp_path / "s",
        [full, full],
        [full if given else bare, bare],
        prompt=3,
        labels=labels,
    )
    assert places(pair.missing_b) == ([5, 6] if missing else [])


@pytest.mark.parametrize("path", ["prefill", "recorded", "decode"])
def test_a_first_token_is_never_missing(tmp_path: Path, path: str) -> None:
    """Only a side that knew a prompt from elsewhere has a score there."""
    pair = pair_of(
        tmp_path / "s",
        [[NAN, -1.0, NAN]] * 2,
        [[-0.5, -1.0, -2.0]] * 2,
        prompt=0,
        labels=(A, f"v/{path}"),
    )
    assert places(pair.missing_a) == [2, 5]
    assert places(pair.missing_b) == []


def test_flags_of_some_parts_alone(tmp_path: Path) -> None:
    rows = [[*PROMPT, -1.0], [*PROMPT, BROKEN], [*PROMPT, -1.0]]
    pair = pair_of(tmp_path / "s", rows, [[*DECODED, -1.0]] * 3, per_part=1)
    assert places(pair.nan_a) == [5]
    assert pair.a.nan is not None
    assert pair.b.nan is None
    expected = [0, 0, 1]
    assert pair.a.nan.rows(3, 6).tolist() == expected


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
    assert "nan" not in tensors_of(
        "v/prefill", [np.arange(2)], [scores([NAN, -1.0], nan)]
    )


def test_a_part_keeps_the_flags_of_every_sequence() -> None:
    unmarked = scores([NAN, -1.0], None)
    marked = scores([NAN, NAN, -1.0], [0, 1, 0])
    rows = [unmarked, marked]
    tensors = tensors_of("v/prefill", [np.arange(2), np.arange(3)], rows)
    expected = [0, 0, 0, 1, 0]
    assert tensors["nan"].tolist() == expected
    assert tensors["nan"].dtype == np.uint8


def test_the_end_of_a_capture_says_how_many_scores_are_nan(tmp_path: Path) -> None:
    rows = [[*PROMPT, BROKEN], [*PROMPT, -1.0], [NAN, BROKEN, BROKEN]]
    session = write_session(
        tmp_path / "s",
        [2, 2, 1],
        [capture(A, rows), capture(B, rows[1:2] * 3)],
        per_part=1,
    )
    a, b = session.captures
    assert (nan_tokens(session.folder, a), nan_tokens(session.folder, b)) == (3, 0)
    event = {"type": "captured", "label": A, "tokens": 9}
    assert _line({**event, "nan": 3}) == f"{A}: complete, 9 tokens, 3 of them NaN"
    assert _line({**event, "nan": 0}) == _line(event) == f"{A}: complete, 9 tokens"


def test_first_rows_keep_flags() -> None:
    cut = first_rows(scores([NAN, NAN, -1.0], [0, 1, 0]), 2)
    assert cut.nan.tolist() == [0, 1]  # type: ignore[union-attr]


@pytest.mark.parametrize("top_k", [0, 2])
def test_what_vllm_answers_as_nan_is_marked_and_has_no_alternatives(top_k: int) -> None:
    width = top_k + 1
    values = [[NAN] * width, [-0.5] * width]
    flat = SimpleNamespace(
        start_indices=[0, 0, width],
        end_indices=[0, width, 2 * width],
        token_ids=[i for i in (7, 8) for _ in range(width)],
        logprobs=[*values[0], *values[1]],
        ranks=[1] * (2 * width),
    )
    found = unpack(
        flat,
        np.asarray([5, 7, 8], np.int32),
        first=1,
        skipped=1,
        top_k=top_k,
        what="s",
    )
    assert found.nan is not None
    assert found.nan.tolist() == [0, 1, 0]
    assert found.rank.tolist() == [0, 0, 1]
    expected = [-1] * top_k
    assert found.top_ids[1].tolist() == expected
    assert found.top_ids[2].tolist() == [8] * top_k


@pytest.mark.parametrize("value", [NAN, None])
def test_what_sglang_answers_as_nan_is_marked(value: float | None) -> None:
    made = Scores.empty(4, 1)
    tops: Any = [[(value, 3, None)], [(-0.5, 4, None)]]
    fill(made, 2, [(value, 7, None), (-0.5, 4, None)], tops, "s")
    assert made.nan is not None
    assert made.nan.tolist() == [0, 0, 1, 0]
    expected = [-1, -1, -1, 4]
    assert made.top_ids[:, 0].tolist() == expected
    assert made.rank.tolist() == [
        0,
        0,
        0,
        1,
    ]


# -- importers


def imported(folder: Path, line: str, form: str = "jsonl") -> Any:
    path = folder / "dump.jsonl"
    path.write_text(line + "\n")
    import_session(form, [str(path)], folder / "s")
    return open_session(folder / "s")


@pytest.mark.parametrize("written", ["NaN", '"NaN"', '"nan"', '" NaN "'])
def test_a_file_says_nan_null_and_minus_infinity_apart(
    tmp_path: Path, written: str
) -> None:
    values = f'[-1.0, {written}, null, -Infinity, "-Infinity", -9999.0]'
    line = (
        '{"token_ids": [1,2,3,4,5,6,7], "prompt_length": 1, "captures": {"r":'
        f" {values}}}}}"
    )
    found = imported(tmp_path, line).capture("r/recorded")
    expected = [0, 0, 1, 0, 0, 0, 0]
    assert found.nan.whole().tolist() == expected
    np.testing.assert_array_equal(
        found.logprob.whole(), np.float32([NAN, -1, NAN, NAN, -INF, -INF, -INF])
    )


def test_the_first_token_of_a_sequence_is_never_broken(tmp_path: Path) -> None:
    line = '{"token_ids": [1,2], "prompt_length": %d, "captures": {"r": [NaN, -1.0]}}'
    for prompt in (0, 1):
        (folder := tmp_path / str(prompt)).mkdir()
        assert imported(folder, line % prompt).capture("r/recorded").nan is None


@pytest.mark.parametrize(
    ("values", "broken"),
    [
        (
            "[NaN, NaN, NaN, -1.0, -1.0]",
            [],
        ),  # an array without null: nothing of the prompt was scored
        ("[NaN, NaN, NaN, -1.0, NaN]", [1, 2, 4]),
        (
            "[NaN, NaN, -1.0, -1.0, -1.0]",
            [1],
        ),  # a number beside it: the prompt was scored
        ("[null, NaN, null, -1.0, -1.0]", []),
    ],
)
def test_nan_that_fills_up_prompts_is_no_score(
    tmp_path: Path, values: str, broken: list[int]
) -> None:
    line = (
        '{"token_ids": [1,2,3,4,5], "prompt_length": 3, "captures": {"r":'
        f" {values}}}}}"
    )
    (tmp_path / "dump.jsonl").write_text(line + "\n")
    said = import_session("jsonl", [str(tmp_path / "dump.jsonl")], tmp_path / "s")
    nan = open_session(tmp_path / "s").capture("r/recorded").nan
    assert ([] if nan is None else places(nan.whole())) == broken
    assert any("filled in" in sentence for sentence in said) is not bool(broken)


@pytest.mark.parametrize("written", ['"none"', "true", "Infinity", "[]"])
def test_other_texts_are_refused(tmp_path: Path, written: str) -> None:
    with refused(r"captures\.r\.logprobs\[1\]"):
        imported(
            tmp_path, f'{{"token_ids": [1,2], "captures": {{"r": [null, {written}]}}}}'
        )


def test_alternatives_without_a_number_are_left_out(tmp_path: Path) -> None:
    body = (
        '{"logprobs": [NaN, -1.0], "top_ids": [[5, 6], [7, 8]], "top_logprobs": [[NaN,'
        " NaN], [null, -1.0]]}"
    )
    session = imported(
        tmp_path,
        f'{{"token_ids": [1,2,3], "prompt_length": 1, "captures": {{"r": {body}}}}}',
    )
    expected = [[-1], [-1], [8]]
    assert session.capture("r/recorded").top_ids.whole().tolist() == expected


def test_an_openai_answer_with_nan(tmp_path: Path) -> None:
    logprobs = {
        "tokens": ["token_id:4", "token_id:5"],
        "token_logprobs": [NAN, -0.5],
        "top_logprobs": None,
    }
    answer = {
        "choices": [
            {"prompt_token_ids": [9], "logprobs": logprobs, "finish_reason": "stop"}
        ]
    }
    session = imported(tmp_path, json.dumps(answer), "openai")
    expected = [0, 1, 0]
    assert session.capture(session.captures[0].label).nan.whole().tolist() == expected


def test_prime_rl_null_stays_unknown_and_masked_places_say_nothing(
    tmp_path: Path,
) -> None:
    line = {
        "schema_version": 1,
        "token_ids": [5, 6, 7, 8, 9],
        "loss_mask": [False, False, True, False, True],
        "inference_logprobs": [0.0, 0.0, None, NAN, NAN],
        "trainer_logprobs": [-11.0, -1.0, -2.0, -3.0, None],
    }
    session = imported(tmp_path, json.dumps(line), "prime-rl")
    pair = make_pair(session, "trainer/prefill", "inference/recorded")
    assert places(pair.nan_a) == []
    assert places(pair.nan_b) == [4]
    assert places(pair.missing_a) == []
    assert places(pair.missing_b) == [2]


def test_a_copied_session_keeps_its_flags(tmp_path: Path) -> None:
    write_session(tmp_path / "s", [2], [capture(A, [[*PROMPT, BROKEN]])])
    import_session("session", [str(tmp_path / "s")], tmp_path / "copy")
    nan = open_session(tmp_path / "copy").capture(A).nan
    assert nan is not None
    expected = [0, 0, 1]
    assert nan.whole().tolist() == expected


# -- gate, metrics and limits


def reasons(pair: Pair, scope: Any = "completion") -> dict[str, tuple[str, str]]:
    return {
        reason.code: (reason.severity, reason.text)
        for reason in judge(pair.session, pair, scope).reasons
    }


def counts(pair: Pair, scope: Any = "completion") -> dict[str, float | int | None]:
    return {
        key: value for key, value in coverage(pair, scope).to_json().items() if value
    }


@pytest.mark.parametrize("side", ["a", "b"])
@pytest.mark.parametrize(
    ("broken", "severity", "said"),
    [
        (
            [4],
            "caution",
            "gave NaN on 1 completion token (which is token 4 of sequence 0): ",
        ),
        (
            [3, 4],
            "caution",
            "gave NaN on 2 completion tokens (the first is token 3 of sequence 0): ",
        ),
        ([2, 3, 4], "not_comparable", " (the first is token 2 of sequence 0): "),
    ],
)
def test_the_gate_says_which_side_gave_nan_and_where(
    tmp_path: Path, side: str, broken: list[int], severity: str, said: str
) -> None:
    good = [*PROMPT, -1.0, -2.0, -3.0]
    bad = [BROKEN if i in broken else value for i, value in enumerate(good)]
    pair = pair_of(
        tmp_path / "s",
        [bad if side == "a" else good],
        [bad if side == "b" else good],
        labels=(A, "v/prefill"),
    )
    found = reasons(pair)
    assert set(found) == {"nan"}  # neither "empty" nor "unscored": nothing is missing
    assert found["nan"][0] == severity
    assert found["nan"][1].startswith((A, "v/prefill")[side == "b"])
    assert said in found["nan"][1]
    assert counts(pair) == {"nan": len(broken), f"nan_{side}": len(broken)}


@pytest.mark.parametrize(
    ("dtype", "words"),
    [
        (
            "float16",
            (
                "float16 ends at 65,504 and its numbers overflowed: run it in bfloat16"
                " or float32."
            ),
        ),
        (
            "bfloat16",
            (
                "bfloat16 hardly overflows, so its weights or a kernel are broken: look"
                " for NaN or infinity in"
            ),
        ),
        (
            None,
            (
                "its dtype is not known, and float16 overflows: run it in bfloat16 or"
                " float32"
            ),
        ),
    ],
)
def test_the_dtype_makes_a_reason_likely(
    tmp_path: Path, dtype: str | None, words: str
) -> None:
    bad = capture(
        A, [[NAN, BROKEN, BROKEN]], dtype=dtype or "auto", facts={"dtype": dtype}
    )
    session = write_session(tmp_path / "s", [2], [bad, capture(B, [[NAN, NAN, -1.0]])])
    severity, text = reasons(make_pair(session, A, B))["nan"]
    assert severity == "not_comparable"
    assert text.startswith(f"{A} gave NaN on every token: {words}")


def test_nan_in_prompts_alone_is_a_caution_and_fails_a_check_of_completions(
    tmp_path: Path,
) -> None:
    rows = [[NAN, BROKEN, -1.0], [NAN, -1.0, -1.0]]
    pair = pair_of(tmp_path / "s", rows, [[NAN, NAN, -1.0]] * 2)
    severity, text = reasons(pair)["nan"]
    assert severity == "caution"
    assert "1 prompt token (which is token 1 of sequence 0)" in text
    expected = {"nan": 1, "nan_a": 1}
    assert counts(pair) == expected
    assert failing(pair) == ["coverage.nan"]


def test_both_sides_with_nan_are_both_named_and_counted_once(tmp_path: Path) -> None:
    pair = pair_of(
        tmp_path / "s",
        [[*PROMPT, BROKEN, BROKEN, -1.0]],
        [[*DECODED, BROKEN, -1.0, -1.0]],
    )
    texts = [
        reason.text
        for reason in judge(pair.session, pair, "completion").reasons
        if reason.code == "nan"
    ]
    found = [text.split(" ")[0] for text in texts]
    assert found == [A, B]
    expected = {"nan": 2, "nan_a": 2, "nan_b": 1}
    assert counts(pair) == expected


def test_masked_nan_and_masked_gaps_are_silent(tmp_path: Path) -> None:
    a = [*PROMPT, BROKEN, NAN, -1.0]
    b = [*DECODED, -1.0, -1.0, -1.0]
    pair = pair_of(tmp_path / "s", [a], [b], masks=[[1, 1, 0, 0, 1]])
    assert reasons(pair) == {}
    assert counts(pair) == {}
    assert failing(pair) == []


@pytest.mark.parametrize("holes", [1, 3])
def test_the_gate_counts_missing_scores_by_side(tmp_path: Path, holes: int) -> None:
    full = [*DECODED, *[-1.0] * 4]
    bare = [*PROMPT, *[NAN] * holes, *[-1.0] * (4 - holes)]
    pair = pair_of(
        tmp_path / "s",
        [full, bare],
        [[*DECODED, -1.0, NAN, -1.0, -1.0], full],
        labels=("t/decode", B),
    )
    texts = [
        reason.text
        for reason in judge(pair.session, pair, "completion").reasons
        if reason.code == "unscored"
    ]
    assert (
        f"t/decode has no score for {holes} of the 7 completion tokens that {B} scored"
        in texts[0]
    )
    assert (
        f"{B} has no score for 1 of the {8 - holes} completion tokens that t/decode"
        " scored" in texts[1]
    )
    share = (holes + 1) / 8
    assert counts(pair) == {
        "unscored": holes + 1,
        "unscored_a": holes,
        "unscored_b": 1,
        "unscored_fraction": pytest.approx(share),
    }


def failing(pair: Pair, *highest: str) -> list[str]:
    measured = measure_pair(pair, default_scope(pair.sequences))
    session = MeasuredSession(name="s", state="complete", pairs=(measured,))
    limits = parse_limits(highest, [])
    results = check_session(session, limits, required="not_comparable")
    for result in results:
        assert result.ok or "\n" not in str(result.reason)
    return [result.metric for result in results if not result.ok]


@pytest.mark.parametrize(
    ("bad", "limits", "broken"),
    [
        ([-1.0, -1.0, -1.0], (), []),
        ([BROKEN, -1.0, -1.0], (), ["coverage.nan"]),
        ([BROKEN, NAN, -1.0], (), ["coverage.nan", "coverage.unscored"]),
        ([BROKEN, BROKEN, BROKEN], (), ["tokens", "coverage.nan"]),
        ([NAN, NAN, -1.0], (), ["coverage.unscored"]),
        ([NAN, NAN, -1.0], ("unscored=2",), []),
        ([NAN, NAN, -1.0], ("unscored_b=2",), []),
        ([NAN, NAN, -1.0], ("unscored_fraction=0.7",), []),
        ([NAN, NAN, -1.0], ("unscored=1",), ["coverage.unscored"]),
        ([BROKEN, NAN, -1.0], ("unscored=1",), ["coverage.nan"]),
        ([BROKEN, -1.0, -1.0], ("nan=1",), []),
        ([BROKEN, -1.0, -1.0], ("mae=1", "infinite=0"), ["coverage.nan"]),
    ],
)
def test_check_fails_by_default_unless_allowed(
    tmp_path: Path, bad: list[float], limits: tuple[str, ...], broken: list[str]
) -> None:
    pair = pair_of(tmp_path / "s", [[*PROMPT, -1.0, -1.0, -1.0]], [[*DECODED, *bad]])
    assert failing(pair, *limits) == broken


def test_minus_infinity_has_its_own_limit(tmp_path: Path) -> None:
    assert (
        failing(
            pair_of(tmp_path / "s", [[*PROMPT, -1.0, -INF]], [[*DECODED, -1.0, -1.0]])
        )
        == []
    )


@pytest.mark.parametrize(
    "engine", [[NAN, NAN, -1.0, NAN, -1.0], [NAN, NAN, NAN, NAN, -1.0]]
)
def test_masked_tool_output_of_an_export_fails_no_check(
    tmp_path: Path, engine: list[float]
) -> None:
    mask = [1, 1, 1 if engine[2] == -1.0 else 0, 0, 1]
    pair = pair_of(
        tmp_path / "s",
        [[NAN, *[-1.0] * 4]],
        [engine],
        labels=(A, "r/recorded"),
        masks=[mask],
    )
    assert failing(pair) == []


@pytest.mark.parametrize(
    "name", ["nan", "nan_a", "unscored", "unscored_b", "unscored_fraction"]
)
def test_the_matrix_and_limits_know_the_numbers(tmp_path: Path, name: str) -> None:
    pair = pair_of(
        tmp_path / "s", [[*PROMPT, BROKEN, -1.0, -1.0]], [[*DECODED, -1.0, NAN, -1.0]]
    )
    path = resolve(name)
    assert path == f"coverage.{name}"
    wanted = 0.5 if name == "unscored_fraction" else 1.0
    assert metric_value(pair, path, "completion") == wanted


def test_the_command_says_why_in_one_line(tmp_path: Path, run_logdrift: Any) -> None:
    pair_of(tmp_path / "s", [[*PROMPT, BROKEN, -1.0]], [[*DECODED, -1.0, -1.5]])
    done = run_logdrift("check", tmp_path / "s", "--max", "mae=9", "--json")
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"logdrift: {A}:{B} coverage.nan: {A} gave NaN on 1 completion token"
    )
    assert done.stderr.endswith("allow it with --max nan=1\n")
    assert done.stderr.count("\n") == 1
    assert (
        run_logdrift(
            "check", tmp_path / "s", "--max", "mae=9", "--max", "nan=1"
        ).returncode
        == 0
    )


# -- why


def rough(*, seed: int, tokens: int = 60) -> list[float]:
    return [
        NAN,
        *(-np.abs(np.random.default_rng(seed).normal(1.0, 0.02, tokens - 1))).tolist(),
    ]


def broken_at(row: list[float], flags: slice | int) -> list[float]:
    values = np.asarray(row, np.float64)
    values[flags] = BROKEN
    return values.tolist()


@pytest.mark.parametrize("side", ["a", "b", "both"])
@pytest.mark.parametrize("flags", [41, slice(40, 60), slice(1, 60), slice(1, 40)])
def test_nan_is_the_first_cause_and_never_noise(
    tmp_path: Path, side: str, flags: slice | int
) -> None:
    a = rough(seed=1)
    b = rough(seed=2)
    a = broken_at(a, flags) if side != "b" else a
    b = broken_at(b, flags) if side != "a" else b
    pair = pair_of(tmp_path / "s", [a] * 2, [b] * 2, prompt=40, labels=(A, "v/prefill"))
    found = diagnose(pair.session, pair)
    first = found.causes[0]
    assert first.cause == "overflow"
    assert first.sureness == "certain"
    assert [each.numbers["side"] for each in first.evidence] == [
        label for label, wanted in ((A, "b"), ("v/prefill", "a")) if side != wanted
    ]
    assert not found.noise
    assert not any(each.cause in ("noise", "compute_dtype") for each in found.causes)
    assert found.verdict.startswith("broken numbers: ")
    assert "noise" not in found.verdict
    assert all(
        np.isnan(pair.delta[at]) for each in first.evidence for at in each.positions
    )
    assert first.next_experiment


def test_facts_that_differ_explain_no_pair_without_a_number(tmp_path: Path) -> None:
    half = capture(
        A, [[NAN, BROKEN, BROKEN]], dtype="float16", facts={"dtype": "float16"}
    )
    pair = make_pair(
        write_session(tmp_path / "s", [1], [half, capture(B, [[NAN, -1.0, -1.0]])]),
        A,
        B,
    )
    found = diagnose(pair.session, pair)
    assert [each.cause for each in found.causes] == ["overflow"]
    assert "every token: float16 ends at 65,504" in found.verdict
    assert found.size["mae"] is None
    text = paint_text(
        why_document(explain_session(pair.session, [(A, B)]).pairs), Canvas(width=80)
    )
    assert "MAE -" in text
    assert "noise" not in text.partition("Not checked")[0]
    assert "run it in bfloat16 or float32" in " ".join(text.split())
    dump(
        explain_session(pair.session, [(A, B)]).to_json()
    )  # strict JSON: no NaN reaches it


@pytest.mark.parametrize("holes", [1, 20])
def test_scores_that_one_side_lacks_are_said_beside_noise(
    tmp_path: Path, holes: int
) -> None:
    a = rough(seed=1)
    b = rough(seed=2)
    b[60 - holes :] = [NAN] * holes
    pair = pair_of(tmp_path / "s", [a] * 4, [b] * 4, prompt=30)
    found = diagnose(pair.session, pair)
    assert found.unchecked[0].cause == "unscored"
    assert (
        f"{B} has no score for {4 * holes} of 120 completion tokens"
        in found.unchecked[0].why
    )
    assert "nothing to fix" not in found.verdict
    assert found.unchecked[0].why in found.verdict


def test_masked_nan_explains_nothing(tmp_path: Path) -> None:
    mask = [1] * 40 + [0] + [1] * 19
    pair = pair_of(
        tmp_path / "s",
        [broken_at(rough(seed=1), 40)],
        [rough(seed=2)],
        masks=[mask],
        prompt=20,
    )
    assert "overflow" not in [
        each.cause for each in diagnose(pair.session, pair).causes
    ]


@pytest.mark.parametrize(
    ("planned", "said"),
    [(True, f"--pair {A}:{B} --layers 1:2 names the first layer"), (False, "")],
)
def test_the_layers_are_offered_where_both_engines_can_be_started_again(
    tmp_path: Path, planned: bool, said: str
) -> None:
    rows = [[NAN, -1.0, -1.0], [NAN, -1.0, BROKEN]]
    captures = [capture(A, rows), capture(B, [[NAN, -1.0, -1.0]] * 2)]
    backends = [
        {"name": "trainer", "engine": "transformers"},
        {"name": "vllm", "engine": "vllm"},
    ]
    plan = {"model": "m", "backends": backends, "prompts": []} if planned else {}
    session = write_session(tmp_path / "s", [1, 1], captures, plan=plan)
    step = str(diagnose(session, make_pair(session, A, B)).causes[0].next_experiment)
    assert said in step
    assert ("--layers" in step) is planned


# -- report


def test_the_report_says_nan_first_and_what_its_numbers_leave_out(
    tmp_path: Path,
) -> None:
    pair = pair_of(
        tmp_path / "s", [[*PROMPT, BROKEN, NAN, -1.0]], [[*DECODED, -1.0, -1.0, -1.5]]
    )
    typed = report_on(pair.session)
    report = typed.to_json()
    text = " ".join(paint_text(session_text(typed), Canvas(width=80)).split())
    assert text.startswith(f"BROKEN {A} gave NaN on 1 completion token")
    without = f"left out: 1 token NaN in {A}, 1 token not scored in {A}"
    assert text.count(without) == 2
    assert without in paint_markdown(comment(typed))
    page = html_of(typed, pair.session)
    assert without in page
    assert '<span class="nan" title="2: Δ -&#10;' not in page
    assert 'class="nan"' in page
    assert "A NaN, rank ?" in page
    assert report["pairs"][0]["coverage"]["nan_a"] == 1
    assert json.loads(dump(report))["pairs"][0]["coverage"]["unscored_fraction"] == 0.5


def test_a_report_without_broken_numbers_says_nothing_of_them(tmp_path: Path) -> None:
    pair = pair_of(tmp_path / "s", [[*PROMPT, -2.0, -1.0]], [[*DECODED, -1.0, -1.0]])
    typed = report_on(pair.session)
    page = html_of(typed, pair.session)
    document = session_text(typed)
    for text in (
        paint_text(document, Canvas(width=80)),
        paint_markdown(comment(typed)),
    ):
        assert "BROKEN" not in text
        assert "left out:" not in text
    assert 'class="nan"' not in page


def test_a_published_limit_that_holds_without_the_nan_is_not_judged(
    tmp_path: Path,
) -> None:
    """One that is broken is broken without them too."""
    pair = pair_of(
        tmp_path / "s", [[*PROMPT, BROKEN, -1.0, -1.1]], [[*DECODED, -1.0, -1.1, -1.0]]
    )
    judged = {
        (x["metric"], x["limit"]): x
        for x in report_pair(pair, "completion")["thresholds"]
    }
    assert judged["mismatch.k1", 0.1]["ok"] is None
    assert judged["mismatch.k1", 0.1]["note"] == "leaves out 1 token that is NaN"
    assert judged["probability.mae", 0.005]["ok"] is False
