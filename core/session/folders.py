"""The sessions in a folder."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from logdrift.core.session.layout import MANIFEST


def session_folders(folder: Path) -> tuple[list[Path], str | None]:
    """The sessions in a folder by name, and why it cannot be read."""
    try:
        entries = list(os.scandir(folder))
        entries.sort(key=lambda entry: entry.name)
    except FileNotFoundError:
        return [], "no such folder yet: logdrift demo makes it, and a session in it"
    except OSError as error:
        return [], f"cannot be read: {error.strerror}"
    folders: list[Path] = []
    for entry in entries:
        hidden = entry.name.startswith(".")
        if not hidden and _is_session(entry):
            path = Path(entry.path)
            folders.append(path)
    return folders, None


def _is_session(entry: os.DirEntry[str]) -> bool:
    with contextlib.suppress(OSError):
        manifest = os.path.join(entry.path, MANIFEST)
        has_manifest = os.path.exists(manifest)
        return has_manifest and entry.is_dir()
    return False
