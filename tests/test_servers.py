"""Running servers that fail and lie: each is a real HTTP server on loopback over a
model that is a formula, so every number can be computed again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from logdrift.core.engines import ENGINES
from logdrift.core.engines.vllm.server import VllmServer
from logdrift.core.errors import LogdriftError
from logdrift.core.plan import BackendSpec, SamplingSpec
from logdrift.core.servers import retries
from logdrift.core.worker.base import BackendSettings, MismatchError
from tests.served import (
    MODEL,
    Asked,
    Formula,
    Json,
    Reply,
    Served,
    Twist,
    best,
    logprobs_after,
    scored,
    serving,
)

TOP_K = 4
IDS = [np.arange(start, start + 9, dtype=np.int32) for start in (1, 5, 20)]


def settings_of(
    served: Served, sampling: SamplingSpec | None = None, **options: Any
) -> BackendSettings:
    quick = {"patience": 5, **options}
    spec = BackendSpec("mu", "vllm", server=served.address, options=quick)
    return BackendSettings(
        model=MODEL,
        revision=None,
        spec=spec,
        sampling=sampling or SamplingSpec(max_tokens=5),
        paths=("decode", "prefill"),
        top_k=TOP_K,
        max_length=40,
        max_prompts=8,
    )


@contextmanager
def attached(
    served: Served, sampling: SamplingSpec | None = None, **options: Any
) -> Iterator[VllmServer]:
    backend = VllmServer(settings_of(served, sampling, **options))
    try:
        yield backend
    finally:
        backend.close()


def quiet(sequences: int, tokens: int) -> None:
    """Progress that nobody watches."""


def refusal(twist: Twist, path: str = "score", **options: Any) -> LogdriftError:
    """How a server that twists its answers is refused, once it was opened."""
    formula = Formula()
    with serving(formula) as served, attached(served, **options) as backend:
        backend.open()
        formula.twist = twist
        work = {
            "score": lambda: backend.score(IDS, quiet),
            "generate": lambda: backend.generate(IDS, [1, 2, 3], quiet),
        }
        with pytest.raises(LogdriftError) as caught:
            work[path]()
    line = str(caught.value)
    assert served.address in line
    assert "\n" not in line
    return caught.value


# -- a server that does what it should


def test_scores_are_the_server_s_to_the_last_bit() -> None:
    done: list[tuple[int, int]] = []
    with serving(Formula()) as served, attached(served) as backend:
        backend.open()
        found = backend.score(IDS, lambda s, t: done.append((s, t)))
    assert done == [(1, 9)] * 3
    for ids, scores in zip(IDS, found, strict=True):
        assert np.isnan(scores.logprob[0])
        assert scores.rank[0] == 0
        assert scores.logprob[1:].tolist() == scored(ids.tolist())
        for i in range(1, len(ids)):
            row = logprobs_after(ids[:i].tolist())
            assert scores.top_ids[i].tolist() == best(row, TOP_K)
            assert scores.rank[i] == 1 + (row > row[ids[i]]).sum()


def test_completions_are_the_server_s() -> None:
    with serving(Formula()) as served, attached(served) as backend:
        backend.open()
        made = backend.generate(IDS, [1, 2, 3], quiet)
    for ids, one in zip(IDS, made, strict=True):
        whole = one.token_ids.tolist()
        assert whole[: len(ids)] == ids.tolist()
        assert len(whole) == len(ids) + 5
        assert np.isnan(one.scores.logprob[: len(ids)]).all()
        assert one.scores.logprob[len(ids) :].tolist() == scored(whole)[len(ids) - 1 :]


def test_facts_are_told_or_probed() -> None:
    with serving(Formula()) as served, attached(served) as backend:
        facts = backend.open()
    assert (facts.engine, facts.engine_version) == ("vllm", "0.32.0")
    assert facts.max_length == 128
    assert facts.extra["served_model"] == MODEL
    assert facts.weights_digest is None
    assert (facts.decode_logprobs, facts.probed) == ("raw", ("decode_logprobs",))
    assert len(served.requests("/v1/completions")) == 2


def test_a_dtype_is_believed_and_said_to_be_told() -> None:
    with serving(Formula()) as served:
        spec = BackendSpec("mu", "vllm", "bfloat16", server=served.address)
        backend = VllmServer(replace(settings_of(served), spec=spec))
        facts = backend.open()
        backend.close()
    assert (facts.dtype, facts.told) == ("bfloat16", ("dtype",))


@pytest.mark.parametrize(
    ("sampling", "meaning"),
    [
        (SamplingSpec(temperature=0.7), "temperature_scaled"),
        (SamplingSpec(), "raw"),
        (SamplingSpec(temperature=0.0), "raw"),
        (SamplingSpec(top_p=0.9), "processed"),
        (SamplingSpec(repetition_penalty=1.1), "processed"),
    ],
)
def test_the_temperature_in_the_numbers_is_found(
    sampling: SamplingSpec, meaning: str
) -> None:
    formula = Formula(scales=True)
    with serving(formula) as served, attached(served, sampling) as backend:
        assert backend.open().decode_logprobs == meaning


class Gathering(Formula):
    """A server that answers no completion before ``count`` requests are there."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.barrier: threading.Barrier | None = None
        self.count = count

    def gather(self) -> None:
        self.barrier = threading.Barrier(self.count)

    def __call__(self, asked: Asked) -> Reply:
        if self.barrier is not None and asked.method == "POST":
            self.barrier.wait(30)
        return super().__call__(asked)


def test_a_server_gets_few_requests_at_first_and_more_as_it_bears_them() -> None:
    many = [np.arange(1, 6, dtype=np.int32)] * 64
    formula = Gathering(4)
    with serving(formula) as served, attached(served) as backend:
        backend.open()
        formula.gather()
        backend.score(many[:4], quiet)
        assert served.most_at_once == 4
        formula.barrier = None
        backend.score(many, quiet)
        formula.count = 64
        formula.gather()
        backend.score(many, quiet)
        assert served.most_at_once == 64


def test_no_more_requests_at_once_than_allowed() -> None:
    many = [np.arange(1, 6, dtype=np.int32)] * 64
    with serving(Formula()) as served, attached(served, concurrency=3) as backend:
        backend.open()
        backend.score(many, quiet)
        assert 1 <= served.most_at_once <= 3


# -- servers that fail


def test_500_to_every_third_request_loses_nothing() -> None:
    asked: list[Asked] = []

    def every_third(answer: Json, one: Asked) -> Json | Reply:
        asked.append(one)
        if len(asked) % 3 == 0:
            return Reply({"error": {"message": "out of luck"}}, 500)
        return answer

    with serving(Formula(every_third)) as served, attached(served) as backend:
        backend.open()
        found = backend.score(IDS * 4, quiet)
    # 2 probes and 12 sequences, and again what every third of these missed
    assert len(asked) >= 20
    for ids, scores in zip(IDS * 4, found, strict=True):
        assert scores.logprob[1:].tolist() == scored(ids.tolist())


def test_500_to_all_requests_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "FAULTS", 3)
    error = refusal(lambda a, b: Reply({"error": {"message": "no such luck"}}, 500))
    assert "it answered 500: no such luck" in error.reason
    assert "sequence" in error.reason


def test_a_server_that_never_answers() -> None:
    error = refusal(lambda a, b: Reply(hang=True), timeout=0.2)
    assert "gave no whole answer within 0.2 seconds" in error.reason


def test_a_connection_that_is_lost_once_is_made_again() -> None:
    lost: list[int] = []

    def first_is_cut(answer: Json, asked: Asked) -> Json | Reply:
        if len(lost) < 3:
            lost.append(1)
            return Reply(answer, cut=True)
        return answer

    formula = Formula()
    with serving(formula) as served, attached(served) as backend:
        backend.open()
        formula.twist = first_is_cut
        found = backend.score(IDS, quiet)
    assert len(lost) == 3
    assert found[2].logprob[1:].tolist() == scored(IDS[2].tolist())


def test_a_connection_that_is_lost_each_time() -> None:
    error = refusal(lambda answer, asked: Reply(answer, cut=True), patience=0.5)
    assert "the connection was lost" in error.reason
    assert error.remedy is not None
    assert "--resume" in error.remedy


def test_a_server_that_is_not_there() -> None:
    with serving(Formula()) as served:
        pass
    with attached(served, patience=3600) as backend:
        began = time.monotonic()
        with pytest.raises(LogdriftError, match="nothing answers") as caught:
            backend.open()
    # Nobody waits for a wrong address, however patient.
    assert time.monotonic() - began < 60
    assert served.address in str(caught.value)


def test_a_busy_server_is_left_alone_as_long_as_it_asks() -> None:
    times: list[float] = []

    def busy_once(answer: Json, asked: Asked) -> Json | Reply:
        times.append(time.monotonic())
        if len(times) == 1:
            return Reply({"error": "slow down"}, 429, {"Retry-After": "1"})
        return answer

    formula = Formula()
    with serving(formula) as served, attached(served) as backend:
        backend.open()
        formula.twist = busy_once
        backend.score(IDS[:1], quiet)
    assert len(times) == 2
    assert times[1] - times[0] >= 1.0


def test_a_server_that_stays_busy() -> None:
    busy = Reply({"error": "slow down"}, 429, {"Retry-After": "60"})
    error = refusal(lambda a, b: busy, patience=1)
    assert "it answered 429: slow down" in error.reason


def test_a_refusal_is_quoted_and_not_repeated() -> None:
    asked: list[Asked] = []

    def refuse(answer: Json, one: Asked) -> Json | Reply:
        asked.append(one)
        return Reply({"error": {"message": "k is\n too\x1b[31m large"}}, 400)

    error = refusal(refuse)
    assert "it answered 400: k is too" in error.reason
    assert "\x1b" not in str(error)
    names = [one.body["request_id"] for one in asked]
    assert len(names) == len(set(names))


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


def alternative_by_text(choice: Json) -> None:
    row = choice["prompt_logprobs"][4]
    row["the"] = row.popitem()[1]


SCORING_LIES = [
    (other_prompt, "prompt_token_ids has id"),
    (no_prompt, "prompt_token_ids is missing"),
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
    (longer_completion, "5 entries of logprobs.tokens for 6 tokens"),
    (no_alternative, "1 alternatives of a token, where 4 were asked"),
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


# -- another model


def test_a_server_of_another_model_is_noticed() -> None:
    with serving(Formula(model="/ckpt/step-7")) as served:
        with attached(served) as backend, pytest.raises(LogdriftError) as caught:
            backend.open()
        assert f"the session is of {MODEL}" in str(caught.value)
        assert "served_name=/ckpt/step-7" in str(caught.value)
        with attached(served, served_name="/ckpt/step-7") as backend:
            facts = backend.open()
    assert facts.extra["served_model"] == "/ckpt/step-7"


def test_the_same_model_elsewhere_needs_no_word() -> None:
    formula = Formula(model=f"/mnt/models/{MODEL}")
    with serving(formula) as served, attached(served) as backend:
        backend.open()


def test_a_server_that_is_too_short_is_noticed() -> None:
    short = Formula(length=40)
    refused = pytest.raises(LogdriftError, match="takes at most 39 tokens")
    with serving(short) as served, attached(served) as backend, refused:
        backend.open()


# -- what may be asked


CHANGING = ("flush", "reset", "update", "load", "pause", "sleep", "wake", "abort")


def test_nothing_that_changes_a_server_can_be_asked() -> None:
    from logdrift.core.engines.about import resolve

    for engine in ENGINES.values():
        if engine.server is None:
            continue
        for path in resolve(engine.server.backend).paths:
            assert not any(word in path for word in CHANGING), path


def test_only_the_allowed_paths_are_asked() -> None:
    with serving(Formula()) as served, attached(served) as backend:
        backend.open()
        backend.generate(IDS, [1, 2, 3], quiet)
        backend.score(IDS, quiet)
    for one in served.asked:
        path = one.path.partition("?")[0]
        assert VllmServer.paths[path] == one.method
