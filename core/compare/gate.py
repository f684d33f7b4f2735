"""The gate: may these two captures be compared at all, and what must be known before their numbers are believed?

Each check is one function in `CHECKS`; adding a check is adding a function. A fact that was not observed is not a
pass: it lowers the verdict to caution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from core.compare.pair import Pair
from core.facts import Facts
from core.plan import SamplingSpec
from core.session.layout import CaptureInfo
from core.session.reader import Session

Verdict = Literal["comparable", "caution", "not_comparable"]
Severity = Literal["info", "caution", "not_comparable"]

_NEEDED = ("dtype", "head_dtype", "weights_digest", "tokenizer_digest", "vocab_size")
# A log-probability is at most 0; a float32 sum of exponentials overshoots by a few units in the last place.
_ABOVE_ZERO = 1e-4
# In nats against float32. bfloat16: measured on the small model with CPU engines; float16: published, on a 1.7B model.
_USUAL_MAE = {"bfloat16": "0.02-0.04", "float16": "0.002-0.005"}

_SAME_MODEL = (
    ("vocab_size", "vocabulary", "the vocabularies have different sizes", "load the same model on both sides"),
    ("tokenizer_digest", "tokenizer", "the tokenizers differ, so one id is two texts", "use the same tokenizer files"),
    ("weights_digest", "weights", "the weights differ", "load one checkpoint on both sides, or sync the weights"),
)


@dataclass(frozen=True, slots=True)
class Reason:
    """One finding: a stable code for programs and one sentence for people, with what to do about it."""

    code: str
    severity: Severity
    text: str


@dataclass(frozen=True, slots=True)
class Gate:
    """The worst severity of all reasons. ``info`` reasons do not lower the verdict."""

    verdict: Verdict
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class _Case:
    """What every check sees: the pair, its two captures and the sampling they belong to."""

    pair: Pair
    a: CaptureInfo
    b: CaptureInfo
    facts_a: Facts
    facts_b: Facts
    planned: int
    sampling: SamplingSpec | None

    @property
    def both(self) -> tuple[tuple[CaptureInfo, Facts], tuple[CaptureInfo, Facts]]:
        return (self.a, self.facts_a), (self.b, self.facts_b)

    @property
    def same_backend(self) -> bool:
        return self.a.backend == self.b.backend

    @property
    def against_reference(self) -> bool:
        return (self.a.role == "reference") != (self.b.role == "reference")


Check = Callable[[_Case], Iterator[Reason]]


def judge(session: Session, pair: Pair) -> Gate:
    """Run all `CHECKS` on a pair of ``session``. Reasons come worst first, in the order of the checks."""
    a, b = pair.a.info, pair.b.info
    sampling = session.plan.sampling if session.plan is not None else None
    case = _Case(pair, a, b, a.facts or Facts(), b.facts or Facts(), session.manifest.sequences.planned, sampling)
    order: tuple[Severity, ...] = ("not_comparable", "caution", "info")
    found = sorted((reason for check in CHECKS for reason in check(case)), key=lambda r: order.index(r.severity))
    worst = found[0].severity if found else "info"
    return Gate("comparable" if worst == "info" else worst, tuple(found))


def _check_ids(case: _Case) -> Iterator[Reason]:
    """Every part must cover exactly the tokens that it claims, without a gap, or numbers stand at wrong tokens."""
    offsets = case.pair.sequences.offsets
    for info in (case.a, case.b):
        at = 0
        for part in info.parts:
            last = at + part.sequences
            if part.first_sequence != at or last >= len(offsets) or offsets[last] - offsets[at] != part.tokens:
                where = f"sequences {at} to {last - 1}"
                yield _refuse(
                    "ids", f"{info.label}: {part.file} does not cover the tokens of {where}: capture it again."
                )
                break
            at = last


def _check_tokens(case: _Case) -> Iterator[Reason]:
    """Something must be left to compare."""
    if not case.pair.count:
        empty = " and ".join(info.label for info in (case.a, case.b) if not info.sequences)
        yield _refuse("empty", f"no finished sequence in {empty}: there is nothing to compare yet.")
    elif not case.pair.scored.any():
        yield _refuse(
            "empty", "no token has a score on both sides: compare captures that score the same part of the sequences."
        )


def _check_model(case: _Case) -> Iterator[Reason]:
    """Both sides must be the same model with the same vocabulary."""
    for name, code, what, mend in _SAME_MODEL:
        a, b = getattr(case.facts_a, name), getattr(case.facts_b, name)
        if a is not None and b is not None and a != b:
            yield _refuse(code, f"{what} ({case.a.label}: {_short(a)}, {case.b.label}: {_short(b)}): {mend}.")
    a, b = case.facts_a.config_digest, case.facts_b.config_digest
    if a is not None and b is not None and a != b:
        yield _caution(
            "config",
            f"config.json of {case.a.label} and {case.b.label} differ: compare their RoPE, soft-capping and window "
            "settings.",
        )


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


def _check_semantics(case: _Case) -> Iterator[Reason]:
    """Raw against temperature-scaled or processed log-probabilities are two different quantities."""
    a, b = (meaning(info, facts, case.sampling) for info, facts in case.both)
    if a is None or b is None:
        unknown = " and ".join(
            dict.fromkeys(info.label for (info, _), known in zip(case.both, (a, b), strict=True) if known is None)
        )
        yield _caution(
            "semantics_unknown",
            f"raw or temperature-scaled log-probabilities? Not observed for {unknown}: sample at T=1 without "
            "truncation, where both are the same.",
        )
    elif a != b:
        scaled = "processed" not in a + b
        yield _refuse(
            "temperature" if scaled else "semantics",
            f"{case.a.label} gives log-probabilities of {_of(a)}, {case.b.label} of {_of(b)}: "
            f"{'sample at temperature 1' if scaled else 'switch truncation and penalties off'}, or set the engine to "
            "raw log-probabilities.",
        )
    elif a.startswith("processed"):
        yield _caution(
            "processed",
            f"both sides give log-probabilities {a}, after truncation or penalties, so a token that one side alone "
            "cuts off reads -inf: use raw log-probabilities.",
        )


def _check_sampling(case: _Case) -> Iterator[Reason]:
    """Raw numbers stay comparable under any sampling, but ratios made of them are then not those of the sampler."""
    s = case.sampling
    if s is None or "rollout" not in (case.a.role, case.b.role):
        return
    if s.temperature == 1.0 and s.repetition_penalty == 1.0 and not _truncates(s):
        return
    settings = f"T={s.temperature:g}, top_p={s.top_p:g}, top_k={s.top_k}, min_p={s.min_p:g}"
    yield _note(
        "sampling",
        f"tokens were sampled with {settings}, repetition_penalty={s.repetition_penalty:g}, so exp(delta) of raw "
        "log-probabilities is not the importance ratio of that sampler: for ratios sample with T=1 and nothing else.",
    )


def _check_status(case: _Case) -> Iterator[Reason]:
    """A failed or unfinished capture says how much of it there is."""
    for info in (case.a, case.b):
        done = f"{info.sequences} of {case.planned} sequences"
        if info.status == "failed":
            yield _caution(
                "failed",
                f"{info.label} failed after {done} and the numbers cover only those: read its log, mend the cause and "
                "go on with --resume.",
            )
        elif info.status != "complete":
            yield _caution(
                "partial",
                f"{info.label} has {done} and the numbers cover only those: wait for it, or go on with --resume.",
            )


def _check_values(case: _Case) -> Iterator[Reason]:
    """Numbers that cannot be log-probabilities, impossible tokens, and holes."""
    pair = case.pair
    for info, values, others in ((case.a, pair.logprob_a, pair.logprob_b), (case.b, pair.logprob_b, pair.logprob_a)):
        if above := int((values > _ABOVE_ZERO).sum()):
            yield _refuse(
                "positive",
                f"{info.label} has values above 0 ({above:,} tokens), which no log-probability is: check what the "
                "engine returned.",
            )
        if holes := int((pair.in_completion & np.isnan(values) & ~np.isnan(others)).sum()):
            yield _caution(
                "unscored",
                f"{info.label} has no score for {holes:,} completion tokens that the other side scored, and they are "
                "left out: capture it again.",
            )
    if infinite := int(np.isinf(pair.delta[pair.scored]).sum()):
        yield _caution(
            "infinite",
            f"{infinite:,} tokens are impossible (-inf) for one side alone and are in no mean: look for truncated "
            "sampling, a masked vocabulary or wrong ids.",
        )


def _check_dtype(case: _Case) -> Iterator[Reason]:
    """Different compute dtypes explain a gap by themselves; against a reference that is what one wants to see."""
    a, b = case.facts_a.dtype, case.facts_b.dtype
    if a is None or b is None or a == b:
        return
    coarse = next((dtype for dtype in _USUAL_MAE if dtype in (a, b)), None)
    size = f"an MAE of {_USUAL_MAE[coarse]} nats is usual for {coarse}" if coarse else "a gap from rounding is usual"
    computes = f"{case.a.label} computes in {a}, {case.b.label} in {b}"
    if case.against_reference:
        yield _note("dtype", f"{computes}, as a reference pair should: {size}.")
    else:
        yield _caution("dtype", f"{computes}, and {size}: run both in one dtype to see what else differs.")


def _check_head(case: _Case) -> Iterator[Reason]:
    """The dtype of the head and of the logits, a separate knob in every engine."""
    for name, what in (("head_dtype", "the LM head works in"), ("logits_dtype", "logits are")):
        a, b = getattr(case.facts_a, name), getattr(case.facts_b, name)
        if a is None or b is None or a == b:
            continue
        said = f"{what} {a} in {case.a.label} and {b} in {case.b.label}"
        if case.against_reference:
            yield _note(name, f"{said}, which is part of the gap to a reference.")
        else:
            yield _caution(name, f"{said}, which is part of the gap: set the same precision on both sides.")


def _check_quantization(case: _Case) -> Iterator[Reason]:
    """Quantised weights are other weights."""
    a, b = (None if f.quantization == "none" else f.quantization for f in (case.facts_a, case.facts_b))
    if a != b:
        said = " and ".join(
            f"{info.label} is {f'quantised ({q})' if q else 'not known to be quantised'}"
            for (info, _), q in zip(case.both, (a, b), strict=True)
        )
        yield _caution("quantization", f"{said}, so the gap is that of the quantisation: compare without it first.")


def _check_unknown(case: _Case) -> Iterator[Reason]:
    """A missing observation is not a pass. Two paths of one backend share one process, so one model."""
    if case.same_backend:
        return
    for info, facts in case.both:
        names = ", ".join(name for name in _NEEDED if getattr(facts, name) is None)
        if names:
            what = "nothing was" if info.facts is None else f"{names} not"
            yield _caution(
                "unknown", f"{info.label}: {what} observed, so not checked: make sure that it fits the other side."
            )


def _of(what: str) -> str:
    return "raw logits" if what == "raw" else f"logits {what}" if what.startswith("processed") else what


def _short(value: object) -> str:
    text = str(value)
    return text[:19] + "..." if len(text) > 24 else text


def _refuse(code: str, text: str) -> Reason:
    return Reason(code, "not_comparable", text)


def _caution(code: str, text: str) -> Reason:
    return Reason(code, "caution", text)


def _note(code: str, text: str) -> Reason:
    return Reason(code, "info", text)


CHECKS: tuple[Check, ...] = (
    _check_ids,
    _check_tokens,
    _check_model,
    _check_semantics,
    _check_status,
    _check_values,
    _check_dtype,
    _check_head,
    _check_quantization,
    _check_sampling,
    _check_unknown,
)
