"""Running servers that fail: each is a real HTTP server on loopback over a model that is
a formula, so every number can be computed again.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from logdrift.core.engines import ENGINES
from logdrift.core.engines.vllm.server import VllmServer
from logdrift.core.errors import LogdriftError
from logdrift.core.plan import BackendSpec, SamplingSpec
from logdrift.core.plan.server import base_address
from logdrift.core.servers import retries
from tests.attaching import IDS, TOP_K, asking, attached, quiet, refusal, settings_of
from tests.served import (
    LENGTH,
    MODEL,
    Asked,
    Formula,
    Json,
    Reply,
    best,
    logprobs_after,
    scored,
    serving,
)

# -- a server that does what it should


def test_scores_are_the_server_s_to_the_last_bit() -> None:
    done: list[tuple[int, int]] = []
    with asking(Formula()) as backend:
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
    with asking(Formula()) as backend:
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
    assert facts.engine == "vllm"
    assert facts.engine_version == "0.32.0"
    assert facts.max_length == 128
    assert facts.extra["served_model"] == MODEL
    assert facts.weights_digest is None
    assert facts.decode_logprobs == "raw"
    assert facts.probed == ("decode_logprobs",)
    assert len(served.requests("/v1/completions")) == 2


def test_a_server_behind_a_proxy_of_v1_alone() -> None:
    formula = Formula()

    def only_v1(asked: Asked) -> Reply:
        if asked.path.startswith("/v1/"):
            return formula(asked)
        return Reply({"detail": "Not Found"}, 404)

    with serving(only_v1) as served, attached(served) as backend:
        facts = backend.open()
        backend.score(IDS, quiet)
    assert facts.engine_version == "0.32.0"


@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/"])
def test_the_address_of_a_client_of_openai_is_taken(end: str) -> None:
    assert base_address(f"http://host:8000/llm{end}") == "http://host:8000/llm"


def test_a_dtype_is_believed_and_said_to_be_told() -> None:
    with serving(Formula()) as served:
        spec = BackendSpec("mu", "vllm", "bfloat16", server=served.address)
        backend = VllmServer(replace(settings_of(served), spec=spec))
        facts = backend.open()
        backend.close()
    assert facts.dtype == "bfloat16"
    assert facts.told == ("dtype",)


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

    with asking(Formula(every_third)) as backend:
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
    with asking(formula) as backend:
        formula.twist = first_is_cut
        found = backend.score(IDS, quiet)
    assert len(lost) == 3
    assert found[2].logprob[1:].tolist() == scored(IDS[2].tolist())


def test_no_two_tries_have_one_name() -> None:
    """A server may still be at work for a try whose connection was lost."""
    formula = Formula()
    with asking(formula) as backend:
        lost: list[Asked] = []

        def cut_twice(answer: Json, asked: Asked) -> Json | Reply:
            lost.append(asked)
            return Reply(answer, cut=len(lost) <= 2)

        formula.twist = cut_twice
        backend.score(IDS[:1], quiet)
    names = [one.body["request_id"] for one in lost]
    assert len(set(names)) == len(names) == 3


def test_a_server_started_again_in_time_is_gone_on_with() -> None:
    fallen = threading.Event()

    def falls(answer: Json, asked: Asked) -> Json | Reply:
        fallen.set()
        return Reply(hang=True)

    formula = Formula()
    with serving(formula) as served, attached(served, patience=60) as backend:
        backend.open()
        formula.twist = falls
        with ThreadPoolExecutor(1) as pool:
            scoring = pool.submit(backend.score, IDS, quiet)
            assert fallen.wait(30)
            served.close()
            with serving(Formula(), served.port):
                found = scoring.result(60)
    for ids, scores in zip(IDS, found, strict=True):
        assert scores.logprob[1:].tolist() == scored(ids.tolist())


def test_no_proxy_stands_before_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with asking(Formula()) as backend:
        assert backend.limit == LENGTH


def test_an_answer_that_cannot_be_unpacked_is_one_that_was_lost() -> None:
    zipped = Reply(text="no zip", headers={"Content-Encoding": "gzip"})
    error = refusal(lambda answer, asked: zipped, patience=0.5)
    assert "the connection was lost" in error.reason


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
    with asking(formula) as backend:
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
    with asking(formula) as backend:
        assert backend.limit == LENGTH


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
