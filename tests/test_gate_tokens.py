"""The gate on tokens and models: same ids after the same context, same weights, or the
reason why not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logdrift.core.compare.gate import Gate, judge
from logdrift.core.compare.pair import make_pair
from logdrift.core.session.reader import Session, open_session
from logdrift.core.session.sent_ids import ids_digest
from logdrift.core.session.writer import sequence_tensors, write_manifest, write_part
from tests.common import NAN, Fields
from tests.made_sessions import capture, write_session


def given(
    folder: Path,
    rows_a: Sequence[Sequence[float]],
    rows_b: Sequence[Sequence[float]],
    prompts: Sequence[int],
    *,
    label_a: str = "trainer/prefill",
    label_b: str = "vllm/decode",
    facts_a: Any = None,
    facts_b: Any = None,
    **manifest: Any,
) -> Session:
    a = capture(label_a, rows_a, facts=facts_a or {})
    b = capture(label_b, rows_b, facts=facts_b or {})
    return write_session(folder / "s", prompts, [a, b], **manifest)


def judged(session: Session) -> Gate:
    a, b = (info.label for info in session.captures)
    return judge(session, make_pair(session, a, b))


def codes(gate: Gate) -> dict[str, str]:
    return {reason.code: reason.severity for reason in gate.reasons}


def texts(gate: Gate) -> str:
    return "\n".join(reason.text for reason in gate.reasons)


def plain(*lengths: int) -> list[list[float]]:
    """A prefill: a score for all but the first token."""
    return [[NAN, *[-1.0] * (n - 1)] for n in lengths]


def decoded(*spans: tuple[int, int]) -> list[list[float]]:
    """Decode steps: a score for the completion alone, of (prompt, completion)
    tokens.
    """
    return [[*[NAN] * p, *[-1.0] * c] for p, c in spans]


def with_ids(
    session: Session,
    ids: Sequence[Sequence[int]],
    *,
    scored: bool = True,
    pieces: dict[int, str],
) -> Session:
    """The session with other token ids of the same lengths; ``scored``: the captures
    have scored these ids.
    """
    import base64
    import json

    parts = []
    for index, part in enumerate(session.manifest.sequences.parts):
        chosen = range(part.first_sequence, part.first_sequence + part.sequences)
        rows = [np.asarray(ids[i], np.int32) for i in chosen]
        tensors = sequence_tensors(
            rows,
            [int(session.sequences.prompt_lengths[i]) for i in chosen],
            ["stop"] * len(rows),
        )
        parts.append(
            write_part(
                session.folder,
                f"sequences/new-{index}.safetensors",
                tensors,
                chosen[0],
                len(rows),
                part.tokens,
            )
        )
    captures = session.captures
    if scored:
        captures = tuple(
            c._replace(
                parts=tuple(
                    p._replace(
                        ids_digest=ids_digest(
                            np.concatenate(
                                [
                                    np.asarray(ids[i])
                                    for i in range(
                                        p.first_sequence, p.first_sequence + p.sequences
                                    )
                                ]
                            )
                        ),
                    )
                    for p in c.parts
                ),
            )
            for c in captures
        )
    sequences = session.manifest.sequences._replace(parts=tuple(parts))
    write_manifest(
        session.folder,
        session.manifest._replace(sequences=sequences, captures=captures),
    )
    encoded = {
        str(i): base64.b64encode(text.encode()).decode() for i, text in pieces.items()
    }
    (session.folder / "pieces.json").write_text(json.dumps(encoded))
    return open_session(session.folder)


WORDS = {i: f" w{i}" for i in range(20)}


def test_other_ids_are_named_with_their_sequences(tmp_path: Path) -> None:
    rows = plain(3, 3, 3)
    session = given(tmp_path, rows, rows, [1, 1, 1], label_b="vllm/prefill")
    assert codes(judged(session)) == {}
    ids = [[0, 1, 2], [0, 1, 2], [0, 1, 3]]  # the captures have scored 0 1 2 thrice
    gate = judged(with_ids(session, ids, scored=False, pieces=WORDS))
    assert codes(gate) == {"ids": "not_comparable"}
    assert "trainer/prefill scored other token ids in sequences 2 to 2" in texts(gate)
    assert "vllm/prefill scored other token ids in sequences 2 to 2" in texts(gate)


def test_a_part_without_a_digest_says_nothing(tmp_path: Path) -> None:
    rows = plain(3, 3)
    session = given(tmp_path, rows, rows, [1, 1], label_b="vllm/prefill")
    old = tuple(
        c._replace(parts=tuple(p._replace(ids_digest=None) for p in c.parts))
        for c in session.captures
    )
    write_manifest(session.folder, session.manifest._replace(captures=old))
    ids = [[0, 1, 2], [0, 1, 3]]
    assert (
        codes(
            judged(
                with_ids(open_session(session.folder), ids, scored=False, pieces=WORDS)
            )
        )
        == {}
    )


def test_one_side_with_other_ids(tmp_path: Path) -> None:
    rows = plain(3, 3)
    session = given(tmp_path, rows, rows, [1, 1], label_b="vllm/prefill")
    a, b = session.captures
    wrong = b._replace(
        parts=tuple(
            p._replace(ids_digest=ids_digest(np.asarray([9]))) for p in b.parts
        ),
    )
    write_manifest(session.folder, session.manifest._replace(captures=(a, wrong)))
    gate = judged(open_session(session.folder))
    assert [(r.code, r.text.split()[0]) for r in gate.reasons] == [
        ("ids", "vllm/prefill")
    ]


@pytest.mark.parametrize(
    ("first", "prompts", "wanted"),
    [
        ([1, 1], [2, 2], {}),
        (
            [1, 3],
            [2, 2],
            {"truncated": "not_comparable", "unscored": "caution"},
        ),  # within a completion
        ([1, 2], [4, 4], {"truncated": "not_comparable"}),  # within a prompt
        (
            [2, 2],
            [2, 2],
            {"boundary": "caution"},
        ),  # just the completions: a choice, but did it see the prompts?
        ([3, 2], [3, 2], {"boundary": "caution"}),
        ([2, 1], [2, 1], {"boundary": "caution"}),
        ([2, 2], [3, 3], {"truncated": "not_comparable"}),
        ([1, 1], [1, 1], {}),
        ([5, 1], [2, 2], {"unscored": "caution"}),  # nothing of the first at all
    ],
)
def test_a_prefill_that_begins_late(
    tmp_path: Path, first: list[int], prompts: list[int], wanted: dict[str, str]
) -> None:
    rows = [[*[NAN] * f, *[-1.0] * (5 - f)] for f in first]
    session = given(tmp_path, rows, decoded(*((p, 5 - p) for p in prompts)), prompts)
    gate = judged(session)
    assert codes(gate) == wanted
    if "truncated" in wanted:
        assert f"trainer/prefill has no score before token {max(first)} in" in texts(
            gate
        )


def test_masked_tokens_need_no_score(tmp_path: Path) -> None:
    masks = [[1, 0, 0, 1, 1]] * 2
    rows = [[NAN, NAN, NAN, -1.0, -1.0]] * 2
    session = given(tmp_path, rows, decoded((3, 2), (3, 2)), [3, 3], masks=masks)
    assert codes(judged(session)) == {}


def test_two_prefills_that_begin_late_alike_are_comparable(tmp_path: Path) -> None:
    rows = [[NAN, NAN, NAN, -1.0, -1.0]] * 2
    session = given(tmp_path, rows, rows, [1, 1], label_b="vllm/prefill")
    assert codes(judged(session)) == {}
    other = given(tmp_path / "2", rows, plain(5, 5), [1, 1], label_b="vllm/prefill")
    assert codes(judged(other)) == {
        "truncated": "not_comparable",
        "unscored": "caution",
    }


@pytest.mark.parametrize(
    ("limit", "wanted"), [(5, {}), (4, {"truncated": "not_comparable"})]
)
def test_a_maximum_length_below_the_longest_sequence(
    tmp_path: Path, limit: int, wanted: dict[str, str]
) -> None:
    session = given(
        tmp_path,
        plain(3, 5),
        decoded((1, 2), (2, 3)),
        [1, 2],
        facts_a={"max_length": limit},
    )
    gate = judged(session)
    assert codes(gate) == wanted
    if wanted:
        assert (
            "trainer/prefill takes 4 tokens at most and the longest sequence has 5"
            in texts(gate)
        )


def test_a_limit_below_a_sequence_that_is_not_in_the_pair_says_nothing(
    tmp_path: Path,
) -> None:
    session = given(
        tmp_path,
        plain(3),
        plain(3, 9),
        [1, 1],
        label_b="vllm/prefill",
        facts_a={"max_length": 4},
    )
    assert "truncated" not in codes(judged(session))


@pytest.mark.parametrize(
    ("label", "first", "wanted", "said"),
    [
        ("vllm/decode", [2, 2], {}, ""),
        (
            "vllm/decode",
            [1, 1],
            {"boundary": "caution"},
            "begins 1 token before the end of the prompt in 2 of 2 seq",
        ),
        (
            "vllm/decode",
            [3, 2],
            {"boundary": "caution", "unscored": "caution"},
            "begins 1 token behind the end of the",
        ),
        (
            "vllm/forced_decode",
            [3, 4],
            {"boundary": "caution", "unscored": "caution"},
            "begins up to 2 tokens behind",
        ),
        ("vllm/recorded", [1, 1], {}, ""),  # a recording may have the prompt too
        (
            "vllm/recorded",
            [3, 3],
            {"boundary": "caution", "unscored": "caution"},
            "begins 1 token behind",
        ),
    ],
)
def test_where_decoding_begins(
    tmp_path: Path, label: str, first: list[int], wanted: dict[str, str], said: str
) -> None:
    rows = [[*[NAN] * f, *[-1.0] * (5 - f)] for f in first]
    gate = judged(given(tmp_path, plain(5, 5), rows, [2, 2], label_b=label))
    assert codes(gate) == wanted
    assert said in texts(gate)


def test_a_completion_of_length_0(tmp_path: Path) -> None:
    session = given(tmp_path, plain(3, 3), decoded((3, 0), (1, 2)), [3, 1])
    gate = judged(session)
    assert codes(gate) == {"no_completion": "info"}
    assert "1 of 2 sequences have no completion" in texts(gate)
    texts_only = given(
        tmp_path / "2", plain(3, 3), plain(3, 3), [3, 3], label_b="vllm/prefill"
    )
    assert codes(judged(texts_only)) == {}  # a session of texts has none at all


def test_completions_without_their_prompts(tmp_path: Path) -> None:
    rows = [[-1.0, -2.0, -1.0], [-1.0, -2.0, -1.0]]
    known = given(tmp_path, plain(3, 3), rows, [0, 1], label_b="vllm/recorded")
    gate = judged(known)
    assert codes(gate)["no_prompt"] == "caution"
    assert "1 of 2 sequences have no prompt in the session: vllm/recorded" in texts(
        gate
    )
    neither = given(tmp_path / "2", plain(3, 3), plain(3, 3), [0, 0])
    assert "no_prompt" not in codes(judged(neither))


BOS = {**WORDS, 0: "<s>"}


@pytest.mark.parametrize(
    ("ids", "pieces", "adds", "said"),
    [
        ([[0, 1, 2], [0, 3, 4]], BOS, True, None),
        ([[0, 1, 2], [0, 3, 4]], BOS, False, None),
        (
            [[0, 0, 2], [0, 3, 4]],
            BOS,
            None,
            "1 of 2 sequences begin with the start token twice",
        ),
        (
            [[0, 0, 2], [0, 0, 4]],
            BOS,
            True,
            "2 of 2 sequences begin with the start token twice",
        ),
        ([[0, 1, 2], [5, 3, 4]], BOS, True, "but 1 of 2 sequences begin without it"),
        ([[0, 1, 2], [5, 3, 4]], BOS, False, None),
        ([[0, 1, 2], [5, 3, 4]], BOS, None, None),
        ([[7, 1, 2], [5, 3, 4]], WORDS, True, "but 2 of 2 sequences begin without it"),
        ([[7, 1, 2], [7, 3, 4]], WORDS, True, None),  # a start token by another name
        ([[1, 1, 2], [1, 1, 4]], WORDS, True, None),
    ],
)
def test_the_start_token(
    tmp_path: Path,
    ids: list[list[int]],
    pieces: dict[int, str],
    adds: bool | None,
    said: str | None,
) -> None:
    facts = {"adds_bos": adds}
    session = given(
        tmp_path,
        plain(3, 3),
        plain(3, 3),
        [1, 1],
        label_b="vllm/prefill",
        facts_a=facts,
        facts_b=facts,
    )
    gate = judged(with_ids(session, ids, pieces=pieces))
    assert codes(gate) == ({"bos": "info"} if said else {})
    assert (said or "") in texts(gate)


def test_a_recording_may_have_had_another_start(tmp_path: Path) -> None:
    session = given(
        tmp_path,
        plain(3, 3),
        decoded((1, 2), (1, 2)),
        [1, 1],
        label_b="vllm/recorded",
        facts_a={"adds_bos": True},
        facts_b={"adds_bos": True},
    )
    assert codes(judged(with_ids(session, [[7, 1, 2], [5, 3, 4]], pieces=WORDS))) == {
        "bos": "caution"
    }


def test_tokenizers_that_build_other_prompts(tmp_path: Path) -> None:
    session = given(
        tmp_path,
        plain(3, 3),
        decoded((1, 2), (1, 2)),
        [1, 1],
        facts_a={"adds_bos": True, "template_digest": "sha256:x"},
    )
    gate = judged(session)
    expected = {"template": "info", "bos": "info"}
    assert codes(gate) == expected
    assert gate.verdict == "comparable"
    assert (
        "the tokenizer of trainer/prefill adds a start token and that of vllm/decode"
        " none" in texts(gate)
    )


@pytest.mark.parametrize(
    ("last", "piece", "mask", "wanted"),
    [
        ([9, 9], "<pad>", None, {"padding": "caution"}),
        ([9, 9], "<|endoftext|>", None, {"padding": "caution"}),
        ([9, 9], "<|finetune_right_pad_id|>", None, {"padding": "caution"}),
        ([8, 9], "<pad>", None, {}),  # one end-of-sequence id is none
        ([9, 9], " ha", None, {}),
        ([9, 9], "<pad>", [[1, 1, 0, 0]] * 2, {}),
    ],
)
def test_padding_left_in_the_sequences(
    tmp_path: Path,
    last: list[int],
    piece: str,
    mask: list[list[int]] | None,
    wanted: dict[str, str],
) -> None:
    session = given(tmp_path, plain(4, 4), decoded((1, 3), (1, 3)), [1, 1])
    ids = [[0, 1, *last], [0, 1, 2, 3]]
    session = with_ids(session, ids, pieces={**WORDS, 9: piece})
    if mask is not None:
        # a mapped array cannot be changed, so it is replaced
        object.__setattr__(
            session.sequences, "mask", np.asarray(mask, np.uint8).ravel()
        )
    assert codes(judged(session)) == wanted


@pytest.mark.parametrize(
    ("a", "b", "wanted"),
    [
        ("none", "none", {}),
        (None, "none", {"unknown": "caution"}),
        ("left", "none", {"padding": "caution"}),
        ("none", "to graph sizes", {"padding": "info"}),
        ("to graph sizes", "to graph sizes", {}),
    ],
)
def test_padded_batches(
    tmp_path: Path, a: str | None, b: str, wanted: dict[str, str]
) -> None:
    rows = plain(3, 3), decoded((1, 2), (1, 2))
    session = given(
        tmp_path, *rows, [1, 1], facts_a={"padding": a}, facts_b={"padding": b}
    )
    assert codes(judged(session)) == wanted


def test_graphs_that_fill_up_are_told_by_the_execution_alone(tmp_path: Path) -> None:
    facts = {
        "padding": "to graph sizes",
        "execution_mode": "compile vllm_compile, cudagraph full",
    }
    session = given(
        tmp_path, plain(3, 3), decoded((1, 2), (1, 2)), [1, 1], facts_b=facts
    )
    assert codes(judged(session)) == {"execution": "info"}


def plan(a: Fields | None = None, b: Fields | None = None, **values: Any) -> Fields:
    trainer = {
        "name": "trainer",
        "engine": "transformers",
        "role": "trainer",
        **(a or {}),
    }
    return {
        "model": "made",
        "backends": [trainer, {"name": "vllm", "engine": "vllm", **(b or {})}],
        **values,
    }


UNSEEN = {"weights_digest": None}


@pytest.mark.parametrize(
    ("facts", "backend", "wanted"),
    [
        ({}, {}, {}),
        ({}, {"model": "other"}, {}),  # the digests are the same, whatever the names
        (UNSEEN, {"model": "other"}, {"model": "caution", "unknown": "caution"}),
        (
            UNSEEN,
            {"model": "made", "revision": "v2"},
            {"model": "caution", "unknown": "caution"},
        ),
        (UNSEEN, {}, {"unknown": "caution"}),
        ({"model_class": "LlamaForCausalLM"}, {}, {}),
        ({"model_class": "TransformersForCausalLM"}, {}, {"architecture": "info"}),
        (
            {"model_class": "Other", **UNSEEN},
            {},
            {"architecture": "caution", "unknown": "caution"},
        ),
        (
            {"model_class": "Other", "weights_digest": "sha256:o"},
            {},
            {"weights": "not_comparable"},
        ),
        ({"logits_size": 100}, {}, {}),
        ({"logits_size": 128}, {}, {"logits_size": "caution"}),
        ({"extra": {"load_format": "auto"}}, {}, {}),
        ({"extra": {"load_format": "dummy"}}, {}, {"weights": "not_comparable"}),
        ({}, {"options": {"load_format": "dummy"}}, {"weights": "not_comparable"}),
    ],
)
def test_models(
    tmp_path: Path,
    facts: Fields,
    backend: Fields,
    wanted: dict[str, str],
) -> None:
    model = {"model_class": "LlamaForCausalLM", "logits_size": 100}
    session = given(
        tmp_path,
        plain(3, 3),
        decoded((1, 2), (1, 2)),
        [1, 1],
        facts_a=model,
        facts_b={**model, **facts},
        plan=plan(b=backend),
    )
    assert codes(judged(session)) == wanted


ROPE = {"rope_parameters": {"rope_theta": 5e5}}


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        (
            {},
            {"hf_overrides": ROPE},
            (
                "vllm/decode runs with rope_parameters.rope_theta=500000.0, which"
                " changes the model"
            ),
        ),
        (
            {},
            {"json_model_override_args": '{"sliding_window": 64}'},
            "vllm/decode runs with sliding_window=64",
        ),
        ({"rope_theta": 1e6}, {}, "trainer/prefill runs with rope_theta=1000000.0"),
        (
            {"final_logit_softcapping": 30.0},
            {"hf_overrides": {"final_logit_softcapping": 50.0}},
            (
                "trainer/prefill runs with final_logit_softcapping=30.0 and vllm/decode"
                " runs with final_logit_softcapping=50.0"
            ),
        ),
        ({"rope_theta": 1e6}, {"hf_overrides": {"rope_theta": 1e6}}, None),
        (
            {},
            {"hf_overrides": {"head_dtype": "float32"}},
            None,
        ),  # has a fact of its own
        (
            {},
            {"disable_sliding_window": True},
            "vllm/decode runs with disable_sliding_window=true",
        ),
        ({}, {"disable_sliding_window": False}, None),
        (
            {"attn_implementation": "eager"},
            {"enforce_eager": True, "max_model_len": 512},
            None,
        ),
        ({}, {"hf_overrides": "not json"}, "vllm/decode runs with overrides="),
    ],
)
def test_overrides_in_the_plan(
    tmp_path: Path, a: Fields, b: Fields, said: str | None
) -> None:
    unseen = {"config_overrides": None}
    session = given(
        tmp_path,
        plain(3, 3),
        decoded((1, 2), (1, 2)),
        [1, 1],
        facts_a=unseen,
        facts_b=unseen,
        plan=plan({"options": a}, {"options": b}),
    )
    gate = judged(session)
    assert codes(gate) == ({"overrides": "caution"} if said else {})
    assert (said or "") in texts(gate)


def test_overrides_as_observed_come_before_the_plan(tmp_path: Path) -> None:
    rows = plain(3, 3), decoded((1, 2), (1, 2))
    seen = {"config_overrides": {"rope_theta": 2.0}}
    asked = plan(
        {"options": {"rope_theta": 3.0}},
        {"options": {"hf_overrides": {"rope_theta": 2.0}}},
    )
    assert (
        codes(
            judged(
                given(
                    tmp_path / "1",
                    *rows,
                    [1, 1],
                    facts_a=seen,
                    facts_b=seen,
                    plan=asked,
                )
            )
        )
        == {}
    )
    assert codes(
        judged(given(tmp_path / "2", *rows, [1, 1], facts_a=seen, plan=plan()))
    ) == {"overrides": "caution"}


def test_a_scale_that_both_engines_tell(tmp_path: Path) -> None:
    rows = plain(3, 3), decoded((1, 2), (1, 2))
    one = {"extra": {"logit_scale": 1.0, "soft_cap": None}}
    two = {"extra": {"logit_scale": 1.0, "soft_cap": 30.0}}
    assert (
        codes(judged(given(tmp_path / "1", *rows, [1, 1], facts_a=one, facts_b=one)))
        == {}
    )
    assert codes(judged(given(tmp_path / "2", *rows, [1, 1], facts_b=two))) == {}
    gate = judged(given(tmp_path / "3", *rows, [1, 1], facts_a=one, facts_b=two))
    assert codes(gate) == {"overrides": "caution"}
    assert "soft_cap=null" in texts(gate)
    assert "soft_cap=30.0" in texts(gate)
