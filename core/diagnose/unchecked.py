"""What could not be judged, and what would make it checkable: a missing observation is
not a pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from logdrift.core.diagnose.case import Case
from logdrift.core.diagnose.evidence import Evidence, Unchecked
from logdrift.core.diagnose.needs import RECORDED
from logdrift.core.engines import ENGINES
from logdrift.core.facts import Facts
from logdrift.core.session.layout import CaptureInfo

_NO_REFERENCE = "no float32 reference, so it is unknown which side is off"
_ASK_BOTH = (
    "logdrift why SESSION --identity asks every backend; docs/why.md says what cannot"
    " be read"
)
_MEND = "capture again, so that {} is observed"
_NEEDS: tuple[tuple[str, Callable[[CaptureInfo, Facts], Iterable[str]], str], ...] = (
    ("ids", lambda info, facts: ("tokenizer_digest",), "what ids mean"),
    (
        "temperature",
        lambda info, facts: _of_temperature(info, facts),
        "what its log-probabilities are of",
    ),
    (
        "processed",
        lambda info, facts: (_semantics(info),),
        "what its log-probabilities are of",
    ),
    (
        "weights",
        lambda info, facts: ("weights_digest", "quantization"),
        "the digest of the files",
    ),
    (
        "config",
        lambda info, facts: ("config_overrides", "config_digest"),
        "the resolved configuration",
    ),
    ("padding", lambda info, facts: ("padding",), "how batches are filled up"),
    (
        "head_dtype",
        lambda info, facts: ("head_dtype", "logits_dtype"),
        "the head's dtype",
    ),
    ("compute_dtype", lambda info, facts: ("dtype",), "the resolved dtype"),
    ("attention", lambda info, facts: ("attention_backend",), "the attention kernel"),
    ("compile", lambda info, facts: ("execution_mode",), "eager or compiled"),
    ("batch", lambda info, facts: ("max_batch_sequences",), "the largest batch"),
    (
        "chunked_prefill",
        lambda info, facts: ("chunked_prefill",),
        "whether prompts are cut",
    ),
    (
        "prefix_cache",
        lambda info, facts: ("prefix_cache",) if _decodes(info) else (),
        "whether prompts are kept",
    ),
    (
        "kv_cache",
        lambda info, facts: ("kv_cache_dtype",) if _chooses_cache(info) else (),
        "the cache's dtype",
    ),
    (
        "tensor_parallel",
        lambda info, facts: ("tensor_parallel",),
        "the number of ranks",
    ),
)
"""Cause, the facts of one side that it is seen by, and what those are, in the order of
checking.
"""


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

    ``more`` is what identity checks found: weights that were compared lack nothing, and
    those that could not all be read are said by name.
    """
    missing = (*_once(lacking), *_missing(case))
    weights = next(
        (
            each
            for each in more
            if each.signature == "identity" and each.cause == "weights"
        ),
        None,
    )
    if weights is None:
        return missing
    others = tuple(
        each for each in missing if each.cause != "weights" or each.why == _NO_REFERENCE
    )
    if weights.numbers.get("equal") is not None:
        return tuple(each for each in others if each.cause != "weights")
    return (*others, Unchecked(cause="weights", why=weights.sentence, fix=_ASK_BOTH))


def _once(lacking: Sequence[Unchecked]) -> Iterator[Unchecked]:
    """Signatures of one cause that miss one and the same thing, as one entry with the
    names of all of them.
    """
    names: dict[tuple[str, str, str], list[str]] = {}
    for each in lacking:
        name, _, why = each.why.partition(": ")
        names.setdefault((each.cause, why, each.fix), []).append(name)
    for (cause, why, fix), signatures in names.items():
        yield Unchecked(cause=cause, why=f"{', '.join(signatures)}: {why}", fix=fix)


def _missing(case: Case) -> Iterator[Unchecked]:
    if case.infos[0].backend != case.infos[1].backend:
        yield from _facts(case)
        if all(info.path != "recorded" for info in case.infos):
            yield Unchecked(
                cause="weights",
                why="what each engine really loaded was not compared, only the files that"
                " it was started with",
                fix="logdrift why SESSION --identity",
            )
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


def _facts(case: Case) -> Iterator[Unchecked]:
    sides = list(zip(case.infos, case.facts, strict=True))
    for code, needed, what in _NEEDS:
        lacking = [
            (f"{name} of {info.label}", info.path)
            for info, facts in sides
            for name in needed(info, facts)
            if getattr(facts, name) is None
        ]
        if lacking:
            imported = any(path == "recorded" for _, path in lacking)
            said = ", ".join(name for name, _ in lacking)
            tell = _TELLABLE.get(code, ()) if imported else ()
            tell_by = _tell_by(case) if tell else ""
            fix = _recorded(tell, tell_by) if imported else _MEND.format(what)
            yield Unchecked(
                cause=code,
                why=f"not observed: {said}",
                fix=fix,
                tell=tell,
                tell_by=tell_by,
            )


def _tell_by(case: Case) -> str:
    """How the author of numbers from elsewhere tells facts: to an import, or to the
    capture that took them as prompts.
    """
    return (
        "with logdrift import --fact"
        if case.session.plan is None
        else "in the lines of the prompts"
    )


def _recorded(tell: Sequence[str], tell_by: str) -> str:
    """What to do about a fact of numbers from elsewhere: their author may know it."""
    if not tell:
        return RECORDED
    names = tell[0] if len(tell) == 1 else f"{', '.join(tell[:-1])} and {tell[-1]}"
    return f"tell {names} {tell_by}, or {RECORDED}"


def _decodes(info: CaptureInfo) -> bool:
    return info.path in ("decode", "forced_decode")


def _chooses_cache(info: CaptureInfo) -> bool:
    engine = ENGINES.get(info.engine)
    return engine is None or engine.numbers.cache_dtype


def _semantics(info: CaptureInfo) -> str:
    """The fact that says what this capture's numbers are of."""
    return "prefill_logprobs" if info.path == "prefill" else "decode_logprobs"


def _of_temperature(info: CaptureInfo, facts: Facts) -> tuple[str, ...]:
    """Raw log-probabilities are of no temperature, so then nobody has to know it."""
    name = _semantics(info)
    return (
        (name,)
        if getattr(facts, name) is None
        else ()
        if getattr(facts, name) == "raw"
        else ("temperature",)
    )
