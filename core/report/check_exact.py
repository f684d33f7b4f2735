"""`logdrift check --exact`: the certificate that captures are equal to the last bit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from logdrift.core.compare.certificate import (
    ExactCertificate,
    UnequalToken,
    certify,
    three_way,
)
from logdrift.core.compare.pair import Pair, Scope, default_scope, make_pair
from logdrift.core.compare.pairs import PairLabels
from logdrift.core.numbers import all_digits, counted
from logdrift.core.report.check import Result, TokenPlace
from logdrift.core.session.reader import Session


def exact_results(
    session: Session, pairs: Sequence[PairLabels], scope: Scope | None
) -> Iterator[Result]:
    """A result for each pair, and one for each three captures of the same tokens."""
    if scope is None:
        scope = default_scope(session.sequences)
    for labels in pairs:
        pair = make_pair(session, *labels)
        name = ":".join(labels)
        certificate = certify([pair], scope)
        yield _result(name, "exact", certificate, session)
        third = three_way(pair)
        if third is not None:
            both: list[Pair] = [pair, third]
            certificate = certify(both, scope)
            yield _result(name, "exact.three_way", certificate, session)


def _result(
    name: str, metric: str, certificate: ExactCertificate, session: Session
) -> Result:
    first = certificate.first
    place = None
    if first is not None:
        place = TokenPlace(first.sequence, first.position, first.token_id)
    return Result(
        pair=name,
        metric=metric,
        value=certificate.equal,
        min=max(1, certificate.tokens),
        max=None,
        ok=certificate.holds,
        reason=_reason(certificate, session),
        note=_note(certificate),
        token=place,
    )


def _note(certificate: ExactCertificate) -> str:
    tokens = counted(certificate.tokens, "token")
    labels = ", ".join(certificate.labels)
    return f"{certificate.equal:,} of {tokens} bit-equal: {labels}"


def _reason(certificate: ExactCertificate, session: Session) -> str | None:
    if certificate.holds:
        return None
    first = certificate.first
    if first is None:
        return "no token has a score: there is nothing to certify"
    piece = session.pieces.text(first.token_id)
    return (
        f"the first unequal token is {first.position} of sequence {first.sequence}"
        f" ({piece!r}, id {first.token_id}): {_numbers(certificate.labels, first)}"
    )


def _numbers(labels: Sequence[str], token: UnequalToken) -> str:
    """Each log-probability in all its digits."""
    numbers = []
    for label, logprob in zip(labels, token.logprobs, strict=True):
        numbers.append(f"{label} {all_digits(logprob)}")
    return ", ".join(numbers)
