"""The split of a gap against plain loops over the captures' rows, on made sessions and
on the shipped sample.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from logdrift.core.compare.decomposition import Decomposition, Term, decompositions
from logdrift.core.session.reader import Session, open_session
from tests.common import INF, NAN, SAMPLE
from tests.made_sessions import capture, write_session

# Sums of up to some thousand float64 in another order; means cancel to 1e-3 of their
# terms.
REL = 1e-10
PROMPTS = (2, 1, 3)
LABELS = ("reference/prefill", "trainer/prefill", "vllm/decode", "vllm/prefill")

Rows = list[list[float]]


def rows(seed: int, lengths: Sequence[int] = (6, 4, 3)) -> Rows:
    base = np.random.default_rng(0)
    extra = np.random.default_rng(seed)
    out = []
    for n in lengths:
        values = (
            -1 - base.exponential(2.0, n) + 0.1 * extra.standard_normal(n)
        ).astype(np.float32)
        out.append([NAN, *(float(v) for v in values[1:])])
    return out


def made(folder: Path, captures: dict[str, Rows], **changes: Any) -> Session:
    return write_session(
        folder / "made",
        PROMPTS,
        [capture(n, r, **changes.get(n, {})) for n, r in captures.items()],
    )


def four() -> dict[str, Rows]:
    return {label: rows(seed) for seed, label in enumerate(LABELS)}


def columns_of(
    captures: Sequence[Rows], scope: str, prompts: Sequence[int] = PROMPTS
) -> list[list[float]]:
    """Token by token, what each capture says where all are finite and the scope has
    it.
    """
    out: list[list[float]] = [[] for _ in captures]
    for s in range(min(len(c) for c in captures)):
        for i in range(len(captures[0][s])):
            values = [float(c[s][i]) for c in captures]
            inside = scope == "all" or (i >= prompts[s]) == (scope == "completion")
            if inside and all(map(math.isfinite, values)):
                for column, value in zip(out, values, strict=True):
                    column.append(value)
    return out


def check_term(
    term: Term | None, x: Sequence[float], y: Sequence[float]
) -> list[float]:
    assert term is not None
    d = [a - b for a, b in zip(x, y, strict=True)]
    n = len(d)
    assert term.mean == pytest.approx(math.fsum(d) / n, rel=REL, abs=1e-13)
    expected = math.fsum(map(abs, d)) / n
    assert term.mae == pytest.approx(expected, rel=REL)
    assert term.rmse == pytest.approx(
        math.sqrt(math.fsum(v * v for v in d) / n), rel=REL
    )
    return d


def check_all(
    item: Decomposition,
    captures: Sequence[Rows],
    scope: str,
    prompts: Sequence[int] = PROMPTS,
) -> None:
    """``captures``: reference, trainer, decode, prefill."""
    t, d, p = columns_of(captures[1:], scope, prompts)
    assert item.tokens == len(t)
    total = check_term(item.total, t, d)
    first = check_term(item.decode_vs_prefill, p, d)
    second = check_term(item.prefill_vs_trainer, t, p)
    assert item.correlation == pytest.approx(
        stats.pearsonr(first, second).statistic, rel=1e-9
    )
    square = math.fsum(v * v for v in total)
    for share, term in (
        (item.share_decode_vs_prefill, first),
        (item.share_prefill_vs_trainer, second),
    ):
        assert share == pytest.approx(
            math.fsum(a * b for a, b in zip(term, total, strict=True)) / square,
            rel=1e-9,
        )
    r, t, d, _ = columns_of(captures, scope, prompts)
    split = item.reference
    assert split is not None
    assert split.tokens == len(r)
    a = check_term(split.trainer, t, r)
    b = check_term(split.rollout, d, r)
    n = len(r)
    assert split.rmse == pytest.approx(
        math.sqrt(math.fsum((x - y) ** 2 for x, y in zip(t, d, strict=True)) / n),
        rel=REL,
    )
    assert split.expected_rmse == pytest.approx(
        math.sqrt((math.fsum(v * v for v in a + b)) / n), rel=REL
    )
    expected = stats.pearsonr(a, b).statistic
    assert split.correlation == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("scope", ["completion", "prompt", "all"])
def test_against_plain_loops(tmp_path: Path, scope: Any) -> None:
    names = four()
    (item,) = decompositions(made(tmp_path, names), scope)
    assert item.rollout == "vllm/decode"
    assert item.trainer == "trainer/prefill"
    assert item.prefill == "vllm/prefill"
    assert item.scope == scope
    assert (item.reference and item.reference.label) == "reference/prefill"
    check_all(item, list(names.values()), scope)


@settings(deadline=None, max_examples=25)
@given(seeds=st.lists(st.integers(0, 2**32 - 1), min_size=4, max_size=4))
def test_the_terms_add_up(
    tmp_path_factory: pytest.TempPathFactory, seeds: list[int]
) -> None:
    names = {label: rows(seed) for label, seed in zip(LABELS, seeds, strict=True)}
    (item,) = decompositions(made(tmp_path_factory.mktemp("s"), names), "completion")
    assert item.total
    assert item.decode_vs_prefill
    assert item.prefill_vs_trainer
    # Three float64 means of six differences of at most 20 nats.
    added = item.decode_vs_prefill.mean + item.prefill_vs_trainer.mean
    assert item.total.mean == pytest.approx(added, abs=1e-14)
    assert (
        item.total.rmse
        <= item.decode_vs_prefill.rmse + item.prefill_vs_trainer.rmse + 1e-14
    )
    if item.total.rmse > 0:
        assert item.share_decode_vs_prefill is not None
        assert item.share_prefill_vs_trainer is not None
        assert (
            item.share_decode_vs_prefill + item.share_prefill_vs_trainer
            == pytest.approx(1.0, abs=1e-9)
        )


def test_impossible_unscored_and_unfinished_tokens_are_left_out_everywhere(
    tmp_path: Path,
) -> None:
    names = four()
    names["vllm/decode"][0][:2] = [NAN, NAN]
    names["vllm/decode"][0][3] = -INF
    names["trainer/prefill"][0][3] = -INF
    names["vllm/prefill"][0][4] = -INF
    names["vllm/prefill"] = names["vllm/prefill"][:2]
    names["reference/prefill"][1][2] = NAN
    (item,) = decompositions(made(tmp_path, names), "all")
    check_all(item, list(names.values()), "all")
    assert item.reference is not None
    assert item.reference.tokens == item.tokens - 1


def test_what_is_missing_is_none(tmp_path: Path) -> None:
    names = four()

    def only(*labels: str) -> list[Decomposition]:
        folder = tmp_path / "-".join(labels).replace("/", "_")
        return decompositions(
            made(folder, {label: names[label] for label in labels}), "completion"
        )

    (item,) = only("trainer/prefill", "vllm/decode")
    assert item.rollout == "vllm/decode"
    assert item.prefill is None
    assert item.total is not None
    assert item.reference is None
    assert item.decode_vs_prefill is None
    assert item.prefill_vs_trainer is None
    assert item.correlation is None
    assert item.share_decode_vs_prefill is None
    assert item.share_prefill_vs_trainer is None
    (item,) = only("reference/prefill", "trainer/prefill", "vllm/prefill")
    assert item.rollout == "vllm/prefill"
    assert item.prefill == "vllm/prefill"
    assert item.total is None
    t, p = columns_of([names["trainer/prefill"], names["vllm/prefill"]], "completion")
    check_term(item.prefill_vs_trainer, t, p)
    r, p = columns_of([names["reference/prefill"], names["vllm/prefill"]], "completion")
    assert item.reference is not None
    check_term(item.reference.rollout, p, r)
    assert (
        only("trainer/prefill")
        == only("vllm/decode", "vllm/prefill")
        == only("reference/prefill")
        == []
    )
    assert json.loads(json.dumps(item.to_json(), allow_nan=False))["total"] is None


def test_every_trainer_against_every_rollout(tmp_path: Path) -> None:
    infos = [capture(label, values) for label, values in four().items()]
    infos.append(capture("other/prefill", rows(8), role="trainer"))
    infos.append(capture("sglang/recorded", rows(9)))
    infos.append(capture("vllm/prefill#2", rows(10)))
    found = decompositions(
        write_session(tmp_path / "made", PROMPTS, infos), "completion"
    )
    assert [(item.rollout, item.trainer) for item in found] == [
        ("vllm/decode", "trainer/prefill"),
        ("vllm/decode", "other/prefill"),
        ("sglang/recorded", "trainer/prefill"),
        ("sglang/recorded", "other/prefill"),
    ]
    assert found[0].prefill == "vllm/prefill"


def test_all_equal_and_one_token(tmp_path: Path) -> None:
    same = rows(1)
    (item,) = decompositions(made(tmp_path, dict.fromkeys(LABELS, same)), "completion")
    assert (
        item.total
        == item.decode_vs_prefill
        == item.prefill_vs_trainer
        == Term(0.0, 0.0, 0.0)
    )
    assert item.correlation is None
    assert item.share_decode_vs_prefill is None
    assert item.share_prefill_vs_trainer is None
    assert item.reference is not None
    assert item.reference.rmse == 0.0
    assert item.reference.expected_rmse == 0.0
    assert item.reference.correlation is None
    values = {label: [[NAN, -1.0 - 0.25 * i]] for i, label in enumerate(LABELS)}
    infos = [capture(label, row) for label, row in values.items()]
    (item,) = decompositions(write_session(tmp_path / "one", [1], infos), "completion")
    assert item.total == Term(0.25, 0.25, 0.25)
    assert item.decode_vs_prefill == Term(-0.25, 0.25, 0.25)
    assert item.prefill_vs_trainer == Term(0.5, 0.5, 0.5)
    assert item.share_decode_vs_prefill == -1.0
    assert item.share_prefill_vs_trainer == 2.0
    assert item.tokens == 1
    assert item.correlation is None


def test_an_empty_scope_has_no_decomposition(tmp_path: Path) -> None:
    infos = [capture(label, [[NAN, -1.0, -2.0]]) for label in LABELS]
    session = write_session(tmp_path / "made", [3], infos)
    assert decompositions(session, "completion") == []
    assert len(decompositions(session, "prompt")) == 1


def test_errors_that_both_sides_share(tmp_path: Path) -> None:
    """A reference that is off by one common error: both sides correlate, and the gap is
    below what is expected.
    """
    random = np.random.default_rng(3)
    truth = -2 - random.exponential(1, 400)
    shared = 0.1 * random.standard_normal(400)
    own = 0.01 * random.standard_normal((2, 400))
    values = {
        "reference/prefill": truth,
        "trainer/prefill": truth + shared + own[0],
        "vllm/decode": truth + shared + own[1],
    }
    infos = [capture(label, [[NAN, *map(float, v)]]) for label, v in values.items()]
    (item,) = decompositions(write_session(tmp_path / "made", [1], infos), "completion")
    split = item.reference
    assert split is not None
    assert split.correlation is not None
    assert split.correlation > 0.95
    assert split.rmse < 0.2 * split.expected_rmse


def test_the_sample_recomputed_from_its_files() -> None:
    """Every number of the shipped sample, from the raw arrays of each part."""
    session = open_session(SAMPLE)
    offsets = session.sequences.offsets.tolist()
    prompts = session.sequences.prompt_lengths.tolist()

    def read(label: str) -> Rows:
        values = session.capture(label).logprob.whole().tolist()
        return [values[a:b] for a, b in pairwise(offsets)]

    found = decompositions(session, "completion")
    assert [item.rollout for item in found] == ["vllm/decode", "sglang/prefill"]
    check_all(found[0], [read(label) for label in LABELS], "completion", prompts)
    trainer, sglang = columns_of(
        [read("trainer/prefill"), read("sglang/prefill")], "completion", prompts
    )
    check_term(found[1].prefill_vs_trainer, trainer, sglang)
    assert found[1].total is None
