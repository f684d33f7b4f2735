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

from logdrift.core.session.importers import (
    compressed,
    guess_format,
    import_session,
    prime_rl_annotations,
)
from logdrift.core.session.reader import Session, open_session
from tests.common import Fields, refused

Breaks = Callable[[Fields], Any]
"""Makes an episode a broken one."""
Numbers = Sequence[float | None]
Notes = tuple[str, ...]
USER, ASSISTANT, TOOL = 2, 3, 4
TRAINER = "trainer/prefill"
ENGINE = "inference/recorded"
TRACES = "monitors/file/traces"


def node(parent: int | None, role: str, ids: Sequence[int], sampled: int = 0) -> Fields:
    """A message of ``ids``, of which the last ``sampled`` were sampled."""
    message = {"role": role, "content": "…"}
    made: Fields = {"message": message, "token_ids": list(ids)}
    if parent is not None:
        made["parent"] = parent
    given = len(ids) - sampled
    made["mask"] = [False] * given + [True] * sampled
    if sampled:
        made["sampled"] = True
        numbers = [0.1234 + i / 7 for i in range(sampled)]
        made["logprobs"] = [-round(number, 4) for number in numbers]
    return made


def asked(*ids: int) -> Fields:
    """A message of a user at the root."""
    return node(None, "user", ids)


def answer(parent: int, *ids: int) -> Fields:
    """A message of which all ids were sampled."""
    return node(parent, "assistant", ids, sampled=len(ids))


def episode(trace_id: str, *nodes: Fields, **other: Any) -> Fields:
    trace = {
        "id": trace_id,
        "nodes": list(nodes),
        "rewards": {"right": {"score": 1.0, "weight": 1.0}},
        "info": {"kind": "train"},
        "calls": [{"finish_reason": "stop"}],
        **other,
    }
    return {"id": f"e-{trace_id}", "kind": "train", "traces": [trace]}


def entropy_at(logprob: float | None) -> float | None:
    """One where there is a log-probability."""
    if logprob is None:
        return None
    return 0.5


def annotation(trace_id: str, *branches: Numbers) -> Fields:
    made = []
    for index, logprobs in enumerate(branches):
        entropies = list(map(entropy_at, logprobs))
        branch = {
            "index": index,
            "trainer_logprobs": logprobs,
            "entropies": entropies,
            "is_masked": [None] * len(logprobs),
        }
        made.append(branch)
    return {
        "version": 1,
        "trace_id": trace_id,
        "info": {},
        "branches": made,
    }


def sealed(data: bytes, frame: int = 64) -> bytes:
    """zstd in seekable frames, and their index in a frame that is skipped."""
    frames = b""
    index = b""
    starts = range(0, len(data), frame)
    for start in starts:
        stop = start + frame
        piece = data[start:stop]
        compressor = zstandard.ZstdCompressor()
        compressed_piece = compressor.compress(piece)
        frames += compressed_piece
        index += struct.pack("<II", len(compressed_piece), len(piece))
    index += struct.pack("<IBI", len(starts), 0, 0x8F92EAB1)
    skipped = struct.pack("<II", 0x184D2A5E, len(index))
    return frames + skipped + index


def lines(*records: Fields) -> bytes:
    text = ""
    for record in records:
        text += json.dumps(record, ensure_ascii=False)
        text += "\n"
    return text.encode()


def run_folder(
    folder: Path,
    episodes: Sequence[Fields],
    annotations: Sequence[Fields] = (),
) -> Path:
    """The last two episodes and annotations are in live chunks, the others sealed."""
    traces = folder / TRACES
    streams = {"stream": episodes, "annotations/trainer": annotations}
    for name, records in streams.items():
        stream = traces / name
        stream.mkdir(parents=True, exist_ok=True)
        if len(records) > 2:
            early = lines(*records[:-2])
            chunk = stream / "00000.jsonl.zst"
            chunk.write_bytes(sealed(early))
            half = stream / "00000.jsonl.zst.tmp"
            half.write_bytes(b"half")
        last = lines(*records[-2:])
        live = stream / "00001.jsonl"
        live.write_bytes(last)
        index = traces / f"{name}.index"
        index.write_text("{}\n")
    return folder


TURNS = [
    asked(11, 12),
    node(0, "assistant", [21, 22, 23], sampled=2),
    node(1, "tool", [31, 32]),
    node(2, "assistant", [41, 42], sampled=1),
]
"""User, an answer, a tool's output, an answer."""
TURNS_TRAINER = [None, None, None, -0.2, -0.3, None, None, None, -0.4]
OLDER_TRAINER = [None, None, None, -9.0, -9.0, None, None, None, -9.0]
WHOLE = [
    episode("a", *TURNS),
    episode("b", asked(11), answer(0, 21)),
    episode("c", asked(12), answer(0, 22)),
]
WHOLE_TRAINER = [
    annotation("a", OLDER_TRAINER),
    annotation("b", [None, -0.5]),
    annotation("c", [None, -0.6]),
    annotation("a", TURNS_TRAINER),
]


def import_traces(path: Path, out: Path, **options: Any) -> Notes:
    return import_session("prime-rl", [str(path)], out, **options)


def imported(path: Path, out: Path) -> tuple[Session, Notes]:
    assert guess_format(path) == "prime-rl"
    notes = import_traces(path, out)
    session = open_session(out)
    return session, notes


def tell(notes: Notes, words: str) -> bool:
    """A note has these words."""
    found = [words in note for note in notes]
    return any(found)


def holds(session: Session, label: str, wanted: Numbers) -> None:
    # As floats, None is NaN.
    numbers = np.asarray(wanted, np.float32)
    found = session.capture(label).logprob.whole()
    np.testing.assert_array_equal(found, numbers)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a whole run."""
    return run_folder(tmp_path / "run", WHOLE, WHOLE_TRAINER)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_sealed_and_live_chunks_with_their_annotations(run: Path, out: Path) -> None:
    session, notes = imported(run, out)
    sequences = session.sequences
    assert sequences.prompt_lengths.tolist() == [3, 1, 1]
    turns = [11, 12, 21, 22, 23, 31, 32, 41, 42]
    others = [11, 21, 12, 22]
    assert sequences.token_ids.tolist() == turns + others
    masks = [1] * 5 + [0] * 3 + [1] * 5
    assert sequences.mask.tolist() == masks
    nothing = [None] * 3
    first = TURNS[1]["logprobs"]
    last = TURNS[3]["logprobs"]
    of_turns = [*nothing, *first, *nothing, *last]
    of_others = [None, -0.1234, None, -0.1234]
    holds(session, ENGINE, of_turns + of_others)
    trainer = [*TURNS_TRAINER, None, -0.5, None, -0.6]
    holds(session, TRAINER, trainer)
    entropy = session.capture(TRAINER).entropy
    assert entropy is not None
    assert np.nansum(entropy.whole()) == 2.5
    assert notes == ()
    assert session.manifest.notes == ()
    rewards = sequences.rewards
    assert rewards is not None
    assert rewards.tolist() == [1.0] * 3


def test_roles_of_messages_are_kept(run: Path, out: Path) -> None:
    session, _ = imported(run, out)
    roles = session.sequences.roles
    assert roles is not None
    wanted = [USER] * 2 + [ASSISTANT] * 3 + [TOOL] * 2 + [ASSISTANT] * 2
    assert roles[:9].tolist() == wanted


@pytest.mark.parametrize(
    "below",
    ["", "monitors/file", TRACES, f"{TRACES}/stream"],
)
def test_any_folder_of_the_run_will_do(below: str, run: Path, out: Path) -> None:
    session, _ = imported(run / below, out)
    assert len(session.sequences) == 3
    assert len(session.captures) == 2


def test_one_chunk_stands_for_its_part_of_the_stream(run: Path, out: Path) -> None:
    chunk = run / TRACES / "stream/00000.jsonl.zst"
    session, _ = imported(chunk, out)
    assert len(session.sequences) == 1
    assert len(session.captures) == 2


def test_the_first_form_of_the_stream(run: Path, tmp_path: Path) -> None:
    traces = tmp_path / "early" / "traces"
    annotations = traces / "annotations"
    annotations.mkdir(parents=True)
    stream = traces / "stream.jsonl"
    stream.write_bytes(lines(*WHOLE))
    trainer = annotations / "trainer.jsonl"
    trainer.write_bytes(lines(*WHOLE_TRAINER))
    first, _ = imported(traces.parent, tmp_path / "first")
    whole, _ = imported(run, tmp_path / "whole")
    for label in (TRAINER, ENGINE):
        wanted = whole.capture(label).logprob.whole()
        holds(first, label, wanted.tolist())


def test_each_leaf_is_a_sequence(tmp_path: Path, out: Path) -> None:
    tree = episode(
        "a",
        asked(11),
        answer(0, 21, 22),
        node(1, "user", [12]),
        answer(2, 31),
        answer(0, 41, 42),
    )
    first = [None, -1.0, -2.0, None, -3.0]
    # This one ends early: what is behind its end is not scored.
    second = [None, -4.0]
    trainer = annotation("a", first, second)
    run = run_folder(tmp_path / "run", [tree], [trainer])
    session, notes = imported(run, out)
    ids = session.sequences.token_ids
    assert ids.tolist() == [11, 21, 22, 12, 31, 11, 41, 42]
    holds(session, TRAINER, [*first, *second, None])
    assert tell(notes, "1 trace has several branches")


def test_rounded_numbers_are_told_with_what_rounding_moves(
    tmp_path: Path, out: Path
) -> None:
    long = answer(0, *range(2, 42))
    draw = np.random.default_rng(0)
    drawn = -draw.random(40)
    exact = drawn.tolist()
    long["logprobs"] = [round(value, 4) for value in exact]
    trainer = annotation("a", [None, *exact])
    rollout = episode("a", asked(1), long)
    run = run_folder(tmp_path / "run", [rollout], [trainer])
    session, notes = imported(run, out)
    rounded = [note for note in notes if "are rounded to" in note]
    assert rounded == [
        "log-probabilities of inference/recorded are rounded to 4 decimals: that alone"
        " moves each by up to 5e-05 nats, and by 2.5e-05 on average"
    ]
    assert rounded[0] in session.manifest.notes


@pytest.mark.parametrize(
    ("name", "left"),
    [("stream", 2), ("annotations/trainer", 3)],
)
def test_a_torn_last_line_ends_the_stream(
    name: str, left: int, run: Path, out: Path
) -> None:
    chunk = run / TRACES / name / "00001.jsonl"
    written = chunk.read_bytes()
    chunk.write_bytes(written[:-20])
    session, notes = imported(run, out)
    assert len(session.sequences) == left
    assert tell(notes, "00001.jsonl ends within a line")


def test_without_annotations_there_is_one_side(tmp_path: Path, out: Path) -> None:
    run = run_folder(tmp_path / "run", WHOLE)
    session, _ = imported(run, out)
    labels = [info.label for info in session.captures]
    assert labels == [ENGINE]


def test_sequences_without_an_annotation_are_told(tmp_path: Path, out: Path) -> None:
    one = WHOLE_TRAINER[1]
    run = run_folder(tmp_path / "run", WHOLE, [one])
    session, notes = imported(run, out)
    before = [None] * 10
    holds(session, TRAINER, [*before, -0.5, None, None])
    assert tell(notes, "2 sequences have no annotation")


def test_nothing_unpacks_zstd(
    run: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(compressed.importlib, "import_module", none)
    with refused(r"00000.jsonl.zst.*logdrift\[zstd\]"):
        import_traces(run, out)


def test_any_lines_may_be_compressed(tmp_path: Path, out: Path) -> None:
    file = tmp_path / "dump.jsonl.zst"
    captures = {"a": [-1.0, -2.0]}
    good = {"token_ids": [5, 6], "captures": captures}
    file.write_bytes(sealed(lines(good, good)))
    assert guess_format(file) == "jsonl"
    import_session("jsonl", [str(file)], out)
    session = open_session(out)
    assert len(session.sequences) == 2


@pytest.mark.parametrize("last", [0x0, 0x7, 0xF])
def test_frames_that_are_skipped_may_stand_first(
    tmp_path: Path, out: Path, last: int
) -> None:
    """As pzstd writes them, in front of each frame with its size."""
    file = tmp_path / "dump.jsonl.zst"
    good = {"token_ids": [5, 6], "captures": {"a": [-1.0, -2.0]}}
    packed = b""
    for _ in range(3):
        frame = zstandard.ZstdCompressor().compress(lines(good))
        packed += struct.pack("<III", 0x184D2A50 + last, 4, len(frame))
        packed += frame
    file.write_bytes(packed)
    assert guess_format(file) == "jsonl"
    import_session("jsonl", [str(file)], out)
    assert len(open_session(out).sequences) == 3


def test_annotations_are_kept_on_disk(
    run: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = []
    stored = prime_rl_annotations._StoredLists

    def watched(**fields: Any) -> Any:
        kept.append(fields)
        return stored(**fields)

    monkeypatch.setattr(prime_rl_annotations, "_StoredLists", watched)
    imported(run, out)
    assert len(kept) == len(WHOLE_TRAINER)
    for fields in kept:
        kinds = set(map(type, fields.values()))
        assert kinds == {int, bool}


def test_messages_without_ids_are_no_sequences(tmp_path: Path, out: Path) -> None:
    message = {"role": "user", "content": "…"}
    without_ids = episode("a", {"message": message})
    run = run_folder(tmp_path / "run", [without_ids])
    wanted = "no sequence in it: nothing is imported: 1 branch has no token ids"
    with refused(wanted):
        import_traces(run, out)
    run_folder(tmp_path / "run", [without_ids, WHOLE[1]])
    session, notes = imported(run, out)
    assert len(session.sequences) == 1
    assert notes == ("1 branch has no token ids: left out",)


def no_traces(broken: Fields) -> None:
    del broken["traces"]


def no_nodes(broken: Fields) -> None:
    (trace,) = broken["traces"]
    del trace["nodes"]


def answer_with(**change: Any) -> Breaks:
    """The first answer has other fields."""

    def breaks(broken: Fields) -> None:
        (trace,) = broken["traces"]
        first = trace["nodes"][1]
        first.update(change)

    return breaks


@pytest.mark.parametrize(
    ("breaks", "wanted"),
    [
        pytest.param(no_traces, "traces is missing", id="no traces"),
        pytest.param(no_nodes, "nodes is missing", id="no nodes"),
        pytest.param(
            answer_with(mask=[True]),
            "mask of a node has 1 entries",
            id="a mask too short",
        ),
        pytest.param(
            answer_with(logprobs=[-1.0] * 3),
            "logprobs of a node has 3 entries, its mask 2",
            id="numbers too many",
        ),
        pytest.param(
            answer_with(mask=[0, 1, 1]),
            "something else than true and false",
            id="a flag of 1",
        ),
        pytest.param(answer_with(parent=3), "parent is 3", id="a circle"),
        pytest.param(
            answer_with(logprobs=[0.5, 0.5]),
            "log-probability is at most 0",
            id="a probability",
        ),
        pytest.param(
            answer_with(token_ids=["a", "b", "c"]),
            "token_ids",
            id="an id that is none",
        ),
    ],
)
def test_a_broken_episode_is_named(
    breaks: Breaks, wanted: str, tmp_path: Path, out: Path
) -> None:
    bad = copy.deepcopy(WHOLE[0])
    breaks(bad)
    episodes = [*WHOLE, bad]
    run = run_folder(tmp_path / "run", episodes, WHOLE_TRAINER)
    with refused(wanted) as caught:
        import_traces(run, out)
    error = caught.value
    file = str(error.file)
    assert file.endswith("stream/00001.jsonl")
    assert error.line == 2
    notes = import_traces(run, out, skip_bad=True)
    session = open_session(out)
    assert len(session.sequences) == 3
    assert tell(notes, "left out 1 bad line")


NAMELESS_BRANCH = {"trainer_logprobs": [-1]}


@pytest.mark.parametrize(
    ("bad", "wanted"),
    [
        pytest.param(
            {"version": 2, "trace_id": "a"},
            "version is 2",
            id="newer",
        ),
        pytest.param({"version": 1}, "trace_id is None", id="of no trace"),
        pytest.param(
            {"version": 1, "trace_id": "a", "branches": [NAMELESS_BRANCH]},
            "index of a branch is None",
            id="of no branch",
        ),
        pytest.param(
            annotation("a", [None, 0.5]),
            r"trainer_logprobs\[1\] is 0.5",
            id="a probability",
        ),
        pytest.param(
            annotation("b", [None, -1.0, -1.0]),
            "has 3 entries, the branch 2 tokens",
            id="longer than its branch",
        ),
    ],
)
def test_a_broken_annotation_is_named(
    bad: Fields, wanted: str, tmp_path: Path, out: Path
) -> None:
    annotations = [*WHOLE_TRAINER, bad]
    run = run_folder(tmp_path / "run", WHOLE, annotations)
    with refused(wanted):
        import_traces(run, out)
    assert not out.exists()


def cut_in_the_index(whole: bytes) -> bytes:
    return whole[:-4]


def cut_in_a_frame(whole: bytes) -> bytes:
    return whole[:40]


def overwritten(whole: bytes) -> bytes:
    damage = b"x" * 9
    return whole[:4] + damage + whole[13:]


@pytest.mark.parametrize("damage", [cut_in_the_index, cut_in_a_frame, overwritten])
def test_a_chunk_that_is_damaged_is_named(
    damage: Callable[[bytes], bytes], run: Path, out: Path
) -> None:
    chunk = run / TRACES / "stream/00000.jsonl.zst"
    whole = chunk.read_bytes()
    chunk.write_bytes(damage(whole))
    with refused(r"00000.jsonl.zst.*zstd"):
        import_traces(run, out)
