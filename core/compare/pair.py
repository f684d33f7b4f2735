"""Pairs of captures: what most code and every user of the Python API works with.

The names of this module are those of `aligned`, `pairs` and `scopes` as well, so that
one import suffices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from logdrift.core.compare.aligned import AlignedPair
from logdrift.core.compare.pairs import (
    default_pair,
    label_of,
    list_pairs,
    parse_pair,
)
from logdrift.core.compare.scopes import (
    SCOPES,
    Scope,
    completion_mask,
    default_scope,
)
from logdrift.core.errors import InputError
from logdrift.core.session.reader import Session

if TYPE_CHECKING:
    import numpy.typing as npt

    from logdrift.core.compare.metrics import Metrics

__all__ = [
    "SCOPES",
    "Pair",
    "Scope",
    "completion_mask",
    "default_pair",
    "default_scope",
    "list_pairs",
    "make_pair",
    "parse_pair",
]


class Pair(AlignedPair):
    """Captures ``a`` and ``b`` side by side, with all their numbers.

    The arrays are those of `AlignedPair`.
    """

    def metrics(self, scope: Scope | None = None) -> Metrics:
        """All numbers over ``scope`` (None: `default_scope`), as the report has them.

        InputError for an unknown scope.
        """
        # Imported here: the first screen is drawn without it.
        from logdrift.core.compare.measure import measure

        if scope is None:
            scope = default_scope(self.sequences)
        return measure(self, scope)

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """The arrays behind every number by name, one entry per token, N each.

        ``turn`` counts the assistant's messages of a sequence from 1, 0 for the tokens
        of others; ``role`` has the numbers of `logdrift.core.session.message_roles`.
        Roles that a session does not know and the entropy of a capture that has none
        are left out.
        """
        # Imported here: the first screen is drawn without it.
        from logdrift.core.compare.turns import roles_of_tokens

        lengths = np.diff(self.offsets)
        columns: dict[str, npt.NDArray[Any]] = {
            "sequence": np.repeat(np.arange(self.count), lengths),
            "position": self.positions("all"),
            "token_id": self.sequences.token_ids[: self.tokens],
            "in_completion": self.in_completion,
            "scored": self.scored,
            "nan_a": self.nan_a,
            "nan_b": self.nan_b,
            "logprob_a": self.logprob_a,
            "logprob_b": self.logprob_b,
            "delta": self.delta,
            "rank_a": self.a.rank.whole()[: self.tokens],
            "rank_b": self.b.rank.whole()[: self.tokens],
        }
        columns["turn"] = self.messages.turn_of_token[: self.tokens]
        if self.sequences.roles is not None:
            columns["role"] = roles_of_tokens(self.sequences, self.count)[: self.tokens]
        if self.a.entropy is not None:
            columns["entropy_a"] = self.a.entropy.whole()[: self.tokens]
        if self.b.entropy is not None:
            columns["entropy_b"] = self.b.entropy.whole()[: self.tokens]
        return columns

    def to_pandas(self) -> Any:
        """`columns` and the tokens' text as a pandas DataFrame, one row per token.

        InputError where pandas is missing.
        """
        try:
            import pandas
        except ImportError:
            raise InputError(
                "pandas is not installed: pip install pandas, or use columns()"
            ) from None
        columns = self.columns()
        text = self.session.pieces.text
        ids, of_token = np.unique(columns["token_id"], return_inverse=True)
        texts = [text(token_id) for token_id in ids.tolist()]
        pieces = np.array(texts, object)
        columns["piece"] = pieces[of_token]
        return pandas.DataFrame(columns)


def make_pair(session: Session, a: str, b: str) -> Pair:
    """The pair A -> B of two labels, backends or roles (`parse_pair`).

    It may have no common sequence yet. InputError names the known labels.
    """
    label_a = label_of(session, a)
    label_b = label_of(session, b)
    return Pair.of_labels(session, label_a, label_b)
