"""The case of the documents is the shipped session: what a page quotes is what the
commands print, and the numbers in its sentences are those of the report.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest

from logdrift.core.report.build import build_report
from logdrift.core.session.reader import open_session
from tests.common import REPOSITORY

CASE = REPOSITORY / "docs" / "case.md"
README = REPOSITORY / "README.md"
SAMPLE = REPOSITORY / "sessions" / "sample-temperature"
QUOTE = re.compile(r"<!-- logdrift (.+?) -->\n```\n(.*?)```", re.DOTALL)
QUOTES = QUOTE.findall(CASE.read_text(encoding="utf-8"))


def test_the_case_quotes_what_is_printed() -> None:
    assert len(QUOTES) == 3


@pytest.mark.parametrize(("command", "quoted"), QUOTES)
def test_a_quote_is_what_the_command_prints(command: str, quoted: str) -> None:
    program = "from logdrift.cli.main import main; raise SystemExit(main())"
    run = subprocess.run(
        [sys.executable, "-c", program, *shlex.split(command)],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
    )
    printed = " ".join(run.stdout.split())
    assert " ".join(quoted.split()) in printed


def test_the_numbers_of_the_sentences_are_those_of_the_report() -> None:
    pair = build_report(open_session(SAMPLE), [("trainer/prefill", "vllm/decode")])[
        "pairs"
    ][0]
    mismatch = pair["mismatch"]
    clipped = mismatch["clip_fraction"]["0.2"]
    numbers = [
        f"an MAE of {pair['errors']['mae']:.3f} nats",
        f"k3 {mismatch['k3']:.3f}",
        f"{clipped:.0%} of the tokens clipped at 0.2",
        f"an effective sample size of {mismatch['ess_sequence']:.2f}",
    ]
    case = " ".join(CASE.read_text(encoding="utf-8").split())
    for number in numbers:
        assert number in case
    readme = " ".join(README.read_text(encoding="utf-8").split())
    assert f"(MAE) is {pair['errors']['mae']:.3f} nats" in readme
    explained = re.search(r"explains (\d+%) of the MAE", QUOTES[1][1])
    assert explained is not None
    assert f"explains {explained[1]} of it" in readme
