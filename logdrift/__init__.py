"""logdrift: the gap between the log-probabilities of an inference engine and those of a
trainer.

The public Python API (docs/python.md). A name is imported when it is first asked for:
the package itself loads neither NumPy nor a screen, because an engine's interpreter
imports it too.

The folders ``core`` and ``tui`` stand at the top level of the repository; here are
links to them, so that a checkout, an editable install and a wheel all know them as
``logdrift.core`` and ``logdrift.tui``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from logdrift.core.compare.gate import judge
    from logdrift.core.compare.pair import Pair, make_pair
    from logdrift.core.errors import InputError, LogdriftError
    from logdrift.core.recording.recorder import TrainingRecorder, record
    from logdrift.core.report.build import build_report
    from logdrift.core.session.reader import Capture, Session, open_session
    from logdrift.core.version import __version__


_HOMES = {
    "Capture": "logdrift.core.session.reader",
    "InputError": "logdrift.core.errors",
    "LogdriftError": "logdrift.core.errors",
    "Pair": "logdrift.core.compare.pair",
    "TrainingRecorder": "logdrift.core.recording.recorder",
    "Session": "logdrift.core.session.reader",
    "__version__": "logdrift.core.version",
    "build_report": "logdrift.core.report.build",
    "judge": "logdrift.core.compare.gate",
    "make_pair": "logdrift.core.compare.pair",
    "open_session": "logdrift.core.session.reader",
    "record": "logdrift.core.recording.recorder",
}
"""Where each public name is defined; a test compares it with ``__all__``."""

__all__ = [
    "Capture",
    "InputError",
    "LogdriftError",
    "Pair",
    "Session",
    "TrainingRecorder",
    "__version__",
    "build_report",
    "judge",
    "make_pair",
    "open_session",
    "record",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
