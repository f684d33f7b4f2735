"""The samples of the package are looked at, and stay as they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.make_session import make_session
from logdrift.core import paths
from logdrift.core.capture import trust
from logdrift.core.capture.create import create_session
from logdrift.core.plan import BackendSpec, CapturePlan
from logdrift.core.session.importers import import_session
from logdrift.core.session.layout import read_manifest
from logdrift.core.session.manage import delete_session, rename_session
from tests.common import refused


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A session that lies where the package keeps its samples."""
    folder = tmp_path / "package" / "samples"
    monkeypatch.setattr(paths, "samples_folder", lambda: folder)
    make_session(folder / "mine", tokens=200, sequences=4, top_k=3)
    return folder / "mine"


def _new(folder: Path) -> None:
    spec = BackendSpec(name="t", engine="transformers", dtype="float32")
    create_session(CapturePlan(model="m", texts=("a",), backends=(spec,)), folder)


DOINGS: dict[str, Callable[[Path], object]] = {
    "delete": delete_session,
    "rename": lambda folder: rename_session(folder, "other"),
    "run": lambda folder: trust.require(folder, read_manifest(folder)),
    "capture beside it": lambda folder: _new(folder.with_name("new")),
    "import beside it": lambda folder: import_session(
        "session", [folder], folder.with_name("new"), None, []
    ),
}


@pytest.mark.parametrize("doing", DOINGS.values(), ids=DOINGS.keys())
def test_a_sample_of_the_package_stays_as_it_is(
    shipped: Path, doing: Callable[[Path], object]
) -> None:
    before = sorted(shipped.parent.rglob("*"))
    with refused("copy the folder and work there"):
        doing(shipped)
    assert sorted(shipped.parent.rglob("*")) == before


def test_a_copy_is_a_session_like_any_other(shipped: Path, tmp_path: Path) -> None:
    copy = shipped.rename(tmp_path / "copy")
    renamed = rename_session(copy, "again")
    delete_session(renamed)
    assert not renamed.exists()


def test_the_samples_lie_in_the_package() -> None:
    names = {folder.name for folder in paths.samples_folder().iterdir()}
    assert names == {"sample-smollm2", "sample-temperature"}
