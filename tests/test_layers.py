"""Which layer differs first: hooks and replays of real tiny models with planted edits,
and the judgement on made arrays.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from logdrift.cli import why_layers
from logdrift.core.diagnose.layers import (
    LAYER,
    PART,
    Layers,
    compare_sides,
    layers_evidence,
    layers_of,
    understood,
)
from logdrift.core.diagnose.layers import errors as layer_errors
from logdrift.core.diagnose.layers.errors import MeasuredLayers, relative_errors, unit
from logdrift.core.engines.sglang.debuggers import debugger_commands
from logdrift.core.investigate import layers as capture_layers
from logdrift.core.investigate import layers_place
from logdrift.core.plan import BackendSpec, CapturePlan
from logdrift.core.report.layers import layers_document
from logdrift.core.report.layout import Canvas
from logdrift.core.report.paint.text import paint_text
from logdrift.core.session.layers import save_layers, saved_layers
from logdrift.core.session.layout import ModelInfo
from logdrift.core.session.reader import Session
from tests.common import REPOSITORY, refused
from tests.made_answers import a_result, judged, made, with_replay
from tests.made_sessions import capture, captured_here, write_session

FAMILIES = ("qwen3", "gemma2")
TOKENS = 60


@pytest.fixture(scope="session")
def asked(transformers_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What tests/engine_scripts/transformers_layers.py writes."""
    out = tmp_path_factory.mktemp("layers")
    script = REPOSITORY / "tests" / "engine_scripts" / "transformers_layers.py"
    found = subprocess.run(
        [str(transformers_python), str(script), str(out)],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert found.returncode == 0, found.stderr[-4000:]
    return out


def measured(
    asked: Path, family: str, case: str, replay: bool = True
) -> MeasuredLayers:
    folder = asked / family
    return MeasuredLayers(
        case,
        "bfloat16",
        load_file(folder / case / "layers.safetensors"),
        load_file(folder / "reference" / f"{case}.safetensors") if replay else None,
        "bfloat16",
    )


def reference(asked: Path, family: str) -> MeasuredLayers:
    return MeasuredLayers(
        "reference",
        "float32",
        load_file(asked / family / "reference" / "layers.safetensors"),
    )


PLANTED = [
    ("qwen3", "down", "layer", (1,)),
    ("qwen3", "noisy-down", "layer", (1,)),
    ("gemma2", "noisy-down", "layer", (1,)),
    # A norm follows the MLP there and takes any scale back out: there is nothing to
    # find.
    ("gemma2", "down", "rounding", ()),
    *(
        (family, case, kind, layers)
        for family in FAMILIES
        for case, kind, layers in (
            ("embedding", "embedding", ()),
            ("norm", "final norm", ()),
            ("head", "head", ()),
            ("everywhere", "layers", (0, 1)),
            ("rope", "position", (0, 1)),
        )
    ),
]


@pytest.mark.parametrize(("family", "case", "kind", "layers"), PLANTED)
def test_an_edited_copy_is_named_with_the_right_stage(
    asked: Path, family: str, case: str, kind: str, layers: tuple[int, ...]
) -> None:
    """bfloat16 against float32, other attention kernel on the clean side, and each edit
    alone as well.
    """
    clean = measured(asked, family, "eager")
    edited = measured(asked, family, case)
    (first, second), _ = compare_sides([clean, edited], reference(asked, family))
    assert first.kind == "rounding"
    assert first.layers == ()
    assert second.kind == kind
    assert second.layers == layers
    (alone,), _ = compare_sides([edited], reference(asked, family))
    assert alone.kind == kind
    assert alone.layers == layers
    if kind == "layer":
        assert "layer 1 is the first" in second.sentence


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("case", ["clean", "eager"])
def test_correct_bfloat16_is_rounding_of_the_size_that_is_said(
    asked: Path, family: str, case: str
) -> None:
    (side,), arrays = compare_sides(
        [measured(asked, family, case)], reference(asked, family)
    )
    assert side.kind == "rounding"
    times = [stage.times for stage in side.stages if stage.times is not None]
    assert len(times) == len(side.stages) == 5
    # Between a fifth of one rounding (the stream itself is rounded once) and what
    # random wide weights reached: LAYER.
    layers = [
        stage.times or 0.0 for stage in side.stages if stage.name.startswith("layer")
    ]
    assert all(0.2 < t < LAYER for t in layers)
    assert all(t < PART for t in times if t not in layers)
    assert (
        arrays[f"errors/{case}"].shape == arrays[f"times/{case}"].shape == (5, TOKENS)
    )
    found = [each.cause for each in layers_evidence([side])]
    assert found == ["noise"]


@pytest.mark.parametrize(
    ("case", "kind"),
    [("clean", "unknown"), ("down", "jump"), ("embedding", "embedding")],
)
def test_without_a_replay_only_jumps_are_named_and_nothing_is_cleared(
    asked: Path, case: str, kind: str
) -> None:
    (side,), arrays = compare_sides(
        [measured(asked, "qwen3", case, replay=False)], reference(asked, "qwen3")
    )
    assert side.kind == kind
    assert side.layers == ((1,) if case == "down" else ())
    assert list(arrays) == [f"errors/{case}"]
    if case == "clean":
        assert "would not show" in side.sentence
        assert layers_evidence([side]) == []


def test_streams_are_those_of_the_model_itself(asked: Path) -> None:
    """A replay of a model's own stream gives it back: float32 on float32 through other
    code paths, nothing else.
    """
    replay = load_file(asked / "qwen3" / "reference" / "clean.safetensors")
    stream = load_file(asked / "qwen3" / "clean" / "layers.safetensors")["stream"]
    assert stream.shape == (3, TOKENS, 48)
    assert stream.dtype == np.float32
    np.testing.assert_allclose(
        replay["size"], np.linalg.norm(stream[1:], axis=-1), rtol=1e-6
    )  # float32 norms
    own = load_file(asked / "qwen3" / "reference" / "layers.safetensors")
    assert own["top_ids"].shape == (TOKENS, 20)
    at = {int(i): column for column, i in enumerate(own["head_ids"])}
    row, place = next(
        (r, c)
        for r in range(TOKENS)
        for c in range(20)
        if int(own["top_ids"][r, c]) in at
    )
    assert (
        own["logits"][row, at[int(own["top_ids"][row, place])]]
        == own["top_logits"][row, place]
    )


# -- made arrays


def test_relative_error_is_the_norm_of_the_difference_and_a_shift_of_logits_is_none() -> (
    None
):
    a, b = made(4, 0.03)
    shifted = {**b, "logits": a["logits"] + 7.0}
    names, errors = relative_errors(shifted, a)
    assert names == [
        "embedding",
        "layer 0",
        "layer 1",
        "layer 2",
        "layer 3",
        "final norm",
        "head",
    ]
    np.testing.assert_allclose(errors[:5], 0.03, rtol=1e-4)  # float32 inputs
    assert (errors[5] == 0).all()
    np.testing.assert_allclose(
        errors[6], 0, atol=1e-6
    )  # float32 rounding of logits + 7
    with pytest.raises(ValueError, match="cannot be compared"):
        relative_errors(a, made(3, 0.0)[0])


def test_unit_is_the_root_mean_square_of_one_rounding() -> None:
    """bfloat16 by hand: the upper 16 bits of a float32, to nearest even, of numbers
    with logarithmic mantissas.
    """
    x = (2.0 ** np.random.default_rng(0).uniform(0, 8, 200_000)).astype(np.float32)
    bits = x.view(np.uint32)
    rounded = (
        ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000)
        .astype(np.uint32)
        .view(np.float32)
    )
    rms = float(np.sqrt(np.mean(((rounded.astype(np.float64) - x) / x) ** 2)))
    assert rms == pytest.approx(
        unit("bfloat16"), rel=0.01
    )  # 200,000 draws: 0.2%, and x itself is rounded


def test_a_faint_layer_shows_against_the_other_side_of_the_same_dtype_alone() -> None:
    clean = with_replay([1.3] * 6)
    faint = with_replay([1.3, 1.3, 2.6, 1.3, 1.3, 1.3])
    found = [side.kind for side in judged(clean, faint)]
    assert found == ["rounding", "layer"]
    assert judged(clean, faint)[1].layers == (2,)
    assert judged(faint)[0].kind == "rounding"
    assert [side.kind for side in judged(with_replay([0.1] * 6, "float16"), faint)] == [
        "rounding",
        "rounding",
    ]
    (evidence,) = layers_evidence(judged(clean, faint))
    assert evidence.cause == "weights"
    assert evidence.signature == "layers"
    assert evidence.numbers["stage"] == "layer 2"
    strong = layers_evidence(
        judged(clean, with_replay([1.3, 1.3, 30.0, 1.3, 1.3, 1.3]))
    )[0]
    assert evidence.score < 0.9 < strong.score


def test_most_layers_at_once_are_no_layer_s_fault_and_the_first_token_tells_which() -> (
    None
):
    (weights,), (rope,) = (
        judged(with_replay([9.0] * 4)),
        judged(with_replay([9.0] * 4, first=1.0)),
    )
    assert weights.kind == "layers"
    assert rope.kind == "position"
    found = [e.cause for e in layers_evidence([weights])]
    assert found == ["weights"]
    assert [e.cause for e in layers_evidence([rope])] == ["config"]
    two = judged(with_replay([9.0, 1.0, 9.0, 1.0, 1.0]))[0]
    assert two.kind == "layer"
    assert two.layers == (0, 2)
    assert "so does layer 2" in two.sentence


def test_missing_numbers_are_neither_wrong_nor_a_crash() -> None:
    side = with_replay([1.0] * 3)
    side.replay["difference"][1] = np.nan  # type: ignore[index]
    found = judged(side)[0]
    assert found.kind == "rounding"
    assert found.stages[2].times is None
    zero = MeasuredLayers(
        "zero", "bfloat16", {"stream": np.zeros((3, 4, 8), np.float32)}
    )
    sides, _ = compare_sides([zero], zero)
    saved = json.loads(
        json.dumps(
            Layers("n", "a/p", "b/p", 0, None, 0, 3, "zero", False, sides).to_json(),
            allow_nan=False,
        )
    )
    assert np.isnan(Layers.from_json(saved).sides[0].stages[0].error)


# -- saved, shown, asked


def test_what_is_saved_is_what_is_read_and_the_newest_of_a_pair_is_taken(
    tmp_path: Path,
) -> None:
    found = a_result()
    save_layers(
        tmp_path,
        found.name,
        found.to_json(),
        {"errors/vllm": np.ones((2, 3), np.float32)},
    )
    (tmp_path / "why" / "layers" / "broken.json").write_text("{", encoding="utf-8")
    (tmp_path / "why" / "layers" / "other.json").write_text(
        '{"sides": 3}', encoding="utf-8"
    )
    read = saved_layers(tmp_path)
    (again,) = understood(read)
    assert again == found or json.dumps(again.to_json()) == json.dumps(found.to_json())
    kept = next(each for each in read if each.name == found.name)
    assert kept.tensors()["errors/vllm"].shape == (2, 3)
    assert layers_of("vllm/decode", "trainer/prefill", [again]) is again
    assert layers_of("vllm/decode", "sglang/prefill", [again]) is None
    with refused("cannot be called"):
        save_layers(tmp_path, "../x", {}, {})


@pytest.mark.parametrize(("encoding", "width"), [("utf-8", 80), ("ascii", 40)])
def test_text_fits_marks_the_layer_and_draws_where_it_can(
    encoding: str, width: int
) -> None:
    found = a_result()
    canvas = Canvas(width, encoding)
    text = paint_text(layers_document(found), canvas)
    assert max(map(len, text.splitlines())) <= width
    assert "layer 2" in text
    assert "a note" in text.replace("\n", " ")
    if encoding == "ascii":
        assert text.isascii()
        assert why_layers.chart(found, canvas) == ""
    else:
        assert "layer 3" in text
        assert "1 more layers" not in text
        short = paint_text(layers_document(found, whole=False), canvas)
        assert "layer 2 " in short
        assert "1 more layers" in short
    assert (
        why_layers.chart(a_result(), Canvas(80)) == ""
    )  # made streams without any error: nothing to draw


def test_commands_are_one_shell_word_each_and_name_sequence_options_and_layer() -> None:
    spec = BackendSpec(
        "s",
        "sglang",
        "bfloat16",
        model="/models/it's; rm -rf x",
        options={
            "attention_backend": "triton",
            "enable_fp32_lm_head": True,
            "SGLANG_RETURN_ORIGINAL_LOGPROB": True,
            "json_model_override_args": {"rope_theta": 1},
        },
    )
    text = debugger_commands("/models/plain", spec, [1, 2, 3], 12)
    lines = [shlex.split(line, comments=True) for line in text.splitlines()]
    servers = [line for line in lines if "sglang.launch_server" in line]
    assert [line[line.index("--model-path") + 1] for line in servers] == [
        "/models/plain",
        *["/models/it's; rm -rf x"] * 2,
    ]
    target = servers[1]
    assert target[target.index("--json-model-override-args") + 1] == '{"rope_theta": 1}'
    assert {
        "DUMPER_ENABLE=1",
        "SGLANG_RETURN_ORIGINAL_LOGPROB=1",
        "--enable-fp32-lm-head",
    } <= set(target)
    request = json.loads(next(line for line in lines if line[:1] == ["curl"])[-1])
    expected = [1, 2, 3]
    assert request["input_ids"] == expected
    compare = next(
        line for line in lines if "sglang.srt.debug_utils.comparator" in line
    )
    assert compare[compare.index("--filter") + 1] == r"layers\.12\."
    assert (
        json.loads(next(line for line in lines if line[:1] == ["printf"])[2])["level"]
        == "L0"
    )
    assert "--filter" not in debugger_commands("m", None, [1], None)


@pytest.fixture
def session(tmp_path: Path, asked: Path) -> Session:
    """Captures of a tiny model by a float32 reference and a bfloat16 copy with one
    layer edited, never really made.
    """
    model = asked / "models" / "qwen3"
    edited = asked / "models" / "qwen3-down"
    plan = CapturePlan(
        str(model),
        (
            BackendSpec(
                "reference", "transformers", "float32", "reference", ("prefill",)
            ),
            BackendSpec(
                "rollout",
                "transformers",
                "bfloat16",
                "rollout",
                ("prefill",),
                model=str(edited),
            ),
        ),
        texts=("x",),
    )
    rows = [[np.nan, *[-1.0] * 69]]
    made_here = write_session(
        tmp_path / "s",
        [4],
        [
            capture(label, rows, engine="transformers")
            for label in ("reference/prefill", "rollout/prefill", "reference/prefill#2")
        ],
        plan={**plan.to_json(), "max_length": 80},
        model=ModelInfo(str(model), vocab_size=1031),
    )
    captured_here(made_here.folder)
    return made_here


def test_the_command_asks_saves_and_why_tells_it_again(
    session: Session, run_logdrift: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """As a user types it: two workers start, the layer is named, the session keeps
    it.
    """
    done = run_logdrift(
        "why",
        session.folder,
        "--layers",
        "0:41",
        "--pair",
        "reference/prefill:rollout/prefill",
    )
    assert done.returncode == 0, done.stderr
    told = " ".join(done.stdout.split())
    assert "rollout: layer 1 is the first to differ" in told
    assert "positions 0 to 40" in told
    assert "hooks measure the eager engine" in told
    assert "relative error by layer" in told
    assert sorted(p.name for p in (session.folder / "why" / "layers").iterdir()) == [
        "reference-rollout-0-41.json",
        "reference-rollout-0-41.safetensors",
    ]
    (found,) = understood(saved_layers(session.folder))
    assert found.replay
    assert found.standard == "reference"
    assert found.sides[0].layers == (1,)
    again = json.loads(run_logdrift("why", session.folder, "--json").stdout)
    (pair,) = again["pairs"]
    assert pair["layers"]["sides"][0]["layers"] == [1]
    assert any(
        e["signature"] == "layers"
        for cause in pair["causes"]
        for e in cause["evidence"]
    )


@pytest.mark.parametrize(
    ("place", "pair", "said"),
    [
        ("7", None, "has no sequence 7"),
        ("0:0", None, "no scored token 0"),
        ("0:70", None, "no scored token 70"),
        ("x", None, "give a sequence"),
        ("0", "reference/prefill:reference/prefill#2", "both of backend"),
    ],
)
def test_bad_places_and_pairs_are_refused_in_one_line_before_anything_starts(
    session: Session,
    place: str,
    pair: str | None,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        capture_layers, "ask", lambda *_, **__: pytest.fail("a worker was started")
    )
    args = argparse.Namespace(
        layers=place,
        pair=[pair] if pair else [],
        debuggers=False,
        json=False,
        trust_session=False,
    )
    with refused(said):
        why_layers.run(args, session)


def test_windows_standards_and_eager_options(session: Session, tmp_path: Path) -> None:
    window = layers_place.window_of(session, 0, 41)
    assert len(window.ids) == 41
    assert window.first == 0
    assert window.last == 40
    assert window.notes == ()
    long = write_session(
        tmp_path / "long", [4], [capture("t/prefill", [[np.nan, *[-1.0] * 699]])]
    )
    window = layers_place.window_of(long, 0, None)
    assert window.first == 0
    assert window.last == 511
    window = layers_place.window_of(long, 0, 600)
    assert len(window.ids) == 600
    assert window.first == 535
    assert window.last == 599
    assert "beyond" in window.notes[0]
    spec = BackendSpec(
        "v",
        "vllm",
        "bfloat16",
        paths=("decode", "prefill"),
        repeats=2,
        options={"enforce_eager": False},
    )
    made_eager = capture_layers.eager(spec)
    assert made_eager.options["enforce_eager"] is True
    assert made_eager.paths == ("prefill",)
    trainer = BackendSpec("t", "transformers", "bfloat16", "trainer")
    assert layers_place.standard_of(session.plan, (spec, trainer)).name == "reference"
    assert layers_place.standard_of(None, (spec, trainer)) is trainer
    assert layers_place.standard_of(None, (spec, spec)) is spec
    assert asdict(made_eager)["name"] == "v"
    assert layer_errors.unit("unheard-of") == unit("bfloat16")
