"""What came of an experiment: how much of the gap went away, how sure that is, and what
it says of the cause.
"""

from __future__ import annotations

from logdrift.core.diagnose.outcomes.evidence import experiment_evidence
from logdrift.core.diagnose.outcomes.judge import judge
from logdrift.core.diagnose.outcomes.outcome import Outcome, outcomes_of

__all__ = ["Outcome", "experiment_evidence", "judge", "outcomes_of"]
