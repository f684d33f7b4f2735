"""The recipe of a new importer: one module and one line in the table, and its format is
guessed, listed in the help and on the screen, read, and its errors name file and line.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from logdrift.cli.main import main
from logdrift.core.errors import InputError
from logdrift.core.session.importers import formats, guess_format, import_session
from logdrift.core.session.reader import open_session
from tests.common import REPOSITORY
from tests.toy_importer import LINE


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one line."""
    monkeypatch.setattr(formats, "FORMATS", (*formats.FORMATS, LINE))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "dump.pairs"
    path.write_text("5:-1.5 7:-0.25\n6:-2\n")
    return path


def test_it_is_guessed_and_read(file: Path, tmp_path: Path) -> None:
    assert guess_format(file) == "pairs"
    import_session("pairs", [str(file)], tmp_path / "out")
    session = open_session(tmp_path / "out")
    expected = [5, 7, 6]
    assert session.sequences.token_ids.tolist() == expected
    logprob = session.capture("toy/decode").logprob.whole()
    assert logprob.tolist() == [-1.5, -0.25, -2.0]


def test_the_command_lists_it_and_imports_it(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["import", "--help"])
    words = " ".join(capsys.readouterr().out.split())
    assert "pairs: lines of id:logprob pairs" in words
    assert main(["import", "pairs", str(file), "--out", str(tmp_path / "out")]) == 0
    assert "2 sequences, 3 tokens, toy/decode" in capsys.readouterr().out


def test_the_screen_names_it() -> None:
    assert formats.kinds_in_words().endswith(" or pair files")


def test_an_error_carries_file_line_reason_and_remedy(
    file: Path, tmp_path: Path
) -> None:
    file.write_text("5:-1.5\n7\n")
    with pytest.raises(InputError) as caught:
        import_session("pairs", [str(file)], tmp_path / "out")
    error = caught.value
    assert error.file == str(file)
    assert error.line == 2
    assert error.reason == "7 has no log-probability"
    assert error.remedy == "write id:value"
    assert str(error) == f"{file} line 2: 7 has no log-probability: write id:value"


@pytest.mark.parametrize("line", formats.FORMATS, ids=lambda one: one.name)
def test_the_docs_say_what_the_table_says(line: formats.Format) -> None:
    page = (REPOSITORY / "docs" / "import.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| `{re.escape(line.name)}` \| (.*) \|$", page, re.MULTILINE)
    assert row is not None
    assert row[1].startswith(line.reads)


def test_errors_of_every_format_carry_their_line(tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    good = '{"token_ids": [1], "captures": {"a": [-1]}}\n'
    bad.write_text(good + '{"token_ids": [], "captures": {"a": []}}\n')
    with pytest.raises(InputError) as caught:
        import_session("jsonl", [str(bad)], tmp_path / "out")
    assert caught.value.file == str(bad)
    assert caught.value.line == 2
    bad.write_text('{"schema_version": 1}\n{"schema_version": 7}\n')
    with pytest.raises(InputError) as caught:
        import_session("prime-rl", [str(bad)], tmp_path / "out")
    assert caught.value.file == str(bad)
    assert caught.value.line == 1
    answer = '{"choices": [{"logprobs": null}]}\n'
    bad.write_text(answer * 2)
    with pytest.raises(InputError) as caught:
        import_session("openai", [str(bad)], tmp_path / "out")
    assert caught.value.file == str(bad)
    assert caught.value.line == 1
