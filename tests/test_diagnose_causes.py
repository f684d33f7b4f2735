"""The cause table: whole, in order, and honest about what a knob changes."""

from __future__ import annotations

from logdrift.core.compare.gate import CHECKS
from logdrift.core.diagnose.causes import BY_CODE, CAUSES, NOISE, cause
from logdrift.core.diagnose.knobs import SideState, Which, next_experiment
from logdrift.core.diagnose.signatures.facts import CAUSE_OF
from logdrift.core.report.causes import causes_document
from logdrift.core.report.layout import Canvas
from logdrift.core.report.paint.text import paint_text
from logdrift.core.session.layout import CaptureInfo

ENGINES = {"vllm", "sglang", "transformers"}


WITHOUT_KNOB = ("stale",)
"""No setting changes with which weights tokens were sampled."""


def test_there_are_31_causes_in_the_order_of_checking() -> None:
    found = [entry.number for entry in CAUSES]
    assert found == list(range(31))
    assert len(BY_CODE) == 31
    assert NOISE not in BY_CODE
    groups = [entry.group for entry in CAUSES]
    # Semantics, then the model, then numerics; padding is found late, among the model's
    # causes.
    assert groups.index("numerics") > max(
        i for i, group in enumerate(groups) if group != "numerics"
    )


def test_every_entry_says_what_it_is_how_it_shows_and_where_it_was_seen() -> None:
    for entry in CAUSES:
        for text in (
            entry.title,
            entry.sentence,
            entry.signature,
            entry.size,
            entry.source,
            entry.otherwise,
        ):
            assert text.strip(), entry.code
        assert entry.sentence.endswith("."), entry.code
        assert set(entry.knobs) <= ENGINES, entry.code
        # No engine has a knob for what a file holds.
        without = entry.group == "recording" or entry.code in WITHOUT_KNOB
        assert entry.knobs or without, entry.code
        for knobs in entry.knobs.values():
            assert knobs
            assert all(knob.setting for knob in knobs), entry.code
        assert entry.source == entry.link or "http" not in entry.source
        assert entry.link.startswith("https://"), entry.code


def test_a_link_of_the_table_is_never_broken_over_lines() -> None:
    shown = paint_text(causes_document(), Canvas(width=80)).splitlines()
    for entry in CAUSES:
        assert f"   {entry.link}" in shown, entry.code


def side(which: Which, engine: str, **values: object) -> SideState:
    info = CaptureInfo(
        f"{which}/prefill", which, engine, "bfloat16", "prefill", 1, "rollout"
    )
    return SideState(which=which, info=info, options={}, values=values)


def test_a_knob_that_changes_more_than_one_thing_says_so() -> None:
    for code, engine, setting in (
        ("compile", "vllm", "enforce_eager=true"),
        ("batch", "vllm", "VLLM_BATCH_INVARIANT=1"),
        ("batch", "sglang", "enable_deterministic_inference=true"),
        ("norm_rope", "sglang", "rl_on_policy_target=fsdp"),
    ):
        knob = next(k for k in cause(code).knobs[engine] if k.setting == setting)
        assert knob.combined
        assert knob.effect


def test_the_line_to_try_prefers_a_knob_that_changes_one_thing() -> None:
    trainer = side("a", "transformers")
    vllm = side("b", "vllm")
    sglang = side("b", "sglang")
    assert (
        next_experiment("compile", (trainer, vllm))
        == 'vllm: compilation_config={"mode": 0}, everything else equal'
    )
    assert "more than one" not in str(next_experiment("batch", (trainer, sglang)))
    assert next_experiment("padding", (vllm, sglang)) is None
    assert str(next_experiment("padding", (trainer, vllm))).startswith("transformers: ")


def test_the_line_to_try_is_something_that_would_change_something_here() -> None:
    on_cpu = (
        side("a", "transformers", device="cpu", attention_backend="sdpa"),
        side("b", "vllm", device="cpu"),
    )
    assert (
        next_experiment("attention", on_cpu)
        == "transformers: attn_implementation=eager, everything else equal"
    )
    on_gpu = (
        side("a", "transformers"),
        side("b", "vllm", device="cuda:0", attention_backend="FLASH_ATTN"),
    )
    assert (
        next_experiment("attention", on_gpu)
        == "vllm: attention_backend=TRITON_ATTN, everything else equal"
    )
    wide = (
        side("a", "transformers", head_dtype="float32"),
        side("b", "sglang", head_dtype="float32"),
    )
    assert next_experiment("head_dtype", wide) is None, "both have it already"


def test_reasons_of_the_gate_lead_to_causes_that_exist() -> None:
    assert set(CAUSE_OF.values()) <= set(BY_CODE)
    # the gate's codes are strings in its checks: docs/gate.md lists them, the next test
    # reads it
    assert CHECKS


def test_every_code_of_the_gate_is_of_a_cause_or_of_none_on_purpose() -> None:
    import re
    from pathlib import Path

    text = (Path(__file__).parent.parent / "docs" / "gate.md").read_text(
        encoding="utf-8"
    )
    codes = {
        code
        for row in re.findall(r"^\| (`.*?) \|", text, re.M)
        for code in re.findall(r"`(\w+)`", row)
    }
    codes -= {"not_comparable", "caution", "info"}
    of_none = {
        "empty",
        "no_completion",
        "no_prompt",
        "template",
        "semantics_unknown",
        "sampling",
        "sampled",
        "unscored",
        "failed",
        "partial",
        "unknown",
        "imported",
        "retokenised",  # a signature asks the numbers
        "probed",
        "told",
        "config_files",
        "unread",
        "full_batches",  # of captures that are made again; what is there is as it is
    }
    assert codes - of_none <= set(CAUSE_OF), codes - of_none - set(CAUSE_OF)
