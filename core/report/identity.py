"""The identity checks as typed records: is what each engine loaded what is on disk?

`identity_document` paints them; key ``identity`` of `why --json` is
`BackendIdentity.to_json` by backend.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from logdrift.core.diagnose.differences import adapter_tensors, difference_of, kind_text
from logdrift.core.diagnose.loaded import described
from logdrift.core.engines import ENGINES
from logdrift.core.numbers import counted
from logdrift.core.report.document import Blocks, LineBlock, SentenceBlock, Tone
from logdrift.core.report.strict_json import Json, json_or_null
from logdrift.core.session.identity import LoadedTensor, LoadedWeights
from logdrift.core.session.reader import Session

_SHOWN = 8
"""Tensors that the text names for each backend."""
_FILES = {
    "tokenizer_digest": "tokenizer",
    "template_digest": "chat template",
    "config_digest": "config.json",
}
"""Files whose digests are compared between backends, by the fact that has the
digest.
"""
_OF_ITS_OWN = {
    True: "; it is that of the backend's own model",
    False: "; nor is it that of its own model",
    None: "",
}


@dataclass(frozen=True, slots=True)
class BackendIdentity:
    """What one backend has loaded. ``outdated`` says why it is not evidence any more,
    None where it still is.
    """

    weights: LoadedWeights
    outdated: str | None

    @property
    def as_on_disk(self) -> list[LoadedTensor]:
        tensors = self.weights.tensors
        return [tensor for tensor in tensors if tensor.same]

    def read_by(self, how: str) -> int:
        """How many tensors are as on disk by ``digest``, or by ``probe``."""
        ways = [tensor.how for tensor in self.as_on_disk]
        return ways.count(how)

    def digest_of(self, fact: str) -> str | None:
        """The digest of one of `_FILES`; None where it is not known."""
        digest = self.weights.facts.get(fact)
        if digest is None:
            return None
        return str(digest)

    def to_json(self) -> Json:
        """``differ`` and ``unread`` name their tensors. ``difference`` is what those
        that differ have in common (`logdrift.core.diagnose.differences`) or None,
        ``adapter`` names the parameters of an adapter that is not merged.
        """
        weights = self.weights
        together = difference_of(weights)
        digests = {}
        for fact, label in _FILES.items():
            key = _key(label)
            digests[key] = self._fact(fact)
        return {
            "engine": weights.engine,
            "dtype": self._fact("dtype"),
            "taken": weights.taken,
            "outdated": self.outdated,
            "tensors": len(weights.tensors),
            "as_on_disk": len(self.as_on_disk),
            "by_digest": self.read_by("digest"),
            "by_probe": self.read_by("probe"),
            "ranks": weights.ranks,
            "own_model": weights.own_model,
            "differ": [_tensor_json(tensor) for tensor in weights.differing],
            "difference": json_or_null(together),
            "adapter": list(adapter_tensors(weights)),
            "unread": [_unread_json(tensor) for tensor in weights.unread],
            "tied": dict(weights.tied),
            **digests,
            "config_differs": [
                {"field": field, "file": file, "loaded": loaded}
                for field, file, loaded in weights.config_differs
            ],
        }

    def _fact(self, name: str) -> Any:
        return self.weights.facts.get(name)


def _unread_json(tensor: LoadedTensor) -> Json:
    return {"name": tensor.name, "reason": tensor.reason}


def _key(label: str) -> str:
    words = label.replace(" ", "_")
    return words.replace(".", "_")


def _tensor_json(tensor: LoadedTensor) -> Json:
    kind = tensor.kind
    kind_json = None
    if kind is not None:
        kind_json = {**kind, "text": kind_text(kind)}
    return {
        "name": tensor.name,
        "how": tensor.how,
        "dtype": tensor.dtype,
        "l2": tensor.l2,
        "share": tensor.share,
        "units": tensor.units,
        "columns": tensor.columns,
        "of": tensor.of,
        "own": tensor.own,
        "kind": kind_json,
        "text": described(tensor),
    }


def identities_of(
    session: Session, saved: Mapping[str, LoadedWeights]
) -> dict[str, BackendIdentity]:
    """The saved checks by backend."""
    return {
        name: BackendIdentity(weights, _outdated(session, weights))
        for name, weights in saved.items()
    }


def _outdated(session: Session, weights: LoadedWeights) -> str | None:
    digest = session.manifest.model.weights_digest
    for info in session.captures:
        if info.backend == weights.backend:
            return weights.outdated(info, digest)
    return None


def identity_json(session: Session, saved: Mapping[str, LoadedWeights]) -> Json:
    """`BackendIdentity.to_json` by backend."""
    identities = identities_of(session, saved)
    return {name: identities[name].to_json() for name in identities}


def identity_document(
    identities: Mapping[str, BackendIdentity], failed: Mapping[str, str]
) -> Blocks:
    """What `logdrift why --identity` prints; ``failed`` says why other backends could
    not be asked.
    """
    names = [*identities, *failed]
    longest = max(map(len, names), default=0)
    indent = longest + 2
    for name, identity in identities.items():
        tone = _tone(identity)
        words = summary(identity)
        yield SentenceBlock(words, tone, indent, name)
        yield from _details(identity, indent + 2)
    for name, reason in failed.items():
        words = "the last check failed" if name in identities else "not checked"
        yield SentenceBlock(f"{words}: {reason}", indent=indent, mark=name)
    for fact, label in _FILES.items():
        yield from _between_backends(identities, fact, label)
    yield from _of_a_running_engine(identities)


def _of_a_running_engine(identities: Mapping[str, BackendIdentity]) -> Blocks:
    """What a check of an engine that was started for it cannot see."""
    for name, identity in identities.items():
        engine = ENGINES.get(identity.weights.engine)
        if engine is not None and engine.server is not None:
            yield SentenceBlock(
                f"{name} was started afresh from disk. Whether a running server got its"
                " trainer's weights shows only when it is asked: capture with the"
                " checkpoint of the trainer and with"
                f" --backend {engine.name},server=http://HOST:PORT"
                " (docs/capture.md)."
            )
            return


def _tone(identity: BackendIdentity) -> Tone:
    if identity.weights.differing:
        return "bad"
    if identity.weights.unread or identity.outdated:
        return "warn"
    return "good"


def _details(identity: BackendIdentity, indent: int) -> Blocks:
    """What differs, what could not be read, and what the config says otherwise."""
    weights = identity.weights
    together = difference_of(weights)
    if together is not None and together.differing > 1:
        yield SentenceBlock(together.text, indent=indent)
    for tensor in weights.differing[:_SHOWN]:
        text = f"{described(tensor)}, by {tensor.how}{_OF_ITS_OWN[tensor.own]}"
        yield SentenceBlock(text, indent=indent)
    rest = len(weights.differing) - _SHOWN
    if rest > 0:
        blanks = " " * (indent - 2)
        yield LineBlock(f"{blanks}and {rest} more (--json names them all)", "")
    for text in _remarks(identity):
        yield SentenceBlock(text, indent=indent)


def _remarks(identity: BackendIdentity) -> Iterator[str]:
    weights = identity.weights
    adapter = adapter_tensors(weights)
    if adapter:
        yield (
            f"an adapter that is not merged: {counted(len(adapter), 'tensor')} beside"
            " those on disk"
        )
    by_reason = _by_reason(weights.unread)
    for reason, names in by_reason.items():
        tensors = ", ".join(names[:2])
        if len(names) > 2:
            tensors += f" and {len(names) - 2} more"
        yield f"not read: {tensors}: {reason}"
    if tie := _tie(weights.tied):
        yield tie
    for field, file, loaded in weights.config_differs:
        yield f"config: {field} is {loaded}, the file has {file}"
    if identity.outdated:
        yield f"no evidence any more: {identity.outdated}"


def summary(identity: BackendIdentity) -> str:
    """``272 tensors as on disk (62 by digest, 210 by probe)``, or how many are not."""
    total = len(identity.weights.tensors)
    same = len(identity.as_on_disk)
    ways = []
    for way in ("digest", "probe"):
        count = identity.read_by(way)
        if count:
            ways.append(f"{count} by {way}")
    how = ", ".join(ways)
    read = f" ({how})" if how else ""
    if same == total:
        return f"{counted(total, 'tensor')} as on disk{read}"
    others = _not_as_on_disk(identity, total)
    return ", ".join([*others, f"{same} as on disk{read}"])


def _not_as_on_disk(identity: BackendIdentity, total: int) -> Iterator[str]:
    differ = len(identity.weights.differing)
    unread = len(identity.weights.unread)
    if differ:
        verb = "differs" if differ == 1 else "differ"
        yield f"{differ} of {total} tensors {verb} from disk"
    if unread:
        yield f"{unread} not read"


def _by_reason(unread: Iterable[LoadedTensor]) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {}
    for tensor in unread:
        reason = str(tensor.reason)
        names = out.setdefault(reason, [])
        names.append(tensor.name)
    return out


def _tie(tied: Mapping[str, Any]) -> str:
    loaded = tied.get("loaded")
    config = tied.get("config")
    if loaded is None:
        return "whether the head is tied to the embedding could not be seen"
    words = "head tied to the embedding" if loaded else "head of its own"
    if config is None:
        return f"{words} (the config does not say)"
    if loaded == config:
        return f"{words}, as the config says"
    return f"{words}, though the config says otherwise"


def _between_backends(
    identities: Mapping[str, BackendIdentity], fact: str, label: str
) -> Blocks:
    """One line for a file that differs between backends, none where it is the same or
    unknown.
    """
    by_digest: dict[str, list[str]] = {}
    for name, identity in identities.items():
        digest = identity.digest_of(fact)
        if digest is not None:
            backends = by_digest.setdefault(digest, [])
            backends.append(name)
    if len(by_digest) > 1:
        backends_by_digest = map(", ".join, by_digest.values())
        groups = " against ".join(backends_by_digest)
        words = _key(label).replace("_", " ")
        yield SentenceBlock(f"{words} differs: {groups}")
