"""Sequences whose ids their own text does not give: counted, kept with the session, and
shown by gate, diagnosis, report and explorer; checked at import with a real tokenizer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logdrift.cli.main import main
from logdrift.core.compare.gate import judge
from logdrift.core.compare.pair import make_pair
from logdrift.core.diagnose import diagnose
from logdrift.core.diagnose.evidence import LIKELY
from logdrift.core.session.layout import SequencesInfo, read_manifest
from logdrift.core.session.reader import Session, open_session
from logdrift.core.session.retokenised import (
    MOST_PLACES,
    Retokenised,
    RetokenisedPlace,
    different,
    in_words,
    with_rows,
)
from logdrift.tui.glyphs import UNLIKE
from tests.common import refused
from tests.made_sessions import capture, write_session
from tests.tui_screen import MEDIUM, judged, make_app, text

ROWS = st.one_of(
    st.none(),
    st.just([]),
    st.tuples(
        st.sampled_from(["special", "prompt", "completion"]), st.integers(0, 99)
    ).map(list),
)
PAIR = ("trainer/prefill", "rollout/recorded")


# ---- counting


@given(st.lists(st.lists(ROWS, max_size=8), max_size=5))
def test_parts_add_up_to_the_whole(parts: list[list[Any]]) -> None:
    known: Retokenised | None = None
    first = 0
    for rows in parts:
        known = with_rows(known, first, rows)
        first += len(rows)
    joined = [row for rows in parts for row in rows]
    assert known == with_rows(None, 0, joined)
    asked = [row for row in joined if row is not None]
    if not asked:
        assert known is None
        return
    assert known is not None
    assert known.checked == len(asked)
    places = [
        RetokenisedPlace(sequence, row[1], row[0])
        for sequence, row in enumerate(joined)
        if row
    ]
    assert known.places == tuple(places)
    assert different(known) == len(places)
    for kind in ("special", "prompt", "completion"):
        count = sum(place.kind == kind for place in places)
        assert getattr(known, kind) == count


def test_no_more_places_are_listed_than_the_manifest_bears() -> None:
    known = with_rows(None, 0, [["completion", 3]] * (MOST_PLACES + 5))
    assert known is not None
    assert known.completion == MOST_PLACES + 5
    assert len(known.places) == MOST_PLACES


def test_it_is_said_in_plain_words() -> None:
    assert in_words(Retokenised(checked=3)).startswith("3 sequences checked: the ids")
    one = with_rows(None, 0, [["prompt", 2], [], []])
    assert one is not None
    assert in_words(one) == (
        "1 of 3 sequences has other ids than its own text gives: 1 in the prompt"
    )


# ---- a session


def made(
    folder: Path, rows: Sequence[Any], *, off: float = 0.0, recorded: bool = True
) -> Session:
    """Twelve sequences; where a row says that ids are other ones, Δ is ``off`` there."""
    rng = np.random.default_rng(5)
    trainer = []
    rollout = []
    for row in rows:
        values = -rng.exponential(1.0, 60)
        other = np.minimum(0, values + rng.normal(0, 0.02, 60))
        if row:
            other[row[1] : row[1] + 2] -= off
        trainer.append(np.array([np.nan, *values[1:]]))
        rollout.append(np.array([np.nan, *other[1:]]))
    path = "recorded" if recorded else "prefill"
    session = write_session(
        folder,
        [10] * len(rows),
        [capture("trainer/prefill", trainer), capture(f"rollout/{path}", rollout)],
    )
    manifest = json.loads((folder / "session.json").read_text())
    known = with_rows(None, 0, rows)
    assert known is not None
    manifest["sequences"]["retokenised"] = {
        "checked": known.checked,
        "special": known.special,
        "prompt": known.prompt,
        "completion": known.completion,
        "places": [
            {"sequence": place.sequence, "index": place.index, "kind": place.kind}
            for place in known.places
        ],
    }
    if recorded:
        # As in an import: nothing says which ids were sent.
        for info in manifest["captures"]:
            for part in info["parts"]:
                part["ids_digest"] = None
    (folder / "session.json").write_text(json.dumps(manifest))
    return open_session(session.folder)


FOUND: list[Any] = [["prompt", 4], ["completion", 20], ["special", 30], *[[]] * 9]
SAMPLED: list[Any] = [["completion", 20 + number] for number in range(6)] + [[]] * 6


def test_the_manifest_keeps_it(tmp_path: Path) -> None:
    session = made(tmp_path / "s", FOUND)
    assert session.manifest.sequences.retokenised == with_rows(None, 0, FOUND)
    again = type(session.manifest).from_json(session.manifest.to_json())
    assert again == session.manifest
    assert SequencesInfo().retokenised is None  # sessions older than it


def test_a_kind_that_no_version_knows_is_damage(tmp_path: Path) -> None:
    made(tmp_path / "s", FOUND)
    file = tmp_path / "s" / "session.json"
    data = json.loads(file.read_text())
    data["sequences"]["retokenised"]["places"][0]["kind"] = "somewhere"
    file.write_text(json.dumps(data))
    with refused("kind is 'somewhere'"):
        read_manifest(tmp_path / "s")


@pytest.mark.parametrize(
    ("rows", "recorded", "severity"),
    [
        (FOUND, True, "caution"),
        (FOUND, False, "info"),
        (SAMPLED, True, "info"),
        (SAMPLED, False, None),
        ([[]] * 12, True, None),
    ],
)
def test_the_gate_says_it_where_a_side_may_have_been_sent_text(
    tmp_path: Path, rows: list[Any], recorded: bool, severity: str | None
) -> None:
    session = made(tmp_path / "s", rows, recorded=recorded)
    labels = [info.label for info in session.captures]
    found = judge(session, make_pair(session, *labels))
    reasons = {reason.code: reason.severity for reason in found.reasons}
    assert reasons.get("retokenised") == severity


@pytest.mark.parametrize(("off", "guilty"), [(4.0, True), (0.0, False)])
def test_other_ids_are_blamed_where_the_gap_is_at_them(
    tmp_path: Path, off: float, guilty: bool
) -> None:
    session = made(tmp_path / "s", SAMPLED, off=off)
    found = diagnose(session, make_pair(session, *PAIR))
    pieces = [
        piece
        for ranked in found.causes
        if ranked.cause == "ids"
        for piece in ranked.evidence
        if piece.signature == "retokenised"
    ]
    assert bool(pieces) == guilty
    if guilty:
        assert pieces[0].score >= LIKELY
        assert pieces[0].positions


@pytest.mark.parametrize("form", ["", "--html"])
def test_the_report_counts_them(
    tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made(tmp_path / "s", FOUND)
    command = ["report", str(tmp_path / "s"), form]
    assert main([word for word in command if word]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "3 of 12 sequences have other ids than their own text gives" in shown
    assert main(["report", str(tmp_path / "s"), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["retokenised"]["special"] == 1
    assert data["retokenised"]["places"][0]["index"] == 4


@pytest.mark.usefixtures("own_home")
async def test_the_explorer_marks_the_first_of_them(tmp_path: Path) -> None:
    made(tmp_path / "s", FOUND)
    app = make_app(tmp_path / "s", at=0)
    async with app.run_test(size=MEDIUM) as pilot:
        screen = await judged(pilot)
        await pilot.press("z")
        shown = text(screen.tokens)
        assert "≠ its text's ids (prompt)" in shown
        assert f"{UNLIKE}w4" in shown
        await pilot.press(*"]]]")
        assert UNLIKE not in text(screen.tokens)


# ---- an import asks the tokenizer of the model


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    """ " The" letter by letter (smollm2's byte ids), and as the one id that it is."""
    lines = []
    for ids in ([378, 2], [216, 68, 88, 85, 2], [504, 68, 88, 85]):
        body = [-0.5] * len(ids)
        captures = {"trainer": body, "vllm/decode": body}
        lines.append({"token_ids": ids, "prompt_length": 1, "captures": captures})
    file = tmp_path / "dump.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    return file


@pytest.mark.engine
def test_an_import_with_a_model_checks_the_ids(
    dump: Path, tmp_path: Path, small_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["import", "jsonl", str(dump), "--out", str(out)]
    assert main([*command, "--model", str(small_model)]) == 0
    known = read_manifest(out).sequences.retokenised
    assert known is not None
    assert known.checked == 3
    assert different(known) == 2
    assert "2 of 3 sequences have other ids" in capsys.readouterr().err


def test_an_import_without_an_environment_says_that_nothing_was_checked(
    dump: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from logdrift.core.capture import tokenizing

    monkeypatch.setattr(tokenizing, "available", dict)
    out = tmp_path / "out"
    tokenizer = {"model": {"vocab": {"a": 0}}}
    file = tmp_path / "tokenizer.json"
    file.write_text(json.dumps(tokenizer))
    command = ["import", "jsonl", str(dump), "--out", str(out), "--model", str(file)]
    assert main(command) == 0
    said = "were not checked against the tokenizer"
    assert said in capsys.readouterr().err
    manifest = read_manifest(out)
    assert said in manifest.notes[-1]
    assert manifest.sequences.retokenised is None
