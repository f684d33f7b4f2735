"""Imports of which one file is damaged: a session of what could be read, or one line
and nothing on the disk.
"""

from __future__ import annotations

import contextlib
import random
import re
import shutil
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from endurance.import_files import FILES
from endurance.mutations import mutate
from endurance.runs import Tally
from endurance.session_questions import command
from endurance.shown import Unsaid, shown_by
from endurance.watched import Answer, Place, Question, answers, import_what_is_used

IMPORTED = "imported"


class ImportDamage:
    """Damaged copies of files in ``folder``, and what is imported of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "secret").mkdir(parents=True)
        (folder / "secret" / "file").write_text("secret")
        self.place = Place(writable=(self._out,), secret=folder / "secret")
        self.files: dict[str, Path] = {}
        self.before: dict[str, Mapping[str, Answer]] = {}
        for name, make in FILES.items():
            own = folder / "whole" / name
            own.mkdir(parents=True)
            self.files[name] = make(own).relative_to(own)
        self._see_whole()

    def _see_whole(self) -> None:
        """Nothing may be wrong with any format before the damage."""
        for name in self.files:
            with self._copied(name) as copy:
                questions = self._questions(copy / self.files[name], ())
                import_what_is_used(questions, self.place)
                shutil.rmtree(self._out)
                self._out.mkdir()
                found = self._answers(questions)
            wrong = [said.wrong or said.err for said in found.values() if said.code]
            assert not wrong, (name, wrong)
            self.before[name] = found

    def run(self, number: int, chance: random.Random, tally: Tally) -> None:
        """Damage one, and import it."""
        name = chance.choice(list(self.files))
        flags = chance.choice(((), (), ("--skip-bad",)))
        subject = f"import {name}"
        with self._copied(name) as copy:
            mutation = mutate(copy, chance)
            found = self._answers(self._questions(copy / self.files[name], flags))
            imported = found.get("import")
            if imported is not None and imported.refused and self._left():
                found["left"] = Answer(None, "", "", f"left behind: {self._left()}")
        for asked, answer in found.items():
            if answer.wrong:
                tally.lose(number, subject, f"{mutation}: {asked}: {answer.wrong}")
        try:
            outcome = _outcome(imported)
            if outcome == IMPORTED and mutation.torn:
                check_counts(found, self.before[name])
            tally.count(subject, outcome)
        except Unsaid as error:
            tally.lose(number, subject, f"{mutation}: {error}, unsaid")

    @property
    def _out(self) -> Path:
        return self.folder / "out"

    def _left(self) -> list[str]:
        return sorted(path.name for path in self._out.iterdir())

    def _questions(self, file: Path, flags: tuple[str, ...]) -> dict[str, Question]:
        made = self._out / "made"
        importing = command("import", str(file), "--out", str(made), *flags)

        def report() -> int:
            if not made.exists():
                return 0
            return command("report", "SESSION", "--json")(made)

        return {"import": partial(importing, made), "report": report}

    def _answers(self, questions: Mapping[str, Question]) -> dict[str, Answer]:
        sizes = [
            file.stat().st_size
            for file in self.folder.joinpath("damaged").rglob("*")
            if file.is_file()
        ]
        return answers(questions, self.place, max(sizes, default=0))

    @contextlib.contextmanager
    def _copied(self, name: str) -> Iterator[Path]:
        copy = self.folder / "damaged" / "files"
        shutil.copytree(self.folder / "whole" / name, copy)
        self._out.mkdir()
        try:
            yield copy
        finally:
            shutil.rmtree(copy.parent)
            shutil.rmtree(self._out)


def check_counts(now: Mapping[str, Answer], before: Mapping[str, Answer]) -> None:
    """Raise `Unsaid` where the import of a torn file has fewer sequences or tokens than
    that of the whole one, and says nothing that it did not say before. Another number
    in a line cannot be known.
    """
    counts = shown_by(now["report"]).counts
    whole_counts = shown_by(before["report"]).counts
    if counts != whole_counts and _told(now) <= _told(before):
        raise Unsaid(f"{counts} instead of {whole_counts}")


def _told(found: Mapping[str, Answer]) -> set[str]:
    """Notes of an import, whatever the numbers in them."""
    lines = found["import"].err.splitlines()
    return {re.sub(r"\d+", "N", line) for line in lines}


def _outcome(imported: Answer | None) -> str:
    if imported is None or imported.code is None:
        return "lost"
    return "refused" if imported.refused else IMPORTED
