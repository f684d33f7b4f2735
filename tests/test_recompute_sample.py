"""The shipped sample's report against `tests.recompute`: every leaf of the JSON, each
number to 1e-9 relative.
"""

from __future__ import annotations

import ast
import copy
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from logdrift.core.compare.pair import SCOPES, default_scope, list_pairs, make_pair
from logdrift.core.report.build import build_report, report_pair
from logdrift.core.report.strict_json import dump
from logdrift.core.session.reader import open_session
from tests import recompute as own
from tests.common import REPOSITORY, SAMPLE, Fields
from tests.made_sessions import capture, seal, write_session
from tests.recompute import Files, Padded, recompute
from tests.recompute_numbers import Signed, Words

RELATIVE = 1e-9
ROUNDING = 1e-12
"""Of the terms' mean size, where they cancel: some thousand float64 additions are off
by 2^-53 each of what was added, 3e-13 for 2,684 tokens if all of them went one way. It
counts only where less than a thousandth of the terms is left.
"""


def differences(got: Any, want: Any, path: str, seen: Counter[str]) -> Iterator[str]:
    """What differs, leaf by leaf; a leaf that one side alone has differs. ``seen``
    counts leaves by kind.
    """
    if isinstance(want, Padded) and isinstance(got, dict):
        want = dict.fromkeys(got) | want
    if isinstance(want, dict) and isinstance(got, dict):
        for key in got.keys() | want.keys():
            if key in got and key in want:
                yield from differences(got[key], want[key], f"{path}.{key}", seen)
            else:
                yield (
                    f"{path}.{key}: only in"
                    f" {'the report' if key in got else 'the recomputation'}"
                )
    elif isinstance(want, list) and isinstance(got, list):
        if len(got) != len(want):
            yield f"{path}: {len(got)} entries, recomputed {len(want)}"
        for i, (x, y) in enumerate(zip(got, want, strict=False)):
            yield from differences(x, y, f"{path}[{i}]", seen)
    elif not same(got, want, seen):
        yield f"{path}: {got!r}, recomputed {want!r}"


def same(got: Any, want: Any, seen: Counter[str]) -> bool:
    if isinstance(want, Words):
        seen["texts not recomputed"] += 1
        return isinstance(got, str) and got != ""
    number = want.value if isinstance(want, Signed) else want
    if got is None or number is None or not isinstance(number, float):
        seen["numbers" if type(number) is int else "texts, booleans and null"] += 1
        return type(got) is type(number) and got == number
    seen["numbers"] += 1
    allowed = RELATIVE * abs(number)
    if isinstance(want, Signed) and allowed < ROUNDING * want.terms:
        seen["numbers that cancel to a thousandth"] += 1
        allowed = ROUNDING * want.terms
    return type(got) in (int, float) and abs(got - number) <= allowed


def report_of(folder: Path, scope: str | None, config: Path) -> Fields:
    """What the command prints, without limits of whoever runs the test."""
    config.write_text("")
    command = [
        sys.executable,
        "-m",
        "logdrift.cli.main",
        "report",
        str(folder),
        "--json",
        *(("--scope", scope) if scope else ()),
    ]
    environment = {**os.environ, "LOGDRIFT_CONFIG": str(config)}
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        check=True,
        timeout=60,
    )
    found: Fields = json.loads(done.stdout)
    return found


@cache
def sample() -> Files:
    return Files(SAMPLE)


def recomputed(report: Fields, files: Files, scope: str | None) -> Fields:
    return recompute(files, scope, [pair["gate"] for pair in report["pairs"]])


@pytest.mark.parametrize("scope", [None, *SCOPES])
def test_every_leaf_of_the_report_is_recomputed(
    scope: str | None, tmp_path: Path
) -> None:
    report = report_of(SAMPLE, scope, tmp_path / "config.toml")
    seen: Counter[str] = Counter()
    found = list(
        differences(report, recomputed(report, sample(), scope), "report", seen)
    )
    print(
        f"\nscope {scope or 'default'}: {len(found)} differ;"
        f" {', '.join(f'{n} {kind}' for kind, n in seen.items())}"
    )
    assert not found, "\n".join(found[:40])
    assert seen["numbers"] > 3000


CHANGES: dict[str, Callable[[Fields], Any]] = {
    "a digit": (
        lambda pair: pair["mismatch"].update(k3=pair["mismatch"]["k3"] * (1 + 2e-9))
    ),
    "a signed mean": (
        lambda pair: pair["errors"].update(mean=pair["errors"]["mean"] * (1 + 2e-9))
    ),
    "a number that is null": lambda pair: pair["probability"].update(std=None),
    "a number left out": lambda pair: pair["topk"].pop("overlap"),
    "a number too many": lambda pair: pair["errors"].update(p95=0.1),
    "a bucket left out": lambda pair: pair["buckets"]["by_position"].pop(),
    "an end of an interval": lambda pair: pair["ci95"]["mae"].reverse(),
    "a judgement": (
        lambda pair: pair["thresholds"][0].update(ok=not pair["thresholds"][0]["ok"])
    ),
    "a text": lambda pair: pair["worst"][0].update(before="x"),
}


@cache
def first_pair() -> tuple[Fields, Fields]:
    session = open_session(SAMPLE)
    scope = default_scope(session.sequences)
    made = json.loads(
        dump(report_pair(make_pair(session, *list_pairs(session)[0]), scope))
    )
    files = sample()
    return made, own.report_pair(files.pair(made["a"], made["b"]), scope, made["gate"])


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_of_one_leaf_is_seen(name: str) -> None:
    pair, want = first_pair()
    assert not list(differences(pair, want, "pair", Counter()))
    changed = copy.deepcopy(pair)
    CHANGES[name](changed)
    assert list(differences(changed, want, "pair", Counter()))


RECOMPUTATION = sorted(
    path.name for path in (REPOSITORY / "tests").glob("recompute*.py")
)


@pytest.mark.parametrize("name", RECOMPUTATION)
def test_the_recomputation_shares_no_code(name: str) -> None:
    for node in ast.walk(ast.parse((REPOSITORY / "tests" / name).read_text())):
        modules = (
            [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        )
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not {module.partition(".")[0] for module in modules} & {
            "logdrift",
            "core",
            "tui",
            "benchmarks",
        }


# --- Made sessions: what the sample does not have -----------------------------------


def made_session(folder: Path, seed: int, sequences: int, longest: int) -> Path:
    """Drawn numbers with every corner that a report has to bear, by the real writer.

    Empty prompts and completions, masked tokens, -inf on one side and on both, holes,
    ties, and lists of other lengths, bfloat16 values, unknown ranks, a capture that
    stopped early, repeats, and sequences alone.
    """
    random = np.random.default_rng(seed)
    lengths = random.integers(1, longest, sequences)
    prompts = [int(random.integers(0, n + 1)) for n in lengths]
    tokens = int(lengths.sum())
    width = 8
    ids = np.concatenate([np.arange(n) % longest for n in lengths])
    base = np.minimum(
        0, -random.exponential(1.0, (tokens, width)).cumsum(1) * 0.5
    ).astype(np.float32)
    chosen = random.integers(0, width + 3, tokens)
    captures = []
    tops = {}
    for label, k, noise, kept, changes in (
        ("reference/prefill", width, 0.001, sequences, {"dtype": "float32"}),
        ("trainer/prefill", width, 0.03, sequences, {}),
        ("trainer/prefill#2", width, 0.03, sequences, {}),
        ("vllm/decode", 5, 0.04, sequences, {}),
        ("vllm/prefill", 5, 0.04, sequences, {}),
        ("vllm/prefill#2", 5, 0.0, sequences, {}),
        ("vllm/prefill#alone", 5, 0.02, sequences, {}),
        ("sglang/prefill", 3, 0.3, sequences - 1, {}),
    ):
        values = base + random.normal(0, noise, base.shape).astype(np.float32) * np.abs(
            base
        )
        if label.startswith("sglang"):
            values.view(np.uint32)[:] &= 0xFFFF0000  # rounded to bfloat16
        values = np.minimum(values, 0)
        logprob = np.where(
            chosen < width,
            values[np.arange(tokens), np.minimum(chosen, width - 1)],
            values.min(1) - 1,
        )
        impossible = random.random(tokens) < 0.02
        impossible |= np.arange(tokens) % 37 == 5  # on every side
        logprob[impossible] = -np.inf
        top_ids = np.where(
            np.arange(width) == chosen[:, None],
            ids[:, None],
            longest + np.arange(width),
        )
        values[impossible[:, None] & (np.arange(width) == chosen[:, None])] = -np.inf
        order = np.argsort(-values, 1, kind="stable")[:, :k]
        top_ids, values = (
            np.take_along_axis(top_ids, order, 1),
            np.take_along_axis(values, order, 1),
        )
        holes = random.random(values.shape) < 0.03
        holes[random.random(tokens) < 0.03] = True
        top_ids[holes], values[holes] = -1, np.nan
        starts = np.cumsum(lengths) - lengths
        logprob[starts] = np.nan
        if label == "vllm/decode":
            for start, prompt in zip(starts, prompts, strict=True):
                logprob[start : start + prompt] = np.nan
        split = np.split(logprob.astype(np.float32), np.cumsum(lengths)[:-1])[:kept]
        captures.append(capture(label, [row.tolist() for row in split], **changes))
        tops[label] = (
            top_ids.astype(np.int32),
            values.astype(np.float32),
            random.integers(0, 4, tokens, np.int32),
        )
    masks = [(random.random(n) > 0.1).astype(int).tolist() for n in lengths]
    pieces = {i: bytes(random.integers(0, 256, 3, np.uint8)) for i in range(longest)}
    session = write_session(
        folder,
        prompts,
        captures,
        lengths=lengths.tolist(),
        masks=masks,
        pieces=pieces,
        per_part=5,
    )
    entropy = np.where(
        random.random(tokens) < 0.05, np.nan, random.exponential(1.0, tokens)
    ).astype(np.float32)
    for info in session.captures:
        at = 0
        for part in info.parts:
            rows = slice(at, at + part.tokens)
            at += part.tokens
            ids_of, values_of, ranks = tops[info.label]
            tensors = load_file(folder / part.file)
            tensors |= {
                "top_ids": ids_of[rows],
                "top_logprobs": values_of[rows],
                "rank": ranks[rows],
            }
            tensors |= (
                {"entropy": entropy[rows]}
                if info.backend in ("trainer", "sglang")
                else {}
            )
            save_file(
                {name: np.ascontiguousarray(x) for name, x in tensors.items()},
                folder / part.file,
            )
    seal(folder)
    return folder


@pytest.mark.parametrize(
    ("seed", "sequences", "longest"),
    [(0, 1, 2), (1, 2, 4), (2, 3, 30), (3, 3, 150), (4, 12, 12), (5, 16, 30)],
)
def test_made_sessions_with_every_corner(
    tmp_path: Path, seed: int, sequences: int, longest: int
) -> None:
    folder = made_session(tmp_path / "made", seed, sequences, longest)
    session = open_session(folder)
    files = Files(folder)
    found = []
    for scope in SCOPES:
        report = json.loads(dump(build_report(session, None, scope)))
        found += list(
            differences(report, recomputed(report, files, scope), f"{scope}", Counter())
        )
    assert not found, f"{len(found)} differ:\n" + "\n".join(found[:40])
