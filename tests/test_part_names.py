"""Numbers of parts of a pair as limits: every one of the shipped sample's report can be
named, and nothing else.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from logdrift.core.compare.metric import resolve, unit_of
from logdrift.core.compare.names import value_of
from logdrift.core.compare.pair import make_pair
from logdrift.core.compare.part_names import (
    PARTS,
    leaves_out_infinite,
    part_unit,
    split_of,
)
from logdrift.core.compare.thresholds import Limit, evaluate
from logdrift.core.errors import InputError
from logdrift.core.report.build import build_report, report_pair
from logdrift.core.session import open_session

SAMPLE = Path(__file__).resolve().parent.parent / "sessions" / "sample-smollm2"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def pair() -> dict[str, Any]:
    """The sample's main pair with its decomposition, as limits see it."""
    report = build_report(open_session(SAMPLE), [("trainer/prefill", "vllm/decode")])
    split = split_of(report["pairs"][0], report["decomposition"])
    assert split is not None
    return {**report["pairs"][0], "decomposition": split}


def numbers(pair: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """(path, value) of every number of the parts, by their places in the JSON."""
    for division, buckets in pair["buckets"].items():
        for bucket in buckets:
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
        low, high = (
            rule["low"] or 0,
            "inf" if rule["high"] is None else f"{rule['high']:g}",
        )
        for key in ("tokens", "sequences"):
            yield (
                f"what_if.{rule['rule']}.{rule['level']}.{low:g}-{high}.{key}",
                rule[key],
            )
    stack = [("decomposition", pair["decomposition"])]
    while stack:
        path, node = stack.pop()
        if isinstance(node, dict):
            stack += [(f"{path}.{key}", value) for key, value in node.items()]
        elif not isinstance(node, str):
            yield path, node


def test_every_number_of_a_part_is_a_metric(pair: dict[str, Any]) -> None:
    found = dict(numbers(pair))
    assert {path.partition(".")[0] for path in found} == set(PARTS) and len(found) > 150
    for path, value in found.items():
        assert resolve(path) == path and unit_of(path), path
        assert value_of(pair, path) == value, path


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
    assert part_unit(path) is None
    with pytest.raises(InputError, match="unknown"):
        resolve(path)


def test_a_part_that_a_pair_does_not_have_is_null(pair: dict[str, Any]) -> None:
    for path in (
        "buckets.by_position.3.mae",
        "scopes.prompt.mae",
    ):  # no bucket begins at 3; a decode scores no prompt
        assert part_unit(path) and value_of(pair, path) is None
    bare = {
        **pair,
        "buckets": None,
        "scopes": None,
        "what_if": None,
        "decomposition": None,
    }
    assert all(value_of(bare, path) is None for path, _ in numbers(pair))
    turned = {**pair, "a": pair["b"], "b": pair["a"]}
    assert split_of(turned, [pair["decomposition"]]) is None


def test_impossible_tokens_break_a_limit_on_means_but_not_on_corrections(
    pair: dict[str, Any],
) -> None:
    with_some = {**pair, "errors": {**pair["errors"], "infinite": 2}}
    paths = (
        "decomposition.total.mae",
        "buckets.by_probability.0.9.mae",
        "what_if.tis.token.0-2.tokens",
        "scopes.all.infinite",
    )
    limits = [Limit("own", path, path, None, 10.0, "own", "", "") for path in paths]
    assert [item["ok"] for item in evaluate(pair, limits)] == [True] * 4
    assert [item["ok"] for item in evaluate(with_some, limits)] == [
        None,
        None,
        True,
        True,
    ]
    assert [leaves_out_infinite(path) for path in paths] == [True, True, False, False]


def test_a_single_pair_makes_the_decomposition_that_a_limit_asks_for(
    pair: dict[str, Any],
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
    run_logdrift: Run, tmp_path: Path, pair: dict[str, Any]
) -> None:
    path, value = (
        "decomposition.decode_vs_prefill.mae",
        pair["decomposition"]["decode_vs_prefill"]["mae"],
    )
    assert (
        run_logdrift("check", SAMPLE, "--max", f"{path}={value + 1e-6}").returncode == 0
    )
    over = run_logdrift("check", SAMPLE, "--max", f"{path}={value - 1e-6}")
    assert over.returncode == 1 and f"FAILED {path}" in over.stdout
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
