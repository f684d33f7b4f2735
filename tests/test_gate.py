"""The gate: each reason is given when, and only when, there is cause for it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from logdrift.core.compare.gate import Gate, judge
from logdrift.core.compare.pair import list_pairs, make_pair
from logdrift.core.session.reader import Session, open_session
from tests.common import INF, NAN, Fields, refused
from tests.made_sessions import capture, edit_manifest, write_session

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs" / "gate.md"
SAMPLE = ROOT / "sessions" / "sample-smollm2"
ROW = [[NAN, -1.0, -2.0], [NAN, -1.5, -0.5]]
PLAN: Fields = {
    "model": "made",
    "backends": [{"name": "vllm", "engine": "vllm"}],
}


def plan(**sampling: Any) -> Fields:
    return {**PLAN, "sampling": sampling}


def session_of(
    folder: Path,
    a: Fields | None = None,
    b: Fields | None = None,
    *,
    label_a: str = "trainer/prefill",
    label_b: str = "vllm/decode",
    manifest: Fields | None = None,
) -> Session:
    """Two captures; ``a`` and ``b`` change their fields, ``rows`` the numbers,
    ``facts`` the facts.
    """
    captures = []
    for label, changes in ((label_a, a or {}), (label_b, b or {})):
        rest = {key: value for key, value in changes.items() if key != "rows"}
        captures.append(capture(label, changes.get("rows", ROW), **rest))
    return write_session(folder / "s", [1, 1], captures, **(manifest or {}))


def judged(session: Session) -> Gate:
    a, b = (info.label for info in session.captures)
    return judge(session, make_pair(session, a, b))


def codes(gate: Gate) -> dict[str, str]:
    return {reason.code: reason.severity for reason in gate.reasons}


def test_nothing_to_say(tmp_path: Path) -> None:
    gate = judged(session_of(tmp_path, manifest={"plan": plan()}))
    assert gate == Gate("comparable", ())


@pytest.mark.parametrize(
    ("a", "b", "code", "severity", "said"),
    [
        (
            {},
            {"facts": {"vocab_size": 101}},
            "vocabulary",
            "not_comparable",
            "trainer/prefill: 100, vllm/decode: 101",
        ),
        (
            {"facts": {"tokenizer_digest": "sha256:x"}},
            {},
            "tokenizer",
            "not_comparable",
            "same tokenizer",
        ),
        (
            {},
            {"facts": {"weights_digest": "sha256:y"}},
            "weights",
            "not_comparable",
            "sync the weights",
        ),
        (
            {},
            {"facts": {"config_digest": "sha256:z"}},
            "config",
            "caution",
            "config.json",
        ),
        ({}, {"facts": {"dtype": "float16"}}, "dtype", "caution", "0.005 to 0.06"),
        (
            {"facts": {"dtype": "float32"}},
            {"facts": {"dtype": "float16"}},
            "dtype",
            "caution",
            "0.0005 to 0.01",
        ),
        (
            {},
            {"facts": {"head_dtype": "float32"}},
            "head_dtype",
            "caution",
            "LM head works in bfloat16 in trainer",
        ),
        (
            {},
            {"facts": {"logits_dtype": "bfloat16"}},
            "logits_dtype",
            "caution",
            "same precision",
        ),
        (
            {},
            {"facts": {"quantization": "awq"}},
            "quantization",
            "caution",
            r"quantised \(awq\)",
        ),
        (
            {},
            {"status": "failed", "rows": ROW[:1], "failure": "x"},
            "failed",
            "caution",
            "failed after 1 of 2 sequences",
        ),
        (
            {"status": "running", "rows": ROW[:1]},
            {},
            "partial",
            "caution",
            "1 of 2 sequences",
        ),
        (
            {},
            {"status": "pending", "rows": []},
            "empty",
            "not_comparable",
            "no finished sequence in vllm/decode",
        ),
        (
            {"rows": [[NAN, -1.0, -2.0], [NAN, -1.0, NAN]]},
            {},
            "unscored",
            "caution",
            "no score for 1 of the 4 completion tokens that vllm/decode scored",
        ),
        (
            {},
            {"rows": [[NAN, -1.0, -INF], [NAN, -1.5, -0.5]]},
            "infinite",
            "caution",
            "1 token is impossible",
        ),
        (
            {"rows": [[NAN, 0.5, -2.0], [NAN, -1.5, -0.5]]},
            {},
            "positive",
            "not_comparable",
            "1 token",
        ),
        (
            {"rows": [[NAN] * 3, [NAN] * 3]},
            {},
            "empty",
            "not_comparable",
            "no token has a score on both sides",
        ),
        (
            {},
            {"facts": {"decode_logprobs": None}},
            "semantics_unknown",
            "caution",
            "vllm/decode",
        ),
        (
            {},
            {"facts": {"decode_logprobs": "processed", "temperature": None}},
            "semantics_unknown",
            "caution",
            "T=1",
        ),
        (
            {},
            {"facts": {"head_dtype": None}},
            "unknown",
            "caution",
            "vllm/decode: head_dtype not observed",
        ),
        (
            {},
            {"facts": {"weights_digest": None, "dtype": None}},
            "unknown",
            "caution",
            "weights_digest, dtype not obs",
        ),
        (
            {"facts": None},
            {},
            "unknown",
            "caution",
            "trainer/prefill: nothing was observed",
        ),
    ],
)
def test_each_reason(
    tmp_path: Path,
    a: Fields,
    b: Fields,
    code: str,
    severity: str,
    said: str,
) -> None:
    gate = judged(session_of(tmp_path, a, b, manifest={"plan": plan()}))
    # A capture without sequences is unfinished too, one without scores has none, one
    # without facts tells no semantics.
    along = (
        {"partial", "unscored", "semantics_unknown"}
        if code in ("empty", "unknown")
        else set()
    )
    assert {c: s for c, s in codes(gate).items() if c not in along - {code}} == {
        code: severity
    }
    reason = next(r for r in gate.reasons if r.code == code)
    assert re.search(said, reason.text)
    assert gate.verdict == (
        "not_comparable" if severity == "not_comparable" else "caution"
    )
    assert reason.text.endswith(".")
    assert "\n" not in reason.text


@pytest.mark.parametrize(
    ("said", "temperature", "sampling", "wanted"),
    [
        ("raw", 0.7, {}, None),
        ("temperature_scaled", 1.0, {}, None),
        ("temperature_scaled", 0.0, {}, None),
        ("temperature_scaled", 0.7, {}, "temperature"),
        ("temperature_scaled", 1.0, {"top_p": 0.9, "top_k": 50}, None),
        ("temperature_scaled", 1.0, {"repetition_penalty": 1.1}, "semantics"),
        ("processed", 1.0, {}, None),
        ("processed", 0.7, {}, "temperature"),
        ("processed", 1.0, {"top_p": 0.9}, "semantics"),
        ("processed", 1.0, {"top_k": 50}, "semantics"),
        ("processed", 1.0, {"min_p": 0.1}, "semantics"),
    ],
)
def test_what_the_numbers_mean(
    tmp_path: Path,
    said: str,
    temperature: float,
    sampling: Fields,
    wanted: str | None,
) -> None:
    facts = {"decode_logprobs": said, "temperature": temperature}
    gate = judged(
        session_of(tmp_path, b={"facts": facts}, manifest={"plan": plan(**sampling)})
    )
    found = {
        code
        for code in codes(gate)
        if code in ("temperature", "semantics", "semantics_unknown")
    }
    assert found == ({wanted} if wanted else set())
    assert gate.verdict == ("not_comparable" if wanted else "comparable")


def test_the_semantics_are_those_of_the_path(tmp_path: Path) -> None:
    """SGLang scales what it decodes and not what it prefills: its own two paths do not
    compare at T=0.7.
    """
    facts = {
        "decode_logprobs": "temperature_scaled",
        "prefill_logprobs": "raw",
        "temperature": 0.7,
    }
    session = session_of(
        tmp_path,
        {"facts": facts},
        {"facts": facts},
        label_a="sglang/decode",
        label_b="sglang/prefill",
        manifest={"plan": plan(temperature=0.7)},
    )
    gate = judged(session)
    assert codes(gate)["temperature"] == "not_comparable"
    assert (
        "sglang/decode gives log-probabilities of logits / 0.7, sglang/prefill of raw"
        " logits" in gate.reasons[0].text
    )


def test_processed_without_a_plan_is_not_taken_for_raw(tmp_path: Path) -> None:
    gate = judged(session_of(tmp_path, b={"facts": {"decode_logprobs": "processed"}}))
    assert codes(gate)["semantics"] == "not_comparable"


def test_both_processed_alike_is_a_caution(tmp_path: Path) -> None:
    facts = {"decode_logprobs": "processed", "prefill_logprobs": "processed"}
    session = session_of(
        tmp_path, {"facts": facts}, {"facts": facts}, manifest={"plan": plan(top_p=0.9)}
    )
    expected = {"processed": "caution", "sampling": "info"}
    assert codes(judged(session)) == expected


def test_a_reference_in_float32_is_what_one_wants(tmp_path: Path) -> None:
    facts = {"dtype": "float32", "head_dtype": "float32"}
    gate = judged(session_of(tmp_path, {"facts": facts}, label_a="reference/prefill"))
    assert codes(gate) == {"dtype": "info"}
    assert gate.verdict == "comparable"


def test_paths_of_one_backend_share_their_model(tmp_path: Path) -> None:
    facts = {"weights_digest": None, "head_dtype": None}
    session = session_of(
        tmp_path,
        {"facts": facts},
        {"facts": facts},
        label_a="vllm/decode",
        label_b="vllm/prefill",
    )
    assert judged(session).verdict == "comparable"


def test_truncated_sampling_is_mentioned(tmp_path: Path) -> None:
    gate = judged(
        session_of(tmp_path, manifest={"plan": plan(top_p=0.9, temperature=0.7)})
    )
    assert codes(gate) == {"sampling": "info"}
    assert "T=0.7, top_p=0.9" in gate.reasons[0].text
    assert gate.verdict == "comparable"


@pytest.mark.parametrize(
    ("what", "said"), [("gap", "begins at sequence 2, not at 0"), ("tokens", "lists 7")]
)
def test_parts_that_do_not_cover_their_tokens(
    tmp_path: Path, what: str, said: str
) -> None:
    rows = [[NAN, -1.0, -2.0]] * 4
    captures = [capture("trainer/prefill", rows), capture("vllm/decode", rows)]
    session = write_session(tmp_path / "s", [1] * 4, captures)

    def change(data: Fields) -> None:
        parts = data["captures"][1]["parts"]
        if what == "gap":
            del parts[0]
        else:
            parts[1]["tokens"] += 1

    with refused(said):
        judged(edit_manifest(session, change))


def test_a_scope_without_a_token(tmp_path: Path) -> None:
    session = session_of(tmp_path)
    pair = make_pair(session, "trainer/prefill", "vllm/decode")
    assert (
        judge(session, pair, "completion")
        == judge(session, pair)
        == Gate("comparable", ())
    )
    gate = judge(
        session, pair, "prompt"
    )  # the prompts are one token, which has no score
    assert gate.verdict == "not_comparable"
    assert codes(gate) == {"empty": "not_comparable"}


def test_worst_reason_first(tmp_path: Path) -> None:
    facts = {"dtype": "float32", "weights_digest": "sha256:y", "head_dtype": None}
    gate = judged(session_of(tmp_path, {"facts": facts}, label_a="reference/prefill"))
    found = [r.severity for r in gate.reasons]
    expected = ["not_comparable", "caution", "info"]
    assert found == expected


def test_a_head_that_follows_its_body_is_told_once(tmp_path: Path) -> None:
    whole = {"dtype": "float32", "head_dtype": "float32", "logits_dtype": "float32"}
    both = {"head_dtype": "float32", "logits_dtype": "float32"}
    other = {"logits_dtype": "bfloat16"}
    assert codes(judged(session_of(tmp_path / "1", {"facts": whole}))) == {
        "dtype": "caution"
    }
    assert codes(
        judged(session_of(tmp_path / "2", {"facts": both}, {"facts": other}))
    ) == {"head_dtype": "caution"}


def test_the_shipped_sample() -> None:
    """An ordinary capture is no page of noise: nothing lowers a verdict, and a few
    lines of context are all.
    """
    session = open_session(SAMPLE)
    found: dict[tuple[str, str], list[str]] = {}
    for a, b in list_pairs(session):
        gate = judge(session, make_pair(session, a, b))
        assert gate.verdict == "comparable"
        found[a, b] = [reason.code for reason in gate.reasons]
    assert found == {
        ("trainer/prefill", "vllm/decode"): ["attention"],
        ("trainer/prefill", "vllm/prefill"): ["attention"],
        ("trainer/prefill", "sglang/prefill"): ["attention"],
        ("reference/prefill", "trainer/prefill"): ["dtype"],
        ("reference/prefill", "vllm/decode"): ["dtype", "attention"],
        ("reference/prefill", "vllm/prefill"): ["dtype", "attention"],
        ("reference/prefill", "sglang/prefill"): ["dtype", "attention"],
        ("trainer/prefill#2", "trainer/prefill"): [],
        ("vllm/decode", "vllm/prefill"): [],
        ("vllm/prefill#2", "vllm/prefill"): [],
        ("sglang/prefill#2", "sglang/prefill"): [],
        ("vllm/prefill", "sglang/prefill"): ["attention"],
    }


def test_every_code_is_documented_and_every_documented_code_exists() -> None:
    gate = ROOT / "core" / "compare" / "gate"
    source = "\n".join(
        path.read_text(encoding="utf-8") for path in sorted(gate.glob("*.py"))
    )
    given = set(
        re.findall(r'\b(?:refuse|caution|note|setting|say)\(\s*"(\w+)"', source)
    )
    given |= {
        "head_dtype",
        "logits_dtype",
        "vocabulary",
        "tokenizer",
        "weights",
        "temperature",
        "semantics",
    }
    table = [
        line
        for line in DOCS.read_text(encoding="utf-8").splitlines()
        if re.match(r"\| `\w+`", line)
    ]
    documented = {
        code for line in table for code in re.findall(r"`(\w+)`", line.split("|")[1])
    }
    assert len(given) >= 35
    assert documented == given | {"not_comparable", "caution", "info"}
