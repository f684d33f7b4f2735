"""What could not be judged, and what would make it checkable: a missing observation is not a pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from core.diagnose.case import Case
from core.diagnose.evidence import Evidence, Unchecked
from core.diagnose.fits import MIN_GAPS

_NO_REFERENCE = "no float32 reference: nobody knows which side is off"
_ASK_BOTH = "logdrift why SESSION --identity asks every backend; docs/why.md says what cannot be read"
_NEEDS = (
    ("weights", ("weights_digest",), "capture with this version, which reads the digest of the files"),
    ("config", ("config_overrides", "config_digest"), "capture again, so that the resolved configuration is observed"),
    ("temperature", ("temperature",), "capture again, or ask the engine for raw log-probabilities"),
    ("compute_dtype", ("dtype",), "capture again, so that the resolved dtype is observed"),
    ("head_dtype", ("head_dtype", "logits_dtype"), "capture again, so that the head's dtype is observed"),
    ("kv_cache", ("kv_cache_dtype",), "capture again, so that the cache's dtype is observed"),
    ("attention", ("attention_backend",), "capture again, so that the attention kernel is observed"),
    ("compile", ("execution_mode",), "capture again, so that eager or compiled is observed"),
    ("tensor_parallel", ("tensor_parallel",), "capture again, so that the number of ranks is observed"),
)


def unchecked(case: Case, more: Iterable[Evidence] = ()) -> tuple[Unchecked, ...]:
    """Causes that lack a fact, a list, a repeat or a reference. ``more`` is what identity checks found: weights that were
    compared lack nothing, and those that could not all be read are said by name."""
    weights = next((each for each in more if each.signature == "identity" and each.cause == "weights"), None)
    if weights is None:
        return tuple(_missing(case))
    others = tuple(each for each in _missing(case) if each.cause != "weights" or each.why == _NO_REFERENCE)
    if weights.numbers.get("equal") is not None:
        return tuple(each for each in others if each.cause != "weights")
    return (*others, Unchecked("weights", weights.sentence, _ASK_BOTH))


def _missing(case: Case) -> Iterator[Unchecked]:
    if len(case.view.shared.at) < 2:
        yield Unchecked(
            "temperature", "the captures keep no top-k lists in common: slope, bend and lattice were not looked for",
            "capture with top_k of at least 5 on both sides",
        )  # fmt: skip
    elif min(lattice.gaps for lattice in case.lattices) < MIN_GAPS:
        yield Unchecked("head_dtype", "too few alternatives for the lattice of the logits", "capture more tokens")
    if case.infos[0].backend != case.infos[1].backend:
        yield from _facts(case)
        yield Unchecked(
            "weights", "what each engine really loaded was not compared, only the files that it was started with",
            "logdrift why SESSION --identity",
        )  # fmt: skip
    if case.reference is None and not case.with_reference:
        yield Unchecked(
            "weights",
            _NO_REFERENCE,
            "capture transformers:float32@reference too",
        )
    if case.floor is None:
        yield Unchecked("batch", "no repeats: the noise floor is unknown", "capture with repeats of at least 2")


def _facts(case: Case) -> Iterator[Unchecked]:
    for code, names, mend in _NEEDS:
        lacking = [
            f"{name} of {label}"
            for label, facts in zip(case.labels, case.facts, strict=True)
            for name in names
            if getattr(facts, name) is None and not (name == "kv_cache_dtype" and facts.engine == "transformers")
        ]
        if lacking:
            yield Unchecked(code, f"not observed: {', '.join(lacking)}", mend)
