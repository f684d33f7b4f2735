"""What the identity checks of both sides say of the causes ``weights`` and ``config``.
Pure, like all of this package.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from logdrift.core.compare.loaded.config import CHANGES_THE_MODEL
from logdrift.core.compare.pair import Pair
from logdrift.core.diagnose.differences import adapter_tensors, difference_of
from logdrift.core.diagnose.evidence import Evidence
from logdrift.core.diagnose.loaded import BothLoaded, described, how_read, named
from logdrift.core.numbers import counted
from logdrift.core.session.identity import LoadedTensor, LoadedWeights
from logdrift.core.session.reader import Session

SIGNATURE = "identity"
_DIFFERS = 0.97
_CONFIG = 0.88
"""Another tensor is observed, not inferred; the second is what the gate's cautions
weigh (`signatures.facts`).
"""
_RULED_OUT = 0.02
"""What is left of other evidence for other weights where they were shown to be equal: a
share below what is listed.
"""


def identity_of(
    session: Session,
    pair: Pair,
    saved: Mapping[str, LoadedWeights],
    failures: Mapping[str, str] | None = None,
) -> list[Evidence]:
    """`identity_evidence` of the backends of ``pair``, where a check of them exists and
    is of what they captured with.

    ``failures`` are backends whose last check failed, and why.
    """
    a = pair.a.info
    b = pair.b.info
    if a.backend == b.backend:
        return []
    digest = session.manifest.model.weights_digest
    checked: list[LoadedWeights | None] = []
    unanswered = []
    for info in (a, b):
        check = saved.get(info.backend)
        if check is None or check.outdated(info, digest):
            current = None
        else:
            current = check
        checked.append(current)
        reason = (failures or {}).get(info.backend)
        if current is None and reason:
            unanswered.append(
                f"{info.backend} could not be asked what it loaded: {reason}."
            )
    return _with_failures(identity_evidence(*checked), unanswered)


def _with_failures(evidence: list[Evidence], failed: Sequence[str]) -> list[Evidence]:
    """The evidence, with checks that failed named in the sentence on the weights. A
    failed check is no observation.
    """
    if not failed:
        return evidence
    failures = " ".join(failed)
    if evidence:
        first, *others = evidence
        return [replace(first, sentence=f"{first.sentence} {failures}"), *others]
    nothing_read = Evidence(
        cause="weights",
        score=0.0,
        signature=SIGNATURE,
        sentence=failures,
        numbers={"equal": None, "read": 0},
    )
    return [nothing_read]


def identity_evidence(
    a: LoadedWeights | None, b: LoadedWeights | None
) -> list[Evidence]:
    """Evidence of two backends' checks; None: not checked.

    Weights that are other on one side, or not those on disk: ``weights`` with a score
    above 0.95 and the tensor named. The same on both sides, all read: ``weights`` with
    score 0 and ``numbers["equal"]`` True, which rules it out (``leaves``, see
    `logdrift.core.diagnose.discount`). Some unread: score 0 and ``equal`` None. Nothing
    where neither side was checked.
    """
    checked = [side for side in (a, b) if side is not None]
    if not checked:
        return []
    out = [_with_adapters(_weights(a, b), checked)]
    if a is not None and b is not None:
        out += _config(a, b)
    return out


def was_checked(evidence: Evidence) -> bool:
    """Whether this is a check of the weights that found nothing to explain a gap; one
    that failed has read nothing.
    """
    return (
        evidence.signature == SIGNATURE
        and evidence.score == 0
        and evidence.numbers.get("read") != 0
    )


def _with_adapters(weights: Evidence, sides: Sequence[LoadedWeights]) -> Evidence:
    """Weights that are equal rule nothing out where an engine holds an adapter beside
    them.
    """
    held = {side.backend: len(adapter_tensors(side)) for side in sides}
    clauses = [
        f"{backend} holds an adapter that is not merged: {counted(count, 'tensor')}"
        for backend, count in held.items()
        if count
    ]
    if not clauses:
        return weights
    numbers = {key: value for key, value in weights.numbers.items() if key != "leaves"}
    if numbers.get("equal") is True:
        numbers["equal"] = None
    sentence = f"{weights.sentence} {'; '.join(clauses)}."
    return replace(weights, sentence=sentence, numbers=numbers)


def without_doubts(
    checks: Sequence[Evidence], evidence: Sequence[Evidence]
) -> list[Evidence]:
    """``evidence`` less the gate's caution that the weights of two named models were
    not compared, once they were.
    """
    compared = any(
        piece.signature == SIGNATURE
        and piece.cause == "weights"
        and piece.numbers.get("equal") is not None
        for piece in checks
    )
    return [piece for piece in evidence if not (compared and _is_doubt(piece))]


def _is_doubt(piece: Evidence) -> bool:
    """The gate's caution that the weights were not compared."""
    return piece.signature == "facts" and piece.numbers.get("reason") == "model"


def _weights(a: LoadedWeights | None, b: LoadedWeights | None) -> Evidence:
    """What the weights that both sides loaded say; one of them may not have been
    asked.
    """
    if a is not None and b is not None:
        return _of_both(BothLoaded(a, b))
    asked = a if a is not None else b
    assert asked is not None
    if asked.differing:
        return _differ([(asked, asked.differing)])
    return _one_side(asked)


def _of_both(loaded: BothLoaded) -> Evidence:
    if loaded.different:
        return _other_weights(loaded)
    if loaded.unread:
        return _partly_read(loaded)
    a = loaded.a
    b = loaded.b
    compared = len(loaded.equal)
    tensors = counted(compared, "tensor")
    return Evidence(
        cause="weights",
        score=0.0,
        signature=SIGNATURE,
        sentence=(
            f"{a.backend} and {b.backend} loaded the same weights: {tensors}"
            f" compared, {how_read(a)} and {how_read(b)}."
        ),
        numbers={
            "equal": True,
            "tensors": len(loaded.names),
            "read": compared,
            "leaves": _RULED_OUT,
        },
    )


def _other_weights(loaded: BothLoaded) -> Evidence:
    """Evidence of tensors that the sides hold differently."""
    different = loaded.different
    differing = [
        (side, tuple(tensor for tensor in side.differing if tensor.name in different))
        for side in (loaded.a, loaded.b)
    ]
    if any(tensors for _, tensors in differing):
        return _differ(differing)
    # Each side equals the files that it found, so the files have changed between the
    # two checks.
    return Evidence(
        cause="weights",
        score=_DIFFERS,
        signature=SIGNATURE,
        sentence=(
            f"{loaded.a.backend} and {loaded.b.backend} loaded other files of the"
            f" model: {named(sorted(different))} differ."
        ),
        numbers={"equal": False, "tensor": min(different)},
    )


def _partly_read(loaded: BothLoaded) -> Evidence:
    """Nothing differs among the tensors that were read, and some were not."""
    read = sum(same is True for same in loaded.equal.values())
    tensors = len(loaded.names)
    unread = loaded.unread
    sentence = (
        f"{read} of {tensors} tensors are equal in {loaded.a.backend} and"
        f" {loaded.b.backend}; not read: {named(unread)}"
    )
    reason = loaded.reason_unread(unread[0])
    return Evidence(
        cause="weights",
        score=0.0,
        signature=SIGNATURE,
        sentence=f"{sentence} ({reason})" if reason else sentence,
        numbers={"equal": None, "tensors": tensors, "read": read},
    )


def _differ(
    sides: Sequence[tuple[LoadedWeights, tuple[LoadedTensor, ...]]],
) -> Evidence:
    """Evidence of the tensors of each side that are not those on disk."""
    concerned = [(side, tensors) for side, tensors in sides if tensors]
    clauses = "; ".join(_not_as_on_disk(side, tensors) for side, tensors in concerned)
    in_common = [_in_common(side, len(concerned)) for side, _ in concerned]
    side, tensors = concerned[0]
    together = difference_of(side)
    return Evidence(
        cause="weights",
        score=_DIFFERS,
        signature=SIGNATURE,
        sentence=" ".join([f"{clauses}.", *in_common]),
        numbers={
            "backend": side.backend,
            "tensor": tensors[0].name,
            "l2": tensors[0].l2,
            "share": tensors[0].share,
            "differing": sum(len(tensors) for _, tensors in concerned),
            "how": tensors[0].how,
            "equal": False,
            "scope": None if together is None else together.scope,
            "kind": None if together is None else next(iter(together.kinds)),
        },
    )


def _not_as_on_disk(side: LoadedWeights, tensors: Sequence[LoadedTensor]) -> str:
    names = named([described(tensor) for tensor in tensors])
    return (
        f"{side.backend} runs with {len(tensors)} of {len(side.tensors)} tensors other"
        f" than on disk: {names}"
    )


def _in_common(side: LoadedWeights, sides: int) -> str:
    """What all that differs on one side has in common, with its name where there are
    two.
    """
    together = difference_of(side)
    if together is None:
        return ""
    if sides == 1:
        return together.text
    return f"{side.backend}: {together.text}"


def _one_side(only: LoadedWeights) -> Evidence:
    """One side was asked alone, and loaded what is on disk as far as it was read."""
    count = sum(tensor.same is True for tensor in only.tensors)
    return Evidence(
        cause="weights",
        score=0.0,
        signature=SIGNATURE,
        sentence=(
            f"{only.backend} loaded {count} of {len(only.tensors)} tensors as on disk;"
            " the other side was not asked."
        ),
        numbers={"equal": None, "tensors": len(only.tensors), "read": count},
    )


def _config(a: LoadedWeights, b: LoadedWeights) -> Iterator[Evidence]:
    """Fields that change the function computed, other on both sides, one of them not as
    in the file.
    """
    changed = {name for side in (a, b) for name, _, _ in side.config_differs}
    for name in sorted(changed & a.config.keys() & b.config.keys()):
        x = a.config[name]
        y = b.config[name]
        if x == y or not CHANGES_THE_MODEL.search(name):
            continue
        yield Evidence(
            cause="config",
            score=_CONFIG,
            signature=SIGNATURE,
            sentence=(
                f"the loaded model's {name} is {x} in {a.backend} and {y} in"
                f" {b.backend}."
            ),
            numbers={"field": name},
        )
