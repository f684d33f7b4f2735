"""Real models that overflow in float16: from the scorer over the session to the layer
that is named.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from logdrift.cli.why_layers import chart
from logdrift.core.compare.pair import make_pair
from logdrift.core.diagnose import diagnose
from logdrift.core.diagnose.experiments import propose
from logdrift.core.diagnose.layers import (
    Layers,
    LayerSide,
    compare_sides,
    layers_evidence,
)
from logdrift.core.diagnose.layers.broken import first_break
from logdrift.core.diagnose.layers.errors import MeasuredLayers
from logdrift.core.report.layers import layers_document
from logdrift.core.report.layout import Canvas
from logdrift.core.report.paint.text import paint_text
from logdrift.core.session.reader import open_session
from tests.common import REPOSITORY, Fields, Run
from tests.made_answers import made, with_replay
from tests.made_sessions import BROKEN, capture, write_session

ALL = [1, 2, 3, 4, 5]
BEHIND_THE_ID = [4]


@pytest.fixture(scope="module")
def overflow(
    transformers_python: Path,
    small_model: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    """What tests/engine_scripts/transformers_overflow.py writes and says, and where."""
    out = tmp_path_factory.mktemp("overflow")
    script = REPOSITORY / "tests" / "engine_scripts" / "transformers_overflow.py"
    command = [str(transformers_python), str(script), str(out), str(small_model)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    return {"out": out, **json.loads(done.stdout.splitlines()[-1])}


@pytest.mark.parametrize(
    ("model", "broken"), [("whole", ALL), ("token", BEHIND_THE_ID)]
)
def test_the_scorer_marks_what_it_computed_as_nan(
    overflow: Any, model: str, broken: list[int]
) -> None:
    found = overflow["scored"][model]
    assert found["float16"] == {
        "nan": broken,
        "missing": [0, *broken],
        "listed": [i for i in ALL if i not in broken],
    }
    for dtype in ("bfloat16", "float32"):
        expected = {"nan": [], "missing": [0], "listed": ALL}
        assert found[dtype] == expected


def test_decoding_marks_nan_or_says_why_no_token_can_be_drawn(overflow: Any) -> None:
    assert overflow["generated"]["greedy"] == {
        "said": "nothing raised",
        "nan": [[6, 7, 8, 9]],
    }
    sampled = overflow["generated"]["sampled"]["said"]
    assert (
        "the logits are NaN or infinite in float16, so no token can be drawn: run it in"
        " bfloat16" in sampled
    )
    assert "\n" not in sampled


def measured(
    overflow: Any, model: str, dtype: str, replay: bool = True
) -> MeasuredLayers:
    folder = overflow["out"] / model
    again = folder / "float32" / f"{dtype}.safetensors"
    return MeasuredLayers(
        dtype,
        dtype,
        load_file(folder / dtype / "layers.safetensors"),
        load_file(again) if replay and again.exists() else None,
    )


@pytest.mark.parametrize("replay", [True, False])
@pytest.mark.parametrize(
    ("model", "stage", "layers", "where"),
    [
        ("whole", "layer 1", (1,), "at every position"),
        ("token", "layer 2", (2,), "at 1 of 6 positions, the first is 3"),
    ],
)
def test_the_first_stage_that_is_not_finite_is_named(
    overflow: Any,
    model: str,
    stage: str,
    layers: tuple[int, ...],
    where: str,
    replay: bool,
) -> None:
    sides = [
        measured(overflow, model, dtype, replay) for dtype in ("float16", "bfloat16")
    ]
    (half, other), arrays = compare_sides(sides, measured(overflow, model, "float32"))
    assert half.kind == "not finite"
    assert half.layers == layers
    assert (
        f"{stage} is the first whose numbers are not finite, {where}" in half.sentence
    )
    assert "float16 ends at 65,504 and float32 reaches" in half.sentence
    found = [s.name for s in half.stages if s.wrong]
    assert found == [stage]
    assert other.kind in ("rounding", "unknown", "layer", "layers", "jump", "position")
    (evidence,) = layers_evidence([half])
    assert evidence.cause == "overflow"
    assert evidence.signature == "layers"
    assert evidence.numbers["stage"] == stage
    assert set(arrays) >= {"errors/float16", "errors/bfloat16"}
    shown_and_saved(half, other)


def shown_and_saved(*sides: LayerSide) -> None:
    found = Layers("n", "a/prefill", "b/prefill", 0, None, 0, 5, "float32", True, sides)
    again = Layers.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False)))
    assert again.sides[0].kind == sides[0].kind
    text = paint_text(layers_document(found), Canvas(80))
    assert "not finite" in text
    assert "◀" in text
    chart(found, Canvas(80))


# -- made streams


def broken_stream(
    layers: int, stage: int, positions: slice, value: float = np.nan
) -> Fields:
    arrays, _ = made(layers, 0.0)
    stream = arrays["stream"].copy()
    stream[stage:, positions] = value
    final = arrays["final"].copy()
    logits = arrays["logits"].copy()
    final[positions] = logits[positions] = np.nan
    return {**arrays, "stream": stream, "final": final, "logits": logits}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("stage", "name"), [(0, "embedding"), (1, "layer 0"), (4, "layer 3")]
)
@pytest.mark.parametrize(
    ("positions", "count", "first"), [(slice(None), 8, 0), (slice(5, 7), 2, 5)]
)
def test_a_break_has_a_stage_and_positions(
    stage: int, name: str, positions: slice, count: int, first: int, value: float
) -> None:
    found = first_break(broken_stream(4, stage, positions, value))
    assert found is not None
    assert found.stage == name
    assert found.count == count
    assert found.positions == 8
    assert found.first == first
    assert (found.largest is None) is (stage == 0)
    assert first_break(made(4, 0.0)[0]) is None


@pytest.mark.parametrize("name", ["final", "logits"])
def test_a_break_behind_the_last_layer(name: str) -> None:
    arrays = dict(made(2, 0.0)[0])
    arrays[name] = np.full_like(arrays[name], np.inf)
    found = first_break(arrays)
    assert found is not None
    assert found.stage == {"final": "final norm", "logits": "head"}[name]


def test_a_standard_that_breaks_clears_nobody_and_is_said_itself() -> None:
    good = with_replay([1.0] * 4)
    standard = MeasuredLayers("trainer", "float16", broken_stream(4, 2, slice(None)))
    (other, own), _ = compare_sides([good], standard, start=64)
    assert other.kind == "unknown"
    assert own.kind == "not finite"
    assert own.backend == "trainer"
    assert (
        "cannot be held against trainer, which is not finite from layer 1 on"
        in other.sentence
    )
    assert "something inside this stage grows beyond it" in own.sentence
    shown_and_saved(own, other)


def test_positions_count_from_the_start_of_the_sequence() -> None:
    side = MeasuredLayers("engine", "bfloat16", broken_stream(4, 2, slice(5, 7)))
    (found,), _ = compare_sides(
        [side], MeasuredLayers("reference", "float32", made(4, 0.0)[0]), start=100
    )
    assert "the first is 105" in found.sentence
    assert "look for NaN or infinity in the weights" in found.sentence


def test_layers_that_were_looked_at_are_evidence_and_are_not_offered_again(
    tmp_path: Path,
) -> None:
    rows = [[float("nan"), BROKEN, BROKEN]]
    captures = [
        capture("trainer/prefill", rows, facts={"dtype": "float16"}),
        capture("vllm/prefill", [[float("nan"), -1.0, -1.0]]),
    ]
    backends = [
        {"name": "trainer", "engine": "transformers"},
        {"name": "vllm", "engine": "vllm"},
    ]
    session = write_session(
        tmp_path / "s",
        [1],
        captures,
        plan={"model": "m", "backends": backends, "prompts": []},
    )
    side = MeasuredLayers("trainer", "float16", broken_stream(4, 2, slice(None)))
    sides, _ = compare_sides(
        [side], MeasuredLayers("reference", "float32", made(4, 0.0)[0])
    )
    found = diagnose(
        session,
        make_pair(session, "trainer/prefill", "vllm/prefill"),
        layers_evidence(sides),
    )
    assert {each.signature for each in found.causes[0].evidence} == {"nan", "layers"}
    assert "--layers" not in str(found.causes[0].next_experiment)


def test_without_a_gap_no_experiment_is_offered(tmp_path: Path) -> None:
    rows = [[float("nan"), BROKEN, BROKEN]]
    captures = [
        capture("trainer/prefill", rows),
        capture("vllm/prefill", [[float("nan"), -1.0, -1.0]]),
    ]
    backends = [
        {"name": "trainer", "engine": "transformers"},
        {"name": "vllm", "engine": "vllm"},
    ]
    session = write_session(
        tmp_path / "s",
        [1],
        captures,
        plan={"model": "m", "backends": backends, "prompts": []},
    )
    pair = make_pair(session, "trainer/prefill", "vllm/prefill")
    found = propose(session, pair, diagnose(session, pair))
    assert found.experiments == ()
    assert {each.backend for each in found.left_out} == {
        "trainer",
        "vllm",
    }


# -- the whole way, with two engines


def test_two_real_engines_in_float16(
    overflow: Any,
    vllm_python: Path,
    run_logdrift: Run,
    tmp_path: Path,
    prompts_file: Callable[..., Path],
) -> None:
    out = tmp_path / "s"
    prompts = prompts_file(
        {"prompt": "The quick brown fox"}, {"prompt": "Numbers: 1 2 3"}
    )
    done = run_logdrift(
        "capture",
        "--model",
        overflow["out"] / "large",
        "--prompts",
        prompts,
        "--max-tokens",
        4,
        "--top-k",
        3,
        "--backend",
        "transformers:float32@reference",
        "--backend",
        "transformers:float16@trainer",
        "--backend",
        "vllm:bfloat16",
        "--backend",
        "vllm:float16,paths=prefill@half",
        "--out",
        out,
    )
    assert done.returncode == 0, done.stderr
    assert "trainer/prefill: complete" in done.stderr
    assert "of them NaN" in done.stderr
    session = open_session(out)
    for label in ("trainer/prefill", "half/prefill"):
        kept = session.capture(label)
        scored = session.sequences.tokens - len(session.sequences)
        assert kept.nan is not None, label
        assert int(kept.nan.whole().sum()) == scored, label
    for label in ("reference/prefill", "vllm/decode", "vllm/prefill"):
        assert session.capture(label).nan is None
    checked = run_logdrift("check", out, "--max", "mae=9", "--json")
    assert checked.returncode == 1
    assert (
        "trainer/prefill gave NaN on every token: float16 ends at 65,504"
        in checked.stderr
    )
    why = run_logdrift("why", out, "--pair", "trainer:half", "--layers", "0:2")
    assert why.returncode == 0, why.stderr
    assert (
        " ".join(why.stdout.split()).count(
            "layer 1 is the first whose numbers are not finite"
        )
        == 2
    )
