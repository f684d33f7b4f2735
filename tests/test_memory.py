"""The memory that is left, as files of the kernel tell it."""

from __future__ import annotations

from pathlib import Path

import pytest

from logdrift.core.memory import available_memory

MIB = 1 << 20
SECOND = ("memory.max", "memory.current", "memory.stat")
FIRST = (
    "memory/memory.limit_in_bytes",
    "memory/memory.usage_in_bytes",
    "memory/memory.stat",
)


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    file = tmp_path / "meminfo"
    file.write_text("MemTotal: 9 kB\nMemAvailable:   8192 kB\n")
    return file


def group(folder: Path, files: tuple[str, ...], *texts: str) -> Path:
    for name, text in zip(files, texts, strict=False):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{text}\n")
    return folder


@pytest.mark.parametrize("files", [SECOND, FIRST])
def test_memory_is_what_the_container_may_have(
    tmp_path: Path, kernel: Path, files: tuple[str, ...]
) -> None:
    assert available_memory(kernel, tmp_path) == 8 * MIB
    group(tmp_path, files, f"{6 * MIB}", f"{4 * MIB}")
    assert available_memory(kernel, tmp_path) == 2 * MIB
    assert available_memory(tmp_path / "absent", tmp_path) == 2 * MIB
    group(tmp_path, files, f"{60 * MIB}")
    assert available_memory(kernel, tmp_path) == 8 * MIB


@pytest.mark.parametrize(("files", "total"), [(SECOND, ""), (FIRST, "total_")])
def test_the_cache_of_files_is_free(
    tmp_path: Path, kernel: Path, files: tuple[str, ...], total: str
) -> None:
    """It fills a container up to its limit, and is given back when asked for."""
    statistics = (
        f"anon {MIB}\n{total}inactive_file {2 * MIB}\n{total}active_file {MIB}\n"
        f"inactive_anon {MIB}\nworkingset_refault_file 7"
    )
    group(tmp_path, files, f"{4 * MIB}", f"{4 * MIB}", statistics)
    assert available_memory(kernel, tmp_path) == 3 * MIB


def test_a_container_without_a_limit_leaves_what_the_machine_has(
    tmp_path: Path, kernel: Path
) -> None:
    group(tmp_path, SECOND, "max", "7", "inactive_file 3")
    assert available_memory(kernel, tmp_path) == 8 * MIB
    assert available_memory(tmp_path / "absent", tmp_path) is None


@pytest.mark.parametrize("text", ["", "MemAvailable:", "MemAvailable: much kB"])
def test_what_is_not_told_is_not_known(tmp_path: Path, text: str) -> None:
    file = tmp_path / "meminfo"
    file.write_text(text)
    group(tmp_path, SECOND, "", "many", "inactive_file")
    assert available_memory(file, tmp_path) is None
