"""Names of metrics, published limits and the user's own, and that docs/metrics.md says
what the code does.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logdrift.core.compare.errors import error_stats
from logdrift.core.compare.gate import Verdict
from logdrift.core.compare.limits import JudgedLimit, Limit, judge_limits
from logdrift.core.compare.metric import METRICS, SECTIONS, metric, resolve
from logdrift.core.compare.metric.parts import part
from logdrift.core.compare.metrics import Metrics
from logdrift.core.compare.mismatch import CLIP_BOUNDS, EXTREME_BOUNDS, mismatch_stats
from logdrift.core.compare.probability import probability_stats
from logdrift.core.compare.published import PUBLISHED
from logdrift.core.config import load_config
from logdrift.core.errors import InputError
from logdrift.core.report.build import build_report
from logdrift.core.session.reader import open_session
from tests.common import SAMPLE, Fields, refused
from tests.made_metrics import made_metrics, value_in_json, with_number
from tests.metrics_docs import DOCS, rows, undocumented


def limit(
    metric: str, low: float | None = None, high: float | None = None, **changed: Any
) -> Limit:
    given: Fields = {
        "level": "fault",
        "meaning": "m",
        "source": "s",
        "scope": "completion",
        **changed,
    }
    return Limit("framework", "name", metric, low, high, **given)


def judged(
    metrics: Metrics,
    limits: Sequence[Limit] = PUBLISHED,
    verdict: Verdict | None = "comparable",
) -> list[JudgedLimit]:
    return judge_limits(metrics, limits, verdict)


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Path and value of everything in nested objects that is no object."""
    if isinstance(node, dict):
        for key, inner in node.items():
            yield from leaves(inner, f"{path}.{key}" if path else key)
    else:
        yield path, node


# ---- names


def test_every_name_has_a_unit_a_meaning_and_a_good_range() -> None:
    assert len(set(METRICS)) == len(METRICS)
    for path, name in METRICS.items():
        assert name.path == path
        assert name.unit
        assert name.meaning
        assert name.good
        assert "." not in path or path.split(".")[0] in SECTIONS


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("errors.mae", "errors.mae"),
        ("mae", "errors.mae"),
        ("pearson", "errors.pearson"),
        ("mean", "errors.mean"),
        ("k3", "mismatch.k3"),
        ("max", "probability.max"),
        ("clip_fraction.0.2", "mismatch.clip_fraction.0.2"),
        ("same_top1", "topk.same_top1"),
        ("tokens", "tokens"),
        ("mae.high", "ci95.mae.high"),
        ("batch_a.rmse", "floor.batch_a.rmse"),
        (" mae ", "errors.mae"),
    ],
)
def test_a_metric_can_be_named_by_its_last_parts(text: str, path: str) -> None:
    assert resolve(text) == path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mea", "did you mean errors.mean"),
        ("erors.mae", "did you mean errors.mae"),
        ("ess", "did you mean mismatch.ess_token"),
        ("clip_fraction.0.25", "did you mean mismatch.clip_fraction.0.2"),
        ("0.2", "unknown"),
        ("foo", "docs/metrics.md lists them all"),
        ("", "docs/metrics.md lists them all"),
        ("high", "ambiguous: write ci95.mae.high or ci95.rmse.high"),
        ("low", "ambiguous"),
    ],
)
def test_an_unknown_or_ambiguous_name_is_refused_in_one_line(
    text: str, said: str
) -> None:
    with pytest.raises(InputError) as caught:
        resolve(text)
    assert said in str(caught.value)
    assert repr(text) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_last_part_means_a_path_that_ends_so_or_is_refused() -> None:
    for path in METRICS:
        parts = path.split(".")
        for at in range(len(parts)):
            text = ".".join(parts[at:])
            try:
                found = resolve(text)
            except InputError:
                continue
            assert found == text or found.endswith("." + text)
            assert found.count(".") <= path.count(".")


def test_a_value_is_found_by_its_path() -> None:
    pair = made_metrics(
        tokens=3,
        errors={"mae": 0.5, "mean": None, "rmse": math.nan, "max_abs": math.inf},
        ci95={"mae": (0.1, 0.2), "rmse": None},
        mismatch={"clip_fraction": {"0.2": 0.25}, "sampled_by_b": True},
        floor=None,
        topk=None,
    )
    assert metric("tokens").read(pair) == 3
    assert metric("errors.mae").read(pair) == 0.5
    assert metric("ci95.mae.low").read(pair) == 0.1
    assert metric("ci95.mae.high").read(pair) == 0.2
    assert metric("mismatch.clip_fraction.0.2").read(pair) == 0.25
    absent = [
        "errors.mean",
        "errors.rmse",
        "errors.max_abs",
        "errors.p50",
        "ci95.rmse.low",
        "ci95.k3.low",
        "mismatch.clip_fraction.0.3",
        "floor.a.mae",
        "topk.k",
        "probability.mae",
    ]
    for path in absent:
        assert metric(path).read(pair) is None, path
    unknown = [
        "ci95.mae",
        "ci95.mae.mid",
        "mismatch.clip_fraction",
        "mismatch.sampled_by_b",
    ]
    for path in unknown:
        with refused("unknown"):
            metric(path)


def test_every_number_of_the_shipped_samples_report_has_a_name_and_every_name_a_number() -> (
    None
):
    report = build_report(open_session(SAMPLE))
    assert report["pairs"]
    valued: set[str] = set()
    for pair in report["pairs"]:
        numbers = {
            path
            for path, value in leaves(pair)
            if isinstance(value, int | float) and not isinstance(value, bool)
        }
        assert numbers <= set(METRICS)
        valued |= {path for path in METRICS if value_in_json(pair, path) is not None}
    # The sample has no captures of sequences alone in their batch.
    assert {path for path in METRICS if not path.startswith("floor.batch_")} <= valued


def test_the_names_of_mismatch_and_probability_are_the_keys_that_are_computed() -> None:
    """But for those that say what the numbers are worth and are no metric."""
    delta = np.linspace(-0.1, 0.2, 7, dtype=np.float32)
    b = np.full(7, -1.0, np.float32)
    computed = {
        "mismatch": (
            mismatch_stats(delta, b + delta, b, np.array([3, 0, 4]), True).to_json()
        ),
        "probability": probability_stats(b + delta, b).to_json(),
    }
    found = {path for path, _ in leaves(computed)} - {"mismatch.sampled_by_b"}
    named = {path for path in METRICS if path.split(".")[0] in computed}
    assert found <= named
    assert named <= found
    assert {f"mismatch.clip_fraction.{c:g}" for c in CLIP_BOUNDS} <= named
    assert {f"mismatch.extreme_fraction.{tau:g}" for tau in EXTREME_BOUNDS} <= named


COMPUTED = ("mismatch", "probability")


def test_perfect_is_what_two_equal_sides_give() -> None:
    b = np.array([-0.1, -2.0, -3.0, -0.5], np.float32)
    zero = np.zeros(4, np.float32)
    pair = made_metrics(
        mismatch=mismatch_stats(zero, b, b, np.array([1, 3]), True),
        probability=probability_stats(b, b),
    )
    checked = 0
    for path, name in METRICS.items():
        value = name.read(pair) if path.split(".")[0] in COMPUTED else None
        if value is not None and name.perfect is not None:
            # Exactly: delta is 0, and the correlation of equal numbers is clipped to 1.
            assert value == pytest.approx(name.perfect, abs=1e-15), path
            checked += 1
    assert checked >= 35


# ---- published limits


def test_every_published_limit_has_a_known_metric_a_bar_a_meaning_and_a_source() -> (
    None
):
    for entry in PUBLISHED:
        assert entry.metric in METRICS
        assert entry.low is not None or entry.high is not None
        assert entry.low is None or entry.high is None or entry.low <= entry.high
        assert entry.meaning.endswith(".")
        assert "\n" not in entry.meaning
        # owner/name: path/in/the/repository.ext (commit)
        assert re.fullmatch(
            r"[\w.-]+/[\w.-]+: .+\.(md|rst|py).* \([0-9a-f]{7}\)", entry.source
        ), entry.source
        assert entry.scope == "completion"
        assert entry.level in ("normal", "fault", "exact", "other")
    keys = [(e.framework, e.name, e.metric, e.level) for e in PUBLISHED]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    "entry",
    PUBLISHED,
    ids=lambda entry: f"{entry.framework}:{entry.name}:{entry.level}",
)
def test_each_limit_at_below_above_and_without_a_value(entry: Limit) -> None:
    can_be_judged = entry.level != "other"

    def ok(value: float | None) -> bool | None:
        (item,) = judged(with_number(entry.metric, value), [entry])
        assert item.value == value
        assert (item.note is None) == (item.ok is not None)
        return item.ok

    for bar, outside in ((entry.high, 1), (entry.low, -1)):
        if bar is None:
            continue
        assert ok(bar) is (True if can_be_judged else None)
        beyond = math.nextafter(bar, outside * math.inf)
        assert ok(beyond) is (False if can_be_judged else None)
    if entry.high is not None and entry.low is None:
        assert ok(entry.high / 2) is (True if can_be_judged else None)
    if entry.low is not None and entry.high is None:
        assert ok(entry.low * 2) is (True if can_be_judged else None)
    assert ok(None) is None


def test_a_pair_without_numbers_passes_nothing() -> None:
    for pair in (made_metrics(), made_metrics(scope="all")):
        items = judged(pair)
        assert len(items) == len(PUBLISHED)
        found = [item.ok for item in items]
        assert found == [None] * len(PUBLISHED)
        assert all(item.note for item in items)


def framework_numbers(a: list[list[float]], b: list[list[float]]) -> dict[str, float]:
    """What each framework would print for trainer a and rollout b, token by token as
    its source has it.
    """
    pairs = [
        (x, y)
        for row_a, row_b in zip(a, b, strict=True)
        for x, y in zip(row_a, row_b, strict=True)
    ]
    rows = [list(zip(x, y, strict=True)) for x, y in zip(a, b, strict=True) if x]

    def tokens(of: Any) -> float:
        return math.fsum(of(x, y) for x, y in pairs) / len(pairs)

    def sequences(of: Any) -> float:
        return math.fsum(
            math.fsum(of(x, y) for x, y in row) / len(row) for row in rows
        ) / len(rows)

    def k3(log_ratio: float) -> float:
        return math.exp(log_ratio) - log_ratio - 1

    def js(x: float, y: float) -> float:
        mixture = math.log(0.5 * math.exp(x) + 0.5 * math.exp(y))
        return 0.5 * k3(x - mixture) + 0.5 * k3(y - mixture)

    weights = [min(max(math.exp(x - y), 0.5), 2.0) for x, y in pairs]
    mean = math.fsum(weights) / len(weights)
    normalized = [(w / mean) ** 2 for w in weights]
    return {
        "training/rollout_probs_diff_mean": tokens(
            lambda x, y: abs(math.exp(x) - math.exp(y))
        ),
        "rollout_corr/rollout_is_mean": tokens(lambda x, y: math.exp(x - y)),
        "rollout_corr/rollout_is_eff_sample_size": len(weights) / math.fsum(normalized),
        "rollout_corr/rollout_is_std": math.sqrt(
            math.fsum(w * w for w in weights) / len(weights) - mean * mean
        ),
        "rollout_corr/kl": tokens(lambda x, y: y - x),
        "rollout_corr/chi2_token": tokens(lambda x, y: math.exp(x - y) ** 2) - 1,
        "train/train_rollout_logprob_abs_diff": sequences(lambda x, y: abs(x - y)),
        "rollout/rollout_log_probs - rollout/log_probs": (
            sequences(lambda x, y: y) - sequences(lambda x, y: x)
        ),
        "token_mult_prob_error": tokens(lambda x, y: math.exp(abs(x - y))),
        "gen_kl_error": tokens(lambda x, y: k3(x - y)),
        "policy_kl_error": tokens(lambda x, y: k3(y - x)),
        "js_divergence_error": tokens(js),
        "mismatch_kl/all/mean": tokens(lambda x, y: math.exp(x - y) - (x - y) - 1),
        "logprob diff mean, Megatron against vLLM": tokens(lambda x, y: abs(x - y)),
        "bit_wise/logprob_diff/max": max(abs(x - y) for x, y in pairs),
        "test_bitwise_parity": sum(x == y for x, y in pairs) / len(pairs),
    }


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_each_limit_is_evaluated_on_the_frameworks_own_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lengths = np.array([5, 0, 1, 40, 12])
    # float64 all through: what is tested is which formula, not how float32 is rounded.
    b = -rng.exponential(2.0, lengths.sum())
    delta = rng.normal(0, 0.4, len(b)) * (rng.random(len(b)) < 0.8)
    a = b + delta
    delta = a - b
    pair = made_metrics(
        errors=error_stats(delta, a, b),
        mismatch=mismatch_stats(delta, a, b, lengths, True),
        probability=probability_stats(a, b),
    )
    ends = np.cumsum(lengths)
    split_a, split_b = (
        [part.tolist() for part in np.split(side, ends[:-1])] for side in (a, b)
    )
    wanted = framework_numbers(split_a, split_b)
    for item in judged(pair):
        if item.limit.level == "other":
            continue
        assert item.value is not None
        # Sums of under 100 float64 numbers near 1: 1e-12 is some thousand units of
        # their last digit.
        assert item.value == pytest.approx(
            wanted[item.limit.name], rel=1e-12, abs=1e-12
        ), item.limit.name


def test_two_bars_of_one_framework_are_two_limits() -> None:
    def verl(value: float) -> list[bool | None]:
        pair = with_number("probability.mae", value)
        return [
            i.ok
            for i in judged(pair)
            if i.limit.name == "training/rollout_probs_diff_mean"
        ]

    assert verl(0.004) == [True, True]
    assert verl(0.007) == [False, True]
    assert verl(0.02) == [False, False]


def test_limits_are_of_the_completion_and_say_so_elsewhere() -> None:
    entry = limit("errors.mae", high=0.1)
    for scope in ("prompt", "all"):
        (item,) = judged(with_number("errors.mae", 0.05, scope=scope), [entry])
        assert item.value == 0.05
        assert item.ok is None
        assert (
            item.note
            == f"published for the completion; these are the tokens of scope {scope}"
        )
    (item,) = judged(
        with_number("errors.mae", 0.05, scope="all"),
        [limit("errors.mae", high=0.1, scope=None)],
    )
    assert item.ok is True


@pytest.mark.parametrize(
    ("path", "high", "ok"),
    [
        ("errors.mae", 0.1, None),
        ("errors.mae", 0.01, False),
        ("mismatch.k3", 0.1, None),
        ("probability.mult_prob_error", 0.1, None),
        ("probability.mae", 0.1, True),
        ("errors.exact_fraction", 0.1, True),
    ],
)
def test_a_mean_that_leaves_out_impossible_tokens_does_not_pass(
    path: str, high: float, ok: bool | None
) -> None:
    pair = with_number(path, 0.05)
    some = replace(pair, errors=replace(pair.errors, infinite=2))
    (item,) = judged(some, [limit(path, high=high)])
    assert item.ok is ok
    assert (item.note == "leaves out 2 tokens that one side calls impossible") == (
        ok is None
    )
    (item,) = judged(pair, [limit(path, high=high)])
    assert item.ok is (high >= 0.05)


def test_limits_on_the_infinite_themselves_are_judged() -> None:
    (item,) = judged(
        with_number("errors.infinite", 2), [limit("errors.infinite", high=0)]
    )
    assert item.ok is False
    (item,) = judged(
        with_number("errors.infinite", 0), [limit("errors.infinite", high=0)]
    )
    assert item.ok is True
    pair = made_metrics(
        topk={"kl_lower_bound_mean": 0.001, "overlap": 0.99, "kl_infinite": 3}
    )
    bound, overlap = judged(
        pair,
        [limit("topk.kl_lower_bound_mean", high=1), limit("topk.overlap", low=0.9)],
    )
    assert bound.ok is None
    assert overlap.ok is True


def test_a_pair_that_is_not_comparable_is_not_judged() -> None:
    entry = limit("errors.mae", high=0.1)
    for value in (0.05, 0.5):
        pair = with_number("errors.mae", value)
        (item,) = judged(pair, [entry], "not_comparable")
        assert item.value == value
        assert item.ok is None
        assert "not comparable" in str(item.note)
        assert judged(pair, [entry], "caution")[0].ok is (value <= 0.1)


def test_items_have_the_promised_keys_and_are_strict_json() -> None:
    items = [item.to_json() for item in judged(with_number("mismatch.k3", 0.002))]
    wanted = {
        "framework",
        "name",
        "metric",
        "value",
        "low",
        "limit",
        "ok",
        "level",
        "unit",
        "meaning",
        "source",
        "note",
    }
    assert all(set(item) == wanted for item in items)
    json.dumps(items, allow_nan=False)
    prime = next(item for item in items if item["framework"] == "prime-rl")
    assert (prime["value"], prime["low"], prime["limit"], prime["ok"]) == (
        0.002,
        None,
        0.015,
        True,
    )


def test_what_the_docs_say_of_verls_clamp() -> None:
    """Ratios within [0.5, 2] have an effective sample size of at least 0.64 and a
    deviation of at most 0.75.
    """
    share = np.linspace(0, 1, 100_001)
    # Both are worst for weights at the two ends only, a share of them at 2.
    mean = 0.5 + 1.5 * share
    square = 0.25 + 3.75 * share
    assert (mean**2 / square).min() == pytest.approx(0.64, abs=1e-9)
    # At the best share the square root is taken of a number near 0.5625: 1e-9 is far
    # above its rounding.
    assert np.sqrt(square - mean**2).max() == pytest.approx(0.75, abs=1e-9)


# ---- the user's own limits


def write_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(text)
    monkeypatch.setenv("LOGDRIFT_CONFIG", str(path))
    return path


def test_own_limits_are_read_and_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """
[[thresholds]]
name = "ours"
metric = "mae"
max = 0.02
min = 0

[[thresholds]]
metric = "topk.same_top1"
min = 0.98
scope = "completion"
meaning = "The team's."
"""
    write_config(tmp_path, monkeypatch, text)
    first, second = load_config().thresholds
    assert first.name == "ours"
    assert first.metric == "errors.mae"
    assert first.low == 0.0
    assert first.high == 0.02
    assert first.scope is None
    assert second.name == "topk.same_top1"
    assert second.meaning == "The team's."
    assert second.scope == "completion"
    pair = made_metrics(scope="all", errors={"mae": 0.02}, topk={"same_top1": 0.5})
    mine, top = judged(pair, load_config().thresholds)
    expected = ("own", "own", True)
    assert (mine.limit.framework, mine.limit.level, mine.ok) == expected
    assert top.ok is None
    completion = replace(pair, scope="completion")
    assert judged(completion, load_config().thresholds)[1].ok is False


def test_a_config_without_limits_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(tmp_path, monkeypatch, "")
    assert load_config().thresholds == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            'metric = "errors.mea"\nmax = 1',
            "thresholds[0].metric 'errors.mea' is unknown: did you mean errors.mean",
        ),
        ('metric = "high"\nmax = 1', "thresholds[0].metric 'high' is ambiguous"),
        ("max = 1", 'thresholds[0] has no metric: write metric = "errors.mae"'),
        ('metric = "mae"', "thresholds[0] has neither min nor max"),
        (
            'metric = "mae"\nmaxx = 1',
            "thresholds[0].maxx is unknown: did you mean 'max'?",
        ),
        ('metric = "mae"\nmax = "1"', "thresholds[0].max is '1': give a number"),
        ('metric = "mae"\nmax = true', "thresholds[0].max is True: give a number"),
        ('metric = "mae"\nmax = nan', "thresholds[0].max is nan: give a number"),
        ('metric = "mae"\nmin = inf', "thresholds[0].min is inf: give a number"),
        ('metric = "mae"\nmin = 2\nmax = 1', "thresholds[0].min is 2, above max 1"),
        ('metric = "mae"\nmax = 1\nscope = "promt"', "thresholds[0].scope is 'promt'"),
        ('metric = "mae"\nmax = 1\nname = 3', "thresholds[0].name is 3: give a text"),
        ('metric = ""\nmax = 1', "thresholds[0].metric is '': give a text"),
        (
            'metric = "mae"\nmax = 1\n[[thresholds]]\nmetric = "errors.mae"\nmin = 0',
            "thresholds[1] limits errors.mae a second",
        ),
    ],
)
def test_mistakes_in_own_limits_name_file_and_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    path = write_config(tmp_path, monkeypatch, f"[[thresholds]]\n{text}\n")
    with pytest.raises(InputError) as caught:
        load_config()
    assert str(caught.value).startswith(f"config {path}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["thresholds = 3", "[thresholds]\nmetric = 'mae'", "thresholds = [1]"]
)
def test_limits_of_another_shape_say_what_to_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    write_config(tmp_path, monkeypatch, text)
    with refused(r"write \[\[thresholds\]\]"):
        load_config()


# ---- docs/metrics.md


def test_the_docs_have_every_name_with_its_unit_and_good_range() -> None:
    assert not undocumented()
    named = [row[0].strip("`") for row in rows(5) if row[0].startswith("`")]
    assert sorted(named) == sorted(METRICS)


def test_the_docs_have_every_published_limit() -> None:
    def bar(entry: Limit) -> str:
        if entry.low == entry.high:
            return f"= {entry.low:g}"
        if entry.low is None or entry.high is None:
            return f"<= {entry.high:g}" if entry.low is None else f">= {entry.low:g}"
        return f"{entry.low:g} to {entry.high:g}"

    wanted = [
        [e.framework, f"`{e.name}`", f"`{e.metric}`", bar(e), e.level, e.source]
        for e in PUBLISHED
    ]
    assert [row for row in rows(6) if row[1].startswith("`")] == wanted


def test_every_path_that_the_docs_mention_exists() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for path in re.findall(rf"`((?:{'|'.join(SECTIONS)})\.[a-z0-9_.]+)`", text):
        known = (
            path in METRICS
            or part(path) is not None
            or any(name.startswith(f"{path}.") for name in METRICS)
        )
        assert known or path == "mismatch.sampled_by_b", path
