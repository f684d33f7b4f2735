"""What could not be judged, and what would make it checkable: a missing observation is
not a pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from logdrift.core.diagnose.case import Case
from logdrift.core.diagnose.evidence import Evidence, Unchecked
from logdrift.core.diagnose.needs import RECORDED
from logdrift.core.diagnose.served import is_served
from logdrift.core.engines import ENGINES
from logdrift.core.facts import Facts
from logdrift.core.session.layout import CaptureInfo

_NO_REFERENCE = "no float32 reference, so it is unknown which side is off"
_ASK_BOTH = (
    "logdrift why SESSION --identity asks every backend; docs/why.md says what cannot"
    " be read"
)


@dataclass(frozen=True, slots=True)
class _SeenBy:
    """The facts of one side that a cause is seen by, and what those are in words."""

    cause: str
    facts: Callable[[CaptureInfo, Facts], Sequence[str]]
    words: str


def _always(*names: str) -> Callable[[CaptureInfo, Facts], Sequence[str]]:
    """Facts that every capture has."""
    return lambda info, facts: names


def _meaning(info: CaptureInfo, facts: Facts) -> Sequence[str]:
    """The fact that says what this capture's numbers are of."""
    return ("prefill_logprobs" if info.path == "prefill" else "decode_logprobs",)


def _of_temperature(info: CaptureInfo, facts: Facts) -> Sequence[str]:
    """Raw log-probabilities are of no temperature, so then it need not be known."""
    (name,) = _meaning(info, facts)
    meaning = getattr(facts, name)
    if meaning is None:
        return (name,)
    if meaning == "raw":
        return ()
    return ("temperature",)


def _if_it_decodes(info: CaptureInfo, facts: Facts) -> Sequence[str]:
    if info.path in ("decode", "forced_decode"):
        return ("prefix_cache",)
    return ()


def _if_it_has_a_cache(info: CaptureInfo, facts: Facts) -> Sequence[str]:
    engine = ENGINES.get(info.engine)
    has_dtype = engine is None or engine.numbers.cache_dtype
    if has_dtype:
        return ("kv_cache_dtype",)
    return ()


_SEEN_BY = (
    _SeenBy("ids", _always("tokenizer_digest"), "what ids mean"),
    _SeenBy("temperature", _of_temperature, "what its log-probabilities are of"),
    _SeenBy("processed", _meaning, "what its log-probabilities are of"),
    _SeenBy(
        "weights",
        _always("weights_digest", "quantization"),
        "the digest of the files",
    ),
    _SeenBy(
        "config",
        _always("config_overrides", "config_digest"),
        "the resolved configuration",
    ),
    _SeenBy("padding", _always("padding"), "how batches are filled up"),
    _SeenBy("head_dtype", _always("head_dtype", "logits_dtype"), "the head's dtype"),
    _SeenBy("compute_dtype", _always("dtype"), "the resolved dtype"),
    _SeenBy("attention", _always("attention_backend"), "the attention kernel"),
    _SeenBy("compile", _always("execution_mode"), "eager or compiled"),
    _SeenBy("batch", _always("max_batch_sequences"), "the largest batch"),
    _SeenBy("chunked_prefill", _always("chunked_prefill"), "whether prompts are cut"),
    _SeenBy("prefix_cache", _if_it_decodes, "whether prompts are kept"),
    _SeenBy("kv_cache", _if_it_has_a_cache, "the cache's dtype"),
    _SeenBy("tensor_parallel", _always("tensor_parallel"), "the number of ranks"),
)
"""In the order of checking."""


_TELLABLE: Mapping[str, tuple[str, ...]] = {
    "temperature": ("logprobs_mode", "temperature"),
    "processed": ("logprobs_mode", "top_p", "top_k", "min_p"),
    "compute_dtype": ("dtype",),
}
"""What a user may know of numbers from elsewhere, by the cause that it decides: facts
of `import --fact`.
"""


def unchecked(
    case: Case, lacking: Sequence[Unchecked] = (), more: Iterable[Evidence] = ()
) -> tuple[Unchecked, ...]:
    """Causes that lack a fact, a list, a repeat or a reference; ``lacking`` is what the
    signatures miss.

    ``more`` is what identity checks found: weights that were compared lack nothing; for
    those that could not all be read, its sentence names the tensors.
    """
    missing = (*_once(lacking), *_missing(case))
    of_weights = list(filter(_is_of_weights, more))
    if not of_weights:
        return missing
    weights = of_weights[0]
    if weights.numbers.get("equal") is not None:
        return tuple(lack for lack in missing if lack.cause != "weights")
    partly_read = Unchecked(cause="weights", why=weights.sentence, fix=_ASK_BOTH)
    others = [
        lack for lack in missing if lack.cause != "weights" or lack.why == _NO_REFERENCE
    ]
    return (*others, partly_read)


def _is_of_weights(piece: Evidence) -> bool:
    """An identity check of the weights."""
    return piece.signature == "identity" and piece.cause == "weights"


def _once(lacking: Sequence[Unchecked]) -> Iterator[Unchecked]:
    """Signatures of one cause that miss one and the same thing, as one entry with the
    names of all of them.
    """
    names: dict[tuple[str, str, str], list[str]] = {}
    for lack in lacking:
        name, _, why = lack.why.partition(": ")
        what = (lack.cause, why, lack.fix)
        names.setdefault(what, []).append(name)
    for (cause, why, fix), signatures in names.items():
        all_names = ", ".join(signatures)
        yield Unchecked(cause=cause, why=f"{all_names}: {why}", fix=fix)


def _missing(case: Case) -> Iterator[Unchecked]:
    """Facts, a comparison of the weights, a reference and repeats."""
    info_a, info_b = case.infos
    if info_a.backend != info_b.backend:
        yield from _unobserved(case)
        if any(is_served(case.session, info) for info in case.infos):
            yield _NOT_READABLE
        elif "recorded" not in (info_a.path, info_b.path):
            yield _NOT_COMPARED
    if case.reference is None and not case.with_reference:
        yield Unchecked(
            cause="weights",
            why=_NO_REFERENCE,
            fix="capture transformers:float32@reference too",
        )
    if case.floor is None:
        yield Unchecked(
            cause="batch",
            why="no repeats: the noise floor is unknown",
            fix="capture with repeats of at least 2",
        )


_NOT_COMPARED = Unchecked(
    cause="weights",
    why=(
        "what each engine really loaded was not compared, only the files that it was"
        " started with"
    ),
    fix="logdrift why SESSION --identity",
)


_OF_A_SERVER = "ask whoever runs the server what it does not tell"
_NOT_READABLE = Unchecked(
    cause="weights",
    why="what a running server really holds cannot be read",
    fix=_OF_A_SERVER,
)


def _unobserved(case: Case) -> Iterator[Unchecked]:
    """Causes whose facts were not observed on a side."""
    for seen in _SEEN_BY:
        lacking = []
        imported = False
        served = False
        for info, facts in zip(case.infos, case.facts, strict=True):
            for name in seen.facts(info, facts):
                if getattr(facts, name) is None:
                    lacking.append(f"{name} of {info.label}")
                    imported |= case.session.sampling_of(info) is None
                    served |= is_served(case.session, info)
        if not lacking:
            continue
        lack = _not_observed(case, seen, ", ".join(lacking), imported)
        if served and not imported:
            lack = replace(lack, fix=_OF_A_SERVER)
        yield lack


def _not_observed(case: Case, seen: _SeenBy, why: str, imported: bool) -> Unchecked:
    """What to do about a missing fact: the author of imported numbers may tell it, a
    backend is captured again.
    """
    not_observed = Unchecked(
        cause=seen.cause,
        why=f"not observed: {why}",
        fix=f"capture again, so that {seen.words} is observed",
    )
    if not imported:
        return not_observed
    tell = _TELLABLE.get(seen.cause, ())
    tell_by = _tell_by(case) if tell else ""
    fix = _recorded(tell, tell_by)
    return replace(not_observed, fix=fix, tell=tell, tell_by=tell_by)


def _tell_by(case: Case) -> str:
    """How the author of numbers from elsewhere tells facts: to an import, or to the
    capture that took them as prompts.
    """
    if case.session.is_import:
        return "with logdrift import --fact"
    return "in the lines of the prompts"


def _recorded(tell: Sequence[str], tell_by: str) -> str:
    """What to do about a fact of numbers from elsewhere: their author may know it."""
    if not tell:
        return RECORDED
    *first_names, names = tell
    if first_names:
        names = f"{', '.join(first_names)} and {names}"
    return f"state {names} {tell_by}, or {RECORDED}"
