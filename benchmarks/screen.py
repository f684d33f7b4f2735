"""Time and bytes of the screen, on a real pty, each run in a fresh process, beside an
empty Textual app.

    python benchmarks/screen.py SESSION [SESSION ...] [--runs 5] [--size 200x60]
    [--json]
    python benchmarks/screen.py --table        # sessions of its own, every limit of the
    screen; exit code 1 beyond one

Start: from exec to the first screen with the text of the session (for the empty app:
its one word). Keys: from the byte written to the pty to the first byte of the frame.
Bytes: what one key sends; idle: what two seconds without a key send. The runs of the
programs alternate, so that a busy machine disturbs all of them alike.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import statistics
import struct
import sys
import tempfile
import termios
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.ratios import Ratio, in_words, say

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 1.5
"""Of the start at 80x24, over that of an empty application."""
EMPTY = (
    "from textual.app import App\nfrom textual.widgets import Static\n"
    + "class Empty(App):\n    def compose(self):\n        yield"
    " Static('Sequence')\nEmpty().run()\n"
)
KEYS = {
    "cursor": (b"\x1b[C",),
    "line": (b"\x1b[B",),
    "page down and up": (b"\x1b[6~", b"\x1b[5~"),
    "next divergence": (b"n",),
    "next sequence": (b"]",),
    "colour": (b"o",),
    "rank flip": (b".",),
    "undo": (b"u",),
    "threshold": (b"+",),
}
"""What is pressed in turns. A page down alone would end at the last line of a short
sequence, where it has no answer.
"""
SEARCH = b"/the\r"
"""Makes the index of the whole text, which is part of the memory."""


class Terminal:
    """A program on a pty of a given size."""

    def __init__(
        self, argv: list[str], width: int, height: int, **environment: str
    ) -> None:
        self.started = time.perf_counter()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            # Compiled modules are kept, as they are for a user: without that every
            # start compiles logdrift anew.
            dropped = (
                "NO_COLOR",
                "COLORTERM",
                "TMUX",
                "COLUMNS",
                "LINES",
                "PYTHONDONTWRITEBYTECODE",
            )
            clean = {
                name: value for name, value in os.environ.items() if name not in dropped
            }
            # The size must be there before the program asks for it.
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
            os.execve(argv[0], argv, {**clean, "TERM": "xterm-256color", **environment})
        self.output = b""

    def read(self, seconds: float) -> bytes:
        """What comes within ``seconds``, b"" for nothing."""
        ready, _, _ = select.select([self.fd], [], [], seconds)
        if not ready:
            return b""
        with contextlib.suppress(OSError):
            data = os.read(self.fd, 1 << 16)
            self.output += data
            return data
        return b""

    def wait_for(self, text: bytes, seconds: float = 30) -> float:
        """Seconds since the start at which ``text`` was on the screen."""
        while text not in self.output:
            if time.perf_counter() - self.started > seconds or (
                not self.read(1) and not self.alive()
            ):
                raise SystemExit(
                    "the program did not show"
                    f" {text!r}:\n{self.output[-2000:].decode(errors='replace')}"
                )
        return time.perf_counter() - self.started

    def alive(self) -> bool:
        return os.waitpid(self.pid, os.WNOHANG) == (0, 0)

    def quiet(self, seconds: float = 0.25) -> int:
        """Read until nothing has come for ``seconds``; bytes read."""
        total = 0
        while data := self.read(seconds):
            total += len(data)
        return total

    def key(self, key: bytes) -> tuple[float, int]:
        """(seconds to the first byte of the answer, bytes of the whole answer)."""
        start = time.perf_counter()
        os.write(self.fd, key)
        first = self.read(0.5)
        return time.perf_counter() - start, len(first) + self.quiet(0.12)

    def memory(self) -> float:
        """Resident MiB, shared file pages included."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        return 0.0

    def cpu(self) -> float:
        """Seconds of processor time so far: what a busy machine does not stretch as it
        does the clock.
        """
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        with contextlib.suppress(OSError, ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


def program(session: Path | None) -> list[str]:
    if session is None:
        return [sys.executable, "-c", EMPTY]
    return [sys.executable, "-m", "logdrift.cli.main", "open", str(session.resolve())]


def start_times(
    sessions: list[Path | None], runs: int, width: int, height: int, state: str
) -> dict[str, tuple[float, float]]:
    """Medians of (seconds, processor seconds) to the first screen; the first round is a
    warm-up.
    """
    times: dict[str, list[tuple[float, float]]] = {}
    for index in range(runs + 1):
        for session in sessions:
            terminal = Terminal(
                program(session), width, height, XDG_STATE_HOME=f"{state}/{index}"
            )
            try:
                seconds = terminal.wait_for(b"Sequence"), terminal.cpu()
            finally:
                terminal.close()
            if index:
                times.setdefault(name_of(session), []).append(seconds)
    return {name: (_median(v, 0), _median(v, 1)) for name, v in times.items()}


def _median(values: list[tuple[float, float]], index: int) -> float:
    return statistics.median(value[index] for value in values)


def key_costs(
    session: Path, presses: int, width: int, height: int, state: str
) -> dict[str, dict[str, float]]:
    """Latency and bytes of keys, bytes of the first screen and of being idle,
    memory.
    """
    terminal = Terminal(program(session), width, height, XDG_STATE_HOME=f"{state}/keys")
    try:
        terminal.wait_for(b"Sequence")
        terminal.quiet(1.5)
        out: dict[str, dict[str, float]] = {}
        for name, keys in KEYS.items():
            terminal.key(keys[0])
            terminal.quiet(
                2.0 if name == "rank flip" else 0.12
            )  # the first one looks for all of them
            answers = []
            for press in range(1, presses + 1):
                answer = terminal.key(keys[press % len(keys)])
                if answer[1]:
                    answers.append(answer)
            seconds = sorted(a for a, _ in answers)
            if not answers:  # nothing to move: the sequence fits the screen
                out[name] = {"answers": 0}
                continue
            out[name] = {
                "p50_ms": 1000 * statistics.median(seconds),
                "max_ms": 1000 * seconds[-1],
                "bytes": statistics.median(b for _, b in answers),
            }
        os.write(terminal.fd, SEARCH)
        terminal.quiet(1.5)
        before = len(terminal.output)
        fcntl.ioctl(
            terminal.fd,
            termios.TIOCSWINSZ,
            struct.pack("HHHH", height, width - 1, 0, 0),
        )
        terminal.quiet(0.5)
        out["resize"] = {"bytes": len(terminal.output) - before}
        terminal.quiet(2.0)
        before = len(terminal.output)
        end = time.perf_counter() + 2
        while time.perf_counter() < end:
            terminal.read(0.2)
        out["idle 2 s"] = {"bytes": len(terminal.output) - before}
        out["memory"] = {"MiB": terminal.memory()}
        return out
    finally:
        terminal.close()


def name_of(session: Path | None) -> str:
    return "empty app" if session is None else session.name


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sessions", nargs="*", type=Path)
    parser.add_argument(
        "--table",
        action="store_true",
        help="1,000,000 tokens beside 10,000, the sample and plain apps",
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--presses", type=int, default=20)
    parser.add_argument("--size", default="200x60")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    width, height = (int(part) for part in args.size.split("x"))
    if args.table:
        from benchmarks.screen_table import table

        raise SystemExit(not table(args.runs, max(100, args.presses), (width, height)))
    if not args.sessions:
        parser.error("give a session, or --table")
    with tempfile.TemporaryDirectory() as state:
        starts = start_times([None, *args.sessions], args.runs, width, height, state)
        keys = {
            s.name: key_costs(s, args.presses, width, height, f"{state}/{s.name}")
            for s in args.sessions
        }
    wall, cpu = starts["empty app"]
    for session in args.sessions:
        ours, _ = starts[name_of(session)]
        say(
            Ratio(
                name=f"first screen of {name_of(session)}, {args.size}",
                ours=in_words(ours),
                against="an empty Textual app",
                peer=in_words(wall),
                ratio=ours / wall,
                limit=LIMIT if args.size == "80x24" else None,
            )
        )
    if args.json:
        print(
            json.dumps({"size": args.size, "start_s": starts, "keys": keys}, indent=1)
        )
        return
    print(f"start to first screen, {args.size}, median of {args.runs} fresh processes")
    for name, (seconds, processor) in starts.items():
        print(
            f"  {name:<24} {seconds:6.3f} s {seconds / wall:5.2f} x the empty app"
            f"   processor {processor:6.3f} s {processor / cpu:5.2f} x"
        )
    for name, costs in keys.items():
        print(name)
        for key, cost in costs.items():
            print(
                f"  {key:<24} "
                + "  ".join(f"{unit} {value:9.1f}" for unit, value in cost.items())
            )


if __name__ == "__main__":
    main()
