"""`logdrift why`: the diagnosis of pairs as one dictionary (schema 1) and as text, and
the cause table.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from logdrift.core.compare.pair import Pair, make_pair
from logdrift.core.diagnose import Diagnosis, Evidence, diagnose
from logdrift.core.diagnose.causes import CAUSES
from logdrift.core.diagnose.identity import identity_of
from logdrift.core.diagnose.layers import Layers, layers_evidence, layers_of, understood
from logdrift.core.diagnose.outcomes import experiment_evidence
from logdrift.core.numbers import fixed
from logdrift.core.report.experiments import (
    outcome_lines,
    outcomes_json,
    saved_outcomes,
)
from logdrift.core.report.identity import identity_json
from logdrift.core.report.layers import layers_lines
from logdrift.core.report.layout import Canvas, pad
from logdrift.core.session.identity import (
    LoadedWeights,
    saved_failures,
    saved_identities,
)
from logdrift.core.session.layers import saved_layers
from logdrift.core.session.reader import Session
from logdrift.core.words import certainty

SCHEMA = 1
_TOKENS = 3
"""Tokens of a piece of evidence that the text shows."""


def build_why(session: Session, pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """``{schema, session, pairs, diagnosis, identity, identity_failed}``; ``diagnosis``
    lists the causes of all pairs as `report --json` does.

    Positions of evidence become tokens: sequence, position, token_id, piece, delta.
    InputError for unknown labels.
    """
    saved = saved_identities(session.folder)
    found = [_pair(session, make_pair(session, a, b), saved) for a, b in pairs]
    return {
        "schema": SCHEMA,
        "session": session.name,
        "pairs": found,
        "diagnosis": [entry for pair in found for entry in _entries(pair)],
        "identity": identity_json(session, saved),
        "identity_failed": saved_failures(session.folder),
    }


def _entries(pair: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for cause in pair["causes"]:
        yield {
            "pair": [pair["a"], pair["b"]],
            **{k: cause[k] for k in ("cause", "score", "evidence", "next_experiment")},
        }


def _pair(
    session: Session, pair: Pair, saved: Mapping[str, LoadedWeights]
) -> dict[str, Any]:
    return explained(
        session, pair, diagnose(session, pair, saved_evidence(session, pair, saved))
    )


def saved_evidence(
    session: Session, pair: Pair, identities: Mapping[str, LoadedWeights]
) -> list[Evidence]:
    """What identity checks, experiments and looks at the layers that lie in the session
    say of the pair, for ``more`` of `diagnose`.
    """
    layers = _layers(session, pair)
    return [
        *identity_of(session, pair, identities, saved_failures(session.folder)),
        *experiment_evidence(saved_outcomes(session, pair)),
        *(layers_evidence(layers.sides) if layers is not None else ()),
    ]


def _layers(session: Session, pair: Pair) -> Layers | None:
    return layers_of(
        pair.a.info.label, pair.b.info.label, understood(saved_layers(session.folder))
    )


def explained(session: Session, pair: Pair, found: Diagnosis) -> dict[str, Any]:
    """A diagnosis as an entry of ``pairs``: `Diagnosis.to_json` with tokens in place of
    flat positions, and the pair's experiments.
    """
    out = found.to_json()
    out["experiments"] = outcomes_json(saved_outcomes(session, pair))
    layers = _layers(session, pair)
    out["layers"] = None if layers is None else layers.to_json()
    for cause in out["causes"]:
        for evidence in cause["evidence"]:
            evidence["tokens"] = [
                _token(session, pair, at) for at in evidence.pop("positions")
            ]
    return out


def _token(session: Session, pair: Pair, at: int) -> dict[str, Any]:
    sequence = pair.sequence_of(at)
    token = int(pair.sequences.token_ids[at])
    return {
        "sequence": sequence,
        "position": at - pair.sequences.bounds(sequence)[0],
        "token_id": token,
        "piece": session.pieces.text(token),
        "delta": float(pair.delta[at]),
    }


def render_why(report: Mapping[str, Any], canvas: Canvas) -> str:
    """The diagnosis as text of at most ``canvas.width`` cells."""
    lines: list[str] = []
    for pair in report["pairs"]:
        if lines:
            lines.append("")
        lines += _pair_lines(pair, canvas)
    return "".join(line + "\n" for line in lines)


def _pair_lines(pair: Mapping[str, Any], canvas: Canvas) -> Iterator[str]:
    head = (
        f"{pair['a']} → {pair['b']} · {pair['tokens']:,} tokens · MAE"
        f" {fixed(pair['size']['mae'])}"
    )
    yield canvas.paint(canvas.cut(canvas.text(head), canvas.width), "bold")
    yield from canvas.wrap(pair["answer"]["sentence"])
    yield ""
    style = "good" if pair["noise"] else "warn"
    yield from (canvas.paint(line, style) for line in canvas.wrap(pair["verdict"]))
    said = frozenset(
        each["sentence"]
        for cause in pair["causes"]
        for each in cause["evidence"]
        if each["sentence"] in pair["verdict"]
    )
    shown, others = _in_full(pair)
    for place, cause in enumerate(shown, 1):
        yield ""
        yield from _cause_lines(place, cause, canvas, said)
        said |= {evidence["sentence"] for evidence in cause["evidence"]}
    if others:
        yield ""
        names = ", ".join(f"{cause['title']} {cause['score']:.2f}" for cause in others)
        yield from canvas.wrap(f"Also possible: {names}.")
    if pair["experiments"]:
        yield ""
        yield from outcome_lines(pair["experiments"], canvas)
    if pair["layers"]:
        yield ""
        yield from layers_lines(pair["layers"], canvas)
    if pair["checked"]:
        yield ""
        yield canvas.paint("Checked", "bold")
        for each in pair["checked"]:
            yield from canvas.wrap(each["why"], 18, "  " + each["cause"])
    if pair["not_checked"]:
        yield ""
        yield canvas.paint("Not checked", "bold")
        yield from canvas.wrap(_surer(pair["not_checked"]), 2)


def _in_full(
    pair: Mapping[str, Any],
) -> tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]]:
    """The causes that are told with their evidence, and those that are only named: of
    imported numbers, which nothing can be asked again, what is merely possible beside a
    likely cause.
    """
    causes = pair["causes"]
    if not pair["imported"] or not causes or causes[0]["sureness"] == "possible":
        return causes, ()
    likely = [cause for cause in causes if cause["sureness"] != "possible"]
    return likely, [cause for cause in causes if cause["sureness"] == "possible"]


def _surer(not_checked: Sequence[Mapping[str, Any]]) -> str:
    """One paragraph: each thing to do, with the causes that it would check. ``--json``
    has the reasons one by one.
    """
    told: dict[str, None] = {}
    by_fix: dict[str, list[str]] = {}
    for each in not_checked:
        told |= dict.fromkeys(each["tell"])
        fix = f"tell {{facts}} {each['tell_by']}" if each["tell"] else each["mend"]
        by_fix.setdefault(fix, []).append(each["cause"])
    steps = [
        f"{fix.format(facts=', '.join(told))} ({', '.join(dict.fromkeys(causes))})"
        for fix, causes in by_fix.items()
    ]
    return f"To be surer: {'; '.join(steps)}."


def render_cause(pair: Mapping[str, Any], place: int, canvas: Canvas) -> str:
    """The cause in ``place`` (from 1) of one entry of ``pairs``, with the pair that it
    is of.
    """
    head = canvas.wrap(f"{pair['a']} → {pair['b']} · MAE {fixed(pair['size']['mae'])}")
    return "".join(
        line + "\n"
        for line in (*head, *_cause_lines(place, pair["causes"][place - 1], canvas))
    )


def _cause_lines(
    place: int,
    cause: Mapping[str, Any],
    canvas: Canvas,
    said: frozenset[str] = frozenset(),
) -> Iterator[str]:
    """One cause; of evidence that a cause before it has (``said``) only that it is the
    same.
    """
    name = f"{place}. {cause['title']}"
    sure = f"{certainty(cause['sureness'], cause['shown'])} {cause['score']:.2f}"
    yield canvas.paint(
        pad(canvas.cut(canvas.text(name), canvas.width - 16), canvas.width - 14) + sure,
        "bold",
    )
    for evidence in cause["evidence"]:
        if evidence["sentence"] in said:
            if place > 1:
                yield from canvas.wrap("by the same sign as above", 3)
            continue
        yield from canvas.wrap(evidence["sentence"], 3)
        if evidence["tokens"]:
            yield from canvas.wrap(_tokens(evidence["tokens"]), 5)
    if not cause["separable"]:
        yield from canvas.wrap(
            f"cannot be told apart by numbers alone: {cause['otherwise']}", 3
        )
    if cause["next_experiment"]:
        yield from canvas.wrap(cause["next_experiment"], 8, "   try ")


def _tokens(tokens: Sequence[Mapping[str, Any]]) -> str:
    shown = [
        f"{t['sequence']}:{t['position']} {t['piece']!r} {_delta(t['delta'])}"
        for t in tokens[:_TOKENS]
    ]
    return "at " + ", ".join(shown)


def _delta(delta: float | None) -> str:
    return (
        "NaN"
        if delta is not None and math.isnan(delta)
        else f"Δ {fixed(delta, sign=True)}"
    )


def render_causes(canvas: Canvas) -> str:
    """The cause table, in the order of checking."""
    lines: list[str] = []
    for cause in CAUSES:
        told = "" if cause.separable else " (numbers alone do not tell it)"
        lines.append(
            canvas.paint(
                canvas.cut(
                    canvas.text(f"{cause.number:2d} {cause.title}{told}"), canvas.width
                ),
                "bold",
            )
        )
        for name, text in (
            ("what", cause.sentence),
            ("seen", cause.signature),
            (
                "size",
                (
                    cause.size
                    if cause.source == cause.link
                    else f"{cause.size} [{cause.source}]"
                ),
            ),
        ):
            lines += canvas.wrap(text, 17, f"   {name}")
        lines.append(
            canvas.cut(canvas.text(f"   {cause.link}"), canvas.width)
        )  # whole, to be copied or clicked
        for engine, knobs in cause.knobs.items():
            said = "; ".join(
                knob.setting
                + (f" ({knob.effect})" if knob.effect else "")
                + (" [more than one change]" if knob.combined else "")
                for knob in knobs
            )
            lines += canvas.wrap(said, 17, f"   {engine}")
    return "".join(line + "\n" for line in lines)


def causes_json() -> list[dict[str, Any]]:
    """The cause table for programs."""
    return [
        {
            "number": cause.number,
            "code": cause.code,
            "group": cause.group,
            "title": cause.title,
            "sentence": cause.sentence,
            "signature": cause.signature,
            "size": cause.size,
            "source": cause.source,
            "link": cause.link,
            "separable": cause.separable,
            "otherwise": cause.otherwise,
            "combined": cause.combined,
            "knobs": {
                engine: [
                    {
                        "setting": k.setting,
                        "effect": k.effect or None,
                        "combined": k.combined,
                    }
                    for k in knobs
                ]
                for engine, knobs in cause.knobs.items()
            },
        }
        for cause in CAUSES
    ]
