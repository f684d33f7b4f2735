"""What an engine environment is made of: pinned packages per engine and device, and shims where a CPU needs them.

A recipe is ``ENGINE-DEVICE.txt``, one ``name==version`` a line (with a marker where Python versions differ),
complete, so that it is installed without resolving anything.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from logdrift.core.errors import InputError

HERE = Path(__file__).parent
OLDEST, NEWEST = (3, 11), (3, 13)
# outlines-core 0.1.26, which SGLang's GPU release pins, has no wheel for Python 3.13.
_NEWEST = {("sglang", "cuda"): (3, 12)}
_SHIMS = {("sglang", "cpu"): HERE / "sglang_cpu_shims"}


@dataclass(frozen=True, slots=True)
class Recipe:
    """``requirements`` are installed as they stand; ``shims`` is a folder copied into site-packages afterwards."""

    engine: str
    device: str
    requirements: tuple[str, ...]
    shims: Path | None = None
    oldest: tuple[int, int] = OLDEST
    newest: tuple[int, int] = NEWEST

    @property
    def digest(self) -> str:
        """Changes with any requirement and any byte of a shim."""
        hasher = hashlib.sha256(
            "\n".join((self.engine, self.device, *self.requirements)).encode()
        )
        for file in self.shim_files():
            hasher.update(
                str(file.relative_to(self.shims or file)).encode()
                + b"\0"
                + file.read_bytes()
            )
        return f"sha256:{hasher.hexdigest()}"

    def shim_files(self) -> list[Path]:
        """Files to copy, in a stable order."""
        if self.shims is None:
            return []
        return sorted(
            p
            for p in self.shims.rglob("*")
            if p.is_file() and "__pycache__" not in p.parts
        )

    def pinned(self, name: str) -> str | None:
        """Version of a package in this recipe."""
        pairs = (line.split(" ")[0].split("==") for line in self.requirements)
        return next((version for package, version in pairs if package == name), None)


def recipe_for(engine: str, device: str) -> Recipe:
    """The recipe of an engine for ``cpu`` or ``cuda``. Raises InputError where there is none."""
    path = HERE / f"{engine}-{device}.txt"
    if not path.is_file():
        raise InputError(
            f"no recipe for {engine} on {device}: install it yourself and name it in the config file"
        )
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return Recipe(
        engine=engine,
        device=device,
        requirements=tuple(line for line in lines if line and not line.startswith("#")),
        shims=_SHIMS.get((engine, device)),
        newest=_NEWEST.get((engine, device), NEWEST),
    )
