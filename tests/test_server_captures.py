"""Captures of running servers as a user makes them, with the command: servers on
loopback over a model that is a formula, and no engine's environment.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logdrift.core.errors import InputError
from logdrift.core.plan import CapturePlan, load_plan, parse_spec
from logdrift.core.plan.writing import plan_toml
from logdrift.core.session.layout import Manifest, read_manifest
from logdrift.core.session.reader import open_session
from tests.common import REPOSITORY, Run, refused
from tests.served import (
    Asked,
    Formula,
    Json,
    Reply,
    Served,
    SglangFormula,
    formula_model,
    scored,
    serving,
)

KEY = "correct-horse-battery-staple"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return formula_model(tmp_path / "formula")


@pytest.fixture
def no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which no engine is installed."""
    monkeypatch.setenv("LOGDRIFT_CACHE", str(tmp_path / "cache"))
    for name in ("VLLM_API_KEY", "SGLANG_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def prompts(prompts_file: Callable[..., Path]) -> Path:
    lines = [{"token_ids": list(range(i, i + 6)), "prompt_length": 6} for i in range(9)]
    return prompts_file(*lines)


@pytest.fixture
def asked_for(model: Path, prompts: Path, no_engine: None) -> Callable[..., list[Any]]:
    """The command line of a capture."""

    def arguments(served: Served, out: Path, *options: str) -> list[Any]:
        backend = ",".join(["vllm", f"server={served.address}/v1/", *options])
        plan = ["--model", model, "--prompts", prompts, "--backend", backend]
        sizes = ["--max-tokens", 4, "--top-k", 3, "--part-sequences", 2]
        return ["capture", *plan, *sizes, "--out", out]

    return arguments


def check_numbers(session: Path) -> None:
    """Every score is the formula's."""
    opened = open_session(session)
    prefill = opened.capture("vllm/prefill").logprob
    decode = opened.capture("vllm/decode").logprob
    assert len(opened.sequences) == 9
    for index in range(9):
        ids = opened.sequences.ids(index).tolist()
        bounds = opened.sequences.bounds(index)
        expected = scored(ids)
        assert len(ids) == 10
        assert prefill.rows(*bounds)[1:].tolist() == expected
        assert decode.rows(*bounds)[6:].tolist() == expected[5:]


def test_a_capture_without_any_engine(
    run_logdrift: Run, asked_for: Callable[..., list[Any]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with serving(Formula()) as served:
        done = run_logdrift(*asked_for(served, out))
    assert done.returncode == 0, done.stderr
    assert f"session complete: {out}" in done.stderr
    assert "on None" not in done.stderr
    assert run_logdrift("report", out).returncode == 0


def test_two_servers_in_one_session(
    run_logdrift: Run, asked_for: Callable[..., list[Any]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    formula = SglangFormula(model="/ckpt/step-7")
    with serving(Formula()) as served, serving(formula) as other:
        command = asked_for(served, out)
        second = f"sglang,server={other.address},served_name=/ckpt/step-7"
        done = run_logdrift(*command, "--backend", second, "--parallel")
    assert done.returncode == 0, done.stderr
    report = json.loads(run_logdrift("report", out, "--json").stdout)
    pair = next(p for p in report["pairs"] if p["b"] == "sglang/prefill")
    assert pair["errors"]["max_abs"] == 0.0
    reasons = {one["code"]: one["text"] for one in pair["gate"]["reasons"]}
    assert "is of what its server calls /ckpt/step-7" in reasons["model"]
    why = " ".join(
        run_logdrift("why", out, "--pair", f"{pair['a']}:{pair['b']}").stdout.split()
    )
    assert "ask whoever runs the server what it does not tell" in why
    assert "capture again, so that" not in why


def test_an_imported_rollout_is_scored_by_a_server(
    run_logdrift: Run, asked_for: Callable[..., list[Any]], model: Path, tmp_path: Path
) -> None:
    """Its sampled side alone, exported and imported; the server scores the rest."""
    whole, file, rescored = (tmp_path / name for name in ("out", "r.jsonl", "again"))
    with serving(Formula()) as served:
        assert run_logdrift(*asked_for(served, whole)).returncode == 0
        of_one_side = ("--to", "jsonl", "--capture", "vllm/decode", "--out", file)
        assert run_logdrift("export", whole, *of_one_side).returncode == 0
        assert run_logdrift("import", file, "--out", rescored).returncode == 0
        backend = f"vllm,server={served.address}@scorer"
        done = run_logdrift(
            *("capture", "--into", rescored, "--model", model, "--backend", backend),
            *("--top-k", 3),
        )
    assert done.returncode == 0, done.stderr
    session = open_session(whole)
    again = open_session(rescored)
    for label, captured in (
        ("vllm/decode", "vllm/decode"),
        ("scorer/prefill", "vllm/prefill"),
    ):
        found = again.capture(label).logprob.whole()
        expected = session.capture(captured).logprob.whole()
        np.testing.assert_array_equal(found, expected)


def test_text_needs_a_tokenizer_from_somewhere(
    run_logdrift: Run, model: Path, no_engine: None, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with serving(Formula()) as served:
        done = run_logdrift(
            *("capture", "--model", model, "--text", "hello", "--out", out),
            *("--backend", f"vllm,server={served.address}"),
        )
    assert done.returncode == 2
    assert "logdrift env create transformers, or give token_ids" in done.stderr
    assert not out.exists()


def test_what_only_an_engine_of_ours_can_do(
    run_logdrift: Run, asked_for: Callable[..., list[Any]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with serving(Formula()) as served:
        assert run_logdrift(*asked_for(served, out)).returncode == 0
    asked = run_logdrift("why", out, "--identity")
    assert asked.returncode == 1
    assert "its scores are of the weights that it held" in " ".join(
        asked.stdout.split()
    )
    run = run_logdrift("why", out, "--run")
    assert "it is a running server, which is never changed" in run.stderr


def interrupted(
    command: list[Any], when: threading.Event, then: Callable[[int], None]
) -> subprocess.CompletedProcess[str]:
    """Run the command; once ``when`` is set, do ``then`` with its pid."""
    words = [str(REPOSITORY / ".venv" / "bin" / "logdrift"), *map(str, command)]
    process = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert when.wait(60)
        then(process.pid)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    return subprocess.CompletedProcess(words, process.returncode, out, err)


class Counting(Formula):
    """A server that answers ``count`` scorings and is silent then, until it is let
    go on.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.left = count
        self.silent = threading.Event()

    def __call__(self, asked: Asked) -> Reply:
        if "prompt_logprobs" in asked.body:
            self.left -= 1
        if self.left < 0:
            self.silent.set()
            return Reply(hang=True)
        return super().__call__(asked)


def test_a_server_killed_in_the_middle_and_started_again(
    run_logdrift: Run, asked_for: Callable[..., list[Any]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    dying = Counting(5)
    with serving(dying) as served:
        command = asked_for(served, out, "patience=1,concurrency=1")
        failed = interrupted(command, dying.silent, lambda pid: served.close())
    assert failed.returncode == 1
    assert f"server {served.address}" in failed.stderr
    assert "--resume" in failed.stderr
    kept = open_session(out).manifest.capture("vllm/prefill").parts
    assert len(kept) == 2
    with serving(Formula(), served.port) as again:
        resumed = run_logdrift("capture", "--out", out, "--resume")
        # The five that were answered whole are in two parts of two.
        assert sum("prompt_logprobs" in one.body for one in again.asked) == 9 - 4
    assert resumed.returncode == 0, resumed.stderr
    check_numbers(out)


def test_a_capture_does_not_go_on_with_another_server(
    run_logdrift: Run, asked_for: Callable[..., list[Any]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    dying = Counting(5)
    with serving(dying) as served:
        command = asked_for(served, out, "patience=1,concurrency=1")
        interrupted(command, dying.silent, lambda pid: served.close())
    other = Formula()
    other.fingerprint = "vllm-0.32.0-other"
    with serving(other, served.port):
        resumed = run_logdrift("capture", "--out", out, "--resume")
    assert resumed.returncode == 1
    assert "half of vllm/prefill was captured another way" in resumed.stderr


def test_ctrl_c_and_resume(
    run_logdrift: Run, asked_for: Callable[..., list[Any]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    slow = Counting(3)
    with serving(slow) as served:
        command = asked_for(served, out)
        stopped = interrupted(
            command, slow.silent, lambda pid: os.kill(pid, signal.SIGINT)
        )
        assert stopped.returncode == 130
        slow.left = 1_000
        resumed = run_logdrift("capture", "--out", out, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    check_numbers(out)


class Stubborn(Formula):
    """A server that keeps the score of one sequence back until it is let go on."""

    def __init__(self) -> None:
        super().__init__()
        self.keeps = True
        self.kept = threading.Event()

    def __call__(self, asked: Asked) -> Reply:
        scores = "prompt_logprobs" in asked.body
        if scores and self.keeps and asked.body["prompt"][0] == 0:
            self.kept.set()
            return Reply(hang=True)
        return super().__call__(asked)


def ahead(session: Path, expected: int) -> Manifest:
    """The manifest, once so many parts are finished behind one that is not."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        manifest = read_manifest(session)
        if len(manifest.capture("vllm/prefill").ahead) == expected:
            return manifest
        time.sleep(0.05)
    raise AssertionError(f"no {expected} parts ahead")


def test_parts_are_kept_whatever_the_part_before_them_waits_for(
    run_logdrift: Run, asked_for: Callable[..., list[Any]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    stubborn = Stubborn()
    with serving(stubborn) as served:
        killed = interrupted(
            asked_for(served, out),
            stubborn.kept,
            lambda pid: ahead(out, 4) and os.kill(pid, signal.SIGKILL),
        )
        assert killed.returncode == -signal.SIGKILL
        manifest = ahead(out, 4)
        assert manifest.capture("vllm/prefill").parts == ()
        assert open_session(out).capture("vllm/prefill").sequences == 0
        stubborn.keeps = False
        before = len(served.asked)
        resumed = run_logdrift("capture", "--out", out, "--resume")
        again = served.asked[before:]
    assert resumed.returncode == 0, resumed.stderr
    asked = [one.body["prompt"][0] for one in again if "prompt_logprobs" in one.body]
    assert sorted(asked) == [0, 1], "the one part that is missing"
    assert read_manifest(out).capture("vllm/prefill").ahead == ()
    check_numbers(out)


def test_a_damaged_part_ahead_is_captured_again(
    run_logdrift: Run, asked_for: Callable[..., list[Any]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    stubborn = Stubborn()
    with serving(stubborn) as served:
        interrupted(
            asked_for(served, out),
            stubborn.kept,
            lambda pid: ahead(out, 4) and os.kill(pid, signal.SIGKILL),
        )
        file = read_manifest(out).capture("vllm/prefill").ahead[1].file
        (out / file).write_bytes(b"damaged")
        stubborn.keeps = False
        before = len(served.asked)
        resumed = run_logdrift("capture", "--out", out, "--resume")
        again = served.asked[before:]
    assert resumed.returncode == 0, resumed.stderr
    asked = [one.body["prompt"][0] for one in again if "prompt_logprobs" in one.body]
    assert sorted(asked) == [0, 1, 4, 5]
    check_numbers(out)


# -- keys


class Locked(Formula):
    """A server that wants a key."""

    def __call__(self, asked: Asked) -> Reply:
        if asked.headers.get("Authorization") != f"Bearer {KEY}":
            given = asked.headers.get("Authorization")
            return Reply({"error": f"{given} is not the key"}, 401)
        return super().__call__(asked)


def files_with(text: str, *folders: Path) -> Iterator[Path]:
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and text.encode() in path.read_bytes():
                yield path


def command_lines() -> str:
    """Those of all processes of this machine."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines.append(path.read_bytes().decode(errors="replace"))
        except OSError:
            continue
    return "\n".join(lines)


@pytest.mark.parametrize("place", ["usual variable", "own variable", "file"])
def test_a_key_is_used_and_kept_nowhere(
    run_logdrift: Run,
    asked_for: Callable[..., list[Any]],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    out = tmp_path / "out"
    seen: list[str] = []

    def look(answer: Json, asked: Asked) -> Json:
        seen.append(command_lines())
        return answer

    options = {
        "usual variable": (),
        "own variable": ("key_env=MY_POD",),
        "file": (f"key_file={tmp_path_factory.mktemp('keys') / 'pod'}",),
    }
    variable = {"usual variable": "VLLM_API_KEY", "own variable": "MY_POD"}
    if place in variable:
        monkeypatch.setenv(variable[place], KEY)
    else:
        Path(options[place][0].partition("=")[2]).write_text(f"{KEY}\n")
    with serving(Locked(look)) as served:
        done = run_logdrift(*asked_for(served, out, *options[place]))
    assert done.returncode == 0, done.stderr
    assert seen
    assert not any(KEY in lines for lines in seen)
    assert KEY not in done.stdout + done.stderr
    state = Path(os.environ["XDG_STATE_HOME"])
    assert not list(files_with(KEY, out, state))


def test_a_wrong_key_is_not_shown(
    run_logdrift: Run,
    asked_for: Callable[..., list[Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    monkeypatch.setenv("MY_POD", "wrong-horse-battery-staple")
    with serving(Locked()) as served:
        done = run_logdrift(*asked_for(served, out, "key_env=MY_POD"))
    assert done.returncode == 1
    assert "the key of MY_POD is not the one that it wants" in done.stderr
    assert "wrong-horse" not in done.stderr
    assert not list(files_with("wrong-horse", out))


def test_a_missing_key_is_asked_for(
    run_logdrift: Run, asked_for: Callable[..., list[Any]], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with serving(Locked()) as served:
        done = run_logdrift(*asked_for(served, out))
        assert done.returncode == 1
        assert "put its key into VLLM_API_KEY, or name the place" in done.stderr
        done = run_logdrift(*asked_for(served, tmp_path / "2", "key_env=NOT_SET"))
    assert done.returncode == 2
    assert "environment variable NOT_SET is not set" in done.stderr
    assert not (tmp_path / "2").exists()


def test_a_redirect_takes_no_key_along(
    run_logdrift: Run,
    asked_for: Callable[..., list[Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VLLM_API_KEY", KEY)
    with serving(Formula()) as thief:
        away = Reply("", 307, {"Location": f"{thief.address}/v1/completions"})
        with serving(lambda asked: away) as served:
            done = run_logdrift(*asked_for(served, tmp_path / "out"))
    assert done.returncode == 1
    assert f"it redirects to {thief.address}" in done.stderr
    assert not thief.asked


def test_somebody_else_s_session_gets_no_key(
    run_logdrift: Run,
    asked_for: Callable[..., list[Any]],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its server may be anybody's: what would be asked is said first."""
    out = tmp_path / "out"
    dying = Counting(1)
    with serving(dying) as served:
        command = asked_for(served, out, "patience=1,concurrency=1")
        interrupted(command, dying.silent, lambda pid: served.close())
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("other-user")))
    monkeypatch.setenv("VLLM_API_KEY", KEY)
    with serving(Formula(), served.port) as again:
        resumed = run_logdrift("capture", "--out", out, "--resume")
        assert not again.asked
    assert resumed.returncode == 2
    assert f"requests to vllm at {served.address}" in resumed.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (f"server=http://x:{KEY}@host:8000", "a key does not belong in a backend"),
        (
            f"server=http://host:8000?api_key={KEY}",
            "a key does not belong in a backend",
        ),
        (f"server=http://host,api_key={KEY}", "a key does not belong in a backend"),
        (f"server=http://host,key={KEY}", "a key does not belong in a backend"),
        (
            f"server=http://host,key_env={KEY}",
            "not the name of an environment variable",
        ),
        ("server=localhost:8000", "begins with neither http:// nor https://"),
        ("server=http://", "names no host"),
        ("server=http://host:99999", "is no address"),
        ("server=", "begins with neither"),
        ("server=http://host,enforce_eager=true", "cannot be given to a server"),
        ("server=http://host,gpus=0", "gpus is chosen where the server is started"),
        ("server=http://host,python=/x", "python is chosen where"),
        ("server=http://host,paths=forced_decode", "has no path 'forced_decode'"),
        ("server=http://host,concurrency=0", "concurrency is 0"),
        ("server=http://host,concurrency=many", "concurrency is 'many'"),
        ("server=http://host,timeout=-1", "timeout is -1"),
        ("server=http://host,endpoint=chat", "use completions or generate"),
        ("server=http://host,key_env=A,key_file=b", "name two keys"),
    ],
)
def test_a_spec_that_cannot_be_meant(options: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_spec(f"vllm,{options}")
    line = str(caught.value)
    assert said in line
    assert KEY not in line
    assert "\n" not in line


def test_a_key_on_the_command_line_is_refused(
    run_logdrift: Run, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = run_logdrift(
        *("capture", "--model", tmp_path, "--text", "x", "--out", out),
        *("--backend", f"vllm,server=http://host,api_key={KEY}"),
    )
    assert done.returncode == 2
    assert "name the variable with key_env=NAME" in done.stderr
    assert KEY not in done.stderr
    assert not out.exists()


def test_an_engine_without_a_server() -> None:
    with refused("transformers has no server to attach to"):
        parse_spec("transformers,server=http://host")


def test_a_plan_in_toml_reads_and_writes_it(tmp_path: Path) -> None:
    spec = parse_spec("sglang,server=http://host:30000,concurrency=8,key_env=POD@mu")
    plan = CapturePlan(model="m", backends=(spec,))
    file = tmp_path / "plan.toml"
    file.write_text(plan_toml(plan))
    assert load_plan(file).backends == (spec,)
    assert CapturePlan.from_json(plan.to_json()) == plan
