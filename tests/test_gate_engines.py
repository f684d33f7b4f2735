"""What may not be compared, made by real engines: other ids, tempered and processed
numbers, other weights, cut contexts.

SGLang's and vLLM's captures are those of `tests.shared_captures`; Transformers scores
them three times. Every refusal has its control beside it: the same session, the same
engines, and a pair that may be compared.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from logdrift.core.compare.gate import Gate, judge
from logdrift.core.compare.pair import make_pair
from logdrift.core.session.layout import CaptureInfo, Part, capture_part
from logdrift.core.session.reader import Session, open_session
from logdrift.core.session.writer import write_manifest, write_part
from tests.changed_model import changed_model
from tests.common import Run
from tests.shared_captures import TEXTS, SharedCaptures, copy_of

pytestmark = pytest.mark.engine

TAIL = 12
"""Tokens of each sequence that the cut capture was given: the cut lies within the
completions.
"""


def _capture(run_logdrift: Run, *arguments: object) -> None:
    done = run_logdrift("capture", *arguments)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def tempered(
    tmp_path_factory: pytest.TempPathFactory,
    run_logdrift: Run,
    shared_captures: SharedCaptures,
    sglang_python: Path,
    small_model: Path,
) -> Path:
    """SGLang samples at T = 0.7; a trainer scores with the same weights, another with
    those of one step later.
    """
    folder = tmp_path_factory.mktemp("tempered")
    other = changed_model(small_model, folder / "step-1")
    _swap_two_ids(other / "tokenizer.json")
    session = copy_of(shared_captures.session("sglang"), folder / "session")
    _capture(
        run_logdrift,
        *("--into", session),
        *("--backend", "transformers:bfloat16@trainer"),
        *("--backend", f"transformers:bfloat16,model={other}@later"),
    )
    return session


@pytest.fixture(scope="module")
def processed(shared_captures: SharedCaptures, vllm_python: Path) -> Path:
    """vLLM samples from the nucleus and gives what it sampled from."""
    return shared_captures.session("vllm")


@pytest.fixture(scope="module")
def strangers(tempered: Path, run_logdrift: Run) -> Session:
    """Part 0: sequences as long as those of ``tempered`` with other ids. Part 1: the
    tails of ``tempered``.
    """
    sequences = open_session(tempered).sequences
    rows = [sequences.ids(i).tolist() for i in range(len(sequences))]
    other = [{"token_ids": row[:1] + row[:0:-1], "prompt_length": 1} for row in rows]
    tails = [{"token_ids": row[-TAIL:], "prompt_length": 1} for row in rows]
    prompts = tempered.with_name("strangers.jsonl")
    prompts.write_text("".join(json.dumps(line) + "\n" for line in (*other, *tails)))
    out = tempered.with_name("strangers")
    _capture(
        run_logdrift,
        *("--model", "smollm2", "--prompts", prompts, "--out", out),
        *("--part-sequences", len(TEXTS)),
        *("--backend", "transformers:bfloat16@trainer"),
    )
    return open_session(out)


def _swap_two_ids(tokenizer: Path) -> None:
    data = json.loads(tokenizer.read_text(encoding="utf-8"))
    vocabulary = data["model"]["vocab"]
    vocabulary["Ġhouse"], vocabulary["Ġriver"] = (
        vocabulary["Ġriver"],
        vocabulary["Ġhouse"],
    )
    tokenizer.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")


def _judged(session: Session, a: str, b: str) -> Gate:
    return judge(session, make_pair(session, a, b))


def _refusals(gate: Gate) -> set[str]:
    return {
        reason.code for reason in gate.reasons if reason.severity == "not_comparable"
    }


def _mean_gap(session: Session, a: str, b: str) -> float:
    pair = make_pair(session, a, b)
    return float(
        np.abs(
            pair.delta[pair.scope_mask("completion") & np.isfinite(pair.delta)]
        ).mean()
    )


def _with_capture(session: Session, folder: Path, info: CaptureInfo) -> Session:
    shutil.copytree(session.folder, folder, dirs_exist_ok=True)
    write_manifest(
        folder, session.manifest._replace(captures=(*session.captures, info))
    )
    return open_session(folder)


def test_the_same_weights_ids_and_meaning_are_not_refused(
    tempered: Path, processed: Path
) -> None:
    assert (
        _refusals(_judged(open_session(tempered), "trainer/prefill", "sglang/prefill"))
        == set()
    )
    assert (
        _refusals(_judged(open_session(processed), "trainer/prefill", "vllm/prefill"))
        == set()
    )


def test_sequences_one_at_a_time_are_a_floor_not_another_quantity(
    tempered: Path,
) -> None:
    session = open_session(tempered)
    gate = _judged(session, "sglang/prefill#alone", "sglang/prefill")
    assert _refusals(gate) == set()
    # Another batch rounds elsewhere and no more: bfloat16 itself is 0.02 to 0.04 away
    # from float32.
    assert _mean_gap(session, "sglang/prefill#alone", "sglang/prefill") < 0.06


def test_logprobs_at_another_temperature(tempered: Path) -> None:
    session = open_session(tempered)
    gate = _judged(session, "trainer/prefill", "sglang/decode")
    assert gate.verdict == "not_comparable"
    assert _refusals(gate) == {"temperature"}
    assert "logits / 0.7" in gate.reasons[0].text
    # The engine really gave other numbers: dividing logits by 0.7 moves them far beyond
    # bfloat16's 0.02 to 0.06.
    gaps = [
        _mean_gap(session, "trainer/prefill", f"sglang/{path}")
        for path in ("decode", "prefill")
    ]
    assert gaps[0] > 0.1 > 0.06 > gaps[1]


def test_logprobs_after_truncation(processed: Path) -> None:
    session = open_session(processed)
    gate = _judged(session, "trainer/prefill", "vllm/decode")
    assert gate.verdict == "not_comparable"
    assert _refusals(gate) == {"semantics"}
    assert "processed at T=0.7" in gate.reasons[0].text
    assert _mean_gap(session, "trainer/prefill", "vllm/decode") > 0.1
    top = session.capture("vllm/decode").top_logprobs.whole()
    assert np.isneginf(top).any(), "ids outside of the nucleus are impossible"


def test_other_weights_and_another_tokenizer(tempered: Path) -> None:
    session = open_session(tempered)
    for other in ("sglang/prefill", "trainer/prefill"):
        gate = _judged(session, "later/prefill", other)
        assert gate.verdict == "not_comparable"
        assert _refusals(gate) == {"weights", "tokenizer"}
    assert _mean_gap(session, "later/prefill", "trainer/prefill") > 0


def test_scores_of_other_ids(
    tempered: Path, strangers: Session, tmp_path: Path
) -> None:
    """A part of another session, as long as ours: nothing but the digest of its ids can
    tell.
    """
    session = open_session(tempered)
    theirs = strangers.manifest.capture("trainer/prefill")
    ours = theirs._replace(label="stranger/prefill", backend="stranger")
    file = capture_part(ours.label, 0)
    (tmp_path / file).parent.mkdir(parents=True)
    shutil.copyfile(strangers.folder / theirs.parts[0].file, tmp_path / file)
    whole = _with_capture(
        session, tmp_path, ours._replace(parts=(theirs.parts[0]._replace(file=file),))
    )
    gate = _judged(whole, "stranger/prefill", "trainer/prefill")
    assert gate.verdict == "not_comparable"
    assert _refusals(gate) == {"ids"}
    old = ours._replace(parts=(theirs.parts[0]._replace(file=file, ids_digest=None),))
    assert (
        _refusals(
            _judged(
                _with_capture(session, tmp_path, old),
                "stranger/prefill",
                "trainer/prefill",
            )
        )
        == set()
    )


def test_scores_of_a_cut_context(
    tempered: Path, strangers: Session, tmp_path: Path
) -> None:
    """The tails alone, scored by the engine without what stood before them, laid where
    they belong.
    """
    session = open_session(tempered)
    lengths = np.diff(session.sequences.offsets)
    tails = strangers.capture("trainer/prefill")
    rows = [
        _tail(tails.logprob.whole(), strangers, len(TEXTS) + i, int(n))
        for i, n in enumerate(lengths)
    ]
    part = _written(tmp_path, "cut/prefill", rows)
    cut = strangers.manifest.capture("trainer/prefill")._replace(
        label="cut/prefill",
        backend="cut",
        parts=(part,),
    )
    whole = _with_capture(session, tmp_path, cut)
    gate = _judged(whole, "cut/prefill", "trainer/prefill")
    assert gate.verdict == "not_comparable"
    assert _refusals(gate) == {"truncated"}
    # The engine really saw less: a context cut in the middle costs far more than
    # bfloat16's 0.02 to 0.06.
    assert _mean_gap(whole, "cut/prefill", "trainer/prefill") > 0.1


def _tail(
    logprobs: np.ndarray, session: Session, sequence: int, length: int
) -> np.ndarray:
    start, stop = session.sequences.bounds(sequence)
    return np.concatenate(
        [np.full(length - (stop - start), np.nan, np.float32), logprobs[start:stop]]
    )


def _written(folder: Path, label: str, rows: Sequence[np.ndarray]) -> Part:
    logprob = np.concatenate(rows)
    tensors = {
        "logprob": logprob,
        "rank": np.zeros(len(logprob), np.int32),
        "top_ids": np.full((len(logprob), 1), -1, np.int32),
        "top_logprobs": np.full((len(logprob), 1), np.nan, np.float32),
    }
    return write_part(
        folder, capture_part(label, 0), tensors, 0, len(rows), len(logprob)
    )
