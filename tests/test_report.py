"""The report: strict JSON, text that fits 80 columns, honest about what is missing,
safe with hostile text.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from benchmarks.make_session import make_session
from logdrift.core.compare.metric import METRICS
from logdrift.core.compare.pair import default_pair, list_pairs, make_pair
from logdrift.core.errors import InputError, LogdriftError
from logdrift.core.facts import Facts
from logdrift.core.report.build import build_report, report_on, worst_positions
from logdrift.core.report.layout import Canvas, canvas_of
from logdrift.core.report.paint.text import paint_text
from logdrift.core.report.records import SessionReport
from logdrift.core.report.session_text import session_text
from logdrift.core.report.strict_json import dump, strict
from logdrift.core.report.usual import in_words
from logdrift.core.session.layout import CaptureInfo, ModelInfo
from logdrift.core.session.reader import Session, open_session
from tests.common import INF, NAN, REPOSITORY, Fields
from tests.made_metrics import value_in_json
from tests.made_sessions import FACTS, capture, edit_manifest, write_session

ROW = [[NAN, -1.0, -2.0, -0.5], [NAN, -1.5, -0.5, -3.0]]
OTHER = [[NAN, -1.1, -2.0, -0.9], [NAN, -1.5, -0.7, -3.5]]
HOSTILE = {
    0: b"\x1b]52;c;ZXZpbA==\x07",
    1: b"\x1b[2J\x1b[31m",
    2: "\u202e\u200b\ufeff".encode(),
    3: b"\xff\xfe\x9b31m",
    4: "中文字幕".encode(),
    5: "🙂👩‍👩‍👧".encode(),
    6: b"\n\r\t\x00\x7f",
    7: b"x" * 500,
    8: "\u0301\u0085\u2028".encode(),
}


def generated(folder: Path, tokens: int = 3000, captures: int = 4) -> Session:
    return open_session(make_session(folder / "made", tokens, 24, 5, captures))


def text_of(session: Session, canvas: Canvas | None = None, **options: Any) -> str:
    report = report_on(session, **options)
    return painted(report, canvas or Canvas(), default_pair(session))


def painted(
    report: SessionReport, canvas: Canvas, main: tuple[str, str] | None = None
) -> str:
    return paint_text(session_text(report, main), canvas)


def check_text(text: str, width: int = 80) -> None:
    assert text.endswith("\n")
    for line in text[:-1].split("\n"):
        assert cell_len(line) <= width, line
        assert all(char.isprintable() for char in line), ascii(line)


def logdrift(
    *arguments: object, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "logdrift.cli.main", *map(str, arguments)],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=120,
        env={**os.environ, "LOGDRIFT_SESSIONS": "", **environment},
    )


def test_schema_1(tmp_path: Path) -> None:
    session = generated(tmp_path)
    report = json.loads(dump(build_report(session)))
    assert report["schema"] == 1
    assert report["session"] == "made"
    assert report["model"]["id"] == "generated"
    assert {
        "label",
        "role",
        "engine",
        "dtype",
        "path",
        "repeat",
        "tokens",
        "status",
        "facts",
    } <= set(report["captures"][0])
    found = [(p["a"], p["b"]) for p in report["pairs"]]
    assert found == list_pairs(session)
    pair = report["pairs"][0]
    assert {"a", "b", "scope", "tokens", "sequences", "gate", "errors", "worst"} <= set(
        pair
    )
    assert list(pair["gate"]) == ["verdict", "reasons"]
    assert list(pair["gate"]["reasons"][0]) == [
        "code",
        "severity",
        "text",
        "differences",
    ]
    assert list(pair["errors"]) == [
        "mean",
        "mae",
        "rmse",
        "pearson",
        "max_abs",
        "min_abs",
        "std_abs",
        "p50",
        "p90",
        "p99",
        "p999",
        "exact_fraction",
        "infinite",
    ]
    assert {
        "sequence",
        "position",
        "token_id",
        "piece",
        "delta",
        "logprob_a",
        "logprob_b",
        "rank_a",
        "rank_b",
    } <= set(pair["worst"][0])
    assert len(pair["worst"]) == 20


def test_numbers_are_those_of_the_tokens(tmp_path: Path) -> None:
    session = write_session(
        tmp_path / "s",
        [1, 2],
        [capture("trainer/prefill", ROW), capture("vllm/decode", OTHER)],
    )
    (pair,) = build_report(session)["pairs"]
    deltas = [0.1, 0.0, 0.4, 0.2, 0.5]
    assert pair["scope"] == "completion"
    assert pair["tokens"] == 5
    assert pair["sequences"] == 2
    # The logprobs are float32: 2**-24 relative each, about 1e-7 in values near 1.
    assert pair["errors"]["mae"] == pytest.approx(sum(deltas) / 5, abs=1e-6)
    assert pair["errors"]["mean"] == pytest.approx(
        (0.1 + 0.4 + 0.2 + 0.5) / 5, abs=1e-6
    )
    assert [(t["sequence"], t["position"]) for t in pair["worst"]] == [
        (1, 3),
        (0, 3),
        (1, 2),
        (0, 1),
    ]
    assert pair["worst"][0]["delta"] == pytest.approx(0.5)
    assert pair["worst"][1]["before"] == " w0 w1 w2"
    assert pair["worst"][1]["piece"] == " w3"
    assert pair["worst"][1]["after"] == ""


def test_prompt_and_completion_add_up_to_all(tmp_path: Path) -> None:
    session = generated(tmp_path)
    chosen = [("reference/prefill", "trainer/prefill")]
    parts = {
        s: build_report(session, chosen, s)["pairs"][0]
        for s in ("all", "prompt", "completion")
    }
    tokens = {scope: pair["tokens"] for scope, pair in parts.items()}
    assert tokens["all"] == tokens["prompt"] + tokens["completion"] == 3000 - 24
    total = sum(parts[s]["errors"]["mae"] * tokens[s] for s in ("prompt", "completion"))
    # Float64 sums of 3,000 terms in another order.
    assert parts["all"]["errors"]["mae"] * tokens["all"] == pytest.approx(
        total, rel=3000 * 2**-52
    )


def test_scope_is_the_completion_where_there_is_one(tmp_path: Path) -> None:
    captures = [capture("trainer/prefill", ROW), capture("vllm/prefill", OTHER)]
    assert (
        build_report(write_session(tmp_path / "c", [2, 4], captures))["pairs"][0][
            "scope"
        ]
        == "completion"
    )
    report = build_report(write_session(tmp_path / "p", [4, 4], captures))
    assert report["pairs"][0]["scope"] == "all"
    assert report["pairs"][0]["tokens"] == 6
    empty = build_report(
        write_session(tmp_path / "e", [4, 4], captures), scope="completion"
    )["pairs"][0]
    assert empty["tokens"] == 0
    assert empty["worst"] == []
    assert set(empty["errors"].values()) == {None}


def test_a_scope_without_tokens_is_nothing_to_compare_and_another_pair_is_shown(
    tmp_path: Path,
) -> None:
    """A decode has no scores of prompts: that is no success of 0 tokens, and a page of
    dashes helps nobody.
    """
    decoded = [[NAN, NAN, -1.0, -0.5], [NAN, NAN, -0.5, -0.25]]
    captures = [
        capture("trainer/prefill", ROW),
        capture("vllm/decode", decoded),
        capture("vllm/prefill", OTHER),
    ]
    session = write_session(tmp_path / "s", [2, 2], captures)
    empty = build_report(session, [("trainer/prefill", "vllm/decode")], "prompt")[
        "pairs"
    ][0]
    assert empty["tokens"] == 0
    assert empty["gate"]["verdict"] == "not_comparable"
    assert empty["gate"]["reasons"][0]["code"] == "empty"
    assert (
        "no prompt token has a score on both sides"
        in empty["gate"]["reasons"][0]["text"]
    )
    shown = logdrift(
        "report", session.folder, "--scope", "prompt", PYTHONIOENCODING="utf-8"
    ).stdout.decode()
    assert shown.startswith("trainer/prefill → vllm/prefill: COMPARABLE\n")
    asked = logdrift(
        "report",
        session.folder,
        "--scope",
        "prompt",
        "--pair",
        "trainer:vllm/decode",
        PYTHONIOENCODING="utf-8",
    )
    answer = "trainer/prefill → vllm/decode: NOT COMPARABLE\n"
    assert asked.stdout.decode().startswith(answer)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (("trainer/prefill#2", "vllm/prefill#2"), "So the gap is real."),
        (("vllm/prefill#2",), "A was not repeated. So the gap is not B's noise."),
        (("trainer/prefill#2",), "B was not repeated. So the gap is not A's noise."),
        ((), "Noise floor: unknown."),
    ],
)
def test_half_of_a_floor_proves_half(
    tmp_path: Path, labels: tuple[str, ...], said: str
) -> None:
    captures = [
        capture("trainer/prefill", ROW),
        capture("vllm/decode", OTHER),
        capture("vllm/prefill", OTHER),
    ]
    captures += [
        capture(label, ROW if "trainer" in label else OTHER) for label in labels
    ]
    shown = " ".join(text_of(write_session(tmp_path / "s", [1, 1], captures)).split())
    assert said in shown
    standing_in = (
        "vllm/prefill#2 against vllm/prefill, in place of decode, which cannot be"
        " repeated"
    )
    assert (standing_in in shown) == ("vllm/prefill#2" in labels)


@given(
    st.lists(st.sampled_from([0.0, 0.5, 1.0, NAN, INF]), max_size=60),
    st.integers(1, 70),
)
def test_worst_tokens_against_sorting(values: list[float], count: int) -> None:
    class Made:
        delta = np.asarray(values, np.float32)

    mask = ~np.isnan(Made.delta)
    wanted = sorted(
        (-d, i) for i, d in enumerate(values) if not math.isnan(d) and d != 0
    )[:count]
    assert worst_positions(Made, mask, count).tolist() == [i for _, i in wanted]  # type: ignore[arg-type]


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), json_like, max_size=4))
def test_json_is_strict(data: Fields) -> None:
    def refuse(token: str) -> None:
        raise AssertionError(token)

    text = dump(data)
    assert text.isascii()
    assert json.loads(text, parse_constant=refuse) == strict(data)


def test_impossible_tokens_are_null_and_counted(tmp_path: Path) -> None:
    rows = [[NAN, -1.1, -INF, -0.9], [NAN, -1.5, -0.7, -INF]]
    mine = [[NAN, -1.0, -2.0, -0.5], [NAN, -1.5, -0.5, -INF]]
    session = write_session(
        tmp_path / "s",
        [1, 1],
        [capture("trainer/prefill", mine), capture("vllm/decode", rows)],
    )
    pair = json.loads(dump(build_report(session)))["pairs"][0]
    assert pair["errors"]["infinite"] == 1
    assert pair["worst"][0]["delta"] is None
    assert pair["worst"][0]["logprob_a"] == -2.0
    assert pair["worst"][0]["logprob_b"] is None
    text = text_of(session)
    check_text(text)
    assert "+inf" in text
    assert "-inf" in text
    assert "1 token is impossible" in text


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_text_fits_80_columns(tmp_path: Path, encoding: str) -> None:
    text = text_of(generated(tmp_path), Canvas(80, encoding))
    check_text(text)
    text.encode(encoding)
    assert (
        "trainer/prefill → vllm/decode"
        if encoding == "utf-8"
        else "trainer/prefill -> vllm/decode"
    ) in text


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_hostile_text_never_reaches_the_output(tmp_path: Path, encoding: str) -> None:
    evil = "\x1b]0;evil\x07\u202e中" * 20
    rows = [[NAN, *(-float(i) for i in range(1, 18))]] * 2
    others = [[NAN, *(-float(i) * 1.5 for i in range(1, 18))]] * 2
    facts = {
        "attention_backend": evil,
        "engine_version": evil,
        "device": evil,
        "dtype": evil,
        "weights_digest": evil,
    }
    session = write_session(
        tmp_path / "s",
        [1, 1],
        [
            capture("trainer/prefill", rows, facts=facts),
            capture("vllm/decode", others, engine=evil),
            capture(
                "sglang/prefill",
                rows,
                status="failed",
                failure=evil + "\n" + evil + "\n\n" + evil,
            ),
        ],
        pieces=HOSTILE,
        title=evil,
        model=ModelInfo(evil, revision=evil),
    )
    text = text_of(session, Canvas(80, encoding))
    check_text(text)
    text.encode(encoding)
    assert "<0x1B>" in text
    wire = dump(build_report(session))
    assert all(char.isprintable() or char == "\n" for char in wire)
    pieces = [token["piece"] for token in json.loads(wire)["pairs"][0]["worst"]]
    assert len(pieces) == 20
    assert all(char.isprintable() for piece in pieces for char in piece)


def test_long_labels_are_cut_in_tables_and_whole_elsewhere(tmp_path: Path) -> None:
    label = "v" * 64 + "/decode"
    session = write_session(
        tmp_path / "s", [1, 1], [capture("trainer/prefill", ROW), capture(label, OTHER)]
    )
    text = text_of(session)
    check_text(text)
    assert "…" in text
    assert "v" * 64 + "/decode" in text.replace("\n", "").replace(" ", "")


def test_a_failed_capture_is_said_first(tmp_path: Path) -> None:
    failure = (
        "vllm ended with code 1: out of memory\nTraceback\nRuntimeError: no memory"
    )
    session = write_session(
        tmp_path / "s",
        [1, 1],
        [
            capture("trainer/prefill", ROW),
            capture("reference/prefill", OTHER),
            capture("vllm/decode", [], status="failed", failure=failure),
        ],
    )
    text = text_of(session)
    check_text(text)
    lines = text.splitlines()
    assert lines[0] == "FAILED vllm/decode: vllm ended with code 1: out of memory"
    assert lines[1:4] == [
        "  Traceback",
        "  RuntimeError: no memory",
        "  whole log: logs/vllm.log in the session folder",
    ]
    assert any(
        line.startswith("vllm/decode") and line.endswith("failed") for line in lines
    )
    data = build_report(session)
    assert data["state"] == "failed"
    assert data["captures"][2]["failure"] == failure


def test_a_running_session_is_said_to_be_partial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from logdrift.core.session.lock import acquire, release

    captures = [
        capture("trainer/prefill", ROW),
        capture("vllm/decode", OTHER[:1], status="running"),
    ]
    session = write_session(tmp_path / "s", [1, 1], captures, per_part=1)
    acquire(session.folder, "token")
    try:
        text = text_of(session)
    finally:
        release(session.folder)
    check_text(text)
    assert "state      running" in text
    assert "Partial: this session is being written right now" in text
    assert "vllm/decode has 1 of 2 sequences" in " ".join(text.split())


def test_sessions_with_nothing_to_compare(tmp_path: Path) -> None:
    for name, captures in (("none", []), ("one", [capture("vllm/decode", ROW)])):
        session = write_session(tmp_path / name, [1, 1], captures, lengths=[4, 4])
        text = text_of(session)
        check_text(text)
        assert "Nothing to compare" in text
        assert json.loads(dump(build_report(session)))["pairs"] == []


def test_asked_for_a_capture_without_numbers(tmp_path: Path) -> None:
    captures = [
        capture("trainer/prefill", ROW),
        capture("vllm/decode", [], status="pending"),
    ]
    session = write_session(tmp_path / "s", [1, 1], captures)
    report = report_on(session, [("trainer/prefill", "vllm/decode")])
    text = painted(report, Canvas())
    check_text(text)
    assert "NOT COMPARABLE" in text
    assert "there is nothing to compare yet" in " ".join(text.split())
    assert report.pairs[0].metrics.errors.mae is None


def test_unknown_facts_are_marked(tmp_path: Path) -> None:
    text = text_of(generated(tmp_path))
    assert "? = not observed" in text
    session = write_session(
        tmp_path / "s",
        [1, 1],
        [capture("trainer/prefill", ROW), capture("vllm/decode", OTHER)],
    )
    assert "? = not observed" not in text_of(session)


def test_colour_only_where_it_is_wanted(tmp_path: Path) -> None:
    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    assert canvas_of(Terminal(), {"TERM": "xterm"}).colour
    assert not canvas_of(Terminal(), {"TERM": "xterm", "NO_COLOR": "1"}).colour
    assert not canvas_of(Terminal(), {"TERM": "dumb"}).colour
    assert not canvas_of(io.StringIO(), {"TERM": "xterm"}).colour
    session = generated(tmp_path)
    painted = text_of(session, Canvas(colour=True))
    plain = text_of(session)
    import re

    assert "\x1b[" in painted
    assert re.sub(r"\x1b\[[0-9;]*m", "", painted) == plain


@pytest.mark.parametrize(
    ("mae", "dtypes", "said"),
    [
        (0.03, ("float32", "bfloat16"), "Usual for bfloat16 (0.005 to 0.06: "),
        (0.015, ("bfloat16", "bfloat16"), "Usual"),
        (0.001, ("bfloat16", "bfloat16"), "Smaller than usual"),
        (0.07, ("bfloat16", "bfloat16"), "Larger than usual"),
        (0.1, ("bfloat16", "bfloat16"), "Larger than rounding explains"),
        (0.5, ("bfloat16", "bfloat16"), "look for a fault"),
        (6e-6, ("float32", "float32"), "Usual for float32 (below 2e-5: "),
        (0.02, ("float32", "float32"), "look for a fault"),
        (0.0105, ("float16", "float32"), "Larger than usual for float16"),
        (0.03, ("float16", "float32"), "Larger than rounding explains for float16"),
        (
            0.03,
            ("float32", None),
            "A dtype was not observed; for bfloat16 0.005 to 0.06 is usual",
        ),
        (None, ("float32", "float32"), "No number"),
    ],
)
def test_the_number_in_words(
    mae: float | None, dtypes: tuple[str, str | None], said: str
) -> None:
    a, b = (
        CaptureInfo(
            label=f"{name}/prefill",
            backend=name,
            engine=name,
            dtype="bfloat16",
            path="prefill",
            facts=Facts(**{**FACTS, "dtype": dtype}),
        )
        for name, dtype in zip(("trainer", "vllm"), dtypes, strict=True)
    )
    assert said in in_words(mae, a, b)


def test_repeats_in_words() -> None:
    a = CaptureInfo(
        label="vllm/prefill",
        backend="vllm",
        engine="vllm",
        dtype="bfloat16",
        path="prefill",
        facts=Facts(**FACTS),
    )
    assert "exactly reproducible" in in_words(0.0, a, a)
    assert "noise floor" in in_words(0.01, a, a)
    alone = a._replace(batch="alone")
    together = a._replace(batch="together")
    assert "floor of the batch's shape" in in_words(0.01, alone, together)
    assert "changes nothing" in in_words(0.0, alone, together)
    assert "repeat" in in_words(0.0, together, together)


def test_not_comparable_says_the_reason_before_any_number_and_greys_them(
    tmp_path: Path,
) -> None:
    other = capture(
        "vllm/decode", OTHER, facts={"weights_digest": "sha256:" + "f" * 64}
    )
    session = write_session(
        tmp_path / "s", [1, 1], [capture("trainer/prefill", ROW), other]
    )
    shown = text_of(session, Canvas(80, "utf-8", colour=True))
    grey = "\x1b[2m"
    reset = "\x1b[0m"
    head, detail = shown.split("trainer/prefill → vllm/decode: NOT COMPARABLE")
    assert head == "\x1b[31;1m"  # the answer is the first thing, in red
    reason, _, numbers = detail.partition("The numbers of this pair mean nothing")
    overview = next(line for line in numbers.splitlines() if "33.3%" in line)
    assert overview.startswith(grey)
    assert "the weights differ" in reason
    assert "MAE" not in reason
    assert numbers
    table = numbers.partition("A → B over")[2]  # the session is described before it
    rows = [line for line in table.splitlines() if re.search(r"\d\.\d", line)]
    assert len(rows) > 20
    assert all(line.startswith(grey) and line.endswith(reset) for line in rows)


def test_command_prints_text_and_json(tmp_path: Path) -> None:
    folder = generated(tmp_path).folder
    text = logdrift("report", folder, PYTHONIOENCODING="utf-8")
    assert text.returncode == 0
    assert text.stderr == b""
    check_text(text.stdout.decode())
    asked = logdrift(
        "report",
        folder,
        "--pair",
        "trainer:vllm",
        "--pair",
        "vllm/prefill:vllm",
        "--scope",
        "all",
        "--json",
    )
    pairs = json.loads(asked.stdout)["pairs"]
    assert [(p["a"], p["b"], p["scope"]) for p in pairs] == [
        ("trainer/prefill", "vllm/decode", "all"),
        ("vllm/prefill", "vllm/decode", "all"),
    ]
    named = logdrift("--sessions", folder.parent, "report", folder.name, "--json")
    assert json.loads(named.stdout)["session"] == folder.name
    plain = logdrift("report", folder, PYTHONIOENCODING="ascii")
    assert (plain.returncode, plain.stdout.isascii()) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "report needs a session: logdrift report SESSION"),
        (["{made}", "--pair", "a:b"], "no capture 'a'"),
        (["{made}", "--pair", "trainer"], "write it as A:B"),
        (["{made}", "--scope", "tail"], "invalid choice: 'tail'"),
        (["{made}/nowhere"], "no such folder"),
        (["{made}", "-o", "{made}/report.txt"], "lies in the session folder"),
        (["{made}", "-o", "{made}/../made/captures/x"], "lies in the session folder"),
        (["{made}", "-o", "{made}/.."], "is a folder"),
        (["{made}", "-o", "{made}/../nowhere/x"], "does not exist"),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    folder = generated(tmp_path, captures=2).folder
    before = sorted(path for path in tmp_path.rglob("*"))
    done = logdrift("report", *(a.replace("{made}", str(folder)) for a in arguments))
    error = done.stderr.decode()
    assert done.returncode == 2
    assert done.stdout == b""
    assert said in error
    assert error.count("\n") == 1
    assert sorted(path for path in tmp_path.rglob("*")) == before


NUMBERS = {
    "MAE": ("errors.mae",),
    "RMSE": ("errors.rmse",),
    "mean Δ": ("errors.mean",),
    "p99": ("errors.p99", "errors.max_abs"),
    "Pearson": ("errors.pearson",),
    "exact": ("errors.exact_fraction",),
    "mean abs(p - q)": ("probability.mae",),
    "multiplicative error": ("probability.mult_prob_error",),
    "k1": ("mismatch.k1", "mismatch.k3"),
    "ESS": ("mismatch.ess_token", "mismatch.ess_sequence"),
    "perplexity ratio": ("mismatch.ppl_ratio",),
    "clipped at 0.2": ("mismatch.clip_fraction.0.2",),
    "same top-1": ("topk.same_top1", "topk.overlap"),
    "rank flips": ("topk.rank_flips",),
    "KL at least": ("topk.kl_lower_bound_mean",),
}


def test_the_table_of_numbers_says_what_the_sample_says() -> None:
    """Its table has every number of the text report, as the shipped sample gives it,
    with what is good and bad.
    """
    text = (REPOSITORY / "docs" / "report.md").read_text(encoding="utf-8")
    table = (
        text[text.index("| number | on the sample") :]
        .partition("\n\n")[0]
        .splitlines()[2:]
    )
    report = build_report(
        open_session(REPOSITORY / "sessions" / "sample-smollm2"),
        [("trainer/prefill", "vllm/decode")],
    )
    pair = report["pairs"][0]
    found = set()
    for line in table:
        name, values, sentence, good, bad = (
            cell.strip() for cell in line.strip("|").split(" | ")
        )
        paths = NUMBERS[name.partition(",")[0]]
        found |= set(paths)
        assert sentence, line
        assert good, line
        assert bad, line
        for path, value in zip(paths, values.split(", "), strict=True):
            digits = len(value.partition(".")[2])
            assert round(value_in_json(pair, path) or 0.0, digits) == float(value), path
    assert found == {row.path for row in METRICS.values() if row.headline}


def test_the_causes_are_part_of_the_schema_where_they_are_asked_for(
    tmp_path: Path,
) -> None:
    folder = generated(tmp_path).folder
    arguments = ("report", folder, "--pair", "trainer:vllm", "--json")
    assert json.loads(logdrift(*arguments).stdout)["diagnosis"] is None
    found = json.loads(logdrift(*arguments, "--why").stdout)
    alone = json.loads(
        logdrift("why", folder, "--pair", "trainer:vllm", "--json").stdout
    )
    assert found["diagnosis"] == alone["diagnosis"] != []
    assert {"pair", "cause", "score", "evidence", "next_experiment"} == set(
        found["diagnosis"][0]
    )
    refused = logdrift("report", folder, "--why")
    assert refused.returncode == 2
    assert refused.stdout == b""
    assert b"goes with --json" in refused.stderr


def test_output_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    folder = generated(tmp_path).folder
    target = tmp_path / "report.json"
    target.write_text("old")
    link = tmp_path / "link.json"
    link.symlink_to(target)
    done = logdrift("report", folder, "--json", "-o", link)
    assert done.returncode == 0
    assert done.stdout == b""
    assert json.loads(target.read_text())["schema"] == 1
    assert link.is_symlink()
    assert not list(tmp_path.glob(".*.tmp"))
    assert logdrift("report", folder, "-o", "/dev/null").returncode == 0


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    folder = generated(tmp_path).folder
    target = tmp_path / "report.json"
    target.write_text("old")
    command = (
        f'ulimit -f 1; exec "{sys.executable}" -m logdrift.cli.main report "{folder}"'
        f' --json -o "{target}"'
    )
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=REPOSITORY,
        capture_output=True,
        timeout=120,
        text=True,
    )
    assert done.returncode == 1
    assert "cannot write" in done.stderr
    assert done.stderr.count("\n") == 1
    assert target.read_text() == "old"
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_closed_pipe_is_no_traceback(tmp_path: Path) -> None:
    """More text than a pipe holds, and a reader that takes one line."""
    rows = [[NAN, *(-float(i) for i in range(1, 9))]]
    others = [[NAN, *(-1.5 * i for i in range(1, 9))]]
    captures = [capture(f"b{i}/prefill", rows if i % 2 else others) for i in range(24)]
    folder = write_session(tmp_path / "s", [1], captures).folder
    command = (
        f'"{sys.executable}" -m logdrift.cli.main report "{folder}" --json | head -n 1'
    )
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=REPOSITORY,
        capture_output=True,
        timeout=120,
        text=True,
    )
    assert done.stdout == "{\n"
    assert done.stderr == ""


def test_a_damaged_session_is_bad_input(tmp_path: Path) -> None:
    session = generated(tmp_path)

    def change(data: Fields) -> None:
        data["captures"][0]["parts"][0]["file"] = "captures/gone.safetensors"

    with pytest.raises(InputError, match=r"gone\.safetensors"):
        build_report(edit_manifest(session, change))
    assert issubclass(InputError, LogdriftError)


def test_no_engine_is_loaded(tmp_path: Path) -> None:
    folder = generated(tmp_path).folder
    code = (
        "import sys; from logdrift.cli.main import main; main(['report', sys.argv[1]]);"
        " bad = {'torch', 'transformers', 'vllm', 'sglang', 'textual', 'plotext'} &"
        " set(sys.modules); sys.exit(str(bad) if bad else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        cwd=REPOSITORY,
        capture_output=True,
        timeout=120,
        text=True,
    )
    assert done.returncode == 0
    assert done.stderr == ""


def test_pairs_are_made_of_the_arrays_once(tmp_path: Path) -> None:
    """A million tokens must not be copied for every pair."""
    session = generated(tmp_path)
    one, other = (
        make_pair(session, "trainer/prefill", b)
        for b in ("vllm/decode", "vllm/prefill")
    )
    assert np.shares_memory(one.logprob_a, other.logprob_a)
