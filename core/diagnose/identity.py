"""What the identity checks of both sides say of the causes ``weights`` and ``config``.
Pure, like all of this package.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from logdrift.core.compare.loaded import CHANGES_THE_MODEL
from logdrift.core.compare.pair import Pair
from logdrift.core.diagnose.differences import adapter_tensors, difference_of, kind_text
from logdrift.core.diagnose.evidence import Evidence
from logdrift.core.session.identity import LoadedTensor, LoadedWeights
from logdrift.core.session.reader import Session

SIGNATURE = "identity"
_DIFFERS, _CONFIG = 0.97, 0.88
"""Another tensor is observed, not inferred; the second is what the gate's cautions
weigh (`signatures.facts`).
"""
_RULED_OUT = 0.02
"""What is left of other evidence for other weights where they were shown to be equal: a
share below what is listed.
"""
_ALIKE = 1e-6
"""Two differences from one file that agree to this relative are one difference: they
are float64 sums of the same numbers.
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
    a, b = pair.a.info, pair.b.info
    if a.backend == b.backend:
        return []
    digest = session.manifest.model.weights_digest
    sides = []
    failed = []
    for info in (a, b):
        found = saved.get(info.backend)
        sides.append(None if found is None or found.outdated(info, digest) else found)
        if sides[-1] is None and (reason := (failures or {}).get(info.backend)):
            failed.append(
                f"{info.backend} could not be asked what it loaded: {reason}."
            )
    return _with_failures(identity_evidence(*sides), failed)


def _with_failures(evidence: list[Evidence], failed: Sequence[str]) -> list[Evidence]:
    """A check that failed is said where the weights are spoken of, and is no
    observation.
    """
    if not failed:
        return evidence
    told = " ".join(failed)
    if not evidence:
        return [
            Evidence(
                cause="weights",
                score=0.0,
                signature=SIGNATURE,
                sentence=told,
                numbers={"equal": None, "read": 0},
            )
        ]
    first, *others = evidence
    return [replace(first, sentence=f"{first.sentence} {told}"), *others]


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
    known = [side for side in (a, b) if side is not None]
    if not known:
        return []
    out = [_with_adapters(_weights(a, b), known)]
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


def _with_adapters(found: Evidence, sides: Sequence[LoadedWeights]) -> Evidence:
    """Weights that are equal rule nothing out where an engine holds an adapter beside
    them.
    """
    held = [(side, adapter_tensors(side)) for side in sides]
    told = [
        f"{side.backend} holds an adapter that is not merged: {len(names)} tensors"
        for side, names in held
        if names
    ]
    if not told:
        return found
    numbers = {key: value for key, value in found.numbers.items() if key != "leaves"}
    if numbers.get("equal") is True:
        numbers["equal"] = None
    return replace(
        found, sentence=f"{found.sentence} {'; '.join(told)}.", numbers=numbers
    )


def without_doubts(
    known: Sequence[Evidence], evidence: Sequence[Evidence]
) -> list[Evidence]:
    """``evidence`` less the gate's caution that the weights of two named models were
    not compared, once they were.
    """
    compared = any(
        e.cause == "weights" and e.numbers.get("equal") is not None
        for e in known
        if e.signature == SIGNATURE
    )
    return [
        e
        for e in evidence
        if not (
            compared and e.signature == "facts" and e.numbers.get("reason") == "model"
        )
    ]


def _weights(a: LoadedWeights | None, b: LoadedWeights | None) -> Evidence:
    """What the weights that both sides loaded say; one of them may not have been
    asked.
    """
    if a is None or b is None:
        asked = a if a is not None else b
        assert asked is not None
        return (
            _differ([(asked, asked.differing)]) if asked.differing else _one_side(asked)
        )
    equal = _compared(a, b)
    if any(same is False for same in equal.values()):
        return _other_weights(
            a, b, {name for name, same in equal.items() if same is False}
        )
    names = {tensor.name for side in (a, b) for tensor in side.tensors}
    unread = sorted(
        name
        for name in names
        if equal.get(name) is None and not _head_alone(name, a, b)
    )
    if unread:
        return _partly_read(a, b, equal, len(names), unread)
    return Evidence(
        cause="weights",
        score=0.0,
        signature=SIGNATURE,
        sentence=(
            f"{a.backend} and {b.backend} loaded the same weights: {len(equal)} tensors"
            f" compared, {_how(a)} and {_how(b)}."
        ),
        numbers={
            "equal": True,
            "tensors": len(names),
            "read": len(equal),
            "leaves": _RULED_OUT,
        },
    )


def _compared(a: LoadedWeights, b: LoadedWeights) -> dict[str, bool | None]:
    """Tensor that both have -> whether they loaded the same numbers, None where that is
    unknown.
    """
    theirs = {tensor.name: tensor for tensor in b.tensors}
    return {
        tensor.name: _equal(tensor, theirs[tensor.name])
        for tensor in a.tensors
        if tensor.name in theirs
    }


def _other_weights(a: LoadedWeights, b: LoadedWeights, other: set[str]) -> Evidence:
    """Evidence of tensors ``other`` that the sides hold differently."""
    differing = [
        (side, tuple(tensor for tensor in side.differing if tensor.name in other))
        for side in (a, b)
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
            f"{a.backend} and {b.backend} loaded other files of the model:"
            f" {_names(sorted(other))} differ."
        ),
        numbers={"equal": False, "tensor": min(other)},
    )


def _partly_read(
    a: LoadedWeights,
    b: LoadedWeights,
    equal: Mapping[str, bool | None],
    tensors: int,
    unread: Sequence[str],
) -> Evidence:
    """Nothing differs among the tensors that were read, and some were not."""
    read = sum(same is True for same in equal.values())
    sentence = (
        f"{read} of {tensors} tensors are equal in {a.backend} and {b.backend}; not"
        f" read: {_names(unread)}"
    )
    reason = _reason_unread(a, b, unread[0])
    return Evidence(
        cause="weights",
        score=0.0,
        signature=SIGNATURE,
        sentence=f"{sentence} ({reason})" if reason else sentence,
        numbers={"equal": None, "tensors": tensors, "read": read},
    )


def _reason_unread(a: LoadedWeights, b: LoadedWeights, name: str) -> str:
    """``vllm: why``, of the first side that says why it did not read the tensor; empty
    where neither does.
    """
    for side in (a, b):
        for tensor in side.unread:
            if tensor.name == name and tensor.reason:
                return f"{side.backend}: {tensor.reason}"
    return ""


def _equal(a: LoadedTensor, b: LoadedTensor) -> bool | None:
    """Whether both loaded the same numbers, each in its own dtype; None where that
    cannot be said.
    """
    if a.same is None or b.same is None:
        return None
    if a.same and b.same:
        return a.file_digest == b.file_digest
    if a.same != b.same:
        return False
    if a.digest is not None and b.digest is not None and a.dtype == b.dtype:
        return a.digest == b.digest
    if a.own and b.own:
        return True if _alike(a, b) else None
    return True if _alike(a, b) and a.dtype == b.dtype and a.share == b.share else None


def _alike(a: LoadedTensor, b: LoadedTensor) -> bool:
    return (
        a.l2 is not None
        and b.l2 is not None
        and abs(a.l2 - b.l2) <= _ALIKE * max(a.l2, b.l2)
    )


def _head_alone(name: str, a: LoadedWeights, b: LoadedWeights) -> bool:
    """A copy of a tied head that one engine keeps has no partner in the other, and was
    compared with the embedding.
    """
    found = [t for side in (a, b) for t in side.tensors if t.name == name]
    return (
        len(found) == 1
        and found[0].same is True
        and found[0].name == found[0].loaded
        and name.endswith(".weight")
    )


def _differ(
    sides: Sequence[tuple[LoadedWeights, tuple[LoadedTensor, ...]]],
) -> Evidence:
    told = [(side, tensors) for side, tensors in sides if tensors]
    sentence = "; ".join(
        f"{side.backend} runs with {len(tensors)} of {len(side.tensors)} tensors other"
        " than on disk: "
        + ", ".join(described(t) for t in tensors[:3])
        + ("" if len(tensors) <= 3 else f" and {len(tensors) - 3} more")
        for side, tensors in told
    )
    side, tensors = told[0]
    together = difference_of(side)
    numbers: dict[str, float | int | str | bool | None] = {
        "backend": side.backend,
        "tensor": tensors[0].name,
        "l2": tensors[0].l2,
        "share": tensors[0].share,
        "differing": sum(len(tensors) for _, tensors in told),
        "how": tensors[0].how,
        "equal": False,
        "scope": None if together is None else together.scope,
        "kind": None if together is None else next(iter(together.kinds)),
    }
    kinds = [f" {_told_alone(side, len(told))}" for side, _ in told]
    return Evidence(
        cause="weights",
        score=_DIFFERS,
        signature=SIGNATURE,
        sentence=sentence + "." + "".join(kinds),
        numbers=numbers,
    )


def _told_alone(side: LoadedWeights, sides: int) -> str:
    """What all that differs on one side has in common, with its name where there are
    two.
    """
    together = difference_of(side)
    if together is None:
        return ""
    return together.text if sides == 1 else f"{side.backend}: {together.text}"


def _one_side(only: LoadedWeights) -> Evidence:
    count = sum(tensor.same is True for tensor in only.tensors)
    return Evidence(
        cause="weights",
        score=0.0,
        signature=SIGNATURE,
        sentence=f"{only.backend} loaded {count} of {len(only.tensors)} tensors as on disk; the"
        " other side was not asked.",
        numbers={"equal": None, "tensors": len(only.tensors), "read": count},
    )


def described(tensor: LoadedTensor) -> str:
    """``model.norm.weight (relative L2 0.0625, 100% of entries: scaled by 1.06)``."""
    parts = [] if tensor.l2 is None else [f"relative L2 {tensor.l2:.2g}"]
    parts += [] if tensor.share is None else [f"{100 * tensor.share:.3g}% of entries"]
    if parts and (kind := kind_text(tensor.kind)):
        return f"{tensor.name} ({', '.join(parts)}: {kind})"
    if not parts and tensor.units is not None:
        parts = [
            f"{tensor.units:.2g} units of rounding where {tensor.limit or 1:.2g} may be"
        ]
    return f"{tensor.name} ({', '.join(parts)})" if parts else tensor.name


def _how(side: LoadedWeights) -> str:
    probed = sum(tensor.how == "probe" for tensor in side.tensors)
    return (
        f"{probed} of {side.backend}'s by probe"
        if probed
        else f"{side.backend}'s by digest"
    )


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (
        f" and {len(names) - 3} more" if len(names) > 3 else ""
    )


def _config(a: LoadedWeights, b: LoadedWeights) -> Iterator[Evidence]:
    """Fields that change the function computed, other on both sides, one of them not as
    in the file.
    """
    changed = {name for side in (a, b) for name, _, _ in side.config_differs}
    for name in sorted(changed):
        if (
            not CHANGES_THE_MODEL.search(name)
            or name not in a.config
            or name not in b.config
        ):
            continue
        x, y = a.config[name], b.config[name]
        if x != y:
            said = (
                f"the loaded model's {name} is {x} in {a.backend} and {y} in"
                f" {b.backend}."
            )
            yield Evidence(
                cause="config",
                score=_CONFIG,
                signature=SIGNATURE,
                sentence=said,
                numbers={"field": name},
            )
