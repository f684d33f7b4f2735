"""What an engine environment is made of: pinned packages per engine and device, and
shims where a CPU needs them.

A recipe is ``core/engines/ENGINE/recipes/DEVICE.txt``: one ``name==version`` a line
(with a marker where Python versions differ), complete, so that it is installed without
resolving anything. A folder ``DEVICE_shims`` beside it is copied into site-packages.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from logdrift.core import engines
from logdrift.core.engines import ENGINES
from logdrift.core.errors import InputError

OLDEST = (3, 11)
NEWEST = (3, 13)
_ENGINES_FOLDER = Path(engines.__file__).parent


@dataclass(frozen=True, slots=True)
class Recipe:
    """``requirements`` are installed as they stand; ``shims`` is a folder that is
    copied into site-packages afterwards. ``oldest`` and ``newest`` are Python versions.
    """

    engine: str
    device: str
    requirements: tuple[str, ...]
    shims: Path | None = None
    oldest: tuple[int, int] = OLDEST
    newest: tuple[int, int] = NEWEST

    @property
    def digest(self) -> str:
        """Changes with any requirement and any byte of a shim."""
        lines = (self.engine, self.device, *self.requirements)
        text = "\n".join(lines)
        hasher = hashlib.sha256(text.encode())
        for file in self.shim_files():
            place = file.relative_to(self.shims or file)
            name = str(place).encode()
            hasher.update(name)
            hasher.update(b"\0")
            hasher.update(file.read_bytes())
        return f"sha256:{hasher.hexdigest()}"

    def shim_files(self) -> list[Path]:
        """Files to copy, in a stable order."""
        if self.shims is None:
            return []
        files = []
        for path in self.shims.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                files.append(path)
        return sorted(files)

    def pinned(self, name: str) -> str | None:
        """Version of a package in this recipe."""
        for line in self.requirements:
            pin = line.split(" ")[0]
            package, version = pin.split("==")
            if package == name:
                return version
        return None


def recipe_for(engine: str, device: str) -> Recipe:
    """The recipe of an engine for ``cpu`` or ``cuda``. Raises InputError where there is
    none.
    """
    folder = _ENGINES_FOLDER / engine / "recipes"
    path = folder / f"{device}.txt"
    if not path.is_file():
        raise InputError(
            f"no recipe for {engine} on {device}: install it yourself and name it in"
            " the config file"
        )
    shims = folder / f"{device}_shims"
    return Recipe(
        engine=engine,
        device=device,
        requirements=_requirements(path),
        shims=shims if shims.is_dir() else None,
        newest=ENGINES[engine].process.newest_python.get(device, NEWEST),
    )


def _requirements(path: Path) -> tuple[str, ...]:
    text = path.read_text(encoding="utf-8")
    requirements = []
    for line in text.splitlines():
        requirement = line.strip()
        if requirement and not requirement.startswith("#"):
            requirements.append(requirement)
    return tuple(requirements)
