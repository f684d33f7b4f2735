"""prime-rl's trace stream: chunks plain and sealed, episodes with branches, and
annotations of which the newest wins; what is broken is named by chunk and line.
"""

from __future__ import annotations

import copy
import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard

from logdrift.core.errors import InputError
from logdrift.core.session.importers import (
    compressed,
    guess_format,
    import_session,
    prime_rl_annotations,
)
from logdrift.core.session.reader import Session, open_session

Json = dict[str, Any]
NAN = float("nan")
USER, ASSISTANT, TOOL = 2, 3, 4


def node(parent: int | None, role: str, ids: Sequence[int], sampled: int = 0) -> Json:
    """A message of ``ids``, of which the last ``sampled`` were sampled."""
    made: Json = {"message": {"role": role, "content": "…"}, "token_ids": list(ids)}
    if parent is not None:
        made["parent"] = parent
    made["mask"] = [False] * (len(ids) - sampled) + [True] * sampled
    if sampled:
        made["sampled"] = True
        made["logprobs"] = [-round(0.1234 + i / 7, 4) for i in range(sampled)]
    return made


def episode(trace_id: str, nodes: list[Json], **other: Any) -> Json:
    trace = {
        "id": trace_id,
        "nodes": nodes,
        "rewards": {"right": {"score": 1.0, "weight": 1.0}},
        "info": {"kind": "train"},
        "calls": [{"finish_reason": "stop"}],
        **other,
    }
    return {"id": f"e-{trace_id}", "kind": "train", "traces": [trace]}


def annotation(trace_id: str, *branches: list[float | None]) -> Json:
    made = []
    for index, logprobs in enumerate(branches):
        entropies = [None if value is None else 0.5 for value in logprobs]
        streams = {"trainer_logprobs": logprobs, "entropies": entropies}
        made.append({"index": index, **streams, "is_masked": [None] * len(logprobs)})
    return {"version": 1, "trace_id": trace_id, "info": {}, "branches": made}


def sealed(data: bytes, frame: int = 64) -> bytes:
    """zstd in seekable frames, and their index in a frame that is skipped."""
    pieces = [data[at : at + frame] for at in range(0, len(data), frame)]
    frames = [zstandard.ZstdCompressor().compress(piece) for piece in pieces]
    sizes = zip(frames, pieces, strict=True)
    entries = b"".join(struct.pack("<II", len(one), len(piece)) for one, piece in sizes)
    footer = struct.pack("<IBI", len(frames), 0, 0x8F92EAB1)
    index = entries + footer
    return b"".join(frames) + struct.pack("<II", 0x184D2A5E, len(index)) + index


def lines(*records: Json) -> bytes:
    texts = [json.dumps(record, ensure_ascii=False) + "\n" for record in records]
    return "".join(texts).encode()


def run_folder(
    folder: Path, episodes: Sequence[Json], annotations: Sequence[Json] = ()
) -> Path:
    """The last two episodes and annotations are in live chunks, the others sealed."""
    traces = folder / "monitors" / "file" / "traces"
    for name, records in (("stream", episodes), ("annotations/trainer", annotations)):
        stream = traces / name
        stream.mkdir(parents=True, exist_ok=True)
        if len(records) > 2:
            (stream / "00000.jsonl.zst").write_bytes(sealed(lines(*records[:-2])))
            (stream / "00000.jsonl.zst.tmp").write_bytes(b"half")
        (stream / "00001.jsonl").write_bytes(lines(*records[-2:]))
        (traces / f"{name}.index").write_text("{}\n")
    return folder


TURNS = [
    node(None, "user", [11, 12]),
    node(0, "assistant", [21, 22, 23], sampled=2),
    node(1, "tool", [31, 32]),
    node(2, "assistant", [41, 42], sampled=1),
]
"""User, an answer, a tool's output, an answer."""
TURNS_TRAINER = [None, None, None, -0.2, -0.3, None, None, None, -0.4]
WHOLE = [
    episode("a", TURNS),
    episode("b", [node(None, "user", [11]), node(0, "assistant", [21], sampled=1)]),
    episode("c", [node(None, "user", [12]), node(0, "assistant", [22], sampled=1)]),
]
WHOLE_TRAINER = [
    annotation("a", [None, None, None, -9.0, -9.0, None, None, None, -9.0]),
    annotation("b", [None, -0.5]),
    annotation("c", [None, -0.6]),
    annotation("a", TURNS_TRAINER),
]


def imported(path: Path, out: Path) -> tuple[Session, tuple[str, ...]]:
    assert guess_format(path) == "prime-rl"
    notes = import_session("prime-rl", [str(path)], out)
    return open_session(out), notes


def holds(session: Session, label: str, wanted: Sequence[float | None]) -> None:
    numbers = [NAN if value is None else value for value in wanted]
    np.testing.assert_array_equal(
        session.capture(label).logprob.whole(), np.asarray(numbers, np.float32)
    )


def test_sealed_and_live_chunks_with_their_annotations(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", WHOLE, WHOLE_TRAINER)
    session, notes = imported(run, tmp_path / "out")
    sequences = session.sequences
    assert sequences.prompt_lengths.tolist() == [3, 1, 1]
    ids = [11, 12, 21, 22, 23, 31, 32, 41, 42, 11, 21, 12, 22]
    assert sequences.token_ids.tolist() == ids
    assert sequences.mask.tolist() == [1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1]
    engine = [*TURNS[1]["logprobs"], None, None, None, *TURNS[3]["logprobs"]]
    holds(
        session,
        "inference/recorded",
        [None, None, None, *engine, None, -0.1234, None, -0.1234],
    )
    holds(session, "trainer/prefill", [*TURNS_TRAINER, None, -0.5, None, -0.6])
    entropy = session.capture("trainer/prefill").entropy
    assert entropy is not None and np.nansum(entropy.whole()) == 2.5
    assert notes == session.manifest.notes == ()
    rewards = sequences.rewards
    assert rewards is not None and rewards.tolist() == [1.0, 1.0, 1.0]


def test_roles_of_messages_are_kept(tmp_path: Path) -> None:
    session, _ = imported(run_folder(tmp_path / "run", WHOLE), tmp_path / "out")
    roles = session.sequences.roles
    assert roles is not None
    wanted = [USER] * 2 + [ASSISTANT] * 3 + [TOOL] * 2 + [ASSISTANT] * 2
    assert roles[:9].tolist() == wanted


@pytest.mark.parametrize(
    "below",
    ["", "monitors/file", "monitors/file/traces", "monitors/file/traces/stream"],
)
def test_any_folder_of_the_run_will_do(below: str, tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", WHOLE, WHOLE_TRAINER)
    session, _ = imported(run / below, tmp_path / "out")
    assert len(session.sequences) == 3
    assert len(session.captures) == 2


def test_one_chunk_and_the_first_form_of_the_stream(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", WHOLE, WHOLE_TRAINER)
    traces = run / "monitors/file/traces"
    chunk, _ = imported(traces / "stream/00000.jsonl.zst", tmp_path / "chunk")
    assert len(chunk.sequences) == 1 and len(chunk.captures) == 2
    early = tmp_path / "early" / "traces"
    (early / "annotations").mkdir(parents=True)
    (early / "stream.jsonl").write_bytes(lines(*WHOLE))
    (early / "annotations" / "trainer.jsonl").write_bytes(lines(*WHOLE_TRAINER))
    first, _ = imported(early.parent, tmp_path / "first")
    whole, _ = imported(run, tmp_path / "whole")
    for label in ("trainer/prefill", "inference/recorded"):
        holds(first, label, whole.capture(label).logprob.whole().tolist())


def test_each_leaf_is_a_sequence(tmp_path: Path) -> None:
    nodes = [
        node(None, "user", [11]),
        node(0, "assistant", [21, 22], sampled=2),
        node(1, "user", [12]),
        node(2, "assistant", [31], sampled=1),
        node(0, "assistant", [41, 42], sampled=2),
    ]
    trainer = annotation("a", [None, -1.0, -2.0, None, -3.0], [None, -4.0])
    run = run_folder(tmp_path / "run", [episode("a", nodes)], [trainer])
    session, notes = imported(run, tmp_path / "out")
    assert session.sequences.token_ids.tolist() == [11, 21, 22, 12, 31, 11, 41, 42]
    # The second annotation ends early: what is behind its end is not scored.
    wanted = [None, -1.0, -2.0, None, -3.0, None, -4.0, None]
    holds(session, "trainer/prefill", wanted)
    assert any("1 trace has several branches" in note for note in notes)


def test_rounded_numbers_are_told_with_what_rounding_moves(tmp_path: Path) -> None:
    long = [node(None, "user", [1]), node(0, "assistant", range(2, 42), sampled=40)]
    draw = np.random.default_rng(0)
    exact = (-draw.random(40)).tolist()
    long[1]["logprobs"] = [round(value, 4) for value in exact]
    trainer = annotation("a", [None, *exact])
    run = run_folder(tmp_path / "run", [episode("a", long)], [trainer])
    session, notes = imported(run, tmp_path / "out")
    rounded = [note for note in notes if "are rounded to" in note]
    assert rounded == [
        "log-probabilities of inference/recorded are rounded to 4 decimals: that alone"
        " moves each by up to 5e-05 nats, and by 2.5e-05 on average"
    ]
    assert rounded[0] in session.manifest.notes


@pytest.mark.parametrize("name", ["stream", "annotations/trainer"])
def test_a_torn_last_line_ends_the_stream(name: str, tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", WHOLE, WHOLE_TRAINER)
    chunk = run / "monitors/file/traces" / name / "00001.jsonl"
    chunk.write_bytes(chunk.read_bytes()[:-20])
    session, notes = imported(run, tmp_path / "out")
    assert len(session.sequences) == (2 if name == "stream" else 3)
    assert any("00001.jsonl ends within a line" in note for note in notes)


def test_without_annotations_there_is_one_side(tmp_path: Path) -> None:
    session, _ = imported(run_folder(tmp_path / "run", WHOLE), tmp_path / "out")
    assert [info.label for info in session.captures] == ["inference/recorded"]
    run = run_folder(tmp_path / "some", WHOLE, WHOLE_TRAINER[1:2])
    session, notes = imported(run, tmp_path / "some-out")
    holds(session, "trainer/prefill", [None] * 9 + [None, -0.5, None, None])
    assert any("2 sequences have no annotation" in note for note in notes)


def test_nothing_unpacks_zstd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> Any:
        raise ImportError(name)

    run = run_folder(tmp_path / "run", WHOLE)
    monkeypatch.setattr(compressed.importlib, "import_module", none)
    with pytest.raises(InputError, match=r"00000.jsonl.zst.*logdrift\[zstd\]"):
        import_session("prime-rl", [str(run)], tmp_path / "out")


def test_any_lines_may_be_compressed(tmp_path: Path) -> None:
    file = tmp_path / "dump.jsonl.zst"
    good = {"token_ids": [5, 6], "captures": {"a": [-1.0, -2.0]}}
    file.write_bytes(sealed(lines(good, good)))
    assert guess_format(file) == "jsonl"
    import_session("jsonl", [str(file)], tmp_path / "out")
    assert len(open_session(tmp_path / "out").sequences) == 2


def test_annotations_are_kept_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = []
    stored = prime_rl_annotations._StoredLists

    def watched(**fields: Any) -> Any:
        kept.append(fields)
        return stored(**fields)

    monkeypatch.setattr(prime_rl_annotations, "_StoredLists", watched)
    run = run_folder(tmp_path / "run", WHOLE, WHOLE_TRAINER)
    imported(run, tmp_path / "out")
    assert len(kept) == len(WHOLE_TRAINER)
    assert all(isinstance(value, int) for one in kept for value in one.values())


def test_messages_without_ids_are_no_sequences(tmp_path: Path) -> None:
    asked = {"message": {"role": "user", "content": "…"}}
    run = run_folder(tmp_path / "run", [episode("a", [asked])])
    wanted = "no sequence in it: nothing is imported: 1 branch has no token ids"
    with pytest.raises(InputError, match=wanted):
        import_session("prime-rl", [str(run)], tmp_path / "out")
    run_folder(tmp_path / "run", [episode("a", [asked]), WHOLE[1]])
    session, notes = imported(run, tmp_path / "out")
    assert len(session.sequences) == 1
    assert notes == ("1 branch has no token ids: left out",)


def at_node(index: int, **change: Any) -> Callable[[Json], None]:
    def breaks(broken: Json) -> None:
        broken["traces"][0]["nodes"][index].update(change)

    return breaks


BROKEN: dict[str, tuple[Callable[[Json], Any], str]] = {
    "no traces": (lambda it: it.pop("traces"), "traces is missing"),
    "no nodes": (lambda it: it["traces"][0].pop("nodes"), "nodes is missing"),
    "a mask too short": (at_node(1, mask=[True]), "mask of a node has 1 entries"),
    "numbers too many": (
        at_node(1, logprobs=[-1.0] * 3),
        "logprobs of a node has 3 entries, its mask 2",
    ),
    "a flag of 1": (at_node(1, mask=[0, 1, 1]), "something else than true and false"),
    "a circle": (at_node(1, parent=3), "parent is 3"),
    "a probability": (at_node(1, logprobs=[0.5, 0.5]), "log-probability is at most 0"),
    "an id that is none": (at_node(1, token_ids=["a", "b", "c"]), "token_ids"),
}


@pytest.mark.parametrize(("breaks", "wanted"), BROKEN.values(), ids=BROKEN)
def test_a_broken_episode_is_named(
    breaks: Callable[[Json], Any], wanted: str, tmp_path: Path
) -> None:
    bad = copy.deepcopy(WHOLE[0])
    breaks(bad)
    run = run_folder(tmp_path / "run", [*WHOLE, bad], WHOLE_TRAINER)
    with pytest.raises(InputError, match=wanted) as caught:
        import_session("prime-rl", [str(run)], tmp_path / "out")
    assert str(caught.value.file).endswith("stream/00001.jsonl")
    assert caught.value.line == 2
    notes = import_session("prime-rl", [str(run)], tmp_path / "out", skip_bad=True)
    assert len(open_session(tmp_path / "out").sequences) == 3
    assert any("left out 1 bad line" in note for note in notes)


BROKEN_ANNOTATIONS: dict[str, tuple[Json, str]] = {
    "newer": ({"version": 2, "trace_id": "a"}, "version is 2"),
    "of no trace": ({"version": 1}, "trace_id is None"),
    "of no branch": (
        {"version": 1, "trace_id": "a", "branches": [{"trainer_logprobs": [-1]}]},
        "index of a branch is None",
    ),
    "a probability": (annotation("a", [None, 0.5]), r"trainer_logprobs\[1\] is 0.5"),
    "longer than its branch": (
        annotation("b", [None, -1.0, -1.0]),
        "has 3 entries, the branch 2 tokens",
    ),
}


@pytest.mark.parametrize(
    ("bad", "wanted"), BROKEN_ANNOTATIONS.values(), ids=BROKEN_ANNOTATIONS
)
def test_a_broken_annotation_is_named(bad: Json, wanted: str, tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", WHOLE, [*WHOLE_TRAINER, bad])
    with pytest.raises(InputError, match=wanted):
        import_session("prime-rl", [str(run)], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_chunk_that_is_damaged_is_named(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", WHOLE)
    chunk = run / "monitors/file/traces/stream/00000.jsonl.zst"
    whole = chunk.read_bytes()
    for damaged in (whole[:-4], whole[:40], whole[:4] + b"x" * 9 + whole[13:]):
        chunk.write_bytes(damaged)
        with pytest.raises(InputError, match=r"00000.jsonl.zst.*zstd"):
            import_session("prime-rl", [str(run)], tmp_path / "out")
