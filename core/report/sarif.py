"""A check as SARIF 2.1.0 (OASIS), for GitHub's code scanning and editors: a rule for
each metric, a result for each that is broken.

A result is about a session and not about a line of code. Its physical location is the
manifest of the session, below the folder in which the check runs where it lies there;
the logical one is the pair, and the token where there is one.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from logdrift.core.compare.metric import METRICS
from logdrift.core.report.check import MeasuredSession, Result, broken_line
from logdrift.core.report.strict_json import Json
from logdrift.core.session.layout import MANIFEST
from logdrift.core.session.visible import visible
from logdrift.core.version import __version__

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def sarif_log(
    session: MeasuredSession, results: Sequence[Result], folder: Path
) -> Json:
    """The log of one run, as an object of JSON. ``folder`` is the session's."""
    metrics = dict.fromkeys(result.metric for result in results)
    rules = list(metrics)
    uri = _uri(folder / MANIFEST)
    broken = [result for result in results if not result.ok]
    run = {
        "tool": {
            "driver": {
                "name": "logdrift",
                "version": __version__,
                "rules": [_rule(path) for path in rules],
            }
        },
        "results": [_result(one, rules, session.name, uri) for one in broken],
        "columnKind": "unicodeCodePoints",
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(path: str) -> Json:
    rule: Json = {"id": path}
    row = METRICS.get(path)
    if row is not None:
        meaning = row.meaning
        rule["shortDescription"] = {"text": meaning}
        rule["help"] = {"text": f"good: {row.good}"}
    return rule


def _result(result: Result, rules: Sequence[str], session: str, uri: str) -> Json:
    text = visible(broken_line(result))
    physical = {"artifactLocation": {"uri": uri}}
    return {
        "ruleId": result.metric,
        "ruleIndex": rules.index(result.metric),
        "level": "error",
        "message": {"text": text},
        "locations": [
            {
                "physicalLocation": physical,
                "logicalLocations": _logical(result, session),
            }
        ],
        "partialFingerprints": {"check/v1": _fingerprint(result)},
    }


def _logical(result: Result, session: str) -> list[Json]:
    """The session, the pair in it, and the token, each within the one before."""
    names = [session]
    kinds = ["module"]
    if result.pair is not None:
        names.append(result.pair)
        kinds.append("object")
    token = result.token
    if token is not None:
        names.append(f"sequence {token.sequence}, token {token.position}")
        kinds.append("member")
    name = visible(names[-1])
    full = visible(" / ".join(names))
    return [{"name": name, "fullyQualifiedName": full, "kind": kinds[-1]}]


def _fingerprint(result: Result) -> str:
    """The same for the same check in the next run, whatever its value."""
    parts = [result.pair, result.metric, result.framework, result.name]
    return visible("/".join(part for part in parts if part))


def _uri(path: Path) -> str:
    """Relative to this folder where it lies in it: code hosts know no other."""
    real = Path(os.path.realpath(path))
    here = Path(os.path.realpath("."))
    if real.is_relative_to(here):
        relative = real.relative_to(here)
        return quote(relative.as_posix())
    return real.as_uri()
