"""Commands for deeper debuggers, for one sequence of a session."""

from __future__ import annotations

from logdrift.core.capture.models import SMALL_MODEL, small_model_folder
from logdrift.core.diagnose.layers import understood
from logdrift.core.engines import ENGINES
from logdrift.core.engines.about import resolve
from logdrift.core.errors import InputError
from logdrift.core.plan import BackendSpec
from logdrift.core.session.layers import saved_layers
from logdrift.core.session.reader import Session

_WRITERS = {name: e.debuggers for name, e in ENGINES.items() if e.debuggers}


def debugger_script(
    session: Session, pair: tuple[str, str], sequence: int, position: int | None
) -> str:
    """A shell script for ``sequence`` up to ``position`` (its end for None), with the
    layer that was found for it before as the filter.

    Raises InputError where the session has no such sequence or scored token.
    """
    ids = _token_ids(session, sequence, position)
    model = session.manifest.model.id
    spec = _debugged_spec(session, pair)
    if spec is None:
        writer = next(iter(_WRITERS.values()))
    else:
        writer = _WRITERS[spec.engine]
    if model == SMALL_MODEL:
        model = str(small_model_folder())
    layer = _first_wrong_layer(session, sequence)
    write = resolve(writer)
    script: str = write(model, spec, ids, layer)
    return script


def _token_ids(session: Session, sequence: int, position: int | None) -> list[int]:
    last = len(session.sequences) - 1
    if not 0 <= sequence <= last:
        raise InputError(
            f"session {session.name} has no sequence {sequence}: it has 0 to {last}"
        )
    ids = session.sequences.ids(sequence)
    count = len(ids)
    end = count if position is None else position
    if position is not None and not 1 <= position < count:
        raise InputError(
            f"sequence {sequence} has no scored token {position}: it has 1 to"
            f" {count - 1}"
        )
    asked_about: list[int] = ids[:end].tolist()
    return asked_about


def _debugged_spec(session: Session, pair: tuple[str, str]) -> BackendSpec | None:
    """The backend of the pair whose engine has debuggers, else the first such one of
    the plan.
    """
    plan = session.plan
    if plan is None:
        return None
    infos = [session.manifest.capture(label) for label in pair]
    names = [info.backend for info in infos]
    specs = [spec for spec in plan.backends if spec.engine in _WRITERS]
    of_pair = [spec for spec in specs if spec.name in names]
    by_preference = [*of_pair, *specs]
    if not by_preference:
        return None
    return by_preference[0]


def _first_wrong_layer(session: Session, sequence: int) -> int | None:
    for answer in understood(saved_layers(session.folder)):
        if answer.sequence != sequence:
            continue
        for side in answer.sides:
            if side.layers:
                return side.layers[0]
    return None
