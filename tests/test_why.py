"""`logdrift why` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.common import SAMPLE, Run


def test_text_and_json_say_the_same(run_logdrift: Run) -> None:
    text = run_logdrift("why", SAMPLE)
    data = run_logdrift("why", SAMPLE, "--json")
    assert text.returncode == data.returncode == 0, text.stderr + data.stderr
    report = json.loads(data.stdout)
    assert len(report["pairs"]) == 1
    assert report["pairs"][0]["noise"] is True
    assert "numerical noise, nothing to fix" in text.stdout
    assert text.stdout.isprintable() or all(
        line.isprintable() for line in text.stdout.splitlines()
    )
    assert not text.stderr


def test_pairs_are_chosen_as_in_the_report(run_logdrift: Run) -> None:
    done = run_logdrift(
        "why",
        SAMPLE,
        "--pair",
        "trainer:vllm/prefill",
        "--pair",
        "reference:trainer",
        "--json",
    )
    assert done.returncode == 0, done.stderr
    assert [(p["a"], p["b"]) for p in json.loads(done.stdout)["pairs"]] == [
        ("trainer/prefill", "vllm/prefill"),
        ("reference/prefill", "trainer/prefill"),
    ]


def test_the_table_of_causes_needs_no_session(run_logdrift: Run) -> None:
    done = run_logdrift("why", "--causes")
    data = run_logdrift("why", "--causes", "--json")
    assert done.returncode == 0
    assert " 6 other token ids" in done.stdout
    assert "30 sampling kernel" in done.stdout
    assert "[more than one change]" in " ".join(done.stdout.split())
    assert len(json.loads(data.stdout)["causes"]) == 31


def test_bad_input_is_one_line(run_logdrift: Run, tmp_path: Path) -> None:
    for arguments in (
        ["why"],
        ["why", tmp_path / "none"],
        ["why", SAMPLE, "--pair", "nobody:vllm"],
        ["why", SAMPLE, "--sideways"],
        ["why", SAMPLE, "--dry-run", "--repeats", "1"],
        ["why", SAMPLE, "--dry-run", "--budget", "soon"],
        ["why", SAMPLE, "--dry-run", "--only", "nonsense"],
        ["why", SAMPLE, "--budget", "10m"],
        ["why", SAMPLE, "--run"],
        ["why", SAMPLE, "--layers", "one"],
        ["why", SAMPLE, "--layers", "99", "--debuggers"],
        ["why", SAMPLE, "--debuggers"],
        ["why", SAMPLE, "--identity", "--backend", "nobody"],
    ):
        done = run_logdrift(*arguments)
        assert done.returncode == 2
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1


def test_a_dry_run_says_what_would_run_and_why_the_rest_would_not(
    run_logdrift: Run,
) -> None:
    """The plan of a shipped session can be looked at; --only leaves out what it did not
    ask about.
    """
    whole = json.loads(run_logdrift("why", SAMPLE, "--dry-run", "--json").stdout)
    causes = {each["cause"] for each in whole["experiments"]}
    assert causes >= {
        "compute_dtype",
        "head_dtype",
        "norm_rope",
        "attention",
        "compile",
        "decode_path",
        "batch",
        "chunked_prefill",
        "prefix_cache",
    }
    assert any("needs a GPU" in each["reason"] for each in whole["left_out"])
    some = run_logdrift("why", SAMPLE, "--dry-run", "--only", "attention").stdout
    assert some.startswith("1 experiment, ")
    assert "attn_implementation=eager" in some
    assert "logprobs_mode" not in some
