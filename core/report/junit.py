"""A check as JUnit XML: a test suite for the session and each pair, a test case for
each result. As Jenkins, GitLab and GitHub's reporters read it (the schema of Jenkins'
xUnit plugin, junit-10.xsd).
"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from logdrift.core.report.check import MeasuredSession, Result, broken_line
from logdrift.core.session.visible import visible


def junit_xml(session: MeasuredSession, results: Sequence[Result]) -> str:
    """The document, in UTF-8 with its declaration."""
    root = ElementTree.Element("testsuites", name="logdrift check")
    places: list[str | None] = [None]
    places += [pair.name for pair in session.pairs]
    for place in places:
        of_place = [result for result in results if result.pair == place]
        name = place or f"session {session.name}"
        if of_place:
            _suite(root, name, of_place, session.name)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


def _suite(
    root: ElementTree.Element, name: str, results: Sequence[Result], session: str
) -> None:
    failures = [result for result in results if not result.ok]
    suite = ElementTree.SubElement(
        root,
        "testsuite",
        name=visible(name),
        tests=str(len(results)),
        failures=str(len(failures)),
        errors="0",
        skipped="0",
        time="0",
    )
    for result in results:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            name=visible(_name(result)),
            classname=visible(f"logdrift.{session}"),
            time="0",
        )
        if result.note:
            out = ElementTree.SubElement(case, "system-out")
            out.text = visible(result.note)
        if not result.ok:
            _failure(case, result)


def _name(result: Result) -> str:
    if result.framework is None:
        return result.metric
    return f"{result.metric} ({result.framework}: {result.name})"


def _failure(case: ElementTree.Element, result: Result) -> None:
    failure = ElementTree.Element(
        "failure", message=visible(result.reason or ""), type=result.metric
    )
    failure.text = visible(broken_line(result))
    # The schema has failures before what a test printed.
    case.insert(0, failure)
