"""Names, not digests: what differs in configs, tokenizers and templates, key by key."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logdrift.core.compare.gate import Gate, judge
from logdrift.core.compare.loaded.config import config_differences
from logdrift.core.compare.loaded.difference import sentence
from logdrift.core.compare.loaded.template import template_differences
from logdrift.core.compare.loaded.tokenizer import tokenizer_differences
from logdrift.core.compare.pair import make_pair
from logdrift.core.diagnose import diagnose
from logdrift.core.errors import InputError
from logdrift.core.json_values import KEPT_ENTRIES, alike, bounded, flatten, shown
from logdrift.core.report.build import report_on
from logdrift.core.report.comment import comment
from logdrift.core.report.forms import html_of
from logdrift.core.report.layout import Canvas
from logdrift.core.report.paint.markdown import paint_markdown
from logdrift.core.report.paint.text import paint_text
from logdrift.core.report.session_text import session_text
from logdrift.core.report.settings import settings_of
from logdrift.core.session.importers.folder import copy_session
from logdrift.core.session.layout import Manifest
from logdrift.core.session.loaded import Loaded
from logdrift.core.session.reader import Session, open_session
from logdrift.core.session.writer import write_loaded, write_manifest
from logdrift.core.worker.loaded import (
    config_values,
    template_values,
    tokenizer_values,
)
from tests.common import Fields, refused
from tests.made_sessions import capture, write_session

CONFIG: Fields = {
    "model_type": "gemma3_text",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "rms_norm_eps": 1e-6,
    "sliding_window": 512,
    "tie_word_embeddings": True,
    "eos_token_id": 1,
    "final_logit_softcapping": None,
    "rope_parameters": {
        "full_attention": {"rope_theta": 1000000.0, "rope_type": "default"},
        "sliding_attention": {"rope_theta": 10000.0, "rope_type": "default"},
    },
    "layer_types": ["full_attention", "sliding_attention"],
    "transformers_version": "5.19.0",
    "architectures": ["Gemma3ForCausalLM"],
    "dtype": "bfloat16",
}
A = "trainer/prefill"
B = "vllm/prefill"
ROWS = [[-1.0, -2.0, -0.5, -1.5]] * 2
OTHER_FILE = {"config_digest": "sha256:" + "9" * 64}


def changed(**fields: Any) -> Fields:
    return {**CONFIG, **fields}


def names(
    a: Fields, b: Fields, *, whole: bool = True
) -> dict[str, tuple[str, str, bool]]:
    found = config_differences(Loaded(config=a), Loaded(config=b), whole=whole)
    return {each.name: (each.a, each.b, each.counts) for each in found}


def with_loaded(session: Session, loaded: dict[str, Loaded]) -> Session:
    """The session again, with what each backend loaded beside it."""
    files = {
        name: write_loaded(session.folder, name, one) for name, one in loaded.items()
    }
    captures = tuple(
        info._replace(loaded=files.get(info.backend)) for info in session.captures
    )
    write_manifest(session.folder, session.manifest._replace(captures=captures))
    return open_session(session.folder)


def made(
    folder: Path,
    a: Loaded | None,
    b: Loaded | None,
    facts: Fields | None = None,
    **info: Any,
) -> Session:
    rows = [capture(A, ROWS), capture(B, ROWS, facts=facts or {}, **info)]
    found = {
        name: one for name, one in (("trainer", a), ("vllm", b)) if one is not None
    }
    return with_loaded(write_session(folder, [1, 1], rows), found)


def judged(session: Session) -> Gate:
    return judge(session, make_pair(session, A, B))


# ---- configs


def test_nested_keys_are_named_with_both_values() -> None:
    rope = {
        **CONFIG["rope_parameters"],
        "full_attention": {"rope_theta": 10000, "rope_type": "default"},
    }
    found = config_differences(
        Loaded(CONFIG), Loaded(changed(rope_parameters=rope)), whole=True
    )
    assert (
        sentence(found)
        == "rope_parameters.full_attention.rope_theta 1000000 against 10000"
    )


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"rms_norm_eps": 1e-5}, {"rms_norm_eps": ("1e-06", "1e-05", True)}),
        ({"sliding_window": None}, {"sliding_window": ("512", "null", True)}),
        (
            {"tie_word_embeddings": False},
            {"tie_word_embeddings": ("true", "false", True)},
        ),
        (
            {"final_logit_softcapping": 30.0},
            {"final_logit_softcapping": ("null", "30", True)},
        ),
        (
            {"layer_types": ["full_attention"] * 2},
            {"layer_types[1]": ("sliding_attention", "full_attention", True)},
        ),
        (
            {"layer_types": ["full_attention"] * 3},
            {
                "layer_types": (
                    '["full_attention", "sliding_attention"]',
                    '["full_attention", "full_attention", "full_attention"]',
                    True,
                )
            },
        ),
        # What no score of given ids depends on is told, and is no cause.
        ({"eos_token_id": [1, 106]}, {"eos_token_id": ("1", "[1, 106]", False)}),
        (
            {"attention_dropout": 0.5},
            {"attention_dropout": ("not there", "0.5", False)},
        ),
        # Spelling, and what facts tell.
        (
            {
                "transformers_version": "4.57.0",
                "architectures": ["X", "Gemma3ForCausalLM"],
                "dtype": "float32",
                "torch_dtype": "float32",
                "_name_or_path": "/somewhere",
                "use_cache": False,
                "id2label": {"0": "x"},
            },
            {},
        ),
    ],
)
def test_kinds_of_differences(fields: Fields, wanted: Fields) -> None:
    assert names(CONFIG, changed(**fields)) == wanted
    mirrored = {name: (b, a, counts) for name, (a, b, counts) in wanted.items()}
    assert names(changed(**fields), CONFIG) == mirrored


def test_one_spelling_for_two_releases() -> None:
    older = {
        "hidden_size": 64,
        "rope_theta": 5e5,
        "rope_scaling": {"type": "linear", "factor": 2.0},
        "torch_dtype": "x",
    }
    newer = {
        "hidden_size": 64,
        "rope_parameters": {"rope_theta": 500000, "rope_type": "linear", "factor": 2},
    }
    assert names(older, newer) == {}
    assert (
        names(
            older | {"rope_scaling": None},
            {"hidden_size": 64, "rope_parameters": {"rope_theta": 5e5}},
        )
        == {}
    )
    assert (
        names(
            {"text_config": {"hidden_size": 64}, "model_type": "a"},
            {"hidden_size": 64, "model_type": "a"},
        )
        == {}
    )
    assert names(
        older,
        newer | {"rope_parameters": {**newer["rope_parameters"], "rope_theta": 1e4}},
    ) == {"rope_parameters.rope_theta": ("500000", "10000", True)}


def test_a_field_beside_the_table_that_the_engine_reads_is_no_change_of_the_table() -> (
    None
):
    """Transformers 5 reads the table: `rope_theta` given as an override stands beside
    it and may do nothing.
    """
    plain = {"rope_parameters": {"rope_theta": 1e5, "rope_type": "default"}}
    assert names(plain, {**plain, "rope_theta": 1e4}) == {
        "rope_theta": ("not there", "10000", True)
    }
    assert names(plain, {**plain, "rope_theta": 1e5}) == {}


@pytest.mark.parametrize(
    ("rope_type", "counts"), [("default", False), ("dynamic", True), (None, True)]
)
def test_positions_count_where_rope_is_scaled_by_them(
    rope_type: str | None, counts: bool
) -> None:
    """Engines raise the number of positions for room behind the last one."""
    rope = (
        {"rope_parameters": {"rope_theta": 1e4, "rope_type": rope_type}}
        if rope_type
        else {}
    )
    found = names(
        {**rope, "max_position_embeddings": 256},
        {**rope, "max_position_embeddings": 264},
    )
    expected = {"max_position_embeddings": ("256", "264", counts)}
    assert found == expected


def test_what_one_side_lacks_counts_where_one_release_wrote_both() -> None:
    more = changed(v_head_dim=64, context_len=8192, logit_scale=0.5)
    expected = {"v_head_dim", "context_len", "logit_scale"}
    assert set(names(CONFIG, more)) == expected
    # SGLang adds keys of its own; what changes the model is told all the same.
    assert names(CONFIG, more, whole=False) == {
        "logit_scale": ("not there", "0.5", True)
    }
    assert names(CONFIG, changed(attention_multiplier=None), whole=False) == {}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)
tables = st.dictionaries(st.text(max_size=6), json_values, max_size=6)


@given(tables, tables)
def test_any_json_is_compared_and_shown(a: Fields, b: Fields) -> None:
    assert config_differences(Loaded(a), Loaded(a), whole=True) == ()
    for whole in (True, False):
        there = config_differences(Loaded(a), Loaded(b), whole=whole)
        back = config_differences(Loaded(b), Loaded(a), whole=whole)
        assert sorted((d.name, d.a, d.b) for d in there) == sorted(
            (d.name, d.b, d.a) for d in back
        )
    assert len(flatten(a)) == len([*flatten(a)])
    assert alike(a, json.loads(json.dumps(a)))
    assert tokenizer_differences(Loaded(tokenizer=a), Loaded(tokenizer=a)) == ()


def test_deep_nesting_ends_nothing() -> None:
    deep: Fields = {}
    for _ in range(5000):
        deep = {"a": deep}
    assert len(flatten(deep)) == 1
    assert isinstance(shown({"x": [deep]}), str)
    assert json.dumps(bounded(deep))


@pytest.mark.parametrize("count", [1, KEPT_ENTRIES, KEPT_ENTRIES + 1, 50_000])
def test_what_is_kept_is_bounded_and_says_what_was_left_out(count: int) -> None:
    kept = bounded(
        {
            "list": list(range(count)),
            "text": "x" * count,
            "table": {str(i): i for i in range(count)},
        }
    )
    assert len(json.dumps(kept)) < 100_000
    assert ("more entries" in json.dumps(kept)) == (count > KEPT_ENTRIES)


def test_nothing_of_the_machine_and_no_secret_is_kept() -> None:
    kept = config_values(
        {
            "_name_or_path": "/made/up/model",
            "auto_map": {"AutoModel": "https://user:pw@host/x--y.Z"},
            "cache": "~/x",
            "hf_token": "hf_abc",
            "nested": {"api_key": "k", "folder": "/data/x", "bos_token_id": 1},
            "eos_token_id": 2,
            "files": ["/a/b", "plain"],
            "rope_theta": float("inf"),
        }
    )
    said = json.dumps(kept)
    assert not [
        secret
        for secret in ("/made", "host", "hf_abc", '"k"', "/data", "/a/b", "~/x")
        if secret in said
    ]
    assert kept is not None
    assert kept["eos_token_id"] == 2
    assert kept["nested"]["bos_token_id"] == 1
    assert kept["files"][1] == "plain"
    assert config_values(None) is None


# ---- templates and tokenizers


@pytest.mark.parametrize(
    ("a", "b", "wanted"),
    [
        ({"default": "a\nb\nc"}, {"default": "a\nb\nc"}, []),
        (
            {"default": "a\nb\nc"},
            {"default": "a\nB\nc"},
            [("chat_template line 2", "b", "B")],
        ),
        (
            {"default": "a"},
            {"default": "a\nb"},
            [("chat_template line 2", "not there", "b")],
        ),
        (
            {"default": "a" * 80 + "x"},
            {"default": "a" * 80 + "y"},
            [("chat_template line 1", "…" + "a" * 20 + "x", "…" + "a" * 20 + "y")],
        ),
        ({}, {"default": "abc"}, [("chat_template", "not there", "3 characters")]),
        (
            {"default": "a", "tool_use": "t"},
            {"default": "a", "tool_use": "u"},
            [("chat_template tool_use line 1", "t", "u")],
        ),
        (None, {"default": "abc"}, []),
    ],
)
def test_templates_by_their_first_line_that_differs(
    a: Any, b: Any, wanted: list[tuple[str, str, str]]
) -> None:
    for left, right, order in ((a, b, 1), (b, a, -1)):
        found = template_differences(Loaded(templates=left), Loaded(templates=right))
        assert [(d.name, *(d.a, d.b)[::order]) for d in found] == wanted
        assert not any(d.counts for d in found)


class _Tokenizer:
    """As much of a Transformers tokenizer as is looked at, over a vocabulary of
    words.
    """

    def __init__(
        self, words: list[str], added: dict[int, str], template: str | None = None
    ) -> None:
        self.words, self.added_tokens_decoder, self.chat_template = (
            words,
            added,
            template,
        )
        self.special_tokens_map = {"eos_token": words[-1]}
        self.tokenizer = self
        self.template = template

    def get_vocab(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words)}

    def convert_tokens_to_ids(self, token: str) -> int:
        return self.words.index(token)

    def adds_bos(self) -> bool:
        return False


@pytest.mark.parametrize("size", [16, 1500, 5000])
def test_vocabularies_by_the_ids_that_are_other_texts(size: int) -> None:
    words = [f"w{i}" for i in range(size)]
    other = [*words]
    other[-3], other[-2] = other[-2], other[-3]
    plain, swapped = (
        Loaded(tokenizer=tokenizer_values(_Tokenizer(w, {}))) for w in (words, other)
    )  # type: ignore[arg-type]
    assert tokenizer_differences(plain, plain) == ()
    (found,) = tokenizer_differences(plain, swapped)
    first = (size - 1) // 1024 * 1024
    assert found.name == f"text of ids {first:,} to {first + 1023:,}"
    longer = Loaded(
        tokenizer=tokenizer_values(_Tokenizer([*words, "<x>"], {size: "<x>"}))
    )  # type: ignore[arg-type]
    said = sentence(tokenizer_differences(plain, longer))
    assert "text of ids" not in said
    assert f"vocabulary {size} against {size + 1}" in said
    assert f"w{size - 1} (id {size - 1}) against <x> (id {size})" in said
    assert f"added.{size} not there against <x>" in said


def test_templates_are_kept_by_name() -> None:
    plain = _Tokenizer(["a"], {}, "{{ x }}")
    assert template_values(plain) == {"default": "{{ x }}"}  # type: ignore[arg-type]
    assert template_values(_Tokenizer(["a"], {})) == {}  # type: ignore[arg-type]
    assert template_values(None) is tokenizer_values(None) is None


# ---- the gate, the reports, why


@pytest.mark.parametrize("engine", ["vllm", "transformers"])
def test_the_gate_names_keys_and_every_report_says_it(
    tmp_path: Path, engine: str
) -> None:
    rope = {
        **CONFIG["rope_parameters"],
        "full_attention": {"rope_theta": 10000, "rope_type": "default"},
    }
    other = Loaded(changed(rope_parameters=rope, sliding_window=64, eos_token_id=7))
    session = made(tmp_path / "s", Loaded(CONFIG), other, OTHER_FILE, engine=engine)
    said = (
        "sliding_window 512 against 64, rope_parameters.full_attention.rope_theta"
        " 1000000 against 10000"
    )
    (reason,) = [r for r in judged(session).reasons if r.code == "config"]
    assert reason.severity == "caution"
    assert said in reason.text
    assert "sha256" not in reason.text
    assert "eos_token_id" not in reason.text
    typed = report_on(session)
    report = typed.to_json()
    assert said in " ".join(paint_text(session_text(typed), Canvas()).split())
    assert said in " ".join(paint_markdown(comment(typed)).replace("\\", "").split())
    assert "rope_parameters.full_attention.rope_theta 1000000 against 10000" in html_of(
        typed, session
    )
    stated = next(
        r for r in report["pairs"][0]["gate"]["reasons"] if r["code"] == "config"
    )
    assert json.loads(json.dumps(stated["differences"][0])) == {
        "name": "sliding_window",
        "a": "512",
        "b": "64",
        "counts": True,
    }


@pytest.mark.parametrize(
    ("a", "b", "facts", "code", "severity", "said"),
    [
        (Loaded(CONFIG), Loaded(CONFIG), {}, None, None, ""),
        (
            Loaded(CONFIG),
            Loaded(CONFIG),
            OTHER_FILE,
            "config_files",
            "info",
            "came out alike in every key",
        ),
        (
            Loaded(CONFIG),
            Loaded(changed(eos_token_id=9)),
            OTHER_FILE,
            "config_files",
            "info",
            "eos_token_id 1 against 9, which changes no score",
        ),
        (Loaded(CONFIG), Loaded(changed(eos_token_id=9)), {}, None, None, ""),
        # Without names it says what it knows and how to get more.
        (
            None,
            None,
            OTHER_FILE,
            "config",
            "caution",
            "capture again to see which keys differ",
        ),
        (Loaded(CONFIG), None, OTHER_FILE, "config", "caution", "sha256:999999999999"),
        # One file, and still another config: the engine made something else of it.
        (
            Loaded(CONFIG),
            Loaded(changed(rms_norm_eps=1e-5)),
            {},
            "config",
            "caution",
            "rms_norm_eps 1e-06 against 1e-05",
        ),
        (
            Loaded(CONFIG),
            Loaded(changed(rms_norm_eps=1e-5)),
            {"config_overrides": {"rms_norm_eps": 1e-5}},
            "overrides",
            "caution",
            "(rms_norm_eps 1e-06 against 1e-05)",
        ),
        (
            Loaded(CONFIG),
            Loaded(CONFIG),
            {"config_overrides": {"rms_norm_eps": 1e-6}},
            "overrides",
            "info",
            "have the same values there",
        ),
        (
            None,
            None,
            {"config_overrides": {"rms_norm_eps": 1e-5}},
            "overrides",
            "caution",
            "which changes the model: set",
        ),
        (
            Loaded(tokenizer={"vocabulary": 3, "added": {"2": "<x>"}}),
            Loaded(tokenizer={"vocabulary": 3, "added": {}}),
            {"tokenizer_digest": "sha256:9"},
            "tokenizer",
            "not_comparable",
            "added.2 <x> against not there",
        ),
        (
            None,
            None,
            {"tokenizer_digest": "sha256:9"},
            "tokenizer",
            "not_comparable",
            "vllm/prefill: sha256:9",
        ),
        (
            Loaded(templates={"default": "a\nb"}),
            Loaded(templates={"default": "a\nc"}),
            {"template_digest": "sha256:9"},
            "template",
            "info",
            "chat_template line 2 b against c",
        ),
    ],
)
def test_reasons(
    tmp_path: Path,
    a: Loaded | None,
    b: Loaded | None,
    facts: Fields,
    code: str | None,
    severity: str,
    said: str,
) -> None:
    reasons = judged(made(tmp_path / "s", a, b, facts)).reasons
    assert [(r.code, r.severity) for r in reasons] == (
        [] if code is None else [(code, severity)]
    )
    assert code is None or said in reasons[0].text


def test_why_gives_the_names_as_evidence(tmp_path: Path) -> None:
    session = made(
        tmp_path / "s", Loaded(CONFIG), Loaded(changed(sliding_window=64)), OTHER_FILE
    )
    rows = [[float("nan"), *[-1.0] * 40]] * 8
    other = [[float("nan"), *(-1.0 - 0.3 * (i % 3) for i in range(40))]] * 8
    captures = [capture(A, rows), capture(B, other, facts=OTHER_FILE)]
    session = with_loaded(
        write_session(tmp_path / "long", [1] * 8, captures),
        {"trainer": Loaded(CONFIG), "vllm": Loaded(changed(sliding_window=64))},
    )
    pair = make_pair(session, A, B)
    found = diagnose(session, pair)
    evidence = [
        e.sentence
        for ranked in found.causes
        if ranked.cause == "config"
        for e in ranked.evidence
    ]
    assert any("sliding_window 512 against 64" in sentence for sentence in evidence)


# ---- the file


def test_settings_show_the_config_of_each_backend(tmp_path: Path) -> None:
    session = made(
        tmp_path / "s",
        Loaded(CONFIG),
        Loaded(changed(sliding_window=64, transformers_version="9")),
    )
    rows = {row.name: row for row in settings_of(session).rows}
    assert rows["config.sliding_window"].values == ("512", "64")
    assert rows["config.sliding_window"].kind == "differs"
    assert rows["config.rope_parameters.full_attention.rope_theta"].kind == "same"
    assert "config.transformers_version" not in rows


def test_a_session_without_it_opens_as_before(tmp_path: Path) -> None:
    session = made(tmp_path / "s", None, None)
    found = [session.loaded(label) for label in (A, B)]
    assert found == [None, None]
    path = session.folder / "session.json"
    data = json.loads(path.read_text())
    for info in data["captures"]:
        del info["loaded"]
    assert Manifest.from_json(data) == session.manifest
    assert not [
        row
        for row in settings_of(session).rows
        if row.name.startswith(("config.", "tokenizer."))
    ]


def test_opening_reads_none_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = made(tmp_path / "s", Loaded(CONFIG), Loaded(CONFIG))
    read: list[str] = []
    monkeypatch.setattr(
        "logdrift.core.session.loaded.read_entry",
        lambda folder, entry: read.append(entry.file) or b"{}",
    )
    session = open_session(session.folder)
    make_pair(session, A, B)
    assert read == []
    judge(session, make_pair(session, A, B))
    judge(session, make_pair(session, B, A))
    assert sorted(read) == sorted(
        info.loaded.file for info in session.captures if info.loaded is not None
    )


def test_one_file_for_what_was_loaded_alike_and_another_for_what_was_not(
    tmp_path: Path,
) -> None:
    first, again = (write_loaded(tmp_path, "vllm", Loaded(CONFIG)) for _ in range(2))
    other = write_loaded(tmp_path, "vllm", Loaded(changed(rms_norm_eps=1e-3)))
    assert first == again != other
    assert sorted(os.listdir(tmp_path / "facts")) == sorted(
        Path(entry.file).name for entry in (first, other)
    )


@pytest.mark.parametrize(
    "damage", ["gone", "changed", "pipe", "folder", "link", "large", "not json"]
)
def test_a_damaged_file_is_said_and_the_numbers_stay(
    tmp_path: Path, damage: str
) -> None:
    session = made(tmp_path / "s", Loaded(CONFIG), Loaded(CONFIG))
    entry = session.captures[1].loaded
    other = session.captures[0].loaded
    assert entry is not None
    assert other is not None
    if entry == other:  # one content, one file each backend
        raise AssertionError("two backends share a file")
    path = session.folder / entry.file
    if damage == "changed":
        path.write_text(path.read_text().replace("512", "513"))
    elif damage == "large":
        path.write_bytes(b" " * (5 << 20))
    elif damage == "not json":
        path.write_bytes(b"{")
    else:
        path.unlink()
    if damage == "pipe":
        os.mkfifo(path)
    elif damage == "folder":
        path.mkdir()
    elif damage == "link":
        path.symlink_to("/dev/zero")
    session = open_session(session.folder)
    with refused("facts/vllm-"):
        session.loaded(B)
    reasons = judged(session).reasons
    found = [(r.code, r.severity) for r in reasons]
    expected = [("unread", "caution")]
    assert found == expected
    assert "vllm/prefill" in reasons[0].text
    assert settings_of(session).rows
    with pytest.raises(InputError):
        copy_session(session.folder, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_an_import_copies_it(tmp_path: Path) -> None:
    session = made(tmp_path / "s", Loaded(CONFIG), Loaded(changed(sliding_window=1)))
    copy_session(session.folder, tmp_path / "copy")
    shutil.rmtree(session.folder)
    copied = open_session(tmp_path / "copy")
    assert copied.loaded(B) == Loaded(changed(sliding_window=1))
    assert "sliding_window 512 against 1" in judged(copied).reasons[0].text
