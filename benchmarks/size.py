"""Bytes of a session on disk, beside its arrays alone.

    python benchmarks/size.py SESSION

The arrays are what the session gives back for a token: its id (4 bytes), and for each
capture log-probability, rank and entropy (4 bytes each) and the alternatives' ids and
log-probabilities (8 bytes each).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.ratios import Ratio, say
from logdrift.core.session.reader import Session, open_session

_NUMBER = 4


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("session", type=Path)
    args = parser.parse_args()
    files = [file for file in args.session.rglob("*") if file.is_file()]
    on_disk = sum(file.stat().st_size for file in files)
    arrays = array_bytes(open_session(args.session))
    ratio = Ratio(
        name="bytes on disk",
        ours=f"{on_disk / 1e6:,.1f} MB",
        against="its arrays alone",
        peer=f"{arrays / 1e6:,.1f} MB",
        ratio=on_disk / arrays,
    )
    say(ratio)
    print(f"on disk {ratio.ours}, arrays {ratio.peer}, ratio {ratio.ratio:.3f}")
    return 0


def array_bytes(session: Session) -> int:
    """Bytes of all numbers that the session gives back."""
    tokens = session.sequences.tokens
    numbers = tokens
    for info in session.captures:
        capture = session.capture(info.label)
        has_entropy = capture.entropy is not None
        alternatives = capture.top_ids.width
        numbers += tokens * (2 + has_entropy + 2 * alternatives)
    return _NUMBER * numbers


if __name__ == "__main__":
    sys.exit(main())
