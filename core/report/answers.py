"""The answer of a pair (`logdrift.core.diagnose.answer`): for the pair that a report
shows in full.
"""

from __future__ import annotations

from logdrift.core.compare.pair import Pair
from logdrift.core.diagnose import diagnose
from logdrift.core.diagnose.answer import Answer
from logdrift.core.report.why import saved_evidence
from logdrift.core.session.identity import saved_identities
from logdrift.core.session.reader import Session


def answer_of_pair(session: Session, pair: Pair) -> Answer:
    """The answer of ``pair``, with all that is saved for it: a few times the work of
    the pair's numbers.
    """
    identities = saved_identities(session.folder)
    evidence = saved_evidence(session, pair, identities)
    return diagnose(session, pair, evidence).answer
