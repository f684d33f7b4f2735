"""What a user has written, or logdrift keeps for a user, damaged: config with limits
and keys, plans, prompts, the saved view, what was typed, which sessions are trusted.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest import mock

from endurance.byte_mutations import BYTES, NO_FILES
from endurance.json_mutations import JSON
from endurance.mutations import Mutate
from endurance.runs import Tally
from endurance.session_questions import SCREEN_SECONDS, command, explorer, models
from endurance.toml_mutations import TOML
from endurance.watched import Answer, Place, Question, answers, import_what_is_used
from endurance.whole_sessions import made_session
from logdrift.core.capture import trust
from logdrift.core.session.reader import open_session
from logdrift.tui.models.state import Mark, ViewState, save_state
from logdrift.tui.models.typed_history import remember_typed

CONFIG = """\
sessions = "sessions"
cache = "cache"
theme = "light"
mouse = false

[keys]
explorer.next_divergence = ["n", "f9"]
"sessions.open" = "o"

[engines.vllm]
python = "~/venvs/vllm/bin/python"

[[thresholds]]
name = "ours"
metric = "errors.mae"
max = 0.02
scope = "completion"

[[thresholds]]
metric = "mismatch.k3"
min = -1.0
max = 1e-3
"""
PLAN = """\
model = "HuggingFaceTB/SmolLM2-135M"
revision = "main"
title = "a plan"
top_k = 20
part_sequences = 8
trust_remote_code = false

[prompts]
texts = ["one", "two"]

[sampling]
temperature = 0.6
top_p = 0.95
max_tokens = 16
seed = 7

[[backend]]
name = "vllm"
engine = "vllm"
dtype = "bfloat16"
role = "rollout"
paths = ["decode", "prefill"]
options = { max_model_len = 512, hf_overrides = { rope_theta = 1e6 } }

[[backend]]
name = "trainer"
engine = "transformers"
role = "trainer"
"""
PROMPTS = """\
{"prompt": "The capital of France is", "completion": " Paris"}
{"messages": [{"role": "user", "content": "a"}], "completion": "b"}
{"token_ids": [1, 2, 3], "prompt_length": 1}
"""
Rewrite = Callable[[Path], None]


class SettingsDamage:
    """Damaged files of a user, in ``folder``, and all that reads them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.session = made_session(folder / "sessions" / "made")
        (folder / "secret").mkdir()
        (folder / "out").mkdir()
        self.home = folder / "home"
        self.files = {
            "config": (self.home / "config.toml", TOML),
            "plan": (self.home / "plan.toml", TOML),
            "prompts": (self.home / "prompts.jsonl", JSON),
            "view": (self._state / "view", JSON),
            "typed": (self._state / "typed.json", JSON),
            "trusted": (self._state / "trusted" / "any", JSON),
        }
        self.place = Place(
            writable=(self.home, folder / "out"),
            secret=folder / "secret",
            variables={
                "XDG_STATE_HOME": str(self.home),
                "LOGDRIFT_CONFIG": str(self.home / "config.toml"),
            },
        )
        self._write()
        for name in self.files:
            questions = self._questions(name, screen=name == "config")
            import_what_is_used(questions, self.place)
            found = self._answers(questions)
            wrong = [said for said in found.values() if said.wrong or said.code == 2]
            assert not wrong, (name, wrong)

    @property
    def _state(self) -> Path:
        return self.home / "logdrift"

    def _write(self) -> None:
        """All files as they should be."""
        if self.home.is_file():
            self.home.unlink()
        elif self.home.exists():
            shutil.rmtree(self.home)
        self.home.mkdir()
        texts = {"config": CONFIG, "plan": PLAN, "prompts": PROMPTS}
        for name, text in texts.items():
            path, _ = self.files[name]
            path.write_text(text)
        session = open_session(self.session)
        state = ViewState(position=3, sort="mae", marks=(Mark(2, "odd"),))
        with mock.patch.dict(os.environ, self.place.variables):
            save_state(session.manifest.id, state)
            remember_typed("search", "loss")
            trust.remember(session.manifest)

    def _place_of(self, name: str) -> Path:
        """The file, whose name may hold a digest."""
        path, _ = self.files[name]
        if name == "view":
            return next(self._state.glob("made-*.json"))
        if name == "trusted":
            return next((self._state / "trusted").iterdir())
        return path

    def run(self, number: int, chance: random.Random, tally: Tally) -> None:
        """Damage one, and ask whoever reads it."""
        name = chance.choice(list(self.files))
        _, own = self.files[name]
        self._write()
        path = self._place_of(name)
        kinds: tuple[tuple[Mutate, ...], ...] = (own, BYTES, NO_FILES)
        mutate = chance.choice(chance.choices(kinds, (6, 3, 1))[0])
        said = mutate(path, chance)
        found = self._answers(self._questions(name, chance.random() < 0.1))
        shutil.rmtree(self.folder / "out")
        (self.folder / "out").mkdir()
        subject = f"user's {name}"
        what = f"{mutate.__name__}: {said}"
        for asked, answer in found.items():
            if answer.wrong:
                tally.lose(number, subject, f"{what}: {asked}: {answer.wrong}")
        refused = any(answer.refused for answer in found.values())
        tally.count(subject, "refused" if refused else "taken")

    def _questions(self, name: str, screen: bool) -> dict[str, Question]:
        asked: dict[str, Question] = {
            "config": partial(command("report", "SESSION"), self.session),
            "plan": self._plan,
            "prompts": self._prompts,
            "view": partial(models, self.session),
            "typed": _typed,
            "trusted": self._trusted,
        }
        questions = {name: asked[name]}
        if name == "config":
            questions["keys"] = partial(command("keys"), self.session)
        if screen and name in ("config", "view", "typed"):
            questions["explorer"] = partial(explorer, self.session)
        return questions

    def _plan(self) -> int:
        from logdrift.core.plan import load_plan
        from logdrift.core.plan.writing import plan_toml

        plan_toml(load_plan(self.home / "plan.toml"))
        return 0

    def _prompts(self) -> int:
        from logdrift.core.capture.prompts import read_prompts
        from logdrift.core.capture.recorded import recorded_of

        recorded_of(read_prompts(str(self.home / "prompts.jsonl")))
        return 0

    def _trusted(self) -> int:
        trust.is_ours(open_session(self.session).manifest)
        return 0

    def _answers(self, questions: dict[str, Question]) -> dict[str, Answer]:
        sizes = [file.stat().st_size for file in self.home.rglob("*") if file.is_file()]
        has_screen = "explorer" in questions
        seconds = SCREEN_SECONDS if has_screen else None
        place = replace(self.place, seconds=seconds)
        return answers(questions, place, max(sizes, default=0))


def _typed() -> int:
    from logdrift.tui.models.typed_history import typed_before

    typed_before("search")
    remember_typed("search", "again")
    return 0
