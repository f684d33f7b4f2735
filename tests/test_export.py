"""`logdrift export`: what comes out is what the session holds, in every format."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from logdrift.cli.main import main
from logdrift.core.compare.gate import judge
from logdrift.core.compare.pair import list_pairs, make_pair
from logdrift.core.export.choice import choose
from logdrift.core.export.csv_rows import quoted, safe_cell
from logdrift.core.export.digits import number_texts
from logdrift.core.export.jsonl import write_jsonl
from logdrift.core.session.contents import NO_STEP
from logdrift.core.session.importers import import_session
from logdrift.core.session.layout import (
    CaptureInfo,
    Manifest,
    ModelInfo,
    SequencesInfo,
    capture_part,
    sequence_part,
)
from logdrift.core.session.reader import Capture, Session, open_session
from logdrift.core.session.scores import Scores, part_tensors, part_versions
from logdrift.core.session.tensors import read_tensors
from logdrift.core.session.weight_versions import VersionSpans, spans_of
from logdrift.core.session.writer import (
    merge_pieces,
    sequence_tensors,
    training_tensors,
    write_manifest,
    write_part,
)
from tests.common import SAMPLE, Fields, Run
from tests.made_sessions import capture, write_session

LABELS = ("trainer/prefill", "vllm/decode", "vllm/decode#2", "vllm/decode#alone", "x")

FLOATS = st.one_of(
    st.sampled_from(
        [math.nan, -math.inf, 0.0, -0.0, -1e-45, -9999.0, -10000.5, -65504.0, 1.5]
    ),
    st.floats(-65504, 0, width=32),
)
"""Scores that a session may hold: among them what other lines take for a filler."""
ENTROPIES = st.one_of(st.just(math.nan), st.floats(-1, 65504, width=32))


@dataclass
class MadeSequence:
    """A sequence, and the scores of its captures."""

    ids: list[int]
    prompt: int
    finish: str
    mask: list[int]
    roles: list[int] | None
    scores: list[Scores]
    step: int = NO_STEP
    reward: float = math.nan


@st.composite
def scores(draw: st.DrawFn, tokens: int, width: int, entropy: bool) -> Scores:
    """Any numbers, those of alternatives in any order and with any gaps."""

    def column(values: Any, count: int, dtype: Any) -> np.ndarray:
        drawn = draw(st.lists(values, min_size=count, max_size=count))
        return np.array(drawn, dtype)

    logprob = column(FLOATS, tokens, np.float32)
    computed = column(st.booleans(), tokens, bool)
    ids = column(st.integers(-1, 2**31 - 1), tokens * width, np.int32)
    return Scores(
        logprob=logprob,
        rank=column(st.integers(0, 2**31 - 1), tokens, np.int32),
        top_ids=ids.reshape(tokens, width),
        top_logprobs=column(FLOATS, tokens * width, np.float32).reshape(tokens, width),
        entropy=column(ENTROPIES, tokens, np.float32) if entropy else None,
        nan=(np.isnan(logprob) & computed).astype(np.uint8),
        versions=draw(st.none() | spans(tokens)),
    )


def spans(tokens: int) -> st.SearchStrategy[VersionSpans]:
    """A version for each token, or none."""
    version = st.sampled_from([None, "7", "8", "a b"])
    return st.lists(version, min_size=tokens, max_size=tokens).map(spans_of)


@st.composite
def sequences(draw: st.DrawFn) -> list[MadeSequence]:
    captures = draw(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=3))
    captures = captures or [(0, False)]
    has_roles = draw(st.booleans())
    made = []
    for _ in range(draw(st.integers(1, 4))):
        tokens = draw(st.integers(1, 5))
        ids = st.lists(st.integers(0, 2**31 - 1), min_size=tokens, max_size=tokens)
        mask = st.lists(st.integers(0, 1), min_size=tokens, max_size=tokens)
        roles = st.lists(st.integers(0, 4), min_size=tokens, max_size=tokens)
        one = MadeSequence(
            ids=draw(ids),
            prompt=draw(st.integers(0, tokens)),
            finish=draw(st.sampled_from(["unknown", "stop", "length"])),
            mask=draw(mask),
            roles=draw(roles) if has_roles else None,
            scores=[draw(scores(tokens, width, has)) for width, has in captures],
            step=draw(st.just(NO_STEP) | st.integers(0, 2**53)),
            reward=draw(st.just(math.nan) | st.floats(-9, 9, width=32)),
        )
        made.append(one)
    return made


def written(folder: Path, made: list[MadeSequence], pieces: dict[int, bytes]) -> Path:
    """A session of one part."""
    folder.mkdir()
    ids = [np.array(one.ids, np.int32) for one in made]
    tokens = sum(map(len, ids))
    own_tensors = sequence_tensors(
        ids,
        [one.prompt for one in made],
        [one.finish for one in made],
        [np.array(one.mask, np.uint8) for one in made],
        None
        if made[0].roles is None
        else [np.array(one.roles, np.uint8) for one in made],
    )
    own_tensors |= training_tensors(
        [one.step for one in made], [one.reward for one in made]
    )
    part = write_part(folder, sequence_part(0), own_tensors, 0, len(made), tokens)
    infos = []
    for index, label in enumerate(LABELS[: len(made[0].scores)]):
        columns = [one.scores[index] for one in made]
        width = columns[0].top_ids.shape[1]
        if label == "x":
            label = "x/recorded"
        file = capture_part(label, 0)
        tensors = part_tensors(columns, width)
        own = write_part(folder, file, tensors, 0, len(made), tokens)
        own = own._replace(versions=part_versions(columns))
        name, _, path = label.partition("/")
        path, _, mark = path.partition("#")
        info = CaptureInfo(
            label=label,
            backend=name,
            engine="unknown",
            dtype="unknown",
            path=path,
            repeat=int(mark) if mark.isdigit() else 1,
            role="trainer" if name == "trainer" else "rollout",
            status="complete",
            batch="alone" if mark == "alone" else "together",
            parts=(own,),
        )
        infos.append(info)
    merge_pieces(folder, pieces)
    manifest = Manifest(
        id="made",
        model=ModelInfo("made"),
        sequences=SequencesInfo(planned=len(made), parts=(part,)),
        captures=tuple(infos),
    )
    write_manifest(folder, manifest)
    return folder


def same_bits(a: Session, b: Session) -> None:
    """Both sessions hold the same tensors, bit for bit."""
    for name in ("token_ids", "offsets", "prompt_lengths", "mask", "finish"):
        one = getattr(a.sequences, name)
        other = getattr(b.sequences, name)
        assert one.dtype == other.dtype, name
        assert one.tobytes() == other.tobytes(), name
    assert np.array_equal(a.sequences.roles, b.sequences.roles)
    for name in ("steps", "rewards"):
        one = getattr(a.sequences, name)
        other = getattr(b.sequences, name)
        assert (one is None) == (other is None), name
        assert one is None or one.tobytes() == other.tobytes(), (one, other)
    found = [c.label for c in a.captures]
    assert found == [c.label for c in b.captures]
    for info in a.captures:
        other_info = b.manifest.capture(info.label)
        for name in ("backend", "path", "repeat", "role", "engine", "dtype"):
            assert getattr(info, name) == getattr(other_info, name), name
        capture = a.capture(info.label)
        other_capture = b.capture(info.label)
        for name in ("logprob", "rank", "top_ids", "top_logprobs", "entropy"):
            column = getattr(capture, name)
            same = getattr(other_capture, name)
            assert (column is None) == (same is None), (info.label, name)
            if column is None:
                continue
            one = column.whole()
            other = same.whole()
            assert one.shape == other.shape, name
            assert one.dtype == other.dtype, name
            assert one.tobytes() == other.tobytes(), (info.label, name, one, other)
        flags = [c.nan.whole() if c.nan else 0 for c in (capture, other_capture)]
        assert np.array_equal(*np.broadcast_arrays(*flags)), info.label
        assert versions(capture) == versions(other_capture)


def same_bits_of_numbers(a: Session, b: Session) -> None:
    """The captures hold the same float32, whatever they are stored as."""
    for info in a.captures:
        one = a.capture(info.label)
        other = b.capture(info.label)
        for name in ("logprob", "top_logprobs"):
            columns = [getattr(side, name).whole() for side in (one, other)]
            bits = [column.astype(np.float32).tobytes() for column in columns]
            assert bits[0] == bits[1], name


def versions(scored: Capture) -> list[str | None]:
    """The version of each token."""
    if scored.versions is None:
        return [None] * scored.tokens
    names = [*scored.version_names, None]
    return [names[place] for place in scored.versions.whole()]


def back_and_forth(session: Path, scratch: Path) -> Session:
    """The session that its exported lines make."""
    lines = scratch / "lines.jsonl"
    again = scratch / "again"
    with open(lines, "wb") as file:
        write_jsonl(choose(open_session(session)), file)
    import_session("jsonl", [str(lines)], again)
    return open_session(again)


@given(sequences())
@settings(max_examples=40)
def test_lines_come_back_bit_for_bit(made: list[MadeSequence]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        pieces = dict.fromkeys(made[0].ids[:1], b"\xe2\x96")
        session = written(Path(scratch, "session"), made, pieces)
        again = back_and_forth(session, Path(scratch))
        same_bits(open_session(session), again)
        assert dict(again.pieces) == pieces
        assert again.manifest.model.id == "made"
        assert again.manifest.notes == ()


def test_the_sample_comes_back_with_its_facts(tmp_path: Path) -> None:
    sample = open_session(SAMPLE)
    again = back_and_forth(SAMPLE, tmp_path)
    same_bits(sample, again)
    used = set(np.unique(sample.sequences.token_ids).tolist())
    found = {i: again.pieces[i] for i in used}
    assert found == {i: sample.pieces[i] for i in used}
    for info in sample.captures:
        copied = again.manifest.capture(info.label)
        assert info.facts is not None
        assert info.batch == "alone"
        expected = info.facts._replace(max_batch_sequences=1)
        assert copied.facts == expected, info.label
        assert (copied.engine, copied.role) == (info.engine, info.role)


def test_the_gate_says_of_a_copy_what_it_said_of_the_session(tmp_path: Path) -> None:
    """Its plan and what its engines loaded stay behind: the facts come along."""
    sample = open_session(SAMPLE)
    again = back_and_forth(SAMPLE, tmp_path)
    a, b = list_pairs(sample)[0]

    def said(session: Session) -> list[tuple[str, str]]:
        gate = judge(session, make_pair(session, a, b))
        return [(reason.code, reason.text) for reason in gate.reasons]

    assert said(again) == said(sample)


def test_facts_of_a_copy_can_be_added_to(tmp_path: Path, run_logdrift: Run) -> None:
    """What was stated before, and what is now, is told apart from what was observed."""
    rows = [[math.nan, -1.0]]
    stated = {"engine": "vllm", "temperature": 0.5, "told": ("temperature",)}
    made = capture("vllm/decode", rows, facts=stated)
    session = write_session(tmp_path / "session", [1], [made])
    facts = session.manifest.capture("vllm/decode").facts
    assert facts is not None
    lines = tmp_path / "lines.jsonl"
    run_logdrift("export", str(tmp_path / "session"), "-o", str(lines))
    out = tmp_path / "out"
    flag = ("--fact", "vllm.top_p=0.9")
    run = run_logdrift("import", "jsonl", str(lines), "--out", str(out), *flag)
    assert run.returncode == 0, run.stderr
    found = open_session(out).manifest.capture("vllm/decode").facts
    assert found == facts._replace(top_p=0.9, told=("temperature", "top_p"))


def test_a_capture_that_is_not_finished_has_nulls(tmp_path: Path) -> None:
    """The lines of the sequences that it lacks say that they are not known."""
    rows = [[math.nan, -1.0], [math.nan, -2.0], [math.nan, -3.0]]
    session = tmp_path / "session"
    write_session(session, [1, 1, 1], [capture("trainer/prefill", rows)])
    manifest = json.loads((session / "session.json").read_bytes())
    parts = manifest["captures"][0]["parts"]
    del parts[-1]
    finished = sum(part["tokens"] for part in parts)
    (session / "session.json").write_text(json.dumps(manifest))
    again = back_and_forth(session, tmp_path)
    label = again.captures[0].label
    logprob = again.capture(label).logprob.whole()
    assert np.isnan(logprob[finished:]).all()
    before = open_session(session).capture(label).logprob.whole()
    assert logprob[:finished].tobytes() == before.tobytes()


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1))
@example([1.17549435e-38, 3.4028235e38, 1e-45, 0.1, 16777217.0])
def test_nine_digits_are_a_float32(numbers: list[float]) -> None:
    values = np.array(numbers, np.float32)
    texts = number_texts(values)
    again = np.array([float(text) for text in texts]).astype(np.float32)
    assert again.tobytes() == values.tobytes()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"exact": 1}, "exact is 1"),
        ({"step": -1}, "step is -1"),
        ({"reward": "high"}, "reward is 'high'"),
        ({"pieces": {"1": "?"}}, "pieces.1 is not base64"),
        (
            {"captures": {"x": {"logprobs": [None, -1], "facts": 1}}},
            "facts is not an object",
        ),
        (
            {"exact": False, "captures": {"x": {"logprobs": [None, -1], "facts": {}}}},
            "facts is of an exact line",
        ),
        ({"captures": {"x": {"logprobs": [-1.0]}}}, "has 1 entries"),
        ({"captures": {"x": {"logprobs": [None, "nan"]}}}, "holds 'nan'"),
        ({"captures": {"x": {"logprobs": [None, 7e4]}}}, "give a number from"),
        ({"captures": {"x": {"logprobs": [None, 1], "top_ids": [[1], [2]]}}}, "both"),
        (
            {
                "captures": {
                    "x": {
                        "logprobs": [None, -1],
                        "top_ids": [[1], [2]],
                        "top_logprobs": [[-1.0], None],
                    }
                }
            },
            "not a table",
        ),
    ],
)
def test_a_bad_exact_line_is_refused(
    changes: Fields, said: str, tmp_path: Path, run_logdrift: Run
) -> None:
    line = {"exact": True, "token_ids": [1, 2], "captures": {"x": [None, -1.0]}}
    file = tmp_path / "lines.jsonl"
    file.write_text(json.dumps({**line, **changes}))
    run = run_logdrift("import", "jsonl", str(file), "--out", str(tmp_path / "out"))
    assert run.returncode == 2
    assert "line 1" in run.stderr
    assert said in run.stderr
    assert not (tmp_path / "out").exists()


# ---- rows


@pytest.fixture
def strange(tmp_path: Path) -> Session:
    """A session whose tokens and numbers are all that a cell could stumble over."""
    one = Scores(
        logprob=np.array([math.nan, -0.5, -math.inf, math.nan, -1e-45], np.float32),
        rank=np.array([0, 1, 0, 2, 3], np.int32),
        top_ids=np.array([[-1, -1], [1, 2], [4, -1], [-1, -1], [0, 3]], np.int32),
        top_logprobs=np.array(
            [[math.nan] * 2, [-0.5, -math.inf], [-1, math.nan], [math.nan] * 2, [0, 0]],
            np.float32,
        ),
        nan=np.array([0, 0, 0, 1, 0], np.uint8),
        versions=spans_of([None, None, "=7", "=7", "8"]),
    )
    made = MadeSequence(
        ids=[0, 1, 2, 3, 4],
        prompt=2,
        finish="stop",
        mask=[1, 1, 0, 1, 1],
        roles=[1, 2, 3, 3, 0],
        scores=[one],
        step=12,
        reward=-0.5,
    )
    pieces = {
        0: b"=1+1",
        1: b"\n@\r\t",
        2: b'"\x00\x1b[31m',
        3: b"\xe2\x96",
        4: " é".encode(),
    }
    return open_session(written(tmp_path / "strange", [made], pieces))


def exported(session: Session, *flags: str) -> Path:
    """The rows of a session in a file, whose name the last of ``flags`` is."""
    *others, name = flags
    out = session.folder.parent / name
    assert main(["export", str(session.folder), *others, "-o", str(out)]) == 0
    return out


def test_rows_of_parquet_say_what_is_not_there(strange: Session) -> None:
    table = pyarrow.parquet.read_table(exported(strange, "rows.parquet"))
    rows = table.to_pydict()
    assert rows["position"] == [0, 1, 2, 3, 4]
    assert rows["token_id"] == [0, 1, 2, 3, 4]
    assert rows["text"] == ["=1+1", "\n@\r\t", '"\x00\x1b[31m', "\ufffd", " é"]
    assert rows["segment"] == ["prompt"] * 2 + ["completion"] * 3
    assert rows["counts"] == [True, True, False, True, True]
    assert rows["score"] == ["missing", "finite", "impossible", "nan", "finite"]
    assert rows["finish"] == ["stop"] * 5
    roles = ["system", "user", "assistant", "assistant", "unknown"]
    assert rows["message_role"] == roles
    assert rows["step"] == [12] * 5
    assert rows["reward"] == [-0.5] * 5
    assert rows["weight_version"] == [None, None, "=7", "=7", "8"]
    missing, finite, impossible, nan, tiny = rows["logprob"]
    assert missing is None
    assert finite == -0.5
    assert impossible == -math.inf
    assert math.isnan(nan)
    assert np.float32(tiny) == np.float32(-1e-45)
    assert rows["rank"] == [None, 1, None, 2, 3]
    assert rows["entropy"] == [None] * 5
    assert rows["delta"] == [None] * 5
    expected = [None, [1, 2], [4], None, [0, 3]]
    assert rows["top_ids"] == expected
    assert rows["top_logprobs"] == [None, [-0.5, -math.inf], [-1], None, [0, 0]]
    assert table.schema.metadata[b"logdrift.session"] == b"made"


def test_no_cell_of_csv_begins_a_formula(strange: Session) -> None:
    text = exported(strange, "rows.csv").read_text("utf-8")
    assert text.count("\n") == 6, "no cell holds the end of a line"
    header, *rows = csv.reader(io.StringIO(text))
    for row in rows:
        for cell in row:
            assert cell.isprintable()
            if cell[:1] in "=+-@\t\r":
                assert cell == "" or float(cell) <= 0, cell
    cells = {name: [row[i] for row in rows] for i, name in enumerate(header)}
    texts = [json.loads(cell) for cell in cells["text"]]
    again = [one.encode("utf-8", "surrogateescape") for one in texts]
    assert again == [strange.pieces[i] for i in range(5)]
    assert cells["score"] == ["missing", "finite", "impossible", "nan", "finite"]
    assert cells["step"] == ["12"] * 5
    assert cells["reward"] == ["-0.5"] * 5
    assert cells["weight_version"] == ["", "", '"=7"', '"=7"', "8"]
    expected = ["", "-0.5", "", ""]
    assert cells["logprob"][:4] == expected
    assert cells["top_logprobs"][1] == '[-0.5,"-Infinity"]'
    assert cells["top_ids"][:2] == ["", "[1,2]"]


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl"])
def test_a_session_of_others_may_have_wider_numbers(
    ending: str, strange: Session
) -> None:
    """float64 and int64 are read as well (core/session/parts.py)."""
    before = exported(strange, "before.csv").read_bytes()
    manifest = json.loads((strange.folder / "session.json").read_bytes())
    (info,) = manifest["captures"]
    (part,) = info["parts"]
    tensors = {}
    for name, values in read_tensors(strange.folder / part["file"]).items():
        wider = {"f": np.float64, "i": np.int64}.get(values.dtype.kind, values.dtype)
        tensors[name] = values.astype(wider)
    own = write_part(strange.folder, part["file"], tensors, 0, 1, 5)
    part["digest"] = own.digest
    (strange.folder / "session.json").write_text(json.dumps(manifest))
    out = exported(strange, f"rows.{ending}")
    if ending == "parquet":
        table = pyarrow.parquet.read_table(out)
        assert table.schema.field("logprob").type == pyarrow.float32()
        expected = [None, 1, None, 2, 3]
        assert table["rank"].to_pylist() == expected
    elif ending == "csv":
        assert out.read_bytes() == before
    else:
        again = strange.folder.parent / "again"
        import_session("jsonl", [str(out)], again)
        same_bits_of_numbers(open_session(again), open_session(strange.folder))


@given(st.text())
@example("=1")
@example("'=1")
@example('"x')
def test_any_text_makes_a_safe_cell_that_can_be_undone(text: str) -> None:
    assert json.loads(quoted(text)) == text
    cell = safe_cell(text)
    assert cell.isprintable()
    assert cell[:1] not in [*"=+-@\t\r'"]
    assert (json.loads(cell) if cell.startswith('"') else cell) == text


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_pair_has_its_delta_and_a_threshold_keeps_its_tokens(
    ending: str, tmp_path: Path
) -> None:
    import pandas

    out = tmp_path / f"rows.{ending}"
    flags = ["--pair", "trainer:vllm", "--scope", "completion", "--threshold", "0.2"]
    assert main(["export", str(SAMPLE), *flags, "-o", str(out)]) == 0
    rows = pandas.read_parquet(out) if ending == "parquet" else pandas.read_csv(out)
    sample = open_session(SAMPLE)
    from logdrift.core.compare.pair import make_pair

    pair = make_pair(sample, "trainer", "vllm")
    beyond = pair.scope_mask("completion") & (np.abs(pair.delta) >= 0.2)
    assert len(rows) == 2 * beyond.sum() > 0
    wide = rows.pivot(
        index=["sequence", "position"], columns="capture", values="logprob"
    )
    delta = wide["trainer/prefill"] - wide["vllm/decode"]
    kept = rows[rows["capture"] == "vllm/decode"]["delta"].to_numpy()
    assert kept.astype(np.float32).tobytes() == pair.delta[beyond].tobytes()
    assert np.allclose(delta, kept, atol=1e-6)  # 9 digits of numbers below 20


# ---- the command


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "--to"),
        (["--to", "jsonl", "--scope", "prompt"], "whole sequences"),
        (["--to", "csv", "--threshold", "1"], "--pair"),
        (["--to", "csv", "--pair", "trainer:vllm", "--capture", "trainer"], "both"),
        (["--to", "csv", "--capture", "nobody"], "nobody"),
        (["--to", "html", "--capture", "trainer"], "choose rows"),
        (["--to", "csv", "-o", f"{SAMPLE}/rows.csv"], "session folder"),
    ],
)
def test_what_cannot_be_exported_is_one_line(
    flags: list[str], said: str, run_logdrift: Run
) -> None:
    run = run_logdrift("export", str(SAMPLE), *flags)
    assert run.returncode == 2
    assert run.stdout == ""
    assert said in run.stderr
    assert run.stderr.count("\n") == 1


def test_without_pyarrow_one_line_says_what_to_install(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from logdrift.cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    out = tmp_path / "rows.parquet"
    command = [sys.executable, "-c", program, "export", str(SAMPLE), "-o", str(out)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert run.returncode == 2
    assert "pip install 'logdrift[parquet]'" in run.stderr
    assert list(tmp_path.iterdir()) == []


def test_html_is_the_report(tmp_path: Path, run_logdrift: Run) -> None:
    out = tmp_path / "report.html"
    assert run_logdrift("export", str(SAMPLE), "-o", str(out)).returncode == 0
    report = run_logdrift("report", str(SAMPLE), "--html").stdout
    assert out.read_text("utf-8") == report


def test_stdout_takes_rows_and_lines(run_logdrift: Run) -> None:
    rows = run_logdrift("export", str(SAMPLE), "--to", "csv", "--capture", "reference")
    assert rows.stdout.count("\n") == open_session(SAMPLE).sequences.tokens + 1
    lines = run_logdrift("export", str(SAMPLE), "--to", "jsonl", "-o", "-")
    assert lines.stdout.count("\n") == len(open_session(SAMPLE).sequences)


WRITTEN = {
    "csv": "21,664 rows, one a token, of 8 captures; docs/export.md has the columns",
    "jsonl": "24 lines, one a sequence, of 8 captures; next: logdrift import jsonl",
    "html": "the report as a page",
}


@pytest.mark.parametrize("form", WRITTEN)
def test_an_export_says_what_it_wrote(
    tmp_path: Path, run_logdrift: Run, form: str
) -> None:
    out = tmp_path / f"out.{form}"
    done = run_logdrift("export", str(SAMPLE), "-o", str(out))
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{out}: {WRITTEN[form]}")


def test_a_killed_export_leaves_the_old_file(tmp_path: Path) -> None:
    """The half file that it leaves goes with the next export."""
    out = tmp_path / "rows.csv"
    out.write_text("old")
    program = (
        "import os, signal, sys\n"
        "from logdrift.core.export import csv_rows\n"
        "from logdrift.cli.main import main\n"
        "def kill(*args):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "csv_rows.chosen = kill\n"
        "main(sys.argv[1:])"
    )
    command = [sys.executable, "-c", program, "export", str(SAMPLE), "-o", str(out)]
    run = subprocess.run(command, timeout=60, env=os.environ)
    assert run.returncode == -signal.SIGKILL
    assert out.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2
    assert main(["export", str(SAMPLE), "-o", str(out)]) == 0
    found = [path.name for path in tmp_path.iterdir()]
    assert found == ["rows.csv"]
    assert out.read_text().startswith("sequence,position,step")
