"""The corrections that the frameworks ship, with their bounds: of the importance ratio,
and of the divergence of both sides.

Read from the sources of verl (2026-01), TRL (2026-07), OpenRLHF, slime, SkyRL and
NeMo-RL (2026-08); masks by divergence from prime-rl, verl and open-instruct (2026-07).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

RatioLevel = Literal["token", "sequence", "geometric"]
"""Whose ratio: of the token, of the sequence (exp of the sum of delta) or its geometric
mean (exp of the mean of delta).
"""
Divergence = Literal["tv", "kl"]
"""Of the two outcomes "this token" and "another one": p_A - p_B, whose size is their
total variation, or KL(B || A) in nats.
"""


@dataclass(frozen=True, slots=True)
class Rule:
    """One correction: ratios outside [``low``, ``high``] are cut (``tis``) or masked
    (``mis``, ``icepop``, ``veto``).

    ``level`` says whose ratio. A ``veto`` drops the whole sequence for one token. None
    is no bound. ``name`` says who ships these bounds. ValueError for bounds that keep
    nothing or everything.
    """

    rule: Literal["tis", "mis", "icepop", "veto"]
    name: str
    low: float | None
    high: float | None
    level: RatioLevel

    def __post_init__(self) -> None:
        low, high = self.bounds
        if not 0 <= low < high or (low == 0 and high == math.inf):
            raise ValueError(
                f"{self.name}: bounds {self.low} to {self.high} of a ratio: give 0 <="
                " low < high"
            )

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest ratio that is kept; 0 and infinity are open
        ends.
        """
        low = 0.0 if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        return low, high

    @property
    def bounded(self) -> RatioLevel:
        """What the bounds are of, as metric names say it."""
        return self.level


RULES: tuple[Rule, ...] = (
    Rule(
        rule="tis",
        name="verl rollout_is=token, slime --use-tis, SkyRL tis_ratio_type=token",
        low=None,
        high=2.0,
        level="token",
    ),
    Rule(
        rule="tis",
        name="OpenRLHF is_correction_type=tis",
        low=0.5,
        high=5.0,
        level="token",
    ),
    Rule(
        rule="icepop",
        name="IcePop: NeMo-RL (documented bounds), OpenRLHF",
        low=0.5,
        high=5.0,
        level="token",
    ),
    Rule(
        rule="mis",
        name="slime mis.yaml use_rs",
        low=0.5,
        high=2.0,
        level="token",
    ),
    Rule(
        rule="veto",
        name=(
            "slime mis.yaml rs_veto_threshold, SkyRL outlier_token_is_threshold_low"
            " (suggested)"
        ),
        low=0.0001,
        high=None,
        level="token",
    ),
    Rule(
        rule="tis",
        name="verl rollout_is=sequence",
        low=None,
        high=2.0,
        level="sequence",
    ),
    Rule(
        rule="tis",
        name="SkyRL tis_ratio_type=sequence",
        low=None,
        high=5.0,
        level="sequence",
    ),
    Rule(
        rule="mis",
        name="TRL vllm_importance_sampling_mode=sequence_mask",
        low=None,
        high=3.0,
        level="sequence",
    ),
    Rule(
        rule="mis",
        name="verl rollout_rs=seq_sum_k1, SkyRL sequence_mask_metric=product",
        low=0.5,
        high=2.0,
        level="sequence",
    ),
    Rule(
        rule="mis",
        name="verl rollout_rs=seq_mean_k1",
        low=0.999,
        high=1.001,
        level="geometric",
    ),
    Rule(
        rule="mis",
        name="NeMo-RL seq-mask-tis (documented bounds)",
        low=0.999,
        high=1.002,
        level="geometric",
    ),
    Rule(
        rule="mis",
        name="SkyRL sequence_mask_metric=geometric",
        low=0.99,
        high=1.01,
        level="geometric",
    ),
    Rule(
        rule="mis",
        name="OpenRLHF is_correction_type=seq-mask-tis",
        low=0.5,
        high=5.0,
        level="geometric",
    ),
)
"""In the order in which reports list them."""


@dataclass(frozen=True, slots=True)
class DivergenceRule:
    """A mask of tokens whose divergence lies outside [``low``, ``high``].

    ``by_advantage``: of those it masks the tokens alone whose advantage would push the
    probability further away. Advantages are not known here, so what is counted is the
    most that it can mask. None is no bound.
    """

    rule: Literal["dppo", "ipo"]
    name: str
    divergence: Divergence
    low: float | None
    high: float
    by_advantage: bool = True

    @property
    def bounded(self) -> Divergence:
        """What the bounds are of, as metric names say it."""
        return self.divergence


DIVERGENCE_RULES: tuple[DivergenceRule, ...] = (
    DivergenceRule(
        rule="dppo",
        name="prime-rl's default loss, verl loss_mode=dppo_tv, open-instruct dppo tv",
        divergence="tv",
        low=-0.2,
        high=0.2,
    ),
    DivergenceRule(
        rule="ipo",
        name="prime-rl loss type=ipo",
        divergence="tv",
        low=-0.1,
        high=0.1,
        by_advantage=False,
    ),
    DivergenceRule(
        rule="dppo",
        name="open-instruct dppo kl (proposed default)",
        divergence="kl",
        low=None,
        high=0.05,
    ),
    DivergenceRule(
        rule="dppo",
        name="verl loss_mode=dppo_kl",
        divergence="kl",
        low=None,
        high=0.2,
    ),
)
"""In the order in which reports list them, after `RULES`."""
