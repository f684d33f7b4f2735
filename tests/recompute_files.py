"""The files of a session and a pair of its captures, for `tests.recompute`."""

from __future__ import annotations

import bisect
import json
import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from tests.common import Fields
from tests.recompute_numbers import INF
from tests.recompute_topk import token_topk

RECORDED = ("decode", "recorded")


class Padded(Fields):
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
            base = len(self.ids)
            offsets = tensors["offsets"].tolist()
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

    def _columns(self, info: Mapping[str, Any]) -> Fields:
        parts = [load_file(self.folder / part["file"]) for part in info["parts"]]
        out: Fields = {
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
    def topk(self) -> list[Fields | None]:
        a, b = (self.files.cap[label]["top"] for label in (self.a, self.b))
        return [
            (
                token_topk(a[i], b[i], self.files.ids[i], self.p[i], self.q[i])
                if self.scored[i]
                else None
            )
            for i in range(self.tokens)
        ]


def firsts(files: Files, backend: str) -> list[Fields]:
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


def main_capture(files: Files, backend: str) -> Fields:
    found = firsts(files, backend)
    wanted = RECORDED if found[0]["role"] == "rollout" else ("prefill",)
    return next((info for info in found if info["path"] in wanted), found[0])
