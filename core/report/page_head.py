"""What a page is made of, and its top: links to the parts, captures that failed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from logdrift.core.compare.pair import Pair, make_pair
from logdrift.core.numbers import counted, figure
from logdrift.core.report.document import Blocks, FailureBlock, HeadBlock
from logdrift.core.report.marks import NotedToken
from logdrift.core.report.one_side import nothing_to_compare
from logdrift.core.report.records import PairReport, SessionReport
from logdrift.core.report.session_facts import failure_log
from logdrift.core.report.why import ExplainedPair
from logdrift.core.session.reader import Session
from logdrift.core.session.retokenised import in_words

_LINKS = (
    ("pairs", "All pairs"),
    ("charts", "Charts"),
    ("thresholds", "Limits"),
    ("metrics", "Numbers"),
    ("worst", "Worst tokens"),
    ("text", "Text"),
    ("captures", "Captures"),
)


_RUNNING = "Partial: this session is being written right now."


@dataclass(frozen=True, eq=False)
class PageSource:
    """What a page is made of. ``made`` are pairs by their labels whose arrays are there
    already; others are made from the session. ``why`` are the causes of the main pair,
    None where they were not looked for; ``marks`` are those of the reader.
    """

    report: SessionReport
    session: Session
    made: Mapping[tuple[str, str], Pair]
    why: ExplainedPair | None = None
    marks: tuple[NotedToken, ...] = ()

    def pair(self, pair: PairReport) -> Pair:
        """The arrays of a pair."""
        a, b = pair.labels
        made = self.made.get(pair.labels)
        return made or make_pair(self.session, a, b)


def page_head(source: PageSource, shown: PairReport | None) -> HeadBlock:
    """The top of the page, with links to its parts."""
    report = source.report
    facts = tuple(_head_facts(report))
    head = HeadBlock(
        brand=f"logdrift report · session {report.session or 'unknown'}",
        title=report.title or report.session or "report",
        facts=tuple(filter(None, facts)),
        warning="",
        kind="unknown",
        links=tuple(_links(source)),
    )
    if shown is None:
        nothing = nothing_to_compare(report.captures)
        return replace(head, warning=nothing, links=())
    if report.state == "running":
        return replace(head, warning=_RUNNING, kind="caution")
    return head


def _links(source: PageSource) -> Iterator[tuple[str, str]]:
    """The anchor and the name of each part that the page has."""
    if source.why is not None:
        yield "causes", "Causes"
        if source.why.outcomes:
            yield "experiments", "Experiments"
    if source.marks:
        yield "marks", "Marks"
    yield from _LINKS


def _head_facts(report: SessionReport) -> Iterator[str]:
    model = report.model
    name = f"model {model.id or 'unknown'}"
    if model.revision:
        name += f" @ {model.revision}"
    sequences = counted(report.sequences, "sequence")
    tokens = counted(report.tokens, "token")
    completions = figure(report.completion_tokens, "tokens")
    yield name
    yield f"{sequences}, {tokens}, {completions} of completions"
    if report.retokenised is not None:
        yield in_words(report.retokenised)
    yield report.created
    yield f"state {report.state or 'unknown'}"


def failure_blocks(report: SessionReport) -> Blocks:
    """The captures that failed."""
    for info in report.captures:
        if info.status == "failed":
            log = tuple(failure_log(info))
            yield FailureBlock(info.label, log)
