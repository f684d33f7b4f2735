"""Measuring a session for a trend: a row for each of its steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.compare.gate import judge
from logdrift.core.compare.groups import BEYOND
from logdrift.core.compare.measure import Measurement, sampled_by
from logdrift.core.compare.metric import METRICS
from logdrift.core.compare.pair import (
    Pair,
    Scope,
    default_scope,
    make_pair,
)
from logdrift.core.report.answers import answer_of_pair
from logdrift.core.session.contents import Capture
from logdrift.core.session.reader import Session
from logdrift.core.trend.found import StepOfSession, named_row
from logdrift.core.trend.row import TrendRow
from logdrift.core.trend.wish import TrendWish

Array = npt.NDArray[Any]


def measured_row(step: StepOfSession, wanted: TrendWish) -> TrendRow:
    """The row of a step: some hundredths of a second for few tokens."""
    session = step.selected
    pair = make_pair(session, *step.labels)
    scope = wanted.scope or default_scope(session.sequences)
    row = replace(named_row(step), measured=True, scope=scope, sequences=pair.count)
    row = _with_versions(row, pair)
    row = _with_numbers(row, pair, scope)
    return _with_answer(row, session, pair, scope)


# ---- numbers


def _with_numbers(row: TrendRow, pair: Pair, scope: Scope) -> TrendRow:
    numbers = Measurement(pair, scope)
    mask = pair.scope_mask(scope)
    entropy, is_sampled = _entropy(pair, scope, mask)

    def value(path: str) -> float | None:
        return METRICS[path].read(numbers)

    return replace(
        row,
        tokens=numbers.tokens,
        mae=value("errors.mae"),
        mae_interval=numbers.ci95.mae,
        k3=value("mismatch.k3"),
        ess=value("mismatch.ess_token"),
        beyond=_share_beyond(pair.delta[mask]),
        entropy=entropy,
        entropy_sampled=is_sampled,
        length=_mean_length(pair),
        lag=_mean_lag(pair, mask),
    )


def _share_beyond(delta: Array) -> float | None:
    if not len(delta):
        return None
    is_beyond = np.abs(delta) > BEYOND
    return float(is_beyond.mean())


def _entropy(pair: Pair, scope: Scope, mask: Array) -> tuple[float | None, bool]:
    """The mean entropy in nats of A, else of B; else, where B sampled the tokens, the
    mean of -log p of B, whose expectation it is; and whether it is that.
    """
    for capture in (pair.a, pair.b):
        mean = _mean_entropy(capture, mask)
        if mean is not None:
            return mean, False
    if sampled_by(pair, scope):
        mean = _finite_mean(-pair.logprob_b[mask])
        return mean, mean is not None
    return None, False


def _mean_entropy(capture: Capture, mask: Array) -> float | None:
    if capture.entropy is None:
        return None
    entropies = capture.entropy.whole()[: len(mask)]
    return _finite_mean(entropies[mask])


def _finite_mean(values: Array) -> float | None:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    return float(finite.mean(dtype=np.float64))


def _mean_length(pair: Pair) -> float | None:
    """Of completions that have a token."""
    lengths = np.diff(pair.offsets)
    prompts = pair.sequences.prompt_lengths[: pair.count]
    completions = lengths - prompts
    return _finite_mean(completions[completions > 0])


def _mean_lag(pair: Pair, mask: Array) -> float | None:
    """None also where one version is all that is known: it is behind nothing."""
    versions = pair.versions
    if versions is None or versions.lags is None:
        return _lag_of_facts(pair)
    if versions.other is None and versions.is_single:
        return None
    lags = versions.lags[mask]
    return _finite_mean(lags[lags >= 0])


def _lag_of_facts(pair: Pair) -> float | None:
    """How far the version of B is behind that of A, as the facts tell them."""
    versions = [_fact_version(capture) for capture in (pair.a, pair.b)]
    if not all(version.isascii() and version.isdigit() for version in versions):
        return None
    a, b = map(int, versions)
    return float(max(0, a - b))


def _fact_version(capture: Capture) -> str:
    facts = capture.info.facts
    if facts is None or facts.weight_version is None:
        return ""
    return facts.weight_version


def _with_versions(row: TrendRow, pair: Pair) -> TrendRow:
    """With the versions of the weights that sampled."""
    versions = pair.versions
    if versions is None:
        name = _fact_version(pair.b) or _fact_version(pair.a)
        return replace(row, oldest=name, newest=name)
    in_order = [versions.names[place] for place in versions.order.tolist()]
    return replace(row, oldest=in_order[0], newest=in_order[-1])


# ---- the answer


def _with_answer(row: TrendRow, session: Session, pair: Pair, scope: Scope) -> TrendRow:
    answer = answer_of_pair(session, pair)
    row = replace(
        row,
        verdict=answer.comparable,
        standing=answer.standing,
        meaning=answer.meaning,
        cause=answer.cause,
        cause_title=answer.brief_title,
        sureness=answer.sureness,
        sentence=answer.sentence,
    )
    if not row.void:
        return row
    gate = judge(session, pair, scope)
    return replace(row, reason=gate.reasons[0].text)
