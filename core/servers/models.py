"""Whether a server serves the session's model, by the names that it gives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from logdrift.core.errors import LogdriftError
from logdrift.core.servers.client import ServerClient


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One model that a server offers: the name to ask for, where its files are on the
    server's machine, and the longest sequence in tokens.
    """

    name: str
    root: str | None = None
    max_length: int | None = None


def chosen(
    client: ServerClient,
    served: Sequence[ServedModel],
    session_model: str,
    served_name: str | None,
) -> ServedModel:
    """The model that is asked for: the one called ``served_name``, else the one that
    goes by the name of the session's model.

    Raises LogdriftError where there is none: another model would be compared, and ids
    beyond its vocabulary end some servers.
    """
    names = ", ".join(one.name for one in served)
    for one in served:
        if one.name == served_name:
            return one
        is_usual = served_name is None and _same(session_model, (one.name, one.root))
        if is_usual:
            return one
    if served_name is not None:
        raise client.error(f"it serves {names}, and no {served_name}")
    raise client.error(
        f"it serves {names}, the session is of {session_model}",
        "start it with that model; where it is the same model by another name, say so"
        f" with served_name={served[0].name}",
    )


def _same(model: str, names: Iterable[str | None]) -> bool:
    """Equal, or folders of one name: a container sees the same files elsewhere."""
    last = PurePosixPath(model).name
    for name in names:
        if name and (name == model or PurePosixPath(name).name == last):
            return True
    return False


def no_model(client: ServerClient, path: str) -> LogdriftError:
    """The error for a server that tells no model."""
    return client.error(f"{path} names no model", "give the address of the server")
