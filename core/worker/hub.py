"""Why a model could not be loaded, in one line; the hub's libraries need many."""

from __future__ import annotations

import re

from logdrift.core.errors import InputError
from logdrift.core.paths import user_path
from logdrift.core.worker.one_line import one_line


def cannot_load(model: str, error: Exception, part: str = "") -> InputError:
    """The error for a ``model``, or a ``part`` of it, that Transformers could not load
    because of ``error``.
    """
    cause = explain_hub_error(f"{type(error).__name__}: {error}", model)
    reason = cause or f"{part}cannot be loaded: {one_line(error)}"
    return InputError(reason, field="model", where=f"model {model}")


def explain_hub_error(text: str, model: str) -> str | None:
    """What is wrong, for an error that came of fetching ``model`` from the hub; None
    where ``text`` is about something else.
    """
    if user_path(model).is_dir():
        return None
    for pattern, cause in _HUB_ERRORS:
        if re.search(pattern, text, re.DOTALL):
            return cause
    return None


_HUB_ERRORS = (
    (
        (
            r"gated repo|GatedRepoError|Access to model .* is restricted|401 Client"
            r" Error.*gated"
        ),
        "it is gated: accept its licence on the hub and log in with `hf auth login`",
    ),
    (
        r"RevisionNotFoundError|not a valid git identifier|Revision Not Found",
        "the hub has no such revision of it",
    ),
    (
        (
            r"RepositoryNotFoundError|Repository Not Found|404 Client Error|401 Client"
            r" Error|not a valid model identifier"
        ),
        (
            "the hub has no such model, or it is private: check the name, or log in"
            " with `hf auth login`"
        ),
    ),
    (
        r"couldn't connect to|LocalEntryNotFoundError|OfflineModeIsEnabled|[Oo]ffline"
        r" mode|MaxRetryError|ConnectionError"
        r"|ConnectError|ConnectTimeout|ReadTimeout|ProxyError|Temporary failure in name"
        r" resolution"
        r"|Name or service not known|nodename nor servname|Cannot send a request|Cannot"
        r" reach"
        r"|cannot find the requested files in the (disk|local) cache|outgoing traffic"
        r" has been disabled",
        (
            "the hub cannot be reached and it is not in the local cache: check the"
            " network, or give a local folder"
        ),
    ),
    (
        (
            r"does not appear to have a file named|no file named"
            r" (model\.safetensors|pytorch_model)"
        ),
        "the hub's folder lacks a file that Transformers needs",
    ),
)
