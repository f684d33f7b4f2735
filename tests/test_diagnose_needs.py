"""What was not measured scores nothing and is named; what facts exclude is not
suspected; what is explained is no second cause.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logdrift.core.compare.pair import make_pair
from logdrift.core.diagnose import Diagnosis, diagnose
from logdrift.core.diagnose.case import Case
from logdrift.core.diagnose.evidence import LIKELY
from logdrift.core.diagnose.signatures import SIGNATURES, judged
from logdrift.core.planted.forms import in_form
from logdrift.core.report.layout import Canvas
from logdrift.core.report.paint.text import paint_text
from logdrift.core.report.why import explain_session
from logdrift.core.report.why_document import why_document
from logdrift.core.session.importers import import_session
from logdrift.core.session.reader import Session, open_session
from tests.common import Fields
from tests.planted.made import Text, draw, made, noise, same, top_p

TEXT = draw()


def why(session: Session, a: str = "trainer", b: str = "rollout") -> Diagnosis:
    return diagnose(session, make_pair(session, a, b))


def case_of(session: Session) -> Case:
    return Case(session, make_pair(session, "trainer", "rollout"))


def causes(found: Diagnosis) -> dict[str, float]:
    return {cause.cause: cause.score for cause in found.causes}


# ---- needs


@pytest.mark.parametrize("top_k", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [0.01, 0.03])
def test_narrow_lists_speak_for_no_cause(
    tmp_path: Path, top_k: int, size: float
) -> None:
    """Lists of three share no five ids, in a healthy pair too."""
    sides = {"trainer": noise(size, 1), "rollout": noise(size, 2), "reference": same}
    facts = {"reference": {"dtype": "float32"}}
    found = why(made(tmp_path / "s", TEXT, sides, top_k=top_k, facts=facts))
    assert found.noise, found.verdict
    assert "weights" not in causes(found)
    lacking = [each for each in found.unchecked if "too few alternatives" in each.why]
    assert lacking
    assert all("top_k of at least 5" in each.fix for each in lacking)


def test_a_signature_without_what_it_needs_is_neither_passed_nor_failed(
    tmp_path: Path,
) -> None:
    """Each row of the table either judges a case or says what it lacks."""
    dump = in_form(
        made(
            tmp_path / "s", TEXT, {"trainer": noise(0.03, 1), "rollout": noise(0.03, 2)}
        ),
        "chosen",
        tmp_path / "d",
    )
    case = case_of(dump)
    evidence, lacking = judged(case)
    said = {each.why.partition(":")[0] for each in lacking}
    for signature in SIGNATURES:
        if signature.applies(case) and signature.name not in said:
            assert signature.lacking(case) is None
    assert {
        "own list",
        "slope and bend",
        "truncated support",
        "no likeness",
        "lattice",
    } <= said
    assert not {each.signature for each in evidence} & {
        "slope",
        "bend",
        "own list",
        "no likeness",
    }
    assert all(each.fix for each in lacking)


def test_growth_is_not_judged_where_no_sequence_is_scored_at_its_start(
    tmp_path: Path,
) -> None:
    """Noise grows with the position by itself; only the first tokens, which no rotation
    touches, tell the two apart.
    """

    def growing(seed: int) -> Any:
        rng = np.random.default_rng(seed)
        return lambda rows, ids: (
            rows
            + rng.normal(0, 0.004, rows.shape)
            * np.log2(np.arange(len(rows)) + 2)[:, None]
        )

    session = made(
        tmp_path / "s", TEXT, {"trainer": growing(1), "rollout": growing(2)}, prompt=12
    )
    dump = in_form(session, "chosen", tmp_path / "d")
    # Completions alone, as a rollout's dump has them.
    lines = (tmp_path / "d" / "dump.jsonl").read_text().splitlines()
    cut = [json.loads(line) for line in lines]
    for line in cut:
        for body in line["captures"].values():
            body["logprobs"] = body["logprobs"][line["prompt_length"] :]
    (tmp_path / "cut.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in cut)
    )
    import_session("jsonl", [str(tmp_path / "cut.jsonl")], tmp_path / "c")
    found = why(open_session(tmp_path / "c"))
    assert "config" not in causes(found)
    assert any(
        "growth" in each.why and "start of a sequence" in each.why
        for each in found.unchecked
    )
    assert dump.captures  # with the prompts, growth is judged
    assert not any("growth" in each.why for each in why(dump).unchecked)


def test_other_weights_are_never_likely_while_the_meaning_is_unchecked(
    tmp_path: Path,
) -> None:
    """Chosen tokens, no facts: any of three things may be large and shapeless."""
    session = made(tmp_path / "s", TEXT, {"trainer": same, "rollout": noise(0.5, 3)})
    found = why(in_form(session, "chosen", tmp_path / "d"))
    assert causes(found)["weights"] < LIKELY
    assert found.verdict.startswith("cannot be told from this")
    assert "Do next" in found.verdict
    told = why(made(tmp_path / "t", TEXT, {"trainer": same, "rollout": noise(0.5, 3)}))
    assert (
        causes(told)["weights"] >= LIKELY
    )  # with lists, temperature and truncation were looked for


# ---- facts that exclude


def told(session: Session, name: str, **facts: Any) -> Session:
    """The session with facts of one capture as its author tells them."""
    captures = tuple(
        (
            info._replace(facts=info.facts._replace(**facts))
            if info.backend == name and info.facts is not None
            else info
        )
        for info in session.captures
    )
    return Session(session.folder, session.manifest._replace(captures=captures))


@pytest.mark.parametrize(
    "facts", [{"prefill_logprobs": "raw"}, {"top_p": 1.0, "top_k": 0, "min_p": 0.0}]
)
def test_a_fact_excludes_truncation(tmp_path: Path, facts: Fields) -> None:
    session = made(tmp_path / "s", TEXT, {"trainer": noise(0.01, 1), "rollout": top_p})
    assert why(session).causes[0].cause == "processed"
    assert not any(
        each.signature == "truncated support"
        for cause in why(told(session, "rollout", **facts)).causes
        for each in cause.evidence
    )
    # The other side's facts say nothing of this one.
    assert why(told(session, "trainer", **facts)).causes[0].cause == "processed"


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.25, 2.0])
@pytest.mark.parametrize("swapped", [False, True])
def test_a_temperature_is_one_cause_and_leaves_no_second(
    tmp_path: Path, factor: float, swapped: bool
) -> None:
    """A sharp side leaves nothing outside of its list, but fades out: nothing was
    truncated.
    """
    sides: Fields = {
        "trainer": noise(0.01, 1),
        "rollout": lambda rows, ids: rows / factor,
    }
    a, b = ("rollout", "trainer") if swapped else ("trainer", "rollout")
    found = why(made(tmp_path / "s", TEXT, sides), a, b)
    assert found.causes[0].cause == "temperature"
    assert [code for code, score in causes(found).items() if score >= LIKELY] == [
        "temperature"
    ]
    assert "processed" not in causes(found)


def test_equal_temperatures_exclude_a_temperature(tmp_path: Path) -> None:
    scaled = {"trainer": noise(0.01, 1), "rollout": lambda rows, ids: rows * 0.85}
    session = made(tmp_path / "s", TEXT, scaled)
    assert why(session).causes[0].cause == "temperature"
    known = {"prefill_logprobs": "temperature_scaled", "temperature": 0.7}
    both = told(told(session, "trainer", **known), "rollout", **known)
    assert list(causes(why(both)))[:1] == ["config"]
    assert "temperature" not in causes(why(both))


# ---- the reference


@pytest.mark.parametrize(
    ("dtype", "arbiter"), [(None, True), ("float32", True), ("bfloat16", False)]
)
def test_a_reference_counts_unless_it_is_known_to_be_coarse(
    tmp_path: Path, dtype: str | None, arbiter: bool
) -> None:
    same_dtype = {
        "dtype": "bfloat16",
        "head_dtype": "bfloat16",
        "logits_dtype": "bfloat16",
    }
    facts = {
        "trainer": same_dtype,
        "rollout": same_dtype,
        "reference": {"dtype": dtype} if dtype else {},
    }
    sides = {"reference": same, "trainer": noise(0.03, 1), "rollout": noise(0.03, 2)}
    session = made(tmp_path / "s", TEXT, sides, facts=facts)
    case = case_of(session)
    assert (case.reference is not None) == arbiter
    sentence = why(session).verdict
    assert ("against the" in sentence) == arbiter
    assert ("float32 is assumed" in sentence) == (arbiter and dtype is None)


# ---- the page


@pytest.mark.parametrize("form", ["lists", "chosen"])
@pytest.mark.parametrize(
    "fault", [same, noise(0.03, 2), noise(0.6, 2), lambda rows, ids: rows / 0.7]
)
def test_why_of_an_import_fits_a_screen(tmp_path: Path, form: Any, fault: Any) -> None:
    text = Text(TEXT.ids, TEXT.logits)
    session = in_form(
        made(tmp_path / "s", text, {"trainer": noise(0.02, 1), "rollout": fault}),
        form,
        tmp_path / "d",
    )
    shown = paint_text(
        why_document(
            explain_session(session, [("trainer/recorded", "rollout/recorded")]).pairs
        ),
        Canvas(),
    )
    assert len(shown.splitlines()) <= 36, (
        shown
    )  # 120x36 is the smaller of the usual screens; 80 columns wrap most
    assert shown.count("To be surer") == 1
