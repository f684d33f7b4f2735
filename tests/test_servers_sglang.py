"""SGLang's protocol against small servers that fail and lie: real HTTP servers on
loopback over a model that is a formula. `tests.test_servers` has what servers of all
engines have in common.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from logdrift.core.engines.sglang.server import SglangServer
from logdrift.core.errors import LogdriftError
from logdrift.core.plan import BackendSpec, SamplingSpec
from logdrift.core.worker.base import BackendSettings, MismatchError
from tests.served import (
    MODEL,
    VOCABULARY,
    Asked,
    Json,
    Reply,
    Served,
    SglangFormula,
    Twist,
    best,
    logprobs_after,
    scored,
    serving,
)

TOP_K = 4
LAST = VOCABULARY - 1
IDS = [
    np.array(ids, np.int32) for ids in ([1, 2, 3, 4, 5], [7, LAST, 8, LAST, 9, 10], [3])
]


@contextmanager
def attached(
    served: Served, sampling: SamplingSpec | None = None, **options: Any
) -> Iterator[SglangServer]:
    spec = BackendSpec("mu", "sglang", server=served.address, options=options)
    backend = SglangServer(
        BackendSettings(
            model=MODEL,
            revision=None,
            spec=spec,
            sampling=sampling or SamplingSpec(max_tokens=5),
            paths=("decode", "prefill"),
            top_k=TOP_K,
            max_length=40,
            max_prompts=8,
        )
    )
    try:
        yield backend
    finally:
        backend.close()


def quiet(sequences: int, tokens: int) -> None:
    """Progress that nobody watches."""


def test_numbers_are_the_server_s_to_the_last_bit() -> None:
    with serving(SglangFormula()) as served, attached(served) as backend:
        facts = backend.open()
        found = backend.score(IDS, quiet)
        made = backend.generate(IDS, [1, 2, 3], quiet)
    for ids, scores in zip(IDS, found, strict=True):
        assert scores.logprob[1:].tolist() == scored(ids.tolist())
        for i in range(1, len(ids)):
            row = logprobs_after(ids[:i].tolist())
            assert scores.top_ids[i].tolist() == best(row, TOP_K)
    for ids, one in zip(IDS, made, strict=True):
        whole = one.token_ids.tolist()
        assert one.scores.logprob[len(ids) :].tolist() == scored(whole)[len(ids) - 1 :]
    assert facts.engine == "sglang"
    assert facts.engine_version == "0.5.23"
    assert (facts.dtype, facts.prefix_cache) == ("bfloat16", False)
    assert facts.weight_version is None


@pytest.mark.parametrize(
    ("sampling", "meaning"),
    [
        (SamplingSpec(temperature=0.7), "temperature_scaled"),
        (SamplingSpec(temperature=0.7, top_p=0.9), "temperature_scaled"),
        (SamplingSpec(), "raw"),
        (SamplingSpec(repetition_penalty=1.1), "processed"),
    ],
)
def test_the_temperature_in_the_numbers_is_found(
    sampling: SamplingSpec, meaning: str
) -> None:
    with serving(SglangFormula()) as served, attached(served, sampling) as backend:
        facts = backend.open()
    assert facts.decode_logprobs == meaning
    assert facts.probed == ("decode_logprobs",)


def refusal(change: Callable[[Json], None], path: str) -> LogdriftError:
    """How a server is refused that changes its answers, once it was opened."""

    def twist(answer: Json, asked: Asked) -> Json | Reply:
        change(answer)
        return answer

    return refusal_of(twist, path)


def refusal_of(twist: Twist, path: str) -> LogdriftError:
    formula = SglangFormula()
    with serving(formula) as served, attached(served) as backend:
        backend.open()
        formula.twist = twist
        work = {
            # One request: of several, any may be answered first.
            "score": lambda: backend.score(IDS[:1], quiet),
            "generate": lambda: backend.generate(IDS[:1], [1], quiet),
        }
        with pytest.raises(LogdriftError) as caught:
            work[path]()
    assert served.address in str(caught.value)
    return caught.value


def other_request(answer: Json) -> None:
    answer["meta_info"]["id"] = "somebody-else"


def other_count(answer: Json) -> None:
    answer["meta_info"]["prompt_tokens"] += 1


def row_less(answer: Json) -> None:
    answer["meta_info"]["input_token_logprobs"].pop()


def other_id(answer: Json) -> None:
    answer["meta_info"]["input_token_logprobs"][2][1] = 40


def two_ids_as_zero(answer: Json) -> None:
    rows = answer["meta_info"]["input_token_logprobs"]
    rows[1][1] = rows[2][1] = 0


def null_score(answer: Json) -> None:
    answer["meta_info"]["input_token_logprobs"][3][0] = None


def first_is_scored(answer: Json) -> None:
    answer["meta_info"]["input_token_logprobs"][0][0] = -1.0


def top_less(answer: Json) -> None:
    answer["meta_info"]["input_top_logprobs"][2].pop()


def no_top(answer: Json) -> None:
    answer["meta_info"]["input_top_logprobs"] = []


def no_meta(answer: Json) -> None:
    del answer["meta_info"]


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        (other_request, "it answers request 'somebody-else'"),
        (other_count, "6 ids, 5 were sent"),
        (row_less, "4 entries of input_token_logprobs for 5 tokens"),
        (other_id, "input_token_logprobs has id 40 at"),
        (two_ids_as_zero, "input_token_logprobs has id 0 at"),
        (null_score, "null where a number must be"),
        (first_is_scored, "scores the first token"),
        (top_less, "3 input_top_logprobs of a token, 4 were asked"),
        (no_top, "entries of input_top_logprobs for"),
        (no_meta, "meta_info is missing"),
    ],
)
def test_wrong_scores_are_refused(lie: Callable[[Json], None], said: str) -> None:
    error = refusal(lie, "score")
    assert isinstance(error, MismatchError)
    assert said in error.reason
    assert "of the part (logdrift-" in error.reason


def other_output(answer: Json) -> None:
    answer["output_ids"][1] ^= 1


def aborted(answer: Json) -> None:
    answer["meta_info"]["finish_reason"] = {"type": "abort", "message": "shut down"}


def null_output(answer: Json) -> None:
    answer["meta_info"]["output_token_logprobs"][1][0] = None


def id_beyond(answer: Json) -> None:
    answer["output_ids"][0] = -3


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        (other_output, "output_token_logprobs are of other ids than output_ids"),
        (aborted, "it ended with 'abort'"),
        (null_output, "null where a number must be"),
        (id_beyond, "holds -3, which is no token id"),
    ],
)
def test_wrong_completions_are_refused(lie: Callable[[Json], None], said: str) -> None:
    error = refusal(lie, "generate")
    assert isinstance(error, MismatchError)
    assert said in error.reason


def test_weights_that_change_in_the_middle_end_the_capture() -> None:
    formula = SglangFormula()
    formula.version = "7"
    with serving(formula) as served, attached(served) as backend:
        facts = backend.open()
        backend.score(IDS, quiet)
        formula.version = "8"
        with pytest.raises(LogdriftError, match="from version 7 to 8"):
            backend.score(IDS, quiet)
    assert facts.weight_version == "7"


def test_what_was_sampled_after_an_update_has_its_version() -> None:
    formula = SglangFormula()
    formula.version = "7"
    with serving(formula) as served, attached(served) as backend:
        backend.open()
        formula.version = "8"
        made = backend.generate(IDS, [1, 2, 3], quiet)
    for ids, one in zip(IDS, made, strict=True):
        assert one.scores.versions == ((None, len(ids)), ("8", 5))


def test_another_model_is_asked_nothing() -> None:
    """Ids beyond its vocabulary would end it."""
    with serving(SglangFormula(model="/models/other")) as served:
        with attached(served) as backend, pytest.raises(LogdriftError) as caught:
            backend.open()
        assert f"the session is of {MODEL}" in str(caught.value)
        assert not served.requests("/generate")
        with attached(served, served_name="/models/other") as backend:
            assert backend.open().extra["served_model"] == "/models/other"


def test_an_older_server_is_asked_by_its_names() -> None:
    formula = SglangFormula()

    def older(asked: Asked) -> Reply:
        if asked.path in ("/server_info", "/model_info"):
            return Reply({"detail": "Not Found"}, 404)
        newer = asked.path.replace("/get_", "/")
        return formula(replace(asked, path=newer))

    with serving(older) as served, attached(served) as backend:
        assert backend.open().dtype == "bfloat16"


def test_a_dtype_that_is_not_the_server_s_is_noticed() -> None:
    with serving(SglangFormula()) as served:
        spec = BackendSpec("mu", "sglang", "float16", server=served.address)
        with attached(served) as backend:
            backend.settings = replace(backend.settings, spec=spec)
            with pytest.raises(LogdriftError, match="it runs in bfloat16"):
                backend.open()


def test_only_the_allowed_paths_are_asked() -> None:
    with serving(SglangFormula()) as served, attached(served) as backend:
        backend.open()
        backend.generate(IDS, [1, 2, 3], quiet)
        backend.score(IDS, quiet)
    for one in served.asked:
        assert SglangServer.paths[one.path] == one.method
