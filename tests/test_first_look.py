"""The first look without an engine: the wheel alone, in a fresh environment."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from benchmarks.screen import Terminal
from tests.common import REPOSITORY

SAMPLES = ("sample-smollm2", "sample-temperature")
LARGEST_WHEEL = 4_500_000
"""Bytes: somebody waits for it who only wants to look."""


def _built(target: str, source: Path, folder: Path) -> Path:
    """The ``target`` (wheel or sdist) of ``source``, in ``folder``."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", folder],
        cwd=source,
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("logdrift-*.*")
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as pip makes it: from the sdist."""
    folder = tmp_path_factory.mktemp("sdist")
    sdist = _built("sdist", REPOSITORY, folder / "made")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (source,) = folder.glob("logdrift-*")
    return _built("wheel", source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel; what it depends on is that of the tests."""
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "-qq"]
    subprocess.run([*pip, "--no-deps", "--no-index", wheel], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    # A path that stands behind those of the environment itself.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def _files(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in folder.rglob("*")
    }


def _samples(installed: Path) -> Path:
    (samples,) = installed.glob("lib/python*/site-packages/logdrift/samples")
    return samples


def test_the_wheel_is_small_and_has_the_samples_once(wheel: Path) -> None:
    assert wheel.stat().st_size < LARGEST_WHEEL
    names = zipfile.ZipFile(wheel).namelist()
    manifests = [name for name in names if name.endswith("/session.json")]
    folders = [name.split("/") for name in manifests]
    samples = [parts for parts in folders if len(parts) == 4]
    assert sorted(samples) == [
        ["logdrift", "samples", name, "session.json"] for name in SAMPLES
    ]


def test_an_sdist_lacks_nothing_of_the_package(wheel: Path, tmp_path: Path) -> None:
    straight = _built("wheel", REPOSITORY, tmp_path)
    names = set(zipfile.ZipFile(wheel).namelist())
    assert names == set(zipfile.ZipFile(straight).namelist())
    assert "logdrift/core/worker/main.py" in names


def test_the_samples_open_where_they_lie(installed: Path, tmp_path: Path) -> None:
    """From another folder, on a terminal; nothing is written beside them."""
    before = _files(_samples(installed))
    program = str(installed / "bin" / "logdrift")
    terminal = Terminal(
        ["/bin/sh", "-c", f"cd '{tmp_path}' && exec '{program}' open --sample"],
        120,
        36,
        XDG_STATE_HOME=str(tmp_path / "state"),
        XDG_CONFIG_HOME=str(tmp_path / "config"),
    )
    try:
        for name in SAMPLES:
            terminal.wait_for(name.encode())
        terminal.quiet(0.5)
        terminal.key(b"\r")
        terminal.wait_for(b"vllm/decode")
        terminal.quiet(0.5)
        assert terminal.alive()
    finally:
        terminal.close()
    assert _files(_samples(installed)) == before
    assert not (tmp_path / "sessions").exists()


@pytest.mark.parametrize("name", SAMPLES)
def test_one_sample_by_its_name(installed: Path, tmp_path: Path, name: str) -> None:
    program = str(installed / "bin" / "logdrift")
    terminal = Terminal(
        [program, "open", "--sample", name], 120, 36, XDG_STATE_HOME=str(tmp_path)
    )
    try:
        terminal.wait_for(b"vllm/decode")
    finally:
        terminal.close()


def test_a_sample_that_is_not_there_is_one_line(installed: Path) -> None:
    done = subprocess.run(
        [installed / "bin" / "logdrift", "open", "--sample", "none"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
