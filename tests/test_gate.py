"""The gate: each reason is given when, and only when, there is cause for it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from core.compare.gate import Gate, judge
from core.compare.pair import make_pair
from core.session.reader import Session
from tests.made_sessions import capture, edit_manifest, write_session

NAN, INF = math.nan, math.inf
DOCS = Path(__file__).resolve().parent.parent / "docs" / "report.md"
ROW = [[NAN, -1.0, -2.0], [NAN, -1.5, -0.5]]
PLAN: dict[str, Any] = {"model": "made", "backends": [{"name": "vllm", "engine": "vllm"}]}


def plan(**sampling: Any) -> dict[str, Any]:
    return {**PLAN, "sampling": sampling}


def session_of(
    folder: Path, a: dict[str, Any] | None = None, b: dict[str, Any] | None = None, *,
    label_a: str = "trainer/prefill", label_b: str = "vllm/decode", manifest: dict[str, Any] | None = None,
) -> Session:  # fmt: skip
    """Two captures; ``a`` and ``b`` change their fields, ``rows`` the numbers, ``facts`` the facts."""
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
        ({}, {"facts": {"vocab_size": 101}}, "vocabulary", "not_comparable", "trainer/prefill: 100, vllm/decode: 101"),
        ({"facts": {"tokenizer_digest": "sha256:x"}}, {}, "tokenizer", "not_comparable", "same tokenizer"),
        ({}, {"facts": {"weights_digest": "sha256:y"}}, "weights", "not_comparable", "sync the weights"),
        ({}, {"facts": {"config_digest": "sha256:z"}}, "config", "caution", "config.json"),
        ({}, {"facts": {"dtype": "float16"}}, "dtype", "caution", "0.02-0.04"),
        ({"facts": {"dtype": "float32"}}, {"facts": {"dtype": "float16"}}, "dtype", "caution", "0.002-0.005"),
        ({}, {"facts": {"head_dtype": "float32"}}, "head_dtype", "caution", "LM head works in bfloat16 in trainer"),
        ({}, {"facts": {"logits_dtype": "bfloat16"}}, "logits_dtype", "caution", "same precision"),
        ({}, {"facts": {"quantization": "awq"}}, "quantization", "caution", r"quantised \(awq\)"),
        ({}, {"status": "failed", "rows": ROW[:1], "failure": "x"}, "failed", "caution", "failed after 1 of 2 sequences"),
        ({"status": "running", "rows": ROW[:1]}, {}, "partial", "caution", "1 of 2 sequences"),
        ({}, {"status": "pending", "rows": []}, "empty", "not_comparable", "no finished sequence in vllm/decode"),
        ({"rows": [[NAN, -1.0, -2.0], [NAN, NAN, -1.0]]}, {}, "unscored", "caution", "no score for 1 completion"),
        ({}, {"rows": [[NAN, -1.0, -INF], [NAN, -1.5, -0.5]]}, "infinite", "caution", "1 tokens are impossible"),
        ({"rows": [[NAN, 0.5, -2.0], [NAN, -1.5, -0.5]]}, {}, "positive", "not_comparable", "1 tokens"),
        ({"rows": [[NAN] * 3, [NAN] * 3]}, {}, "empty", "not_comparable", "no token has a score on both sides"),
        ({}, {"facts": {"decode_logprobs": None}}, "semantics_unknown", "caution", "vllm/decode"),
        ({}, {"facts": {"decode_logprobs": "processed", "temperature": None}}, "semantics_unknown", "caution", "T=1"),
        ({}, {"facts": {"head_dtype": None}}, "unknown", "caution", "vllm/decode: head_dtype not observed"),
        ({}, {"facts": {"weights_digest": None, "dtype": None}}, "unknown", "caution", "dtype, weights_digest not obs"),
        ({"facts": None}, {}, "unknown", "caution", "trainer/prefill: nothing was observed"),
    ],
)  # fmt: skip
def test_each_reason(
    tmp_path: Path, a: dict[str, Any], b: dict[str, Any], code: str, severity: str, said: str
) -> None:  # fmt: skip
    gate = judged(session_of(tmp_path, a, b, manifest={"plan": plan()}))
    assert codes(gate).get(code) == severity
    reason = next(r for r in gate.reasons if r.code == code)
    import re

    assert re.search(said, reason.text)
    assert gate.verdict == ("not_comparable" if severity == "not_comparable" else "caution")
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
    tmp_path: Path, said: str, temperature: float, sampling: dict[str, Any], wanted: str | None
) -> None:
    facts = {"decode_logprobs": said, "temperature": temperature}
    gate = judged(session_of(tmp_path, b={"facts": facts}, manifest={"plan": plan(**sampling)}))
    found = {code for code in codes(gate) if code in ("temperature", "semantics", "semantics_unknown")}
    assert found == ({wanted} if wanted else set())
    assert gate.verdict == ("not_comparable" if wanted else "comparable")


def test_the_semantics_are_those_of_the_path(tmp_path: Path) -> None:
    """SGLang scales what it decodes and not what it prefills: its own two paths do not compare at T=0.7."""
    facts = {"decode_logprobs": "temperature_scaled", "prefill_logprobs": "raw", "temperature": 0.7}
    session = session_of(
        tmp_path, {"facts": facts}, {"facts": facts}, label_a="sglang/decode", label_b="sglang/prefill",
        manifest={"plan": plan(temperature=0.7)},
    )  # fmt: skip
    gate = judged(session)
    assert codes(gate)["temperature"] == "not_comparable"
    assert "sglang/decode gives log-probabilities of logits / 0.7, sglang/prefill of raw logits" in gate.reasons[0].text


def test_processed_without_a_plan_is_not_taken_for_raw(tmp_path: Path) -> None:
    gate = judged(session_of(tmp_path, b={"facts": {"decode_logprobs": "processed"}}))
    assert codes(gate)["semantics"] == "not_comparable"


def test_both_processed_alike_is_a_caution(tmp_path: Path) -> None:
    facts = {"decode_logprobs": "processed", "prefill_logprobs": "processed"}
    session = session_of(tmp_path, {"facts": facts}, {"facts": facts}, manifest={"plan": plan(top_p=0.9)})
    assert codes(judged(session)) == {"processed": "caution", "sampling": "info"}


def test_a_reference_in_float32_is_what_one_wants(tmp_path: Path) -> None:
    facts = {"dtype": "float32", "head_dtype": "float32"}
    gate = judged(session_of(tmp_path, {"facts": facts}, label_a="reference/prefill"))
    assert codes(gate) == {"dtype": "info", "head_dtype": "info"}
    assert gate.verdict == "comparable"


def test_paths_of_one_backend_share_their_model(tmp_path: Path) -> None:
    facts = {"weights_digest": None, "head_dtype": None}
    session = session_of(tmp_path, {"facts": facts}, {"facts": facts}, label_a="vllm/decode", label_b="vllm/prefill")
    assert judged(session).verdict == "comparable"


def test_truncated_sampling_is_mentioned(tmp_path: Path) -> None:
    gate = judged(session_of(tmp_path, manifest={"plan": plan(top_p=0.9, temperature=0.7)}))
    assert codes(gate) == {"sampling": "info"}
    assert "T=0.7, top_p=0.9" in gate.reasons[0].text
    assert gate.verdict == "comparable"


@pytest.mark.parametrize("what", ["gap", "tokens"])
def test_parts_that_do_not_cover_their_tokens(tmp_path: Path, what: str) -> None:
    rows = [[NAN, -1.0, -2.0]] * 4
    captures = [capture("trainer/prefill", rows), capture("vllm/decode", rows)]
    session = write_session(tmp_path / "s", [1] * 4, captures)

    def change(data: dict[str, Any]) -> None:
        parts = data["captures"][1]["parts"]
        if what == "gap":
            del parts[0]
        else:
            parts[1]["tokens"] += 1

    gate = judged(edit_manifest(session, change))
    assert codes(gate)["ids"] == "not_comparable"
    assert gate.verdict == "not_comparable"


def test_worst_reason_first(tmp_path: Path) -> None:
    facts = {"dtype": "float32", "weights_digest": "sha256:y", "head_dtype": None}
    gate = judged(session_of(tmp_path, {"facts": facts}, label_a="reference/prefill"))
    assert [r.severity for r in gate.reasons] == ["not_comparable", "caution", "info"]


def test_every_code_is_documented() -> None:
    import re

    source = (DOCS.parent.parent / "core" / "compare" / "gate.py").read_text()
    called = set(re.findall(r'_(?:refuse|caution|note)\(\s*"(\w+)"', source))
    named = {"head_dtype", "logits_dtype", "vocabulary", "tokenizer", "weights", "temperature", "semantics"}
    text = DOCS.read_text(encoding="utf-8")
    assert len(called) >= 12
    assert [code for code in sorted(called | named) if f"`{code}`" not in text] == []
