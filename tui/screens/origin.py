"""The explorer as the screens that open from it know it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from logdrift.core.compare.pair import Pair
from logdrift.core.session.reader import Session
from logdrift.tui.models.pairs import PairView

if TYPE_CHECKING:
    from logdrift.tui.models.why import WhyView


Labels = tuple[str, str]
"""The labels of a pair's two captures."""


class Origin(Protocol):
    """What `why` and `layers` ask of the explorer below them."""

    @property
    def session(self) -> Session: ...

    @property
    def view(self) -> PairView | None:
        """The pair that is shown."""

    @property
    def position(self) -> int:
        """Flat index of the token under the cursor."""

    def explained(self, session: Session, labels: Labels) -> WhyView | None:
        """The explanation of a pair that was worked out before, if it is still true."""

    def keep_explained(self, session: Session, explanation: WhyView) -> None:
        """Keep an explanation for as long as the session does not change."""

    def take_pair(self, pair: Pair) -> None:
        """Show another pair from now on."""

    def jump(self, position: int) -> None:
        """Put the cursor on a flat position; one key undoes it."""

    def to_tokens(self) -> None:
        """Move the focus to the text."""
