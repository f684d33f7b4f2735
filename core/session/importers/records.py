"""What every importer makes of a line of its format: one sequence and what its captures
say of it.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from logdrift.core.errors import InputError, Place
from logdrift.core.facts import Facts
from logdrift.core.session.contents import NO_STEP
from logdrift.core.session.files import JsonObject
from logdrift.core.session.importers.bad_lines import BadLines
from logdrift.core.session.importers.notes import Notes
from logdrift.core.session.scores import FlagArray, IdArray, Scores

Pieces = Mapping[int, bytes]
"""The bytes of token ids."""
ScoresByCapture = Mapping[str, Scores]
"""The scores of one sequence by the name of the capture."""


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """One sequence: token_ids i32[n], mask u8[n] (0 takes a token out of every metric),
    and its captures by name.

    roles u8[n] say from whose message a token is
    (`logdrift.core.session.message_roles`); None where the file does not tell.
    ``given`` ids in front were given to a server that scored them, with tokens of its
    own behind. Where ``bounded`` is False the file does not say where the prompt ends,
    and ``prompt_length`` is 0. ``exact``: its numbers stand as they are, so none is
    looked at as a filler. ``step`` and ``reward`` are what a trainer tells of it
    (`NO_STEP`, NaN: nothing). ``problem`` is why it must be refused, where nothing
    worse is found.
    """

    place: Place
    token_ids: IdArray
    prompt_length: int
    captures: ScoresByCapture
    mask: FlagArray | None = None
    roles: FlagArray | None = None
    finish: str = "unknown"
    pieces: Pieces = field(default_factory=dict)
    model: str | None = None
    given: int = 0
    bounded: bool = True
    exact: bool = False
    step: int = NO_STEP
    reward: float = math.nan
    problem: InputError | None = None


Records = Iterator[Record]
"""The sequences of a file in their order, read as they are asked for."""


@dataclass(frozen=True, slots=True)
class CaptureSource:
    """What a file says of the backend behind one of its captures; None: it does not
    say.

    ``engine`` is what the format itself tells. ``told`` are facts that the file's
    author stated (`logdrift.core.told.TELLABLE`), ``observed`` those that an engine
    wrote into its own answers, by their names in `logdrift.core.facts.Facts`. ``facts``
    are all that a session had of which the file is a copy.
    """

    engine: str | None = None
    role: str | None = None
    told: JsonObject = field(default_factory=dict)
    observed: JsonObject = field(default_factory=dict)
    facts: Facts | None = None


Sources = dict[str, CaptureSource]
"""By the name of the capture."""


@dataclass(frozen=True, slots=True)
class ImportContext:
    """What files tell beside their records: ``sources`` by capture name, ``notes`` of
    what was changed or left out, and ``bad`` lines.
    """

    sources: Sources = field(default_factory=dict)
    notes: Notes = field(default_factory=Notes)
    bad: BadLines = field(default_factory=BadLines)

    def one_line(self) -> contextlib.AbstractContextManager[None]:
        """Inside, what one line tells is read. Nothing of a line that is left out is
        kept.
        """
        if not self.bad.skip:
            return contextlib.nullcontext()
        return self._line_that_may_be_bad()

    @contextlib.contextmanager
    def _line_that_may_be_bad(self) -> Iterator[None]:
        sources = dict(self.sources)
        notes = self.notes.copy()
        before = self.bad.number
        with self.bad.left_out():
            yield
        if self.bad.number > before:
            self.sources.clear()
            self.sources.update(sources)
            self.notes.restore(notes)

    def sentences(self) -> tuple[str, ...]:
        """What was changed or left out, a sentence each."""
        return (*self.notes.sentences(), *self.bad.sentences())
