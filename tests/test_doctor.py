"""`logdrift doctor`: what is said of a machine, a terminal and a self-test. No engine
is started.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from logdrift.cli.terminal import terminal_checks
from logdrift.core import doctor
from logdrift.core.capture import environments
from logdrift.core.capture.environments import Health, Interpreter, NoInterpreter
from logdrift.core.doctor import Check, broken, machine_checks
from logdrift.core.engines.faults import GIVEN
from logdrift.core.errors import LogdriftError
from logdrift.core.planted.engines import FAULTS as ENGINE_FAULTS
from logdrift.core.planted.engines import (
    SAMPLING,
    STATES,
    edits,
    session_of,
    sessions,
)
from logdrift.core.planted.judge import JudgedSession, NamedCause, outcome
from logdrift.core.planted.selftest import SelfTest, check_engines, estimate, folder_of
from logdrift.core.planted.sizes import lengths_of, take
from tests.common import Fields, Run, refused


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without config file, cache, sessions, GPU and engines."""
    for name in ("LOGDRIFT_CONFIG", "LOGDRIFT_SESSIONS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LOGDRIFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def checked(**arguments: Any) -> dict[str, Check]:
    return {
        check.name: check for check in machine_checks(threading.Event(), **arguments)
    }


def test_a_bare_machine_has_no_engine_and_says_how_to_get_one(bare: Path) -> None:
    found = checked()
    for engine in ("transformers", "vllm", "sglang"):
        assert found[engine].status == "broken"
        assert found[engine].remedy == f"logdrift env create {engine}"
    assert (
        found["config"].status
        == found["cache"].status
        == found["sessions"].status
        == "ok"
    )
    assert "made when it is needed" in found["sessions"].text
    assert (
        not (bare / "cache").exists() and not (bare / "sessions").exists()
    )  # a look leaves nothing behind


def test_one_engine_is_enough(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = Path("/usr/bin/python3")
    interpreters: dict[str, Interpreter | LogdriftError] = {
        "transformers": Interpreter("transformers", python, "config"),
        "vllm": Interpreter("vllm", python, "config"),
        "sglang": NoInterpreter(
            "no interpreter for sglang",
            remedy="logdrift env create sglang makes one",
        ),
    }
    monkeypatch.setattr(environments, "available", lambda: interpreters)

    def check(interpreter: Interpreter, **_: Any) -> Health:
        if interpreter.engine == "vllm":
            return Health(
                interpreter,
                problem=LogdriftError(
                    "ImportError: libcudart.so",
                    where="vllm",
                    remedy="fix it with logdrift env create vllm --fresh",
                ),
            )
        return Health(interpreter, {"torch": "2.13.0\x1b[31m"}, "cpu (2 cores)")

    monkeypatch.setattr(environments, "check", check)
    found = checked()
    assert found["transformers"].status == "ok"
    assert "\x1b" not in found["transformers"].text
    assert found["vllm"].status == "broken"
    assert found["vllm"].text == "ImportError: libcudart.so"
    assert found["vllm"].remedy == "fix it with logdrift env create vllm --fresh"
    assert found["sglang"].status == "warning"
    assert found["sglang"].remedy == "logdrift env create sglang"


def test_a_broken_config_file_is_told_and_nothing_that_follows_from_it(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bare / "config.toml").write_text("sesions = 1\n")
    monkeypatch.setenv("LOGDRIFT_CONFIG", str(bare / "config.toml"))
    found = checked()
    assert found["config"].status == "broken"
    assert "sesions is unknown" in found["config"].text
    assert "cache" not in found
    assert broken(found.values())


def test_folders_that_cannot_be_written(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bare / "cache").write_text("a file")
    found = checked(sessions=str(bare / "cache"))
    assert found["cache"].status == found["sessions"].status == "broken"
    assert "LOGDRIFT_CACHE" in found["cache"].remedy

    def full(**_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", full)
    (bare / "s").mkdir()
    assert checked(sessions=str(bare / "s"))["sessions"].text.endswith(
        "no space left on device"
    )


@pytest.mark.parametrize(
    ("script", "status", "said"),
    [
        (
            "echo 'NVIDIA H100, 580.1, 81559 MiB, 80000 MiB'",
            "ok",
            "NVIDIA H100, driver 580.1, 80000 MiB of 81559 MiB free",
        ),
        (
            (
                "echo 'Failed to initialize NVML: Driver/library version mismatch';"
                " exit 18"
            ),
            "warning",
            "version mismatch",
        ),
        ("exit 9", "warning", "exit status 9"),
    ],
)
def test_the_gpu_is_asked_of_the_driver(
    bare: Path, monkeypatch: pytest.MonkeyPatch, script: str, status: str, said: str
) -> None:
    tool = bare / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent), prepend=":")
    monkeypatch.setattr(environments, "nvidia_gpus", lambda: ("NVIDIA H100",))
    found = doctor._gpu()
    assert (found.status, said in found.text) == (status, True), found


def terminal(
    environment: dict[str, str],
    *,
    size: tuple[int, int] = (140, 40),
    encoding: str = "utf-8",
    tmux: str | None = None,
):
    found = terminal_checks(environment, True, encoding, size, lambda option: tmux)
    return {check.name: check for check in found}


def test_a_good_terminal() -> None:
    found = terminal({"TERM": "xterm-256color", "COLORTERM": "truecolor"})
    assert [check.status for check in found.values()] == ["ok"] * 4
    assert found["colours"].text.startswith("16 million")
    assert found["size"].text == "140x40"


@pytest.mark.parametrize(
    ("environment", "options", "name", "status", "said"),
    [
        ({"TERM": "dumb"}, {}, "colours", "broken", "TERM is dumb"),
        ({}, {}, "colours", "broken", "not set"),
        ({"TERM": "xterm"}, {}, "colours", "warning", "16 (xterm)"),
        ({"TERM": "x\x1b[0m256color"}, {}, "colours", "ok", "256"),
        ({"TERM": "xterm", "NO_COLOR": "1"}, {}, "colours", "ok", "NO_COLOR"),
        ({"TERM": "xterm"}, {"size": (59, 20)}, "size", "warning", "59x20"),
        ({"TERM": "xterm"}, {"size": (80, 24)}, "size", "ok", "tabs"),
        (
            {"TERM": "xterm"},
            {"encoding": "latin-1"},
            "characters",
            "warning",
            "latin-1",
        ),
        (
            {"TERM": "xterm", "TMUX": "socket,1,0"},
            {"tmux": "on"},
            "clipboard",
            "ok",
            "allow-passthrough on",
        ),
        (
            {"TERM": "xterm", "TMUX": "socket,1,0"},
            {"tmux": "off"},
            "clipboard",
            "warning",
            "nothing can be copied",
        ),
        (
            {"TERM": "xterm", "TMUX": "socket,1,0"},
            {},
            "clipboard",
            "warning",
            "does not say",
        ),
        ({"TERM": "screen", "STY": "1"}, {}, "clipboard", "warning", "GNU screen"),
    ],
)
def test_what_a_terminal_lacks(
    environment: dict[str, str],
    options: Fields,
    name: str,
    status: str,
    said: str,
) -> None:
    found = terminal(environment, **options)[name]
    assert (found.status, said in found.text, "\x1b" in found.text) == (
        status,
        True,
        False,
    ), found
    assert bool(found.remedy) == (status != "ok")


def test_the_command_tells_no_secret_and_ends_with_one_where_nothing_works(
    run_logdrift: Run, tmp_path: Path
) -> None:
    secrets = {
        "HF_TOKEN": "hf_sEcReT",
        "OPENAI_API_KEY": "sk-sEcReT",
        "HTTPS_PROXY": "http://me:sEcReT@proxy:1",
    }
    environment = {
        "LOGDRIFT_CACHE": str(tmp_path / "none"),
        "LOGDRIFT_SESSIONS": str(tmp_path / "s"),
        **secrets,
    }
    done = run_logdrift("doctor", "--json", **environment)
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert found["ok"] is False
    assert {"name", "status", "text", "mend"} == set(found["checks"][0])
    assert "sEcReT" not in done.stdout + done.stderr
    done = run_logdrift("doctor", **environment)
    assert "broken   transformers" in done.stdout
    assert "logdrift env create transformers" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("3 broken")
    assert "sEcReT" not in done.stdout


def test_bad_input_is_one_line(run_logdrift: Run, tmp_path: Path) -> None:
    done = run_logdrift("doctor", "--quick")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "add --self-test" in done.stderr
    with refused("planted in vllm and sglang"):
        check_engines(["transformers"])


# ---- the self-test: what it counts


def judged(
    fault: str,
    said: str,
    *,
    blind: bool = True,
    separable: bool = True,
    asked: bool = True,
) -> JudgedSession:
    return JudgedSession(
        fault=fault,
        background="float32",
        blind=blind,
        outcome=said,
        named=(NamedCause("config", 0.9),),
        mae=0.1,
        separable=separable,
        asked=asked,
    )  # type: ignore[arg-type]


def test_targets() -> None:
    good = [judged(f"f{i}", "first") for i in range(9)] + [
        judged("f9", "second"),
        judged("clean", "clean"),
    ]
    assert SelfTest(tuple(good), tuple(good)).shortfalls == ()
    two = [*good[:8], judged("f8", "second"), *good[9:]]
    assert SelfTest(tuple(two), tuple(good)).shortfalls == (
        "from the numbers alone: 8 of 10 faults named first, 90% wanted",
    )
    for said, counted in (
        ("missed", "missed"),
        ("false alarm", "false alarms"),
        ("guessed", "guessed"),
    ):
        bad = SelfTest(tuple(good), (*good[:9], *good[:9], judged("x", said)))
        assert bad.shortfalls == (f"with the facts: 1 {counted}, none wanted",)
    alone = judged("weights", "missed", separable=False)
    assert (
        SelfTest((*good, alone), tuple(good)).shortfalls == ()
    )  # numbers alone cannot tell it
    assert SelfTest(
        (*good, alone), (*good, judged("w", "missed", blind=False, separable=False))
    ).shortfalls
    assert SelfTest(
        blind=(), with_facts=(), lacking=(("vllm: clean", "it died"),)
    ).shortfalls == ("vllm: clean: not planted: it died",)
    assert SelfTest(tuple(good), tuple(good)).to_json()["blind"]["totals"]["first"] == 9


@pytest.mark.parametrize(
    ("codes", "clean", "asked", "said"),
    [
        (("config", "weights"), False, True, "first"),
        (("weights", "config"), False, True, "second"),
        (("weights", "ids", "config"), False, True, "missed"),
        (("noise",), True, True, "clean"),
        (("ids",), True, True, "false alarm"),
        (("noise",), False, False, "not detectable"),
        (("ids",), False, False, "guessed"),
        ((), False, True, "missed"),
    ],
)
def test_outcomes(codes: tuple[str, ...], clean: bool, asked: bool, said: str) -> None:
    named = tuple(NamedCause(code, 0.9) for code in codes)
    assert outcome(("config",), named, clean=clean, asked=asked) == said


def test_what_is_kept_belongs_to_its_interpreter(bare: Path) -> None:
    one, other = (
        folder_of(
            Interpreter("transformers", bare / name / "bin" / "python", "managed")
        )
        for name in "ab"
    )
    assert one != other
    assert one.parent == bare / "cache" / "selftest"
    assert (
        estimate(True)
        < estimate(False)
        < estimate(False, ["vllm"])
        < estimate(False, ["vllm", "sglang"])
    )


def test_sequences_are_taken_from_those_that_are_long_enough() -> None:
    assert lengths_of("2x2,5x1") == [2, 2, 5]
    rows = [list(range(n)) for n in (9, 3, 5)]
    found = [len(row) for row in take(rows, [2, 4, 9])]
    expected = [2, 4, 9]
    assert found == expected
    with pytest.raises(ValueError, match="too few"):
        take(rows, [9, 9])


def test_engine_faults_are_plans_of_one_change_each(tmp_path: Path) -> None:
    """Every fault's captures are in its session, every start but the clean ones differs
    from clean in one thing, and every fault of the issue that an engine can show is
    there.
    """
    planned = {
        each.name: each
        for each in sessions(["vllm", "sglang"], "m", [range(40)] * 3, 20, tmp_path)
    }
    for fault in ENGINE_FAULTS:
        plan = planned[session_of(fault)].plan
        labels = {name.label for spec in plan.backends for name in spec.labels()}
        assert {fault.label, f"{fault.against}/prefill"} <= labels, fault
        assert plan.sampling == SAMPLING.get(fault.session, plan.sampling)
        assert plan.prompts_file
        assert fault.telling == "none" or fault.facts, fault
    for engine, states in STATES.items():
        wanted = {
            "clean",
            "float32",
            "float16",
            "head",
            "rope",
            "code",
            "stale",
            "initial",
            "scaled",
        }
        assert wanted <= set(states)
        for name, state in states.items():
            assert len(state.options) + (state.weights is not None) <= 1, (engine, name)
        used = {fault.state for fault in ENGINE_FAULTS if fault.engine == engine}
        assert used == set(states)
    assert edits(["vllm"]) == {
        "stale": ("stale-weights", 0.005),
        "initial": ("initial-layer", 0.0),
        "scaled": ("scaled-tensor", 1.02),
    }
    rows = [
        json.loads(line) for line in (tmp_path / "given.jsonl").read_text().splitlines()
    ]
    found = [row["prompt_length"] for row in rows]
    assert found == [20] * 3
    assert len(rows[0]["token_ids"]) == 40
    assert {session for session in planned if session.startswith(GIVEN)} == {
        "given-vllm",
        "given-sglang",
    }
