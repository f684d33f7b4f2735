"""Numbers that the records of a report share."""

from __future__ import annotations

CONTEXT = 6
"""Tokens shown on either side of a token."""
