"""`logdrift check`: limits that hold, limits that are broken, and numbers that are not
there.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from logdrift.core.compare.gate import Gate, Reason
from logdrift.core.compare.limits import Limit
from logdrift.core.compare.measured import MeasuredPair
from logdrift.core.compare.published import PUBLISHED
from logdrift.core.report.asked_limits import parse_limits, published_limits
from logdrift.core.report.build import build_report
from logdrift.core.report.check import MeasuredSession, check_session, to_json
from logdrift.core.report.check_document import check_document
from logdrift.core.report.layout import Canvas
from logdrift.core.report.paint.text import paint_text
from logdrift.core.report.strict_json import dump
from tests.common import INF, NAN, REPOSITORY, SAMPLE, Run, refused
from tests.made_metrics import made_metrics
from tests.made_sessions import capture, edit_manifest, write_session
from tests.test_diff import digests

MAIN = "trainer/prefill:vllm/decode"


COMPARABLE = Gate("comparable", ())


def session_of(
    a: str = "trainer/prefill",
    b: str = "vllm/decode",
    gate: Gate = COMPARABLE,
    name: str = "made",
    **numbers: Any,
) -> MeasuredSession:
    """A session with one pair of chosen numbers."""
    metrics = made_metrics(
        **{
            "tokens": 9,
            "errors": {"mae": 0.03, "mean": -0.01, "infinite": 0},
            "mismatch": {"k3": 0.001, "clip_fraction": {"0.2": 0.5}},
            "ci95": {"mae": (0.02, 0.04), "rmse": None},
            **numbers,
        }
    )
    pair = MeasuredPair(a=a, b=b, gate=gate, metrics=metrics)
    return MeasuredSession(name=name, state="complete", pairs=(pair,))


def outcome(
    highest: list[str], lowest: list[str] | None = None, **pair: Any
) -> list[tuple[bool, str | None]]:
    results = check_session(session_of(**pair), parse_limits(highest, lowest or []))
    return [(result.ok, result.reason) for result in results[2:]]


@pytest.mark.parametrize(
    ("highest", "lowest", "ok", "reason"),
    [
        (["mae=0.03"], [], True, None),
        (["errors.mae=0.03"], ["mae=0.03"], True, None),
        (["mae=0.02"], [], False, "0.03 is above 0.02 by 0.01 (50%)"),
        ([], ["mae=0.04"], False, "0.03 is below 0.04 by 0.01 (25%)"),
        ([], ["mean=0"], False, "-0.01 is below 0 by 0.01"),
        (["mae=0.05"], ["mae=0.04"], False, "0.03 is below 0.04 by 0.01 (25%)"),
        (["clip_fraction.0.2=0.1"], [], False, "0.5 is above 0.1 by 0.4 (400%)"),
        (["ci95.mae.high=0.05"], ["ci95.mae.low=0.01"], True, None),
        (["ci95.mae.high=0.03"], [], False, "0.04 is above 0.03 by 0.01 (33.3%)"),
        (["infinite=0"], [], True, None),
    ],
)
def test_limits(
    highest: list[str], lowest: list[str], ok: bool, reason: str | None
) -> None:
    assert outcome(highest, lowest)[0] == (ok, reason)


@pytest.mark.parametrize(
    "metric", ["same_top1", "ci95.rmse.high", "pearson", "chi2_token"]
)
def test_a_number_that_is_not_there_fails(metric: str) -> None:
    """null, a null interval, a null section and a key that is missing: no limit of
    either kind holds.
    """
    for highest, lowest in (([f"{metric}=1e9"], []), ([], [f"{metric}=-1e9"])):
        ((ok, reason),) = outcome(highest, lowest)
        assert not ok
        assert "a missing observation is not a pass" in str(reason)


@pytest.mark.parametrize("value", [NAN, INF, -INF, None, True, "0.01"])
def test_what_is_no_finite_number_fails(value: Any) -> None:
    assert outcome(["mae=0.03"], errors={"mae": value, "infinite": 0})[0][0] is False


def test_impossible_tokens_break_a_limit_on_the_others() -> None:
    """The MAE leaves out what one side alone calls impossible: whoever accepts that has
    to say how many.
    """
    errors = {"mae": 0.01, "infinite": 2}
    ((ok, reason),) = outcome(["mae=0.03"], errors=errors)
    assert not ok
    assert "2 tokens" in str(reason)
    assert "--max errors.infinite=N" in str(reason)
    assert [ok for ok, _ in outcome(["mae=0.03", "infinite=2"], errors=errors)] == [
        True,
        True,
    ]
    assert [ok for ok, _ in outcome(["mae=0.03", "infinite=1"], errors=errors)] == [
        True,
        False,
    ]
    assert (
        outcome(["mae=0.001"], errors=errors)[0][1]
        == "0.01 is above 0.001 by 0.009 (900%)"
    )


@pytest.mark.parametrize(
    ("verdict", "required", "ok"),
    [
        ("comparable", "comparable", True),
        ("comparable", "caution", True),
        ("caution", "comparable", False),
        ("caution", "caution", True),
        ("not_comparable", "comparable", False),
        ("not_comparable", "caution", False),
        ("not_comparable", "not_comparable", True),
    ],
)
def test_verdicts(verdict: Any, required: str, ok: bool) -> None:
    gate = Gate(verdict, (Reason("x", verdict, "because"),))
    result = check_session(session_of(gate=gate), (), required)[1]
    assert result.metric == "verdict"
    assert result.value == verdict
    assert result.min == required
    assert result.ok == ok
    assert ok or str(result.reason).endswith("because")


@pytest.mark.parametrize("state", ["running", "partial", "failed"])
def test_an_unfinished_session_fails(state: str) -> None:
    session = replace(session_of(), state=state)
    assert not check_session(session, ())[0].ok
    assert check_session(session, (), partial=True)[0].ok


def test_nothing_to_check_fails() -> None:
    assert [r.metric for r in check_session(session_of(tokens=0), ()) if not r.ok] == [
        "tokens"
    ]
    assert [
        r.metric for r in check_session(replace(session_of(), pairs=()), ()) if not r.ok
    ] == ["pairs"]


@pytest.mark.parametrize(
    ("highest", "lowest", "said"),
    [
        (["verl=1"], [], "'verl' is a framework and not a metric: name one of its"),
        (["NeMo RL=1"], [], "as token_mult_prob_error=0.01, or check its limits with"),
        (
            ["rollout_probs_diff_men=1"],
            [],
            "is unknown: did you mean rollout_probs_diff_mean?",
        ),
        (["ver=1"], [], "docs/metrics.md lists them all"),
        (["maee=1"], [], "metric 'maee' is unknown: did you mean errors.mae"),
        (["mae"], [], "--max mae: write METRIC=VALUE"),
        ([], ["mae=x"], "--min mae=x: x is not a finite number"),
        (["mae=nan"], [], "nan is not a finite number"),
        (["mae=inf"], [], "inf is not a finite number"),
        (["mae="], [], "nothing is not a finite number"),
        (["mae=1", "errors.mae=2"], [], "--max errors.mae is given twice"),
        (["mae=1"], ["mae=2"], "errors.mae: the minimum 2 is above the maximum 1"),
        (["gate.verdict=1"], [], "metric 'gate.verdict' is unknown"),
    ],
)
def test_bad_limits(highest: list[str], lowest: list[str], said: str) -> None:
    with refused(said):
        parse_limits(highest, lowest)


def test_published_limits_by_name() -> None:
    own = (Limit("own", "ours", "errors.mae", None, 0.02, "own", "", ""),)
    assert {limit.framework for limit in published_limits(["nemo_rl"], ())} == {
        "NeMo-RL"
    }
    assert published_limits(["verl", "VERL"], ()) == published_limits(["verl"], ())
    everything = published_limits(["all"], ())
    assert set(everything) == {
        limit for limit in PUBLISHED if limit.level in ("normal", "fault")
    }
    exact = published_limits(["exact"], ())
    assert set(exact) == {limit for limit in PUBLISHED if limit.level == "exact"}
    # torchtitan publishes nothing but bitwise equality; slime publishes both, and means
    # the usual case by default.
    found = {limit.level for limit in published_limits(["torchtitan"], ())}
    assert found == {"exact"}
    assert {limit.level for limit in published_limits(["slime"], ())} == {"fault"}
    assert published_limits(["mine"], own) == own
    with refused("the config file has no limits"):
        published_limits(["mine"], ())
    with refused("--published nobody: use all, exact, mine or one of verl"):
        published_limits(["nobody"], own)


def test_a_published_limit_is_of_its_scope() -> None:
    limit = Limit("verl", "x", "errors.mae", None, 1.0, "fault", "", "")
    assert check_session(session_of(), (limit,))[-1].ok
    other = check_session(session_of(scope="all"), (limit,))[-1]
    assert not other.ok
    assert "published for the completion" in str(other.reason)
    # That comes before the number, which is of other tokens and says nothing of the
    # limit.
    own = Limit("own", "x", "errors.mae", None, 1e-9, "own", "", "", scope="prompt")
    assert (
        check_session(session_of(), (own,))[-1].reason
        == "set for the prompt, not for the scope completion"
    )
    # A limit on impossible tokens does not make up for the scope.
    accepted = (limit, *parse_limits(["infinite=5"], []))
    errors = {"mae": 0.1, "infinite": 2}
    assert [
        r.ok
        for r in check_session(session_of(scope="all", errors=errors), accepted)[2:]
    ] == [False, True]


def test_json(tmp_path: Path) -> None:
    made = json.loads(
        dump(
            to_json(
                session_of(),
                check_session(session_of(), parse_limits(["mae=0.02"], ["k3=0"])),
            )
        )
    )
    assert {key: made[key] for key in ("schema", "session", "ok")} == {
        "schema": 1,
        "session": "made",
        "ok": False,
    }
    rows = [
        {k: r[k] for k in ("pair", "metric", "value", "min", "max", "ok")}
        for r in made["results"]
    ]
    assert rows == [
        {
            "pair": None,
            "metric": "state",
            "value": "complete",
            "min": "complete",
            "max": None,
            "ok": True,
        },
        {
            "pair": MAIN,
            "metric": "verdict",
            "value": "comparable",
            "min": "caution",
            "max": None,
            "ok": True,
        },
        {
            "pair": MAIN,
            "metric": "errors.mae",
            "value": 0.03,
            "min": None,
            "max": 0.02,
            "ok": False,
        },
        {
            "pair": MAIN,
            "metric": "mismatch.k3",
            "value": 0.001,
            "min": 0.0,
            "max": None,
            "ok": True,
        },
    ]


# -- the command
# ------------------------------------------------------------------------------------


def numbers(tmp_path: Path, name: str = "s", **changes: Any) -> Path:
    rows = [[NAN, -1.0, -2.0, -0.5], [NAN, -1.5, -0.5, -3.0]]
    other = [[NAN, -1.1, -2.0, -0.9], [NAN, -1.5, -0.7, -3.5]]
    captures = [
        capture("trainer/prefill", rows),
        capture("vllm/decode", other, **changes),
    ]
    return write_session(tmp_path / name, [1, 1], captures).folder


def test_exit_codes_and_an_untouched_session(run_logdrift: Run) -> None:
    before = digests(SAMPLE)
    mae = build_report_mae()
    for limit, code in ((mae * 1.01, 0), (mae * 0.99, 1)):
        done = run_logdrift("check", SAMPLE, "--max", f"mae={limit!r}")
        assert done.returncode == code
        assert done.stderr == ""
        assert all(
            cell_len(line) <= 80 and line == line.rstrip()
            for line in done.stdout.splitlines()
        )
    assert "FAILED errors.mae" in done.stdout
    assert "is above" in done.stdout
    assert "FAILED: 1 of 3 checks" in done.stdout
    assert digests(SAMPLE) == before


def build_report_mae() -> float:
    from logdrift.core.session.reader import open_session

    return float(
        build_report(open_session(SAMPLE), [("trainer/prefill", "vllm/decode")])[
            "pairs"
        ][0]["errors"]["mae"]
    )


def test_pairs_and_scopes(run_logdrift: Run) -> None:
    done = run_logdrift(
        "check",
        SAMPLE,
        "--pair",
        "reference:trainer",
        "--pair",
        "vllm/decode:vllm/prefill",
        "--pair",
        "reference:trainer",
        "--scope",
        "all",
        "--max",
        "infinite=0",
        "--json",
    )
    results = json.loads(done.stdout)["results"]
    assert [r["pair"] for r in results if r["metric"] == "errors.infinite"] == [
        "reference/prefill:trainer/prefill",
        "vllm/decode:vllm/prefill",
    ]
    assert done.returncode == 0


def test_json_says_what_is_broken_on_stderr_too(run_logdrift: Run) -> None:
    done = run_logdrift(
        "check", SAMPLE, "--json", "--max", "mae=1e-9", "--min", "pearson=0.5"
    )
    assert done.returncode == 1
    assert json.loads(done.stdout)["ok"] is False
    assert done.stderr.startswith(f"logdrift: {MAIN} errors.mae: ")
    assert done.stderr.count("\n") == 1


def test_published_and_own_limits(run_logdrift: Run, tmp_path: Path) -> None:
    done = run_logdrift("check", SAMPLE, "--published", "verl", "--json")
    results = [r for r in json.loads(done.stdout)["results"] if r["framework"]]
    assert len(results) == sum(limit.framework == "verl" for limit in PUBLISHED)
    assert all(isinstance(r["value"], float) for r in results), results
    assert done.returncode == int(not all(r["ok"] for r in results))
    config = tmp_path / "config.toml"
    config.write_text(
        '[[thresholds]]\nname = "ours"\nmetric = "errors.mae"\nmax = 1e-9\n'
    )
    mine = run_logdrift(
        "check", SAMPLE, "--published", "mine", LOGDRIFT_CONFIG=str(config)
    )
    assert mine.returncode == 1
    assert "own: ours" in mine.stdout


def test_not_comparable_fails_unless_allowed(run_logdrift: Run, tmp_path: Path) -> None:
    folder = numbers(tmp_path, facts={"weights_digest": "sha256:" + "f" * 64})
    done = run_logdrift("check", folder, "--max", "mae=9")
    assert done.returncode == 1
    assert "the gate says not comparable: the weights differ" in " ".join(
        done.stdout.split()
    )
    assert (
        run_logdrift(
            "check", folder, "--max", "mae=9", "--verdict", "not_comparable"
        ).returncode
        == 0
    )


def test_failed_and_unfinished_captures(run_logdrift: Run, tmp_path: Path) -> None:
    folder = numbers(tmp_path, status="failed", failure="out of memory")
    done = run_logdrift("check", folder, "--max", "mae=9")
    assert done.returncode == 1
    assert "a capture failed" in done.stdout
    assert run_logdrift("check", folder, "--max", "mae=9", "--partial").returncode == 0
    alone = edit_manifest(
        write_session(
            tmp_path / "alone", [1], [capture("trainer/prefill", [[NAN, -1.0]])]
        ),
        lambda m: None,
    )
    nothing = run_logdrift("check", alone.folder)
    assert nothing.returncode == 1
    assert "there is nothing to check" in " ".join(nothing.stdout.split())


def test_without_a_limit_it_says_that_no_number_was_checked(run_logdrift: Run) -> None:
    done = run_logdrift("check", SAMPLE)
    assert done.returncode == 0
    assert "No number was checked" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no/such"], "session no/such: no such folder"),
        (
            [SAMPLE, "--max", "maee=1"],
            "metric 'maee' is unknown: did you mean errors.mae",
        ),
        ([SAMPLE, "--max", "mae=big"], "big is not a finite number"),
        ([SAMPLE, "--pair", "trainer:nobody"], "no capture 'nobody'"),
        ([SAMPLE, "--verdict", "fine"], "invalid choice: 'fine'"),
        ([SAMPLE, "--published", "nobody"], "--published nobody: use all"),
    ],
)
def test_bad_input(run_logdrift: Run, arguments: list[Any], said: str) -> None:
    done = run_logdrift("check", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("logdrift: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_closed_pipe_is_no_error() -> None:
    command = (
        f"'{REPOSITORY}/.venv/bin/logdrift' check '{SAMPLE}' --published all | head"
        " -c 7"
    )
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "session"
    assert done.stderr == ""


def test_hostile_names_do_not_reach_the_terminal() -> None:
    session = session_of(a="x\x1b[31m", b="y\x9b", name="s\x07")
    results = check_session(session, parse_limits(["mae=0.01"], []))
    text = paint_text(check_document(session, results), Canvas(encoding="ascii"))
    assert all(char.isprintable() for line in text.splitlines() for char in line)


def test_docs_have_every_key_and_framework() -> None:
    text = (REPOSITORY / "docs" / "diff-and-check.md").read_text(encoding="utf-8")
    made = to_json(session_of(), check_session(session_of(), ()))
    assert not [key for key in (*made, *made["results"][0]) if key not in text]
    assert not [
        limit.framework
        for limit in PUBLISHED
        if f"`{limit.framework.lower()}`" not in text
    ]
