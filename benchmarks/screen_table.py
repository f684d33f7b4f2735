"""The table of a session of a million tokens, and what a slow line makes of a held key:
`screen.py --table`.

Sessions of 1,000,000 and of 10,000 tokens, 2,500 a sequence, three captures, top-20,
beside the shipped sample, an empty Textual app and a plain Textual Log with the text of
the million tokens. Every limit is printed with what was measured.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.make_session import make_session
from benchmarks.screen import EMPTY, ROOT, Terminal, program

SAMPLE = ROOT / "sessions" / "sample-smollm2"
LOG = """
import sys
from pathlib import Path
from textual.app import App
from textual.widgets import Log
from logdrift.core.session.reader import open_session
class Plain(App):
    def compose(self):
        yield Log()
    def on_mount(self):
        session = open_session(Path(sys.argv[1]))
        ids, text = session.sequences, session.pieces.text
        log = self.query_one(Log)
        log.auto_scroll = False
        lines = ["Sequence"]
        for index in range(len(ids)):
            whole = "".join(text(i) for i in ids.ids(index).tolist())
            lines += [whole[at : at + 190] for at in range(0, len(whole), 190)]
        log.write_lines(lines, scroll_end=False)
        log.focus()
Plain().run()
"""
PAGES = (b"\x1b[6~", b"\x1b[6~", b"\x1b[5~", b"\x1b[5~")
NEXT = (b"n",)
RATE = 125_000
"""Bytes a second of a line of 1 Mbit/s."""


@dataclass
class Row:
    """One program."""

    name: str
    argv: list[str]
    start: list[float] = field(default_factory=list)
    keys: dict[str, list[float]] = field(default_factory=dict)
    memory: float = 0.0

    @property
    def started(self) -> float:
        return statistics.median(self.start)

    def share(self, key: str, part: float) -> float | None:
        """The p-th part of the seconds of a key, None where it has none."""
        found = sorted(self.keys.get(key, []))
        return found[min(len(found) - 1, int(part * len(found)))] if found else None


def measure(
    rows: list[Row], runs: int, presses: int, size: tuple[int, int], state: str
) -> None:
    """Starts alternate, so that a busy machine disturbs all alike; then the keys of
    each.
    """
    for run in range(runs + 1):
        for row in rows:
            terminal = Terminal(row.argv, *size, XDG_STATE_HOME=f"{state}/{run}")
            try:
                seconds = terminal.wait_for(b"Sequence", 60)
            finally:
                terminal.close()
            if run:
                row.start.append(seconds)
    for row in rows[1:]:
        terminal = Terminal(row.argv, *size, XDG_STATE_HOME=f"{state}/keys")
        try:
            terminal.wait_for(b"Sequence", 60)
            terminal.quiet(2.0)
            row.keys["page"] = list(_press(terminal, PAGES, presses))
            if row.argv[1] == "-m":
                row.keys["next"] = list(_press(terminal, NEXT, presses))
            row.memory = terminal.memory()
        finally:
            terminal.close()


def _press(
    terminal: Terminal, keys: tuple[bytes, ...], presses: int
) -> Iterator[float]:
    for key in keys:
        terminal.key(key)
    for at in range(presses):
        seconds, answered = terminal.key(keys[at % len(keys)])
        if answered:
            yield seconds


def held(
    argv: list[str], key: bytes, size: tuple[int, int], state: str
) -> tuple[float, int]:
    """(seconds after the release at which the last byte was through, bytes) of a key
    held for a second, 30 a second, on a pty that is read at `RATE`.
    """
    terminal = Terminal(argv, *size, XDG_STATE_HOME=state)
    try:
        terminal.wait_for(b"Sequence")
        terminal.quiet(1.5)
        begin = last = time.perf_counter()
        sent = total = 0
        budget, before = 0.0, begin
        while (now := time.perf_counter()) < max(last, begin + 1) + 0.7:
            if now - begin < 1 and sent < (now - begin) * 30:
                os.write(terminal.fd, key)
                sent += 1
            budget, before = min(budget + (now - before) * RATE, 4096), now
            if budget >= 256 and _ready(terminal):
                data = os.read(terminal.fd, int(budget))
                total, last, budget = (
                    total + len(data),
                    time.perf_counter(),
                    budget - len(data),
                )
            time.sleep(0.001)
        return last - begin - 1, total
    finally:
        terminal.close()


def _ready(terminal: Terminal) -> bool:
    import select

    return bool(select.select([terminal.fd], [], [], 0)[0])


def _ms(value: float | None) -> str:
    return f"{1000 * value:7.1f}" if value is not None else f"{'-':>7}"


def limits(rows: dict[str, Row], lag: float) -> Iterator[tuple[str, float, float]]:
    """(what, measured, at most)."""
    big, small, sample = rows["1,000,000 tokens"], rows["10,000 tokens"], rows["sample"]
    yield "start, 1,000,000 tokens over sample", big.started / sample.started, 1.5
    for key in ("page", "next"):
        p50, p99 = big.share(key, 0.5), big.share(key, 0.99)
        other = small.share(key, 0.5)
        assert p50 and p99 and other
        yield f"{key}, p50 ms", 1000 * p50, 25
        yield f"{key}, p99 ms", 1000 * p99, 60
        yield f"{key}, p50 over that at 10,000 tokens", p50 / other, 1.5
    yield "memory, MiB", big.memory, 600 / 1.048576
    yield "held page-down at 1 Mbit/s, s after release", lag, 2


def table(
    runs: int, presses: int, size: tuple[int, int], say: Callable[[str], None] = print
) -> bool:
    """Measure, print, and tell whether every limit holds."""
    with tempfile.TemporaryDirectory() as folder:
        big = make_session(Path(folder) / "big", 1_000_000, 400, 20, captures=3)
        small = make_session(Path(folder) / "small", 10_000, 4, 20, captures=3)
        rows = [
            Row("empty app", [sys.executable, "-c", EMPTY]),
            Row("sample", program(SAMPLE)),
            Row("10,000 tokens", program(small)),
            Row("1,000,000 tokens", program(big)),
            Row("plain Log, 1,000,000", [sys.executable, "-c", LOG, str(big)]),
        ]
        measure(rows, runs, presses, size, f"{folder}/state")
        lag, sent = held(program(big), PAGES[0], size, f"{folder}/state/held")
    say(
        f"{size[0]}x{size[1]}, start: median of {runs} fresh processes; keys: to the"
        f" first byte, {presses} presses"
    )
    say(
        f"{'':<22} {'start s':>8} {'page p50':>9} {'p99 ms':>7} {'next p50':>9}"
        f" {'p99 ms':>7} {'MiB':>6}"
    )
    for row in rows:
        keys = " ".join(
            f"{_ms(row.share(key, 0.5)):>9} {_ms(row.share(key, 0.99)):>7}"
            for key in ("page", "next")
        )
        say(
            f"{row.name:<22} {row.started:8.3f} {keys}"
            f" {row.memory or float('nan'):6.0f}"
        )
    say(
        f"page-down held for 1 s through 1 Mbit/s: the last of {sent:,} bytes {lag:.2f}"
        " s after the release"
    )
    ok = True
    for what, value, most in limits({row.name: row for row in rows}, lag):
        ok &= value <= most
        say(
            f"  {'holds' if value <= most else 'FAILS':<6} {what:<46} {value:8.2f} (at"
            f" most {most:.4g})"
        )
    return ok
