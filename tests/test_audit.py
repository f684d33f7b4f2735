"""What is locked is what was looked at: `requirements/audit.toml` against every lock of
the repository. No network.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import tomllib
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.common import REPOSITORY

AUDIT = tomllib.loads((REPOSITORY / "requirements/audit.toml").read_text("utf-8"))
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
DEVELOPMENT = REPOSITORY / "requirements" / "dev.txt"
RECIPES = sorted(REPOSITORY.glob("core/engines/*/recipes/*.txt"))
LOCKS = [DEVELOPMENT, *RECIPES]
KINDS = ("runtime", "optional", "development")


class Locked(NamedTuple):
    name: str
    version: Version


def locked(path: Path) -> Iterator[Locked]:
    """Each package of a lock. Fails for one without one exact version."""
    for line in path.read_text("utf-8").splitlines():
        text = line.partition(" #")[0].strip()
        if not text or text.startswith(("#", "-")):
            continue
        requirement = Requirement(text)
        (pin,) = requirement.specifier
        assert pin.operator == "==", line
        assert requirement.url is None, line
        yield Locked(canonicalize_name(requirement.name), Version(pin.version))


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements}


def below(one: Locked, advisory: dict[str, Any]) -> bool:
    is_about = one.name == advisory["package"]
    return is_about and one.version < Version(advisory["fixed"])


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.parent.parent.name)
def test_no_locked_version_has_a_known_hole(path: Path) -> None:
    packages = list(locked(path))
    assert packages
    holes = [
        f"{one.name} {one.version}: {advisory['id']}"
        for one in packages
        for advisory in AUDIT["advisory"]
        if below(one, advisory)
    ]
    assert holes == []


def test_a_hole_would_be_seen() -> None:
    advisory = {"package": "h11", "id": "x", "fixed": "0.16.0"}
    assert below(Locked("h11", Version("0.15.1")), advisory)
    assert not below(Locked("h11", Version("0.16.0")), advisory)
    assert not below(Locked("h12", Version("0.1")), advisory)


def test_what_is_installed_for_development_was_looked_at() -> None:
    """Nothing is locked that is not in the list, and nothing listed is gone."""
    looked_at = [name for kind in KINDS for name in AUDIT[kind]]
    assert sorted(looked_at) == sorted({one.name for one in locked(DEVELOPMENT)})


def test_the_list_knows_what_users_install() -> None:
    """What logdrift itself depends on stands in the list with a reason, not as brought
    along by something else.
    """
    direct = names(PROJECT["project"]["dependencies"])
    extras = PROJECT["project"]["optional-dependencies"]
    optional = names([*extras["parquet"], *extras["zstd"]])
    reasons = {**AUDIT["runtime"], **AUDIT["optional"]}
    own = {name for name, why in reasons.items() if not why.startswith("with ")}
    assert own == direct | optional


def test_what_is_borne_has_a_reason_and_is_there() -> None:
    everything = {one.name for path in LOCKS for one in locked(path)}
    for borne in AUDIT["borne"]:
        assert borne["package"] in everything, "gone: take it from the list"
        assert len(borne["why"]) > 20
    ids = [entry["id"] for entry in (*AUDIT["advisory"], *AUDIT["borne"])]
    assert all(re.fullmatch(r"(CVE|GHSA)-[\w-]+", text) for text in ids)
