"""Digests: no number is made of a part that is not what was written, and every surface
says so.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logdrift.cli.main import main
from logdrift.core.compare.pair import make_pair
from logdrift.core.session import tensors, verify
from logdrift.core.session.layout import read_manifest
from logdrift.core.session.reader import Session, open_session
from logdrift.tui.models.session_watch import FolderWatch
from logdrift.tui.screens.explorer import ExplorerScreen
from tests.common import Fields, refused
from tests.made_sessions import capture, edit_manifest, seal, write_session
from tests.tui_screen import make_app, until, until_shown

ROWS = [
    [float("nan"), -1.0, -2.0],
    [float("nan"), -0.5, -0.25, -3.0],
    [float("nan"), -1.5],
]


@pytest.fixture
def session(tmp_path: Path) -> Session:
    off = [[value - 0.01 for value in row] for row in ROWS]
    captures = [
        capture("trainer/prefill", ROWS),
        capture("vllm/decode", off),
        capture("vllm/prefill", off),
    ]
    return write_session(tmp_path / "sessions" / "made", [1, 1, 1], captures)


def flip(path: Path, bit: int) -> None:
    """Turn one bit of a file, its times left as they were."""
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    status = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


def data_bits(path: Path) -> range:
    data = path.read_bytes()
    return range(8 * (8 + int.from_bytes(data[:8], "little")), 8 * len(data))


def spoil(path: Path) -> None:
    flip(path, data_bits(path)[40])


COMMANDS: dict[str, Callable[[Path], list[str]]] = {
    "report": lambda folder: ["report", str(folder), "--pair", "trainer:vllm/decode"],
    "report --json": lambda folder: ["report", str(folder), "--json"],
    "check": lambda folder: ["check", str(folder), "--max", "mae=1e9"],
    "why": lambda folder: ["why", str(folder)],
    "diff": lambda folder: [
        "diff",
        str(folder),
        str(folder),
        "--new-pair",
        "trainer:vllm/prefill",
    ],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    "part",
    ["captures/vllm/decode/part-00001.safetensors", "sequences/part-00000.safetensors"],
)
def test_a_turned_bit_is_one_line_and_exit_code_2(
    session: Session, command: str, part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(COMMANDS[command](session.folder)) in (0, 1)
    capsys.readouterr()
    rng = np.random.default_rng(0)
    before = (session.folder / part).read_bytes()
    for bit in rng.choice(data_bits(session.folder / part), 12):
        flip(session.folder / part, int(bit))
        assert main(COMMANDS[command](session.folder)) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.count("\n") == 1
        assert part in said.err
        assert "copy the session again" in said.err
        (session.folder / part).write_bytes(before)
    assert main(COMMANDS[command](session.folder)) in (0, 1)


def test_what_can_be_captured_again_is_said_so(session: Session) -> None:
    spoil(session.folder / "captures/vllm/prefill/part-00000.safetensors")
    pair = make_pair(open_session(session.folder), "trainer/prefill", "vllm/prefill")
    with refused("capture it again with --resume"):
        _ = pair.delta


def test_other_pairs_are_compared_as_before(session: Session) -> None:
    spoil(session.folder / "captures/vllm/decode/part-00000.safetensors")
    opened = open_session(session.folder)
    assert make_pair(opened, "trainer/prefill", "vllm/prefill").delta[
        1
    ] == pytest.approx(0.01)


def test_a_part_without_a_digest_is_read_as_it_is(session: Session) -> None:
    """Sessions that others have written may have none."""
    older = edit_manifest(
        session,
        lambda data: [
            part.pop("digest") for c in data["captures"] for part in c["parts"]
        ],
    )
    spoil(session.folder / "captures/vllm/decode/part-00000.safetensors")
    assert make_pair(older, "trainer/prefill", "vllm/decode").delta.shape == (9,)


def test_a_file_is_hashed_once_in_a_process(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []
    digest = verify._digest

    def counted(file: Any) -> str:
        hashed.append(file.path)
        return digest(file)

    monkeypatch.setattr(verify, "_digest", counted)
    for _ in range(3):
        opened = open_session(session.folder)
        opened.verify("trainer/prefill", "vllm/decode")
        _ = make_pair(opened, "trainer/prefill", "vllm/decode").delta
    assert (
        len(hashed) == len(set(hashed)) == 6
    )  # two parts of the sequences and of each capture
    spoil(session.folder / "captures/vllm/decode/part-00000.safetensors")
    with refused("is damaged"):
        open_session(session.folder).verify("vllm/decode")
    assert len(hashed) == 7


def test_opening_hashes_nothing_and_does_not_load_the_library_for_it(
    session: Session,
) -> None:
    import subprocess
    import sys

    script = (
        "import sys\nfrom logdrift.core.session.reader import open_session\nfrom logdrift.core.compare.pair"
        " import make_pair\nsession = open_session(sys.argv[1],"
        " patient=False)\nmake_pair(session, 'trainer/prefill',"
        " 'vllm/decode')\nprint('hashlib' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, session.folder],
        capture_output=True,
        text=True,
        check=True,
    )
    # The sequences are wanted at once, and looked at in the background.
    assert done.stdout in ("False\n", "True\n")
    assert not done.stderr


@pytest.mark.parametrize("how", ["truncated", "emptied", "replaced", "rewritten"])
def test_a_part_that_becomes_another_one_is_one_line_and_no_signal(
    session: Session, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        tensors, "_MOST_OPEN", 1 << 20
    )  # other tests of this process may have some open
    opened = open_session(session.folder)
    column = opened.capture("vllm/decode").top_logprobs
    part = (
        session.folder
        / read_manifest(session.folder).capture("vllm/decode").parts[0].file
    )
    assert len(column.rows(0, 2)) == 2
    data = part.read_bytes()
    if how == "replaced":
        part.unlink()
    if how in ("truncated", "emptied"):
        os.truncate(part, 300 if how == "truncated" else 0)
    else:
        part.write_bytes(data[:-4] + b"\0\0\0\1")
    if how == "replaced":
        assert len(column.rows(0, 2)) == 2  # the file that was opened is still there
        return
    with refused("has changed since it was opened"):
        column.rows(0, 2)


def test_more_parts_than_a_process_may_have_open(tmp_path: Path) -> None:
    rows = [[float("nan"), -1.0]] * 700
    captures = [capture("trainer/prefill", rows), capture("vllm/decode", rows)]
    made = write_session(tmp_path / "many", [1] * 700, captures, per_part=1)
    pair = make_pair(made, "trainer/prefill", "vllm/decode")
    assert np.count_nonzero(pair.scored) == 700
    assert len(os.listdir("/proc/self/fd")) < 400
    assert made.capture("vllm/decode").rank.rows(1399, 1400).tolist() == [1]


# -- parts that stand for others
# ----------------------------------------------------------------------------------


def parts_of(data: Fields, label: str) -> list[Fields]:
    return next(c for c in data["captures"] if c["label"] == label)["parts"]


def same_file_as_the_trainer(data: Fields) -> None:
    for mine, theirs in zip(
        parts_of(data, "vllm/decode"), parts_of(data, "trainer/prefill"), strict=True
    ):
        mine.update(theirs)


def a_sequences_part(data: Fields) -> None:
    parts_of(data, "vllm/decode")[0].update(file=data["sequences"]["parts"][0]["file"])


def the_same_under_another_spelling(data: Fields) -> None:
    parts_of(data, "vllm/decode")[0].update(
        file="captures//trainer/./prefill/part-00000.safetensors"
    )


def twice(data: Fields) -> None:
    parts = parts_of(data, "vllm/decode")
    parts[1].update(file=parts[0]["file"])


def a_gap(data: Fields) -> None:
    del parts_of(data, "vllm/decode")[0]


def an_overlap(data: Fields) -> None:
    parts_of(data, "vllm/decode")[1].update(first_sequence=1)


def exchanged(data: Fields) -> None:
    one, two = data["captures"][:2]
    one["parts"], two["parts"] = two["parts"], one["parts"]


def one_label_twice(data: Fields) -> None:
    data["captures"].append({**data["captures"][0], "parts": []})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (same_file_as_the_trainer, "twice: for trainer/prefill and for vllm/decode"),
        (a_sequences_part, "twice: for sequences and for vllm/decode"),
        (the_same_under_another_spelling, "twice"),
        (twice, "twice: for vllm/decode and for vllm/decode"),
        (a_gap, "begins at sequence 2, not at 0"),
        (an_overlap, "begins at sequence 1, not at 2"),
        (exchanged, "it is a part of vllm/decode"),
        (one_label_twice, "two captures 'trainer/prefill'"),
    ],
)
def test_parts_that_stand_for_others_are_refused(
    session: Session, change: Callable[[Fields], None], said: str
) -> None:
    with refused(said):
        edit_manifest(session, change)


# -- on the screen
# ------------------------------------------------------------------------------------


async def test_the_explorer_shows_another_pair_and_why(session: Session) -> None:
    part = "captures/vllm/decode/part-00000.safetensors"
    spoil(session.folder / part)
    app = make_app(session.folder)
    async with app.run_test(size=(160, 40)) as pilot:
        await until_shown(pilot, f"{part}: is damaged")
        screen = app.screen
        assert isinstance(screen, ExplorerScreen)
        await until(
            pilot, lambda: screen.view is not None and screen.view.stats is not None
        )
        assert screen.view is not None
        assert screen.view.labels == (
            "trainer/prefill",
            "vllm/prefill",
        )


async def test_a_capture_beside_the_pair_is_named_in_its_row(session: Session) -> None:
    part = "captures/vllm/prefill/part-00000.safetensors"
    spoil(session.folder / part)
    app = make_app(session.folder)
    async with app.run_test(size=(200, 50)) as pilot:
        screen = app.screen
        assert isinstance(screen, ExplorerScreen)
        await until(
            pilot, lambda: screen.view is not None and screen.view.stats is not None
        )
        assert screen.view is not None
        assert screen.view.labels == (
            "trainer/prefill",
            "vllm/decode",
        )
        await until(
            pilot,
            lambda: "vllm/prefill" in session.damaged or bool(screen.session.damaged),
        )
        await pilot.press("right")
        await until_shown(pilot, "part-00000")


def test_the_list_shows_it_where_the_number_would_stand(session: Session) -> None:
    whole = shutil.copytree(session.folder, session.folder.with_name("whole"))
    part = "captures/vllm/decode/part-00000.safetensors"
    spoil(session.folder / part)
    look = FolderWatch(session.folder.parent).look(depth="answers", stop=lambda: False)
    rows = look.rows
    found = {row.folder: row for row in rows}
    assert found[whole].mae == pytest.approx(0.01)
    assert not found[whole].damage
    damaged = found[session.folder]
    assert damaged.mae is None
    assert damaged.verdict is None
    assert f"{part}: is damaged" in damaged.damage


def test_sealed_again_it_is_read(session: Session) -> None:
    spoil(session.folder / "captures/vllm/decode/part-00000.safetensors")
    seal(session.folder).verify("vllm/decode")


# -- numbers that none can be
# ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [1e30, -1e30, 3.4e38, float("inf"), -70000.0, 70000.0]
)
def test_a_number_that_no_log_probability_can_be_is_refused(
    session: Session, value: float, tmp_path: Path
) -> None:
    """Its digest fits: the session was made so."""
    rows = [[float("nan"), *([-1.0] * 7)] for _ in range(3)]
    odd = [list(row) for row in rows]
    odd[2][5] = value
    captures = [capture("trainer/prefill", rows), capture("vllm/decode", odd)]
    made = write_session(tmp_path / "odd", [1, 1, 1], captures)
    with refused(
        (
            r"captures/vllm/decode/part-00001.*holds .* where a number from -65504 to"
            r" 65504"
        ),
    ):
        _ = make_pair(made, "trainer/prefill", "vllm/decode").delta
    # -inf is one, and so is a value that 16 bits have rounded a little above 0.
    odd[2][5] = 0.01
    odd[2][6] = -float("inf")
    captures = [capture("trainer/prefill", rows), capture("vllm/decode", odd)]
    made = write_session(tmp_path / "even", [1, 1, 1], captures)
    assert np.isinf(make_pair(made, "trainer/prefill", "vllm/decode").delta).sum() == 1


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"1": 2}', b"{" * 100_000, b'{"1": "YQ==", "1": "Yg=="}']
)
def test_an_import_wants_pieces_that_can_be_read(
    session: Session, content: bytes, tmp_path: Path
) -> None:
    (session.folder / "pieces.json").write_bytes(content)
    assert (
        main(
            ["import", "session", str(session.folder), "--out", str(tmp_path / "copy")]
        )
        == 2
    )
    assert not (tmp_path / "copy").exists()


def test_an_import_leaves_out_what_is_no_file(session: Session, tmp_path: Path) -> None:
    (session.folder / "why").mkdir()
    os.mkfifo(session.folder / "why" / "pipe")
    os.mkfifo(session.folder / "events.jsonl")
    assert (
        main(
            ["import", "session", str(session.folder), "--out", str(tmp_path / "copy")]
        )
        == 0
    )
    assert not (tmp_path / "copy" / "events.jsonl").exists()
    assert not list((tmp_path / "copy" / "why").iterdir())
