"""Laws that every number of a pair obeys, on drawn sessions with every corner: masking,
deleting, swapping, recombining.

The sessions are those of `tests.test_recompute_sample`: -inf, holes, ties, empty
prompts and completions, unknown ranks, one token, lists of other lengths.
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from logdrift.core.compare.measure import measure
from logdrift.core.compare.pair import SCOPES, Scope, make_pair
from logdrift.core.session.layout import capture_part, sequence_part
from logdrift.core.session.reader import Session, open_session
from logdrift.core.session.writer import write_manifest, write_part
from tests.common import Fields
from tests.made_sessions import seal
from tests.test_recompute_sample import made_session

PAIRS = (
    ("trainer/prefill", "vllm/decode"),
    ("trainer/prefill", "vllm/prefill"),
    ("reference/prefill", "trainer/prefill"),
)
REL = 1e-11
"""Sums of some hundred float64 in another order, and a quotient or a root of them."""
TERMS = 1e-14
"""Where terms cancel: of their size, which is below 100 nats here."""

seeds = st.integers(0, 2**32 - 1)
shapes = st.sampled_from([(1, 2), (1, 9), (3, 5), (9, 12), (12, 30)])
law = settings(max_examples=10, deadline=None)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    root = tmp_path_factory.mktemp("laws")
    count = itertools.count()
    return lambda: root / str(next(count))


def numbers(session: Session, labels: tuple[str, str], scope: Scope) -> Fields:
    """What `measure` finds, without the numbers of sequences: which one is which may
    change.
    """
    found = measure(make_pair(session, *labels), scope).to_json()
    for row in found["worst_sequences"]:
        del row["sequence"]
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def alike(x: Any, y: Any, where: str = "") -> None:
    """The same numbers, but for the rounding of sums in another order."""
    if isinstance(x, Mapping):
        assert x.keys() == y.keys(), where
        for key in x:
            alike(x[key], y[key], f"{where}.{key}")
    elif isinstance(x, list):
        assert len(x) == len(y), where
        for i, (u, v) in enumerate(zip(x, y, strict=True)):
            alike(u, v, f"{where}[{i}]")
    elif isinstance(x, float) and isinstance(y, float):
        assert x == pytest.approx(y, rel=REL, abs=TERMS, nan_ok=True), where
    else:
        assert x == y, where


def remasked(source: Session, folder: Path, kept: np.ndarray) -> Session:
    """A copy whose mask is 0 where ``kept``, bool[N], is False."""
    shutil.copytree(source.folder, folder)
    for part in source.manifest.sequences.parts:
        tensors = {
            name: np.array(values)
            for name, values in load_file(folder / part.file).items()
        }
        start = int(source.sequences.offsets[part.first_sequence])
        tensors["mask"][~kept[start : start + part.tokens]] = 0
        save_file(tensors, folder / part.file)
    return seal(folder)


def of_sequences(session: Session, chosen: Sequence[int], folder: Path) -> Session:
    """A session of some of the sequences alone, by the writer's own functions. Captures
    that have not all are left out.
    """
    sequences = session.sequences
    rows = np.concatenate([np.arange(*sequences.bounds(i)) for i in chosen])
    lengths = [int(np.diff(sequences.bounds(i))[0]) for i in chosen]
    first = load_file(session.folder / session.manifest.sequences.parts[0].file)
    tensors = {
        "token_ids": np.ascontiguousarray(sequences.token_ids[rows]),
        "mask": np.ascontiguousarray(sequences.mask[rows]),
        "offsets": (
            np.concatenate([[0], np.cumsum(lengths)]).astype(first["offsets"].dtype)
        ),
        "prompt_lengths": sequences.prompt_lengths[np.asarray(chosen)],
        **{
            name: np.zeros(len(chosen), values.dtype)
            for name, values in first.items()
            if name not in ("token_ids", "mask", "offsets", "prompt_lengths")
        },
    }
    folder.mkdir()
    shutil.copyfile(session.folder / "pieces.json", folder / "pieces.json")
    part = write_part(folder, sequence_part(0), tensors, 0, len(chosen), len(rows))
    infos = []
    for info in session.captures:
        if info.sequences < len(sequences):
            continue
        parts = [load_file(session.folder / p.file) for p in info.parts]
        mine = {
            name: np.concatenate([p[name] for p in parts])[rows] for name in parts[0]
        }
        written = write_part(
            folder, capture_part(info.label, 0), mine, 0, len(chosen), len(rows)
        )
        infos.append(info._replace(parts=(written,)))
    planned = session.manifest.sequences._replace(planned=len(chosen), parts=(part,))
    write_manifest(
        folder, session.manifest._replace(sequences=planned, captures=tuple(infos))
    )
    return open_session(folder)


@law
@given(seeds, st.sampled_from([(3, 5), (9, 12), (24, 30)]), st.data())
def test_masking_a_sequence_equals_deleting_it(
    folders: Callable[[], Path], seed: int, shape: tuple[int, int], data: st.DataObject
) -> None:
    whole = open_session(made_session(folders(), seed, *shape))
    count = len(whole.sequences)
    kept = sorted(data.draw(st.sets(st.integers(0, count - 1), min_size=1)))
    lengths = np.diff(whole.sequences.offsets)
    masked = remasked(
        whole, folders(), np.repeat(np.isin(np.arange(count), kept), lengths)
    )
    deleted = of_sequences(whole, kept, folders())
    for labels, scope in itertools.product(PAIRS, SCOPES):
        alike(
            numbers(masked, labels, scope),
            numbers(deleted, labels, scope),
            f"{labels} {scope}",
        )


@law
@given(seeds, shapes, st.floats(0, 1))
def test_masking_a_token_equals_having_no_score_of_it(
    folders: Callable[[], Path], seed: int, shape: tuple[int, int], share: float
) -> None:
    """Bit for bit: the same tokens in the same order are added up. Errors by turn are
    left out: the runs of the mask are the turns.
    """
    whole = open_session(made_session(folders(), seed, *shape))
    hit = np.random.default_rng(seed).random(whole.sequences.tokens) < share
    masked = remasked(whole, folders(), ~hit)
    folder = folders()
    shutil.copytree(whole.folder, folder)
    for info in whole.captures:
        for part in info.parts:
            tensors = {
                name: np.array(values)
                for name, values in load_file(folder / part.file).items()
            }
            start = int(whole.sequences.offsets[part.first_sequence])
            tensors["logprob"][hit[start : start + part.tokens]] = np.nan
            save_file(tensors, folder / part.file)
    unscored = seal(folder)
    for labels, scope in itertools.product(PAIRS, SCOPES):
        found = numbers(masked, labels, scope)
        expected = numbers(unscored, labels, scope)
        for of_mask in (found, expected):
            of_mask["buckets"].pop("by_turn")
        assert found == expected, f"{labels} {scope}"


NEGATED = (
    "errors.mean",
    "probability.mean",
    "mismatch.k1",
    "mismatch.log_ppl_diff",
    "mismatch.log_ratio_sequence_mean",
)
SAME = (
    *(
        f"errors.{name}"
        for name in (
            "mae",
            "rmse",
            "pearson",
            "max_abs",
            "min_abs",
            "std_abs",
            "p50",
            "p90",
            "p99",
            "p999",
            "exact_fraction",
            "infinite",
        )
    ),
    *(
        f"probability.{name}"
        for name in ("mae", "max", "std", "rmse", "pearson", "mult_prob_error")
    ),
    *(
        f"mismatch.{name}"
        for name in (
            "k2",
            "js",
            "sequence_mae",
            "log_ppl_abs_diff",
            "log_ratio_sequence_std",
            "log_ratio_sequence_max_abs",
            "sequence_mult_prob_error_mean",
            "sequence_mult_prob_error_max",
            "sequence_mult_prob_error_min",
        )
    ),
    *(
        f"topk.{name}"
        for name in ("k", "tokens", "same_top1", "overlap", "ranked", "rank_flips")
    ),
    "ci95.mae",
    "ci95.rmse",
    "ci95.units",
    "floor.mae",
    "floor.rmse",
)
EXCHANGED = (
    ("mismatch.k3", "mismatch.k3_reverse"),
    ("mismatch.ppl_a", "mismatch.ppl_b"),
    ("mismatch.log_ppl_a", "mismatch.log_ppl_b"),
    ("topk.tail_mass_a", "topk.tail_mass_b"),
    ("floor.a.mae", "floor.b.mae"),
    ("floor.batch_a.mae", "floor.batch_b.mae"),
)


def at(found: Any, path: str) -> Any:
    for key in path.split("."):
        found = None if found is None else found[key]
    return found


def negative(value: Any) -> Any:
    return None if value is None else -value


@law
@given(seeds, shapes)
def test_exchanging_the_sides(
    folders: Callable[[], Path], seed: int, shape: tuple[int, int]
) -> None:
    session = open_session(made_session(folders(), seed, *shape))
    for (a, b), scope in itertools.product(PAIRS, SCOPES):
        there = numbers(session, (a, b), scope)
        back = numbers(session, (b, a), scope)
        for path in SAME:
            alike(at(there, path), at(back, path), path)
        for path in NEGATED:
            alike(at(there, path), negative(at(back, path)), path)
        for x, y in EXCHANGED:
            alike(at(there, x), at(back, y), x)
            alike(at(there, y), at(back, x), y)
        m = there["mismatch"]
        n = back["mismatch"]
        alike(m["log_ppl_diff_max"], negative(n["log_ppl_diff_min"]))
        for name in ("min", "max"):
            other = n[f"ratio_{'max' if name == 'min' else 'min'}"]
            alike(m[f"ratio_{name}"], None if other is None else 1 / other, "ratio")
        mean = there["ci95"]["mean"]
        turned = back["ci95"]["mean"]
        alike(mean, None if turned is None else [-turned[1], -turned[0]], "ci95.mean")


MEANS = (
    *(f"errors.{name}" for name in ("mean", "mae")),
    "probability.mult_prob_error",
    *(
        f"mismatch.{name}"
        for name in ("k1", "k2", "k3", "k3_reverse", "chi2_token", "ratio_mean", "js")
    ),
    *(f"mismatch.clip_fraction/{c}" for c in ("0.1", "0.2", "0.3")),
    "mismatch.extreme_fraction/2",
)
PROBABILITIES = tuple(f"probability.{name}" for name in ("mean", "mae"))
LISTS = ("topk.same_top1", "topk.overlap", "topk.tail_mass_a", "topk.tail_mass_b")


def leaf(found: Mapping[str, Any], path: str) -> float | None:
    path, _, bound = path.partition("/")
    value = at(found, path)
    return value[bound] if bound else value


@law
@given(seeds, shapes)
def test_prompt_and_completion_recombine_to_all(
    folders: Callable[[], Path], seed: int, shape: tuple[int, int]
) -> None:
    session = open_session(made_session(folders(), seed, *shape))
    for labels in PAIRS:
        found = {scope: measure(make_pair(session, *labels), scope) for scope in SCOPES}
        whole = found["all"].to_json()
        parts = [found[s].to_json() for s in ("prompt", "completion")]
        tokens = [found[s].tokens for s in ("prompt", "completion")]
        assert sum(tokens) == found["all"].tokens
        finite = [
            n - (part["errors"]["infinite"] or 0)
            for n, part in zip(tokens, parts, strict=True)
        ]
        lists = [part["topk"]["tokens"] if part["topk"] else 0 for part in parts]

        def joined(
            path: str, weights: Iterable[int], parts: list[Fields] = parts
        ) -> float | None:
            some = [
                (leaf(part, path), n)
                for part, n in zip(parts, weights, strict=True)
                if n
            ]
            total = sum(n for _, n in some)
            return (
                sum(value * n for value, n in some if value is not None) / total
                if total
                else None
            )

        for paths, weights in (
            (MEANS, finite),
            (PROBABILITIES, tokens),
            (LISTS, lists),
        ):
            for path in paths:
                alike(leaf(whole, path), joined(path, weights), f"{labels} {path}")
        for path, pick in (
            ("errors.max_abs", max),
            ("errors.min_abs", min),
            ("mismatch.ratio_max", max),
            ("mismatch.ratio_min", min),
            ("mismatch.k3_max", max),
            ("probability.max", max),
        ):
            values = [
                value for part in parts if (value := leaf(part, path)) is not None
            ]
            assert leaf(whole, path) == (pick(values) if values else None), path
        assert (whole["errors"]["infinite"] or 0) == sum(
            part["errors"]["infinite"] or 0 for part in parts
        )
