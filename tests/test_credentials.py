"""Credentials are refused or hidden wherever they would be saved: plans, facts, events,
failures and logs, nested ones too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logdrift.core.capture.supervisor import run_session
from logdrift.core.capture.workers import WorkerProcess
from logdrift.core.credentials import (
    HIDDEN,
    credentials_in,
    holds_secret,
    masked,
    masked_text,
    names_secret,
    secret_in,
)
from logdrift.core.engines.sglang.debuggers import debugger_commands
from logdrift.core.errors import InputError
from logdrift.core.plan import (
    BackendSpec,
    CapturePlan,
    SamplingSpec,
    load_plan,
    parse_spec,
)
from logdrift.core.protocol import ModelSource, PrepareJob
from logdrift.core.session.reader import open_session
from logdrift.core.session.writer import append_event
from logdrift.core.worker.observe import environment
from tests.common import Fields, refused
from tests.made_experiments import simple
from tests.made_sessions import captured_here, edit_manifest

SECRET = "s3cr3tvalue99"
NAMES = [
    "passwd",
    "password",
    "PASSWORD",
    "db_password",
    "pwd",
    "auth",
    "basic_auth",
    "http_auth",
    "bearer",
    "private_key",
    "privateKey",
    "headers",
    "extra_headers",
    "X-Api-Key",
    "api_key",
    "apikey",
    "OPENAI_API_KEY",
    "openai_apikey",
    "hf_token",
    "token",
    "auth_token",
    "accessToken",
    "client_secret",
    "credentials",
    "aws_access_key",
    "ssh_key",
    "cookie",
    "VLLM_HTTP_AUTH",
    "SGLANG_BEARER",
    "Authorization",
    "jwt",
    "passphrase",
    "api_key_2",
]
PLAIN = [
    "max_num_batched_tokens",
    "num_key_value_heads",
    "kv_cache_dtype",
    "tokenizer",
    "skip_tokenizer_init",
    "bos_token",
    "pad_token",
    "eos_token_id",
    "num_experts_per_token",
    "attention_backend",
    "max_tokens",
    "key_value",
    "author",
    "enable_prefix_caching",
    "hf_overrides",
    "load_format",
    "worker_cls",
    "monkey",
    "tokens",
]
TEXTS = [
    f"https://user:{SECRET}@host/model",
    f"redis://:{SECRET}@host:6379/0",
    f"https://host/x?token={SECRET}&a=1",
    f"https://host/x?a=1&api_key={SECRET}",
    f"Bearer {SECRET}{SECRET}",
    f"Authorization: {SECRET}",
    f"--api-key={SECRET}",
    f"MY_PASSWORD={SECRET}",
    f"hf_{SECRET}{SECRET}",
    f"sk-{SECRET}{SECRET}",
    json.dumps({"a": {"auth": SECRET}}),
    f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n-----END RSA PRIVATE KEY-----",
]
PLAIN_TEXTS = [
    "https://host/model",
    "http://127.0.0.1:30000/generate",
    "a=b",
    "x@y.z",
    "user:pass",
    "HuggingFaceTB/SmolLM2-135M",
    "/models/basic",
    "basic",
    '{"rope_theta": 10000.0}',
    "[1, 2]",
    "--attention-backend=triton",
    "sha256:abcdef",
    "token=",
    "The password is a word",
    "https://host/x?tokenizer=slow",
    "basic comparison of engines",
    "Bearer authentication is off",
    "keys=4",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_credentials(name: str) -> None:
    assert names_secret(name)
    assert secret_in({name: SECRET}) == name
    assert secret_in({name: True}) is None and secret_in({name: None}) is None, (
        "a switch is none"
    )


@pytest.mark.parametrize("name", PLAIN)
def test_names_that_only_look_like_it(name: str) -> None:
    assert not names_secret(name)
    assert masked({name: "value"}) == {name: "value"}


@pytest.mark.parametrize("text", TEXTS)
def test_texts_with_a_credential(text: str) -> None:
    assert secret_in({"a": [text]}) is not None
    assert SECRET not in json.dumps(masked({"a": [text]}))


@pytest.mark.parametrize("text", PLAIN_TEXTS)
def test_texts_without_one_stay_as_they_are(text: str) -> None:
    assert secret_in({"a": text}) is None
    assert not holds_secret(text)
    expected = {"a": text, "b": (text, [text])}
    assert masked({"a": text, "b": (text, [text])}) == expected
    assert masked_text(text) == text


_leaf = st.one_of(
    st.sampled_from(TEXTS),
    st.sampled_from(NAMES).map(lambda name: {name: SECRET}),
    st.sampled_from(NAMES).map(lambda name: {name: [SECRET, {"x": SECRET}]}),
)
_nested = st.recursive(
    _leaf,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3),
        st.dictionaries(st.sampled_from(PLAIN), inner, min_size=1, max_size=3),
        st.tuples(st.integers(), inner),
        inner.map(json.dumps),
    ),
    max_leaves=5,
)


@given(_nested)
def test_none_is_left_however_deep(value: Any) -> None:
    assert secret_in(value, "option") is not None
    hidden = masked(value)
    assert SECRET not in json.dumps(hidden)
    assert HIDDEN in json.dumps(hidden)


VALUES = [(name, SECRET) for name in NAMES if name.isidentifier()] + [
    ("extra", {"nested": [{"auth": SECRET}]}),
    ("url", TEXTS[0]),
    ("json_model_override_args", json.dumps({"token": SECRET})),
    ("args", [f"--api-key={SECRET}"]),
]


@pytest.mark.parametrize(("name", "value"), VALUES)
def test_plans_refuse_them_by_name(tmp_path: Path, name: str, value: Any) -> None:
    spec = f"vllm,{name}={value if isinstance(value, str) else json.dumps(value)}"
    file = tmp_path / "plan.toml"
    inner = (
        json.dumps(value)
        if not isinstance(value, dict)
        else '{nested = [{auth = "' + SECRET + '"}]}'
    )
    file.write_text(
        f'model = "m"\n[[backend]]\nengine = "vllm"\n[backend.options]\n{name} ='
        f" {inner}\n"
    )
    for make in (
        lambda: parse_spec(spec),
        lambda: load_plan(file),
        lambda: BackendSpec("a", "vllm", options={name: value}),
    ):
        with pytest.raises(
            InputError, match="looks like a credential and would be saved"
        ) as caught:
            make()
        assert SECRET not in str(caught.value)
        assert name in str(caught.value)


PLACES: dict[str, Callable[[str], object]] = {
    "model": lambda url: CapturePlan(url, (BackendSpec("a", "vllm"),)),
    "title": lambda url: CapturePlan("m", (BackendSpec("a", "vllm"),), title=url),
    "revision": lambda url: CapturePlan("m", (BackendSpec("a", "vllm"),), revision=url),
    "own model": lambda url: BackendSpec("a", "vllm", model=url),
    "interpreter": lambda url: BackendSpec("a", "vllm", python=url),
}


@pytest.mark.parametrize("place", PLACES)
def test_urls_with_passwords_are_refused_everywhere_in_a_plan(place: str) -> None:
    with refused("looks like a credential") as caught:
        PLACES[place](TEXTS[0])
    assert SECRET not in str(caught.value)


def test_a_session_that_an_older_logdrift_saved_opens_and_is_not_run_with_what_was_hidden(
    tmp_path: Path,
) -> None:
    session, _ = simple(tmp_path / "s")

    def unfinished(data: Fields) -> None:
        options = {"headers": {"x": SECRET}, "seed": 1}
        data["plan"]["backends"][0]["options"] = options
        data["captures"][0]["status"] = "failed"

    session = edit_manifest(session, unfinished)
    plan = session.plan
    assert plan is not None
    assert plan.backends[0].options == {"headers": HIDDEN, "seed": 1}
    captured_here(session.folder)
    with refused("was not kept: start a new session"):
        run_session(session.folder, lambda event: None)


@pytest.mark.parametrize(
    "name",
    [
        "VLLM_HTTP_AUTH",
        "SGLANG_BEARER",
        "VLLM_API_KEY",
        "SGLANG_PASSWD",
        "TORCH_PRIVATE_KEY",
    ],
)
def test_facts_leave_such_variables_out(name: str) -> None:
    assert environment({name: SECRET, "VLLM_SEED": "1"}) == {"VLLM_SEED": "1"}


@pytest.mark.parametrize("text", TEXTS)
def test_facts_leave_such_values_out(text: str) -> None:
    assert environment({"VLLM_ANY": text, "VLLM_SEED": "1"}) == {"VLLM_SEED": "1"}


@pytest.mark.parametrize(
    "text",
    [text for text in TEXTS if "{" not in text and not text.startswith(("--", "MY"))],
)
def test_events_and_failures_hide_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("ANY_TOKEN", "from-the-environment")
    append_event(
        tmp_path,
        {
            "type": "failed",
            "error": f"cannot reach {text} with from-the-environment",
            "headers": SECRET,
        },
    )
    said = (tmp_path / "events.jsonl").read_text()
    assert SECRET not in said
    assert "from-the-environment" not in said
    assert json.loads(said)["type"] == "failed"


def test_what_an_engine_prints_of_them_is_starred_out(tmp_path: Path) -> None:
    """A real process that prints its environment and its arguments, as engines do in
    their first lines.
    """
    python = tmp_path / "python"
    python.write_text(
        f"#!/bin/sh\necho before; echo key=$MY_API_KEY; echo https://u:{SECRET}@host/x;"
        " echo plain=$PLAIN; echo after\n"
    )
    python.chmod(0o755)
    (tmp_path / "log").write_text(f"what another run wrote: {SECRET}\n")
    worker = WorkerProcess(
        python,
        {"MY_API_KEY": f"{SECRET}-é", "PLAIN": "stays"},
        tmp_path,
        "log",
        PrepareJob(ModelSource("m"), SamplingSpec(), ()),
    )
    assert worker.wait(30)
    worker.end(0.0)
    first, *lines = (tmp_path / "log").read_text().splitlines()
    assert SECRET in first, "other runs' lines are left alone"
    assert lines[0] == "before"
    assert lines[-2:] == ["plain=stays", "after"]
    assert SECRET not in "\n".join(lines)
    assert lines[1].startswith("key=***")


def test_a_failed_capture_saves_no_credential(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that ends with a credential in its last words: in the manifest, the
    events and the log.
    """
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho cannot log in with $MY_API_KEY; exit 3\n")
    python.chmod(0o755)
    monkeypatch.setenv("MY_API_KEY", SECRET)

    def change(data: Fields) -> None:
        data["captures"][0].update(status="pending", parts=[])
        data["plan"]["backends"][0]["python"] = str(python)

    session = edit_manifest(simple(tmp_path / "s")[0], change)
    captured_here(session.folder)
    assert not run_session(session.folder, lambda event: None)
    assert "cannot log in with" in str(open_session(session.folder).captures[0].failure)
    files = [path for path in session.folder.rglob("*") if path.is_file()]
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


def test_credentials_are_found_where_they_stand() -> None:
    data = (
        f"é x Bearer {SECRET} y\n".encode()
        + b"-" * 100
        + f" {SECRET} https://u:p@h".encode()
    )
    found = credentials_in(data, [SECRET], 60)
    assert {data[start : start + length] for start, length in found} == {
        f"Bearer {SECRET}".encode(),
        SECRET.encode(),
    }


HOSTILE = [
    "a;touch owned",
    "$(touch owned)",
    "`touch owned`",
    "SGLANG_X;touch owned;Y",
    "SGLANG_$(touch owned)",
    "a b",
    "a\nb",
    "a\x1b]0;owned\x07",
    "'; touch owned; '",
    "x --model /etc",
    "SGLANG_Y\ntouch owned\n",
    "\u202eabc",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_the_debuggers_script_runs_nothing_that_an_option_brings(
    tmp_path: Path, name: str
) -> None:
    """Run by a real shell, with a python and a curl that write down their arguments."""
    for command in ("python", "curl", "msprobe"):
        program = tmp_path / "bin" / command
        program.parent.mkdir(exist_ok=True)
        program.write_text(
            f'#!{sys.executable}\nimport json, sys\nopen("{tmp_path}/said",'
            ' "a").write(json.dumps(sys.argv) + "\\n")\n'
        )
        program.chmod(0o755)
    spec = BackendSpec("sglang", "sglang", options={name: name, "SGLANG_PLAIN": name})
    script = debugger_commands(name, spec, [1, 2], None)
    assert all(line.isprintable() for line in script.splitlines())
    subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{tmp_path}/bin:/usr/bin:/bin"},
        check=True,
    )
    assert not (tmp_path / "owned").exists()
    said = [json.loads(line) for line in (tmp_path / "said").read_text().splitlines()]
    servers = [words for words in said if "sglang.launch_server" in words]
    flag = f"--{name.replace('_', '-')}"
    assert len(servers) == 3
    assert any(
        flag in words and words[words.index(flag) + 1] == name for words in servers
    )
