"""`logdrift import FILE`: the format is seen from the file and said; `--skip-bad` leaves
out what cannot be imported, and says what and how much.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from logdrift.cli.main import main
from logdrift.core.errors import InputError
from logdrift.core.session.importers import guess_formats, import_session
from logdrift.core.session.reader import open_session

Line = dict[str, Any]
GOOD: Line = {"token_ids": [5, 6], "captures": {"a": [-1.0, -2.0]}}
BAD: dict[str, str] = {
    "torn": '{"token_ids": [5, 6], "captu',
    "no ids": json.dumps({"captures": {"a": [-1.0]}}),
    "above zero": json.dumps({"token_ids": [5], "captures": {"a": [0.5]}}),
    "too short": json.dumps({"token_ids": [5, 6], "captures": {"a": [-1.0]}}),
    "another capture": json.dumps({"token_ids": [5], "captures": {"b": [-1.0]}}),
    "no object": "[1, 2]",
    "an unknown key": json.dumps({**GOOD, "tokns": ["a", "b"]}),
}
EXPORT = {
    "schema_version": 1,
    "token_ids": [5, 6],
    "loss_mask": [False, True],
    "inference_logprobs": [0.0, -1.0],
    "trainer_logprobs": [0.0, -1.5],
}
ANSWER = {
    "choices": [
        {
            "index": 0,
            "prompt_token_ids": [7],
            "token_ids": [5],
            "logprobs": {"tokens": ["token_id:5"], "token_logprobs": [-1.0]},
        }
    ]
}


def written(path: Path, *lines: Line | str) -> Path:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts) + "\n")
    return path


def shown(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """stdout and stderr, unwrapped."""
    captured = capsys.readouterr()
    return " ".join(captured.out.split()), " ".join(captured.err.split())


@pytest.mark.parametrize(
    ("line", "format_name"),
    [(GOOD, "jsonl"), (EXPORT, "prime-rl"), (ANSWER, "openai")],
)
def test_the_format_is_seen_and_said(
    line: Line, format_name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path / "dump.jsonl", line)
    out = tmp_path / "out"
    assert main(["import", str(file), "--out", str(out)]) == 0
    said, noted = shown(capsys)
    assert f"format: {format_name}, seen from the file" in noted
    assert "1 sequence, 2 tokens" in said
    open_session(out)


def test_a_format_that_is_given_is_taken_and_not_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path / "dump.jsonl", GOOD)
    assert main(["import", "jsonl", str(file), "--out", str(tmp_path / "out")]) == 0
    assert "format:" not in shown(capsys)[1]


def test_the_word_in_front_of_files_is_the_format_whatever_files_are_there(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "jsonl", GOOD, GOOD)
    written(tmp_path / "dump", GOOD)
    assert main(["import", "jsonl", "dump", "--out", "one"]) == 0
    assert "1 sequence," in shown(capsys)[0]
    assert main(["import", "./jsonl", "dump", "--out", "both"]) == 0
    assert "3 sequences," in shown(capsys)[0]
    assert main(["import", "jsonl", "--out", "file"]) == 0
    assert "2 sequences," in shown(capsys)[0]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["jsonl"], "jsonl: no such file or folder: give a file behind the format"),
        (["jsnol", "x"], "jsnol: no such file or folder: did you mean the format"),
        (["a=missing.jsonl"], "missing.jsonl: no such file or folder"),
    ],
)
def test_words_that_are_no_files_are_refused(
    words: list[str],
    wanted: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["import", *words, "--out", "out"]) == 2
    assert wanted in shown(capsys)[1]
    assert list(tmp_path.iterdir()) == []


def test_files_of_two_formats_are_refused(tmp_path: Path) -> None:
    lines = written(tmp_path / "a.jsonl", GOOD)
    exports = written(tmp_path / "b.jsonl", EXPORT)
    with pytest.raises(InputError, match=r"b.jsonl: looks like prime-rl, .*a.jsonl"):
        guess_formats([str(lines), str(exports)])
    answers = written(tmp_path / "c.jsonl", ANSWER)
    assert guess_formats([f"x={answers}", f"y/prefill={answers}"]) == "openai"


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_bad_line_is_left_out_and_told(
    bad: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path / "dump.jsonl", GOOD, bad, GOOD, GOOD)
    out = tmp_path / "out"
    assert main(["import", "jsonl", str(file), "--out", str(out)]) == 2
    assert f"{file} line 2" in shown(capsys)[1]
    assert not out.exists()
    assert main(["import", str(file), "--out", str(out), "--skip-bad"]) == 0
    said, noted = shown(capsys)
    assert "3 sequences" in said
    assert f"note: left out 1 bad line: {file} line 2" in noted
    assert len(open_session(out).manifest.notes) == 1


@pytest.mark.parametrize("bad", [BAD["torn"], "[1, 2]", "5", "null"])
@pytest.mark.parametrize(
    ("line", "format_name"),
    [(GOOD, "jsonl"), (EXPORT, "prime-rl"), (ANSWER, "openai")],
)
def test_the_format_is_seen_behind_bad_lines_that_are_left_out(
    bad: str,
    line: Line,
    format_name: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = written(tmp_path / "dump.jsonl", bad, bad, line)
    out = tmp_path / "out"
    assert main(["import", str(file), "--out", str(out)]) == 2
    capsys.readouterr()
    assert main(["import", str(file), "--out", str(out), "--skip-bad"]) == 0
    said, noted = shown(capsys)
    assert f"format: {format_name}, seen from the file" in noted
    assert "1 sequence" in said and "note: left out" in noted


FAILED_REQUEST: Line = {
    "custom_id": "x",
    "response": {"status_code": 400, "body": {"error": {"message": "too long"}}},
}


@pytest.mark.parametrize("failed", [{"error": {"message": "x"}}, FAILED_REQUEST])
def test_the_format_of_answers_is_seen_behind_requests_that_failed(
    failed: Line, tmp_path: Path
) -> None:
    file = written(tmp_path / "dump.jsonl", failed, failed, ANSWER)
    assert guess_formats([str(file)]) == "openai"
    with pytest.raises(InputError, match="is none of"):
        guess_formats([str(written(tmp_path / "bad.jsonl", failed, failed))])


def test_the_first_bad_lines_are_named_and_the_others_counted(tmp_path: Path) -> None:
    lines = [GOOD, *list(BAD.values()), GOOD]
    file = written(tmp_path / "dump.jsonl", *lines)
    (note,) = import_session("jsonl", [str(file)], tmp_path / "out", skip_bad=True)
    assert note.startswith(f"left out {len(BAD)} bad lines: {file} line 2: ")
    assert f"; and {len(BAD) - 3} more" in note
    assert note.count(str(file)) == 3


def test_what_a_bad_line_tells_of_a_capture_is_forgotten(tmp_path: Path) -> None:
    told = {"token_ids": [5], "captures": {"a": {"logprobs": [7], "dtype": "float16"}}}
    said = {"token_ids": [5], "captures": {"a": {"logprobs": [-1], "dtype": "float32"}}}
    file = written(tmp_path / "dump.jsonl", told, said)
    import_session("jsonl", [str(file)], tmp_path / "out", skip_bad=True)
    (info,) = open_session(tmp_path / "out").captures
    assert info.dtype == "float32"


@pytest.mark.parametrize("format_name", ["jsonl", "prime-rl", "openai"])
def test_a_file_of_bad_lines_alone_is_refused_for_its_first(
    format_name: str, tmp_path: Path
) -> None:
    file = written(tmp_path / "dump.jsonl", {"a": 1}, {"b": 2})
    with pytest.raises(InputError) as caught:
        import_session(format_name, [str(file)], tmp_path / "out", skip_bad=True)
    assert (caught.value.file, caught.value.line) == (str(file), 1)
    assert not (tmp_path / "out").exists()


def test_answers_without_a_partner_are_left_out(tmp_path: Path) -> None:
    def answer(token_id: int, logprob: float) -> Line:
        text = {"tokens": [f"token_id:{token_id}"], "token_logprobs": [logprob]}
        choice = {"index": 0, "prompt_token_ids": [7], "token_ids": [token_id]}
        return {"choices": [{**choice, "logprobs": text}]}

    one = written(tmp_path / "one.jsonl", answer(1, -1), "{", answer(3, -3))
    two = written(
        tmp_path / "two.jsonl",
        *(answer(token_id, -token_id) for token_id in (3, 1, 2)),
    )
    notes = import_session(
        "openai", [str(one), str(two)], tmp_path / "out", skip_bad=True
    )
    session = open_session(tmp_path / "out")
    assert session.sequences.token_ids.tolist() == [7, 1, 7, 3]
    for label in ("one/recorded", "two/recorded"):
        assert session.capture(label).logprob.whole().tolist()[1::2] == [-1.0, -3.0]
    assert any("1 answer of two.jsonl has ids that no answer" in note for note in notes)
    assert any(f"left out 1 bad line: {one} line 2" in note for note in notes)


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ('{"foo": [1], "bar": 2}', "begins with an object that has foo, bar"),
        ("hello", "begins with no JSON object"),
        ("", "begins with no JSON object"),
    ],
)
def test_a_file_of_no_format_is_told_what_it_begins_with(
    text: str, begins: str, tmp_path: Path
) -> None:
    path = tmp_path / "odd.json"
    path.write_text(text)
    with pytest.raises(InputError, match=begins):
        guess_formats([str(path)])
