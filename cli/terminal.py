"""What the terminal can show, as the screens will find it: for ``logdrift doctor``."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Mapping

from logdrift.core.doctor import Check
from logdrift.core.session.visible import visible

SMALLEST = (60, 20)
"""Columns and rows that the explorer needs."""
_WIDE = 120

Ask = Callable[[str], str | None]
"""An option of tmux -> its value; None where it cannot be asked."""


def terminal_checks(
    environment: Mapping[str, str],
    is_terminal: bool,
    encoding: str,
    size: tuple[int, int],
    ask_tmux: Ask,
) -> list[Check]:
    """Colours, size, characters and the way to the clipboard. ``size`` is columns and
    rows.
    """
    if not is_terminal:
        text = "not a terminal: the screens cannot be judged from here"
        return [Check("terminal", "ok", text)]
    return [
        _colours(environment),
        _size(*size),
        _characters(encoding),
        _clipboard(environment, ask_tmux),
    ]


def _colours(environment: Mapping[str, str]) -> Check:
    term = environment.get("TERM", "")
    if term in ("", "dumb"):
        return Check(
            "colours",
            "broken",
            f"TERM is {term or 'not set'}",
            "run in a real terminal, or set TERM=xterm-256color",
        )
    if environment.get("NO_COLOR"):
        return Check("colours", "ok", "NO_COLOR is set: marks and underlines only")
    if environment.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        return Check("colours", "ok", f"16 million ({visible(term)})")
    if "256" in term or "direct" in term:
        return Check("colours", "ok", f"256 ({visible(term)})")
    fix = (
        "set TERM=xterm-256color (tmux: set -g default-terminal tmux-256color), or"
        " COLORTERM=truecolor where it has them"
    )
    return Check(
        "colours",
        "warning",
        f"16 ({visible(term)}): two steps of the scale share a colour",
        fix,
    )


def _size(columns: int, rows: int) -> Check:
    text = f"{columns}x{rows}"
    least_columns, least_rows = SMALLEST
    if columns < least_columns or rows < least_rows:
        remedy = (
            f"the explorer needs {least_columns}x{least_rows}: make the window larger"
        )
        return Check("size", "warning", text, remedy)
    if columns < _WIDE:
        text += f": panes as tabs; side by side from {_WIDE} columns"
    return Check("size", "ok", text)


def _characters(encoding: str) -> Check:
    if encoding.lower().replace("-", "") in ("utf8", "utf8sig"):
        return Check("characters", "ok", "UTF-8")
    return Check(
        "characters",
        "warning",
        f"{visible(encoding)}: bars and arrows become ASCII",
        "set LC_ALL=C.UTF-8",
    )


def _clipboard(environment: Mapping[str, str], ask: Ask) -> Check:
    """Copying goes through OSC 52, which terminals take by themselves and multiplexers
    must let through.
    """
    if environment.get("TMUX"):
        return _clipboard_in_tmux(ask("allow-passthrough"))
    if environment.get("STY"):
        return Check(
            "clipboard",
            "warning",
            "GNU screen does not let OSC 52 through",
            "use tmux, or copy with the mouse (--no-mouse)",
        )
    return Check("clipboard", "ok", "OSC 52, if this terminal takes it")


def _clipboard_in_tmux(passthrough: str | None) -> Check:
    """``passthrough``: tmux's option, None where it does not say."""
    if passthrough in ("on", "all"):
        text = f"OSC 52 through tmux (allow-passthrough {passthrough})"
        return Check("clipboard", "ok", text)
    if passthrough is None:
        # Before 3.3 there was no such option, and everything passed.
        text = "tmux does not say whether it lets OSC 52 through"
    else:
        text = "tmux does not let OSC 52 through: nothing can be copied"
    remedy = "tmux set -g allow-passthrough on"
    return Check("clipboard", "warning", text, remedy)


def ask_tmux(option: str) -> str | None:
    """The value of a global option of the tmux that we run in."""
    tool = shutil.which("tmux")
    if tool is None:
        return None
    try:
        done = subprocess.run(
            [tool, "show-options", "-gv", option],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=3,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    if done.returncode == 0 and done.stdout.strip():
        return visible(done.stdout.strip())
    return None
