"""The identity checks as one dictionary (key ``identity`` of `why --json`) and as
text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from logdrift.core.diagnose.differences import adapter_tensors, difference_of, kind_text
from logdrift.core.diagnose.identity import described
from logdrift.core.report.layout import Canvas
from logdrift.core.session.identity import LoadedTensor, LoadedWeights
from logdrift.core.session.reader import Session

_SHOWN = 8
"""Tensors that the text names for each backend."""
_FILES = (
    ("tokenizer_digest", "tokenizer"),
    ("template_digest", "chat template"),
    ("config_digest", "config.json"),
)


def identity_json(
    session: Session, saved: Mapping[str, LoadedWeights]
) -> dict[str, Any]:
    """By backend: ``{engine, dtype, taken, outdated, tensors, as_on_disk, by_digest,
    by_probe, ranks, own_model, differ, difference, adapter, unread, tied, tokenizer,
    chat_template, config_json, config_differs}``; ``differ`` and ``unread`` name their
    tensors, ``difference`` is what those that differ have in common
    (`logdrift.core.diagnose.differences`) or None, ``adapter`` names the parameters of
    an adapter that is not merged.
    """
    return {name: _backend(session, found) for name, found in saved.items()}


def _backend(session: Session, found: LoadedWeights) -> dict[str, Any]:
    info = next((c for c in session.captures if c.backend == found.backend), None)
    read = [tensor for tensor in found.tensors if tensor.same]
    return {
        "engine": found.engine,
        "dtype": found.facts.get("dtype"),
        "taken": found.taken,
        "outdated": (
            None
            if info is None
            else found.outdated(info, session.manifest.model.weights_digest)
        ),
        "tensors": len(found.tensors),
        "as_on_disk": len(read),
        "by_digest": sum(tensor.how == "digest" for tensor in read),
        "by_probe": sum(tensor.how == "probe" for tensor in read),
        "ranks": found.ranks,
        "own_model": found.own_model,
        "differ": [_tensor(tensor) for tensor in found.differing],
        "difference": (
            None if (together := difference_of(found)) is None else together.to_json()
        ),
        "adapter": list(adapter_tensors(found)),
        "unread": [
            {"name": tensor.name, "reason": tensor.reason} for tensor in found.unread
        ],
        "tied": dict(found.tied),
        **{
            label.replace(" ", "_").replace(".", "_"): found.facts.get(name)
            for name, label in _FILES
        },
        "config_differs": [
            {"field": f, "file": file, "loaded": loaded}
            for f, file, loaded in found.config_differs
        ],
    }


def _tensor(tensor: LoadedTensor) -> dict[str, Any]:
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
        "kind": (
            None
            if tensor.kind is None
            else {**tensor.kind, "text": kind_text(tensor.kind)}
        ),
        "text": described(tensor),
    }


def render_identity(
    found: Mapping[str, Mapping[str, Any]], failed: Mapping[str, str], canvas: Canvas
) -> str:
    """``found`` as `identity_json` gives it, and why other backends could not be asked,
    as text.
    """
    lines: list[str] = []
    width = max((len(name) for name in (*found, *failed)), default=0) + 2
    for name, each in found.items():
        lines += _backend_lines(name, each, width, canvas)
    for name, reason in failed.items():
        said = "the last check failed" if name in found else "not checked"
        lines += canvas.wrap(f"{said}: {reason}", width, canvas.text(name))
    for label in ("tokenizer", "chat_template", "config_json"):
        lines += _between(label, found, canvas)
    return "".join(line + "\n" for line in lines)


def _backend_lines(
    name: str, each: Mapping[str, Any], width: int, canvas: Canvas
) -> Iterator[str]:
    style = (
        "bad"
        if each["differ"]
        else "warn"
        if each["unread"] or each["outdated"]
        else "good"
    )
    yield from (
        canvas.paint(line, style)
        for line in canvas.wrap(summary(each), width, canvas.text(name))
    )
    if each["difference"] is not None and each["difference"]["differing"] > 1:
        yield from canvas.wrap(each["difference"]["text"], width + 2, " " * width)
    for tensor in each["differ"][:_SHOWN]:
        own = {
            True: "; it is that of the backend's own model",
            False: "; nor is it that of its own model",
        }
        yield from canvas.wrap(
            f"{tensor['text']}, by {tensor['how']}{own.get(tensor['own'], '')}",
            width + 2,
            " " * width,
        )
    if len(each["differ"]) > _SHOWN:
        yield (
            " " * width
            + f"and {len(each['differ']) - _SHOWN} more (--json names them all)"
        )
    if each["adapter"]:
        told = (
            f"an adapter that is not merged: {len(each['adapter'])} tensors beside"
            " those on disk"
        )
        yield from canvas.wrap(told, width + 2, " " * width)
    for reason, names in _by_reason(each["unread"]).items():
        more = f" and {len(names) - 2} more" if len(names) > 2 else ""
        yield from canvas.wrap(
            f"not read: {', '.join(names[:2])}{more}: {reason}", width + 2, " " * width
        )
    if tie := _tie(each["tied"]):
        yield from canvas.wrap(tie, width + 2, " " * width)
    for change in each["config_differs"]:
        told = (
            f"config: {change['field']} is {change['loaded']}, the file has"
            f" {change['file']}"
        )
        yield from canvas.wrap(told, width + 2, " " * width)
    if each["outdated"]:
        yield from canvas.wrap(
            f"no evidence any more: {each['outdated']}", width + 2, " " * width
        )


def summary(each: Mapping[str, Any]) -> str:
    """``272 tensors as on disk (62 by digest, 210 by probe)``, or how many are not."""
    total, same = each["tensors"], each["as_on_disk"]
    how = [
        f"{each[key]} by {word}"
        for key, word in (("by_digest", "digest"), ("by_probe", "probe"))
        if each[key]
    ]
    read = f" ({', '.join(how)})" if how else ""
    if same == total:
        return f"{total} tensors as on disk{read}"
    differ = len(each["differ"])
    parts = (
        [
            f"{differ} of {total} tensors {'differs' if differ == 1 else 'differ'} from"
            " disk"
        ]
        if differ
        else []
    )
    parts += [f"{len(each['unread'])} not read"] if each["unread"] else []
    return ", ".join(parts) + f", {same} as on disk{read}"


def _by_reason(unread: list[Mapping[str, Any]]) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {}
    for tensor in unread:
        out.setdefault(str(tensor["reason"]), []).append(tensor["name"])
    return out


def _tie(tied: Mapping[str, Any]) -> str:
    loaded, config = tied.get("loaded"), tied.get("config")
    if loaded is None:
        return "whether the head is tied to the embedding could not be seen"
    said = "head tied to the embedding" if loaded else "head of its own"
    if config is None:
        return f"{said} (the config does not say)"
    return (
        f"{said}, as the config says"
        if loaded == config
        else f"{said}, though the config says otherwise"
    )


def _between(
    label: str, found: Mapping[str, Mapping[str, Any]], canvas: Canvas
) -> Iterator[str]:
    """One line for files that differ between backends, none where they are the same or
    unknown.
    """
    by_digest: dict[str, list[str]] = {}
    for name, each in found.items():
        if each[label] is not None:
            by_digest.setdefault(str(each[label]), []).append(name)
    if len(by_digest) > 1:
        groups = " against ".join(", ".join(names) for names in by_digest.values())
        yield from canvas.wrap(f"{label.replace('_', ' ')} differs: {groups}")
