"""Which sessions may start programs: those that this user has captured or confirmed
with logdrift.

A plan names interpreters, options and models, and resuming obeys them, so the plan of a
session from elsewhere is another person's program. What is one's own cannot be told by
the folder, which came from elsewhere too: it is recorded in the user's state folder,
one small file for each session. Its name is a digest over the session's id and all that
would be run, so an edited session, or a copy under another id, is another one; its
folder may be renamed and moved.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from pathlib import Path

from logdrift.core.config import state_folder
from logdrift.core.errors import InputError
from logdrift.core.paths import refuse_shipped
from logdrift.core.plan import BackendSpec, CapturePlan
from logdrift.core.session.below import replace_file
from logdrift.core.session.layout import Manifest, read_manifest
from logdrift.core.session.visible import visible

FLAG = "--trust-session"
"""What confirms a session on the command line."""
OLDER = "a session that you captured with an older logdrift is asked about once, too"

_FOLDER = "trusted"
_BEGINNING = 60
_PASSED_ON = "LOGDRIFT_TRUSTED"
"""Variable with the records that no state folder could take: for this process and those
that it starts.
"""
_LONGEST = 2000
"""Characters of a line about what would be started: all of it is shown, since whatever
is cut off would be confirmed unseen.
"""


class Stranger(InputError):
    """A session that was neither captured nor confirmed here. ``manifest`` is the one
    that was looked at: to confirm it is to confirm what ``starts`` says, whatever the
    folder holds meanwhile.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self.starts = would_start(manifest)
        super().__init__(
            f"session {folder} was not captured or confirmed here, and this would start"
            f" {'; '.join(self.starts)}: add {FLAG} to confirm it once ({OLDER})"
        )


def require(folder: Path, manifest: Manifest) -> None:
    """Raises `Stranger` where the session was neither captured nor confirmed by this
    user, InputError where it is a sample of the package.
    """
    refuse_shipped(folder)
    if not is_ours(manifest):
        raise Stranger(folder, manifest)


def require_folder(folder: Path) -> None:
    """`require` of what the folder holds now. Raises InputError where it is no
    session.
    """
    require(folder, read_manifest(folder))


def is_ours(manifest: Manifest) -> bool:
    """Whether this user captured or confirmed the session as it is now."""
    record = _record(manifest)
    if record in os.environ.get(_PASSED_ON, "").split():
        return True
    folder = state_folder()
    return folder is not None and (folder / _FOLDER / record).is_file()


def remember(manifest: Manifest) -> None:
    """Record that this user captured or confirmed the session. Without a state folder
    it holds for this process and those that it starts.
    """
    record = _record(manifest)
    folder = state_folder()
    if folder is not None:
        said = {
            "session": manifest.id,
            "model": manifest.model.id,
            "since": round(time.time()),
        }
        with contextlib.suppress(OSError):
            (folder / _FOLDER).mkdir(parents=True, exist_ok=True)
            replace_file(
                folder / _FOLDER,
                record,
                json.dumps(said).encode("utf-8", "backslashreplace"),
            )
            return
    passed_on = os.environ.get(_PASSED_ON, "").split()
    os.environ[_PASSED_ON] = " ".join(dict.fromkeys([*passed_on, record]))


def would_start(manifest: Manifest) -> list[str]:
    """What a capture of the session starts, in words that are safe on a terminal: a
    line for the model, one for its code where that would be run, and one for each
    backend. Raises InputError for a plan that cannot be read, or is too long to be
    looked at.
    """
    plan = CapturePlan.from_json(manifest.plan)
    if plan.revision:
        revision = f", revision {plan.revision}"
    else:
        revision = ""
    lines = [f"model {plan.model}{revision}"]
    if plan.trust_remote_code:
        lines.append(
            "Python code that comes with the model, with all your rights"
            " (trust_remote_code is on)"
        )
    lines += [_backend(spec) for spec in plan.backends]
    return [_whole(visible(line)) for line in lines]


def _backend(spec: BackendSpec) -> str:
    if spec.python is not None:
        interpreter = spec.python
    else:
        interpreter = f"your own environment of {spec.engine}"
    said = f"{spec.name}: {spec.engine} by {interpreter}"
    if spec.server is not None:
        said = f"{spec.name}: requests to {spec.engine} at {spec.server}"
    if spec.model is not None:
        said += f", model {spec.model}"
    if spec.revision is not None:
        said += f", revision {spec.revision}"
    options = [
        f"{name}={json.dumps(value, ensure_ascii=False, default=str)}"
        for name, value in spec.options.items()
    ]
    if options:
        said += f", {', '.join(options)}"
    return said


def _whole(line: str) -> str:
    """The line. Raises InputError for one that nobody would read to its end."""
    if len(line) <= _LONGEST:
        return line
    raise InputError(
        f"what the plan of this session would start is {len(line):,} characters long,"
        f" beginning {line[:_BEGINNING]!r}: that cannot be looked at, so it is not"
        " started",
        remedy="shorten the options in its session.json",
    )


def _record(manifest: Manifest) -> str:
    """Name of the file that stands for the session: 64 hex digits."""
    what = {
        "id": manifest.id,
        "model": [manifest.model.id, manifest.model.revision],
        "plan": manifest.plan,
    }
    text = json.dumps(what, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
