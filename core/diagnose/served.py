"""Which captures are those of a running server: what it did not tell cannot be captured
again with another option, nor read.
"""

from __future__ import annotations

from logdrift.core.session.layout import CaptureInfo
from logdrift.core.session.reader import Session


def is_served(session: Session, info: CaptureInfo) -> bool:
    """Whether the backend of a capture asked a running server."""
    plan = session.plan
    if plan is None or info.path == "recorded":
        return False
    for spec in plan.backends:
        if spec.name == info.backend:
            return spec.server is not None
    return False
