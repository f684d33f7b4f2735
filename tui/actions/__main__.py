"""Write the key table of a Markdown file again: ``python -m logdrift.tui.actions
docs/keys.md``.
"""

import sys
from pathlib import Path

from logdrift.tui.actions.key_tables import write_keys

for name in sys.argv[1:]:
    write_keys(Path(name))
