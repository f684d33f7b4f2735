"""Two backends' configs, tokenizers and chat templates against each other: the keys
that differ, with both values.
"""

from __future__ import annotations

from logdrift.core.compare.loaded.config import config_differences
from logdrift.core.compare.loaded.difference import Difference
from logdrift.core.compare.loaded.template import template_differences
from logdrift.core.compare.loaded.tokenizer import tokenizer_differences
from logdrift.core.session.loaded import Loaded


def all_differences(
    a: Loaded, b: Loaded, *, whole: bool
) -> dict[str, tuple[Difference, ...]]:
    """Differences of ``config``, ``tokenizer`` and ``chat_template``."""
    return {
        "config": config_differences(a, b, whole=whole),
        "tokenizer": tokenizer_differences(a, b),
        "chat_template": template_differences(a, b),
    }
