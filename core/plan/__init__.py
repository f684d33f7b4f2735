"""What is asked for: a capture plan, from TOML, from flags or from a saved session,
validated before anything runs.

`backend`, `sampling` and `capture` are the records. `spec_text` reads a backend from
the command line, `reading` and `keys` a plan from TOML, `writing` writes it, `saved` is
what a session keeps of it.

The worker reads plans too, in interpreters as old as Python 3.10, so only the standard
library is used here.
"""

from __future__ import annotations

from logdrift.core.plan.backend import (
    DTYPES,
    ROLES,
    SCORING,
    BackendSpec,
    CaptureName,
    Role,
    check_backend_name,
    label_of,
    refuse_hidden,
)
from logdrift.core.plan.capture import CapturePlan
from logdrift.core.plan.reading import load_plan
from logdrift.core.plan.sampling import SamplingSpec
from logdrift.core.plan.saved import SavedPlan
from logdrift.core.plan.spec_text import parse_options, parse_spec

__all__ = [
    "DTYPES",
    "ROLES",
    "SCORING",
    "BackendSpec",
    "CaptureName",
    "CapturePlan",
    "Role",
    "SamplingSpec",
    "SavedPlan",
    "check_backend_name",
    "label_of",
    "load_plan",
    "parse_options",
    "parse_spec",
    "refuse_hidden",
]
