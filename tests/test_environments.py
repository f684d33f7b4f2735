"""Config file, recipes, choosing and checking interpreters, and installing them: real
venvs, real pip, real processes.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from logdrift.core.capture import environments
from logdrift.core.capture.environments import (
    Interpreter,
    check,
    engine_environment,
    find_interpreter,
    visible_devices,
)
from logdrift.core.capture.installer import MARKER, install, read_marker
from logdrift.core.capture.jobs import Cancelled, Step, explain_failure
from logdrift.core.capture.recipes import Recipe, recipe_for
from logdrift.core.config import cache_folder, load_config
from logdrift.core.engines import ENGINES
from logdrift.core.errors import InputError, LogdriftError
from logdrift.core.processes import members
from tests.common import REPOSITORY, refused

LARGE = Recipe("vllm", "cpu", ("mpmath==1.3.0", "networkx==3.6.1", "sympy==1.14.0"))
"""Takes pip long enough to be stopped in the middle: it compiles 2,000 modules."""
TINY = Recipe("vllm", "cpu", ("mpmath==1.3.0", "filelock==4.2.12"))


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache and no config file."""
    monkeypatch.setenv("LOGDRIFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LOGDRIFT_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    return tmp_path / "cache"


def script(path: Path, text: str) -> Path:
    """An executable that stands where an interpreter is expected."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def finished_environment(folder: Path, engine: str = "vllm") -> Path:
    """What `install` leaves behind, as far as choosing an interpreter looks at it."""
    python = script(folder / "bin" / "python", "exit 0")
    marker = {
        "engine": engine,
        "device": "cpu",
        "recipe": "x",
        "python": "y",
        "versions": {},
    }
    (folder / MARKER).write_text(json.dumps(marker))
    return python


def probe_imports(*names: str) -> Callable[[Path], dict[str, str]]:
    def probe(python: Path) -> dict[str, str]:
        code = f"import {', '.join(names)}; print({names[0]}.__version__)"
        out = subprocess.run(
            [str(python), "-c", code], capture_output=True, text=True, check=True
        ).stdout
        return {names[0]: out.strip()}

    return probe


def install_tiny(
    folder: Path,
    *,
    recipe: Recipe = TINY,
    report: Callable[[Step], None] = lambda _: None,
    cancel: threading.Event | None = None,
):
    names = [requirement.partition("==")[0] for requirement in recipe.requirements]
    return install(
        recipe,
        folder,
        probe=probe_imports(*names),
        report=report,
        cancel=cancel or threading.Event(),
        python=sys.executable,
    )


# ---- config file


def write_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(text)
    monkeypatch.setenv("LOGDRIFT_CONFIG", str(path))
    return path


def test_config_paths_are_relative_to_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(
        tmp_path,
        monkeypatch,
        'sessions = "runs"\ncache = "~/c"\n[engines.vllm]\npython = "v/bin/python"\n',
    )
    monkeypatch.delenv("LOGDRIFT_CACHE", raising=False)
    config = load_config()
    assert config.sessions == tmp_path / "runs"
    assert cache_folder() == Path.home() / "c"
    assert config.engines["vllm"].python == str(tmp_path / "v/bin/python")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('sesions = "x"', "sesions is unknown: did you mean 'sessions'?"),
        ("[engines.vlm]", "engines.vlm is unknown: did you mean 'vllm'?"),
        (
            '[engines.vllm]\npyton = "x"',
            "engines.vllm.pyton is unknown: did you mean 'python'?",
        ),
        ("cache = 3", "cache is 3: give a text"),
        ("engines = 1", "engines is not a table"),
        ("a = ", "not valid TOML"),
    ],
)
def test_config_mistakes_name_file_and_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    path = write_config(tmp_path, monkeypatch, text)
    with pytest.raises(InputError) as caught:
        load_config()
    assert str(path) in str(caught.value)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_config_named_but_absent_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGDRIFT_CONFIG", str(tmp_path / "absent.toml"))
    with refused("no such file"):
        load_config()


def test_no_config_is_fine(own_cache: Path) -> None:
    assert load_config().source is None
    assert cache_folder() == own_cache


# ---- recipes


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("engine", ENGINES)
def test_recipes_are_pinned_and_name_no_host(engine: str, device: str) -> None:
    recipe = recipe_for(engine, device)
    assert {line.split("==")[0] for line in recipe.requirements} & set(
        ENGINES[engine].distributions
    )
    for line in recipe.requirements:
        pin, _, marker = line.partition(" ; ")
        assert pin.count("==") == 1, line
        assert not set("+/:@*") & set(pin), line
        assert not marker or marker.startswith("python_full_version "), line
    names = [
        line.split(" ; ")[0].split("==")[0].lower()
        for line in recipe.requirements
        if " ; " not in line
    ]
    assert len(names) == len(set(names))


def test_vllm_on_a_cpu_leaves_out_what_breaks_it() -> None:
    recipe = recipe_for("vllm", "cpu")
    assert not any(
        recipe.pinned(name) for name in ("torchvision", "torchaudio", "torchcodec")
    )
    assert recipe.pinned("torch") == "2.13.0"


def test_a_recipes_digest_covers_its_shims(tmp_path: Path) -> None:
    (tmp_path / "shim.py").write_text("a = 1")
    recipe = Recipe("sglang", "cpu", ("six==1.17.0",), shims=tmp_path)
    before = recipe.digest
    (tmp_path / "shim.py").write_text("a = 2")
    assert recipe.digest != before
    assert {f.suffix for f in recipe_for("sglang", "cpu").shim_files()} == {
        ".py",
        ".pth",
    }
    assert recipe_for("sglang", "cuda").shims is None


# ---- choosing an interpreter


def test_order_of_choice(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with refused("logdrift env create vllm"):
        find_interpreter("vllm")
    managed = finished_environment(own_cache / "envs" / "vllm")
    assert find_interpreter("vllm") == Interpreter(
        "vllm", managed, "managed", find_interpreter("vllm").env
    )
    configured = script(tmp_path / "v/bin/python", "exit 0")
    write_config(tmp_path, monkeypatch, '[engines.vllm]\npython = "v/bin/python"\n')
    found = find_interpreter("vllm")
    assert found.python == configured
    assert found.origin == "config"
    assert found.env["PATH"].split(os.pathsep)[0] == str(configured.parent)
    spec = script(tmp_path / "spec/bin/python", "exit 0")
    monkeypatch.chdir(tmp_path)
    for text in ("spec/bin/python", "./spec/bin/python", "spec", "./spec", str(spec)):
        found = find_interpreter("vllm", text)
        assert found.python == spec
        assert found.origin == "spec"
    monkeypatch.chdir(spec.parent)
    assert find_interpreter("vllm", "./python").python == spec, (
        "and not the python that is on PATH"
    )


def test_the_current_interpreter_counts_if_it_holds_the_engine(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site" / "vllm").mkdir(parents=True)
    (tmp_path / "site" / "vllm" / "__init__.py").write_text(
        "raise SystemExit('must not be imported')"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    found = find_interpreter("vllm")
    assert found.python == Path(sys.executable)
    assert found.origin == "current"


def test_interpreters_that_are_not_there(own_cache: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("")
    for text, said in (
        (str(tmp_path / "none"), "does not exist"),
        (str(plain), "is not executable"),
    ):
        with refused(said) as caught:
            find_interpreter("vllm", text)
        assert "\n" not in str(caught.value)
    unfinished = own_cache / "envs" / "vllm"
    unfinished.mkdir(parents=True)
    (unfinished / "pyvenv.cfg").write_text("")
    with refused("not finished: fix it with logdrift env create vllm"):
        find_interpreter("vllm")


def test_an_environment_in_another_folder_is_found_again(
    own_cache: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "big-disk" / "vllm"
    python = finished_environment(elsewhere)
    (own_cache / "envs").mkdir(parents=True)
    (own_cache / "envs" / "vllm.elsewhere.json").write_text(
        json.dumps({"folder": str(elsewhere)})
    )
    assert find_interpreter("vllm").python == python
    finished_environment(own_cache / "envs" / "vllm")
    assert find_interpreter("vllm").python == python, "the one that was asked for last"
    shutil.rmtree(elsewhere)
    assert find_interpreter("vllm").python.is_relative_to(own_cache)


def test_gpus_are_numbered_among_those_that_may_be_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_devices("0,2") == "0,2"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, GPU-5a,7")
    assert visible_devices("1,0") == "GPU-5a,4"
    with refused("gpus=3: CUDA_VISIBLE_DEVICES shows 3 GPUs here: give 0 to 2"):
        visible_devices("3")


def test_engine_environment_leaves_the_users_settings_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "VLLM_CPU_KVCACHE_SPACE",
        "HF_HUB_OFFLINE",
        "DO_NOT_TRACK",
        "SGLANG_USE_CPU_ENGINE",
    ):
        monkeypatch.delenv(name, raising=False)
    local = engine_environment("vllm", "cpu", str(tmp_path))
    assert local["HF_HUB_OFFLINE"] == "1"
    assert local["VLLM_CPU_KVCACHE_SPACE"] == "1"
    assert "HF_HUB_OFFLINE" not in engine_environment(
        "vllm", "cpu", "organisation/model"
    )
    assert "VLLM_CPU_KVCACHE_SPACE" not in engine_environment(
        "vllm", "cuda", str(tmp_path)
    )
    assert engine_environment("sglang", "cpu", "a/b")["SGLANG_USE_CPU_ENGINE"] == "1"
    assert "SGLANG_USE_CPU_ENGINE" not in engine_environment("sglang", "cuda", "a/b")
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "8")
    assert "VLLM_CPU_KVCACHE_SPACE" not in engine_environment(
        "vllm", "cpu", str(tmp_path)
    )


# ---- checking


@pytest.mark.engine
@pytest.mark.parametrize("engine", ENGINES)
def test_check_of_a_working_engine(engine: str, request: pytest.FixtureRequest) -> None:
    python = request.getfixturevalue(f"{engine}_python")
    health = check(find_interpreter(engine, str(python)))
    assert health.problem is None
    assert set(ENGINES[engine].distributions) & set(health.versions)
    assert health.versions["torch"].startswith("2.")
    assert health.device


def problem_of(python: Path, seconds: float = 60) -> str:
    problem = check(Interpreter("vllm", python, "managed"), seconds=seconds).problem
    assert problem is not None
    assert "\n" not in str(problem)
    assert str(problem).endswith("logdrift env create vllm --fresh")
    return str(problem)


def test_check_of_broken_interpreters(tmp_path: Path) -> None:
    assert "import torch fails: ModuleNotFoundError" in problem_of(Path(sys.executable))
    rude = script(
        tmp_path / "rude",
        r"printf 'first\n\033[31mred\033[0m \033]0;title\007 \200 end\n'; exit 3",
    )
    assert "exit status 3: red" in problem_of(rude)
    assert problem_of(rude).isprintable()
    assert "ended by signal 9" in problem_of(script(tmp_path / "killed", "kill -9 $$"))
    assert "cannot be started" in problem_of(tmp_path / "absent")


def test_check_ends_what_hangs(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    hanging = script(tmp_path / "hanging", f"echo $$ > {pids}\nsleep 600 &\nsleep 600")
    assert "took more than 1 s" in problem_of(hanging, seconds=1)
    assert members(int(pids.read_text())) == set()


# ---- installing


def test_an_interrupted_install_is_mended_by_the_next(tmp_path: Path) -> None:
    folder = tmp_path / "envs" / "vllm"
    cancel = threading.Event()
    steps: list[Step] = []

    def stop_in_the_middle(step: Step) -> None:
        steps.append(step)
        if step.doing == "installing":
            cancel.set()

    with pytest.raises(Cancelled):
        install_tiny(folder, recipe=LARGE, report=stop_in_the_middle, cancel=cancel)
    assert read_marker(folder) is None
    assert steps[0].doing == "making the environment"
    assert steps[-1].total == 3

    marker = install_tiny(folder, recipe=LARGE)
    assert marker.versions == {"mpmath": "1.3.0"}
    assert read_marker(folder) == marker
    site = next((folder / "lib").glob("python3.*/site-packages"))
    for record in site.glob("*.dist-info/RECORD"):
        for name, digest, _ in csv.reader(record.read_text().splitlines()):
            assert (site / name).exists() or not digest, name

    seen: list[Step] = []
    assert install_tiny(folder, recipe=LARGE, report=seen.append) == marker
    assert seen == []


def test_a_package_that_pip_did_not_finish_is_installed_again(tmp_path: Path) -> None:
    folder = tmp_path / "vllm"
    install_tiny(folder)
    site = next((folder / "lib").glob("python3.*/site-packages"))
    # What a killed pip leaves: metadata there, files missing, RECORD still the wheel's
    # own.
    (site / "mpmath" / "functions" / "zeta.py").unlink()
    record = site / "mpmath-1.3.0.dist-info" / "RECORD"
    record.write_text(
        "".join(x for x in record.read_text().splitlines(True) if "INSTALLER" not in x)
    )
    marker = json.loads((folder / MARKER).read_text())
    (folder / MARKER).unlink()
    (folder / "logdrift-env.started.json").write_text(
        json.dumps({k: marker[k] for k in ("recipe", "python")})
    )
    steps: list[Step] = []
    install_tiny(folder, report=steps.append)
    assert (site / "mpmath" / "functions" / "zeta.py").exists()
    assert "making the environment" not in [s.doing for s in steps]


def test_a_broken_venv_is_made_anew_and_strange_folders_are_left_alone(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "vllm"
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    with refused("not an environment and not empty"):
        install_tiny(folder)
    assert (folder / "thesis.txt").read_text() == "mine"
    (folder / "thesis.txt").unlink()
    install_tiny(folder)
    (folder / "bin" / "python").unlink()
    assert read_marker(folder) is None
    install_tiny(folder)
    assert read_marker(folder) is not None


def test_two_at_once_install_once(tmp_path: Path) -> None:
    steps: list[Step] = []
    markers: list[object] = []
    threads = [
        threading.Thread(
            target=lambda: markers.append(
                install_tiny(tmp_path / "vllm", report=steps.append)
            )
        )
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(markers) == 2
    assert markers[0] == markers[1]
    assert any("waiting for another logdrift" in step.doing for step in steps)
    assert [step.doing for step in steps].count("making the environment") == 1


@pytest.mark.parametrize(
    ("settings", "limit", "said"),
    [
        (
            {"PIP_INDEX_URL": "http://127.0.0.1:9/simple"},
            None,
            "the package index cannot be reached",
        ),
        ({}, 256, "a file size limit or quota stops it"),
    ],
)
def test_failures_of_installing_are_one_line(
    tmp_path: Path, settings: dict[str, str], limit: int | None, said: str
) -> None:
    code = (
        "import sys, threading; from pathlib import Path; from tests.test_environments"
        " import install_tiny\nfrom logdrift.core.errors import LogdriftError\ntry:"
        " install_tiny(Path(sys.argv[1]))\nexcept LogdriftError as error: print(error)"
    )
    clean = (
        {"PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": "", "PIP_RETRIES": "1"}
        if settings
        else {}
    )
    ulimit = f"ulimit -f {limit}; " if limit else ""  # KiB in bash
    out = subprocess.run(
        [
            "bash",
            "-c",
            f'{ulimit}exec "$0" "$@"',
            sys.executable,
            "-c",
            code,
            str(tmp_path / "vllm"),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=REPOSITORY,
        env={**os.environ, **clean, **settings},
    )
    assert out.stdout.count("\n") == 1, out.stderr
    assert said in out.stdout
    assert f"(log: {tmp_path / 'vllm.log'})" in out.stdout
    assert read_marker(tmp_path / "vllm") is None


def test_bases_that_cannot_make_environments(tmp_path: Path) -> None:
    def attempt(python: Path | str) -> str:
        with pytest.raises(LogdriftError) as caught:
            install(
                TINY,
                tmp_path / "vllm",
                probe=lambda _: {},
                report=lambda _: None,
                cancel=threading.Event(),
                python=str(python),
            )
        assert "\n" not in str(caught.value)
        return str(caught.value)

    no_venv = script(
        tmp_path / "a",
        f'[ "$1" = -m ] && exec {sys.executable} -m no_such.venv\nexec {sys.executable}'
        ' "$@"',
    )
    without = script(
        tmp_path / "b",
        f'[ $1 = -m ] && echo "No module named venv" && exit 1\nexec {sys.executable}'
        ' "$@"',
    )
    assert "vllm: failed: " in attempt(no_venv)
    assert (
        "install its venv module (python3-venv), or give another --python"
        in attempt(without)
    )
    assert "no such interpreter" in attempt(tmp_path / "none")
    assert "does not run as a Python interpreter" in attempt(
        script(tmp_path / "c", "exit 1")
    )
    assert "is Python 3.9: vllm needs 3.11 to 3.13" in attempt(
        script(tmp_path / "d", "echo 3 9")
    )


def test_failure_lines_show_nothing_that_controls_a_terminal(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(
        b"$ pip install\nfine\nERROR: \x1b[31mbad\x1b[0m \x1b]0;t\x07 \xff thing\n"
    )
    line = explain_failure(log, tmp_path)
    assert line.isprintable()
    assert "bad" in line
    log.write_bytes(b"$ old\nNo space left on device\n$ new\nPermission denied: x\n")
    assert "no permission to write" in explain_failure(log, tmp_path)


# ---- the command


def test_interrupting_the_command_leaves_nothing_behind(tmp_path: Path) -> None:
    logdrift = [
        sys.executable,
        "-m",
        "logdrift.cli.main",
        "env",
        "create",
        "transformers",
    ]
    process = subprocess.Popen(
        logdrift,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        start_new_session=True,
        env={**os.environ, "LOGDRIFT_CACHE": str(tmp_path / "cache")},
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "fetching" in line:
            break
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (
        err.splitlines()[-1]
        == "logdrift: cancelled: go on with logdrift env create transformers"
    )
    assert out == ""
    mine = str(tmp_path / "cache")
    deadline = time.monotonic() + 5
    while left := [p for p in Path("/proc").glob("[0-9]*/cmdline") if mine in _read(p)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    assert not (tmp_path / "cache" / "envs" / "transformers" / MARKER).exists()


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def test_list_and_check_by_command(
    tmp_path: Path, run_logdrift: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    settings = {"LOGDRIFT_CACHE": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    finished_environment(tmp_path / "envs" / "sglang", "sglang")
    listed = run_logdrift("env", "list", **settings)
    assert listed.returncode == 0
    lines = listed.stdout.splitlines()
    found = [line.split()[0] for line in lines]
    expected = [*ENGINES, "smollm2"]
    assert found == expected
    assert "logdrift env create vllm" in lines[1]
    assert "managed" in lines[2]
    assert "older recipe" in lines[2]
    checked = run_logdrift("env", "check", "sglang", "vllm", **settings)
    assert checked.returncode == 1
    assert len(checked.stdout.splitlines()) == 2
    wrong = run_logdrift("env", "check", "vlm", **settings)
    assert wrong.returncode == 2
    assert wrong.stdout == ""
    assert (
        wrong.stderr
        == "logdrift: engine 'vlm' is unknown: use transformers, vllm, sglang\n"
    )


def test_no_gpu_is_seen_where_all_are_hidden(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script(tmp_path / "nvidia-smi", "echo 'NVIDIA H100'; echo 'NVIDIA H100'")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    environments.nvidia_gpus.cache_clear()
    try:
        assert environments.nvidia_gpus() == ("NVIDIA H100", "NVIDIA H100")
        environments.nvidia_gpus.cache_clear()
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        assert environments.default_device() == "cpu"
    finally:
        environments.nvidia_gpus.cache_clear()
