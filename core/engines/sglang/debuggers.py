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
from dataclasses import dataclass
from typing import Any

from logdrift.core.plan import BackendSpec

_PORT = 30000
_DUMPS = "dumps"
_PROBE = {
    "task": "tensor",
    "dump_path": f"{_DUMPS}/msprobe",
    "rank": [],
    "step": [],
    "level": "L0",
}
"""What msprobe reads from its file."""
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
    baseline = _Server(model, "float32", {})
    target = _target(model, spec)
    request = _request(token_ids)
    lines = [
        "# SGLang's dumper: every module of one forward pass. Start each server,"
        " wait until it answers, send the request, stop it.",
        "# baseline: float32",
        baseline.dumping("baseline"),
        request,
        f"# target: {target.dtype}, as captured",
        target.dumping("target"),
        request,
        "# SGLang's comparator (needs polars)",
        _comparator(layer),
        "",
        "# msprobe (pip install mindstudio-probe), in SGLang: dump, then compare"
        " with a dump made the same way elsewhere",
        f"printf %s {shlex.quote(json.dumps(_PROBE))} > msprobe.json",
        target.started({}, ["--msprobe-dump-config", "msprobe.json"]),
        request,
        f"msprobe compare -tp {_DUMPS}/msprobe/step0/rank/dump.json -gp"
        f" GOLDEN/step0/rank/dump.json -o {_DUMPS}/compare",
    ]
    return "".join(line + "\n" for line in lines)


def _target(model: str, spec: BackendSpec | None) -> _Server:
    if spec is None:
        return _Server(model, "bfloat16", {})
    return _Server(spec.model or model, spec.dtype, spec.options)


def _request(token_ids: Sequence[int]) -> str:
    """A curl that scores the ids in one pass."""
    request = {
        "input_ids": [int(i) for i in token_ids],
        "sampling_params": {"max_new_tokens": 0, "temperature": 0},
        "return_logprob": True,
        "logprob_start_len": 0,
    }
    return (
        f"curl -s http://127.0.0.1:{_PORT}/generate -H 'Content-Type: application/json'"
        f" -d {shlex.quote(json.dumps(request))}"
    )


def _comparator(layer: int | None) -> str:
    """SGLang's comparator over both dumps, of one layer or of all."""
    words = ["python", "-m", "sglang.srt.debug_utils.comparator"]
    words += ["--baseline-path", f"{_DUMPS}/baseline"]
    words += ["--target-path", f"{_DUMPS}/target"]
    words += ["--preset", "raw", "--diff-threshold", "0.0085"]
    words += ["--output-format", "json"]
    if layer is not None:
        words += ["--filter", rf"layers\.{layer}\."]
    return _join(words)


@dataclass(frozen=True, slots=True)
class _Server:
    """A server of SGLang to start by hand: ``options`` are its arguments and variables,
    by their own names.
    """

    model: str
    dtype: str
    options: Mapping[str, Any]

    def dumping(self, name: str) -> str:
        """With SGLang's dumper, into a dump called ``name``."""
        variables = {
            "DUMPER_ENABLE": "1",
            "DUMPER_DIR": _DUMPS,
            "DUMPER_NON_INTRUSIVE_MODE": "all",
            "DUMPER_EXP_NAME": name,
        }
        return self.started(variables, ["--skip-server-warmup"])

    def started(self, variables: Mapping[str, str], more: Sequence[str]) -> str:
        """``NAME=value ... python -m sglang.launch_server ...``, without graphs and
        cache, which hide what is computed.
        """
        assigned = dict(variables)
        arguments = ["--model-path", self.model, "--dtype", self.dtype]
        arguments += ["--port", str(_PORT), "--disable-radix-cache"]
        arguments += ["--disable-decode-cuda-graph", "--disable-prefill-cuda-graph"]
        for name, value in self.options.items():
            if _VARIABLE.fullmatch(name):
                number = int(value) if isinstance(value, bool) else value
                assigned[name] = str(number)
            elif f"--{name.replace('_', '-')}" not in arguments:
                arguments += _flag(name, value)
        words = [f"{name}={_quoted(value)}" for name, value in assigned.items()]
        program = ["python", "-m", "sglang.launch_server"]
        return " ".join([*words, _join([*program, *arguments, *more])])


def _flag(name: str, value: Any) -> list[str]:
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        if value:
            return [flag]
        return []
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
    if ord(char) < 0x10000:
        return f"\\u{ord(char):04x}"
    return f"\\U{ord(char):08x}"
