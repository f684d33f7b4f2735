"""The two ways a command ends badly. Both are one line that names the cause and the mend."""

from __future__ import annotations


class LogdriftError(Exception):
    """A run that failed for a reason outside the input: exit code 1, one line, no traceback."""

    exit_code = 1


class InputError(LogdriftError):
    """Bad input (flags, plan, prompts, session folder): exit code 2, and nothing on disk was changed."""

    exit_code = 2
