"""Damage a session in every way that a file can be damaged, and hold every command
against what it may answer.

    python -m tests.damage --count 3600 --seed 0

Each mutation changes one file of a copy of a session. Then opening, the list and
`report`, `why`, `check` and `diff` must answer as they do for whole sessions, or with
one line on stderr and exit code 2: no traceback, no ``unexpected``, no warning of
NumPy, no wait beyond two seconds, and no memory beyond twice the file. Each runs in a
process of its own, forked from one that has everything imported.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import io
import json
import os
import random
import resource
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from logdrift.core.diagnose.outcomes import Outcome
from logdrift.core.session.identity import LoadedTensor, LoadedWeights, write_identity
from logdrift.core.session.layers import save_layers
from logdrift.core.session.writer import append_event
from tests.made_answers import a_result
from tests.made_experiments import named, record_of, save_record, simple
from tests.made_sessions import seal

REPOSITORY = Path(__file__).resolve().parent.parent
SAMPLE = REPOSITORY / "sessions" / "sample-smollm2"
SECONDS = 2.0
"""Of a core: a command that takes more hangs; whole sessions of this size take a
fraction of one.
"""
WAIT = 20.0
"""Seconds on the clock: what waits that long without working waits for ever, on however
busy a machine.
"""
_SLACK = 96 << 20
"""Bytes that a command takes for itself, beside what it reads."""

Mutate = Callable[[Path, random.Random], str]
"""Damages one file, and says how."""


@dataclass(frozen=True)
class Fault:
    """A command that did not answer as it must."""

    mutation: str
    command: str
    what: str


# ---- sessions to damage


def made_session(folder: Path) -> Path:
    """A small session with all that is found out later: an experiment, an identity
    check, layers, events, a log.
    """
    session, pair = simple(folder)
    experiment = next(iter(named(session, pair).values()))
    record = record_of(
        pair,
        Outcome(
            experiment,
            "explains",
            0.04,
            0.01,
            0.75,
            0.6,
            0.8,
            0.001,
            tokens=900,
            repeats=1,
        ),
    )
    own = save_record(
        session, experiment.id, {**record, "repeats": 1, "began": 1.0, "ended": 2.0}
    )
    simple(own / "x")
    for entry in (own / "x").iterdir():
        entry.rename(own / entry.name)
    tensors = (
        LoadedTensor("a", True, "digest", dtype="bfloat16", shape=(2, 3)),
        LoadedTensor("b", reason="packed"),
    )
    weights = LoadedWeights(
        "vllm",
        "vllm",
        tensors,
        config_differs=(("rope_theta", 1.0, 2.0),),
        extra=("c",),
    )
    write_identity(folder, asdict(weights))
    layers = a_result()
    save_layers(
        folder,
        layers.name,
        layers.to_json(),
        {"errors/vllm": np.ones((2, 3), np.float32)},
    )
    for event in (
        {
            "t": 1.0,
            "type": "backend",
            "backend": "vllm",
            "engine": "vllm",
            "python": "python",
        },
        {"t": 2.0, "type": "facts", "backend": "vllm", "version": "1", "device": "cpu"},
        {
            "t": 3.0,
            "type": "captured",
            "label": "vllm/prefill",
            "sequences": 24,
            "tokens": 960,
        },
    ):
        append_event(folder, event)
    append_event(
        own.parent, {"t": 1.0, "type": "plan", "pair": ["a", "b"], "budget": 1.0}
    )
    (folder / "logs").mkdir()
    (folder / "logs" / "vllm.log").write_text("started\n")
    holder = {
        "host": socket.gethostname(),
        "pid": 1 << 30,
        "started": 1,
        "token": "x",
        "since": 1.0,
    }
    (folder / "lock").write_text(json.dumps(holder))
    return folder


# ---- values that JSON may hold in the place of others


def _nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    7,
    2**31,
    2**63,
    10**30,
    -(10**30),
    0.5,
    1e308,
    -1e308,
    float("nan"),
    float("inf"),
    "",
    "x",
    "y" * 5000,
    "../../etc/passwd",
    "/etc/passwd",
    "a\0b",
    "n" * 300,
    "\ud800",
    "\x1b]0;t\x07",
    "null",
    [],
    [1],
    ["x"],
    [None],
    [[]],
    {},
    {"x": 1},
    {"": None},
    _nested(40),
    _nested(400),
    {"a": _nested(60)},
)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of everything within."""
    keys: list[Any] = []
    if isinstance(value, dict):
        keys = list(value)
    elif isinstance(value, list):
        keys = list(range(len(value)))
    for key in keys:
        yield value, key
        yield from _places(value[key])


def _write_json(path: Path, value: Any) -> None:
    path.write_bytes(json.dumps(value).encode("utf-8", "surrogatepass"))


def _json_of(path: Path, rng: random.Random) -> tuple[Any, Callable[[Any], None]]:
    """What a file holds, a line of it where it has one object a line, and how to write
    that again.
    """
    if path.suffix != ".jsonl":
        return json.loads(path.read_bytes()), lambda value: _write_json(path, value)
    lines = path.read_bytes().splitlines()
    at = rng.randrange(len(lines))

    def write(value: Any) -> None:
        lines[at] = json.dumps(value).encode()
        path.write_bytes(b"\n".join(lines) + b"\n")

    return json.loads(lines[at]), write


def other_value(path: Path, rng: random.Random) -> str:
    data, write = _json_of(path, rng)
    container, key = rng.choice(list(_places(data)))
    value = rng.choice(VALUES)
    container[key] = value
    write(data)
    return f"{str(key)[:20]} = {str(value)[:30]!r}"


def other_document(path: Path, rng: random.Random) -> str:
    value = rng.choice(VALUES)
    _write_json(path, value)
    return f"the whole = {str(value)[:30]!r}"


def missing_key(path: Path, rng: random.Random) -> str:
    data, write = _json_of(path, rng)
    container, key = rng.choice(list(_places(data)))
    del container[key]
    write(data)
    return f"without {str(key)[:20]}"


def exchanged(path: Path, rng: random.Random) -> str:
    """Two values of one document in each other's place."""
    data, write = _json_of(path, rng)
    places = list(_places(data))
    (a, x), (b, y) = rng.choice(places), rng.choice(places)
    with contextlib.suppress(KeyError, IndexError):
        one, two = json.loads(json.dumps([a[x], b[y]]))
        a[x], b[y] = two, one
    write(data)
    return f"{str(x)[:20]} and {str(y)[:20]} exchanged"


def twice_given(path: Path, rng: random.Random) -> str:
    data = path.read_bytes()
    at = data.find(b'"', rng.randrange(max(1, len(data) - 1)))
    end = data.find(b'"', at + 1)
    path.write_bytes(
        data[:1]
        + data[at : end + 1]
        + b": 1, "
        + data[at : end + 1]
        + b": 2, "
        + data[1:]
    )
    return "a key given twice"


def deep(path: Path, rng: random.Random) -> str:
    depth = rng.choice((50, 300, 990, 5000, 200_000))
    inner, _ = rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
    path.write_bytes(inner * depth)
    return f"{depth} levels"


def deep_value(path: Path, rng: random.Random) -> str:
    """A value that is valid JSON, nested deeply, under a key that is there."""
    data, write = _json_of(path, rng)
    container, key = rng.choice(list(_places(data)))
    depth = rng.choice((47, 49, 100, 300))
    container[key] = _nested(depth)
    write(data)
    return f"{str(key)[:20]}: {depth} levels"


def long_number(path: Path, rng: random.Random) -> str:
    data = path.read_bytes()
    at = next(
        (
            i
            for i in range(rng.randrange(len(data)), len(data))
            if data[i : i + 1].isdigit()
        ),
        len(data) - 1,
    )
    path.write_bytes(data[:at] + b"9" * rng.choice((30, 400, 6000)) + data[at:])
    return "a number of many digits"


# ---- bytes


def bit(path: Path, rng: random.Random) -> str:
    data = bytearray(path.read_bytes())
    at = rng.randrange(8 * len(data))
    data[at // 8] ^= 1 << at % 8
    path.write_bytes(data)
    return f"bit {at}"


def some_bytes(path: Path, rng: random.Random) -> str:
    data = bytearray(path.read_bytes())
    at = rng.randrange(len(data))
    data[at : at + rng.randrange(1, 9)] = rng.randbytes(rng.randrange(12))
    path.write_bytes(data)
    return f"bytes at {at}"


def not_utf8(path: Path, rng: random.Random) -> str:
    data = path.read_bytes()
    at = rng.randrange(len(data))
    path.write_bytes(
        data[:at] + rng.choice((b"\xff", b"\xc3", b"\xed\xa0\x80", b"\0")) + data[at:]
    )
    return f"a byte at {at}"


def cut(path: Path, rng: random.Random) -> str:
    size = rng.choice((0, 1, 7, 8, 9, rng.randrange(path.stat().st_size + 1)))
    os.truncate(path, min(size, path.stat().st_size))
    return f"cut to {size}"


def longer(path: Path, rng: random.Random) -> str:
    with open(path, "ab") as file:
        file.write(rng.choice((b"\0" * 100, b"}", b"\n{", rng.randbytes(50))))
    return "longer"


def huge(path: Path, rng: random.Random) -> str:
    """A file that says that it has gigabytes, and takes none of the disk."""
    os.truncate(path, rng.choice((1 << 29, 1 << 33)))
    return "gigabytes of nothing"


def other_file(path: Path, rng: random.Random) -> str:
    root = next(folder for folder in path.parents if (folder / "session.json").exists())
    files = [
        file for file in sorted(root.rglob("*")) if file.is_file() and file != path
    ]
    chosen = rng.choice(files)
    path.write_bytes(chosen.read_bytes())
    return f"is now {chosen.name}"


# ---- something else than a file


def pipe(path: Path, rng: random.Random) -> str:
    path.unlink()
    os.mkfifo(path)
    return "a pipe"


def folder_instead(path: Path, rng: random.Random) -> str:
    path.unlink()
    path.mkdir()
    return "a folder"


def socket_instead(path: Path, rng: random.Random) -> str:
    path.unlink()
    here = Path.cwd()
    with socket.socket(socket.AF_UNIX) as made:
        os.chdir(path.parent)  # the names of sockets are short
        try:
            made.bind(path.name[:90])
        finally:
            os.chdir(here)
    return "a socket"


def link(path: Path, rng: random.Random) -> str:
    target = rng.choice(
        (
            "/dev/zero",
            "/dev/full",
            "/dev/null",
            "/dev/tty",
            "/dev/stdin",
            "/etc/passwd",
            "/proc/self/mem",
            "/nowhere",
            path.name,
        )
    )
    path.unlink()
    path.symlink_to(target)
    return f"a link to {target}"


def gone(path: Path, rng: random.Random) -> str:
    path.unlink()
    return "gone"


def folder_above_is_a_file(path: Path, rng: random.Random) -> str:
    if (path.parent / "session.json").exists():
        return gone(path, rng)
    shutil.rmtree(path.parent)
    path.parent.write_bytes(b"x")
    return "its folder is a file"


# ---- tensors


def _split(path: Path) -> tuple[dict[str, Any], bytes]:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def _joined(path: Path, header: Any, data: bytes, length: int | None = None) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(
        (len(text) if length is None else length).to_bytes(8, "little") + text + data
    )
    _seal(path)


def _seal(path: Path) -> None:
    """Make the digest that of the damaged file, where it is a part: what is behind the
    digest is tested too.
    """
    root = next(folder for folder in path.parents if (folder / "session.json").exists())
    with contextlib.suppress(Exception):
        seal(root)


def header_value(path: Path, rng: random.Random) -> str:
    header, data = _split(path)
    container, key = rng.choice(list(_places(header)))
    value = rng.choice(
        (
            *VALUES,
            "F64",
            "F16",
            "BF16",
            "I8",
            "U8",
            [0, 4],
            [4, 0],
            [-4, 0],
            [2**40, 2**40],
            [2**62] * 9,
        )
    )
    container[key] = value
    _joined(path, header, data)
    return f"header {str(key)[:20]} = {str(value)[:30]!r}"


def offsets(path: Path, rng: random.Random) -> str:
    header, data = _split(path)
    names = [name for name in header if name != "__metadata__"]
    one, two = rng.choice(names), rng.choice(names)
    kind = rng.choice(("same", "moved", "beyond", "wide", "gone"))
    if kind == "same":
        header[one] = dict(header[two])
    elif kind == "moved":
        header[one]["data_offsets"] = [
            n + rng.choice((-4, 4, 1)) for n in header[one]["data_offsets"]
        ]
    elif kind == "beyond":
        header[one]["data_offsets"] = [
            n + len(data) for n in header[one]["data_offsets"]
        ]
    elif kind == "wide":
        header[one]["shape"] = [2**20, 2**20]
        header[one]["data_offsets"] = [0, 2**42]
    else:
        del header[one]
    _joined(path, header, data)
    return f"offsets {kind}"


def header_bytes(path: Path, rng: random.Random) -> str:
    header, data = _split(path)
    kind = rng.choice(("deep", "length", "enormous", "list", "twice"))
    text = json.dumps(header).encode()
    if kind == "deep":
        _joined(path, b'{"a":' * 20_000, data)
    elif kind == "length":
        _joined(
            path,
            header,
            data,
            rng.choice((0, 1, 2**20, 2**31, 2**63, 2**64 - 1, len(text) - 1)),
        )
    elif kind == "enormous":
        _joined(path, text + b" " * (3 << 20), data)
    elif kind == "list":
        _joined(path, rng.choice((b"[]", b"null", b"1", b"{}", b'""')), data)
    else:
        _joined(path, b'{"logprob": 1, ' + text[1:], data)
    return f"header {kind}"


def tensor_values(path: Path, rng: random.Random) -> str:
    """Other numbers, with a digest that fits them: a session that was made so."""
    header, data = _split(path)
    name = rng.choice([name for name in header if name != "__metadata__"])
    start, stop = header[name]["data_offsets"]
    code = {
        "F32": np.float32,
        "F64": np.float64,
        "I32": np.int32,
        "I64": np.int64,
        "U8": np.uint8,
    }[header[name]["dtype"]]
    values = np.frombuffer(data[start:stop], code).copy()
    if not len(values):
        return "nothing"
    floats = (np.nan, np.inf, -np.inf, 1e30, -1e30, 3.4e38, -3.4e38, 1e-40, 5.0, -1e4)
    whole = (0, 1, -1, 2, 255, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63))
    at = np.array(
        [rng.randrange(len(values)) for _ in range(rng.choice((1, 1, 3, 40)))]
    )
    if values.dtype.kind == "f":
        values[at] = rng.choice(floats)
    else:
        info = np.iinfo(values.dtype)
        values[at] = rng.choice([n for n in whole if info.min <= n <= info.max])
    _joined(path, header, data[:start] + values.tobytes() + data[stop:])
    return f"values of {name}"


_JSON: tuple[Mutate, ...] = (
    other_value,
    other_value,
    other_value,
    other_value,
    other_document,
    missing_key,
    exchanged,
    twice_given,
    deep,
    deep_value,
    long_number,
)
_TENSORS: tuple[Mutate, ...] = (
    header_value,
    offsets,
    header_bytes,
    tensor_values,
    tensor_values,
)
_BYTES: tuple[Mutate, ...] = (bit, some_bytes, not_utf8, cut, longer, huge, other_file)
_KINDS: tuple[Mutate, ...] = (
    pipe,
    folder_instead,
    socket_instead,
    link,
    gone,
    folder_above_is_a_file,
)


def _weight(path: Path) -> int:
    """How often a file is damaged: the manifest and what is found out later have the
    most to be wrong, and are few.
    """
    if path.name == "session.json":
        return 6
    return 3 if path.suffix in (".json", ".jsonl") else 1


def mutate(session: Path, rng: random.Random) -> str:
    """Damage one file of a session; how."""
    files = [path for path in sorted(session.rglob("*")) if path.is_file()]
    path = rng.choices(files, [_weight(path) for path in files])[0]
    if path.suffix in (".json", ".jsonl") or path.name == "lock":
        kinds = rng.choices((_JSON, _BYTES, _KINDS), (6, 2, 1))[0]
    elif path.suffix == ".safetensors":
        kinds = rng.choices((_TENSORS, _BYTES, _KINDS), (6, 2, 1))[0]
    else:
        kinds = rng.choice((_BYTES, _KINDS))
    chosen = rng.choice(kinds)
    return f"{path.relative_to(session)}: {chosen.__name__}: {chosen(path, rng)}"


# ---- what is asked


def _open(session: Path) -> int:
    """All that the explorer does with a session before and behind its first screen, but
    for the screen.
    """
    from logdrift.tui.app import readable
    from logdrift.tui.models.backend_log import log_lines
    from logdrift.tui.models.inspection import inspect
    from logdrift.tui.models.pairs import judged, open_pair
    from logdrift.tui.models.state import load_state
    from logdrift.tui.models.why import explain

    opened = readable(session)
    load_state(opened.manifest.id)
    pair, _ = open_pair(opened, None)
    for info in opened.captures:
        log_lines(opened, info.backend)
    if opened.sequences.tokens:
        inspect(opened, pair, opened.sequences.tokens - 1)
    if pair is not None:
        judged(opened, pair)
        explain(opened, pair)
    return 0


def _list(session: Path) -> int:
    from logdrift.tui.models.session_watch import FolderWatch

    FolderWatch(session.parent).look(depth="answers", stop=lambda: False)
    return 0


def _command(*arguments: str) -> Callable[[Path], int]:
    def run(session: Path) -> int:
        from logdrift.cli.main import main

        return main(
            [argument.replace("SESSION", str(session)) for argument in arguments]
        )

    return run


COMMANDS: dict[str, Callable[[Path], int]] = {
    "open": _open,
    "list": _list,
    "report": _command("report", "SESSION", "--json"),
    "why": _command("why", "SESSION"),
    "check": _command("check", "SESSION", "--max", "mae=1"),
    "diff": _command("diff", "SESSION", "SESSION"),
}


def _asked(name: str, session: Path) -> str | None:
    """What is wrong with how a command answers; None for nothing."""
    from logdrift.core.errors import InputError

    out, err = io.StringIO(), io.StringIO()
    code: int | None = None
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    signal.setitimer(signal.ITIMER_REAL, WAIT)
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            warnings.catch_warnings(record=True) as warned,
        ):
            warnings.simplefilter("always")
            code = COMMANDS[name](session)
        if warned:
            return (
                f"Warning: {warned[0].filename}:{warned[0].lineno}: {warned[0].message}"
            )
    except InputError as error:
        code = 2
        err.write(f"logdrift: {error}\n")
    except _Slow:
        return "hangs"
    except BaseException:
        return (
            traceback.format_exc().strip().splitlines()[-1]
            + " "
            + traceback.format_exc(limit=-1)[-300:]
        )
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
    said = err.getvalue()
    if "unexpected" in said or "Traceback" in said or "Warning" in said:
        return said.strip()
    if code not in (0, 1, 2) or (
        code == 2 and (said.count("\n") != 1 or not said.startswith("logdrift: "))
    ):
        return f"exit code {code}: {said!r}"
    if code == 0 and said:
        return f"said on stderr: {said!r}"
    return None


class _Slow(BaseException):
    """Time is up. Not an Exception, which a command might take for its own."""


def _ring(number: int, frame: Any) -> None:
    raise _Slow


def faults_of(session: Path, mutation: str, commands: Sequence[str]) -> list[Fault]:
    """Ask every command about a damaged session, in a process of its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        found: list[list[str]] = []
        try:
            os.close(reading)
            signal.signal(signal.SIGALRM, _ring)
            signal.signal(signal.SIGPROF, _ring)
            largest = max(
                (file.stat().st_size for file in session.rglob("*") if file.is_file()),
                default=0,
            )
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
            for name in commands:
                wrong = _asked(name, session)
                if wrong is not None:
                    found.append([name, wrong])
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) - before
            if grown > 2 * largest + _SLACK:
                found.append(
                    ["all", f"{grown >> 20} MiB for a file of {largest >> 20}"]
                )
        except BaseException as error:
            found.append(["all", repr(error)])
        finally:
            with open(writing, "wb") as answers:
                answers.write(json.dumps(found).encode())
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as file:
        said = file.read()
    _, status = os.waitpid(child, 0)
    if not said or status:
        return [Fault(mutation, "all", f"ended by {status}")]
    return [Fault(mutation, name, what) for name, what in json.loads(said)]


def run(
    count: int,
    seed: int,
    folder: Path,
    report: Callable[[int, list[Fault]], None] | None = None,
    first: int = 0,
) -> list[Fault]:
    """``count`` mutations from number ``first`` on, the same for the same seed; the
    faults that were found.
    """
    sources = [
        made_session(folder / "source" / "made"),
        Path(shutil.copytree(SAMPLE, folder / "source" / "sample")),
    ]
    os.environ["XDG_STATE_HOME"] = str(folder / "state")
    for source in sources:
        # All that is ever imported is imported before the first fork.
        for name in COMMANDS:
            with (
                contextlib.redirect_stdout(io.StringIO()),
                contextlib.redirect_stderr(io.StringIO()),
            ):
                COMMANDS[name](source)
            wrong = faults_of(source, "whole", [name])
            assert not wrong, wrong
    faults: list[Fault] = []
    for number in range(first, first + count):
        rng = random.Random(f"{seed} {number}")
        source = sources[
            rng.random() < 0.15
        ]  # the sample is ten times as much to compute
        copy = folder / "sessions" / "damaged"
        shutil.copytree(source, copy)
        try:
            faults += faults_of(
                copy, f"{number} {source.name} {mutate(copy, rng)}", list(COMMANDS)
            )
        finally:
            shutil.rmtree(folder / "sessions")
        if report is not None:
            report(number + 1, faults)
    return faults


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=3600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--first",
        type=int,
        default=0,
        help="number of the first mutation: to look at one again",
    )
    args = parser.parse_args(argv)
    begun = time.monotonic()
    told = 0

    def report(done: int, faults: list[Fault]) -> None:
        nonlocal told
        for fault in faults[told:]:
            print(f"{fault.mutation}\n    {fault.command}: {fault.what}", flush=True)
        told = len(faults)
        if done % 200 == 0:
            print(
                f"{done} mutations, {len(faults)} faults,"
                f" {time.monotonic() - begun:.0f} s",
                file=sys.stderr,
                flush=True,
            )

    with tempfile.TemporaryDirectory() as folder:
        faults = run(args.count, args.seed, Path(folder), report, args.first)
    kinds = collections.Counter(fault.what.split(":")[0][:60] for fault in faults)
    print(
        f"{args.count} mutations, {args.count * len(COMMANDS)} answers, {len(faults)}"
        f" faults: {dict(kinds)}"
    )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
