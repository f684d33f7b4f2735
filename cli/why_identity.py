"""`logdrift why SESSION --identity`: is what each engine loaded what is on disk?"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from logdrift.core.errors import InputError, LogdriftError
from logdrift.core.numbers import counted
from logdrift.core.session.reader import Session


def add_arguments(parser: Any) -> None:
    """The flags of this part of the command."""
    parser.add_argument(
        "--identity",
        action="store_true",
        help=(
            "start each backend once more and compare every tensor that it loaded with"
            " the files on disk"
        ),
    )
    parser.add_argument(
        "--backend",
        metavar="NAME",
        action="append",
        default=[],
        help="with --identity: only this backend of the session; may be given again",
    )


def run(args: argparse.Namespace, session: Session) -> int:
    """Ask the backends, with progress on stderr, and print what they loaded.
    LogdriftError where one could not be asked.
    """
    from logdrift.cli.progress import progress_view
    from logdrift.cli.trusting import confirmed
    from logdrift.core.investigate.identity import chosen_backends, identify
    from logdrift.core.report.identity import identities_of, identity_document
    from logdrift.core.report.layout import canvas_of
    from logdrift.core.report.paint.text import paint_text
    from logdrift.core.report.strict_json import dump
    from logdrift.core.session.experiments import check_writable

    if args.pair or args.causes:
        raise InputError(
            "--identity checks backends, not pairs: name them with --backend NAME"
        )
    specs = chosen_backends(session, args.backend)
    check_writable(session)
    confirmed(session.folder, session.manifest, flag=args.trust_session)
    with progress_view() as view:
        found, failed = identify(session, specs, view)
    identities = identities_of(session, found)
    if args.json:
        report = {
            "schema": 1,
            "session": session.name,
            "identity": {name: each.to_json() for name, each in identities.items()},
            "failed": failed,
        }
        sys.stdout.write(dump(report))
    else:
        document = identity_document(identities, failed)
        sys.stdout.write(paint_text(document, canvas_of(sys.stdout)))
    sys.stdout.flush()
    if failed:
        raise LogdriftError(
            f"{len(failed)} of {counted(len(specs), 'backend')} could not be checked:"
            f" {', '.join(failed)}"
        )
    return 0
