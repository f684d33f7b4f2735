"""Run beside the copy of logdrift that has the toy engine: ``python question.py SESSION
OUT`` starts its backend once more and puts the question ``size`` to it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from logdrift.core.investigate.ask import ask
from logdrift.core.session.reader import open_session

session = open_session(Path(sys.argv[1]))
assert session.plan is not None
spec = next(spec for spec in session.plan.backends if spec.name == "toy")
print(json.dumps(ask(session, spec, "size", {}, Path(sys.argv[2]))))
