"""The gate on precision and on how engines run: context between two engines, a caution
between two of one kind.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logdrift.core.compare.gate import CHECKS, Gate, judge
from logdrift.core.compare.pair import make_pair
from logdrift.core.session.reader import Session
from tests.common import NAN, Fields
from tests.made_sessions import capture, write_session

TWO_ENGINES = ("trainer/prefill", "vllm/decode")
ONE_ENGINE = ("vllm/prefill", "other/prefill")  # two backends on vLLM
REFERENCE = ("reference/prefill", "trainer/prefill")
KINDS = {"two engines": TWO_ENGINES, "one engine": ONE_ENGINE, "reference": REFERENCE}


def session_of(
    folder: Path,
    labels: tuple[str, str],
    a: Fields,
    b: Fields,
    *,
    prompt: int = 1,
    length: int = 3,
    sequences: int = 2,
    info_a: Fields | None = None,
    info_b: Fields | None = None,
    **rest: Any,
) -> Session:
    def rows(label: str) -> list[list[float]]:
        unscored = prompt if "decode" in label else 1
        return [[*[NAN] * unscored, *[-1.0] * (length - unscored)]] * sequences

    captures = [
        capture(labels[0], rows(labels[0]), facts=a, **(info_a or {})),
        capture(labels[1], rows(labels[1]), facts=b, **(info_b or {})),
    ]
    return write_session(folder / "s", [prompt] * sequences, captures, **rest)


def judged(session: Session) -> Gate:
    a, b = (info.label for info in session.captures)
    return judge(session, make_pair(session, a, b))


def codes(gate: Gate) -> dict[str, str]:
    return {reason.code: reason.severity for reason in gate.reasons}


def texts(gate: Gate) -> str:
    return "\n".join(reason.text for reason in gate.reasons)


@pytest.mark.parametrize(
    ("a", "b", "code", "said"),
    [
        (
            {"attention_backend": "sdpa"},
            {"attention_backend": "FLASH_ATTN"},
            "attention",
            "computed by sdpa in",
        ),
        (
            {},
            {"execution_mode": "compile vllm_compile, cudagraph full"},
            "execution",
            "runs eager",
        ),
        ({}, {"tensor_parallel": 2}, "tensor_parallel", "on 1 tensor-parallel rank,"),
        (
            {"torch_version": "2.13.0"},
            {"torch_version": "2.14.1"},
            "versions",
            "torch 2.13.0 in",
        ),
        (
            {"cuda_version": "12.9"},
            {"cuda_version": "13.0"},
            "versions",
            "CUDA 12.9 in",
        ),
        (
            {"device_name": "NVIDIA A100"},
            {"device_name": "NVIDIA H100"},
            "device",
            "ran on NVIDIA A100",
        ),
        (
            {},
            {"environment": {"CUBLAS_WORKSPACE_CONFIG": ":16:8"}},
            "environment",
            "CUBLAS_WORKSPACE_CONFIG=:16:8 for",
        ),
        ({}, {"max_batch_sequences": 256}, "batch", "up to 2 together"),
        (
            {},
            {"chunked_prefill": True, "chunk_size": 2},
            "chunked_prefill",
            "in pieces of up to 2 tokens",
        ),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_what_somebody_has_set_and_what_always_differs(
    tmp_path: Path,
    kind: str,
    a: Fields,
    b: Fields,
    code: str,
    said: str,
) -> None:
    labels = KINDS[kind]
    one = (
        {"info_a": {"engine": "vllm"}, "info_b": {"engine": "vllm"}}
        if kind == "one engine"
        else {}
    )
    prompt = 3 if code == "chunked_prefill" else 1
    assert codes(judged(session_of(tmp_path / "same", labels, {}, {}, **one))) == {}
    assert (
        codes(
            judged(
                session_of(
                    tmp_path / "alike", labels, b, b, prompt=prompt, length=5, **one
                )
            )
        )
        == {}
    )
    gate = judged(
        session_of(tmp_path / "differ", labels, a, b, prompt=prompt, length=5, **one)
    )
    assert codes(gate) == {code: "caution" if kind == "one engine" else "info"}
    assert said in texts(gate)


@pytest.mark.parametrize(
    "name",
    [
        "attention_backend",
        "execution_mode",
        "tensor_parallel",
        "torch_version",
        "device",
    ],
)
def test_what_was_not_observed_is_named_and_not_compared(
    tmp_path: Path, name: str
) -> None:
    gate = judged(session_of(tmp_path, TWO_ENGINES, {}, {name: None}))
    assert codes(gate) == {"unknown": "caution"}
    assert f"vllm/decode: {name} not observed" in texts(gate)


def test_many_unknown_facts_are_one_sentence_with_the_worst_first(
    tmp_path: Path,
) -> None:
    names = (
        "tensor_parallel",
        "attention_backend",
        "logits_dtype",
        "weights_digest",
        "dtype",
        "chunked_prefill",
    )
    gate = judged(session_of(tmp_path, TWO_ENGINES, {}, dict.fromkeys(names)))
    assert [reason.text for reason in gate.reasons] == [
        "vllm/decode: weights_digest, dtype, logits_dtype, attention_backend and 2 more"
        " facts not observed, so not checked: make sure that it fits the other side."
    ]


@pytest.mark.parametrize(
    ("labels", "facts", "missing"),
    [
        (TWO_ENGINES, {"kv_cache_dtype": None}, "kv_cache_dtype"),
        (
            ("trainer/prefill", "vllm/prefill"),
            {"kv_cache_dtype": None, "prefix_cache": None},
            None,
        ),
        (TWO_ENGINES, {"batch_invariant": None}, "batch_invariant"),
        (("reference/prefill", "trainer/prefill"), {"batch_invariant": None}, None),
        (TWO_ENGINES, {"chunked_prefill": True, "chunk_size": None}, "chunk_size"),
        (TWO_ENGINES, {"chunked_prefill": False, "chunk_size": None}, None),
        (
            TWO_ENGINES,
            {"adds_bos": None, "template_digest": None, "cuda_version": None},
            None,
        ),
        (TWO_ENGINES, {"padding": None}, "padding"),
        (TWO_ENGINES, {"config_digest": None}, "config_digest"),
        (TWO_ENGINES, {"model_class": None}, "model_class"),
        (TWO_ENGINES, {"config_overrides": None}, "config_overrides"),
    ],
)
def test_only_what_matters_is_missed(
    tmp_path: Path, labels: tuple[str, str], facts: Fields, missing: str | None
) -> None:
    gate = judged(session_of(tmp_path, labels, {}, facts))
    assert codes(gate) == ({"unknown": "caution"} if missing else {})
    assert (missing or "") in texts(gate)


@pytest.mark.parametrize(
    ("a", "b", "wanted"),
    [
        ({"kv_cache_dtype": "bfloat16"}, {"kv_cache_dtype": "bf16"}, {}),
        ({"kv_cache_dtype": None}, {"kv_cache_dtype": "auto"}, {}),
        (
            {"kv_cache_dtype": None},
            {"kv_cache_dtype": "fp8_e4m3"},
            {"kv_cache": "caution"},
        ),
        ({"kv_cache_dtype": "fp8_e4m3"}, {"kv_cache_dtype": "fp8_e4m3"}, {}),
        ({}, {"dtype": None, "kv_cache_dtype": "float32"}, {"unknown": "caution"}),
        (
            {},
            {"dtype": None, "kv_cache_dtype": "fp8_e4m3"},
            {"unknown": "caution", "kv_cache": "caution"},
        ),
    ],
)
def test_the_cache_of_keys_and_values(
    tmp_path: Path, a: Fields, b: Fields, wanted: dict[str, str]
) -> None:
    gate = judged(session_of(tmp_path, TWO_ENGINES, a, b))
    assert codes(gate) == wanted
    if "kv_cache" in wanted:
        dtype = "an unknown dtype" if "dtype" in b else "bfloat16"
        assert (
            f"vllm/decode computes in {dtype} and keeps keys and values in fp8_e4m3"
            in texts(gate)
        )


FP32 = {"dtype": "float32", "head_dtype": "float32"}


@pytest.mark.parametrize(
    ("facts", "wanted"),
    [
        ({**FP32, "extra": {"float32_matmul_precision": "highest"}}, {}),
        ({**FP32, "extra": {"float32_matmul_precision": "high"}}, {"tf32": "caution"}),
        (
            {**FP32, "environment": {"VLLM_FLOAT32_MATMUL_PRECISION": "medium"}},
            {"tf32": "caution"},
        ),
        (
            {**FP32, "device": "cuda:0", "extra": {"cuda_allow_tf32": True}},
            {"tf32": "caution", "device": "caution"},
        ),
        ({**FP32, "extra": {"cuda_allow_tf32": True}}, {}),  # no GPU that could do it
        (
            {**FP32, "device": "cuda", "extra": {"enable_tf32_matmul": True}},
            {"tf32": "caution", "device": "caution"},
        ),
    ],
)
def test_float32_that_is_not_quite(
    tmp_path: Path, facts: Fields, wanted: dict[str, str]
) -> None:
    assert (
        codes(judged(session_of(tmp_path / "32", TWO_ENGINES, FP32, facts))) == wanted
    )
    coarse = {**facts, "dtype": "bfloat16", "head_dtype": "bfloat16"}
    rest = {code: severity for code, severity in wanted.items() if code != "tf32"}
    assert codes(judged(session_of(tmp_path / "16", TWO_ENGINES, {}, coarse))) == rest


@pytest.mark.parametrize(
    ("labels", "a", "b", "info_b", "wanted"),
    [
        # up to 4 together on both sides, whatever the limits beyond that
        (TWO_ENGINES, {"max_batch_sequences": 256}, {"max_batch_sequences": 8}, {}, {}),
        (
            ONE_ENGINE,
            {"max_batch_sequences": 256},
            {"max_batch_sequences": 2},
            {"engine": "vllm"},
            {"batch": "caution"},
        ),
        (TWO_ENGINES, {"max_batch_sequences": 256}, {"max_batch_sequences": 2}, {}, {}),
        (TWO_ENGINES, {}, {"max_batch_sequences": 8, "batch_invariant": True}, {}, {}),
        (
            TWO_ENGINES,
            {"max_batch_sequences": 8},
            {"max_batch_sequences": 8},
            {"batch": "alone"},
            {"batch": "info"},
        ),
        (
            ("vllm/prefill#alone", "vllm/prefill"),
            {"max_batch_sequences": 8},
            {"max_batch_sequences": 8},
            {},
            {"batch": "info"},
        ),
        (
            ("vllm/decode", "vllm/prefill"),
            {"max_batch_sequences": 8},
            {"max_batch_sequences": 8},
            {},
            {},
        ),
    ],
)
def test_batches(
    tmp_path: Path,
    labels: tuple[str, str],
    a: Fields,
    b: Fields,
    info_b: Fields,
    wanted: dict[str, str],
) -> None:
    session = session_of(tmp_path, labels, a, b, sequences=8, info_b=info_b, per_part=4)
    assert codes(judged(session)) == wanted


def test_parts_of_one_sequence_are_batches_of_one(tmp_path: Path) -> None:
    session = session_of(
        tmp_path, TWO_ENGINES, {}, {"max_batch_sequences": 256}, sequences=3, per_part=1
    )
    assert codes(judged(session)) == {}


def test_the_batch_invariant_mode(tmp_path: Path) -> None:
    on = {"batch_invariant": True}
    vllm = {"info_a": {"engine": "vllm"}, "info_b": {"engine": "vllm"}}
    mixed = {"info_a": {"engine": "sglang"}, "info_b": {"engine": "vllm"}}
    assert codes(judged(session_of(tmp_path / "1", ONE_ENGINE, on, {}, **vllm))) == {
        "batch_invariant": "caution"
    }
    assert codes(judged(session_of(tmp_path / "2", ONE_ENGINE, {}, on, **mixed))) == {
        "batch_invariant": "info"
    }
    assert codes(judged(session_of(tmp_path / "3", ONE_ENGINE, on, on, **vllm))) == {}
    assert codes(judged(session_of(tmp_path / "4", TWO_ENGINES, on, {}))) == {}


@pytest.mark.parametrize(
    ("labels", "size", "wanted"),
    [
        (("trainer/prefill", "vllm/prefill"), 9, {"chunked_prefill": "info"}),
        (("trainer/prefill", "vllm/prefill"), 10, {}),  # the longest sequence fits
        (("trainer/prefill", "vllm/decode"), 5, {"chunked_prefill": "info"}),
        (
            ("trainer/prefill", "vllm/decode"),
            6,
            {},
        ),  # a decode prefills the prompt alone
        (("trainer/prefill", "vllm/forced_decode"), 6, {"chunked_prefill": "info"}),
    ],
)
def test_chunks_that_no_sequence_fills_are_not_told(
    tmp_path: Path, labels: tuple[str, str], size: int, wanted: dict[str, str]
) -> None:
    facts = {"chunked_prefill": True, "chunk_size": size}
    assert (
        codes(judged(session_of(tmp_path, labels, {}, facts, prompt=6, length=10)))
        == wanted
    )


@pytest.mark.parametrize(
    ("labels", "prompt", "extra", "per_part", "wanted"),
    [
        (
            TWO_ENGINES,
            6,
            {"block_size": 4},
            4,
            "the start of 6 prompts",
        ),  # 8 in two parts, the first of each computed
        (TWO_ENGINES, 6, {"page_size": 1}, 8, "the start of 7 prompts"),
        (
            TWO_ENGINES,
            4,
            {"block_size": 4},
            4,
            None,
        ),  # the last token is always computed
        (TWO_ENGINES, 6, {}, 4, None),  # 16 a block
        (TWO_ENGINES, 70, {"block_size": 64}, 8, "the start of 7 prompts"),
        (
            TWO_ENGINES,
            6,
            {"block_size": 4},
            1,
            None,
        ),  # each part starts with an empty cache
        (
            ("trainer/prefill", "vllm/prefill"),
            6,
            {"block_size": 4},
            4,
            None,
        ),  # scoring computes every token
    ],
)
def test_the_prefix_cache_is_told_where_prompts_share_a_block(
    tmp_path: Path,
    labels: tuple[str, str],
    prompt: int,
    extra: Fields,
    per_part: int,
    wanted: str | None,
) -> None:
    facts = {"prefix_cache": True, "extra": extra}
    session = session_of(
        tmp_path,
        labels,
        {},
        facts,
        prompt=prompt,
        length=prompt + 2,
        sequences=8,
        per_part=per_part,
    )
    gate = judged(session)
    assert codes(gate) == ({"prefix_cache": "info"} if wanted else {})
    assert (wanted or "") in texts(gate)


def test_a_prefix_cache_on_one_of_two_decodes(tmp_path: Path) -> None:
    labels = ("vllm/decode", "other/forced_decode")
    engine = {"info_a": {"engine": "vllm"}, "info_b": {"engine": "vllm"}}
    on = {"prefix_cache": True, "extra": {"block_size": 1}}
    assert codes(judged(session_of(tmp_path / "1", labels, on, {}, **engine))) == {
        "prefix_cache": "caution"
    }
    assert (
        codes(judged(session_of(tmp_path / "2", labels, on, on, **engine, prompt=2)))
        == {}
    )


def test_speculative_decoding(tmp_path: Path) -> None:
    drafts = {"extra": {"speculative_algorithm": "EAGLE"}}
    assert codes(judged(session_of(tmp_path / "1", TWO_ENGINES, {}, drafts))) == {
        "speculative": "caution"
    }
    prefill = ("trainer/prefill", "vllm/prefill")
    assert codes(judged(session_of(tmp_path / "2", prefill, {}, drafts))) == {}
    assert (
        codes(
            judged(
                session_of(
                    tmp_path / "3",
                    TWO_ENGINES,
                    {},
                    {"extra": {"speculative_algorithm": None}},
                )
            )
        )
        == {}
    )
    plan = {
        "model": "made",
        "backends": [
            {
                "name": "vllm",
                "engine": "vllm",
                "options": {"speculative_config": {"method": "ngram"}},
            }
        ],
    }
    assert codes(
        judged(session_of(tmp_path / "4", TWO_ENGINES, {}, {}, plan=plan))
    ) == {"speculative": "caution"}


def test_devices_and_versions(tmp_path: Path) -> None:
    cuda = {"device": "cuda:1", "torch_version": "2.13.0+cu130"}
    assert (
        codes(judged(session_of(tmp_path / "1", TWO_ENGINES, {"device": "cuda"}, cuda)))
        == {}
    )
    assert codes(judged(session_of(tmp_path / "2", TWO_ENGINES, {}, cuda))) == {
        "device": "caution"
    }
    assert codes(judged(session_of(tmp_path / "3", REFERENCE, {}, cuda))) == {
        "device": "info"
    }
    newer = {"engine_version": "2.0"}
    vllm = {"info_a": {"engine": "vllm"}, "info_b": {"engine": "vllm"}}
    assert (
        codes(judged(session_of(tmp_path / "4", TWO_ENGINES, {}, newer))) == {}
    )  # versions of two engines
    gate = judged(session_of(tmp_path / "5", ONE_ENGINE, {}, newer, **vllm))
    assert codes(gate) == {"versions": "caution"}
    assert "vllm 1.2.3 in vllm/prefill and 2.0 in other/prefill" in texts(gate)


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({"SGLANG_ROPE_CACHE_FP32": "1"}, {}),  # not of this engine
        ({"VLLM_USE_V2_MODEL_RUNNER": "0"}, {"environment": "caution"}),
        ({"TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "0"}, {}),  # as it is without
        ({"OMP_NUM_THREADS": "1", "VLLM_NO_USAGE_STATS": "1"}, {}),
    ],
)
def test_variables(
    tmp_path: Path, variables: dict[str, str], wanted: dict[str, str]
) -> None:
    vllm = {"info_a": {"engine": "vllm"}, "info_b": {"engine": "vllm"}}
    session = session_of(tmp_path, ONE_ENGINE, {}, {"environment": variables}, **vllm)
    assert codes(judged(session)) == wanted


def test_settings_that_one_engine_tells(tmp_path: Path) -> None:
    old = {"extra": {"model_runner": "v1", "random_seed": 1}}
    new = {"extra": {"model_runner": "v2", "random_seed": 2}}
    vllm = {"info_a": {"engine": "vllm"}, "info_b": {"engine": "vllm"}}
    assert codes(judged(session_of(tmp_path / "1", ONE_ENGINE, old, new, **vllm))) == {
        "settings": "caution"
    }
    assert codes(judged(session_of(tmp_path / "2", ONE_ENGINE, old, {}, **vllm))) == {}
    assert codes(judged(session_of(tmp_path / "3", TWO_ENGINES, old, new))) == {}


def test_every_check_has_a_name_and_says_why_it_is_there() -> None:
    assert len({check.__name__ for check in CHECKS}) == len(CHECKS)
    found = [check.__name__ for check in CHECKS if not check.__doc__]
    assert found == []


def test_judging_a_million_tokens_stays_off_the_way(tmp_path: Path) -> None:
    """It is on the explorer's path. 60 ms of processor time were agreed; some 15 to 20
    were measured.
    """
    rows = [np.full(1000, -1.0, np.float32) for _ in range(1000)]
    for row in rows:
        row[0] = NAN
    steps = [row.copy() for row in rows]
    for row in steps:
        row[:100] = NAN
    facts = {
        "max_batch_sequences": 256,
        "prefix_cache": True,
        "extra": {"block_size": 16},
    }
    captures = [
        capture("trainer/prefill", rows),
        capture("vllm/decode", steps, facts=facts),
    ]
    session = write_session(tmp_path / "s", [100] * 1000, captures, per_part=100)
    times = []
    for _ in range(5):
        pair = make_pair(session, "trainer/prefill", "vllm/decode")
        _ = pair.scored, pair.in_completion  # the explorer's numbers need these anyway
        start = time.process_time()
        gate = judge(session, pair)
        times.append(time.process_time() - start)
    expected = {"batch": "info", "prefix_cache": "info"}
    assert codes(gate) == expected
    assert min(times) < 0.06
