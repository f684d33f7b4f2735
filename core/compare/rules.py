"""The corrections of the importance ratio that the frameworks ship, with their bounds.

Read from the sources of verl (2026-01), TRL (2026-07), OpenRLHF, slime, SkyRL and
NeMo-RL (2026-08). prime-rl masks by p_A - p_B and the sign of the advantage, which no
ratio tells.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

RatioLevel = Literal["token", "sequence", "geometric"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One correction: ratios outside [``low``, ``high``] are cut (``tis``) or masked
    (``mis``, ``icepop``, ``veto``).

    ``level`` says whose ratio: of each token, of the sequence (exp of the sum of delta)
    or its geometric mean (exp of the mean). A ``veto`` drops the whole sequence for one
    token. None is no bound. ``name`` says who ships these bounds. ValueError for bounds
    that keep nothing or everything.
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
