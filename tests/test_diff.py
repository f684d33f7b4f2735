"""`logdrift diff`: matching two sessions, what changed between them, and whether that
is more than noise.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from logdrift.core.compare.changes import METRICS, Changes
from logdrift.core.compare.distribution import topk_stats
from logdrift.core.compare.pair import make_pair
from logdrift.core.compare.sessions import compare_sessions, growth, match_sequences
from logdrift.core.facts import Facts
from logdrift.core.report.diff import DiffReport, both_pairs, diff_sessions
from logdrift.core.report.diff_document import diff_document
from logdrift.core.report.layout import Canvas
from logdrift.core.report.paint.text import paint_text
from logdrift.core.report.strict_json import dump
from logdrift.core.session.reader import Sequences, Session, open_session
from logdrift.core.session.sent_ids import ids_digest
from logdrift.core.session.writer import sequence_tensors, write_part
from tests.common import NAN, REPOSITORY, SAMPLE, Fields, Run, refused
from tests.made_sessions import capture, edit_manifest, seal, write_session

PAIR = ("trainer/prefill", "vllm/decode")
# Sums of at most some thousand float64 terms in another order: 2^-53 for each term,
# with room for cancellation.
CLOSE: dict[str, float] = {"rel": 1e-9, "abs": 1e-12}


def sequences_of(rows: Sequence[tuple[int, Sequence[int]]]) -> Sequences:
    lengths = [len(ids) for _, ids in rows]
    ids = np.asarray([i for _, row in rows for i in row], np.int32)
    return Sequences(
        ids,
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.asarray([p for p, _ in rows], np.int32),
        np.ones(len(ids), np.uint8),
        np.zeros(len(rows), np.uint8),
    )


def made(
    folder: Path,
    deltas: Sequence[Sequence[float]],
    ids: Sequence[Sequence[int]] | None = None,
    **options: Any,
) -> Session:
    """Prompts of 2 tokens; A - B is ``deltas`` from position 1 on. ``ids`` replace the
    usual ones.
    """
    a = [[NAN, *([-2.0] * len(row))] for row in deltas]
    b = [[NAN, *(-2.0 - d for d in row)] for row in deltas]
    facts = options.pop("facts", {})
    session = write_session(
        folder,
        [2] * len(deltas),
        [
            capture("trainer/prefill", a, facts=facts.get("a", {})),
            capture("vllm/prefill", b, facts=facts.get("b", {})),
        ],
        per_part=len(deltas),
        pieces={i: f" w{i}".encode() for i in range(60)},
        **options,
    )
    if ids is not None:
        part = session.manifest.sequences.parts[0]
        tensors = sequence_tensors(
            [np.asarray(row, np.int32) for row in ids],
            [2] * len(ids),
            ["stop"] * len(ids),
        )
        write_part(folder, part.file, tensors, 0, len(ids), part.tokens)
        digest = ids_digest(np.concatenate([np.asarray(row, np.int32) for row in ids]))
        edit_manifest(
            session,
            lambda m: [
                p.update(ids_digest=digest) for c in m["captures"] for p in c["parts"]
            ],
        )
    return seal(folder)


def diff_of(old: Session, new: Session, **options: Any) -> DiffReport:
    return diff_sessions(old, new, *both_pairs(old, new, None, None), **options)


def change_of(old: Session, new: Session, **options: Any) -> Fields:
    """The JSON of the diff, read back."""
    return json.loads(dump(diff_of(old, new, **options).to_json()))


def text_of(old: Session, new: Session, **options: Any) -> str:
    return paint_text(diff_document(diff_of(old, new, **options)), Canvas())


def row_of(change: Fields, metric: str) -> Fields:
    return next(row for row in change["metrics"] if row["metric"] == metric)


def digests(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in files
    }


# -- matching
# ------------------------------------------------------------------------------------

short_rows = st.lists(
    st.lists(st.integers(0, 2), max_size=5).flatmap(
        lambda ids: st.tuples(st.integers(0, len(ids)), st.just(ids))
    ),
    max_size=8,
)


@settings(deadline=None)
@given(short_rows, short_rows)
def test_matching_against_trying_all(
    old_rows: list[tuple[int, list[int]]], new_rows: list[tuple[int, list[int]]]
) -> None:
    match = match_sequences(
        sequences_of(old_rows), sequences_of(new_rows), len(old_rows), len(new_rows)
    )
    expected: dict[int, int] = {}
    for alike in (
        lambda x, y: x == y,
        lambda x, y: x[0] == y[0] and x[1][: x[0]] == y[1][: y[0]],
    ):
        for j, new in enumerate(new_rows):
            if j not in expected:
                free = [
                    i
                    for i, old in enumerate(old_rows)
                    if i not in expected.values() and alike(old, new)
                ]
                expected |= {j: free[0]} if free else {}
        if not match.old.size:
            break
    assert dict(zip(match.new.tolist(), match.old.tolist(), strict=True)) == expected
    assert match.whole == sum(old_rows[i] == new_rows[j] for j, i in expected.items())
    for i, j, length in zip(match.old, match.new, match.lengths, strict=True):
        x = old_rows[i][1]
        y = new_rows[j][1]
        assert x[:length] == y[:length]
        assert length == min(len(x), len(y)) or x[length] != y[length]


@settings(deadline=None)
@given(short_rows)
def test_a_session_matches_itself_whole(rows: list[tuple[int, list[int]]]) -> None:
    sequences = sequences_of(rows)
    match = match_sequences(sequences, sequences, len(rows), len(rows))
    assert match.whole == len(rows) == len(match.new)
    assert match.old.tolist() == match.new.tolist() == list(range(len(rows)))
    assert match.positions(sequences, match.old).tolist() == list(
        range(sequences.tokens)
    )


def test_positions_follow_each_session() -> None:
    old = sequences_of([(1, [5, 6, 7]), (1, [8, 9])])
    new = sequences_of([(1, [8, 9]), (1, [5, 6, 4, 4])])
    match = match_sequences(old, new, 2, 2)
    assert match.old.tolist() == [1, 0]
    assert match.new.tolist() == [0, 1]
    assert match.lengths.tolist() == [2, 2]
    assert match.whole == 1
    expected = [3, 4, 0, 1]
    assert match.positions(old, match.old).tolist() == expected
    assert match.positions(new, match.new).tolist() == [0, 1, 2, 3]


# -- sessions
# ------------------------------------------------------------------------------------


def fixed(tmp_path: Path, **options: Any) -> tuple[Session, Session]:
    """Twelve sequences whose deltas are ten times smaller in NEW."""
    deltas = np.random.default_rng(0).normal(0, 0.1, (12, 20))
    return made(tmp_path / "old", deltas.tolist()), made(
        tmp_path / "new", (deltas / 10).tolist(), **options
    )


def test_a_fix_is_better_and_the_way_back_worse(tmp_path: Path) -> None:
    old, new = fixed(tmp_path)
    change = change_of(old, new)
    assert change["verdict"] == row_of(change, "errors.mae")["verdict"] == "better"
    assert change["matched"] == {
        "sequences": 12,
        "whole": 12,
        "tokens": 12 * 21,
        "scored": 12 * 19,
    }
    expected = {"method": "sequences", "units": 12, "resamples": 2000}
    assert change["interval"] == expected
    assert change["scope"] == "completion"
    assert len(change["improved"]) == 10
    assert change["worsened"] == []
    assert change["changed"] == []
    pair = make_pair(old, "trainer/prefill", "vllm/prefill")
    sizes = np.where(pair.scope_mask("completion"), np.abs(pair.delta), 0)
    best = change["improved"][0]
    assert old.sequences.offsets[best["sequence_old"]] + best["position"] == int(
        np.argmax(sizes)
    )
    assert best["change"] == pytest.approx(
        -0.9 * float(sizes.max()), rel=1e-5
    )  # float32 differences of values near 2
    back = change_of(new, old)
    assert back["verdict"] == "worse"
    assert back["improved"] == []


def test_noise_is_no_change(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    old, new = (
        made(tmp_path / n, rng.normal(0, 0.1, (12, 20)).tolist())
        for n in ("old", "new")
    )
    change = change_of(old, new)
    assert change["verdict"] == "no_change"
    assert "No change beyond noise: MAE" in " ".join(text_of(old, new).split())


def test_the_order_of_the_sequences_does_not_matter(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    deltas = rng.normal(0, 0.1, (2, 12, 20))
    ids = rng.integers(0, 60, (12, 21))
    old = made(tmp_path / "old", deltas[0].tolist(), ids.tolist())
    new = made(tmp_path / "new", deltas[1].tolist(), ids.tolist())
    order = rng.permutation(12)
    mixed = made(tmp_path / "mixed", deltas[1][order].tolist(), ids[order].tolist())
    one = change_of(old, new)
    other = change_of(old, mixed)
    for x, y in zip(one["metrics"], other["metrics"], strict=True):
        assert (x["old"], x["new"]) == pytest.approx((y["old"], y["new"]), **CLOSE)
    found = [(t["sequence_old"], t["position"]) for t in one["improved"]]
    assert found == [(t["sequence_old"], t["position"]) for t in other["improved"]]
    assert [int(order[t["sequence_new"]]) for t in other["worsened"]] == [
        t["sequence_new"] for t in one["worsened"]
    ]


def test_another_completion_is_compared_up_to_where_it_parts(tmp_path: Path) -> None:
    ids = [[1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]]
    old = made(tmp_path / "old", [[0.5] * 5] * 2, ids)
    new = made(
        tmp_path / "new",
        [[0.25, 0.25, 0.25, 9, 9]] * 2,
        [[1, 2, 3, 4, 50, 6], [7, 8, 9, 20, 11, 12]],
    )
    change = change_of(old, new)
    # Prompts of 2 tokens: the completion tokens at 2 and 3 of the first sequence and at
    # 2 of the second.
    assert change["matched"] == {
        "sequences": 2,
        "whole": 0,
        "tokens": 4 + 3,
        "scored": 3,
    }
    assert row_of(change, "errors.mae") | {"change": None} == {
        "metric": "errors.mae",
        "old": 0.5,
        "new": 0.25,
        "change": None,
        "ci95": None,
        "floor": None,
        "verdict": None,
    }
    text = " ".join(text_of(old, new).split())
    assert (
        "all 2 sequences, 2 of them up to where the completions part; 3"
        " completion tokens" in text
    )
    assert "cannot be said" in text
    assert "too few to draw from" in text
    found = {t["after"] for t in change["improved"]}
    assert found == {" w4", ""}


@pytest.mark.parametrize(
    ("ids", "scope", "said"),
    [
        ([[9, 2, 3, 4]], None, "nothing in common: no prompt"),
        (
            [[1, 2, 9, 4]],
            None,
            (
                "no completion token of theirs is the same and scored by all four"
                " captures: try --scope all"
            ),
        ),
    ],
)
def test_nothing_in_common(
    tmp_path: Path, ids: list[list[int]], scope: Any, said: str
) -> None:
    old = made(tmp_path / "old", [[0.5] * 3], [[1, 2, 3, 4]])
    new = made(tmp_path / "new", [[0.5] * 3], ids)
    with refused(said):
        diff_of(old, new, scope=scope)


def test_settings_that_changed(tmp_path: Path) -> None:
    facts = {
        "b": {
            "head_dtype": "float32",
            "environment": {"VLLM_X": "1"},
            "extra": {"mode": "eager"},
        }
    }
    old, new = fixed(tmp_path, facts=facts)
    change = change_of(old, new)
    assert [tuple(row.values()) for row in change["changed"]] == [
        ("b", "head_dtype", "bfloat16", "float32", "bfloat16", "float32"),
        ("b", "environment.VLLM_X", None, "1", "not set", "1"),
        ("b", "extra.mode", None, "eager", "not observed", "eager"),
    ]
    text = text_of(old, new)
    assert "What changed (3 settings)" in text
    assert "B       head_dtype: bfloat16 → float32" in text
    assert "VLLM_X: not set → 1" in text


JSON_VALUES: Fields = {
    "mapping": {"rope_theta": 10000},
    "nested": {
        "rope_parameters": {"full_attention": {"rope_theta": 1e6}},
        "a.b": {"": None},
    },
    "empty mapping": {},
    "list": ["full", {"window": 8}, *range(40)],
    "null": None,
    "true": True,
    "integer": 7,
    "number": 0.25,
    "nan": NAN,
    "text": "x" * 300,
    "text that steers": "\x1b[31m\n\u202e",
}


@pytest.mark.parametrize("name", Facts._fields)
def test_every_fact_may_change_to_every_json_value(tmp_path: Path, name: str) -> None:
    """What a stranger's or a newer session holds as a fact is compared and shown, in
    both directions.
    """
    plain = made(tmp_path / "plain", [[0.5] * 3] * 2)
    for kind, value in JSON_VALUES.items():
        folder = tmp_path / kind.replace(" ", "-")
        shutil.copytree(plain.folder, folder)
        other = edit_manifest(
            open_session(folder),
            lambda m, v=value: m["captures"][1]["facts"].update({name: v}),
        )
        known = plain.captures[1].facts
        found = other.captures[1].facts
        assert known is not None
        assert found is not None
        for old, new in ((plain, other), (other, plain)):
            change = change_of(old, new, resamples=0)
            lines = text_of(old, new, resamples=0).splitlines()
            assert all(cell_len(line) <= 80 and line.isprintable() for line in lines)
            assert bool(change["changed"]) == (known != found), kind
            assert all(
                row["setting"].startswith((name, f"extra.{name}"))
                for row in change["changed"]
            )
            assert len({row["setting"] for row in change["changed"]}) == len(
                change["changed"]
            )


@pytest.mark.parametrize("table", ["config_overrides", "environment", "extra"])
def test_tables_are_told_by_their_entries(tmp_path: Path, table: str) -> None:
    value = {
        "rope": {"theta": 1e6, "null": None},
        "tie": True,
        "layers": list(range(30)),
    }
    old, new = fixed(
        tmp_path, facts={"b": {table: value if table != "environment" else {"X": "1"}}}
    )
    rows = {
        row["setting"]: (row["old_text"], row["new_text"])
        for row in change_of(old, new)["changed"]
    }
    if table == "environment":
        assert rows == {"environment.X": ("not set", "1")}
        return
    absent = "not set" if table == "config_overrides" else "not observed"
    assert rows == {
        f"{table}.rope.theta": (absent, "1000000"),
        # An option that sets a field to null is a change like any other.
        f"{table}.rope.null": (absent, "null"),
        f"{table}.tie": (absent, "true"),
        f"{table}.layers": (absent, "[0, 1, 2, 3, 4, 5, … 24 more]"),
    }
    assert f"{table}.tie: {absent} → true" in " ".join(text_of(old, new).split())


def test_an_unknown_table_is_not_an_empty_one(tmp_path: Path) -> None:
    old, new = fixed(tmp_path, facts={"b": {"config_overrides": None}})
    (row,) = change_of(old, new)["changed"]
    assert tuple(row.values()) == (
        "b",
        "config_overrides",
        {},
        None,
        "none",
        "not observed",
    )


def test_not_comparable_is_said_first_and_judges_nothing(tmp_path: Path) -> None:
    old, new = fixed(tmp_path, facts={"b": {"weights_digest": "sha256:" + "f" * 64}})
    change = change_of(old, new)
    assert change["verdict"] == "not_comparable"
    text = text_of(old, new)
    assert text.startswith(
        "NOT COMPARABLE, so the change means nothing.\n"
        "NOT COMPARABLE in new: trainer/prefill → vllm/prefill\n  !! the weights differ"
    )
    assert "BETTER" not in text
    assert "better" not in text
    assert "so the change means nothing" in " ".join(text.split())


@pytest.mark.parametrize(
    ("field", "verdict", "said"),
    [
        ("tokenizer_digest", "not_comparable", "NOT COMPARABLE: two models"),
        ("vocab_size", "not_comparable", "different vocabularies"),
        ("weights_digest", "better", "the two sessions have different weights"),
    ],
)
def test_sessions_of_two_models(
    tmp_path: Path, field: str, verdict: str, said: str
) -> None:
    old, new = fixed(tmp_path)
    values = (
        (50, 100)
        if field == "vocab_size"
        else ("sha256:" + "1" * 64, "sha256:" + "2" * 64)
    )
    old, new = (
        edit_manifest(s, lambda m, v=v: m["model"].update({field: v}))
        for s, v in zip((old, new), values, strict=True)
    )
    change = change_of(old, new)
    assert change["verdict"] == verdict
    assert [r["severity"] for r in change["between"]] == [
        "caution" if verdict == "better" else "not_comparable"
    ]
    assert said in text_of(old, new)
    (row,) = change["changed"]
    assert (row["where"], row["setting"], row["old"], row["new"]) == (
        "session",
        f"model.{field}",
        *values,
    )
    unknown = edit_manifest(new, lambda m: m["model"].update({field: None}))
    assert change_of(old, unknown)["between"] == []


def test_a_missing_capture_says_where(tmp_path: Path) -> None:
    old, new = fixed(tmp_path)
    renamed = edit_manifest(
        new, lambda m: m["captures"][1].update(label="vllm/prefill", backend="other")
    )
    with refused("NEW session new: no capture 'vllm'"):
        both_pairs(old, renamed, "trainer:vllm", None)
    assert (
        both_pairs(old, renamed, "trainer:vllm", "trainer:other")
        == (("trainer/prefill", "vllm/prefill"),) * 2
    )


# -- the command
# ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def halved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample, with the deltas of its main pair halved: every part written again by
    the real writer.
    """
    folder = tmp_path_factory.mktemp("diff") / "halved"
    shutil.copytree(SAMPLE, folder)
    session = open_session(SAMPLE)
    trainer, rollout = (session.capture(label) for label in PAIR)
    parts = []
    for part in rollout.info.parts:
        at = slice(
            *(
                int(session.sequences.offsets[i])
                for i in (part.first_sequence, part.first_sequence + part.sequences)
            )
        )
        a = trainer.logprob.whole()[at]
        b = rollout.logprob.whole()[at]
        tensors = {
            "logprob": (a + (b - a) / 2).astype(np.float32),
            "rank": rollout.rank.whole()[at],
            "top_ids": rollout.top_ids.whole()[at],
            "top_logprobs": rollout.top_logprobs.whole()[at],
        }
        written = write_part(
            folder, part.file, tensors, part.first_sequence, part.sequences, part.tokens
        )
        halved = written._replace(ids_digest=part.ids_digest)
        parts.append(halved._asdict())
    edit_manifest(
        open_session(folder),
        lambda m: next(c for c in m["captures"] if c["label"] == PAIR[1]).update(
            parts=parts
        ),
    )
    return folder


def test_sample_against_an_edited_copy(run_logdrift: Run, halved: Path) -> None:
    before = digests(SAMPLE), digests(halved)
    done = run_logdrift("diff", SAMPLE, halved, "--json")
    assert done.returncode == 0
    assert done.stderr == ""
    assert (digests(SAMPLE), digests(halved)) == before
    change = json.loads(done.stdout)
    assert change["schema"] == 1
    assert change["verdict"] == "better"
    assert change["matched"]["whole"] == 24
    assert change["matched"]["scored"] == 1490
    mae = row_of(change, "errors.mae")
    pair = make_pair(open_session(SAMPLE), *PAIR)
    mask = pair.scope_mask("completion")
    expected = float(np.abs(pair.delta[mask], dtype=np.float64).mean())
    assert mae["old"] == pytest.approx(expected, rel=1e-12)
    # Halving rounds each log-probability (up to 20 nats) to float32: 20 * 2^-24 against
    # deltas of 0.04.
    assert mae["new"] == pytest.approx(mae["old"] / 2, rel=1e-4)
    assert mae["ci95"][0] < mae["change"] < mae["ci95"][1] < 0
    top = topk_stats(pair.a, pair.b, pair.sequences.token_ids, mask)
    assert top is not None
    same = row_of(change, "topk.same_top1")
    assert same["old"] == pytest.approx(top.same_top1, rel=1e-12)
    assert row_of(change, "topk.overlap")["old"] == pytest.approx(
        top.overlap, rel=1e-12
    )
    assert row_of(change, "topk.kl_lower_bound_mean")["old"] == pytest.approx(
        top.kl_lower_bound_mean, rel=1e-12
    )
    assert change["changed"] == []


def test_text_fits_80_columns(run_logdrift: Run, halved: Path) -> None:
    for environment in ({}, {"PYTHONIOENCODING": "ascii"}):
        done = run_logdrift("diff", SAMPLE, halved, **environment)
        assert done.returncode == 0, done.stderr
        assert all(cell_len(line) <= 80 for line in done.stdout.splitlines())
        assert all(
            char.isprintable() for line in done.stdout.splitlines() for char in line
        )
        assert "BETTER, beyond noise: MAE" in " ".join(done.stdout.split())


def test_two_pairs_of_one_session(run_logdrift: Run) -> None:
    done = run_logdrift(
        "diff",
        SAMPLE,
        SAMPLE,
        "--pair",
        "trainer:vllm",
        "--new-pair",
        "reference:vllm",
        "--json",
    )
    change = json.loads(done.stdout)
    assert change["old"]["a"] == "trainer/prefill"
    assert change["new"]["a"] == "reference/prefill"
    assert ("a", "dtype", "bfloat16", "float32") in [
        tuple(row.values())[:4] for row in change["changed"]
    ]


def test_nothing_changed_against_itself(run_logdrift: Run) -> None:
    change = json.loads(run_logdrift("diff", SAMPLE, SAMPLE, "--json").stdout)
    assert change["verdict"] == "no_change"
    assert change["improved"] == change["worsened"] == change["changed"] == []
    assert all(
        (row["old"], row["change"], row["verdict"]) == (row["new"], 0, "no_change")
        for row in change["metrics"]
    )


def test_output_file(run_logdrift: Run, halved: Path, tmp_path: Path) -> None:
    done = run_logdrift("diff", SAMPLE, halved, "-o", tmp_path / "d.txt")
    assert done.returncode == 0
    assert done.stdout == ""
    assert (tmp_path / "d.txt").read_text() == run_logdrift(
        "diff", SAMPLE, halved
    ).stdout
    for folder in (halved, SAMPLE):
        inside = run_logdrift("diff", SAMPLE, halved, "-o", folder / "d.txt")
        assert inside.returncode == 2
        assert "lies in the session folder" in inside.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["diff", SAMPLE], "the following arguments are required: NEW"),
        (["diff", SAMPLE, "no/such"], "session no/such: no such folder"),
        (
            ["diff", SAMPLE, SAMPLE, "--pair", "trainer:nobody"],
            "OLD session sample-smollm2: no capture 'nobody'",
        ),
        (["diff", SAMPLE, SAMPLE, "--scope", "prompt"], "nothing in common"),
    ],
)
def test_bad_input(run_logdrift: Run, arguments: list[Any], said: str) -> None:
    done = run_logdrift(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("logdrift: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_closed_pipe_is_no_error(halved: Path) -> None:
    command = (
        f"'{REPOSITORY}/.venv/bin/logdrift' diff '{SAMPLE}' '{halved}' --json | head -c"
        " 11; exit ${PIPESTATUS[0]}"
    )
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == '{\n "schema"'
    assert done.stderr == ""


def test_comparison_is_of_the_same_tokens(tmp_path: Path) -> None:
    old, new = fixed(tmp_path)
    pairs = [make_pair(s, "trainer/prefill", "vllm/prefill") for s in (old, new)]
    found = compare_sessions(pairs[0], pairs[1], "all", resamples=10)
    ids = [
        pair.sequences.token_ids[at]
        for pair, at in zip(pairs, (found.old_at, found.new_at), strict=True)
    ]
    assert (ids[0] == ids[1]).all()
    assert isinstance(found.changes, Changes)
    moved = found.moved(5, worse=False)
    wanted = np.lexsort(
        (np.arange(len(found.old_at)), growth(found.old.delta, found.new.delta))
    )[:5]
    assert moved.tolist() == wanted.tolist()
    assert replace(found).moved(0, worse=True).tolist() == []


def test_docs_have_every_key(tmp_path: Path) -> None:
    text = (REPOSITORY / "docs" / "diff-and-check.md").read_text(encoding="utf-8")
    change = change_of(*fixed(tmp_path))
    keys = {
        *change,
        *change["old"],
        *change["matched"],
        *change["interval"],
        *change["metrics"][0],
        *change["improved"][0],
        "old_text",
        "new_text",
    }
    assert not [key for key in keys if key not in text]
    assert f"{len(METRICS)} numbers" in text
