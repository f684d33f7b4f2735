"""Numbers of parts of a pair as limits: every one of the shipped sample's report can be
named, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from logdrift.core.compare.buckets import Buckets
from logdrift.core.compare.decomposition import decompositions
from logdrift.core.compare.limits import Limit, judge_limits
from logdrift.core.compare.measured import measure_pair, split_of
from logdrift.core.compare.metric import metric, resolve, unit_of
from logdrift.core.compare.metric.parts import part, part_paths
from logdrift.core.compare.metrics import Metrics
from logdrift.core.compare.pair import make_pair
from logdrift.core.errors import InputError
from logdrift.core.report.build import build_report, report_pair
from logdrift.core.session.reader import open_session
from tests.common import SAMPLE, Fields, Run, refused


@pytest.fixture(scope="module")
def pair() -> Fields:
    """The JSON of the sample's main pair with its decomposition."""
    report = build_report(open_session(SAMPLE), [("trainer/prefill", "vllm/decode")])
    labels = "trainer/prefill", "vllm/decode"
    (split,) = [
        split
        for split in report["decomposition"]
        if (split["trainer"], split["rollout"]) == labels
    ]
    return {**report["pairs"][0], "decomposition": split}


@pytest.fixture(scope="module")
def metrics() -> Metrics:
    """The numbers of the same pair, as limits see them."""
    session = open_session(SAMPLE)
    pair = make_pair(session, "trainer/prefill", "vllm/decode")
    splits = decompositions(session, "completion")
    return measure_pair(pair, "completion", splits).metrics


def numbers(pair: Fields) -> Iterator[tuple[str, float]]:
    """(path, value) of every number of the parts, by their places in the JSON."""
    for division, buckets in pair["buckets"].items():
        for bucket in buckets or ():
            yield from (
                (f"buckets.{division}.{bucket['low']:g}.{k}", v)
                for k, v in bucket.items()
                if k not in ("low", "high")
            )
    for scope in pair["scopes"]:
        yield from (
            (f"scopes.{scope['scope']}.{key}", value)
            for key, value in scope.items()
            if key != "scope"
        )
    for rule in pair["what_if"]:
        low = rule["low"] or 0
        high = "inf" if rule["high"] is None else f"{rule['high']:g}"
        bounded = rule["level"] if rule["measure"] == "ratio" else rule["measure"]
        for key in ("tokens", "sequences"):
            yield (
                f"what_if.{rule['rule']}.{bounded}.{low:g}-{high}.{key}",
                rule[key],
            )
    stack = [("decomposition", pair["decomposition"])]
    while stack:
        path, node = stack.pop()
        if isinstance(node, dict):
            stack += [(f"{path}.{key}", value) for key, value in node.items()]
        elif not isinstance(node, str):
            yield path, node


PARTS = {"decomposition", "what_if", "buckets", "scopes"}


def test_every_number_of_a_part_is_a_metric(pair: Fields, metrics: Metrics) -> None:
    found = dict(numbers(pair))
    assert {path.partition(".")[0] for path in found} == PARTS
    assert len(found) > 150
    for path, value in found.items():
        assert resolve(path) == path, path
        assert unit_of(path), path
        assert metric(path).read(metrics) == value, path


@pytest.mark.parametrize(
    "path",
    [
        "decomposition.mae",
        "decomposition.total",
        "decomposition.total.max",
        "what_if.tis.token.0-3.tokens",
        "what_if.mis.sequence.0.5-2.mae",
        "buckets.by_probability.x.mae",
        "buckets.by_probability.-1.mae",
        "buckets.by_length.1.mae",
        "buckets.by_position.nan.mae",
        "scopes.some.mae",
        "scopes.prompt.kl",
        "scopes",
        "what_if.",
    ],
)
def test_what_names_nothing_is_refused(path: str) -> None:
    assert part(path) is None
    with refused("unknown"):
        resolve(path)


def suggested(name: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        resolve(name)
    _, asks, names = caught.value.reason.partition("did you mean ")
    return names.removesuffix("?").split(" or ") if asks else []


def test_a_path_of_a_part_that_lacks_a_word_is_answered_with_paths_that_have_it() -> (
    None
):
    for path in part_paths():
        words = path.split(".")
        for at in range(1, len(words)):
            left = [*words[:at], *words[at + 1 :]]
            name = ".".join(left)
            if part(name) is not None:
                continue
            found = suggested(name)
            assert found, name
            assert all(part(one) is not None for one in found), name


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("what_if.ipo.tv.tokens", "what_if.ipo.tv.-0.1-0.1.tokens"),
        ("what_if.ipo.tokens", "what_if.ipo.tv.-0.1-0.1.tokens"),
        ("ipo.tv.tokens", "what_if.ipo.tv.-0.1-0.1.tokens"),
        ("what_if.ipo.tv.-0.1-0.1.tokns", "what_if.ipo.tv.-0.1-0.1.tokens"),
        ("what_if.IPO.tv.tokens", "what_if.ipo.tv.-0.1-0.1.tokens"),
        ("what_if.tis.token.0-3.tokens", "what_if.tis.token.0-2.tokens"),
        ("prompt.mae", "scopes.prompt.mae"),
        ("scopes.promt.rmse", "scopes.prompt.rmse"),
        ("decomposition.refrence.trainer.rmse", "decomposition.reference.trainer.rmse"),
        ("buckets.by_positon.128.rmse", "buckets.by_position.128.rmse"),
        ("buckets.by_turn.2.sequencs", "buckets.by_turn.2.sequences"),
        ("maee", "errors.mae"),
        ("erors.rmse", "errors.rmse"),
    ],
)
def test_a_name_that_is_none_is_answered_with_the_one_meant(
    name: str, meant: str
) -> None:
    assert suggested(name)[0] == meant


def test_the_kind_of_a_part_alone_names_some_of_its_paths() -> None:
    for kind in ("what_if", "scopes", "decomposition"):
        found = suggested(kind)
        assert len(found) == 3
        assert all(one.startswith(f"{kind}.") for one in found)


def test_a_part_that_a_pair_does_not_have_is_null(
    pair: Fields, metrics: Metrics
) -> None:
    # No bucket begins at 3, and a decode scores no prompt.
    for path in ("buckets.by_position.3.mae", "scopes.prompt.mae"):
        assert part(path)
        assert metric(path).read(metrics) is None
    bare = replace(
        metrics,
        buckets=Buckets((), (), None),
        scopes=(),
        what_if=(),
        decomposition=None,
    )
    assert all(metric(path).read(bare) is None for path, _ in numbers(pair))
    split = metrics.decomposition
    assert split is not None
    assert split_of(pair["a"], pair["b"], [split]) is split
    assert split_of(pair["b"], pair["a"], [split]) is None


def test_impossible_tokens_break_a_limit_on_means_but_not_on_corrections(
    metrics: Metrics,
) -> None:
    with_some = replace(metrics, errors=replace(metrics.errors, infinite=2))
    paths = (
        "decomposition.total.mae",
        "buckets.by_probability.0.9.mae",
        "what_if.tis.token.0-2.tokens",
        "scopes.all.infinite",
    )
    limits = [Limit("own", path, path, None, 10.0, "own", "", "") for path in paths]
    everything = judge_limits(metrics, limits, "comparable")
    assert [item.ok for item in everything] == [True] * 4
    means_are_not = judge_limits(with_some, limits, "comparable")
    found = [item.ok for item in means_are_not]
    expected = [None, None, True, True]
    assert found == expected
    assert [metric(path).leaves_out for path in paths] == [
        "errors.infinite",
        "errors.infinite",
        None,
        None,
    ]


def test_a_single_pair_makes_the_decomposition_that_a_limit_asks_for(
    pair: Fields,
) -> None:
    """The screen of limits reports on one pair alone."""
    path = "decomposition.total.mae"
    alone = make_pair(open_session(SAMPLE), "trainer/prefill", "vllm/decode")
    (judged,) = report_pair(
        alone, "completion", [Limit("own", path, path, None, 1.0, "own", "", "")]
    )["thresholds"]
    assert (judged["value"], judged["ok"]) == (
        pair["decomposition"]["total"]["mae"],
        True,
    )


def test_as_limits_of_the_command_and_of_the_config(
    run_logdrift: Run, tmp_path: Path, pair: Fields
) -> None:
    path = "decomposition.decode_vs_prefill.mae"
    value = pair["decomposition"]["decode_vs_prefill"]["mae"]
    assert (
        run_logdrift("check", SAMPLE, "--max", f"{path}={value + 1e-6}").returncode == 0
    )
    over = run_logdrift("check", SAMPLE, "--max", f"{path}={value - 1e-6}")
    assert over.returncode == 1
    assert f"FAILED {path}" in over.stdout
    # The other direction has no decomposition, and what is unknown does not pass.
    assert (
        run_logdrift(
            "check", SAMPLE, "--pair", "vllm:trainer", "--max", f"{path}=9"
        ).returncode
        == 1
    )
    config = tmp_path / "config.toml"
    config.write_text(
        f'[[thresholds]]\nname = "ours"\nmetric = "{path}"\nmax = 0.001\n'
    )
    shown = run_logdrift(
        "report", SAMPLE, "--pair", "trainer:vllm", LOGDRIFT_CONFIG=str(config)
    ).stdout
    assert "exceeded ours" in shown
