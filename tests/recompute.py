"""The numbers of `logdrift report --json` once more, from a session's raw files: loops,
`math.fsum`, docs/metrics.md.

Nothing of the product is imported, and nothing is shared with it but definitions: those
of docs/report.md and docs/metrics.md (whose table of limits is read here), of
docs/session-format.md and of the docstrings of core/compare. The one thing that cannot
be worked out from data is the gate: its verdict, which `thresholds` need, is an input.
"""

from __future__ import annotations

import base64
import math
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from tests.common import Fields
from tests.recompute_files import RECORDED, Files, Padded, Pair, firsts, main_capture
from tests.recompute_gaps import decomposition, floor
from tests.recompute_groups import by_turn
from tests.recompute_intervals import intervals
from tests.recompute_limits import thresholds
from tests.recompute_numbers import (
    ENTROPY_EDGES,
    PROBABILITY_EDGES,
    Signed,
    Words,
    divide,
    errors,
    k3_mean,
    masked,
    mean,
    mismatch,
    probability,
    signed_mean,
    what_if,
)
from tests.recompute_topk import topk

SCOPES = ("all", "prompt", "completion")
UNEVEN = (
    (0x115F, 0x11FF),
    (0xD7B0, 0xD7FF),
    (0x3164, 0x3164),
    (0xFFA0, 0xFFA0),
    (0x2800, 0x2800),
    (0x1F3FB, 0x1F3FF),
    (0x1F1E6, 0x1F1FF),
    (0x2630, 0x2637),
    (0x268A, 0x268F),
    (0x4DC0, 0x4DFF),
    (0x1D300, 0x1D376),
)
"""Code points whose width on a screen depends on a neighbour or on the terminal: shown
by their number.
"""


def buckets(pair: Pair, scope: str, at: Sequence[int]) -> Fields:
    files = pair.files
    begins = [
        s + (n if scope == "completion" else 0)
        for s, n in zip(files.starts, files.prompts, strict=True)
    ]
    position = [i - begins[pair.sequence_of(i)] for i in at]
    doubling = [0.0, 1.0]
    while doubling[-1] <= max(position, default=0):
        doubling.append(doubling[-1] * 2)
    entropy = next(
        (
            files.cap[x]["entropy"]
            for x in (pair.a, pair.b)
            if files.cap[x]["entropy"] is not None
        ),
        None,
    )
    d = [pair.delta[i] for i in at]
    known = [] if entropy is None else [i for i in at if not math.isnan(entropy[i])]
    return {
        "by_probability": divide(
            [(math.exp(pair.q[i]), pair.delta[i]) for i in at], PROBABILITY_EDGES
        ),
        "by_position": divide(list(zip(position, d, strict=True)), doubling),
        "by_entropy": (
            None
            if entropy is None
            else divide([(entropy[i], pair.delta[i]) for i in known], ENTROPY_EDGES)
        ),
        "by_turn": by_turn(pair, at),
        # The sample and the made sessions know neither roles nor versions.
        "by_role": None,
        "by_version": None,
        "by_lag": None,
    }


# --- Which captures are compared with which -----------------------------------------


def list_pairs(files: Files) -> list[tuple[str, str]]:
    """Trainer to rollouts, reference to trainers and to rollouts, within each backend,
    backends of one role.
    """
    finished = [info for info in files.infos if info["sequences"]]
    backends = {
        role: list(dict.fromkeys(i["backend"] for i in finished if i["role"] == role))
        for role in ("reference", "trainer", "rollout")
    }
    trainers = [main_capture(files, name) for name in backends["trainer"]]
    references = [main_capture(files, name) for name in backends["reference"]]
    rollouts = [info for name in backends["rollout"] for info in firsts(files, name)]
    pairs = [(t, r) for t in trainers for r in rollouts]
    pairs += [(r, t) for r in references for t in trainers] + [
        (r, o) for r in references for o in rollouts
    ]
    for name in dict.fromkeys(info["backend"] for info in finished):
        standing = firsts(files, name)
        pairs += [(x, y) for i, x in enumerate(standing) for y in standing[i + 1 :]]
        for info in finished:
            if info["backend"] == name and info not in standing:
                pairs += [(info, y) for y in standing if y["path"] == info["path"]]
    for names in backends.values():
        for i, x in enumerate(names):
            for y in names[i + 1 :]:
                both = [(a, b) for a in firsts(files, x) for b in firsts(files, y)]
                alike = [
                    (a, b)
                    for a, b in both
                    if (a["path"] == "prefill") == (b["path"] == "prefill")
                ]
                pairs += alike or [(main_capture(files, x), main_capture(files, y))]
    return list(dict.fromkeys((a["label"], b["label"]) for a, b in pairs))


# --- Lists of tokens and sequences --------------------------------------------------


def shown(files: Files, token_id: int) -> str:
    """A token's text: what is no UTF-8, no printable character or no character of its
    own as ``<0x..>`` or ``<U+..>``.
    """
    text = base64.b64decode(files.pieces[str(token_id)]).decode(
        "utf-8", "surrogateescape"
    )
    return "".join(shown_character(char) for char in text)


def shown_character(char: str) -> str:
    code = ord(char)
    kind = unicodedata.category(char)
    if any(low <= code <= high for low, high in UNEVEN):
        return f"<U+{code:04X}>"
    if char in "\n\t\r":
        return {"\n": "↵", "\t": "⇥", "\r": "␍"}[char]
    if 0xDC80 <= code <= 0xDCFF or code < 0x20 or code == 0x7F:
        return f"<0x{code & 0xFF:02X}>"
    if kind[0] in "CM" or kind in ("Zl", "Zp"):
        return f"<U+{code:04X}>"
    return " " if kind == "Zs" else char


def worst(
    pair: Pair, at: Sequence[int], noise: float | None, count: int = 20
) -> list[Fields]:
    files = pair.files
    out = []
    ordered = sorted(
        (i for i in at if pair.delta[i] != 0), key=lambda i: (-abs(pair.delta[i]), i)
    )
    for i in ordered[:count]:
        s = pair.sequence_of(i)
        around = (
            files.ids[max(files.starts[s], i - 6) : i],
            files.ids[i + 1 : min(files.stops[s], i + 7)],
        )
        d = pair.delta[i]
        out.append(
            {
                "sequence": s,
                "position": i - files.starts[s],
                "token_id": files.ids[i],
                "piece": shown(files, files.ids[i]),
                "delta": finite(d),
                "times_floor": abs(d) / noise if noise and math.isfinite(d) else None,
                "logprob_a": finite(pair.p[i]),
                "logprob_b": finite(pair.q[i]),
                "rank_a": files.cap[pair.a]["rank"][i] or None,
                "rank_b": files.cap[pair.b]["rank"][i] or None,
                "before": "".join(shown(files, x) for x in around[0]),
                "after": "".join(shown(files, x) for x in around[1]),
            }
        )
    return out


def finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def worst_sequences(rows: Sequence[Sequence[float]], count: int = 20) -> list[Fields]:
    out: list[Fields] = []
    for sequence, row in enumerate(rows):
        kept = [d for d in row if math.isfinite(d)]
        if any(kept):
            size = [abs(d) for d in kept]
            out.append(
                {
                    "sequence": sequence,
                    "tokens": len(kept),
                    "mean": signed_mean(kept),
                    "mae": mean(size),
                    "max_abs": max(size),
                    "log_ratio": Signed(math.fsum(kept), math.fsum(size)),
                }
            )
    return sorted(out, key=lambda row: (-row["mae"], row["sequence"]))[:count]


# --- The report ---------------------------------------------------------------------


def sampled_by(pair: Pair, scope: str) -> bool | None:
    """True for the capture that recorded the sampling of what is in the scope; None
    where the session does not say who sampled. Nobody samples a prompt.
    """
    generator = pair.files.manifest["sequences"].get("generated_by")
    info = pair.files.info[pair.b]
    if info["path"] in RECORDED:
        return generator in (None, info["backend"]) and (
            scope == "completion" or not pair.positions("prompt")
        )
    return None if generator is None else False


def report_pair(pair: Pair, scope: str, gate: Mapping[str, Any]) -> Fields:
    at = pair.positions(scope)
    d, p, q = ([column[i] for i in at] for column in (pair.delta, pair.p, pair.q))
    rows: list[list[tuple[float, float, float]]] = [[] for _ in range(pair.count)]
    for i in at:
        rows[pair.sequence_of(i)].append((pair.delta[i], pair.p[i], pair.q[i]))
    deltas = [[t[0] for t in row] for row in rows]
    out: Fields = {
        "a": pair.a,
        "b": pair.b,
        "scope": scope,
        "tokens": len(at),
        "sequences": pair.count,
        "gate": {
            "verdict": gate["verdict"],
            "reasons": [_reason(r) for r in gate["reasons"]],
        },
        "coverage": coverage(pair, scope),
        "answer": None,
        "errors": errors(d, p, q),
        "ci95": intervals(deltas),
        "floor": floor(pair, scope),
        "probability": probability(d, p, q),
        "mismatch": mismatch(rows, sampled_by(pair, scope)),
        "what_if": [*what_if(deltas), *masked(rows)],
        "topk": topk([pair.topk[i] for i in at]),
        "buckets": buckets(pair, scope, at),
        "scopes": [scope_numbers(pair, each) for each in SCOPES],
        "worst_sequences": worst_sequences(deltas),
    }
    noise = out["floor"]["mae"] if out["floor"] else None
    return out | {
        "thresholds": thresholds(out, gate["verdict"]),
        "worst": worst(pair, at, noise),
    }


def _reason(found: Mapping[str, Any]) -> Fields:
    """A reason's words are an input; a session that keeps no resolved configs names no
    difference.
    """
    return {**dict.fromkeys(found, Words()), "differences": []}


def coverage(pair: Pair, scope: str) -> Fields:
    """Tokens that count and have no number: NaN by side, and those that one side alone
    should have scored and did not.
    """
    files = pair.files
    tokens = range(pair.tokens)
    mask = files.mask
    inside = {"all": (True, False), "prompt": (False,), "completion": (True,)}[scope]
    broken = {
        label: [bool(x) and mask[i] == 1 for i, x in enumerate(files.cap[label]["nan"])]
        for label in (pair.a, pair.b)
    }
    nan_a = sum(broken[pair.a][: pair.tokens])
    nan_b = sum(broken[pair.b][: pair.tokens])
    sides = ((pair.a, pair.p, pair.q), (pair.b, pair.q, pair.p))
    missing = [
        _missing(pair, label, own, other, broken[label]) for label, own, other in sides
    ]
    unscored = [
        sum(files.in_completion[i] in inside for i in found) for found in missing
    ]
    scored = len(pair.positions(scope)) + sum(unscored)
    return {
        "nan_a": nan_a,
        "nan_b": nan_b,
        "nan": sum(broken[pair.a][i] or broken[pair.b][i] for i in tokens),
        "unscored_a": unscored[0],
        "unscored_b": unscored[1],
        "unscored": sum(unscored),
        "unscored_fraction": sum(unscored) / scored if scored else None,
    }


def _missing(
    pair: Pair,
    label: str,
    own: Sequence[float],
    other: Sequence[float],
    broken: Sequence[bool],
) -> list[int]:
    files = pair.files
    starts = set(pair.files.starts)
    prompts = files.info[label]["path"] not in ("decode", "forced_decode") and any(
        not files.in_completion[i]
        and (not math.isnan(own[i]) or files.cap[label]["nan"][i])
        for i in range(pair.tokens)
    )
    return [
        i
        for i in range(pair.tokens)
        if files.mask[i] == 1
        and math.isnan(own[i])
        and not broken[i]
        and not math.isnan(other[i])
        and i not in starts
        and (prompts or files.in_completion[i])
    ]


def scope_numbers(pair: Pair, scope: str) -> Fields:
    at = pair.positions(scope)
    d, p, q = ([column[i] for i in at] for column in (pair.delta, pair.p, pair.q))
    return {"scope": scope, "tokens": len(at), **errors(d, p, q), "k3": k3_mean(d)}


def report_capture(info: Mapping[str, Any]) -> Fields:
    names = (
        "label",
        "backend",
        "role",
        "engine",
        "dtype",
        "path",
        "repeat",
        "batch",
        "sequences",
        "tokens",
        "status",
    )
    facts = (
        Padded({"told": [], "probed": [], **info["facts"]})
        if info["facts"] is not None
        else None
    )
    return {name: info[name] for name in names} | {
        "failure": info.get("failure"),
        "facts": facts,
    }


def recompute(
    files: Files, scope: str | None, gates: Sequence[Mapping[str, Any]]
) -> Fields:
    """The whole report over ``scope`` (None: the default); ``gates`` are those of its
    pairs, in their order.
    """
    chosen = scope or files.default_scope
    manifest = files.manifest
    pairs = list_pairs(files)
    complete = all(info["status"] == "complete" for info in files.infos)
    complete = complete and len(files.starts) >= manifest["sequences"]["planned"]
    state = "complete" if complete else "partial"
    if any(info["status"] == "failed" for info in files.infos):
        state = "failed"
    return {
        "schema": 1,
        "session": files.folder.resolve().name,
        "title": manifest["title"],
        "created": manifest["created"],
        "state": state,
        "model": Padded(manifest["model"]),
        "sequences": len(files.starts),
        "sequences_planned": manifest["sequences"]["planned"],
        "tokens": len(files.ids),
        "completion_tokens": sum(files.in_completion),
        "captures": [report_capture(info) for info in files.infos],
        "pairs": [
            report_pair(files.pair(a, b), chosen, g)
            for (a, b), g in zip(pairs, gates, strict=True)
        ],
        "decomposition": decomposition(files, chosen),
        "diagnosis": None,
        "retokenised": manifest["sequences"].get("retokenised"),
    }
