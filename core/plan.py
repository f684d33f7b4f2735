"""What is asked for: a capture plan, from TOML, from flags or from a saved session,
validated before anything runs.

The worker reads plans too, in interpreters as old as Python 3.10, so only the standard
library is used here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, get_args

from logdrift.core.credentials import HIDDEN, masked, secret_in
from logdrift.core.engines import ENGINES, PATHS
from logdrift.core.errors import InputError
from logdrift.core.facts import Batch
from logdrift.core.plan_keys import PLAN, check_keys, check_options
from logdrift.core.session.files import SMALL_BYTES, read_file
from logdrift.core.session.schema import checked, items, record, text

Role = Literal["reference", "trainer", "rollout"]
ROLES: tuple[str, ...] = get_args(Role)
SCORING = ("prefill", "forced_decode")
"""Paths that score given ids, so that they can be asked again with another batch."""
DTYPES = ("auto", "bfloat16", "float16", "float32")

_Built = TypeVar("_Built")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class SamplingSpec:
    """How completions are sampled. ``top_k`` 0 and ``top_p`` 1 mean no truncation;
    sequence ``i`` uses seed + i.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    max_tokens: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        _require(
            0.0 <= self.temperature <= 2.0,
            f"sampling.temperature is {self.temperature}: give 0 to 2",
        )
        _require(
            0.0 < self.top_p <= 1.0,
            f"sampling.top_p is {self.top_p}: give a number above 0, up to 1",
        )
        _require(
            self.top_k >= 0, f"sampling.top_k is {self.top_k}: give 0 (off) or more"
        )
        _require(
            0.0 <= self.min_p <= 1.0, f"sampling.min_p is {self.min_p}: give 0 to 1"
        )
        _require(
            self.repetition_penalty > 0,
            f"sampling.repetition_penalty is {self.repetition_penalty}: give > 0",
        )
        _require(
            self.max_tokens >= 1,
            f"sampling.max_tokens is {self.max_tokens}: give 1 or more",
        )


class CaptureName(NamedTuple):
    """One capture that a backend gives: its label, and which scores it holds."""

    label: str
    path: str
    repeat: int = 1
    batch: Batch = "together"


@dataclass(frozen=True, slots=True)
class BackendSpec:
    """One configured engine. ``options`` go to the engine by its own names; the rest is
    logdrift's.

    ``model`` (with a ``revision`` of its own) is another folder or hub id for this
    backend alone: the session's ids and tokenizer stay. ``alone`` captures each scoring
    path once more with every sequence in a batch of its own.
    """

    name: str
    engine: str
    dtype: str = "auto"
    role: Role = "rollout"
    paths: tuple[str, ...] = ()
    repeats: int = 1
    python: str | None = None
    gpus: str | None = None
    model: str | None = None
    revision: str | None = None
    alone: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        where = f"backend {self.name!r}"
        check_backend_name(self.name)
        _require(
            self.engine in ENGINES,
            f"{where}: engine {self.engine!r} is unknown: use {', '.join(ENGINES)}",
        )
        _require(
            self.dtype in DTYPES,
            f"{where}: dtype {self.dtype!r} is unknown: use {', '.join(DTYPES)}",
        )
        _require(
            self.role in ROLES,
            f"{where}: role {self.role!r} is unknown: use {', '.join(ROLES)}",
        )
        _require(
            self.gpus is None or bool(re.fullmatch(r"\d+(,\d+)*", self.gpus)),
            f"{where}: gpus is {self.gpus!r}: give device numbers, e.g. 0 or 0+1",
        )
        _require(
            self.repeats >= 1, f"{where}: repeats is {self.repeats}: give 1 or more"
        )
        for path in self.paths:
            _require(
                path in PATHS,
                f"{where}: path {path!r} is unknown: use {', '.join(PATHS)}",
            )
            _require(
                path in ENGINES[self.engine].paths,
                f"{where}: {self.engine} has no path {path!r}: it has"
                f" {', '.join(ENGINES[self.engine].paths)}",
            )
        _require(
            self.model != "",
            f"{where}: model is empty: name a folder or hub id, or leave it out",
        )
        _require(
            self.revision is None or self.model is not None,
            f"{where}: revision belongs to a model of its own: give model= too, or set"
            " it for the whole plan",
        )
        _require(
            not self.alone
            or not self.paths
            or any(path in SCORING for path in self.paths),
            f"{where}: alone scores given ids once more, and this backend scores none:"
            f" add path {' or '.join(SCORING)}",
        )
        for key in self.options:
            _require(
                key != "server",
                f"{where}: attaching to a running server is not in this version: leave"
                " out server=",
            )

        _refuse_secret(
            {"model": self.model, "revision": self.revision, "python": self.python},
            f"{where}: ",
        )
        _refuse_secret(self.options, f"{where}: option ")

    def labels(self) -> list[CaptureName]:
        """Every capture this backend gives, in the order in which it is captured."""
        out: list[CaptureName] = []
        for repeat in range(1, self.repeats + 1):
            for path in self.paths:
                if path == "decode" and repeat > 1:
                    # sampling again gives other ids: a repeat of decode is
                    # forced_decode
                    continue
                out.append(CaptureName(label_of(self.name, path, repeat), path, repeat))
        if self.alone:
            for path in self.paths:
                if path in SCORING:
                    out.append(
                        CaptureName(
                            label_of(self.name, path, batch="alone"),
                            path,
                            batch="alone",
                        )
                    )
        return out


def label_of(name: str, path: str, repeat: int = 1, batch: Batch = "together") -> str:
    """``NAME/PATH``, repeats ``NAME/PATH#2``, sequences scored one at a time
    ``NAME/PATH#alone``.
    """
    mark = "#alone" if batch == "alone" else f"#{repeat}" if repeat > 1 else ""
    return f"{name}/{path}{mark}"


@dataclass(frozen=True, slots=True)
class CapturePlan:
    """A whole capture: one model, its prompts, the backends in order, and what is kept
    per token.

    ``continue_final_message`` or ``add_generation_prompt`` says what becomes of an
    assistant turn at the end of a conversation whose own line does not say it.
    """

    model: str
    backends: tuple[BackendSpec, ...]
    prompts_file: str | None = None
    texts: tuple[str, ...] = ()
    sampling: SamplingSpec = field(default_factory=SamplingSpec)
    revision: str | None = None
    title: str = ""
    top_k: int = 20
    part_sequences: int = 8
    trust_remote_code: bool = False
    continue_final_message: bool = False
    add_generation_prompt: bool = False

    def __post_init__(self) -> None:
        _require(
            bool(self.model),
            "model is missing: give a folder, a hub id or smollm2 (--model)",
        )
        _require(
            bool(self.backends),
            "no backend: give at least one (--backend transformers:float32@reference)",
        )
        _require(0 <= self.top_k <= 1024, f"top_k is {self.top_k}: give 0 to 1024")
        _require(
            self.part_sequences >= 1,
            f"part_sequences is {self.part_sequences}: give 1 or more",
        )
        _require(
            not (self.continue_final_message and self.add_generation_prompt),
            "continue_final_message and add_generation_prompt exclude each other:"
            " give one",
        )
        _refuse_secret(
            {"model": self.model, "revision": self.revision, "title": self.title}, ""
        )
        names = [spec.name for spec in self.backends]
        for name in names:
            _require(
                names.count(name) == 1,
                f"two backends are called {name!r}: give one another name with @NAME",
            )
        decoding = [spec.name for spec in self.backends if "decode" in spec.paths]
        _require(
            len(decoding) <= 1,
            f"{' and '.join(decoding)} both have path decode: one backend generates the"
            " sequences of a session, the others score them (prefill, forced_decode)",
        )

    @property
    def final_turn(self) -> Literal["answer", "continue"] | None:
        """What becomes of an assistant turn at the end of a conversation; None where
        each line has to say it.
        """
        if self.continue_final_message:
            return "continue"
        return "answer" if self.add_generation_prompt else None

    @property
    def generator(self) -> BackendSpec | None:
        """The backend that samples the completions, if any."""
        return next((spec for spec in self.backends if "decode" in spec.paths), None)

    def with_paths(self, *, generate: bool) -> CapturePlan:
        """Fill in the paths that were left open: the generating backend decodes and
        prefills, the others prefill.

        Raises InputError where ``generate`` is False (sequences are complete) but a
        backend was asked to decode.
        """
        chosen = self.generator
        if not generate and chosen is not None:
            raise InputError(
                f"backend {chosen.name!r}: path decode samples new tokens, but every"
                " prompt already has its completion: use prefill or forced_decode"
            )
        if generate and chosen is None:
            free = [spec for spec in self.backends if not spec.paths]
            chosen = next(
                (spec for spec in free if spec.role == "rollout"),
                free[0] if free else None,
            )
            if chosen is None:
                raise InputError(
                    "the prompts have no completions and no backend has path decode:"
                    " add it to one backend"
                )
        filled = [
            replace(
                spec,
                paths=spec.paths
                or (("decode", "prefill") if spec is chosen else ("prefill",)),
            )
            for spec in self.backends
        ]
        return replace(self, backends=tuple(filled))

    def to_json(self) -> dict[str, Any]:
        """As saved in a session's manifest and shown as TOML."""
        data = asdict(self)
        data["backends"] = [
            {**asdict(spec), "options": dict(spec.options)} for spec in self.backends
        ]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CapturePlan:
        """Inverse of `to_json`; keys this version does not know are left out.
        InputError where a value is of another type.
        """
        return cls(**_hidden(checked(_plan_kind, data, "the plan")))


_backend_kind = record(BackendSpec, role=text)
_sampling_kind = record(SamplingSpec)
_plan_kind = record(
    CapturePlan,
    backends=items(lambda value: BackendSpec(**_hidden(_backend_kind(value)))),
    sampling=lambda value: SamplingSpec(**_sampling_kind(value)),
)


def _hidden(values: dict[str, Any]) -> dict[str, Any]:
    """What an older logdrift saved, without credentials that it did not know for what
    they are.
    """
    plain = {
        name: value
        for name, value in values.items()
        if name not in ("backends", "sampling")
    }
    return values if secret_in(plain) is None else {**values, **masked(plain)}


def _refuse_secret(values: Mapping[str, Any], where: str) -> None:
    name = secret_in(values)
    if name is not None:
        raise InputError(
            f"{where}{name!r} looks like a credential and would be saved in the"
            " session: use the environment"
        )


def refuse_hidden(spec: BackendSpec) -> None:
    """Raises InputError for a backend with an option that was a credential: it was not
    kept, so it cannot be given again.
    """
    if HIDDEN in json.dumps([spec.model, spec.python, dict(spec.options)], default=str):
        raise InputError(
            f"backend {spec.name!r}: an option of it looks like a credential and was"
            " not kept: start a new session, with that option in the environment"
        )


def check_backend_name(name: str) -> None:
    """Raises InputError for what cannot be a backend's name: it is a folder's name and
    a part of labels too.
    """
    _require(
        bool(_NAME.fullmatch(name)),
        f"backend {name!r}: a name is letters, digits, '.', '_' and '-'",
    )


def load_plan(path: Path) -> CapturePlan:
    """Read a plan from TOML. Paths in it are relative to the file. Every error names
    the file and the key.
    """
    import tomllib  # not in Python 3.10, where only workers run

    try:
        data = tomllib.loads(read_file(path, SMALL_BYTES).decode("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"plan {path}: no such file") from None
    except InputError as error:
        raise InputError(f"plan {error}") from None
    except (
        ValueError,
        RecursionError,
    ) as error:  # not UTF-8, not TOML, or nested too deeply
        raise InputError(f"plan {path}: not valid TOML: {error}") from None
    try:
        return _plan_from_toml(data, path.parent)
    except InputError as error:
        raise InputError(f"plan {path}: {error}") from None


def _tables() -> dict[str, set[str]]:
    """The keys that a plan file may have, by table."""
    final_turn = {"continue_final_message", "add_generation_prompt"}
    not_written = {"backends", "texts", "prompts_file"} | final_turn
    return {
        PLAN: (
            {f.name for f in fields(CapturePlan)} - not_written | {"backend", "prompts"}
        ),
        "prompts": {"file", "texts"} | final_turn,
        "sampling": {f.name for f in fields(SamplingSpec)},
        "backend": {f.name for f in fields(BackendSpec)},
    }


def _plan_from_toml(data: Mapping[str, Any], folder: Path) -> CapturePlan:
    tables = _tables()
    check_keys(PLAN, "", data, tables)
    sampling = _table(data, "sampling")
    check_keys("sampling", "sampling.", sampling, tables)
    listed = data.get("backend", [])
    _require(isinstance(listed, list), "backend is no list: write [[backend]]")
    backends = [
        _backend_from_toml(table, index, tables) for index, table in enumerate(listed)
    ]
    prompts = _prompts_from_toml(_table(data, "prompts"), folder, tables)
    values = {
        key: data[key] for key in data if key not in ("backend", "prompts", "sampling")
    }
    _require("model" in values, "model is missing")
    return _typed(
        CapturePlan,
        {
            **values,
            **prompts,
            "backends": tuple(backends),
            "sampling": _typed(SamplingSpec, dict(sampling), "sampling."),
        },
        "",
    )


def _prompts_from_toml(
    prompts: Mapping[str, Any], folder: Path, tables: Mapping[str, set[str]]
) -> dict[str, Any]:
    """The fields of a plan that the table ``[prompts]`` gives."""
    check_keys("prompts", "prompts.", prompts, tables)
    file, texts = prompts.get("file"), prompts.get("texts", [])
    _require(isinstance(file, (str, type(None))), "prompts.file is no text")
    _require(file != "", "prompts.file is empty: name a file, or leave it out")
    _require(
        isinstance(texts, list) and all(isinstance(text, str) for text in texts),
        "prompts.texts is no list of texts",
    )
    final_turn = {
        key: prompts[key]
        for key in ("continue_final_message", "add_generation_prompt")
        if key in prompts
    }
    for key, value in final_turn.items():
        _require(
            value is True, f"prompts.{key} is {value!r}: give true, or leave it out"
        )
    return {
        "prompts_file": str(folder / file) if file else None,
        "texts": tuple(texts),
        **final_turn,
    }


def _backend_from_toml(
    table: Any, index: int, tables: Mapping[str, set[str]]
) -> BackendSpec:
    """One backend: a table, or a line as on the command line."""
    if isinstance(table, str):
        return parse_spec(table)
    where = f"backend[{index}]."
    _require(
        isinstance(table, Mapping), f"backend[{index}] is neither a table nor text"
    )
    options = table.get("options", {})
    _require(isinstance(options, Mapping), f"{where}options is no table")
    check_keys("backend", where, table, tables)
    check_options(where, options, tables["backend"])
    engine = table.get("engine")
    _require(
        engine in ENGINES, f"{where}engine is {engine!r}: use {', '.join(ENGINES)}"
    )
    paths = table.get("paths", [])
    _require(
        isinstance(paths, list),
        f'{where}paths is no list: write paths = ["decode", "prefill"]',
    )
    name = table.get("name", engine)
    values = {
        "role": _default_role(name, engine),
        **table,
        "name": name,
        "paths": tuple(paths),
    }
    return _typed(BackendSpec, values, where)


def parse_spec(text: str) -> BackendSpec:
    """``ENGINE[:DTYPE][,option=value...][@NAME]``, e.g.
    ``vllm:bfloat16,enforce_eager=true@fast``.

    ``python``, ``role``, ``repeats``, ``model``, ``revision``, ``alone``, ``paths`` and
    ``gpus`` (both joined by ``+``) are logdrift's own options, every other one goes to
    the engine. Values are read as JSON where they are JSON, else as text.
    """
    pieces = _split_options(text)
    last, _, name = (
        pieces[-1].rpartition("@")
        if re.search(r"@[A-Za-z0-9][\w.-]*$", pieces[-1])
        else (pieces[-1], "", "")
    )
    pieces[-1] = last
    engine, _, dtype = pieces[0].partition(":")
    if engine not in ENGINES:
        raise InputError(
            f"backend {text!r}: engine {engine!r} is unknown: use {', '.join(ENGINES)}"
        )
    name = name or engine
    values: dict[str, Any] = {
        "name": name,
        "engine": engine,
        "role": _default_role(name, engine),
    }
    if dtype:
        values["dtype"] = {
            "bf16": "bfloat16",
            "fp16": "float16",
            "fp32": "float32",
        }.get(dtype, dtype)
    options: dict[str, Any] = {}
    given: set[str] = set()
    for piece in pieces[1:]:
        key, equals, value = piece.partition("=")
        if not equals or not key:
            raise InputError(f"backend {text!r}: {piece!r} is not option=value")
        if key in given:
            raise InputError(f"backend {text!r}: {key} stands twice: give it once")
        given.add(key)
        if key == "paths":
            values["paths"] = tuple(part for part in value.split("+") if part)
        elif key == "repeats":
            if not value.isdigit():
                raise InputError(
                    f"backend {text!r}: repeats={value} is not a whole number"
                )
            values["repeats"] = int(value)
        elif key == "gpus":
            values["gpus"] = value.replace("+", ",")
        elif key == "alone":
            if value.lower() not in ("true", "false"):
                raise InputError(f"backend {text!r}: alone={value}: give true or false")
            values["alone"] = value.lower() == "true"
        elif key in ("python", "role", "model", "revision"):
            values[key] = value
        else:
            options[key] = _json_or_text(value)
    return BackendSpec(**values, options=options)


def _split_options(text: str) -> list[str]:
    """Split at commas outside of brackets and quotes, so JSON values pass whole."""
    pieces, depth, quoted, start = [], 0, False, 0
    for index, char in enumerate(text):
        if char == '"' and text[index - 1 : index] != "\\":
            quoted = not quoted
        elif not quoted and char in "{[":
            depth += 1
        elif not quoted and char in "}]":
            depth -= 1
        elif not quoted and depth == 0 and char == ",":
            pieces.append(text[start:index])
            start = index + 1
    return [*pieces, text[start:]]


def _json_or_text(value: str) -> Any:
    lowered = {"True": True, "False": False, "None": None}
    if value in lowered:
        return lowered[value]
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


def _default_role(name: str, engine: str) -> str:
    return name if name in ROLES else ENGINES[engine].default_role


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise InputError(message)


def _table(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key, {})
    _require(isinstance(value, Mapping), f"{key} is not a table")
    table: Mapping[str, Any] = value
    return table


def _typed(cls: type[_Built], values: Mapping[str, Any], where: str) -> _Built:
    """Build a dataclass, refusing values whose type is not that of its field's
    default.
    """
    accepted: dict[str, tuple[type, ...]] = {
        "int": (int,),
        "float": (int, float),
        "bool": (bool,),
        "str": (str,),
    }
    for f in fields(cls):  # type: ignore[arg-type]
        value, kind = values.get(f.name), str(f.type).removesuffix(" | None")
        wanted = accepted.get(kind)
        if value is None or wanted is None:
            continue
        if not isinstance(value, wanted) or (
            isinstance(value, bool) and bool not in wanted
        ):
            raise InputError(f"{where}{f.name} is {value!r}: give a {kind}")
    return cls(**values)
