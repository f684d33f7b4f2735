"""`logdrift capture --into`: the missing side of a session that is there, with the toy
engine through the real supervisor and worker.
"""

from __future__ import annotations

import hashlib
import json
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from logdrift.core.compare.pair import make_pair
from logdrift.core.session.reader import Session, open_session
from logdrift.core.session.sent_ids import ids_digest
from tests.common import Fields
from tests.holding import held
from tests.toy_site import ToySite, toy_model

TRAINER = ("--backend", "toy:bfloat16@trainer")
Files = dict[str, str]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> ToySite:
    return ToySite(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def model(site: ToySite) -> Path:
    return toy_model(site.folder / "model")


def rollout(tmp_path: Path, rows: Sequence[Fields]) -> Path:
    """A file with the recorded numbers of one engine."""
    file = tmp_path / "rollout.jsonl"
    lines = []
    for row in rows:
        count = len(row["token_ids"])
        recorded = [None, *[-1.0] * (count - 1)]
        line = {
            "prompt_length": 1,
            "captures": {"rollout": {"logprobs": recorded}},
            **row,
        }
        lines.append(json.dumps(line) + "\n")
    file.write_text("".join(lines))
    return file


ROWS: Sequence[Fields] = (
    {"token_ids": [1, 2, 3, 4]},
    {"token_ids": [9, 8, 7], "mask": [1, 1, 0]},
    {"token_ids": [5, 6, 7, 8, 9], "prompt_length": 2},
)


def imported(site: ToySite, tmp_path: Path, rows: Sequence[Fields] = ROWS) -> Path:
    folder = tmp_path / "imported"
    done = site.run("import", "jsonl", rollout(tmp_path, rows), "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder


def captured(site: ToySite, tmp_path: Path, model: Path) -> Path:
    folder = tmp_path / "captured"
    done = site.run(
        *("capture", "--model", model, "--out", folder, "--text", "HELLO"),
        *("--max-tokens", 4, "--backend", "toy:float32@rollout"),
    )
    assert done.returncode == 0, done.stderr
    return folder


def files_of(folder: Path) -> Files:
    """Every file of a session, by its name, as the digest of its bytes."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def check_only_grown(before: Files, manifest: Fields, folder: Path) -> None:
    """Parts are bit-identical, and the manifest says all that it said."""
    after = files_of(folder)
    growing = {"session.json", "pieces.json", "events.jsonl"}
    for name in before.keys() - growing:
        assert after[name] == before[name], name
    now = json.loads((folder / "session.json").read_text())
    assert now["captures"][: len(manifest["captures"])] == manifest["captures"]
    for key in ("id", "title", "created", "sequences", "format"):
        assert now[key] == manifest[key]
    assert now["notes"][: len(manifest["notes"])] == manifest["notes"]
    for key, value in manifest["model"].items():
        unknown = value in (None, "unknown")
        assert unknown or now["model"][key] == value


def manifest_of(folder: Path) -> Fields:
    data: Fields = json.loads((folder / "session.json").read_text())
    return data


def judged(site: ToySite, folder: Path) -> Fields:
    """The gate's verdict on the first pair, and its reasons by their codes."""
    done = site.run("report", folder, "--json")
    assert done.returncode == 0, done.stderr
    gate = json.loads(done.stdout)["pairs"][0]["gate"]
    reasons = {reason["code"]: reason["text"] for reason in gate["reasons"]}
    return {"verdict": gate["verdict"], "reasons": reasons}


def check_numbers(session: Session, label: str) -> None:
    """What the toy engine gives for the session's ids."""
    ids = session.sequences.token_ids
    expected = (-0.5 - 0.25 * (ids % 5) - 1 / 64).astype(np.float32)
    expected[session.sequences.offsets[:-1]] = np.nan
    stored = session.capture(label).logprob.whole()
    np.testing.assert_array_equal(stored, expected)


def test_the_missing_side_of_an_import(
    site: ToySite, model: Path, tmp_path: Path
) -> None:
    folder = imported(site, tmp_path)
    before = files_of(folder)
    manifest = manifest_of(folder)
    done = site.run("capture", "--into", folder, "--model", model, *TRAINER)
    assert done.returncode == 0, done.stderr
    assert "trainer/prefill → rollout/recorded: MAE" in done.stderr
    check_only_grown(before, manifest, folder)
    session = open_session(folder)
    assert session.state == "complete"
    assert session.manifest.model.id == str(model)
    check_numbers(session, "trainer/prefill")
    added = session.manifest.capture("trainer/prefill")
    assert added.role == "trainer"
    assert added.engine == "toy"
    assert added.dtype == "bfloat16"
    assert added.facts is not None
    assert added.facts.engine_version == "7.0"
    assert [part.ids_digest for part in added.parts] == [
        ids_digest(session.sequences.token_ids)
    ]
    pair = make_pair(session, "trainer/prefill", "rollout/recorded")
    assert pair.scope_mask("completion").sum() == 3 + 1 + 3
    assert judged(site, folder)["verdict"] == "caution"
    why = site.run("why", folder)
    assert why.returncode == 0, why.stderr
    assert "trainer/prefill → rollout/recorded" in why.stdout


def test_parts_of_an_import_are_those_of_the_new_capture(
    site: ToySite, model: Path, tmp_path: Path
) -> None:
    rows = [{"token_ids": [number % 64, 1, 2]} for number in range(4100)]
    folder = imported(site, tmp_path, rows)
    done = site.run("capture", "--into", folder, "--model", model, *TRAINER)
    assert done.returncode == 0, done.stderr
    session = open_session(folder)
    covered = [
        [(part.first_sequence, part.sequences, part.tokens) for part in parts]
        for parts in (
            session.manifest.sequences.parts,
            session.manifest.capture("trainer/prefill").parts,
        )
    ]
    assert covered[0] == covered[1] == [(0, 4096, 12288), (4096, 4, 12)]
    check_numbers(session, "trainer/prefill")


def test_another_backend_of_a_captured_session(
    site: ToySite, model: Path, tmp_path: Path
) -> None:
    """Also one whose model is elsewhere by now."""
    folder = captured(site, tmp_path, model)
    before = files_of(folder)
    manifest = manifest_of(folder)
    added = ("--backend", "toy:bfloat16,alone=true@trainer")
    done = site.run("capture", "--into", folder, *added)
    assert done.returncode == 0, done.stderr
    check_only_grown(before, manifest, folder)
    labels = [info.label for info in open_session(folder).captures]
    assert labels[-2:] == ["trainer/prefill", "trainer/prefill#alone"]

    moved = tmp_path / "moved"
    data = manifest_of(folder)
    data["plan"]["model"] = str(tmp_path / "gone")
    data["model"]["id"] = str(tmp_path / "gone")
    (folder / "session.json").write_text(json.dumps(data))
    shutil.copytree(model, moved)
    more = ("--trust-session", "--backend", "toy:float32@more")
    refused = site.run("capture", "--into", folder, *more)
    assert refused.returncode == 2
    assert "gone: no such folder" in refused.stderr
    before = files_of(folder)
    manifest = manifest_of(folder)
    done = site.run("capture", "--into", folder, "--model", moved, *more)
    assert done.returncode == 0, done.stderr
    check_only_grown(before, manifest, folder)
    assert open_session(folder).state == "complete"
    done = site.run("capture", "--into", folder, "--backend", "toy:float32@again")
    assert done.returncode == 0, f"where the model is, is known now: {done.stderr}"


REFUSED: dict[str, tuple[Sequence[object], str]] = {
    "no model": (TRAINER, "it was imported, so it does not say where its model is"),
    "no backend": (("--model", "MODEL"), "--into needs a backend"),
    "a name that is taken": (
        ("--model", "MODEL", "--backend", "toy@rollout"),
        "backend 'rollout': the session has this backend already",
    ),
    "two of one name": (
        ("--model", "MODEL", *TRAINER, *TRAINER),
        "two backends are called 'trainer'",
    ),
    "sampling anew": (
        ("--model", "MODEL", "--backend", "toy,paths=decode@trainer"),
        "path decode samples new tokens, and the session has its sequences",
    ),
    "new prompts": (
        ("--model", "MODEL", *TRAINER, "--text", "HELLO"),
        "--into scores the ids that the session has: leave out --text",
    ),
    "no such model": (
        ("--model", "/nowhere/model", *TRAINER),
        "model /nowhere/model: no such folder",
    ),
    "a model of its own that knows fewer ids": (
        ("--model", "MODEL", "--backend", "toy,model=SMALL@trainer"),
        "has a vocabulary of 4 ids, and the session's sequences hold id 9",
    ),
    "nothing to resume": (("--resume",), "it was imported, so there is nothing to"),
}


@pytest.fixture(scope="module")
def untouched(site: ToySite) -> Path:
    """An import that every refusal leaves as it is."""
    folder = site.folder / "refused"
    folder.mkdir()
    return imported(site, folder)


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_do_is_one_line_and_changes_nothing(
    site: ToySite, model: Path, tmp_path: Path, untouched: Path, case: str
) -> None:
    folder = untouched
    small = toy_model(tmp_path / "small", vocabulary=4)
    words, said = REFUSED[case]
    arguments = []
    for word in words:
        text = str(word).replace("MODEL", str(model))
        arguments.append(text.replace("SMALL", str(small)))
    before = files_of(folder)
    done = site.run("capture", "--into", folder, *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert files_of(folder) == before


SEQUENCES = {
    "an id that the model does not know": (
        {"token_ids": [1, 2, 64]},
        "sequence 1 holds id 64, and its vocabulary has 64 ids",
    ),
    "longer than the model": (
        {"token_ids": [1] * 129},
        "sequence 1 has 129 tokens, and the model has 128 positions",
    ),
}


@pytest.mark.parametrize("case", SEQUENCES)
def test_sequences_that_do_not_fit_the_model(
    site: ToySite, model: Path, tmp_path: Path, case: str
) -> None:
    row, said = SEQUENCES[case]
    folder = imported(site, tmp_path, [*ROWS[:1], row])
    before = files_of(folder)
    done = site.run("capture", "--into", folder, "--model", model, *TRAINER)
    assert done.returncode == 2
    assert said in done.stderr
    assert files_of(folder) == before


def test_completions_without_prompts_are_scored_as_they_are(
    site: ToySite, model: Path, tmp_path: Path
) -> None:
    row = {"token_ids": [3, 4], "prompt_length": 0}
    known = {"rollout": {"logprobs": [-1.0, -2.0]}}
    folder = imported(site, tmp_path, [{**row, "captures": known}, *ROWS])
    done = site.run("capture", "--into", folder, "--model", model, *TRAINER)
    assert done.returncode == 0, done.stderr
    said = "1 of 4 sequences has no prompt: trainer scores the completion as if"
    assert f"note: {said}" in done.stderr
    session = open_session(folder)
    check_numbers(session, "trainer/prefill")
    assert any(note.startswith(said) for note in session.manifest.notes)
    assert "no_prompt" in judged(site, folder)["reasons"]


def test_a_session_that_is_written_is_not_touched(
    site: ToySite, model: Path, tmp_path: Path
) -> None:
    folder = imported(site, tmp_path)
    with held(folder):
        before = files_of(folder)
        done = site.run("capture", "--into", folder, "--model", model, *TRAINER)
        assert done.returncode == 2
        assert "is being written by process" in done.stderr
        assert files_of(folder) == before


def begun(site: ToySite, folder: Path, *arguments: object) -> subprocess.Popen[str]:
    """A capture whose first part is finished and whose second one never will be."""
    process = site.begin("capture", *arguments, TOY_WAITS="1")
    until = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < until:
        parts = manifest_of(folder)["captures"][-1]["parts"]
        if manifest_of(folder)["plan"] and len(parts) == 1:
            return process
        time.sleep(0.05)
    raise AssertionError("no part was finished")


ENDS: dict[str, Callable[[subprocess.Popen[str]], None]] = {
    "killed": lambda process: process.kill(),
    "Ctrl-C": lambda process: process.send_signal(signal.SIGINT),
}


@pytest.mark.parametrize("way", ["the same command", "--resume"])
@pytest.mark.parametrize("end", ENDS)
def test_what_ends_in_the_middle_goes_on(
    site: ToySite, model: Path, tmp_path: Path, end: str, way: str
) -> None:
    rows = [{"token_ids": [number % 64, 1, 2]} for number in range(4100)]
    folder = imported(site, tmp_path, rows)
    before = files_of(folder)
    manifest = manifest_of(folder)
    command = ("--into", folder, "--model", model, "--part-sequences", 4096, *TRAINER)
    process = begun(site, folder, *command)
    ENDS[end](process)
    process.wait(60)
    check_only_grown(before, manifest, folder)
    left = open_session(folder)
    assert len(left.capture("rollout/recorded").logprob.whole()) == 12300
    assert left.manifest.capture("trainer/prefill").sequences == 4096
    first_part = files_of(folder)["captures/trainer/prefill/part-00000.safetensors"]
    if way == "--resume":
        command = ("--into", folder, "--resume")
    done = site.run("capture", *command)
    assert done.returncode == 0, done.stderr
    check_only_grown(before, manifest, folder)
    session = open_session(folder)
    assert session.state == "complete"
    check_numbers(session, "trainer/prefill")
    finished = files_of(folder)["captures/trainer/prefill/part-00000.safetensors"]
    assert finished == first_part
    again = site.run("capture", "--into", folder, "--model", model, *TRAINER)
    assert "backend 'trainer': the session has this backend already" in again.stderr


FULL = {
    "when the session is extended": (512, 0),
    "at the second part": (200_000, 1),
}
"""The largest file in bytes, where the first part has 131 KB and the second 262 KB; and
the parts that fit.
"""


@pytest.mark.parametrize("when", FULL)
def test_a_disk_that_is_full_loses_the_part_in_flight(
    site: ToySite, model: Path, tmp_path: Path, when: str
) -> None:
    """The limit of a process on its files, of which every write may say no."""
    size, parts = FULL[when]
    short = [{"token_ids": [number % 64, 1]} for number in range(4096)]
    longer = [{"token_ids": [number % 64, 1, 2, 3]} for number in range(4096)]
    folder = imported(site, tmp_path, [*short, *longer])
    before = files_of(folder)
    manifest = manifest_of(folder)
    command = ("--into", folder, "--model", model, "--top-k", 1, *TRAINER)
    full = site.run(
        *("capture", *command),
        before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
        PYTHONDONTWRITEBYTECODE="1",
    )
    assert full.returncode == 1, full.stderr
    assert "File too large" in full.stderr
    assert "Traceback" not in full.stderr
    check_only_grown(before, manifest, folder)
    labels = [info.label for info in open_session(folder).captures]
    if "trainer/prefill" in labels:
        left = open_session(folder).manifest.capture("trainer/prefill")
        assert len(left.parts) == parts
    done = site.run("capture", *command)
    assert done.returncode == 0, done.stderr
    check_only_grown(before, manifest, folder)
    session = open_session(folder)
    assert session.state == "complete"
    check_numbers(session, "trainer/prefill")


def test_a_backend_that_could_not_begin_is_replaced(
    site: ToySite, model: Path, tmp_path: Path
) -> None:
    """Else the session would lack it for ever."""
    folder = imported(site, tmp_path)
    wrong = ("--backend", "toy:float16@trainer")
    done = site.run("capture", "--into", folder, "--model", model, *wrong)
    assert done.returncode == 1, done.stderr
    assert open_session(folder).manifest.capture("trainer/prefill").status == "failed"
    done = site.run("capture", "--into", folder, "--model", model, *TRAINER)
    assert done.returncode == 0, done.stderr
    session = open_session(folder)
    assert session.state == "complete"
    assert len(session.captures) == 2
    check_numbers(session, "trainer/prefill")


def test_a_damaged_part_of_an_import_is_never_cut_off(
    site: ToySite, model: Path, tmp_path: Path
) -> None:
    """No engine of the plan can give it again, whatever its path is called."""
    file = tmp_path / "rollout.jsonl"
    row = {"token_ids": [1, 2], "prompt_length": 1}
    scored = {"rollout/prefill": {"logprobs": [None, -1.0]}}
    file.write_text(json.dumps({**row, "captures": scored}))
    folder = tmp_path / "imported"
    assert site.run("import", "jsonl", file, "--out", folder).returncode == 0
    part = folder / "captures/rollout/prefill/part-00000.safetensors"
    part.write_bytes(part.read_bytes()[:-1])
    before = files_of(folder)
    done = site.run("capture", "--into", folder, "--model", model, *TRAINER)
    assert done.returncode == 2
    assert "is missing or damaged, and no backend of the plan" in done.stderr
    assert files_of(folder) == before


def test_sampling_of_an_import_stays_that_of_its_author(
    site: ToySite, model: Path, tmp_path: Path
) -> None:
    """The plan of the backend that was added says nothing of the rollout."""
    file = tmp_path / "rollout.jsonl"
    row = {"token_ids": [1, 2], "prompt_length": 1}
    scored = {"rollout/decode": {"logprobs": [None, -1.0]}}
    file.write_text(json.dumps({**row, "captures": scored}))
    folder = tmp_path / "imported"
    facts = ("--fact", "rollout.temperature=0.6", "--fact", "rollout.top_p=0.9")
    done = site.run("import", "jsonl", file, "--out", folder, *facts)
    assert done.returncode == 0, done.stderr
    done = site.run("capture", "--into", folder, "--model", model, *TRAINER)
    assert done.returncode == 0, done.stderr
    assert open_session(folder).is_import
    said = judged(site, folder)["reasons"]["sampling"]
    assert "T=0.6, top_p=0.9 (as stated, not observed)" in said
