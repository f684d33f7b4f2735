"""One configured engine of a plan, its checks, and the captures that it gives."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, NamedTuple, get_args

from logdrift.core.credentials import HIDDEN, secret_in
from logdrift.core.engines import ENGINES, PATHS
from logdrift.core.errors import InputError
from logdrift.core.facts import Batch
from logdrift.core.plan.server import ServerOptions, check_address, server_options

Role = Literal["reference", "trainer", "rollout"]
ROLES: tuple[str, ...] = get_args(Role)
SCORING = ("prefill", "forced_decode")
"""Paths that score given ids, so that they can be asked again with another batch."""
DTYPES = ("auto", "bfloat16", "float16", "float32")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_GPUS = re.compile(r"\d+(,\d+)*")
_START_FIELDS = ("python", "gpus", "model", "revision")
"""Fields that decide how an engine is started. A ``server`` runs already."""


class CaptureName(NamedTuple):
    """One capture that a backend gives: its label, and which scores it holds."""

    label: str
    path: str
    repeat: int = 1
    batch: Batch = "together"


@dataclass(frozen=True, slots=True)
class BackendSpec:
    """One configured engine of a capture.

    ``options`` go to the engine under its own names; all other fields are logdrift's.
    ``model`` (with its ``revision``) is another folder or hub id for this backend only:
    the session's ids and tokenizer stay. ``alone`` captures each scoring path once more
    with every sequence in a batch of its own. ``reproducible`` gives the engine one
    part at a time, so that a part has the same numbers whenever it is captured; else
    the engine fills its batches from many parts. ``server`` is the address of a running
    server, which is asked and never started or changed: ``options`` then say how it is
    asked (`logdrift.core.plan.server.ServerOptions`), and ``dtype`` what it is known to
    run in.

    A new field is one line here, and one check below where it can be wrong: the
    command line, plan files and saved sessions read it from the annotation.
    """

    name: str
    engine: str
    dtype: str = "auto"
    role: Role = "rollout"
    paths: tuple[str, ...] = ()
    repeats: int = 1
    python: str | None = None
    gpus: str | None = None
    model: str | None = None
    revision: str | None = None
    server: str | None = None
    alone: bool = False
    reproducible: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_backend_name(self.name)
        self._check_words()
        self._check_numbers()
        self._check_paths()
        self._check_own_model()
        self._check_alone()
        self._check_server()
        self._check_options()

    def error(self, field: str, reason: str, remedy: str | None = None) -> InputError:
        """An error about a field of this backend."""
        return backend_error(self.name, field, reason, remedy)

    def to_json(self) -> dict[str, Any]:
        """As saved in a session's manifest and sent to a worker."""
        data = asdict(self)
        data["options"] = dict(self.options)
        return data

    def _check_words(self) -> None:
        self._check_word("engine", ENGINES)
        self._check_word("dtype", DTYPES)
        self._check_word("role", ROLES)

    def _check_word(self, field: str, words: Iterable[str]) -> None:
        value = getattr(self, field)
        if value not in words:
            reason = f"{field} {value!r} is unknown"
            remedy = f"use {', '.join(words)}"
            raise self.error(field, reason, remedy)

    def _check_numbers(self) -> None:
        if self.gpus is not None and not _GPUS.fullmatch(self.gpus):
            reason = f"gpus is {self.gpus!r}"
            remedy = "give device numbers, e.g. 0 or 0+1"
            raise self.error("gpus", reason, remedy)
        if self.repeats < 1:
            reason = f"repeats is {self.repeats}"
            raise self.error("repeats", reason, "give 1 or more")

    def _check_paths(self) -> None:
        engine = ENGINES[self.engine]
        available = engine.paths
        owner = self.engine
        if self.server is not None and engine.server is not None:
            available = engine.server.paths
            owner = f"a running server of {self.engine}"
        for path in self.paths:
            if path not in PATHS:
                reason = f"path {path!r} is unknown"
                remedy = f"use {', '.join(PATHS)}"
                raise self.error("paths", reason, remedy)
            if path not in available:
                reason = f"{owner} has no path {path!r}"
                remedy = f"it has {', '.join(available)}"
                raise self.error("paths", reason, remedy)

    def _check_own_model(self) -> None:
        if self.model == "":
            remedy = "name a folder or hub id, or leave it out"
            raise self.error("model", "model is empty", remedy)
        if self.revision is not None and self.model is None:
            reason = "revision belongs to a model of its own"
            remedy = "give model= too, or set it for the whole plan"
            raise self.error("revision", reason, remedy)

    def _check_alone(self) -> None:
        if not self.alone or not self.paths:
            return
        if set(SCORING).isdisjoint(self.paths):
            reason = "alone scores given ids once more, and this backend scores none"
            remedy = f"add path {' or '.join(SCORING)}"
            raise self.error("alone", reason, remedy)

    def _check_options(self) -> None:
        if "server" in self.options:
            reason = "server is no option of an engine"
            raise self.error("options", reason, "give it beside engine and dtype")
        for name in ("model", "revision", "python"):
            value = getattr(self, name)
            secret = secret_in(value, name)
            if secret is not None:
                raise self._secret_error(secret, field=name)
        secret = secret_in(self.options)
        if secret is not None:
            raise self._secret_error(secret, field="options", what="option ")

    def _check_server(self) -> None:
        if self.server is None:
            return
        engine = ENGINES[self.engine]
        if engine.server is None:
            reason = f"{self.engine} has no server to attach to"
            raise self.error("server", reason, "leave out server=")
        try:
            check_address(self.server)
        except InputError as error:
            raise self.error("server", error.reason, error.remedy) from None
        if self.reproducible:
            reason = "a running server forms its batches itself"
            raise self.error("reproducible", reason, "leave out reproducible")
        for name in _START_FIELDS:
            if getattr(self, name) != _DEFAULTS[name]:
                reason = f"{name} is chosen where the server is started"
                raise self.error(name, reason, f"leave out {name}, or server")
        self.server_options()

    def server_options(self) -> ServerOptions:
        """How the running server is asked. Raises InputError."""
        try:
            return server_options(self.options)
        except InputError as error:
            raise self.error("options", error.reason, error.remedy) from None

    def _secret_error(self, name: str, field: str, what: str = "") -> InputError:
        dotted = f"backend[{self.name}].{field}"
        error = secret_error(name, field=dotted, what=what)
        return error.within(f"backend {self.name!r}")

    def labels(self) -> list[CaptureName]:
        """Every capture this backend gives, in the order in which it is captured."""
        names = self._captures(self.paths)
        # Sampling again would give other ids: decode is never repeated.
        repeatable = [path for path in self.paths if path != "decode"]
        for repeat in range(2, self.repeats + 1):
            names += self._captures(repeatable, repeat)
        if self.alone:
            scoring = [path for path in self.paths if path in SCORING]
            names += self._captures(scoring, batch="alone")
        return names

    def _captures(
        self, paths: Iterable[str], repeat: int = 1, batch: Batch = "together"
    ) -> list[CaptureName]:
        names = []
        for path in paths:
            label = label_of(self.name, path, repeat, batch)
            names.append(CaptureName(label, path, repeat, batch))
        return names


_DEFAULTS = {field.name: field.default for field in fields(BackendSpec)}


def label_of(name: str, path: str, repeat: int = 1, batch: Batch = "together") -> str:
    """The label of a capture: ``NAME/PATH``, ``NAME/PATH#2`` or ``NAME/PATH#alone``.

    The number is that of a repeat; ``alone``: sequences are scored one at a time.
    """
    if batch == "alone":
        return f"{name}/{path}#alone"
    if repeat > 1:
        return f"{name}/{path}#{repeat}"
    return f"{name}/{path}"


def backend_error(
    name: str, field: str, reason: str, remedy: str | None = None
) -> InputError:
    """An error about a field of the backend ``name``, which the printed line names."""
    return InputError(
        reason,
        field=f"backend[{name}].{field}",
        where=f"backend {name!r}",
        remedy=remedy,
    )


def secret_error(name: str, *, field: str, what: str = "") -> InputError:
    """An error about a value that looks like a credential.

    ``what`` stands before its dotted ``name``.
    """
    return InputError(
        f"{what}{name!r} looks like a credential and would be saved in the session",
        field=field,
        remedy="use the environment",
    )


def refuse_hidden(spec: BackendSpec) -> None:
    """Raises InputError for a backend with an option that was a credential.

    It was not saved, so the backend cannot be started with it again.
    """
    values = [spec.model, spec.python, dict(spec.options)]
    text = json.dumps(values, default=str)
    if HIDDEN in text:
        raise spec.error(
            "options",
            "an option of it looks like a credential and was not kept",
            "start a new session, with that option in the environment",
        )


def check_backend_name(name: str) -> None:
    """Raises InputError for what cannot be a backend's name.

    The name is also that of a folder, and a part of labels.
    """
    if not _NAME.fullmatch(name):
        reason = "a name is letters, digits, '.', '_' and '-'"
        raise backend_error(name, "name", reason)
