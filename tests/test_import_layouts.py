"""Every layout that is imported, with several samples of a prompt and compressed: the
numbers are those of the same samples written one by one, and plain.
"""

from __future__ import annotations

import gzip
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard

from logdrift.core.session.importers import guess_format, import_session
from logdrift.core.session.reader import Session, open_session
from tests import made_recordings as made
from tests.common import refused
from tests.made_layouts import (
    GROUPS,
    LAYOUTS,
    PROMPT,
    SAMPLES,
    SINGLES,
    chat,
    scored,
)
from tests.made_recordings import Drawn


def gzipped(data: bytes) -> bytes:
    """Two members, as `cat` of two files gives, filled up with zeros."""
    half = len(data) // 2
    return gzip.compress(data[:half]) + gzip.compress(data[half:]) + b"\0" * 512


def unseen(path: Path) -> None:
    """Compressed under the name of a plain file."""
    path.write_bytes(gzipped(path.read_bytes()))


def packed(path: Path, compress: Callable[[bytes], bytes], ending: str) -> None:
    stored = path.with_name(path.name + ending)
    stored.write_bytes(compress(path.read_bytes()))
    path.unlink()


PACKINGS: dict[str, Callable[[Path], None]] = {
    "gz": lambda path: packed(path, gzipped, ".gz"),
    "zst": lambda path: packed(path, zstandard.compress, ".zst"),
    "unseen": unseen,
}


def imported(source: Path, format_name: str, out: Path) -> Session:
    assert guess_format(source) == format_name
    import_session(format_name, [str(source)], out)
    return open_session(out)


def content(session: Session) -> dict[str, Any]:
    """All that a session holds of its sequences and its numbers."""
    sequences = session.sequences
    found: dict[str, Any] = {
        "ids": sequences.token_ids,
        "offsets": sequences.offsets,
        "prompts": sequences.prompt_lengths,
        "mask": sequences.mask,
        "rewards": sequences.rewards,
    }
    for number, info in enumerate(session.captures):
        capture = session.capture(info.label)
        for name in ("logprob", "entropy", "rank", "top_ids", "top_logprobs"):
            column = getattr(capture, name)
            if column is not None:
                found[f"{number} {name}"] = column.whole()
    return found


def same(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


def holds_samples(session: Session) -> None:
    """Each completion is there, in order, with its numbers at its tokens."""
    sequences = session.sequences
    bounds = itertools.pairwise(sequences.offsets.tolist())
    for info in session.captures:
        numbers = session.capture(info.label).logprob.whole()
        for one, (_, end) in zip(SAMPLES, bounds, strict=True):
            begin = end - len(one.new)
            assert sequences.token_ids[begin:end].tolist() == one.new
            wanted = np.asarray(one.logprobs[PROMPT:], np.float32)
            np.testing.assert_array_equal(numbers[begin:end], wanted)
        bounds = itertools.pairwise(sequences.offsets.tolist())


@pytest.mark.parametrize("name", LAYOUTS)
def test_samples_of_one_prompt_are_those_that_are_written_one_by_one(
    name: str, tmp_path: Path
) -> None:
    layout = LAYOUTS[name]
    several, single = tmp_path / "several", tmp_path / "single"
    several.mkdir()
    single.mkdir()
    found = imported(layout.write(several, GROUPS), layout.format_name, several / "out")
    holds_samples(found)
    alone = imported(layout.write(single, SINGLES), layout.format_name, single / "out")
    same(content(found), content(alone))


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_compressed_file_is_what_is_in_it(
    name: str, packing: str, tmp_path: Path
) -> None:
    layout = LAYOUTS[name]
    folder = tmp_path / "files"
    folder.mkdir()
    source = layout.write(folder, GROUPS)
    plain = imported(source, layout.format_name, tmp_path / "plain")
    for path in [*folder.rglob("*")]:
        if path.is_file():
            PACKINGS[packing](path)
    if not source.exists():
        (source,) = folder.iterdir()
    found = imported(source, layout.format_name, tmp_path / "packed")
    same(content(found), content(plain))
    labels = [info.label for info in found.captures]
    assert labels == [info.label for info in plain.captures]


@pytest.mark.parametrize("packing", ["gz", "zst"])
def test_of_a_file_and_its_compressed_copy_the_plain_one_is_read(
    packing: str, tmp_path: Path
) -> None:
    for name in ("prime-rl-ranks", "prime-rl-traces", "prime-rl-early", "megatron"):
        layout = LAYOUTS[name]
        folder = tmp_path / name
        folder.mkdir()
        layout.write(folder, GROUPS)
        plain = imported(folder, layout.format_name, tmp_path / f"{name}-plain")
        for path in [*folder.rglob("*")]:
            if path.is_file():
                path.with_name(f"{path.name}.{packing}").write_bytes(b"no frame")
        found = imported(folder, layout.format_name, tmp_path / f"{name}-both")
        same(content(found), content(plain))


def test_samples_are_joined_with_their_scores_in_another_order(tmp_path: Path) -> None:
    """Equal samples too: each score is used once."""
    chats = made.lines(tmp_path / "a.jsonl", map(chat, GROUPS))
    others = [
        Drawn(
            one.ids,
            one.prompt,
            [None, *(v - 1.0 for v in one.logprobs[1:] if v is not None)],
            one.tops,
            one.ranks,
        )
        for one in SAMPLES
    ]
    scores = made.lines(tmp_path / "b.jsonl", [scored(others[::-1])])
    import_session("openai", [str(chats), str(scores)], tmp_path / "out")
    session = open_session(tmp_path / "out")
    holds = session.capture("b/recorded").logprob.whole()
    bounds = itertools.pairwise(session.sequences.offsets.tolist())
    for one, (begin, end) in zip(others, bounds, strict=True):
        assert session.sequences.token_ids[begin:end].tolist() == one.ids
        wanted = np.asarray(one.logprobs[1:], np.float32)
        np.testing.assert_array_equal(holds[begin + 1 : end], wanted)


@pytest.mark.parametrize("packing", ["gz", "zst"])
def test_zeros_without_end_behind_a_compressed_file_are_refused(
    tmp_path: Path, packing: str
) -> None:
    """A file that takes no space of a disk may say that it has gigabytes."""
    path = made.lines(tmp_path / "a.jsonl", [made.chat(made.draw(1))])
    PACKINGS[packing](path)
    stored = path.with_name(f"{path.name}.{packing}")
    os.truncate(stored, 8 << 30)
    with refused("it goes on with zeros"):
        import_session("openai", [str(stored)], tmp_path / "out")
    assert not (tmp_path / "out").exists()
