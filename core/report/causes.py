"""The table of causes: as blocks in the order of checking, and for programs."""

from __future__ import annotations

from collections.abc import Iterable

from logdrift.core.diagnose.causes import CAUSES, Cause
from logdrift.core.engines.knobs import Knob
from logdrift.core.report.document import Block, Blocks, LineBlock, SentenceBlock
from logdrift.core.report.experiments import COMBINED
from logdrift.core.report.strict_json import Json


def cause_title(cause: Cause) -> str:
    """Its number and its name, as the table has them."""
    return f"{cause.number:2d} {cause.title}"


def causes_document() -> list[Block]:
    """What `logdrift why --causes` prints."""
    blocks: list[Block] = []
    for cause in CAUSES:
        blocks += cause_blocks(cause)
    return blocks


def cause_blocks(cause: Cause) -> Blocks:
    """One cause: its title, then what it is, its signature, size, link and knobs."""
    title = cause_title(cause)
    if not cause.separable:
        title += " (numbers alone do not tell it)"
    yield LineBlock(title)
    yield _named("what", cause.sentence)
    yield _named("seen", cause.signature)
    yield _named("size", _size(cause))
    # Whole, to be copied or clicked.
    yield LineBlock(f"   {cause.link}", "")
    for engine, knobs in cause.knobs.items():
        settings = "; ".join(map(_knob, knobs))
        yield _named(engine, settings)


def _named(name: str, text: str) -> SentenceBlock:
    return SentenceBlock(text, indent=17, mark=f"   {name}")


def _size(cause: Cause) -> str:
    if cause.source == cause.link:
        return cause.size
    return f"{cause.size} [{cause.source}]"


def _knob(knob: Knob) -> str:
    words = knob.setting
    if knob.effect:
        words += f" ({knob.effect})"
    if knob.combined:
        words += COMBINED
    return words


def causes_json() -> list[Json]:
    """The table of causes for programs."""
    return [_cause_json(cause) for cause in CAUSES]


def _cause_json(cause: Cause) -> Json:
    knobs = {engine: _knobs_json(knobs) for engine, knobs in cause.knobs.items()}
    return {
        "number": cause.number,
        "code": cause.code,
        "group": cause.group,
        "title": cause.title,
        "sentence": cause.sentence,
        "signature": cause.signature,
        "size": cause.size,
        "source": cause.source,
        "link": cause.link,
        "separable": cause.separable,
        "otherwise": cause.otherwise,
        "combined": cause.combined,
        "knobs": knobs,
    }


def _knobs_json(knobs: Iterable[Knob]) -> list[Json]:
    return [
        {
            "setting": knob.setting,
            "effect": knob.effect or None,
            "combined": knob.combined,
        }
        for knob in knobs
    ]
