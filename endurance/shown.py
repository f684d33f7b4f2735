"""What a report shows, before and after some file was damaged: the numbers of each
pair, and whatever it says of pairs and tokens that it could not count.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from endurance.watched import Answer

AS_BEFORE = "as before"
OTHER_COUNTS = "other counts, said"
MADE_SO = "made so"
REWRITTEN = "less, as rewritten"


class Unsaid(Exception):
    """A report shows other numbers than before, or fewer, and does not say so."""


@dataclass(frozen=True)
class Shown:
    """``numbers`` of the pairs by what they are about: captures, scope, how many tokens
    and sequences. ``counts`` are sequences and tokens of each capture. ``said`` is all
    that tells of something missing.
    """

    numbers: Mapping[str, Any]
    counts: Sequence[Any]
    said: frozenset[str]


def shown_by(answer: Answer) -> Shown:
    """What ``report --json`` shows. Raises `Unsaid` where it shows nothing and refuses
    nothing either.
    """
    try:
        report = json.loads(answer.out)
        pairs = report["pairs"]
    except (ValueError, KeyError):
        raise Unsaid(f"exit code {answer.code}, no report: {answer.err!r}") from None
    return Shown(
        numbers={_name(pair): _numbers(pair) for pair in pairs},
        counts=sorted(map(_counts, report["captures"])),
        said=frozenset([*answer.err.splitlines(), *_said(report)]),
    )


def compared(
    now: Shown, before: Shown, made_so: bool = False, rewritten: bool = False
) -> str:
    """What became of the numbers, in a few words. Raises `Unsaid`.

    ``made_so``: the file looks as if it had been written so, and nobody can tell.
    ``rewritten``: a program took out or renamed what it did not want; what stayed has
    the numbers that it had.
    """
    if now.numbers == before.numbers:
        return AS_BEFORE
    if made_so:
        return MADE_SO
    for pair in now.numbers.keys() & before.numbers.keys():
        if now.numbers[pair] != before.numbers[pair]:
            raise Unsaid(f"other numbers of {pair}")
    if rewritten:
        return REWRITTEN
    if now.said <= before.said:
        raise Unsaid(f"{sorted(now.numbers)} instead of {sorted(before.numbers)}")
    return OTHER_COUNTS


def check_kept(now: Answer, before: Answer, file: str) -> None:
    """Raise `Unsaid` where an answer as JSON is another one than before ``file``, which
    has a digest of its own, was torn: it is refused or named, or it changes nothing.
    """
    if now.refused or now.out == before.out:
        return
    lacks = [lack for pair in _pairs(now) for lack in pair.get("not_checked", [])]
    if not any(lack["cause"] == file for lack in lacks):
        raise Unsaid("another answer")


def _pairs(answer: Answer) -> Sequence[Any]:
    with contextlib.suppress(ValueError, KeyError):
        return list(json.loads(answer.out)["pairs"])
    return []


def _counts(capture: Any) -> Any:
    return [capture["label"], capture["sequences"], capture["tokens"]]


def _name(pair: Any) -> str:
    counted = [pair[key] for key in ("a", "b", "scope", "tokens", "sequences")]
    return json.dumps([counted, _missing(pair)])


def _missing(pair: Any) -> Any:
    return sorted((pair.get("coverage") or {}).items())


def _numbers(pair: Any) -> Any:
    """What is made of the log-probabilities alone."""
    kept = {key: pair[key] for key in ("errors", "probability", "mismatch")}
    kept["mismatch"].pop("sampled_by_b", None)
    kept["worst"] = [
        (entry["sequence"], entry["position"], entry["logprob_a"], entry["logprob_b"])
        for entry in pair["worst"]
    ]
    return kept


def _said(report: Any) -> Iterator[str]:
    """The state, how far each capture came, and what the gate and the counts say."""
    yield f"state {report['state']}"
    for capture in report["captures"]:
        yield f"capture {capture['status']}: {capture['failure']}"
    for pair in report["pairs"]:
        yield f"not scored {_missing(pair)}"
        for reason in pair["gate"]["reasons"]:
            yield f"gate {reason['text']}"
