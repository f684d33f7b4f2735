"""The gate: may these two captures be compared at all, and what must be known before
their numbers are believed?

Each check is one function in `CHECKS`; adding a check is adding a function. A fact that
was not observed is not a pass: it lowers the verdict to caution. docs/gate.md lists the
codes.
"""

from __future__ import annotations

from collections.abc import Sequence

from logdrift.core.compare.gate import (
    coverage,
    identity,
    loaded,
    numerics,
    retokenised,
    semantics,
    setup,
    unknown,
    values,
)
from logdrift.core.compare.gate.case import (
    Check,
    Gate,
    GateCase,
    Reason,
    Severity,
    Verdict,
    open_case,
)
from logdrift.core.compare.gate.semantics import meaning
from logdrift.core.compare.pair import Pair, Scope
from logdrift.core.session.reader import Session

__all__ = [
    "CHECKS",
    "Check",
    "Gate",
    "GateCase",
    "Reason",
    "Severity",
    "Verdict",
    "judge",
    "meaning",
]

_ORDER: tuple[Severity, ...] = ("not_comparable", "caution", "info")

CHECKS: tuple[Check, ...] = (
    coverage.check_ids,
    coverage.check_tokens,
    values.check_nan,
    identity.check_model,
    semantics.check_semantics,
    coverage.check_truncated,
    values.check_positive,
    values.check_status,
    coverage.check_boundary,
    coverage.check_without_prompt,
    identity.check_weight_version,
    identity.check_named_model,
    identity.check_served_model,
    identity.check_architecture,
    identity.check_overrides,
    identity.check_logits_size,
    values.check_unscored,
    values.check_infinite,
    coverage.check_padding,
    numerics.check_dtype,
    numerics.check_head,
    numerics.check_quantization,
    numerics.check_kv_cache,
    numerics.check_tf32,
    setup.check_batch_invariant,
    setup.check_execution,
    setup.check_attention,
    setup.check_batch,
    setup.check_full_batches,
    setup.check_chunked_prefill,
    setup.check_prefix_cache,
    setup.check_speculative,
    setup.check_tensor_parallel,
    setup.check_device,
    setup.check_versions,
    setup.check_settings,
    setup.check_environment,
    unknown.check_unknown,
    loaded.check_unread,
    semantics.check_sampling,
    semantics.check_sampled,
    retokenised.check_retokenised,
    coverage.check_start,
    coverage.check_notes,
)


def judge(session: Session, pair: Pair, scope: Scope = "all") -> Gate:
    """Run all `CHECKS` on a pair of ``session``. Reasons come worst first, in the order
    of the checks.

    ``scope`` is what numbers are asked for: without a token in it there is nothing to
    compare, whatever else there is.
    """
    case = open_case(session, pair, scope)
    reasons: list[Reason] = []
    for check in CHECKS:
        reasons += check(case)
    reasons.sort(key=lambda reason: _ORDER.index(reason.severity))
    return Gate(_verdict_of(reasons), tuple(reasons))


def _verdict_of(reasons: Sequence[Reason]) -> Verdict:
    """The severity of the first reason, the worst; notes do not lower the verdict."""
    if not reasons or reasons[0].severity == "info":
        return "comparable"
    return reasons[0].severity
