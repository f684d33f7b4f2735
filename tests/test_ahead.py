"""Parts that stand ahead of a gap are finished parts, whoever asks."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from benchmarks.make_session import make_session
from logdrift.core.capture.into import _is_empty
from logdrift.core.capture.same_facts import changed_facts
from logdrift.core.facts import Facts
from logdrift.core.session.layout import CaptureInfo, Part, read_manifest
from logdrift.core.session.progress import _finished, _finished_since
from logdrift.core.session.reader import open_session

AHEAD = Part(
    file="captures/a/prefill/part-00001.safetensors",
    first_sequence=4,
    sequences=4,
    tokens=40,
)
"""The second part, where the first one is missing."""


def capture(**given: object) -> CaptureInfo:
    values = {
        "label": "a/prefill",
        "backend": "a",
        "engine": "vllm",
        "dtype": "float32",
    }
    return CaptureInfo(**{**values, "path": "prefill", **given})  # type: ignore[arg-type]


@pytest.mark.parametrize("where", ["parts", "ahead"])
def test_a_resume_with_other_facts_is_noticed(where: str) -> None:
    before = Facts(engine_version="1", dtype="float32")
    now = Facts(engine_version="2", dtype="float32")
    info = capture(facts=before, **{where: (AHEAD,)})
    assert changed_facts(info, before) == []
    assert changed_facts(info, now) == ["engine_version was 1, is 2"]
    assert changed_facts(capture(facts=before), now) == []


@pytest.fixture
def gap(tmp_path: Path) -> Path:
    """A session whose captures lack their first part and have the second."""
    folder = make_session(tmp_path / "gap", 2_000, 300, 5, captures=2)
    manifest = folder / "session.json"
    data = json.loads(manifest.read_text())
    for info in data["captures"]:
        first, *rest = info["parts"]
        assert rest
        (folder / first["file"]).unlink()
        info.update(parts=[], ahead=rest, status="pending")
    manifest.write_text(json.dumps(data))
    return folder


def test_what_is_ahead_is_not_nothing(gap: Path) -> None:
    manifest = read_manifest(gap)
    for info in manifest.captures:
        assert info.sequences == 0
        assert info.finished_sequences == sum(part.sequences for part in info.ahead)
        assert info.finished_tokens > 0
        assert not _is_empty(manifest, info.backend)
    emptied = [info._replace(ahead=()) for info in manifest.captures]
    without = manifest._replace(captures=tuple(emptied))
    assert all(_is_empty(without, info.backend) for info in emptied)


def test_progress_counts_what_is_ahead(gap: Path) -> None:
    session = open_session(gap)
    there = sum(info.finished_sequences for info in session.captures)
    assert _finished(session) == there > 0
    assert _finished_since(session, time.time() - 60) == there
