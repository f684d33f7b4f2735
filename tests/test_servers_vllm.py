"""vLLM's protocol against small servers that lie or tell: real HTTP servers on loopback
over a model that is a formula.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from logdrift.core.errors import LogdriftError
from logdrift.core.plan import SamplingSpec
from logdrift.core.worker.base import MismatchError
from tests.attaching import IDS, TOP_K, asking, attached, quiet, refusal
from tests.served import (
    Asked,
    Formula,
    Json,
    Reply,
    Twist,
    serving,
)

# -- servers that lie


def changed(change: Callable[[Json], None]) -> Twist:
    """A twist that changes the one choice of each answer."""

    def twist(answer: Json, asked: Asked) -> Json | Reply:
        change(answer["choices"][0])
        return answer

    return twist


def other_prompt(choice: Json) -> None:
    choice["prompt_token_ids"][-1] += 1


def no_prompt(choice: Json) -> None:
    del choice["prompt_token_ids"]


def row_less(choice: Json) -> None:
    choice["prompt_logprobs"].pop()


def row_more(choice: Json) -> None:
    choice["prompt_logprobs"].append(choice["prompt_logprobs"][-1])


def first_is_scored(choice: Json) -> None:
    choice["prompt_logprobs"][0] = choice["prompt_logprobs"][1]


def row_of_another_token(choice: Json) -> None:
    rows = choice["prompt_logprobs"]
    rows[3], rows[5] = rows[5], rows[3]


def null_row(choice: Json) -> None:
    choice["prompt_logprobs"][4] = None


def set_logprob(value: Any) -> Callable[[Json], None]:
    def change(choice: Json) -> None:
        row = choice["prompt_logprobs"][4]
        next(iter(row.values()))["logprob"] = value

    return change


def alternative_less(choice: Json) -> None:
    choice["prompt_logprobs"][4].popitem()
    choice["prompt_logprobs"][4].popitem()


def one_alternative_less(choice: Json) -> None:
    for row in choice["prompt_logprobs"][1:]:
        row.popitem()


def alternative_by_text(choice: Json) -> None:
    row = choice["prompt_logprobs"][4]
    row["the"] = row.popitem()[1]


SCORING_LIES = [
    (other_prompt, "prompt_token_ids has id"),
    (no_prompt, "no prompt_token_ids: a newer vLLM"),
    (row_less, "8 entries of prompt_logprobs for 9 tokens"),
    (row_more, "10 entries of prompt_logprobs for 9 tokens"),
    (first_is_scored, "scores the first token"),
    (row_of_another_token, "no score of id"),
    (null_row, "prompt_logprobs is missing or no object"),
    (set_logprob(None), "null where a number must be"),
    (set_logprob("-1"), "'-1' where a number must be"),
    (set_logprob(True), "True where a number must be"),
    (set_logprob(0.5), "above 0"),
    (set_logprob(float("nan")), "it holds NaN"),
    (alternative_less, "alternatives of a token, where 4 were asked"),
    (one_alternative_less, "alternatives of a token, where 4 were asked"),
    (alternative_by_text, "not by id"),
]


@pytest.mark.parametrize(("lie", "said"), SCORING_LIES)
def test_wrong_scores_are_refused(lie: Callable[[Json], None], said: str) -> None:
    error = refusal(changed(lie))
    assert isinstance(error, MismatchError)
    assert said in error.reason
    assert "of the part (logdrift-" in error.reason


def other_completion(choice: Json) -> None:
    choice["token_ids"][2] ^= 1


def longer_completion(choice: Json) -> None:
    choice["token_ids"].append(3)


def no_alternative(choice: Json) -> None:
    choice["logprobs"]["top_logprobs"][0] = {}


def without_prefix(choice: Json) -> None:
    top = choice["logprobs"]["top_logprobs"][0]
    top["12"] = top.popitem()[1]


def endless_id(choice: Json) -> None:
    top = choice["logprobs"]["top_logprobs"][0]
    top["token_id:" + "9" * 5000] = top.popitem()[1]


def null_logprob(choice: Json) -> None:
    choice["logprobs"]["token_logprobs"][1] = None


def aborted(choice: Json) -> None:
    choice["finish_reason"] = "abort"


def beyond_the_request(choice: Json) -> None:
    for values in choice["logprobs"].values():
        values.extend(values)
    choice["token_ids"] *= 2


def no_token(choice: Json) -> None:
    choice["token_ids"] = []
    choice["logprobs"] = {"tokens": [], "token_logprobs": [], "top_logprobs": []}


COMPLETION_LIES = [
    (other_prompt, "prompt_token_ids has id"),
    (other_completion, "its score is not"),
    (longer_completion, "5 entries of tokens for 6 tokens"),
    (no_alternative, "1 alternatives of a token, where 4 were asked"),
    (without_prefix, "top_logprobs names a token as '12', not by id"),
    (endless_id, "not by id"),
    (null_logprob, "null where a number must be"),
    (aborted, "it ended with 'abort'"),
    (beyond_the_request, "10 tokens, where 5 were asked"),
    (no_token, "0 tokens, where 5 were asked"),
]


@pytest.mark.parametrize(("lie", "said"), COMPLETION_LIES)
def test_wrong_completions_are_refused(lie: Callable[[Json], None], said: str) -> None:
    error = refusal(changed(lie), "generate")
    assert isinstance(error, MismatchError)
    assert said in error.reason


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(text="<html>hello"), "the answer is no JSON"),
        (Reply([]), "the answer is no object"),
        (Reply({}), "choices is missing or no list"),
        (Reply({"choices": []}), "0 choices, where one was asked"),
        (Reply(text="[" * 100_000), "the answer is no JSON"),
    ],
)
def test_what_is_no_answer_is_refused(reply: Reply, said: str) -> None:
    assert said in refusal(lambda a, b: reply).reason


def test_an_answer_of_another_model_is_refused() -> None:
    def other_model(answer: Json, asked: Asked) -> Json:
        return {**answer, "model": "other"}

    assert "it is of model 'other'" in refusal(other_model).reason


# -- vLLM's endpoint for tokens


def test_both_endpoints_give_the_same() -> None:
    found = []
    for endpoint in ("completions", "generate"):
        formula = Formula()
        with serving(formula) as served, attached(served, endpoint=endpoint) as backend:
            backend.open()
            made = backend.generate(IDS, [1, 2, 3], quiet)
            scores = backend.score(IDS, quiet)
        found.append((made, scores))
    for one, other in zip(found[0][0], found[1][0], strict=True):
        assert one.token_ids.tolist() == other.token_ids.tolist()
        np.testing.assert_array_equal(one.scores.logprob, other.scores.logprob)
        # Of a token that is not among the best the last alternative is not told, and
        # its rank is.
        told = other.scores.top_ids >= 0
        assert told[len(IDS[0]) :, : TOP_K - 1].all()
        np.testing.assert_array_equal(
            one.scores.top_ids[told], other.scores.top_ids[told]
        )
        assert (other.scores.rank[len(IDS[0]) :] > 0).all()
    for one, other in zip(found[0][1], found[1][1], strict=True):
        for name in ("logprob", "rank", "top_ids", "top_logprobs"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def floored(answer: Json, asked: Asked) -> Json:
    answer["choices"][0]["logprobs"]["content"][1]["logprob"] = -9999.0
    return answer


def exchanged(answer: Json, asked: Asked) -> Json:
    content = answer["choices"][0]["logprobs"]["content"]
    content[0], content[1] = content[1], content[0]
    return answer


@pytest.mark.parametrize(
    ("twist", "said"),
    [(floored, "which was sampled, is no number"), (exchanged, "is of id")],
)
def test_wrong_tokens_are_refused(twist: Twist, said: str) -> None:
    error = refusal(twist, "generate", endpoint="generate")
    assert isinstance(error, MismatchError)
    assert said in error.reason


# -- what a server in development mode tells


def test_the_mode_that_a_server_tells_is_not_probed() -> None:
    formula = Formula()
    formula.config = {
        "model_config": {
            "logprobs_mode": "processed_logprobs",
            "dtype": "torch.float16",
            "quantization": None,
        },
        "scheduler_config": {"max_num_seqs": 12},
        "compilation_config": {"mode": 0, "cudagraph_mode": 0},
    }
    half = SamplingSpec(temperature=0.5)
    with serving(formula) as served, attached(served, half) as backend:
        facts = backend.open()
    assert facts.decode_logprobs == "temperature_scaled"
    assert facts.probed == ()
    assert facts.dtype == "float16"
    assert facts.quantization == "none"
    assert facts.max_batch_sequences == 12
    assert facts.execution_mode == "eager"


def test_a_server_of_logits_is_refused() -> None:
    formula = Formula()
    formula.config = {"model_config": {"logprobs_mode": "raw_logits"}}
    refused = pytest.raises(LogdriftError, match="gives no log-probabilities")
    with serving(formula) as served, attached(served) as backend, refused:
        backend.open()


@pytest.mark.parametrize("told", [None, [], "x", {"vllm_config": "text"}, {"a": 1}])
def test_a_server_that_tells_something_else(told: Any) -> None:
    formula = Formula()
    formula.config = told
    with serving(formula) as served, attached(served) as backend:
        assert backend.open().decode_logprobs == "raw"


def test_a_server_started_again_with_other_settings_is_noticed() -> None:
    formula = Formula()
    with serving(formula) as served, attached(served) as backend:
        facts = backend.open()
        formula.fingerprint = "vllm-0.32.0-2"
        with pytest.raises(LogdriftError, match="with other settings meanwhile"):
            backend.score(IDS, quiet)
    assert facts.extra["system_fingerprint"] == "vllm-0.32.0-1"


# -- versions of the weights


def test_weights_that_were_never_updated_have_no_version() -> None:
    formula = Formula()
    formula.versions = [{"version": "default", "start": 0, "end": 1}]
    with asking(formula, endpoint="generate") as backend:
        formula.versions[0]["end"] = 5
        made = backend.generate(IDS, [1, 2, 3], quiet)
        backend.score(IDS, quiet)
    found = [one.scores.versions for one in made]
    assert found == [None] * 3


def test_a_sequence_may_be_of_two_versions() -> None:
    formula = Formula()
    formula.versions = [{"version": "7", "start": 0, "end": 1}]
    with asking(formula, endpoint="generate") as backend:
        newer = {"version": "8", "start": 2, "end": 5}
        formula.versions = [{"version": "7", "start": 0, "end": 2}, newer]
        made = backend.generate(IDS, [1, 2, 3], quiet)
        newer["end"] = 9
        with pytest.raises(MismatchError, match="5 tokens were sampled"):
            backend.generate(IDS, [1, 2, 3], quiet)
    assert backend.version == "7"
    for ids, one in zip(IDS, made, strict=True):
        assert one.scores.versions == ((None, len(ids)), ("7", 2), ("8", 3))
