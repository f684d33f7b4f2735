"""What is asked of each session of a trend."""

from __future__ import annotations

from dataclasses import dataclass

from logdrift.core.compare.scopes import Scope


@dataclass(frozen=True, slots=True)
class TrendWish:
    """What is asked of each session: a pair as a person writes it, None for the default
    one, and a scope, None for that of a session's report
    (`logdrift.core.compare.scopes.default_scope`).
    """

    pair: str | None = None
    scope: Scope | None = None
