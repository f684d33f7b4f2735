"""Noise floor and decomposition, for `tests.recompute`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tests.common import Fields
from tests.recompute_files import RECORDED, Files, Pair, firsts
from tests.recompute_numbers import (
    Signed,
    correlation,
    mean,
    rms,
    signed_mean,
)


def floor(pair: Pair, scope: str) -> Fields | None:
    at = pair.positions(scope)
    sides = [pair.files.info[label] for label in (pair.a, pair.b)]
    a, b = (
        first_gap(pair.files, at, repeat_groups(pair.files, side)) for side in sides
    )
    batch_a, batch_b = (
        first_gap(pair.files, at, batch_groups(pair.files, side)) for side in sides
    )
    if not any((a, b, batch_a, batch_b)):
        return None
    known = [gap for gap in (a, b) if gap]
    larger = {
        name: max((gap[name] for gap in known), default=None)
        for name in ("mae", "rmse")
    }
    return larger | {"a": a, "b": b, "batch_a": batch_a, "batch_b": batch_b}


def floor_paths(side: Mapping[str, Any]) -> list[str]:
    return [
        side["path"],
        *(("forced_decode", "prefill") if side["path"] in RECORDED else ()),
    ]


def captures_of(
    files: Files, side: Mapping[str, Any], path: str, batch: str
) -> list[str]:
    found = [
        i
        for i in files.infos
        if (i["backend"], i["path"], i["batch"]) == (side["backend"], path, batch)
    ]
    return [
        i["label"] for i in sorted(found, key=lambda i: i["repeat"]) if i["sequences"]
    ]


def repeat_groups(files: Files, side: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """(first, its repeats), best first: of the side's own path and kind of batch."""
    groups = [
        captures_of(files, side, path, b)
        for path in floor_paths(side)
        for b in (side["batch"], "together")
    ]
    return [(group[0], group[1:]) for group in groups if len(group) > 1]


def batch_groups(files: Files, side: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    found = [
        (captures_of(files, side, p, "together"), captures_of(files, side, p, "alone"))
        for p in floor_paths(side)
    ]
    return [(together[0], alone) for together, alone in found if together and alone]


def first_gap(
    files: Files, at: Sequence[int], groups: Sequence[tuple[str, list[str]]]
) -> Fields | None:
    """The first group with a finite delta at the positions, its repeats pooled."""
    for against, repeats in groups:
        deltas: list[float] = []
        used = []
        infinite = 0
        for label in repeats:
            pair = files.pair(label, against)
            found = [pair.delta[i] for i in at if i < pair.tokens and pair.scored[i]]
            kept = [d for d in found if math.isfinite(d)]
            infinite += len(found) - len(kept)
            deltas += kept
            used += [label] if kept else []
        if deltas:
            size = [abs(d) for d in deltas]
            return {
                "label": ", ".join(used),
                "against": against,
                "mae": mean(size),
                "rmse": rms(deltas),
                "max_abs": max(size),
                "tokens": len(deltas),
                "infinite": infinite,
            }
    return None


def term(values: Sequence[float]) -> Fields:
    return {
        "mean": signed_mean(values),
        "mae": mean([abs(x) for x in values]),
        "rmse": rms(values),
    }


def minus(x: Sequence[float], y: Sequence[float]) -> list[float]:
    return [u - v for u, v in zip(x, y, strict=True)]


def decomposition(files: Files, scope: str) -> list[Fields]:
    backends = dict.fromkeys(info["backend"] for info in files.infos)
    first = {
        (i["backend"], i["path"]): i
        for backend in backends
        for i in firsts(files, backend)
    }
    scorers = [i for i in first.values() if i["path"] == "prefill"]
    reference = next((i["label"] for i in scorers if i["role"] == "reference"), None)
    out = []
    for backend in dict.fromkeys(
        i["backend"] for i in first.values() if i["role"] == "rollout"
    ):
        decode = next(
            (
                first[backend, path]["label"]
                for path in RECORDED
                if (backend, path) in first
            ),
            None,
        )
        prefill = (
            first[backend, "prefill"]["label"]
            if (backend, "prefill") in first
            else None
        )
        for trainer in (
            [i["label"] for i in scorers if i["role"] == "trainer"]
            if decode or prefill
            else ()
        ):
            item = decompose(files, scope, trainer, decode, prefill, reference)
            out += [item] if item else []
    return out


def common(files: Files, scope: str, labels: Sequence[str]) -> dict[str, list[float]]:
    """Log-probabilities of each label over the scope's tokens that are finite in
    all.
    """
    at = set(files.pair(labels[0], labels[1]).positions(scope))
    for label in labels[1:]:
        at &= set(files.pair(labels[0], label).positions(scope))
    columns = {label: files.cap[label]["logprob"] for label in labels}
    kept = [
        i
        for i in sorted(at)
        if all(math.isfinite(column[i]) for column in columns.values())
    ]
    return {label: [column[i] for i in kept] for label, column in columns.items()}


def decompose(
    files: Files,
    scope: str,
    trainer: str,
    decode: str | None,
    prefill: str | None,
    reference: str | None,
) -> Fields | None:
    labels = [label for label in (trainer, decode, prefill) if label is not None]
    values = common(files, scope, labels)
    if not values[trainer]:
        return None
    total = minus(values[trainer], values[decode]) if decode else None
    first = minus(values[prefill], values[decode]) if decode and prefill else None
    second = minus(values[trainer], values[prefill]) if prefill else None
    whole = total and first and second
    return {
        "rollout": decode or prefill,
        "trainer": trainer,
        "prefill": prefill,
        "scope": scope,
        "tokens": len(values[trainer]),
        "total": term(total) if total else None,
        "decode_vs_prefill": term(first) if first else None,
        "prefill_vs_trainer": term(second) if second else None,
        "correlation": correlation(first, second) if first and second else None,
        "share_decode_vs_prefill": (
            share(first, total) if whole and first and total else None
        ),
        "share_prefill_vs_trainer": (
            share(second, total) if whole and second and total else None
        ),
        "reference": split(files, scope, labels, reference) if reference else None,
    }


def share(part: Sequence[float], total: Sequence[float]) -> Signed | None:
    products = [x * y for x, y in zip(part, total, strict=True)]
    square = math.fsum(y * y for y in total)
    return (
        Signed(
            math.fsum(products) / square, math.fsum(abs(x) for x in products) / square
        )
        if square
        else None
    )


def split(
    files: Files, scope: str, labels: Sequence[str], reference: str
) -> Fields | None:
    values = common(files, scope, [*labels, reference])
    if not values[reference]:
        return None
    trainer, rollout = (minus(values[label], values[reference]) for label in labels[:2])
    return {
        "label": reference,
        "tokens": len(trainer),
        "trainer": term(trainer),
        "rollout": term(rollout),
        "rmse": rms(minus(values[labels[0]], values[labels[1]])),
        "expected_rmse": math.sqrt(rms(trainer) ** 2 + rms(rollout) ** 2),
        "correlation": correlation(trainer, rollout),
    }
