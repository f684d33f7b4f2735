"""Which field of the form for a new capture an error of the capture code is about."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logdrift.tui.capture_form import CaptureForm


def place(message: str, form: CaptureForm) -> str | None:
    """The key of the field that an error of the capture code is about; None where it is
    about none of them.
    """
    names = [backend.name.strip() for backend in form.backends]
    if message.startswith("model"):
        return "model"
    if message.startswith("sampling."):
        key = message.partition(" ")[0]
        return key if key.removeprefix("sampling.") in form.sampling else None
    if found := re.match(r"two backends are called '(.*)'", message):
        return f"backend[{_last(names, found[1])}].name"
    if "both have path decode" in message:
        decoding = [
            i for i, backend in enumerate(form.backends) if "decode" in backend.paths
        ]
        return f"backend[{decoding[-1]}].paths" if decoding else "backends"
    if found := re.match(r"(?:the interpreter of )?backend '([^']*)'", message):
        if found[1] in names:
            what = (
                "paths"
                if " path " in message
                else "options"
                if "model" in message
                else "name"
            )
            return f"backend[{names.index(found[1])}].{what}"
        return "backends"
    if "no backend" in message:
        return "backends"
    if message.startswith("top_k"):
        return "top_k"
    return _prompt_place(message, form) or _engine_place(message, form)


def _prompt_place(message: str, form: CaptureForm) -> str | None:
    if found := re.match(r"text (\d+)\b", message):
        rows = [index for index, text in enumerate(form.texts) if text]
        number = int(found[1]) - 1
        return (
            f"prompts.text[{rows[number]}]" if number < len(rows) else "prompts.text[0]"
        )
    if found := re.match(r".* line (\d+)\b", message):
        if form.source != "token ids":
            return "prompts.file"
        rows = [index for index, text in enumerate(form.ids) if text.strip()]
        number = int(found[1]) - 1
        return (
            f"prompts.ids[{rows[number]}]" if number < len(rows) else "prompts.ids[0]"
        )
    if message.startswith(("prompts ", "no prompts")):
        return {"text": "prompts.text[0]", "token ids": "prompts.ids[0]"}.get(
            form.source, "prompts.file"
        )
    return "session" if "exists already" in message else None


def _engine_place(message: str, form: CaptureForm) -> str | None:
    for index, backend in enumerate(form.backends):
        if message.startswith(
            (
                f"no interpreter for {backend.engine}",
                f"the environment of {backend.engine} ",
            )
        ):
            return f"backend[{index}].engine"
        if message.startswith("python="):
            return f"backend[{index}].options"
    return None


def _last(names: list[str], name: str) -> int:
    return max((index for index, other in enumerate(names) if other == name), default=0)
