"""The numbers of `logdrift report --json` once more, from a session's raw files: loops,
`math.fsum`, docs/metrics.md.

Nothing of the product is imported, and nothing is shared with it but definitions: those
of docs/report.md and docs/metrics.md (whose table of limits is read here), of
docs/session-format.md and of the docstrings of core/compare. The one thing that cannot
be worked out from data is the gate: its verdict, which `thresholds` need, is an input.
"""

from __future__ import annotations

import base64
import bisect
import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from tests.recompute_numbers import (
    ENTROPY_EDGES,
    INF,
    PROBABILITY_EDGES,
    Signed,
    correlation,
    divide,
    errors,
    intervals,
    k3_mean,
    mean,
    mismatch,
    probability,
    rms,
    signed_mean,
    token_topk,
    topk,
    what_if,
)

METRICS_PAGE = Path(__file__).resolve().parent.parent / "docs" / "metrics.md"
SCOPES = ("all", "prompt", "completion")
RECORDED = ("decode", "recorded")
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


class Words:
    """A text that the definitions do not fix: any that is not empty."""


class Padded(dict[str, Any]):
    """An object of the manifest: what the report adds to it are fields that a session
    so old does not have, as null.
    """


class Files:
    """The session's files as lists: ``cap[label]`` has logprob, rank, entropy and
    ``top``, (id, logprob) best first.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = json.loads((folder / "session.json").read_text())
        self.pieces = json.loads((folder / "pieces.json").read_text())
        self.ids: list[int] = []
        self.mask: list[int] = []
        self.starts, self.stops, self.prompts = [], [], []
        for part in self.manifest["sequences"]["parts"]:
            tensors = load_file(folder / part["file"])
            base, offsets = len(self.ids), tensors["offsets"].tolist()
            self.ids += tensors["token_ids"].tolist()
            self.mask += tensors["mask"].tolist()
            self.prompts += tensors["prompt_lengths"].tolist()
            self.starts += [base + x for x in offsets[:-1]]
            self.stops += [base + x for x in offsets[1:]]
        self.infos = [
            {"batch": "together", **info} for info in self.manifest["captures"]
        ]
        for info in self.infos:
            info["sequences"] = sum(part["sequences"] for part in info["parts"])
            info["tokens"] = sum(part["tokens"] for part in info["parts"])
        self.info = {info["label"]: info for info in self.infos}
        self.cap = {info["label"]: self._columns(info) for info in self.infos}
        self.in_completion = [False] * len(self.ids)
        for start, stop, prompt in zip(
            self.starts, self.stops, self.prompts, strict=True
        ):
            self.in_completion[start + prompt : stop] = [True] * (stop - start - prompt)
        some = any(
            m == 1 and c for m, c in zip(self.mask, self.in_completion, strict=True)
        )
        self.default_scope = "completion" if some else "all"
        self.pairs: dict[tuple[str, str], Pair] = {}

    def _columns(self, info: Mapping[str, Any]) -> dict[str, Any]:
        parts = [load_file(self.folder / part["file"]) for part in info["parts"]]
        out: dict[str, Any] = {
            name: [x for p in parts for x in p[name].tolist()]
            for name in ("logprob", "rank")
        }
        has_entropy = bool(parts) and all("entropy" in p for p in parts)
        out["entropy"] = (
            [x for p in parts for x in p["entropy"].tolist()] if has_entropy else None
        )
        out["nan"] = [
            x
            for p in parts
            for x in (p["nan"].tolist() if "nan" in p else [0] * len(p["logprob"]))
        ]
        out["top"] = []
        for part in parts:
            for ids, values in zip(
                part["top_ids"].tolist(), part["top_logprobs"].tolist(), strict=True
            ):
                row = [
                    (i, v)
                    for i, v in zip(ids, values, strict=True)
                    if i >= 0 and not math.isnan(v)
                ]
                out["top"].append(sorted(row, key=lambda entry: -entry[1]))
        return out

    def pair(self, a: str, b: str) -> Pair:
        if (a, b) not in self.pairs:
            self.pairs[a, b] = Pair(self, a, b)
        return self.pairs[a, b]


class Pair:
    """Captures A and B: lists over the tokens of the sequences that both have
    finished.
    """

    def __init__(self, files: Files, a: str, b: str) -> None:
        self.files, self.a, self.b = files, a, b
        self.count = min(
            files.info[a]["sequences"], files.info[b]["sequences"], len(files.starts)
        )
        self.tokens = files.stops[self.count - 1] if self.count else 0
        self.p, self.q = (
            files.cap[label]["logprob"][: self.tokens] for label in (a, b)
        )
        self.delta = [self._delta(x, y) for x, y in zip(self.p, self.q, strict=True)]
        nan = math.isnan
        self.scored = [
            m == 1 and not nan(x) and not nan(y)
            for m, x, y in zip(files.mask, self.p, self.q, strict=False)
        ]

    @staticmethod
    def _delta(x: float, y: float) -> float:
        # The report's delta is a float32. All differences of the shipped sample are
        # exact in it.
        return 0.0 if x == y == -INF else float(np.float32(x - y))

    def positions(self, scope: str) -> list[int]:
        inside = {"all": (True, False), "prompt": (False,), "completion": (True,)}[
            scope
        ]
        return [
            i
            for i in range(self.tokens)
            if self.scored[i] and self.files.in_completion[i] in inside
        ]

    def sequence_of(self, position: int) -> int:
        return bisect.bisect_right(self.files.starts, position) - 1

    @cached_property
    def topk(self) -> list[dict[str, Any] | None]:
        a, b = (self.files.cap[label]["top"] for label in (self.a, self.b))
        return [
            (
                token_topk(a[i], b[i], self.files.ids[i], self.p[i], self.q[i])
                if self.scored[i]
                else None
            )
            for i in range(self.tokens)
        ]


def buckets(pair: Pair, scope: str, at: Sequence[int]) -> dict[str, Any]:
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
    }


# --- Which captures are compared with which -----------------------------------------


def firsts(files: Files, backend: str) -> list[dict[str, Any]]:
    """Of each path the capture that stands for it: together before alone, then the
    lowest repeat.
    """
    own = [
        info for info in files.infos if info["backend"] == backend and info["sequences"]
    ]
    best = {}
    for path in dict.fromkeys(info["path"] for info in own):
        same = [info for info in own if info["path"] == path]
        best[path] = min(
            same, key=lambda info: (info["batch"] != "together", info["repeat"])
        )
    return list(best.values())


def main_capture(files: Files, backend: str) -> dict[str, Any]:
    found = firsts(files, backend)
    wanted = RECORDED if found[0]["role"] == "rollout" else ("prefill",)
    return next((info for info in found if info["path"] in wanted), found[0])


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


# --- Noise floor and decomposition --------------------------------------------------


def floor(pair: Pair, scope: str) -> dict[str, Any] | None:
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
) -> dict[str, Any] | None:
    """The first group with a finite delta at the positions, its repeats pooled."""
    for against, repeats in groups:
        deltas: list[float] = []
        used, infinite = [], 0
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


def term(values: Sequence[float]) -> dict[str, Any]:
    return {
        "mean": signed_mean(values),
        "mae": mean([abs(x) for x in values]),
        "rmse": rms(values),
    }


def minus(x: Sequence[float], y: Sequence[float]) -> list[float]:
    return [u - v for u, v in zip(x, y, strict=True)]


def decomposition(files: Files, scope: str) -> list[dict[str, Any]]:
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
) -> dict[str, Any] | None:
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
) -> dict[str, Any] | None:
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


# --- Limits, as docs/metrics.md lists them ------------------------------------------


def table_rows(text: str, columns: int) -> list[list[str]]:
    rows = [
        re.split(r"(?<!\\)\|", line)[1:-1]
        for line in text.splitlines()
        if line.startswith("| ")
    ]
    return [
        [cell.strip().replace("\\|", "|") for cell in row]
        for row in rows
        if len(row) == columns
    ]


def published() -> list[dict[str, Any]]:
    """The table of published limits, each with the unit that the table of its number
    gives.
    """
    text = METRICS_PAGE.read_text()
    units = {row[0].strip("`"): row[2] for row in table_rows(text, 5)}
    out = []
    for framework, name, metric, bar, level, source in table_rows(
        text.partition("## Published limits")[2], 6
    )[1:]:
        low, high = bounds(bar)
        out.append(
            {
                "framework": framework,
                "name": name.strip("`"),
                "metric": metric.strip("`"),
                "low": low,
                "limit": high,
                "level": level,
                "unit": units[metric.strip("`")],
                "source": source,
            }
        )
    return out


def bounds(bar: str) -> tuple[float | None, float | None]:
    """``<= 0.1``, ``>= 0.3``, ``= 0`` or ``0.5 to 2``."""
    sign, _, number = bar.partition(" ")
    if sign in ("<=", ">=", "="):
        return (None if sign == "<=" else float(number)), (
            None if sign == ">=" else float(number)
        )
    low, high = bar.split(" to ")
    return float(low), float(high)


def thresholds(pair: Mapping[str, Any], verdict: str) -> list[dict[str, Any]]:
    out = []
    for limit in published():
        section, number = limit["metric"].split(".")
        found = pair[section][number]
        value = found.value if isinstance(found, Signed) else found
        inside = value is not None and (limit["low"] is None or value >= limit["low"])
        inside = inside and (limit["limit"] is None or value <= limit["limit"])
        unsaid = (
            limit["level"] == "other"
            or value is None
            or verdict == "not_comparable"
            or pair["scope"] != "completion"
        )
        unsaid = unsaid or (inside and leaves_out(pair, section, number))
        note = Words() if unsaid else None
        out.append(
            limit
            | {
                "value": found,
                "ok": None if unsaid else inside,
                "meaning": Words(),
                "note": note,
            }
        )
    return out


def leaves_out(pair: Mapping[str, Any], section: str, number: str) -> bool:
    """Whether impossible tokens are missing in a number."""
    if section == "topk":
        return "kl_lower_bound" in number and pair["topk"]["kl_infinite"] > 0
    if (section == "probability" and number != "mult_prob_error") or number in (
        "infinite",
        "exact_fraction",
    ):
        return False
    return bool(pair["errors"]["infinite"])


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
    code, kind = ord(char), unicodedata.category(char)
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
) -> list[dict[str, Any]]:
    files, out = pair.files, []
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


def worst_sequences(
    rows: Sequence[Sequence[float]], count: int = 20
) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
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


def report_pair(pair: Pair, scope: str, gate: Mapping[str, Any]) -> dict[str, Any]:
    at = pair.positions(scope)
    d, p, q = ([column[i] for i in at] for column in (pair.delta, pair.p, pair.q))
    rows: list[list[tuple[float, float, float]]] = [[] for _ in range(pair.count)]
    for i in at:
        rows[pair.sequence_of(i)].append((pair.delta[i], pair.p[i], pair.q[i]))
    deltas = [[t[0] for t in row] for row in rows]
    out: dict[str, Any] = {
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
        "what_if": what_if(deltas),
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


def _reason(found: Mapping[str, Any]) -> dict[str, Any]:
    """A reason's words are an input; a session that keeps no resolved configs names no
    difference.
    """
    return {**dict.fromkeys(found, Words()), "differences": []}


def coverage(pair: Pair, scope: str) -> dict[str, Any]:
    """Tokens that count and have no number: NaN by side, and those that one side alone
    should have scored and did not.
    """
    files, tokens = pair.files, range(pair.tokens)
    mask, inside = (
        files.mask,
        {"all": (True, False), "prompt": (False,), "completion": (True,)}[scope],
    )
    broken = {
        label: [bool(x) and mask[i] == 1 for i, x in enumerate(files.cap[label]["nan"])]
        for label in (pair.a, pair.b)
    }
    nan_a, nan_b = (
        sum(broken[pair.a][: pair.tokens]),
        sum(broken[pair.b][: pair.tokens]),
    )
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
    files, starts = pair.files, set(pair.files.starts)
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


def scope_numbers(pair: Pair, scope: str) -> dict[str, Any]:
    at = pair.positions(scope)
    d, p, q = ([column[i] for i in at] for column in (pair.delta, pair.p, pair.q))
    return {"scope": scope, "tokens": len(at), **errors(d, p, q), "k3": k3_mean(d)}


def report_capture(info: Mapping[str, Any]) -> dict[str, Any]:
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
    facts = Padded({"told": [], **info["facts"]}) if info["facts"] is not None else None
    return {name: info[name] for name in names} | {
        "failure": info.get("failure"),
        "facts": facts,
    }


def recompute(
    files: Files, scope: str | None, gates: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The whole report over ``scope`` (None: the default); ``gates`` are those of its
    pairs, in their order.
    """
    chosen = scope or files.default_scope
    manifest, pairs = files.manifest, list_pairs(files)
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
    }
