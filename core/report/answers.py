"""The answer of a pair (`logdrift.core.diagnose.answer`) in a report: for the pair that
a text, Markdown or HTML report shows in full.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from logdrift.core.compare.pair import Pair, make_pair
from logdrift.core.diagnose import diagnose
from logdrift.core.diagnose.answer import Answer
from logdrift.core.report.why import saved_evidence
from logdrift.core.session.identity import saved_identities
from logdrift.core.session.reader import Session


def answer_of_pair(session: Session, pair: Pair) -> Answer:
    """The answer of ``pair``, with all that is saved for it: a few times the work of
    the pair's numbers.
    """
    return diagnose(
        session, pair, saved_evidence(session, pair, saved_identities(session.folder))
    ).answer


def answer_json(session: Session, a: str, b: str) -> dict[str, Any]:
    """The answer of the pair of labels ``a`` and ``b``, JSON-ready. InputError for
    unknown labels.
    """
    return answer_of_pair(session, make_pair(session, a, b)).to_json()


def with_answer(
    report: Mapping[str, Any], session: Session, main: tuple[str, str] | None
) -> dict[str, Any]:
    """``report`` with the answer of its ``main`` pair (None: of the first); the report
    itself stays as it is.
    """
    pairs = [dict(pair) for pair in report["pairs"]]
    for pair in pairs:
        if main is not None and (pair["a"], pair["b"]) != main:
            continue
        if pair.get("answer") is None:
            pair["answer"] = answer_json(session, pair["a"], pair["b"])
        break
    return {**report, "pairs": pairs}


def sentence_of(pair: Mapping[str, Any]) -> str:
    """The answer's sentence of an entry of ``pairs``; empty where it was not made."""
    answer = pair.get("answer")
    return str(answer["sentence"]) if answer else ""
