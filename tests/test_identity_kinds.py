"""What kind of difference there is between loaded weights and the files: found by the
worker, told in words.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from logdrift.core.diagnose.differences import (
    ALL,
    MATRICES,
    ONE,
    SOME,
    adapter_tensors,
    difference_of,
    kind_text,
)
from logdrift.core.diagnose.identity import identity_evidence
from logdrift.core.diagnose.loaded import described
from logdrift.core.report.identity import identities_of, identity_document
from logdrift.core.report.layout import Canvas
from logdrift.core.report.paint.text import paint_text
from logdrift.core.session.identity import (
    LoadedTensor,
    LoadedWeights,
    identity_file,
    read_identity,
    saved_failures,
    write_failure,
    write_identity,
)
from logdrift.core.session.reader import Session
from tests.common import Fields, refused
from tests.made_answers import loaded, off
from tests.made_sessions import capture, write_session

LOW_RANK = {"kind": "low rank", "rank": 8}
FP8 = {"kind": "rounding", "grid": "float8_e4m3fn", "scales": "one a row"}


# -- found


@pytest.fixture(scope="module")
def kinds(run_script: Callable[..., Any], transformers_python: Path) -> Any:
    return run_script(transformers_python, "weights_kinds.py", "", dict(os.environ))


@pytest.mark.engine
def test_each_change_is_taken_for_what_it_is(kinds: Any) -> None:
    """In three dtypes and three shapes, with its numbers: a scale within a rounding, a
    rank exactly.
    """
    assert len(kinds["kinds"]) > 200
    for each in kinds["kinds"]:
        found = each["kind"]
        assert found is not None, each
        assert found["kind"] == each["wanted"], each
        for name, value in each["numbers"].items():
            assert found[name] == (
                pytest.approx(value, rel=2**-8) if isinstance(value, float) else value
            ), each


@pytest.mark.engine
def test_a_narrower_dtype_on_the_way_is_told(kinds: Any) -> None:
    assert kind_text(kinds["narrow"]["bfloat16"]) == "rounded to bfloat16"
    assert kind_text(kinds["narrow"]["float16"]) == "rounded to float16"
    assert kind_text(kinds["narrow"]["cut"]) == "cut to bfloat16"


@pytest.mark.engine
def test_nothing_is_said_of_what_was_not_looked_at(kinds: Any) -> None:
    poor = kinds["poor"]
    assert poor["empty"] is None
    assert poor["nan"] is None
    expected = {"kind": "entries", "rank_looked_at": False}
    assert poor["vector"] == expected
    assert poor["no budget"] == {"kind": "entries", "rank_looked_at": False}
    assert "rank" not in kind_text(poor["no budget"])
    assert poor["one"]["kind"] == "entries"


# -- told


def test_words_of_a_kind_and_none_for_an_unknown_or_damaged_one() -> None:
    assert (
        kind_text(LOW_RANK)
        == "a difference of rank 8, as a merged adapter (LoRA) leaves it"
    )
    assert kind_text(FP8) == "rounded to 8 bits (float8_e4m3fn, scales: one a row)"
    assert kind_text({"kind": "scale", "scale": 1.0625}) == "scaled by 1.062"
    assert (
        kind_text({"kind": "rows", "rows": 2, "of": 9, "first": 3})
        == "2 of 9 rows differ, the first is row 3"
    )
    for poor in (
        None,
        {},
        {"kind": "of tomorrow"},
        {"kind": "scale"},
        {"kind": "low rank", "rank": "many"},
    ):
        assert kind_text(poor) == ""
    assert (
        described(off("b", kind=LOW_RANK))
        == f"b (relative L2 0.005, 60% of entries: {kind_text(LOW_RANK)})"
    )
    assert described(off("b")) == "b (relative L2 0.005, 60% of entries)"


def _model(**changes: Fields) -> LoadedWeights:
    """Two layers with q, v and a norm each, and an embedding; those named are not those
    on disk.
    """
    names = ["model.embed_tokens.weight"]
    for layer in (0, 1):
        names += [
            f"model.layers.{layer}.{part}.weight"
            for part in ("attn.q_proj", "attn.v_proj", "norm")
        ]
    tensors = []
    for name in names:
        plain = LoadedTensor(
            name, True, "digest", shape=(8,) if "norm" in name else (8, 8)
        )
        kind = next((kind for part, kind in changes.items() if part in name), None)
        tensors.append(
            plain
            if kind is None
            else replace(plain, same=False, l2=0.01, share=0.5, kind=kind or None)
        )
    return LoadedWeights("vllm", "vllm", tuple(tensors))


@pytest.mark.parametrize(
    ("changes", "scope", "text"),
    [
        (
            {"embed": FP8},
            ONE,
            "One tensor differs: rounded to 8 bits (float8_e4m3fn, scales: one a row).",
        ),
        (
            {"q_proj": LOW_RANK, "v_proj": {**LOW_RANK, "rank": 4}},
            SOME,
            (
                "4 of 7 tensors differ, q_proj, v_proj of every layer: a low rank (at"
                " most 8), as a merged adapter (LoRA) leaves it."
            ),
        ),
        (
            {"model": {"kind": "unrelated"}},
            ALL,
            (
                "All 7 tensors that were read differ: nothing in common with the one on"
                " disk."
            ),
        ),
        (
            {"proj": FP8, "embed": FP8},
            MATRICES,
            f"All 5 matrices differ and no vector: {kind_text(FP8)}.",
        ),
        (
            {"layers.1.attn": {"kind": "zeros"}},
            SOME,
            "2 of 7 tensors differ: nothing but zeros.",
        ),
        (
            {
                "q_proj": {"kind": "scale", "scale": 2.0},
                "layers.0.norm": {"kind": "scale", "scale": 3.0},
            },
            SOME,
            "3 of 7 tensors differ: a scale.",
        ),
        (
            {
                "q_proj": LOW_RANK,
                "embed": {"kind": "rows", "rows": 1, "of": 8, "first": 0},
            },
            SOME,
            (
                "3 of 7 tensors differ: 2 by a low rank (at most 8), as a merged"
                " adapter (LoRA) leaves it, 1 by single rows."
            ),
        ),
        (
            {"embed": {}},
            ONE,
            (
                "One tensor differs: kind not known (only sums of their entries were"
                " seen)."
            ),
        ),
    ],
)
def test_which_tensors_differ_and_what_they_have_in_common(
    changes: Any, scope: str, text: str
) -> None:
    found = difference_of(_model(**changes))
    assert found is not None
    assert found.scope == scope
    assert found.text == text
    assert sum(found.kinds.values()) == found.differing


def test_evidence_and_report_say_the_kind(tmp_path: Path) -> None:
    assert difference_of(loaded("trainer")) is None
    side = _model(q_proj=LOW_RANK, v_proj=LOW_RANK)
    (found,) = identity_evidence(None, side)
    assert (
        "q_proj, v_proj of every layer: a difference of rank 8, as a merged adapter"
        in found.sentence
    )
    assert found.numbers["scope"] == SOME
    assert found.numbers["kind"] == "low rank"
    session = _session(tmp_path)
    identities = identities_of(session, {"vllm": side, "trainer": loaded("trainer")})
    report = {name: identity.to_json() for name, identity in identities.items()}
    assert report["vllm"]["difference"]["kinds"] == {"low rank": 4}
    assert report["trainer"]["difference"] is None
    assert report["vllm"]["differ"][0]["kind"] == {
        **LOW_RANK,
        "text": kind_text(LOW_RANK),
    }
    text = " ".join(paint_text(identity_document(identities, {}), Canvas()).split())
    assert (
        "4 of 7 tensors differ, q_proj, v_proj of every layer: a difference of rank 8"
        in text
    )


def test_an_adapter_that_is_not_merged_is_no_equality() -> None:
    """Every tensor of the base is as on disk, and still the engine computes something
    else.
    """
    names = tuple(
        f"base_model.model.layers.{i}.q_proj.lora_{ab}.default.weight"
        for i in (0, 1)
        for ab in "AB"
    )
    side = replace(loaded("vllm"), extra=(*names, "model.layers.0.self_attn.rotary"))
    assert adapter_tensors(side) == names
    (found,) = identity_evidence(loaded("trainer"), side)
    assert found.score == 0
    assert found.numbers["equal"] is None
    assert "leaves" not in found.numbers
    assert "vllm holds an adapter that is not merged: 4 tensors" in found.sentence


# -- saved


def _session(tmp_path: Path) -> Session:
    rows = [[float("nan"), *[-1.0] * 7]]
    labels = ("trainer/prefill", "vllm/prefill")
    return write_session(
        tmp_path / "s", [2], [capture(label, rows) for label in labels]
    )


def test_kinds_and_failures_are_saved_and_read_again(tmp_path: Path) -> None:
    session = _session(tmp_path)
    write_identity(
        session.folder, asdict(replace(loaded("vllm", b=off("b", kind=LOW_RANK))))
    )
    again = read_identity(session.folder, "vllm")
    assert again is not None
    assert again.differing[0].kind == LOW_RANK
    write_failure(
        session.folder,
        "vllm",
        "vllm",
        "its worker was killed by SIGSEGV",
        "2026-01-01T00:00:00Z",
    )
    assert saved_failures(session.folder) == {
        "vllm": "its worker was killed by SIGSEGV"
    }
    assert (
        read_identity(session.folder, "vllm") == again
    )  # what an earlier check found stays
    document = identity_document(
        identities_of(session, {"vllm": again}), saved_failures(session.folder)
    )
    text = paint_text(document, Canvas())
    assert "the last check failed: its worker was killed" in " ".join(text.split())
    write_identity(session.folder, asdict(loaded("vllm")))
    assert saved_failures(session.folder) == {}
    damaged = identity_file(session.folder, "vllm")
    damaged.write_text(
        '{"backend": "vllm", "engine": "vllm", "tensors": [{"name": "a", "kind": "low'
        ' rank"}]}'
    )
    with refused("is damaged"):
        read_identity(session.folder, "vllm")


@pytest.mark.parametrize(
    "held", ["", "[]", '{"error": 3}', "{", '{"error": "\\u001b[2J"}']
)
def test_a_damaged_record_of_a_failure_is_still_a_failure(
    tmp_path: Path, held: str
) -> None:
    session = _session(tmp_path)
    write_failure(session.folder, "vllm", "vllm", "x", "")
    (session.folder / "why" / "identity" / "failed" / "vllm.json").write_text(held)
    found = saved_failures(session.folder)
    assert list(found) == ["vllm"]
    text = paint_text(identity_document({}, found), Canvas())
    assert all(line.isprintable() for line in text.splitlines())
