"""Experiments without an engine: what is proposed, how its outcome is judged, what that
does to the ranking.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logdrift.core import paths
from logdrift.core.compare.pair import Pair, make_pair
from logdrift.core.diagnose import diagnose
from logdrift.core.diagnose.causes import BY_CODE, CAUSES, NOISE
from logdrift.core.diagnose.evidence import Ranked
from logdrift.core.diagnose.experiments import (
    EVERY_OPTION,
    ChangedSide,
    Experiment,
    chosen,
    controls,
    deciding,
    merged,
    propose,
)
from logdrift.core.diagnose.outcomes import (
    Outcome,
    experiment_evidence,
    judge,
    outcomes_of,
)
from logdrift.core.engines.knobs import Knob
from logdrift.core.errors import InputError
from logdrift.core.investigate.budget import parse_budget
from logdrift.core.session.experiments import FOLDER, check_writable, saved, timings
from logdrift.core.session.reader import Session, open_session
from tests.made_experiments import (
    LENGTH,
    PROMPTS,
    named,
    processed,
    record_of,
    rows,
    save_record,
    session_of,
    simple,
)
from tests.made_sessions import capture, write_session

# -- what is proposed


def test_every_knob_that_can_run_is_one_option_with_a_value() -> None:
    runnable = [
        knob
        for cause in CAUSES
        for knobs in cause.knobs.values()
        for knob in knobs
        if knob.run
    ]
    assert len(runnable) > 40
    for knob in runnable:
        ((name, value),) = knob.change.items()
        assert name.isidentifier(), knob
        assert value is None or knob.setting.startswith(f"{name}="), knob
    assert Knob('hf_overrides={"head_dtype": "float32"}').change == {
        "hf_overrides": {"head_dtype": "float32"}
    }
    assert Knob("enforce_eager=false").change == {"enforce_eager": False}
    assert Knob("speculative_config").change == {"speculative_config": None}


def test_noise_is_asked_with_float32_on_both_sides_first(tmp_path: Path) -> None:
    session, pair = simple(tmp_path / "s")
    proposal = propose(session, pair, diagnose(session, pair))
    first = proposal.experiments[0]
    assert first.title == "trainer: dtype=float32 and vllm: dtype=float32"
    assert (first.cause, first.proves, first.combined, first.seconds) == (
        "compute_dtype",
        NOISE,
        False,
        None,
    )
    found = [side.label for side in first.sides]
    assert found == ["trainer/prefill", "vllm/prefill"]
    second = proposal.experiments[1]
    assert second.changes == {
        "trainer": {"head_dtype": "float32"},
        "vllm": {"hf_overrides": {"head_dtype": "float32"}},
    }
    eager = next(each for each in proposal.experiments if "enforce_eager" in each.title)
    assert eager.combined, "inductor swaps the norm kernel too"
    assert [each for each in proposal.experiments if each.still] == list(
        proposal.experiments[-2:]
    ), "asked last"


def test_no_gpu_knob_is_run_on_a_cpu_and_each_is_listed_with_the_reason(
    tmp_path: Path,
) -> None:
    session, pair = simple(tmp_path / "cpu")
    proposal = propose(session, pair, diagnose(session, pair))
    reasons = {(left.backend, left.setting): left.reason for left in proposal.left_out}
    for setting in (
        "attention_backend=FLASH_ATTN",
        "VLLM_BATCH_INVARIANT=1",
        'compilation_config={"mode": 0}',
    ):
        assert "needs a GPU" in reasons["vllm", setting]
    assert "needs a GPU" in reasons["trainer", "hidden_states=host"]
    assert reasons["vllm", "speculative_config"] == "it is not set"
    assert (
        "so already (attention_backend is sdpa)"
        in reasons["trainer", "attn_implementation=sdpa"]
    )
    session, pair = simple(tmp_path / "gpu", {"device": "cuda:0"})
    gpu = named(session, pair)
    assert "vllm: attention_backend=FLASH_ATTN" in gpu
    assert gpu["vllm: VLLM_BATCH_INVARIANT=1"].combined
    assert "trainer: hidden_states=host" not in gpu, "the trainer still ran on a CPU"
    session, pair = simple(tmp_path / "two", {"device": "cuda", "tensor_parallel": 2})
    assert "vllm: tensor_parallel_size=1" not in named(session, pair)
    assert "vllm: tensor_parallel_size=1" in named(session, pair, gpus=2)


def test_a_side_that_has_the_change_is_left_as_it_is(tmp_path: Path) -> None:
    session, pair = simple(
        tmp_path / "s", {"dtype": "float32", "head_dtype": "float32"}
    )
    found = named(session, pair)
    assert found["trainer: dtype=float32"].proves == "compute_dtype", (
        "the other side was more precise: no mere noise"
    )
    assert "trainer: head_dtype=float32" in found
    session, pair = simple(tmp_path / "t", {"dtype": None, "execution_mode": None})
    assert "vllm: enforce_eager=true" in named(session, pair), (
        "what is unknown is no reason to leave out"
    )


def test_given_ids_are_decoded_where_the_engine_can_and_prefill_stands_in_where_not(
    tmp_path: Path,
) -> None:
    session, pair = simple(tmp_path / "v", path="decode")
    found = named(session, pair)
    both = found["trainer: dtype=float32 and vllm: dtype=float32"]
    assert both.sides[1].path == "forced_decode"
    assert (
        both.note
        == "forced_decode stands for vllm/decode, which cannot be repeated on the same"
        " tokens"
    )
    assert found["vllm: path=prefill"].rescored, (
        "compared with the decode capture itself"
    )
    assert not found["vllm: path=prefill"].note
    assert {
        (side.backend, side.path) for side in controls(session, found.values())
    } == {
        ("trainer", "prefill"),
        ("vllm", "forced_decode"),
    }
    session = session_of(
        tmp_path / "g",
        [
            capture("trainer/prefill", rows(1, 0.03)),
            capture("sglang/decode", rows(2, 0.03), engine="sglang"),
        ],
    )
    found = named(session, make_pair(session, "trainer", "sglang"))
    assert (
        found["trainer: dtype=float32 and sglang: dtype=float32"].sides[1].path
        == "prefill"
    )


def test_what_is_captured_already_needs_no_engine(tmp_path: Path) -> None:
    captures = [
        capture(label, rows(i, 0.03))
        for i, label in enumerate(("trainer/prefill", "vllm/decode", "vllm/prefill"))
    ]
    session = session_of(tmp_path / "s", captures)
    pair = make_pair(session, "trainer", "vllm/decode")
    found = named(session, pair)["vllm: path=prefill"]
    assert (found.sides[0].given, found.runs, found.seconds) == (
        "vllm/prefill",
        False,
        0.0,
    )
    assert (
        not propose(
            session,
            make_pair(session, "vllm/decode", "vllm/prefill"),
            diagnose(session, pair),
        )
        .experiments[0]
        .still
    )
    repeats = session_of(
        tmp_path / "r",
        [
            capture("trainer/prefill", rows(1, 0.0)),
            capture("trainer/prefill#2", rows(1, 0.0)),
        ],
    )
    same = make_pair(repeats, "trainer/prefill", "trainer/prefill#2")
    assert not propose(repeats, same, diagnose(repeats, same)).experiments, (
        "one capture repeated has no knob"
    )


def test_options_are_merged_and_not_replaced() -> None:
    options = {
        "hf_overrides": {"rope_theta": 1.0},
        "device": "cuda:0",
        "speculative_config": {"k": 1},
    }
    spec, merged_options = merged(
        options, {"hf_overrides": {"head_dtype": "float32"}, "dtype": "float32"}
    )
    assert spec == {"dtype": "float32"}
    assert merged_options["hf_overrides"] == {
        "rope_theta": 1.0,
        "head_dtype": "float32",
    }
    assert options["hf_overrides"] == {"rope_theta": 1.0}, (
        "the session's own plan is untouched"
    )
    assert "hf_overrides" not in merged(options, {"hf_overrides": {}})[1]
    assert "speculative_config" not in merged(options, {"speculative_config": None})[1]
    assert "device" not in merged(options, {"device_map": "balanced"})[1]
    expected = ({}, {})
    assert merged({}, {"path": "prefill", "alone": True}) == expected


def test_times_come_from_the_events_and_order_by_cost(tmp_path: Path) -> None:
    session, pair = simple(tmp_path / "s")
    events = [
        {"t": 100.0, "type": "backend", "backend": "trainer"},
        {"t": 105.0, "type": "facts", "backend": "trainer"},
        {"t": 107.0, "type": "captured", "label": "trainer/prefill"},
        {"t": 110.0, "type": "backend", "backend": "vllm"},
        {"t": 140.0, "type": "facts", "backend": "vllm"},
        {"t": 150.0, "type": "captured", "label": "vllm/prefill"},
    ]
    (session.folder / "events.jsonl").write_text(
        "".join(json.dumps(e) + "\n" for e in events) + '{"t": 1\n[]\n'
    )
    times = timings(session.folder)
    expected = {"trainer/prefill": (5.0, 2.0), "vllm/prefill": (30.0, 10.0)}
    assert times == expected
    found = named(session, pair, times=times, repeats=3)
    assert (
        found["trainer: dtype=float32 and vllm: dtype=float32"].seconds
        == 5 + 3 * 2 + 30 + 3 * 10
    )
    assert found["trainer: attn_implementation=eager"].seconds == 11
    assert found["vllm: enforce_eager=false"].seconds is None, (
        "compiling takes nobody knows how long"
    )
    assert timings(tmp_path / "none") == {}


def test_only_names_a_cause_or_an_id(tmp_path: Path) -> None:
    session, pair = simple(tmp_path / "s")
    found = propose(session, pair, diagnose(session, pair)).experiments
    assert {each.cause for each in chosen(found, ["head_dtype", "attention"])} == {
        "head_dtype",
        "attention",
    }
    assert chosen(found, [found[2].id]) == [found[2]]
    assert chosen(found, []) == list(found)
    assert len({each.id for each in found}) == len(found)
    with pytest.raises(
        InputError,
        match="no experiment 'nonsense' fits this pair: there are compute_dtype",
    ):
        chosen(found, ["head_dtype", "nonsense"])


# -- judging


def experiment(which: str = "b", **changes: Any) -> Experiment:
    label = "vllm/prefill" if which == "b" else "trainer/prefill"
    side = ChangedSide(
        which=which,
        label=label,
        backend=label.partition("/")[0],
        engine="vllm",
        path="prefill",
        batch="together",
        changes={"dtype": "float32"},
    )  # type: ignore[arg-type]
    return Experiment(
        **{
            "id": "x",
            "cause": "attention",
            "title": "vllm: x=1",
            "sides": (side,),
            **changes,
        }
    )


def judged(
    tmp_path: Path,
    after: list[list[np.ndarray]],
    repeat: float | None = 0.0,
    **changes: Any,
) -> Outcome:
    """``after`` are the changed captures of vllm; ``repeat`` the spread of a repeat of
    the unchanged one, None: none.
    """
    base = rows(2, 0.05)
    captures = [capture("trainer/prefill", rows(1, 0.0)), capture("vllm/prefill", base)]
    captures += [capture(f"changed{i}/prefill", each) for i, each in enumerate(after)]
    if repeat is not None:
        captures.append(capture("vllm/prefill#2", rows(3, repeat, np.array(base))))
    session = session_of(tmp_path / f"j{len(list(tmp_path.iterdir()))}", captures)
    before = make_pair(session, "trainer", "vllm/prefill")
    pairs = [
        make_pair(session, "trainer", f"changed{i}/prefill") for i in range(len(after))
    ]
    group = [session.capture("vllm/prefill")] + (
        [session.capture("vllm/prefill#2")] if repeat is not None else []
    )
    return judge(experiment(**changes), before, pairs, [group])


def test_the_share_is_that_of_the_mae_and_its_interval_holds_it(tmp_path: Path) -> None:
    outcome = judged(tmp_path, [rows(5, 0.02), rows(5, 0.02)])
    assert outcome.status == "explains"
    assert outcome.mae_before is not None
    assert outcome.mae_after is not None
    assert outcome.explained is not None
    # Normal noise has a mean size of sqrt(2/pi) spreads; 936 tokens tell it to 2.5%
    # (one standard error).
    expected = 0.05 * np.sqrt(2 / np.pi)
    assert outcome.mae_before == pytest.approx(expected, rel=0.1)
    assert outcome.explained == pytest.approx(
        1 - outcome.mae_after / outcome.mae_before, rel=1e-12
    )
    assert outcome.low is not None
    assert outcome.high is not None
    assert outcome.low < 0.6 < outcome.high, "0.02 of 0.05 are left"
    assert outcome.tokens == PROMPTS * (LENGTH - 1)
    assert outcome.method == "sequences"
    assert outcome.repeats == 2
    assert "explains 6" in outcome.sentence or "explains 5" in outcome.sentence


def test_repeats_count_alike(tmp_path: Path) -> None:
    one = judged(tmp_path, [rows(5, 0.02)] * 2)
    other = judged(tmp_path, [rows(6, 0.03)] * 2)
    both = judged(tmp_path, [rows(5, 0.02), rows(6, 0.03)])
    assert both.mae_after == pytest.approx(
        (one.mae_after + other.mae_after) / 2, rel=1e-12
    )  # type: ignore[operator]


def test_a_change_below_the_floor_explains_nothing(tmp_path: Path) -> None:
    assert judged(tmp_path, [rows(5, 0.02)] * 2, repeat=0.005).status == "explains"
    noisy = judged(tmp_path, [rows(5, 0.02)] * 2, repeat=0.2)
    assert noisy.status == "below the floor"
    assert noisy.floor is not None
    assert noisy.floor > 0.1
    unsteady = judged(tmp_path, [rows(5, 0.02), rows(6, 0.2)])
    assert unsteady.floor is not None and unsteady.floor > 0.1, (
        "the changed capture's own repeats count as well"
    )


def test_worse_no_effect_and_nothing_left(tmp_path: Path) -> None:
    worse = judged(tmp_path, [rows(5, 0.2)] * 2)
    assert worse.status == "worse"
    assert worse.explained is not None
    assert worse.explained < -2
    assert worse.sentence.startswith(
        "makes it worse by 3"
    ) or worse.sentence.startswith("makes it worse by 2")
    same = judged(tmp_path, [rows(2, 0.05)] * 2)
    assert same.status == "no effect"
    assert same.moved == 0.0
    assert same.explained == 0.0
    assert same.sentence.endswith("no number moved")
    # As far off as before, in other places. A 95% interval excludes 0 once in 20; four
    # of 20 have a chance of 1.6%.
    unclear = [judged(tmp_path, [rows(seed, 0.05)] * 2) for seed in range(3, 23)]
    steady = [each for each in unclear if each.status == "no effect"]
    assert len(steady) >= 17
    for each in steady:
        assert each.low is not None
        assert each.high is not None
        assert each.low < 0 < each.high
    gone = judged(tmp_path, [rows(1, 0.0)] * 2)
    assert gone.status == "explains"
    assert gone.explained == 1.0
    assert gone.low == 1.0
    assert gone.high == 1.0
    made = ((1, 0.0), (2, 0.05), (5, 0.002))
    few = [rows(seed, size)[:1] for seed, size in made]
    names = ("trainer/prefill", "vllm/prefill", "changed/prefill", "vllm/prefill#2")
    captures = [
        capture(name, each) for name, each in zip(names, [*few, few[1]], strict=True)
    ]
    short = write_session(tmp_path / "few", [2], captures)
    pairs = [
        make_pair(short, "trainer", name)
        for name in ("vllm/prefill", "changed/prefill")
    ]
    told = judge(
        experiment(),
        pairs[0],
        pairs[1:],
        [[short.capture("vllm/prefill"), short.capture("vllm/prefill#2")]],
    )
    assert told.explained is not None and told.explained > 0.8 and told.low is None, (
        "0.002 of 0.05 are left, and one short sequence has no interval"
    )
    assert told.sentence.startswith("unclear: MAE 0.0")
    assert "too few tokens for an interval" in told.sentence
    found = [e.numbers["leaves"] for e in experiment_evidence([told])]
    assert found == [1.0]
    single = judged(tmp_path, [rows(5, 0.02)], repeat=None)
    assert single.status == "below the floor"
    assert "the floor is unknown" in single.reason


def test_a_scorer_whose_numbers_move_is_a_finding(tmp_path: Path) -> None:
    moved = judged(tmp_path, [rows(5, 0.02)] * 2, still=True, cause="batch")
    assert moved.finding
    assert "none may" in moved.sentence
    (evidence,) = experiment_evidence([moved])
    assert evidence.cause == "batch"
    assert evidence.score == 0.8
    steady = judged(tmp_path, [rows(2, 0.05)] * 2, still=True, cause="batch")
    assert not steady.finding
    assert "as it must be" in steady.sentence
    assert experiment_evidence([steady]) == []


def test_other_ids_are_refused(tmp_path: Path) -> None:
    one = session_of(
        tmp_path / "a",
        [
            capture("trainer/prefill", rows(1, 0.0)),
            capture("vllm/prefill", rows(2, 0.05)),
        ],
    )
    other = write_session(
        tmp_path / "b",
        [4] * PROMPTS,
        [
            capture("trainer/prefill", rows(1, 0.0)),
            capture("vllm/prefill", rows(2, 0.05)),
        ],
        pieces=dict.fromkeys(range(7), b"x"),
        per_part=8,
    )
    with pytest.raises(ValueError, match="other token ids"):
        judge(
            experiment(),
            make_pair(one, "trainer", "vllm"),
            [make_pair(other, "trainer", "vllm")],
        )


# -- what outcomes do to the ranking


def test_experiments_move_a_cause_up_and_down(tmp_path: Path) -> None:
    session, pair = simple(tmp_path / "s", {"attention_backend": "FLASH_ATTN"})
    before = {ranked.cause: ranked for ranked in diagnose(session, pair).causes}
    assert before["attention"].next_experiment
    made = Outcome(
        experiment(),
        "explains",
        0.05,
        0.005,
        0.9,
        0.85,
        0.93,
        0.0,
        tokens=900,
        repeats=2,
    )
    up = {
        ranked.cause: ranked
        for ranked in diagnose(session, pair, experiment_evidence([made])).causes
    }
    assert up["attention"].score > max(0.85 * 0.4, before["attention"].score)
    assert up["attention"].evidence[0].signature == "experiment"
    assert up["attention"].next_experiment is None, "it was done"
    none = replace(made, status="no effect", explained=0.0, low=-0.1, high=0.1)
    down = {
        ranked.cause: ranked
        for ranked in diagnose(session, pair, experiment_evidence([none])).causes
    }
    assert (
        "attention" not in down
        or down["attention"].score < 0.5 * before["attention"].score
    )
    combined = experiment_evidence(
        [replace(none, experiment=experiment(combined=True))]
    )
    kept = {ranked.cause: ranked for ranked in diagnose(session, pair, combined).causes}
    assert kept["attention"].score == pytest.approx(before["attention"].score), (
        "two changes may hide one another"
    )


def test_float32_on_both_sides_proves_noise_or_refutes_it(tmp_path: Path) -> None:
    session, pair = simple(tmp_path / "s")
    asked = next(
        e
        for e in propose(session, pair, diagnose(session, pair)).experiments
        if e.proves == NOISE
    )
    made = Outcome(
        asked, "explains", 0.03, 1e-5, 0.9997, 0.999, 0.9999, 0.0, tokens=900, repeats=2
    )
    (evidence,) = experiment_evidence([made])
    proved = diagnose(session, pair, [evidence])
    assert proved.noise
    assert proved.causes[0].sureness == "certain"
    assert "explains 99.97% of the MAE" in proved.causes[0].evidence[0].sentence
    refuted = diagnose(
        session,
        pair,
        experiment_evidence(
            [replace(made, status="no effect", explained=0.0, low=-0.1)]
        ),
    )
    score = {ranked.cause: ranked.score for ranked in refuted.causes}
    plain = {ranked.cause: ranked.score for ranked in diagnose(session, pair).causes}
    assert score[NOISE] < 0.5 * plain[NOISE]


def test_failed_and_not_run_say_nothing() -> None:
    for status in ("failed", "not run"):
        assert experiment_evidence([Outcome(experiment(), status, reason="why")]) == []  # type: ignore[arg-type]
    assert (
        Outcome(experiment(), "failed", reason="it died").sentence == "failed: it died"
    )
    assert set(BY_CODE) >= {"attention", "compute_dtype", "batch"}


# -- on disk


def test_records_are_read_back_and_damaged_ones_are_none(tmp_path: Path) -> None:
    session, pair = simple(tmp_path / "s")
    first = propose(session, pair, diagnose(session, pair)).experiments[0]
    outcome = Outcome(
        first,
        "explains",
        0.05,
        0.01,
        0.8,
        0.7,
        0.9,
        0.0,
        "said",
        900,
        0.04,
        repeats=2,
        method="sequences",
    )
    labels = ["trainer/prefill", "vllm/prefill"]
    record = record_of(pair, outcome)
    damaged: list[Any] = [
        {**record, "outcome": {**outcome.to_json(), "status": "sure"}},
        {**record, "experiment": {"sides": []}},
        {**record, "outcome": {**outcome.to_json(), "explained": "all"}},
        {**record, "schema": 9},
        [],
        {**record, "pair": 3},
        *(
            {**record, "experiment": {**first.to_json(), **wrong}}
            for wrong in (
                {"id": "../../elsewhere"},
                {"id": ".."},
                {"id": ""},
                {"seconds": "long"},
                {"note": 3},
                {"sides": [{**first.sides[0].to_json(), "changes": "dtype"}]},
                {"sides": [{**first.sides[0].to_json(), "path": None}]},
            )
        ),
    ]
    for i, data in enumerate([record, *damaged]):
        save_record(session, f"e{i}", data)
    (session.folder / FOLDER / "none").mkdir()
    assert outcomes_of(saved(session.folder), *labels) == [outcome]
    assert outcomes_of(saved(session.folder), *reversed(labels)) == []
    assert saved(session.folder)[0].session is None


def test_a_shipped_session_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, _ = simple(tmp_path / "mine" / "sample-made")
    check_writable(mine)
    shipped, _ = simple(tmp_path / "shipped" / "made")
    monkeypatch.setattr(paths, "samples_folder", lambda: tmp_path / "shipped")
    with pytest.raises(InputError, match="samples that come with logdrift"):
        check_writable(shipped)
    linked = tmp_path / "mine" / "linked"
    linked.symlink_to(shipped.folder)
    with pytest.raises(InputError, match="samples that come with logdrift"):
        check_writable(open_session(linked))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("10m", 600), ("1.5h", 5400), (" 2 m ", 120)],
)
def test_budgets(text: str, seconds: float) -> None:
    assert parse_budget(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "ten", "-5m", "5d", "m"])
def test_budgets_that_are_none(text: str) -> None:
    with pytest.raises(InputError, match="give a time such as 90s, 10m or 1h"):
        parse_budget(text)


# -- what cannot run is not offered, and what decides is chosen


def test_an_experiment_that_its_engine_refuses_is_not_offered(tmp_path: Path) -> None:
    session, pair = processed(tmp_path / "s")
    proposal = propose(session, pair, diagnose(session, pair))
    for each in proposal.experiments:
        for side in each.sides:
            options = merged({"logprobs_mode": "processed_logprobs"}, side.changes)[1]
            forced = side.backend == "vllm" and side.path == "forced_decode"
            assert not forced or options["logprobs_mode"] == "raw_logprobs", each.title
    reasons = {(left.backend, left.setting): left.reason for left in proposal.left_out}
    assert reasons["vllm", "alone=false"].startswith("it is so already")
    refused = [
        left
        for left in proposal.left_out
        if "forced_decode needs logprobs_mode=raw_logprobs" in left.reason
    ]
    found = {left.backend for left in refused}
    assert found == {"vllm"}
    assert len(refused) > 3
    # float32 on the trainer alone would be another experiment than float32 on both.
    assert (
        reasons["trainer", "dtype=float32"]
        == "it is for both sides at once, and vllm cannot change"
    )


def test_the_engine_s_own_refusal_and_the_table_are_one() -> None:
    from logdrift.core.engines import ENGINES

    refusal = ENGINES["vllm"].refusal(
        "forced_decode", {"logprobs_mode": "processed_logprobs"}
    )
    assert (
        refusal
        == "forced_decode needs logprobs_mode=raw_logprobs: with processed_logprobs"
        " every forced token would read 0.0"
    )
    for path, options in (
        ("decode", {"logprobs_mode": "processed_logprobs"}),
        ("forced_decode", {}),
    ):
        assert ENGINES["vllm"].refusal(path, options) is None


def test_the_one_that_proves_the_likely_cause_is_chosen_alone(tmp_path: Path) -> None:
    session, pair = processed(tmp_path / "s")
    found = diagnose(session, pair)
    assert found.causes[0].sureness == "certain"
    assert found.causes[0].cause in (
        "temperature",
        "processed",
    )
    proposal = propose(session, pair, found)
    chosen_ones = [
        each.title for each in proposal.experiments if each.id in proposal.deciding
    ]
    assert chosen_ones == ["vllm: logprobs_mode=raw_logprobs"]


def test_float32_is_refused_where_the_kernel_or_the_weights_take_16_bits_alone(
    tmp_path: Path,
) -> None:
    for name, facts, options in (
        ("kernel", {}, {"attention_backend": "FLASH_ATTN"}),
        ("weights", {"quantization": "fp8"}, {}),
    ):
        made = [
            capture("trainer/prefill", rows(1, 0.03)),
            capture("vllm/prefill", rows(2, 0.03), facts=facts),
        ]
        session = session_of(tmp_path / name, made, {"vllm": options})
        pair = make_pair(session, "trainer/prefill", "vllm/prefill")
        proposal = propose(session, pair, diagnose(session, pair))
        assert not [
            each for each in proposal.experiments if each.cause == "compute_dtype"
        ]
        reasons = {
            (left.backend, left.setting): left.reason for left in proposal.left_out
        }
        assert reasons["vllm", "dtype=float32"].startswith(
            "the engine does not start with it ("
        )
        assert reasons["trainer", "dtype=float32"].startswith(
            "it is for both sides at once"
        )


@pytest.mark.parametrize(
    ("dtype", "offered"), [("bfloat16", False), (None, False), ("float32", True)]
)
def test_beside_an_imported_side_a_change_for_both_is_offered_only_where_it_has_it(
    tmp_path: Path, dtype: str | None, offered: bool
) -> None:
    """float32 on one side alone makes a gap of rounding wider and would refute what is
    true.
    """
    made = [
        capture("trainer/prefill", rows(1, 0.03)),
        capture("rollout/recorded", rows(2, 0.03), facts={"dtype": dtype}),
    ]
    session = session_of(tmp_path / "s", made[:1])
    session = write_session(
        tmp_path / "t", [4] * PROMPTS, made, plan=session.manifest.plan, per_part=8
    )
    pair = make_pair(session, "trainer/prefill", "rollout/recorded")
    proposal = propose(session, pair, diagnose(session, pair))
    assert (
        "trainer: dtype=float32" in [each.title for each in proposal.experiments]
    ) == offered
    assert "trainer: attn_implementation=eager" in [
        each.title for each in proposal.experiments
    ]
    (whole,) = [left for left in proposal.left_out if left.setting == EVERY_OPTION]
    assert whole.backend == "rollout"
    assert whole.reason.startswith("it was imported and cannot be captured again: ")


def test_an_import_offers_nothing_and_says_what_to_do_instead(
    tmp_path: Path, run_logdrift: Any
) -> None:
    made = [
        capture("trainer/recorded", rows(1, 0.03)),
        capture("rollout/recorded", rows(2, 0.03)),
    ]
    session = write_session(tmp_path / "s", [4] * PROMPTS, made)
    pair = make_pair(session, "trainer/recorded", "rollout/recorded")
    proposal = propose(session, pair, diagnose(session, pair))
    assert not proposal.experiments
    assert not proposal.deciding
    assert "(logdrift capture --into SESSION), and ask of that one" in proposal.why_none
    shown = run_logdrift("why", session.folder, "--dry-run")
    assert shown.returncode == 0
    assert proposal.why_none in " ".join(shown.stdout.split())
    refused = run_logdrift("why", session.folder, "--run")
    assert refused.returncode == 2
    assert proposal.why_none in refused.stderr
    assert refused.stderr.count("\n") == 1


def ranked(cause: str, score: float, *, separable: bool = True) -> Ranked:
    return Ranked(
        cause=cause,
        score=score,
        evidence=(),
        next_experiment=None,
        title=cause,
        separable=separable,
    )


def test_what_decides_is_about_what_is_likely_or_else_about_the_causes_on_top() -> None:
    attention = experiment(id="attention")
    batch = experiment(id="batch", cause="batch")
    noise = experiment(id="noise", cause="compute_dtype", proves=NOISE)
    whole = experiment(id="whole", cause="attention", combined=True)
    only_way = experiment(id="only way", cause="norm_rope", combined=True)
    scorer = experiment(id="scorer", cause="batch", still=True)
    offered = [attention, batch, noise, whole, only_way, scorer]

    def names(*causes: Ranked) -> list[str]:
        return [each.id for each in deciding(offered, causes)]

    assert names(ranked("attention", 1.0), ranked("batch", 0.3)) == ["attention"]
    assert names(ranked(NOISE, 0.9), ranked("attention", 0.1)) == ["noise"]
    assert names(ranked("norm_rope", 0.6)) == ["only way"], (
        "a change of more than one thing, where there is no other"
    )
    assert names(ranked("attention", 0.7), ranked("batch", 0.6)) == [
        "attention",
        "batch",
        "scorer",
    ]
    # None is likely: those on top.
    assert names(ranked("attention", 0.4), ranked(NOISE, 0.3)) == ["attention", "noise"]
    # The likely one has no experiment: none where the numbers tell it, else those that
    # would tell it from others.
    assert names(ranked("temperature", 1.0), ranked(NOISE, 0.1)) == []
    assert names(ranked("weights", 0.6, separable=False), ranked(NOISE, 0.3)) == [
        "noise"
    ]
    assert names() == [
        "attention",
        "batch",
        "noise",
        "whole",
        "only way",
    ], "where nothing is suspected, all may tell"


# -- after a proof the verdict says it


def changed(session: Session, pair: Pair, title: str, **outcome: Any) -> Outcome:
    """What came of a proposed experiment, saved in the session."""
    made = Outcome(
        named(session, pair)[title],
        tokens=900,
        repeats=2,
        floor=0.0,
        moved=0.03,
        **outcome,
    )
    save_record(session, made.experiment.id, record_of(pair, made))
    return made


RAW = "vllm: logprobs_mode=raw_logprobs"
PROOF = {
    "status": "explains",
    "mae_before": 0.3,
    "mae_after": 0.036,
    "explained": 0.88,
    "low": 0.84,
    "high": 0.9,
}
REFUSAL = {
    "status": "no effect",
    "mae_before": 0.3,
    "mae_after": 0.3,
    "explained": 0.0,
    "low": -0.1,
    "high": 0.1,
}


def test_a_proof_is_said_by_every_sentence(tmp_path: Path, run_logdrift: Any) -> None:
    session, pair = processed(tmp_path / "s")
    changed(session, pair, RAW, **PROOF)
    said = f"proven: {RAW} explains 88% of the MAE"
    found = json.loads(run_logdrift("why", session.folder, "--json").stdout)["pairs"][0]
    first = found["causes"][0]
    assert first["shown"] == "proven"
    assert first["proof"] == f"{RAW} explains 88% of the MAE"
    assert said in found["verdict"]
    assert said in found["answer"]["sentence"]
    assert found["answer"]["proven"] == first["proof"]
    assert found["answer"]["refuted"] == []
    for arguments in (("why",), ("report",), ("report", "--md")):
        shown = " ".join(
            run_logdrift(arguments[0], session.folder, *arguments[1:]).stdout.split()
        )
        assert said in shown.replace("\\_", "_"), arguments
    assert diagnose(session, pair).answer.proof == "", (
        "without what is saved there is no proof"
    )


def test_a_refuted_cause_is_not_first_and_is_said_to_be_refuted(
    tmp_path: Path, run_logdrift: Any
) -> None:
    session, pair = processed(tmp_path / "s")
    suspect = diagnose(session, pair).causes[0]
    changed(session, pair, RAW, **REFUSAL)
    found = json.loads(run_logdrift("why", session.folder, "--json").stdout)["pairs"][0]
    said = f"refuted: {suspect.title} ({RAW} has no effect)"
    assert [
        cause["shown"] for cause in found["causes"] if cause["cause"] == suspect.cause
    ] == ["refuted"]
    assert found["causes"][0]["cause"] != suspect.cause or len(found["causes"]) == 1
    assert found["causes"][-1]["cause"] == suspect.cause
    assert found["causes"][-1]["sureness"] == "possible"
    assert said in found["answer"]["sentence"]
    assert said.replace("refuted", "Refuted") in found["verdict"]


def test_noise_is_proven_and_refuted_by_float32_on_both_sides(tmp_path: Path) -> None:
    session, pair = simple(tmp_path / "s")
    title = "trainer: dtype=float32 and vllm: dtype=float32"
    made = Outcome(
        named(session, pair)[title],
        tokens=900,
        repeats=2,
        floor=0.0,
        moved=0.03,
        **PROOF,
    )
    proven = diagnose(session, pair, experiment_evidence([made]))
    assert proven.answer.sentence.endswith(
        f"numerical noise, nothing to fix, proven: {title} explains 88% of the MAE."
    )
    assert f"nothing to fix, proven: {title} explains 88%" in proven.verdict
    assert proven.noise
    refuted = diagnose(session, pair, experiment_evidence([replace(made, **REFUSAL)]))
    assert (
        f"refuted: numerical noise ({title} has no effect)" in refuted.answer.sentence
    )
    assert not refuted.noise
    assert refuted.causes[-1].cause == NOISE


def test_what_proves_comes_before_what_is_only_likely(tmp_path: Path) -> None:
    session, pair = processed(tmp_path / "s")
    suspect = diagnose(session, pair).causes[0]
    made = Outcome(experiment(), tokens=900, repeats=2, floor=0.0, moved=0.03, **PROOF)
    proven = diagnose(session, pair, experiment_evidence([made])).causes
    assert proven[0].cause == "attention"
    assert proven[0].shown == "proven"
    assert proven[1].cause == suspect.cause
    # Half of the gap at least, in its whole interval; and by one change.
    for weak in (
        replace(made, low=0.4),
        replace(made, experiment=experiment(combined=True)),
    ):
        causes = diagnose(session, pair, experiment_evidence([weak])).causes
        assert causes[0].cause == suspect.cause
        assert not any(each.shown for each in causes)
    # One change of a cause that did nothing refutes it only where no other one did
    # something.
    nothing = replace(made, experiment=experiment(id="y", title="vllm: y=1"), **REFUSAL)
    unclear = replace(made, status="below the floor")
    for other in (made, unclear):
        causes = diagnose(session, pair, experiment_evidence([nothing, other])).causes
        assert not any(each.shown == "refuted" for each in causes)


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
@pytest.mark.parametrize("meaning", ["raw", "temperature_scaled", "processed"])
def test_prefill_is_no_proof_of_the_path_where_it_also_makes_the_values_raw(
    tmp_path: Path, engine: str, meaning: str
) -> None:
    facts = {"decode_logprobs": meaning, "temperature": 0.6}
    made = [
        capture("trainer/prefill", rows(1, 0.03)),
        capture(f"{engine}/decode", rows(2, 0.03), facts=facts, engine=engine),
    ]
    session = session_of(tmp_path / "s", made)
    pair = make_pair(session, "trainer/prefill", f"{engine}/decode")
    found = [
        each
        for each in named(session, pair).values()
        if each.title == f"{engine}: path=prefill"
    ]
    causes = [(each.cause, each.combined) for each in found]
    if meaning == "raw":
        assert causes == [("decode_path", False)]
    elif engine == "vllm":
        assert causes == [], "it has an option for that alone"
    else:
        assert len(causes) == 1
        assert causes[0][0] in ("temperature", "processed")
        assert causes[0][1]
