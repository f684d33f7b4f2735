"""One backend in this process: opened, watched, and closed."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, Protocol

from logdrift.core.credentials import masked
from logdrift.core.engines import ENGINES
from logdrift.core.engines.about import resolve
from logdrift.core.errors import InputError, LogdriftError
from logdrift.core.facts import Facts
from logdrift.core.plan import BackendSpec
from logdrift.core.protocol import (
    BackendStart,
    Channel,
    ModelSource,
    failed_message,
)
from logdrift.core.worker.base import (
    Backend,
    BackendSettings,
)
from logdrift.core.worker.ending import end_everything
from logdrift.core.worker.engine_watch import EngineWatch
from logdrift.core.worker.folder_text import FolderText
from logdrift.core.worker.identity import identity
from logdrift.core.worker.one_line import one_line
from logdrift.core.worker.tokens import TokenText

KeepLoaded = Callable[[Backend, TokenText | None], dict[str, str]]
"""Writes down what was loaded; gives its entry in the manifest."""


def fills_batches(backend: Backend, spec: BackendSpec, path: str) -> bool:
    """Whether the engine fills its batches along a path from any number of parts."""
    paths: Collection[str] = getattr(backend, "full_batches", ())
    return path in paths and not spec.reproducible


class PieceSource(Protocol):
    """What knows the bytes of token ids."""

    def new_pieces(self, token_ids: Iterable[int]) -> dict[int, bytes]:
        """Pieces of those ids that were not asked for before."""
        ...


class RunningEngine:
    """One backend in this process: opened, watched, and closed."""

    def __init__(self, start: BackendStart, channel: Channel) -> None:
        self.start = start
        self.spec = start.spec
        self.channel = channel
        self.pieces: PieceSource | None = None
        self.vocab_size: int | None = None
        self.watch = EngineWatch(self._lost)

    @contextlib.contextmanager
    def opened(
        self, *, asked: bool, keep_loaded: KeepLoaded | None = None
    ) -> Iterator[Backend]:
        """The backend with its model loaded; its facts are sent."""
        backend = self._backend(asked)
        self.stage(self._opening)
        facts = backend.open()
        try:
            self._tell_facts(backend, facts, keep_loaded)
            yield backend
        finally:
            self.watch.stop()
            backend.close()

    def stage(self, text: str) -> None:
        self.watch.sign()
        self.channel.send({"type": "stage", "backend": self.spec.name, "stage": text})

    @property
    def _opening(self) -> str:
        """What is done when the backend is opened."""
        if self.spec.server is not None:
            return f"asking {self.spec.server}"
        return "loading the model"

    def _backend(self, asked: bool) -> Backend:
        engine = ENGINES[self.spec.engine]
        place = engine.backend
        if self.spec.server is not None and engine.server is not None:
            place = engine.server.backend
        else:
            self.stage(f"starting {engine.name}")
        try:
            backend_class = resolve(place)
        except ImportError as error:
            raise LogdriftError(
                f"{engine.name} cannot be imported by {sys.executable}:"
                f" {one_line(error)}",
                remedy=f"try logdrift env check {engine.name}",
            ) from None
        # What was imported stays: closing an engine need not look through it.
        gc.freeze()
        start = self.start
        backend: Backend = backend_class(
            BackendSettings(
                model=start.model.name,
                revision=start.model.revision,
                spec=self.spec,
                sampling=start.sampling,
                # all of the plan's, so that a resumed capture starts the same engine
                paths=self.spec.paths,
                top_k=start.top_k,
                max_length=start.max_length,
                max_prompts=start.part_sequences,
                tokenizer=start.tokenizer.name,
                trust_remote_code=start.trust_remote_code,
                asked=asked,
                sequences=start.sequences,
            )
        )
        return backend

    def _tell_facts(
        self, backend: Backend, facts: Facts, keep_loaded: KeepLoaded | None
    ) -> None:
        self.vocab_size = facts.vocab_size
        self.watch.engine_is_up()
        self.pieces, tokenizer = self._tokenizers()
        known = self._known(facts, tokenizer)
        message: dict[str, Any] = {
            "type": "facts",
            "backend": self.spec.name,
            "facts": self._with_batches(known, backend).to_json(),
        }
        if keep_loaded is not None:
            message["loaded"] = keep_loaded(backend, tokenizer)
        self.channel.send(message)

    def _tokenizers(self) -> tuple[PieceSource, TokenText | None]:
        """The session's tokenizer, which knows the pieces, and the one beside the
        loaded weights. The second is None for a server, whose files are on its own
        machine, and for a checkpoint without one.
        """
        session_model = self.start.tokenizer
        if self.spec.server is not None:
            return FolderText(session_model.name, session_model.revision), None
        of_session = self._tokenizer(session_model)
        if self.start.model == session_model:
            return of_session, of_session
        try:
            return of_session, self._tokenizer(self.start.model)
        except InputError:
            return of_session, None

    def _tokenizer(self, model: ModelSource) -> TokenText:
        return TokenText(model.name, model.revision, self.start.trust_remote_code)

    def _known(self, facts: Facts, tokenizer: TokenText | None) -> Facts:
        """The engine's facts without credentials, and which files it was started with.

        A server's files cannot be known: the same path may be another file there, and
        its weights may have been changed since.
        """
        if self.spec.server is None:
            facts = self._identified(facts, tokenizer)
        return facts._replace(
            environment=masked(facts.environment),
            extra=masked(facts.extra),
            config_overrides=masked(facts.config_overrides),
        )

    def _with_batches(self, facts: Facts, backend: Backend) -> Facts:
        """Facts with whether each part is a batch by itself, which gives the same
        numbers whenever it is computed. A server makes its batches as it likes.
        """
        spec = self.spec
        fills = [fills_batches(backend, spec, path) for path in spec.paths]
        is_fixed = spec.server is None and not any(fills)
        return facts._replace(reproducible=is_fixed)

    def _identified(self, facts: Facts, tokenizer: TokenText | None) -> Facts:
        model = self.start.model
        found = identity(
            model=model.name,
            revision=model.revision,
            options=self.spec.options,
            text=tokenizer,
            loading=ENGINES[self.spec.engine].loading,
        )
        unknown = {
            name: value for name, value in found.items() if getattr(facts, name) is None
        }
        return facts._replace(**unknown)

    def _lost(self, processes: int) -> None:
        words = f"{self.spec.engine}: {processes} of its processes died"
        self.channel.send(failed_message(LogdriftError(words)))
        end_everything()
