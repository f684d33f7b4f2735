"""Ready-made commands for deeper debuggers, filled in for one sequence: SGLang's dumper
and comparator, and msprobe.

Option and variable names are those of SGLang 0.5.23 (srt/debug_utils/dumper.py,
comparator/entrypoint.py, its ``--msprobe-dump-config``) and of msprobe's documentation
(``msprobe compare -tp -gp -o``, config.json). msprobe has not been run here.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from logdrift.core.plan import BackendSpec

_PORT = 30000
_DUMPS = "dumps"
_VARIABLE = re.compile(r"SGLANG_[A-Z0-9_]+", re.ASCII)
"""A name that stands before ``=`` as it is: quoted, it would be no assignment to a
shell.
"""


def debugger_commands(
    model: str, spec: BackendSpec | None, token_ids: Sequence[int], layer: int | None
) -> str:
    """A shell script of commands, each step under a comment; every value is quoted for
    a shell.

    ``spec`` is the SGLang side, None where the pair has none (then its dtype is
    bfloat16). ``layer`` is the one to look at, None for all: it becomes the filter of
    dumper and comparator.
    """
    dtype = spec.dtype if spec is not None else "bfloat16"
    own = spec.model or model if spec is not None else model
    options = {} if spec is None else dict(spec.options)
    request = {
        "input_ids": [int(i) for i in token_ids],
        "sampling_params": {"max_new_tokens": 0, "temperature": 0},
        "return_logprob": True,
        "logprob_start_len": 0,
    }
    curl = (
        f"curl -s http://127.0.0.1:{_PORT}/generate -H 'Content-Type: application/json'"
        f" -d {shlex.quote(json.dumps(request))}"
    )
    variables = {
        "DUMPER_ENABLE": "1",
        "DUMPER_DIR": _DUMPS,
        "DUMPER_NON_INTRUSIVE_MODE": "all",
    }
    compare = [
        "python",
        "-m",
        "sglang.srt.debug_utils.comparator",
        "--baseline-path",
        f"{_DUMPS}/baseline",
        "--target-path",
        f"{_DUMPS}/target",
        "--preset",
        "raw",
        "--diff-threshold",
        "0.0085",
        "--output-format",
        "json",
    ]
    if layer is not None:
        compare += ["--filter", rf"layers\.{layer}\."]
    probe = {
        "task": "tensor",
        "dump_path": f"{_DUMPS}/msprobe",
        "rank": [],
        "step": [],
        "level": "L0",
    }
    msprobe = _server(
        own, dtype, options, {}, ["--msprobe-dump-config", "msprobe.json"]
    )
    lines = [
        (
            "# SGLang's dumper: every module of one forward pass. Start each server,"
            " wait until it answers, send the request, stop it."
        ),
        "# baseline: float32",
        _server(
            model,
            "float32",
            {},
            {**variables, "DUMPER_EXP_NAME": "baseline"},
            ["--skip-server-warmup"],
        ),
        curl,
        f"# target: {dtype}, as captured",
        _server(
            own,
            dtype,
            options,
            {**variables, "DUMPER_EXP_NAME": "target"},
            ["--skip-server-warmup"],
        ),
        curl,
        "# SGLang's comparator (needs polars)",
        _join(compare),
        "",
        (
            "# msprobe (pip install mindstudio-probe), in SGLang: dump, then compare"
            " with a dump made the same way elsewhere"
        ),
        f"printf %s {shlex.quote(json.dumps(probe))} > msprobe.json",
        msprobe,
        curl,
        (
            f"msprobe compare -tp {_DUMPS}/msprobe/step0/rank/dump.json -gp"
            f" GOLDEN/step0/rank/dump.json -o {_DUMPS}/compare"
        ),
    ]
    return "".join(line + "\n" for line in lines)


def _server(
    model: str,
    dtype: str,
    options: Mapping[str, Any],
    variables: Mapping[str, str],
    more: Sequence[str],
) -> str:
    """``NAME=value ... python -m sglang.launch_server ...``, without graphs and cache,
    which hide what is computed.
    """
    settings = dict(variables)
    arguments = [
        "--model-path",
        model,
        "--dtype",
        dtype,
        "--port",
        str(_PORT),
        "--disable-radix-cache",
        "--disable-decode-cuda-graph",
        "--disable-prefill-cuda-graph",
    ]
    for name, value in options.items():
        if _VARIABLE.fullmatch(name):
            settings[name] = str(int(value)) if isinstance(value, bool) else str(value)
        elif f"--{name.replace('_', '-')}" not in arguments:
            arguments += _flag(name, value)
    assigned = " ".join(f"{name}={_quoted(value)}" for name, value in settings.items())
    return (
        f"{assigned}"
        f" {_join(['python', '-m', 'sglang.launch_server', *arguments, *more])}".lstrip()
    )


def _flag(name: str, value: Any) -> list[str]:
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return [flag] if value else []
    return [flag, value if isinstance(value, str) else json.dumps(value)]


def _join(arguments: Sequence[str]) -> str:
    return " ".join(_quoted(str(each)) for each in arguments)


def _quoted(text: str) -> str:
    """A word for a shell that is safe on a terminal too: what cannot be seen is written
    as an escape of bash and zsh.
    """
    if text.isprintable():
        return shlex.quote(text)
    return "$'" + "".join(map(_escaped, text)) + "'"


def _escaped(char: str) -> str:
    if char in "'\\":
        return f"\\{char}"
    if char.isprintable():
        return char
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"
