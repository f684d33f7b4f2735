"""Healthy pairs, drawn: how often is a cause called likely where there is none?

The pairs are those of `logdrift.core.planted.drawn`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from logdrift.core.compare.pair import make_pair
from logdrift.core.diagnose import Diagnosis, diagnose
from logdrift.core.diagnose.causes import NOISE
from logdrift.core.diagnose.evidence import LIKELY, Ranked
from logdrift.core.planted.drawn import HealthySetting, draw_session, draw_setting

LENGTHS = (1, 2, 3, 8, 32, 128, 1024)
"""Tokens that both sides score."""
MOST = 0.001
"""Share of healthy pairs of one length that may be given a likely cause."""


@dataclass(frozen=True, slots=True)
class FalseAlarms:
    """False alarms among ``pairs`` healthy pairs of one length.

    ``alarms`` were given a likely cause other than noise, ``noise`` were called likely
    noise, or the rounding that they were stored with where that is the gap, ``too_few``
    were answered with too few tokens to tell, ``worst`` is the largest score of a cause
    other than noise.
    """

    tokens: int
    pairs: int
    alarms: int
    noise: int
    too_few: int
    worst: float
    alarmed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _JudgedPair:
    """One drawn pair with its diagnosis."""

    setting: HealthySetting
    diagnosis: Diagnosis

    @property
    def wrong(self) -> list[Ranked]:
        """Causes that are none of this pair."""
        true_causes = (NOISE, *self.setting.true_causes)
        return [
            cause for cause in self.diagnosis.causes if cause.cause not in true_causes
        ]

    @property
    def alarm(self) -> str:
        """The wrong causes that are called likely, and where; empty without any."""
        likely = ", ".join(
            f"{cause.cause} {cause.score:.2f} by {cause.evidence[0].signature}"
            for cause in self.wrong
            if cause.score >= LIKELY
        )
        if likely:
            return f"{likely} in {self.setting}"
        return ""

    @property
    def called_noise(self) -> bool:
        """It was called noise, or what the recorder rounded away, as it is."""
        causes = self.diagnosis.causes
        rounding = bool(causes) and causes[0].cause in self.setting.true_causes
        return self.diagnosis.noise or rounding

    @property
    def too_few(self) -> bool:
        """It was answered with too few tokens to tell."""
        return self.diagnosis.verdict.startswith("too few tokens")


def false_alarms(
    lengths: Sequence[int] = LENGTHS, pairs: int = 1000, seed: int = 0
) -> Iterator[FalseAlarms]:
    """One row for each of ``lengths``, from ``pairs`` drawn pairs each; the same
    ``seed`` draws the same pairs.
    """
    for tokens in lengths:
        rng = np.random.default_rng([seed, tokens])
        judged = [_judged(draw_setting(rng, tokens), rng) for _ in range(pairs)]
        yield _row(tokens, judged)


def _judged(setting: HealthySetting, rng: np.random.Generator) -> _JudgedPair:
    session = draw_session(setting, rng)
    pair = make_pair(session, "trainer", "rollout")
    return _JudgedPair(setting=setting, diagnosis=diagnose(session, pair))


def _row(tokens: int, judged: Sequence[_JudgedPair]) -> FalseAlarms:
    alarmed = tuple(pair.alarm for pair in judged if pair.alarm)
    scores = [cause.score for pair in judged for cause in pair.wrong]
    return FalseAlarms(
        tokens=tokens,
        pairs=len(judged),
        alarms=len(alarmed),
        noise=sum(pair.called_noise for pair in judged),
        too_few=sum(pair.too_few for pair in judged),
        worst=max(scores, default=0.0),
        alarmed=alarmed,
    )
