"""Are the ids what the tokenizer makes of their own text? A side that was sent text,
and not ids, scored others where they are not.
"""

from __future__ import annotations

from collections.abc import Iterator

from logdrift.core.compare.gate.case import GateCase, Reason, caution, note
from logdrift.core.session.retokenised import different, in_words


def check_retokenised(case: GateCase) -> Iterator[Reason]:
    """Sequences whose ids their own text does not give. What a model samples often is
    not, so that is said only where nothing tells which ids a side was sent.
    """
    known = case.session.manifest.sequences.retokenised
    if known is None or not different(known):
        return
    sentence = f"{in_words(known)}."
    is_unexpected = bool(known.special or known.prompt)
    if _ids_are_known(case):
        if is_unexpected:
            yield note("retokenised", sentence)
        return
    advice = f"{sentence} A side that was sent text scored other ids: send ids to both."
    if is_unexpected:
        yield caution("retokenised", advice)
    else:
        yield note("retokenised", advice)


def _ids_are_known(case: GateCase) -> bool:
    """Both sides are known to have been sent ids: every part has a digest of them."""
    parts = (*case.a.info.parts, *case.b.info.parts)
    return all(part.ids_digest is not None for part in parts)
