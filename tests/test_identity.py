"""Are the weights the same? What is read of loaded models, what is made of it, and the
command as a user runs it.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logdrift.core.capture import trust
from logdrift.core.compare.pair import make_pair
from logdrift.core.diagnose import diagnose
from logdrift.core.diagnose.identity import identity_evidence, identity_of
from logdrift.core.engines import ENGINES
from logdrift.core.errors import LogdriftError
from logdrift.core.investigate.ask import ask
from logdrift.core.investigate.identity import chosen_backends
from logdrift.core.processes import descendants
from logdrift.core.report.identity import (
    identities_of,
    identity_document,
)
from logdrift.core.report.layout import Canvas
from logdrift.core.report.paint.text import paint_text
from logdrift.core.report.why import explain_session
from logdrift.core.report.why_document import why_document
from logdrift.core.session.identity import (
    LoadedTensor,
    LoadedWeights,
    read_identity,
    saved_failures,
    saved_identities,
    write_identity,
)
from logdrift.core.session.layout import read_manifest
from logdrift.core.session.reader import Session, open_session
from logdrift.core.worker.questions import answer
from logdrift.core.worker.weights import merged
from logdrift.core.worker.weights_map import Names, stem
from tests.changed_model import NOISY_TENSOR as TENSOR
from tests.common import SAMPLE, Fields, Run, refused
from tests.made_answers import loaded, off
from tests.made_sessions import FACTS, capture, captured_here, write_session
from tests.planted.made import draw, made, noise

LOGDRIFT = Path(sys.executable).parent / "logdrift"
DOWN = "model.layers.1.mlp.down_proj.weight"


# -- names


def test_prefixes_and_fused_projections_are_found_by_name() -> None:
    shapes = {
        "model.layers.0.self_attn.q_proj.weight": (8, 4),
        "model.layers.0.self_attn.k_proj.weight": (2, 4),
        "model.layers.0.self_attn.v_proj.weight": (2, 4),
        "model.layers.0.own_fused.weight": (3, 4),
        "model.embed_tokens.weight": (9, 4),
        "model.layers.0.block_sparse_moe.experts.0.w1.weight": (5, 4),
        "model.layers.0.block_sparse_moe.experts.0.w3.weight": (5, 4),
        "model.layers.0.block_sparse_moe.experts.0.w2.weight": (4, 5),
        "model.layers.0.block_sparse_moe.gate.weight": (1, 4),
    }
    names = Names(shapes, {})
    found = names.pieces("language_model.model.layers.0.self_attn.qkv_proj.weight")
    assert found is not None
    assert [(p.name.split(".")[-2], p.start, p.stop) for p in found] == [
        ("q_proj", 0, 8),
        ("k_proj", 8, 10),
        ("v_proj", 10, 12),
    ]
    assert names.pieces("model.layers.0.self_attn.qkv_proj.bias") is None
    assert names.pieces("model.layers.0.mlp.gate_up_proj.weight") is None
    assert names.pieces("model.layers.1.own_fused.weight") is None
    head = names.pieces("lm_head.weight")
    assert head is not None
    assert head[0].name == "model.embed_tokens.weight"
    stack = names.pieces("model.layers.0.mlp.experts.w13_weight")
    assert stack is not None
    assert [(p.expert, p.start, p.stop) for p in stack] == [
        (0, 0, 5),
        (0, 5, 10),
    ]
    gate = names.pieces("model.layers.0.mlp.gate.weight")
    assert gate is not None
    assert gate[0].name.endswith("block_sparse_moe.gate.weight")
    assert stem("model.language_model.layers.0.x") == "layers.0.x"


def test_a_name_that_two_stored_tensors_share_is_neither() -> None:
    names = Names({"model.a.weight": (1, 1), "transformer.a.weight": (1, 1)}, {})
    assert names.pieces("a.weight") is None
    assert names.find("model.a.weight") == "model.a.weight"


# -- reading, in an interpreter with torch


@pytest.fixture(scope="module")
def seen(
    run_script: Callable[..., Any],
    transformers_python: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    folder = str(tmp_path_factory.mktemp("tiny"))
    return run_script(
        transformers_python, "transformers_weights.py", folder, dict(os.environ)
    )


def _differ(found: Fields) -> list[str]:
    return [
        name for name, tensor in found["tensors"].items() if tensor["same"] is False
    ]


def _unread(found: Fields) -> list[str]:
    return [name for name, tensor in found["tensors"].items() if tensor["same"] is None]


@pytest.mark.engine
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen3", "mixtral", "mamba"])
def test_every_tensor_of_a_family_is_read_and_as_on_disk(
    seen: Any, family: str, dtype: str
) -> None:
    """Files are float32: in bfloat16 the comparison is with the file's tensor rounded,
    and exact all the same.
    """
    found = seen[f"{family}-{dtype}"]
    assert {tensor["how"] for tensor in found["tensors"].values()} == {"digest"}
    assert all(tensor["same"] for tensor in found["tensors"].values())
    assert found["extra"] == []
    assert found["config_differs"] == []
    assert found["tied"]["loaded"] is found["tied"]["config"]
    assert found["tied"]["loaded"] is not found["tied"]["file_has_head"]


@pytest.mark.engine
def test_half_a_percent_of_noise_on_one_tensor_is_named_with_its_size(
    seen: Any,
) -> None:
    found = seen["stale"]
    assert _differ(found) == [DOWN]
    assert not _unread(found)
    tensor = found["tensors"][DOWN]
    # 0.005 of noise, and two roundings to bfloat16 of at most 2^-8 / sqrt(3) / 1.4 =
    # 0.0016 each, in quadrature.
    assert 0.0045 < tensor["l2"] < 0.0065
    assert tensor["own"] is True
    assert seen["stranger"]["tensors"][DOWN]["own"] is False
    assert 0.4 < tensor["share"] < 1


@pytest.mark.engine
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("linear", ["Packed", "Crude"])
def test_packed_layers_are_read_through_their_modules(
    seen: Any, linear: str, dtype: str
) -> None:
    """Kernels that round once, and kernels that round seven times: both pass, and 0.5%
    of noise passes in neither.
    """
    right = seen[f"{linear}-{dtype}-0.0"]
    wrong = seen[f"{linear}-{dtype}-0.005"]
    assert not _differ(right)
    assert not _unread(right)
    probed = [
        tensor for tensor in right["tensors"].values() if tensor["how"] == "probe"
    ]
    assert len(probed) == 12  # q, k, v, gate, up and down of two layers
    assert all(
        t["columns"] == t["of"] and t["share"] == 0 and t["units"] < t["limit"]
        for t in probed
    )
    assert _differ(wrong) == [DOWN]
    tensor = wrong["tensors"][DOWN]
    assert tensor["units"] > tensor["limit"]
    assert 0.0045 < tensor["l2"] < 0.0065


@pytest.mark.engine
def test_where_few_columns_can_be_read_the_random_input_decides(seen: Any) -> None:
    right = seen["few-columns"]["0.0"]
    wrong = seen["few-columns"]["0.005"]
    assert not _differ(right)
    assert _differ(wrong) == [DOWN]
    assert wrong["tensors"][DOWN]["columns"] == 4 < wrong["tensors"][DOWN]["of"]
    assert (
        wrong["tensors"][DOWN]["units"] > 1.2
    )  # 1.34 in the argument of core/worker/weights_probe.py
    # one rounding leaves 0.39 to 0.42 units on average; a thousand outputs scatter by a
    # twentieth of that
    for found in (right, seen["Packed-bfloat16-0.0"]):
        assert all(
            0.36 < t["units"] < 0.48
            for t in found["tensors"].values()
            if t["how"] == "probe"
        )


@pytest.mark.engine
@pytest.mark.parametrize(
    ("linear", "said", "is_fed"),
    [
        ("Unhelpful", "takes no plain rows (RuntimeError)", True),
        ("Activated", "does more than multiply by a matrix", True),
        ("Overflowing", "answers with numbers that are not finite", True),
        ("Silent", "does not say how many numbers it takes and gives", False),
        (
            "Mistaken",
            (
                "its module takes 24 numbers and gives 96, which is not what the files"
                " hold (48 x 48"
            ),
            False,
        ),
        ("Sharded", "and this is a shard of 2 ranks", False),
        (
            "Unknown",
            "its module (Unknown) is not known to multiply by one matrix",
            False,
        ),
    ],
)
def test_a_kernel_is_fed_what_its_module_says_or_nothing(
    seen: Any, linear: str, said: str, is_fed: bool
) -> None:
    """Kernels check nothing: sizes are the module's own and the files', or the tensor
    is unread, for this reason.
    """
    found = seen[linear]
    assert len(_unread(found)) == 12
    assert not _differ(found)
    reasons = [found["tensors"][name]["reason"] for name in _unread(found)]
    assert all(
        "the engine keeps it packed for its kernels, and " in reason
        for reason in reasons
    )
    assert any(said in reason for reason in reasons)
    assert bool(found["fed"]) is is_fed


@pytest.mark.engine
@pytest.mark.parametrize("linear", ["Packed", "Plain"])
def test_gpt2_whose_matrices_are_stored_the_other_way_round(
    seen: Any, linear: str
) -> None:
    """As vLLM (packed) and SGLang have it: wide, narrow and square ones, with a bias,
    are the file's turned around.
    """
    right = seen[f"gpt2-{linear}-0.0"]
    wrong = seen[f"gpt2-{linear}-0.02"]
    square = "transformer.h.1.attn.c_proj.weight"
    assert not _differ(right)
    assert not _unread(right)
    assert _differ(wrong) == [square]
    assert not _unread(wrong)
    assert 0.018 < wrong["tensors"][square]["l2"] < 0.022
    how = {
        name.split(".", 3)[3]: tensor["how"]
        for name, tensor in right["tensors"].items()
        if ".h." in name
    }
    assert {
        how[f"{part}.weight"]
        for part in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    } == {"probe" if linear == "Packed" else "digest"}
    assert right["fed"] == (
        [["Packed", width, "torch.bfloat16"] for width in (48, 192)]
        if linear == "Packed"
        else []
    )
    # all of it was read, the way round that the files have: two engines may keep it
    # differently and agree
    assert (
        wrong["tensors"][square]["digest"]
        == seen["gpt2-Packed-0.02"]["tensors"][square]["digest"]
    )


@pytest.mark.engine
def test_what_cannot_be_read_is_unread_with_the_reason(seen: Any) -> None:
    assert [
        seen["shard"]["tensors"][name]["reason"] for name in _unread(seen["shard"])
    ] == ["this is a shard of 2 ranks"]
    assert [
        seen["meta"]["tensors"][name]["reason"] for name in _unread(seen["meta"])
    ] == ["it is not in memory (offloaded)"]
    assert "no safetensors" in seen["bare"]["error"]
    assert "cannot be read" in seen["cut"]["error"]


@pytest.mark.engine
def test_numbers_in_another_order_are_asked_of_the_module(seen: Any) -> None:
    """A kernel's own layout of the right weights is no difference; rows that were
    really loaded in another order are.
    """
    right = seen["shuffled-True"]
    wrong = seen["shuffled-False"]
    assert not _differ(right)
    assert not _unread(right)
    assert right["tensors"][DOWN]["how"] == "probe"
    assert "another order" in right["tensors"][DOWN]["reason"]
    assert _differ(wrong) == [DOWN]
    assert wrong["tensors"][DOWN]["l2"] > 1


@pytest.mark.engine
def test_a_tied_head_is_told_and_another_head_is_named(seen: Any) -> None:
    copied = seen["copied head"]
    other = seen["other head"]
    for found in (copied, other):
        assert found["tied"] == {
            "loaded": False,
            "config": True,
            "file_has_head": False,
        }
    assert (
        not _differ(copied) and copied["tensors"]["lm_head.weight"]["same"] is True
    )  # a float32 copy: the same numbers
    assert copied["tensors"]["lm_head.weight"]["note"] == "rounded to bfloat16 first"
    assert _differ(other) == ["lm_head.weight"]
    assert other["tensors"]["lm_head.weight"]["l2"] == pytest.approx(
        2.0
    )  # -W against W


@pytest.mark.engine
def test_configuration_as_the_engine_has_it(seen: Any) -> None:
    assert seen["rope"]["config_differs"] == [
        ["rope_parameters.rope_theta", 10000.0, 7.0]
    ]
    assert not _differ(seen["rope"])


@pytest.mark.engine
def test_the_canonical_form_is_dtype_shape_and_contiguous_bytes(seen: Any) -> None:
    import hashlib

    plain, strided, reshaped, wider = seen["digests"]
    values = np.array([[1.0, -2.0], [3.5, 0.0]], "<f4")
    upper = (values.view("<u4") >> 16).astype(
        "<u2"
    )  # exact: these are bfloat16 numbers
    assert (
        plain
        == "sha256:"
        + hashlib.sha256(b'["bfloat16", [2, 2]]' + upper.tobytes()).hexdigest()
    )
    assert (
        wider
        == "sha256:"
        + hashlib.sha256(b'["float32", [2, 2]]' + values.tobytes()).hexdigest()
    )
    assert plain == strided
    assert len({plain, reshaped, wider}) == 3


def test_ranks_are_merged_worst_first() -> None:
    def rank(**same: bool | None) -> Fields:
        return {
            "tensors": [{"name": name, "same": value} for name, value in same.items()],
            "tied": {},
        }

    found = merged(
        [rank(a=True, b=True, c=None), rank(a=True, b=False, c=None), rank(d=True)]
    )
    assert {t["name"]: t["same"] for t in found["tensors"]} == {
        "a": True,
        "b": False,
        "c": None,
        "d": True,
    }
    assert found["ranks"] == 3
    with pytest.raises(LogdriftError, match="no safetensors"):
        merged([{"error": "no safetensors"}])


def test_a_question_that_an_engine_does_not_answer_is_refused() -> None:
    answering = {
        name for name, engine in ENGINES.items() if "weights" in engine.answers
    }
    assert answering == {"transformers", "vllm", "sglang"}
    with pytest.raises(
        LogdriftError,
        match="cannot be asked for 'nonsense': it can be asked for weights",
    ):
        answer("vllm", "nonsense", None, {}, Path())


# -- what is made of it


def test_equal_weights_rule_the_cause_out() -> None:
    (found,) = identity_evidence(loaded("trainer"), loaded("vllm"))
    assert (found.cause, found.score, found.signature, found.numbers["equal"]) == (
        "weights",
        0.0,
        "identity",
        True,
    )
    other_dtype = replace(
        loaded("trainer").tensors[0], digest="of float32", dtype="float32"
    )
    (found,) = identity_evidence(loaded("trainer", a=other_dtype), loaded("vllm"))
    assert found.numbers["equal"] is True


def test_another_tensor_on_one_side_is_the_cause_by_name() -> None:
    for pair in (
        (loaded("trainer"), loaded("vllm", b=off("b"))),
        (loaded("trainer", b=off("b")), loaded("vllm")),
    ):
        (found,) = identity_evidence(*pair)
        assert found.cause == "weights"
        assert found.score > 0.95
        assert found.numbers["tensor"] == "b"
        assert "b (relative L2 0.005, 60% of entries)" in found.sentence
    (found,) = identity_evidence(None, loaded("vllm", b=off("b")))
    assert found.score > 0.95


def test_the_same_stale_weights_on_both_sides_do_not_make_them_differ() -> None:
    (found,) = identity_evidence(
        loaded("trainer", b=off("b")), loaded("vllm", b=off("b"))
    )
    assert found.score == 0
    assert found.numbers["equal"] is True
    (found,) = identity_evidence(
        loaded("trainer", b=off("b", 0.004)),
        loaded("vllm", b=replace(off("b"), digest=None)),
    )
    assert found.numbers["equal"] is None  # both are off, nobody knows whether alike


def test_what_was_not_read_or_not_asked_rules_nothing_out() -> None:
    unread = LoadedTensor("c", None, None, reason="this is a shard of 2 ranks")
    (found,) = identity_evidence(loaded("trainer"), loaded("vllm", c=unread))
    assert found.score == 0
    assert found.numbers["equal"] is None
    assert "not read: c (vllm: this is a shard of 2 ranks)" in found.sentence
    (found,) = identity_evidence(loaded("trainer"), None)
    assert found.numbers["equal"] is None
    assert "the other side was not asked" in found.sentence
    assert identity_evidence(None, None) == []


def test_a_field_of_the_configuration_that_changes_the_function() -> None:
    a = replace(
        loaded("trainer"), config={"rope_theta": 1e4, "name": "x"}, config_differs=()
    )
    b = replace(
        loaded("vllm"),
        config={"rope_theta": 5e5, "name": "y"},
        config_differs=(("rope_theta", 1e4, 5e5), ("name", "x", "y")),
    )
    found = identity_evidence(a, b)
    assert [e.cause for e in found] == [
        "weights",
        "config",
    ]
    assert "rope_theta is 10000.0 in trainer" in found[1].sentence


@pytest.fixture
def apart(tmp_path: Path) -> Session:
    """Two captures far apart without any shape, in which other weights are the first
    guess.
    """
    sides = {"trainer": noise(0.3, 1), "rollout": noise(0.3, 2)}
    return made(tmp_path / "s", draw(1, (70,) * 8), sides)


def _score(session: Session, cause: str) -> float:
    found = diagnose(
        session,
        pair := make_pair(session, "trainer", "rollout"),
        identity_of(session, pair, saved_identities(session.folder)),
    )
    return next((ranked.score for ranked in found.causes if ranked.cause == cause), 0.0)


def _save(session: Session, found: LoadedWeights) -> None:
    data = {
        "backend": found.backend,
        "engine": found.engine,
        "facts": {"dtype": "bfloat16"},
    }
    tensors = [
        {
            "name": t.name,
            "same": t.same,
            "how": t.how,
            "dtype": t.dtype,
            "digest": t.digest,
            "file_digest": t.file_digest,
            "l2": t.l2,
            "share": t.share,
        }
        for t in found.tensors
    ]
    write_identity(session.folder, {**data, "tensors": tensors})


def test_why_takes_the_checks_as_evidence(apart: Session) -> None:
    pair = [("trainer", "rollout")]
    before = explain_session(apart, pair).to_json()
    assert _score(apart, "weights") > 0.3
    assert any(
        "only the files that it was started with" in each["why"]
        for each in before["pairs"][0]["not_checked"]
    )

    _save(apart, loaded("trainer"))
    _save(apart, loaded("rollout"))
    explained = explain_session(apart, pair)
    after = explained.to_json()
    assert _score(apart, "weights") < 0.05
    found = [each["cause"] for each in after["pairs"][0]["checked"]]
    assert found == ["weights"]
    assert "weights" not in {each["cause"] for each in after["pairs"][0]["not_checked"]}
    assert after["identity"]["rollout"]["as_on_disk"] == 3
    text = paint_text(why_document(explained.pairs), Canvas())
    assert "Checked" in text
    assert "loaded the same weights: 3 tensors compared" in " ".join(text.split())

    _save(apart, loaded("rollout", b=off("b")))
    named = explain_session(apart, pair).to_json()
    first = named["pairs"][0]["causes"][0]
    assert first["cause"] == "weights"
    assert first["score"] > 0.95
    assert first["separable"] is True
    assert first["evidence"][0]["signature"] == "identity"
    assert first["evidence"][0]["numbers"]["tensor"] == "b"
    assert named["pairs"][0]["checked"] == []
    assert [each["name"] for each in named["identity"]["rollout"]["differ"]] == ["b"]


def test_checks_of_other_files_than_the_captures_are_no_evidence(
    tmp_path: Path,
) -> None:
    rows = [[float("nan"), *np.linspace(-9, -3, 40)]]
    session = write_session(
        tmp_path / "s",
        [1],
        [capture("trainer/prefill", rows), capture("vllm/prefill", rows)],
    )
    info = session.captures[1]
    found = replace(
        loaded("vllm"),
        facts={"weights_digest": FACTS["weights_digest"], "dtype": "bfloat16"},
    )
    assert found.outdated(info, None) is None
    assert (
        found.outdated(info, "sha256:1") is None
    )  # unknown then, so nothing contradicts
    assert "files of the session's model have changed" in str(
        replace(found, files_digest="sha256:2").outdated(info, "sha256:1")
    )
    later = replace(found, facts={**found.facts, "weights_digest": "sha256:9"})
    assert later.outdated(info, None) == "weights_digest is another than in the capture"
    pair = make_pair(session, "trainer", "vllm")
    assert identity_of(session, pair, {"vllm": later}) == []
    assert identity_of(session, pair, {"vllm": found}) != []
    outdated = identity_document(identities_of(session, {"vllm": later}), {})
    assert "no evidence any more" in paint_text(outdated, Canvas())


def test_a_damaged_check_is_one_line(apart: Session, run_logdrift: Run) -> None:
    _save(apart, loaded("trainer"))
    assert read_identity(apart.folder, "trainer") is not None
    assert read_identity(apart.folder, "nobody") is None
    (apart.folder / "why" / "identity" / "trainer.json").write_text('{"tensors": [{}]}')
    with refused(r"trainer\.json: is damaged"):
        read_identity(apart.folder, "trainer")
    done = run_logdrift("why", apart.folder)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


def test_text_fits_and_hostile_names_are_made_visible(apart: Session) -> None:
    evil = LoadedTensor("\x1b[2Jmodel" + "x" * 90, False, "digest", l2=0.5, share=1.0)
    unread = LoadedTensor("c", None, None, reason="\x07packed")
    found = identities_of(apart, {"vllm": loaded("vllm", a=evil, c=unread)})
    failed = {"sglang": "its worker was killed by SIGKILL"}
    text = paint_text(identity_document(found, failed), Canvas())
    assert all(line.isprintable() and len(line) <= 80 for line in text.splitlines())
    assert (
        "1 of 3 tensors differs from disk, 1 not read, 1 as on disk (1 by digest)"
        in " ".join(text.split())
    )
    assert "not checked: its worker was killed" in " ".join(text.split())


# -- the command


@pytest.fixture(scope="module")
def stale(tmp_path_factory: pytest.TempPathFactory, noisy_small_model: Path) -> Path:
    """The sample with two more trainers: one with 0.5% noise on one tensor, one whose
    interpreter is none.
    """
    folder = tmp_path_factory.mktemp("identity")
    session = folder / "session"
    shutil.copytree(SAMPLE, session)
    data = json.loads((session / "session.json").read_text())
    trainer = next(b for b in data["plan"]["backends"] if b["name"] == "trainer")
    data["plan"]["backends"] += [
        {**trainer, "name": "stale", "model": str(noisy_small_model)},
        {**trainer, "name": "broken", "python": "/bin/false"},
    ]
    ours = next(c for c in data["captures"] if c["label"] == "trainer/prefill")
    copied = {**copy.deepcopy(ours), "label": "stale/prefill", "backend": "stale"}
    copied["facts"]["weights_digest"] = None
    for part in copied["parts"]:
        theirs = part["file"]
        part["file"] = theirs.replace("trainer/", "stale/")
        (session / part["file"]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(session / theirs, session / part["file"])
    data["captures"].append(copied)
    (session / "session.json").write_text(json.dumps(data))
    trust.remember(read_manifest(session))
    return session


@pytest.mark.engine
def test_ctrl_c_keeps_what_is_finished(stale: Path, transformers_python: Path) -> None:
    """Runs before the next test, which goes on from here."""
    process = subprocess.Popen(
        [
            str(LOGDRIFT),
            "why",
            str(stale),
            "--identity",
            "--backend",
            "trainer",
            "--backend",
            "stale",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.default_int_handler
        ),  # a background job ignores it
    )
    finished = stale / "why" / "identity" / "trainer.json"
    deadline = time.monotonic() + 300
    while (
        not finished.exists() and process.poll() is None and time.monotonic() < deadline
    ):
        time.sleep(0.05)
    assert finished.exists()
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert sorted(p.name for p in finished.parent.iterdir()) == ["trainer.json"]
    assert not (stale / "lock").exists()
    assert open_session(stale).state == "complete"


@pytest.mark.engine
def test_one_tensor_of_half_a_percent_noise_is_named(
    stale: Path, run_logdrift: Run
) -> None:
    if not (stale / "why" / "identity" / "trainer.json").exists():
        assert (
            run_logdrift("why", stale, "--identity", "--backend", "trainer").returncode
            == 0
        )
    done = run_logdrift(
        "why", stale, "--identity", "--backend", "broken", "--backend", "stale"
    )
    assert done.returncode == 1
    assert "broken: failed: backend 'broken'" in done.stderr
    assert (
        "1 of 2 backends could not be checked: broken" in done.stderr.splitlines()[-1]
    )
    assert "stale: asking for weights" in done.stderr
    text = " ".join(done.stdout.split())
    assert (
        "stale 1 of 272 tensors differs from disk, 271 as on disk (271 by digest)"
        in text
    )
    assert f"{TENSOR} (relative L2 0.0053, " in text
    assert "it is that of the backend's own model" in text
    assert "head tied to the embedding, as the config says" in text
    why = run_logdrift("why", stale, "--pair", "trainer:stale", "--json")
    report = json.loads(why.stdout)
    assert report["identity"]["trainer"]["as_on_disk"] == 272
    (differs,) = report["identity"]["stale"]["differ"]
    assert differs["name"] == TENSOR
    assert 0.0045 < differs["l2"] < 0.0065
    assert differs["own"] is True
    first = report["pairs"][0]["causes"][0]
    # The numbers of this made session are equal: what speaks is the check alone.
    assert first["cause"] == "weights"
    assert first["score"] > 0.95
    assert TENSOR in first["evidence"][0]["sentence"]
    assert "weights" not in {
        each["cause"] for each in report["pairs"][0]["not_checked"]
    }


_DEADLY = """
import importlib.abc, importlib.machinery, os, signal, sys

class Deadly(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name != "logdrift.core.worker.weights_read":
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        load = spec.loader.exec_module
        def exec_module(module):
            load(module)
            read = module.read
            module.read = lambda model, arguments: read(packed(model), arguments)
        spec.loader.exec_module = exec_module
        return spec

def packed(model):
    import torch
    old = model.model.layers[0].mlp.down_proj
    if old.weight.dtype != torch.bfloat16:
        return model
    class LinearBase(torch.nn.Module):
        def forward(self, rows):
            os.kill(os.getpid(), getattr(signal, os.environ["LOGDRIFT_TEST_SIGNAL"]))
            signal.pause()
    new = LinearBase()
    new.output_size, new.input_size = old.weight.shape
    new.weight = torch.nn.Parameter(torch.empty(0, dtype=old.weight.dtype), requires_grad=False)
    model.model.layers[0].mlp.down_proj = new
    return model

sys.meta_path.insert(0, Deadly())
"""
"""Put beside an engine's interpreter: one layer is packed as vLLM packs it, and its
kernel ends the process that asks it.
"""


@pytest.mark.engine
def test_a_probe_that_kills_its_engine_is_one_failed_answer(
    transformers_python: Path, small_model: Path, run_logdrift: Run, tmp_path: Path
) -> None:
    """The next backend is asked all the same, and text, JSON, `why` and the exit code
    say what happened, and where.
    """
    session = tmp_path / "session"
    shutil.copytree(SAMPLE, session)
    trust.remember(read_manifest(session))
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(_DEADLY)
    environment = {
        "PYTHONPATH": str(tmp_path / "site"),
        "LOGDRIFT_TEST_SIGNAL": "SIGSEGV",
    }
    asked = [
        "why",
        session,
        "--identity",
        "--backend",
        "trainer",
        "--backend",
        "reference",
        "--json",
    ]
    done = run_logdrift(*asked, **environment)
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1].endswith(
        "1 of 2 backends could not be checked: trainer"
    )
    said = "worker was killed by SIGSEGV"
    where = (
        "while the module of model.layers.0.mlp.down_proj.weight was asked for its"
        " weights"
    )
    report = json.loads(done.stdout)
    assert said in report["failed"]["trainer"]
    assert where in report["failed"]["trainer"]
    assert report["identity"]["reference"]["as_on_disk"] == 272
    folder = session / "why" / "identity"
    assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == [
        "reference.json",
        "trainer.json",
    ]
    assert not (session / "lock").exists()

    why = json.loads(
        run_logdrift("why", session, "--pair", "reference:trainer", "--json").stdout
    )
    assert said in why["identity_failed"]["trainer"]
    (unchecked,) = [
        each
        for each in why["pairs"][0]["not_checked"]
        if "could not be asked" in each["why"]
    ]
    assert unchecked["cause"] == "weights"
    assert said in unchecked["why"]

    # Alone it is one failed answer too, and a later check that works is the last word.
    environment["LOGDRIFT_TEST_SIGNAL"] = "SIGABRT"
    alone = run_logdrift(
        "why", session, "--identity", "--backend", "trainer", **environment
    )
    assert alone.returncode == 1
    assert "worker was killed by SIGABRT" in " ".join(alone.stdout.split())
    assert (
        run_logdrift("why", session, "--identity", "--backend", "trainer").returncode
        == 0
    )
    assert saved_failures(session) == {}


@pytest.mark.engine
def test_a_question_can_be_cancelled_from_outside(
    stale: Path, transformers_python: Path
) -> None:
    """As a screen does it, from a thread: the worker is gone, the lock too, and nothing
    is written.
    """
    session = open_session(stale)
    (spec,) = chosen_backends(session, ["reference"])
    cancel = threading.Event()
    told = []
    before = descendants(
        os.getpid()
    )  # what other tests of this process may not have reaped yet
    cancel.set()
    with pytest.raises(KeyboardInterrupt):
        ask(
            session,
            spec,
            "weights",
            {},
            stale / "why" / "identity",
            say=told.append,
            cancel=cancel,
        )
    assert told == []
    assert not (stale / "lock").exists()
    assert not (stale / "why" / "identity" / "reference.json").exists()
    assert descendants(os.getpid()) <= before


def test_bad_input_is_one_line(
    run_logdrift: Run, apart: Session, tmp_path: Path
) -> None:
    held = tmp_path / "held"
    captured_here(Path(shutil.copytree(SAMPLE, held)))
    lock = {"host": "elsewhere", "pid": 1, "started": 1, "token": "x", "since": 0}
    (held / "lock").write_text(json.dumps(lock))
    for arguments, said in (
        (["why", SAMPLE, "--identity", "--backend", "nobody"], "no backend 'nobody'"),
        (
            ["why", SAMPLE, "--identity", "--backend", "trainer"],
            "samples that come with logdrift",
        ),
        (
            ["why", SAMPLE, "--identity", "--pair", "trainer:vllm"],
            "--identity checks backends, not pairs",
        ),
        (
            ["why", SAMPLE, "--backend", "vllm"],
            "--backend names a backend for --identity",
        ),
        (["why", apart.folder, "--identity"], "no plan"),
        (
            ["why", held, "--identity", "--backend", "trainer"],
            "is being written by process 1 on elsewhere",
        ),
    ):
        done = run_logdrift(*arguments)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (
            2,
            "",
            1,
        ), (arguments, done.stderr)
        assert said in done.stderr


def test_a_check_from_disk_points_to_the_server_that_runs() -> None:
    """What a bad weight sync left in an engine is not on its disk."""
    session = open_session(SAMPLE)
    for engine, points in (("vllm", True), ("sglang", True), ("transformers", False)):
        weights = replace(loaded("some"), engine=engine)
        found = identities_of(session, {"some": weights})
        text = paint_text(identity_document(found, {}), Canvas())
        said = " ".join(text.split())
        command = f"--backend {engine},server=http://HOST:PORT"
        assert (command in said) == points
