"""`logdrift check` in CI: frameworks' names, a baseline, the exact certificate, and what
other tools read.
"""

from __future__ import annotations

import json
import math
import shlex
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml

from logdrift.cli.main import main
from logdrift.core.compare.framework_names import (
    FRAMEWORK_NAMES,
    framework_name,
    names_of,
)
from logdrift.core.compare.metric import METRICS
from logdrift.core.report.asked_limits import parse_limits
from tests.common import NAN, REPOSITORY, SAMPLE, Fields, Run, refused
from tests.made_sessions import BROKEN, capture, write_session
from tests.test_export import back_and_forth

DOCUMENT = (REPOSITORY / "docs" / "metrics.md").read_text("utf-8")
WORKFLOW = REPOSITORY / "docs" / "ci" / "logdrift.yml"


# ---- names of frameworks


def test_every_name_is_a_metric_and_stands_in_its_row_of_the_document() -> None:
    """docs/metrics.md says of each metric which names equal it: one table, two places
    would drift apart.
    """
    lines = DOCUMENT.splitlines()
    for row in FRAMEWORK_NAMES:
        assert row.metric in METRICS, row
        (line,) = [one for one in lines if one.startswith(f"| `{row.metric}` |")]
        name = row.name.removeprefix("policy/rollout_train_logprobs")
        assert row.framework in line, (row, line)
        assert name in line, (row, line)


@pytest.mark.parametrize(
    ("given", "path", "name"),
    [
        ("training/rollout_probs_diff_mean", "probability.mae", None),
        ("rollout_probs_diff_mean", "probability.mae", None),
        ("verl:kl", "mismatch.k1", "rollout_corr/kl"),
        ("train/gen_kl_error", "mismatch.k3", "gen_kl_error"),
        ("nemo_rl:token_mult_prob_error", "probability.mult_prob_error", None),
        ("mismatch_kl", "mismatch.k3", "mismatch_kl/all/mean"),
        ("sampling/sampling_logp_difference/mean", "errors.mae", None),
        ("policy/rollout_train_logprobs_abs_diff_std", "errors.std_abs", None),
    ],
)
def test_a_limit_takes_a_frameworks_name(
    given: str, path: str, name: str | None
) -> None:
    (limit,) = parse_limits([f"{given}=0.5"], [])
    assert limit.metric == path
    assert limit.high == 0.5
    assert limit.framework != "given"
    if name is not None:
        assert limit.name == name


def test_our_own_names_come_first() -> None:
    for row in METRICS.values():
        (limit,) = parse_limits([f"{row.path}=1"], [])
        assert limit.framework == "given"
        assert limit.name == row.path
    (limit,) = parse_limits(["pearson=1"], [])
    assert limit.metric == "errors.pearson"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("kl", "unknown"),
        ("verl:nothing", "verl has no number 'nothing'"),
        ("nobody:kl", "framework 'nobody' is unknown"),
        ("prime-rl:nothing", "mismatch_kl/all/mean"),
    ],
)
def test_what_no_framework_calls_so_is_refused(given: str, said: str) -> None:
    with refused(said):
        parse_limits([f"{given}=1"], [])


def test_a_name_of_two_numbers_asks_for_its_framework() -> None:
    assert framework_name("mean") is None
    with refused(r"write TRL:.* or TRL:"):
        framework_name("TRL:mean")
    found = {row.framework for row in names_of("PRIME_RL")}
    assert found == {"prime-rl"}


def test_the_name_and_its_difference_are_printed(run_logdrift: Run) -> None:
    run = run_logdrift("check", str(SAMPLE), "--max", "chi2_seq=5", "--json")
    result = json.loads(run.stdout)["results"][-1]
    assert result["framework"] == "verl"
    assert result["name"] == "rollout_corr/chi2_seq"
    assert "20 nats" in result["note"]


# ---- the certificate


def checked(session: Path, *flags: str) -> tuple[int, list[Fields]]:
    """Exit code and results of a check, by way of its JSON."""
    import contextlib
    import io

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = main(["check", str(session), *flags, "--json"])
    return code, json.loads(out.getvalue())["results"]


def named(results: list[Fields], metric: str) -> list[Fields]:
    return [result for result in results if result["metric"] == metric]


ROW = [NAN, NAN, -1.0, -2.0, -0.5]


def three(folder: Path, **rows: list[float]) -> Path:
    """A trainer, what the engine sampled, and what it computes of the ids given."""
    labels = {
        "trainer": "trainer/prefill",
        "decode": "vllm/decode",
        "prefill": "vllm/prefill",
    }
    captures = [capture(labels[name], [row, ROW]) for name, row in rows.items()]
    write_session(folder, [2, 2], captures)
    return folder


def test_equal_bits_are_certified_three_ways(tmp_path: Path) -> None:
    session = three(tmp_path / "s", trainer=ROW, decode=ROW, prefill=ROW)
    code, results = checked(session, "--exact")
    assert code == 0
    (two,) = named(results, "exact")
    (all_three,) = named(results, "exact.three_way")
    assert two["ok"]
    assert two["value"] == two["min"] == 6
    labels = "trainer/prefill, vllm/decode, vllm/prefill"
    assert all_three["note"] == f"6 of 6 tokens bit-equal: {labels}"


@pytest.mark.parametrize(
    "last", [np.nextafter(np.float32(-0.5), np.float32(0)), NAN, BROKEN, -math.inf]
)
@pytest.mark.parametrize("where", ["decode", "prefill"])
def test_the_first_unequal_token_is_named(
    last: float, where: str, tmp_path: Path
) -> None:
    """One unit in the last place, a missing score and NaN are all not equal."""
    rows = {"trainer": ROW, "decode": ROW, "prefill": ROW}
    rows[where] = [*ROW[:-1], float(last)]
    code, results = checked(three(tmp_path / "s", **rows), "--exact")
    assert code == 1
    metric = "exact" if where == "decode" else "exact.three_way"
    for result in named(results, metric):
        assert not result["ok"]
        assert result["value"] == 5
        expected = {"sequence": 0, "position": 4, "token_id": 4}
        assert result["token"] == expected
        assert "token is 4 of sequence 0" in result["reason"]
    if where == "prefill":
        assert named(results, "exact")[0]["ok"]


def test_zero_and_minus_zero_have_other_bits(tmp_path: Path) -> None:
    rows = [[NAN, NAN, 0.0, -2.0, -0.5], [NAN, NAN, -0.0, -2.0, -0.5]]
    session = three(tmp_path / "s", trainer=rows[0], decode=rows[1])
    code, results = checked(session, "--exact")
    assert code == 1
    assert named(results, "exact")[0]["value"] == 5


def test_nothing_is_certified_of_nothing(tmp_path: Path) -> None:
    empty = [NAN] * 5
    captures = [capture(label, [empty]) for label in ("trainer/prefill", "x/decode")]
    write_session(tmp_path / "s", [2], captures)
    code, results = checked(tmp_path / "s", "--exact")
    assert code == 1
    assert "nothing to certify" in named(results, "exact")[0]["reason"]


# ---- the baseline


def drawn(folder: Path, size: float, *, seed: int, words: int = 100) -> Path:
    """A session of 40 sequences, its MAE about 0.8 ``size``; ids differ by
    ``words``.
    """
    rng = np.random.default_rng(seed)
    trainer = [np.r_[NAN, rng.normal(-2, 0.1, 30)] for _ in range(40)]
    rollout = [row + rng.normal(0, size, 31) for row in trainer]
    captures = [
        capture("trainer/prefill", trainer),
        capture("vllm/decode", rollout),
    ]
    pieces = {i: f"w{i}".encode() for i in range(words)}
    write_session(folder, [1] * 40, captures, pieces=pieces)
    return folder


@pytest.mark.parametrize("words", [100, 7], ids=["same tokens", "other tokens"])
@pytest.mark.parametrize(
    ("size", "worse"), [(0.02, False), (0.01, False), (0.05, True)]
)
def test_only_what_is_worse_beyond_noise_fails(
    size: float, worse: bool, words: int, tmp_path: Path
) -> None:
    release = drawn(tmp_path / "release", 0.02, seed=1)
    nightly = drawn(tmp_path / "nightly", size, seed=2, words=words)
    code, results = checked(nightly, "--baseline", str(release))
    held = [one for one in results if one["framework"] == "baseline"]
    found = [one["metric"] for one in held]
    assert found == ["errors.mae", "mismatch.k3"]
    assert code == int(worse)
    for one in held:
        assert one["ok"] == (not worse)
        assert one["name"] == "release"
        assert (one["value"] > one["max"]) == worse
        assert ("over the same" in one["note"]) == (words == 100)


def test_a_baseline_is_no_worse_than_itself(tmp_path: Path) -> None:
    release = drawn(tmp_path / "release", 0.02, seed=1)
    code, results = checked(release, "--baseline", str(release))
    assert code == 0
    assert all(one["ok"] for one in results)


def test_what_cannot_be_told_from_noise_is_not_passed(tmp_path: Path) -> None:
    session = three(tmp_path / "s", trainer=ROW, decode=[*ROW[:-1], -0.75])
    other = three(tmp_path / "other", trainer=ROW, decode=[*ROW[:-1], -0.55])
    code, results = checked(session, "--baseline", str(other))
    assert code == 1
    held = [one for one in results if one["framework"] == "baseline"]
    assert all("too few tokens" in one["reason"] for one in held)


def test_a_baseline_that_is_no_session_is_bad_input(
    tmp_path: Path, run_logdrift: Run
) -> None:
    junit = tmp_path / "check.xml"
    flags = ["--baseline", str(tmp_path / "nothing"), "--junit", str(junit)]
    run = run_logdrift("check", str(SAMPLE), *flags)
    assert run.returncode == 2
    assert "no such folder" in run.stderr
    assert not junit.exists()


# ---- JUnit and SARIF


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """check.xml and check.sarif of a check that fails."""
    folder: Path = tmp_path_factory.mktemp("check")
    flags = ["--max", "mae=0.01", "--max", "kl=1", "--exact"]
    flags[3] = "verl:kl=1"
    out = ["--junit", str(folder / "check.xml"), "--sarif", str(folder / "check.sarif")]
    assert main(["check", str(SAMPLE), *flags, *out]) == 1
    return folder


def test_junit_has_a_case_for_each_result(files: Path) -> None:
    """What the schema of Jenkins (junit-10.xsd) asks for, and counts that add up."""
    root = ElementTree.parse(files / "check.xml").getroot()
    assert root.tag == "testsuites"
    failed = []
    for suite in root:
        assert suite.tag == "testsuite"
        assert {"name", "tests", "failures", "errors"} <= set(suite.attrib)
        cases = list(suite)
        assert all(case.tag == "testcase" and case.get("name") for case in cases)
        failures = [case for case in cases if case.find("failure") is not None]
        assert int(suite.attrib["tests"]) == len(cases)
        assert int(suite.attrib["failures"]) == len(failures)
        failed += [case.get("name") for case in failures]
    assert failed == ["errors.mae", "exact", "exact.three_way"]
    cases = root.findall("testsuite/testcase")
    assert any(
        case.get("name") == "mismatch.k1 (verl: rollout_corr/kl)" for case in cases
    )


def test_sarif_has_a_result_for_what_is_broken(files: Path) -> None:
    """What the schema 2.1.0 requires, and what GitHub does: a place for each result."""
    log = json.loads((files / "check.sarif").read_text())
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert len(set(rules)) == len(rules)
    broken = run["results"]
    assert [one["ruleId"] for one in broken] == [
        "errors.mae",
        "exact",
        "exact.three_way",
    ]
    for one in broken:
        assert rules[one["ruleIndex"]] == one["ruleId"]
        assert one["message"]["text"]
        assert one["level"] == "error"
        (location,) = one["locations"]
        uri = location["physicalLocation"]["artifactLocation"]["uri"]
        assert uri == "sessions/sample-smollm2/session.json"
    exact = broken[1]["locations"][0]["logicalLocations"][0]
    assert exact["name"] == "sequence 0, token 7"
    assert exact["fullyQualifiedName"].startswith("sample-smollm2 / trainer/prefill:")


# ---- the workflow


def test_the_workflow_parses_and_its_commands_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its steps one after the other, as the runner would, but for installing."""
    workflow = yaml.safe_load(WORKFLOW.read_text("utf-8"))
    steps = workflow["jobs"]["check"]["steps"]
    commands = [shlex.split(step["run"]) for step in steps if "run" in step]
    ours = [command for command in commands if command[0] == "logdrift"]
    assert len(ours) == len(commands) - 1
    monkeypatch.chdir(tmp_path)
    back_and_forth(SAMPLE, tmp_path)
    Path("sessions").mkdir()
    Path("again").rename("sessions/release")
    Path("lines.jsonl").rename("rollouts.jsonl")
    for command in ours:
        assert main(command[1:]) == 0, command
    assert Path("check.xml").exists()
    assert Path("check.sarif").exists()
    files = yaml.safe_load(WORKFLOW.read_text())["jobs"]["check"]["steps"]
    uploads = [step["with"] for step in files if "upload" in step.get("uses", "")]
    listed = [*uploads[0]["path"].split(), uploads[1]["sarif_file"]]
    assert all(Path(name).exists() for name in listed)
