"""Sessions of which one file is damaged."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from endurance.mutations import Mutation, mutate
from endurance.runs import Tally
from endurance.session_questions import (
    NUMBERS,
    PROCESSES,
    QUESTIONS,
    SCREEN_SECONDS,
    SCREENS,
    WHY,
    Ask,
    filled,
    numbers_asked,
    out_of,
)
from endurance.shown import Unsaid, check_kept, compared, shown_by
from endurance.watched import (
    Answer,
    Place,
    answer_of_process,
    answers,
    import_what_is_used,
)
from endurance.whole_sessions import whole_sessions
from logdrift.core.session.layout import STREAMS

_SHARES = {"made": 0.7, "recorded": 0.2, "sample": 0.05, "facts": 0.05}
"""How often each session is chosen: the samples are ten times as much to compute."""
_ASKED = 1
"""Questions of each damaged session beside its numbers."""
_DIGEST_BYTES = 90
"""Of the end of a file, with its own digest and little else."""
_SCREEN = 0.03
_PROCESS = 0.005
"""How often a screen is opened, or a process is started, too."""


class SessionDamage:
    """Damaged copies of whole sessions, in ``folder``."""

    def __init__(self, folder: Path, names: Sequence[str] = tuple(_SHARES)) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.damaged = folder / "sessions" / "damaged"
        for made in (self.home, folder / "secret"):
            made.mkdir(parents=True)
        (folder / "secret" / "file").write_text("secret")
        self.place = Place(
            writable=(self.home, out_of(self.damaged)),
            secret=folder / "secret",
            variables={"XDG_STATE_HOME": str(self.home)},
        )
        whole = whole_sessions(folder / "whole")
        self.sources = {name: whole[name] for name in names}
        self._import_what_is_used()
        self.before = {name: self._before(name) for name in self.sources}

    def _import_what_is_used(self) -> None:
        self._copy(next(iter(self.sources)))
        asked = {**QUESTIONS, **SCREENS, NUMBERS: numbers_asked}
        questions = {name: partial(ask, self.damaged) for name, ask in asked.items()}
        import_what_is_used(questions, self.place)
        self._remove()

    def _before(self, name: str) -> Mapping[str, Answer]:
        """What a session says before any damage, of which nothing may be wrong."""
        self._copy(name)
        everything = {**QUESTIONS, **SCREENS, NUMBERS: numbers_asked}
        found: dict[str, Answer] = {}
        for key, ask in everything.items():
            found |= self._answers({key: ask}, SCREEN_SECONDS)
        self._remove()
        wrong = {asked: answer.wrong for asked, answer in found.items() if answer.wrong}
        assert not wrong, (name, wrong)
        assert shown_by(found[NUMBERS]).numbers, (name, found[NUMBERS].err)
        return found

    def run(self, number: int, chance: random.Random, tally: Tally) -> None:
        """Damage one, and ask about it."""
        names = list(self.sources)
        (name,) = chance.choices(names, [_SHARES[name] for name in names])
        self._copy(name)
        try:
            mutation = mutate(self.damaged, chance)
            found = self._answers(_questions(chance, mutation))
            found |= self._on_screen(chance)
            found |= self._of_processes(chance)
        finally:
            self._remove()
        self._judge(number, name, mutation, found, tally)

    def _judge(
        self,
        number: int,
        name: str,
        mutation: Mutation,
        found: Mapping[str, Answer],
        tally: Tally,
    ) -> None:
        subject = kind_of_file(mutation.file)
        what = f"{name}, {mutation}"
        for asked, answer in found.items():
            if answer.wrong:
                tally.lose(number, subject, f"{what}: {asked}: {answer.wrong}")
        try:
            self._check_kept(name, mutation, found)
            tally.count(subject, self._outcome(name, mutation, found.get(NUMBERS)))
        except Unsaid as error:
            tally.lose(number, subject, f"{what}: {error}, unsaid")

    def _check_kept(
        self, name: str, mutation: Mutation, found: Mapping[str, Answer]
    ) -> None:
        """Raises `Unsaid`."""
        whole = self.sources[name] / mutation.file
        if not (mutation.torn and _has_own_digest(whole)):
            return
        for asked in (NUMBERS, WHY):
            if asked in found:
                check_kept(found[asked], self.before[name][asked], mutation.file)

    def _outcome(self, name: str, mutation: Mutation, report: Answer | None) -> str:
        """What became of the numbers. Raises `Unsaid`."""
        if report is None or report.code is None:
            return "lost"
        if report.refused:
            return "refused"
        before = shown_by(self.before[name][NUMBERS])
        return compared(shown_by(report), before, mutation.made_so, mutation.rewritten)

    def _answers(
        self, questions: Mapping[str, Ask], seconds: float | None = None
    ) -> dict[str, Answer]:
        asked = {name: partial(ask, self.damaged) for name, ask in questions.items()}
        place = replace(self.place, seconds=seconds)
        return answers(asked, place, _largest(self.damaged))

    def _on_screen(self, chance: random.Random) -> dict[str, Answer]:
        """Seldom, for a screen takes as long as ten questions."""
        if chance.random() >= _SCREEN:
            return {}
        name = chance.choice(list(SCREENS))
        return self._answers({name: SCREENS[name]}, SCREEN_SECONDS)

    def _of_processes(self, chance: random.Random) -> dict[str, Answer]:
        """Seldom, for a process takes as long as ten questions."""
        if chance.random() >= _PROCESS:
            return {}
        name = chance.choice(list(PROCESSES))
        arguments = filled(PROCESSES[name], self.damaged)
        return {name: answer_of_process(arguments)}

    def _copy(self, name: str) -> None:
        shutil.copytree(self.sources[name], self.damaged, symlinks=True)
        out_of(self.damaged).mkdir()

    def _remove(self) -> None:
        shutil.rmtree(self.damaged.parent)
        shutil.rmtree(out_of(self.damaged))


def _is_list_of_others(mutation: Mutation) -> bool:
    """Whether a program has written another list of a recorder's parts: which are there
    and in which order, the list alone says.
    """
    return mutation.rewritten and mutation.file.startswith(f"{STREAMS}/")


def _has_own_digest(file: Path) -> bool:
    """Whether it ends with the digest of itself (docs/session-format.md)."""
    end = file.read_bytes()[-_DIGEST_BYTES:]
    return b'"digest": "sha256:' in end or b'"00": "sha256:' in end


def _questions(chance: random.Random, mutation: Mutation) -> dict[str, Ask]:
    names = chance.sample(list(QUESTIONS), _ASKED)
    if mutation.file.startswith("why/"):
        names.append(WHY)
    questions = {name: QUESTIONS[name] for name in names}
    return {NUMBERS: numbers_asked, **questions}


def _largest(folder: Path) -> int:
    sizes = [file.stat().st_size for file in folder.rglob("*") if file.is_file()]
    return max(sizes, default=0)


def kind_of_file(file: str) -> str:
    """The row of the table: a file's folder and ending, whatever its number and
    label.
    """
    parts = file.split("/")
    if parts[0] in ("why", "captures", "sequences", "facts", "streams", "logs"):
        room = "/".join(parts[: 2 if parts[0] == "why" else 1])
        return f"{room}/*{Path(file).suffix}"
    return re.sub(r"\d+", "N", file)
