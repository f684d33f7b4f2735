"""Printing a diagnosis: with and without experiments before it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from logdrift.core.session.reader import Session


def print_why(
    session: Session, pairs: Sequence[tuple[str, str]], *, as_json: bool
) -> None:
    """Print the diagnosis of ``pairs``. Raises InputError for unknown labels."""
    from logdrift.core.report.layout import canvas_of
    from logdrift.core.report.paint.text import paint_text
    from logdrift.core.report.strict_json import dump
    from logdrift.core.report.why import explain_session
    from logdrift.core.report.why_document import why_document

    report = explain_session(session, pairs)
    if as_json:
        sys.stdout.write(dump(report.to_json()))
    else:
        document = why_document(report.pairs)
        sys.stdout.write(paint_text(document, canvas_of(sys.stdout)))
    sys.stdout.flush()
