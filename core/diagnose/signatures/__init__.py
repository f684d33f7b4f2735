"""Signatures: one function each, from a case to evidence, without running anything
again.

Adding one is adding a row to `SIGNATURES`: what it tells, what it needs, how much
evidence it wants. They come in the order of the cause table: what makes the numbers
another quantity first, what only rounds last. Faults of recording come before all of
them (`recording`), since they decide which tokens are looked at here.
"""

from __future__ import annotations

from logdrift.core.diagnose.case import Case, Judge
from logdrift.core.diagnose.evidence import Evidence, Unchecked
from logdrift.core.diagnose.needs import (
    BATCHES,
    GAPS,
    LINE_ROWS,
    LONG,
    PROMPTS_AND_COMPLETIONS,
    START,
    listed_rows,
    shared_rows,
    tokens,
)
from logdrift.core.diagnose.needs import long_sequences as long_sequences_needed
from logdrift.core.diagnose.signatures import (
    chosen,
    older_weights,
    precision,
    processed,
    retokenised,
    size,
)
from logdrift.core.diagnose.signatures.alignment import alignment
from logdrift.core.diagnose.signatures.facts import facts
from logdrift.core.diagnose.signatures.own_list import own_list
from logdrift.core.diagnose.signatures.place.completion import completion
from logdrift.core.diagnose.signatures.place.growth import growth
from logdrift.core.diagnose.signatures.place.onset import onset
from logdrift.core.diagnose.signatures.place.padding import may_be_padded, padding
from logdrift.core.diagnose.signatures.place.start import start
from logdrift.core.diagnose.signatures.place.step import step
from logdrift.core.diagnose.signatures.scale import slope
from logdrift.core.diagnose.signatures.signature import (
    Signature,
    listed_tokens,
    long_sequences,
    shared_tokens,
)
from logdrift.core.diagnose.support import PROOF, ROWS, SEQUENCES

__all__ = ["SIGNATURES", "Case", "Signature", "judged"]


def judged(case: Case) -> tuple[list[Evidence], list[Unchecked]]:
    """Evidence of every signature that has what it needs, and what the others lack."""
    evidence: list[Evidence] = []
    unchecked: list[Unchecked] = []
    for signature in SIGNATURES:
        if not signature.applies(case):
            continue
        lack = signature.lacking(case)
        if lack is None:
            evidence += signature.evidence(case)
        else:
            unchecked.append(lack)
    return evidence, unchecked


SIGNATURES: tuple[Signature, ...] = (
    Signature(
        name="own list",
        causes=("ids",),
        judge=own_list,
        needs=(listed_rows(1, 2),),
        support=PROOF,
    ),
    Signature(
        name="retokenised",
        causes=("ids",),
        judge=retokenised.retokenised,
        needs=(tokens(64),),
        support=SEQUENCES,
        units=retokenised.places,
        applies=retokenised.has_places,
    ),
    Signature(
        name="correlation with neighbours",
        causes=("alignment",),
        judge=alignment,
        needs=(tokens(32),),
    ),
    Signature(
        name="truncated support",
        causes=("processed",),
        judge=processed.truncated,
        needs=(listed_rows(10, 2),),
        support=ROWS,
        units=listed_tokens,
    ),
    Signature(
        name="ids seen before",
        causes=("processed",),
        judge=processed.seen_before,
        needs=(shared_rows(LINE_ROWS),),
        support=ROWS,
        units=shared_tokens,
    ),
    Signature(
        name="common shift",
        causes=("processed",),
        judge=processed.common_shift,
        needs=(shared_rows(LINE_ROWS),),
        support=ROWS,
        units=shared_tokens,
    ),
    Signature(
        name="slope and bend",
        causes=("temperature", "config"),
        judge=slope,
        needs=(shared_rows(LINE_ROWS),),
        support=ROWS,
        units=shared_tokens,
    ),
    Signature(
        name="turn with log p",
        causes=("temperature", "config"),
        judge=chosen.bend,
        needs=(tokens(64),),
    ),
    Signature(
        name="common lift",
        causes=("processed",),
        judge=chosen.lift,
        needs=(tokens(64),),
    ),
    Signature(
        name="tokens that occurred before",
        causes=("processed",),
        judge=chosen.repeats,
        needs=(tokens(64),),
    ),
    Signature(
        name="padded rows",
        causes=("padding",),
        judge=padding,
        needs=(BATCHES,),
        support=SEQUENCES,
        units=long_sequences,
        applies=may_be_padded,
    ),
    Signature(
        name="start",
        causes=("ids",),
        judge=start,
        needs=(long_sequences_needed(1, LONG),),
        support=SEQUENCES,
        units=long_sequences,
        of_place=True,
    ),
    Signature(
        name="onset",
        causes=("ids", "prefix_cache"),
        judge=onset,
        needs=(tokens(2 * LONG),),
        of_place=True,
    ),
    Signature(
        name="step",
        causes=("config", "chunked_prefill"),
        judge=step,
        needs=(tokens(4 * LONG),),
        of_place=True,
    ),
    Signature(
        name="growth",
        causes=("config",),
        judge=growth,
        needs=(tokens(4 * LONG), START),
        of_place=True,
    ),
    Signature(
        name="completion",
        causes=("decode_path",),
        judge=completion,
        needs=(PROMPTS_AND_COMPLETIONS,),
        of_place=True,
    ),
    Signature(
        name="value grid",
        causes=("log_softmax_dtype",),
        judge=precision.grid,
        needs=(tokens(50),),
    ),
    Signature(
        name="few digits",
        causes=("cut",),
        judge=precision.rounded,
        needs=(tokens(32),),
    ),
    Signature(
        name="lattice",
        causes=("head_dtype", "compute_dtype"),
        judge=precision.lattice,
        needs=(GAPS,),
        support=ROWS,
        units=listed_tokens,
    ),
    Signature(
        name="age of weights",
        causes=("stale",),
        judge=older_weights.by_age,
        needs=(tokens(64),),
        support=SEQUENCES,
        units=older_weights.sequences_with_versions,
        applies=older_weights.has_versions,
    ),
    Signature(
        name="change of weights",
        causes=("stale",),
        judge=older_weights.at_changes,
        needs=(tokens(64),),
        support=SEQUENCES,
        units=older_weights.changes,
        applies=older_weights.has_versions,
    ),
    Signature(
        name="no likeness",
        causes=("weights",),
        judge=size.unlike,
        needs=(listed_rows(32, 3),),
        support=ROWS,
        units=listed_tokens,
    ),
    Signature(
        name="heavy tail",
        causes=("routing",),
        judge=size.routing,
        needs=(tokens(500),),
        applies=size.has_experts,
    ),
    Signature(
        name="size",
        causes=("noise", "weights", "kv_cache"),
        judge=size.size,
    ),
)
IDENTICAL = SIGNATURES[-1]
"""All that is asked of equal numbers, which have no shape."""

FACTS: Judge = facts
"""What the gate observed: no number, so no support is asked for."""
