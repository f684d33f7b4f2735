"""Of what are the numbers log-probabilities: raw logits, logits / T, or logits after truncation and penalties?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from core.compare.gate.case import Case, Reason, caution, note, refuse
from core.facts import Facts
from core.session.layout import CaptureInfo

if TYPE_CHECKING:
    from core.plan import SamplingSpec


def meaning(info: CaptureInfo, facts: Facts, sampling: SamplingSpec | None) -> str | None:
    """What the log-probabilities of a capture are of: ``raw``, ``logits / T`` or ``processed at T=...``; None: unknown.

    Scaling by T = 1 is raw, and so is T = 0: engines decode greedily without dividing. Penalties enter everything
    but raw; top-p, top-k and min-p only ``processed``, which is raw where none of these is in use.
    """
    said = facts.prefill_logprobs if info.path == "prefill" else facts.decode_logprobs
    if said is None or said == "raw":
        return said
    if facts.temperature is None:
        return None
    changed = said == "processed" if sampling is None else sampling.repetition_penalty != 1.0
    if changed or (said == "processed" and sampling is not None and _truncates(sampling)):
        return f"processed at T={facts.temperature:g}"
    return "raw" if facts.temperature in (0.0, 1.0) else f"logits / {facts.temperature:g}"


def _truncates(sampling: SamplingSpec) -> bool:
    return sampling.top_p < 1.0 or sampling.top_k > 0 or sampling.min_p > 0.0


def check_semantics(case: Case) -> Iterator[Reason]:
    """Raw against temperature-scaled or processed log-probabilities are two different quantities."""
    a, b = (meaning(side.info, side.facts, case.sampling) for side in case.sides)
    if a is None or b is None:
        unknown = " and ".join(side.label for side, known in zip(case.sides, (a, b), strict=True) if known is None)
        yield caution(
            "semantics_unknown",
            f"raw or temperature-scaled log-probabilities? Not observed for {unknown}: sample at T=1 without "
            "truncation, where both are the same.",
        )
    elif a != b:
        scaled = "processed" not in a + b
        yield refuse(
            "temperature" if scaled else "semantics",
            f"{case.a.label} gives log-probabilities of {_of(a)}, {case.b.label} of {_of(b)}: "
            f"{'sample at temperature 1' if scaled else 'switch truncation and penalties off'}, or set the engine to "
            "raw log-probabilities.",
        )
    elif a.startswith("processed"):
        yield caution(
            "processed",
            f"both sides give log-probabilities {a}, after truncation or penalties, so a token that one side alone "
            "cuts off reads -inf: use raw log-probabilities.",
        )


def check_sampling(case: Case) -> Iterator[Reason]:
    """Raw numbers stay comparable under any sampling, but ratios made of them are then not those of the sampler."""
    s = case.sampling
    if s is None or "rollout" not in (case.a.info.role, case.b.info.role):
        return
    if s.temperature == 1.0 and s.repetition_penalty == 1.0 and not _truncates(s):
        return
    settings = f"T={s.temperature:g}, top_p={s.top_p:g}, top_k={s.top_k}, min_p={s.min_p:g}"
    yield note(
        "sampling",
        f"tokens were sampled with {settings}, repetition_penalty={s.repetition_penalty:g}, so exp(delta) of raw "
        "log-probabilities is not the importance ratio of that sampler: for ratios sample with T=1 and nothing else.",
    )


def _of(what: str) -> str:
    return "raw logits" if what == "raw" else f"logits {what}" if what.startswith("processed") else what
