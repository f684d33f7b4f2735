"""What others may do on a shared machine, or with a file that they send, besides
sessions: names in a folder for all, compressed lines, the code of a model.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from logdrift.core.capture.prompts import read_prompts
from logdrift.core.report.output import replaced_file, write_output
from logdrift.core.session.importers import compressed, import_session
from logdrift.tui.models.state import ViewState, save_state
from tests import made_recordings
from tests.common import Run, refused
from tests.made_sessions import capture, write_session

# ---- a folder in which everybody may write


def plant(folder: Path, pattern: str, target: Path) -> None:
    """A link for every name that a process of ours might have thought of."""
    for pid in range(os.getpid(), os.getpid() + 3):
        (folder / pattern.format(pid)).symlink_to(target)


def test_a_report_is_not_written_through_a_link_of_a_guessed_name(
    tmp_path: Path,
) -> None:
    target = tmp_path / "precious"
    target.write_text("mine")
    shared = tmp_path / "shared"
    shared.mkdir()
    plant(shared, ".report.html.{}.tmp", target)
    write_output(shared / "report.html", "numbers")
    assert target.read_text() == "mine"
    assert (shared / "report.html").read_text() == "numbers"


def test_nobody_can_know_the_name_before_it_is_there(tmp_path: Path) -> None:
    names = set()
    for _ in range(3):
        with replaced_file(tmp_path / "a") as file:
            (half,) = tmp_path.glob(".a.*")
            names.add(half.name)
            file.write(b"x")
    assert len(names) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.fixture
def private() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


def test_files_are_for_whom_the_umask_says(
    tmp_path: Path, private: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    write_session(tmp_path / "s", [1], [capture("vllm/decode", [[-1.0, -2.0]])])
    save_state("made", ViewState())
    write_output(tmp_path / "report.md", "numbers")
    for path in tmp_path.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode & 0o077 == 0, path


# ---- files that are larger than they look

LINE = json.dumps({"token_ids": [5, 6], "captures": {"a": [-1.0, -2.0]}}).encode()


CHAT = json.dumps(made_recordings.chat(made_recordings.draw(1))).encode()
ENDLESS: dict[str, tuple[str, bytes, bytes]] = {
    "line": ("jsonl", LINE + b"\n", b"1"),
    "first-line": ("openai", b'{"choices": ', b"1"),
    "element": ("openai", b'[\n{"choices": [\n', b"1,\n\n"),
    "object": ("openai", b'{"choices": [\n', b"1,\n\n"),
    "behind-a-list": ("openai", b'{"data": [' + CHAT + b'], "usage": [', b"1,\n\n"),
}


@pytest.mark.parametrize("form", ENDLESS)
@pytest.mark.parametrize("packing", ["gzip", "zstd"])
def test_a_compressed_file_that_unpacks_to_one_endless_value_is_refused(
    form: str, packing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few kilobytes that would fill the memory."""
    monkeypatch.setattr(compressed, "LONGEST_LINE", 8 << 20)
    format_name, begin, endless = ENDLESS[form]
    path = tmp_path / "dump"
    compressor: Any = zstandard.ZstdCompressor().compressobj()
    if packing == "gzip":
        compressor = zlib.compressobj(wbits=31)
    with open(path, "wb") as file:
        file.write(compressor.compress(begin))
        for _ in range(12):
            file.write(compressor.compress(endless * ((1 << 20) // len(endless))))
        file.write(compressor.flush())
    assert path.stat().st_size < 1 << 16
    with refused("unpacks to a line or value of more than"):
        import_session(format_name, [str(path)], tmp_path / "out")
    assert [entry.name for entry in tmp_path.iterdir()] == ["dump"]


@pytest.mark.parametrize("end", [b"\n", b""])
def test_gigabytes_of_nothing_behind_the_text_are_refused_at_once(
    tmp_path: Path, end: bytes
) -> None:
    lines = tmp_path / "dump.jsonl"
    lines.write_bytes(LINE + end)
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_bytes(b'{"prompt": "a"}' + end)
    for path in (lines, prompts):
        os.truncate(path, 1 << 36)
    with refused("holds NUL bytes"):
        import_session("jsonl", [str(lines)], tmp_path / "out")
    with refused("holds NUL bytes"):
        read_prompts(str(prompts))


def test_prompts_that_cannot_be_read_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.symlink_to("/proc/self/mem")
    with refused("cannot be read"):
        read_prompts(str(path))


def test_lists_in_lists_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "answers.json"
    path.write_text("[" * 900 + "1" + "]" * 900)
    with refused("is a list in more than"):
        import_session("openai", [str(path)], tmp_path / "out")


# ---- a model

CODE = """\
from pathlib import Path
Path({witness!r}).write_text("it ran")
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast
class Config(PretrainedConfig):
    model_type = "strange"
class Model(PreTrainedModel):
    config_class = Config
class Tokenizer(PreTrainedTokenizerFast):
    pass
"""


@pytest.fixture
def strange_model(tmp_path: Path, small_model: Path) -> Path:
    """A model that comes with code: for its config, itself and its tokenizer."""
    folder = tmp_path / "model"
    weights = shutil.ignore_patterns("*.safetensors")
    shutil.copytree(small_model, folder, ignore=weights)
    for file in small_model.glob("*.safetensors"):
        (folder / file.name).symlink_to(file)
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "strange"
    config["auto_map"] = {
        "AutoConfig": "code.Config",
        "AutoModelForCausalLM": "code.Model",
    }
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    tokenizer["tokenizer_class"] = "Tokenizer"
    tokenizer["auto_map"] = {"AutoTokenizer": ["code.Tokenizer", "code.Tokenizer"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    code = CODE.format(witness=str(tmp_path / "witness"))
    (folder / "code.py").write_text(code)
    return folder


@pytest.mark.engine
def test_the_code_of_a_model_is_not_run_unless_it_is_trusted(
    strange_model: Path, tmp_path: Path, run_logdrift: Run
) -> None:
    asked = ("capture", "--model", str(strange_model), "--text", "one two three")
    done = run_logdrift(
        *asked, "--backend", "transformers", "--out", str(tmp_path / "out")
    )
    assert done.returncode != 0
    assert "custom code" in done.stderr
    assert not (tmp_path / "witness").exists()
