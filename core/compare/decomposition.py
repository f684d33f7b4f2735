"""Where the gap between a trainer and what a rollout engine recorded comes from.

For each token, trainer - rollout decode = (trainer - rollout prefill) + (rollout
prefill - rollout decode): the gap between the two implementations when both see all ids
at once, and the gap between one engine's decode steps and its own prefill. Against a
reference, trainer - rollout = (trainer - reference) - (rollout - reference): each
side's own error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from logdrift.core.compare.aligned import AlignedPair
from logdrift.core.compare.errors import pearson
from logdrift.core.compare.pairs import (
    BackendCaptures,
    finished_backends,
    with_role,
)
from logdrift.core.compare.scopes import Scope
from logdrift.core.session.layout import SAMPLED_PATHS, CaptureInfo
from logdrift.core.session.reader import Session

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Term:
    """One difference of log-probabilities over the tokens of a `Decomposition`, in
    nats. ``mean`` is signed.
    """

    mean: float
    mae: float
    rmse: float


@dataclass(frozen=True, slots=True)
class ReferenceErrors:
    """Each side's error against the reference ``label``, over the ``tokens`` that it
    scored too.

    ``trainer`` and ``rollout`` are side - reference, ``rmse`` is of their difference,
    ``expected_rmse`` the sqrt(rms_trainer^2 + rms_rollout^2) that independent errors
    without a mean would give, ``correlation`` that of both errors: well above 0, they
    share an error that the gap does not show; below, they err to opposite sides.
    """

    label: str
    tokens: int
    trainer: Term
    rollout: Term
    rmse: float
    expected_rmse: float
    correlation: float | None


@dataclass(frozen=True, slots=True)
class Decomposition:
    """``decomposition`` of the JSON schema: labels of the trainer and of the rollout's
    capture, and the terms.

    All terms are over the same ``tokens``, whose log-probability is finite in every
    capture used, so their means add up to that of ``total``. ``correlation`` is that of
    the two terms; ``share_*`` is mean(term x total) / mean(total^2): the two add up to
    1, and one is negative where that term makes the gap smaller. A term is None where
    the rollout has no such capture.
    """

    rollout: str
    trainer: str
    prefill: str | None
    scope: Scope
    tokens: int
    total: Term | None
    decode_vs_prefill: Term | None
    prefill_vs_trainer: Term | None
    correlation: float | None
    share_decode_vs_prefill: float | None
    share_prefill_vs_trainer: float | None
    reference: ReferenceErrors | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def decompositions(session: Session, scope: Scope) -> list[Decomposition]:
    """Every trainer against every rollout backend, over ``scope``; one without a common
    token is left out.

    Of each path the first capture counts. ``rollout`` is what was recorded while
    decoding; of a backend that only has a prefill it is that, and only
    ``prefill_vs_trainer`` is known. The reference is the first one of the session.
    """
    backends = finished_backends(session)
    trainers = _prefills(with_role(backends, "trainer"))
    references = _prefills(with_role(backends, "reference"))
    reference = next(iter(references), None)
    splits = []
    for rollout in with_role(backends, "rollout"):
        for trainer in trainers:
            split = _decompose(session, scope, trainer, rollout, reference)
            if split is not None:
                splits.append(split)
    return splits


def _prefills(backends: Sequence[BackendCaptures]) -> list[CaptureInfo]:
    """The prefill of each backend that has one."""
    prefills = []
    for backend in backends:
        prefill = _path(backend, "prefill")
        if prefill is not None:
            prefills.append(prefill)
    return prefills


def _path(backend: BackendCaptures, *paths: str) -> CaptureInfo | None:
    """The capture of the first of ``paths`` that the backend has."""
    by_path = {info.path: info for info in backend.paths}
    for path in paths:
        if path in by_path:
            return by_path[path]
    return None


def _decompose(
    session: Session,
    scope: Scope,
    trainer: CaptureInfo,
    backend: BackendCaptures,
    reference: CaptureInfo | None,
) -> Decomposition | None:
    decode = _path(backend, *SAMPLED_PATHS)
    prefill = _path(backend, "prefill")
    rollout = decode or prefill
    if rollout is None:
        return None
    labels = [info.label for info in (trainer, decode, prefill) if info is not None]
    columns = _columns(session, scope, labels)
    if columns is None:
        return None
    logprobs = dict(zip(labels, columns, strict=True))
    of_trainer = logprobs[trainer.label]
    of_decode = _of_capture(logprobs, decode)
    of_prefill = _of_capture(logprobs, prefill)
    total = _minus(of_trainer, of_decode)
    decode_vs_prefill = _minus(of_prefill, of_decode)
    prefill_vs_trainer = _minus(of_trainer, of_prefill)
    return Decomposition(
        rollout=rollout.label,
        trainer=trainer.label,
        prefill=prefill.label if prefill is not None else None,
        scope=scope,
        tokens=len(of_trainer),
        total=_term(total),
        decode_vs_prefill=_term(decode_vs_prefill),
        prefill_vs_trainer=_term(prefill_vs_trainer),
        correlation=_correlation(decode_vs_prefill, prefill_vs_trainer),
        share_decode_vs_prefill=_share(decode_vs_prefill, total),
        share_prefill_vs_trainer=_share(prefill_vs_trainer, total),
        reference=_against_reference(session, scope, labels, reference),
    )


def _columns(
    session: Session, scope: Scope, labels: Sequence[str]
) -> list[Floats] | None:
    """The log-probabilities of each label, f64[n], over the scope's n tokens that are
    finite in all; None for n = 0.
    """
    first, *others = labels
    pairs = [AlignedPair.of_labels(session, first, other) for other in others]
    count = min(pair.tokens for pair in pairs)
    keep = np.ones(count, np.bool_)
    for pair in pairs:
        keep &= pair.scope_mask(scope)[:count]
        keep &= np.isfinite(pair.logprob_a[:count])
        keep &= np.isfinite(pair.logprob_b[:count])
    if not keep.any():
        return None
    logprobs = [pairs[0].logprob_a]
    logprobs += [pair.logprob_b for pair in pairs]
    return [values[:count][keep].astype(np.float64) for values in logprobs]


def _of_capture(
    logprobs: Mapping[str, Floats], info: CaptureInfo | None
) -> Floats | None:
    """The log-probabilities of a capture; None where the backend has no such one."""
    if info is None:
        return None
    return logprobs[info.label]


def _correlation(x: Floats | None, y: Floats | None) -> float | None:
    if x is None or y is None:
        return None
    return pearson(x, y)


def _minus(x: Floats | None, y: Floats | None) -> Floats | None:
    if x is None or y is None:
        return None
    return x - y


def _term(values: Floats | None) -> Term | None:
    if values is None:
        return None
    return _of(values)


def _of(values: Floats) -> Term:
    size = np.abs(values)
    return Term(
        mean=float(values.mean()),
        mae=float(size.mean()),
        rmse=_rms(values),
    )


def _rms(values: Floats) -> float:
    mean_square = np.mean(values * values)
    return float(np.sqrt(mean_square))


def _share(term: Floats | None, total: Floats | None) -> float | None:
    """mean(term x total) / mean(total^2); None where one of the two is not known."""
    if term is None or total is None:
        return None
    square = float(total @ total)
    if square > 0:
        return float(term @ total) / square
    return None


def _against_reference(
    session: Session, scope: Scope, labels: Sequence[str], reference: CaptureInfo | None
) -> ReferenceErrors | None:
    """Over the tokens of the decomposition that the reference scored; the rollout is
    the second label.
    """
    if reference is None:
        return None
    columns = _columns(session, scope, [*labels, reference.label])
    if columns is None:
        return None
    of_trainer, of_rollout, *_, of_reference = columns
    error_of_trainer = of_trainer - of_reference
    error_of_rollout = of_rollout - of_reference
    trainer = _of(error_of_trainer)
    rollout = _of(error_of_rollout)
    return ReferenceErrors(
        label=reference.label,
        tokens=len(of_trainer),
        trainer=trainer,
        rollout=rollout,
        rmse=_rms(of_trainer - of_rollout),
        expected_rmse=float(np.hypot(trainer.rmse, rollout.rmse)),
        correlation=pearson(error_of_trainer, error_of_rollout),
    )
