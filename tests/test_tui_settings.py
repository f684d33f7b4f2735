"""Settings and limits: facts side by side, differences first; every framework's limit
on the pair.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from logdrift.core.compare.published import PUBLISHED
from logdrift.core.config import _load
from logdrift.core.errors import LogdriftError
from logdrift.core.report.build import report_pair
from logdrift.core.report.settings import settings_of
from logdrift.core.session.layout import read_manifest
from logdrift.core.session.loaded import Loaded
from logdrift.core.session.reader import Session, open_session
from logdrift.core.session.writer import write_loaded, write_manifest
from logdrift.tui.actions import NO_KEYMAP, key_of
from logdrift.tui.command_window import active_commands
from logdrift.tui.models.limits import COLUMNS
from logdrift.tui.models.settings import PairSetting
from logdrift.tui.screens.explorer import ExplorerScreen
from logdrift.tui.screens.limits import LimitsScreen
from logdrift.tui.screens.settings import FactsScreen
from logdrift.tui.screens.texts import TextScreen
from logdrift.tui.widgets.bars import Bar
from tests.common import SAMPLE
from tests.made_sessions import capture, write_session
from tests.tui_screen import (
    SMALL,
    copied_table,
    explorer,
    judged,
    lines,
    make_app,
    screen_text,
    text,
    until,
    until_screen,
    until_shown,
)

pytestmark = pytest.mark.usefixtures("own_home")
ROWS = [[-1.0, -2.0, -0.5, -1.5], [-0.75, -1.25, -2.5, -0.5]]
LOWER = [[-1.0, -2.25, -0.5, -1.75], [-0.75, -1.5, -2.5, -0.75]]


@pytest.fixture
def session(tmp_path: Path) -> Session:
    facts = {"environment": {"VLLM_FLAG": "1\x1b[31m"}, "extra": {"note": "x" * 300}}
    captures = [
        capture("trainer/prefill", ROWS),
        capture(
            "vllm/decode",
            LOWER,
            facts={"attention_backend": "FLASH", "device": None, **facts},
        ),
        capture(
            "vllm/prefill",
            LOWER,
            facts={"attention_backend": "FLASH", "device": None, **facts},
        ),
        capture("sglang/prefill", ROWS, facts=None),
    ]
    return write_session(tmp_path / "s", [1, 1], captures)


def test_differences_come_first_then_what_is_unknown(session: Session) -> None:
    found = settings_of(session)
    assert found.columns == (
        ("trainer/prefill",),
        ("vllm/decode", "vllm/prefill"),
        ("sglang/prefill",),
    )
    rows = {row.name: row for row in found.rows}
    assert len(rows) == len(found.rows)
    kinds = [row.kind for row in found.rows]
    assert kinds == sorted(kinds, key=["differs", "unknown", "same"].index)
    assert rows["attention_backend"].kind == "differs"
    expected = ("sdpa", "FLASH", None)
    assert rows["attention_backend"].values == expected
    # One side did not observe it: not known to be alike.
    assert rows["device"].values == ("cpu", None, None)
    assert rows["device"].kind == "unknown"
    # A variable that a side does not have is no unknown; of a capture without facts
    # nothing is known.
    assert rows["environment.VLLM_FLAG"].values == ("not set", "1\x1b[31m", None)
    assert rows["prefix_cache"].values == ("no", "no", None)
    assert rows["dtype asked"].kind == "same"
    assert rows["path"].values == (
        "prefill",
        "decode, prefill",
        "prefill",
    )


def test_equal_facts_of_two_backends_keep_two_columns(tmp_path: Path) -> None:
    captures = [capture("trainer/prefill", ROWS), capture("other/prefill", ROWS)]
    found = settings_of(write_session(tmp_path / "s", [1, 1], captures))
    expected = (("trainer/prefill",), ("other/prefill",))
    assert found.columns == expected


async def shown(pilot: Any, key: str, screen: type[Any]) -> Any:
    await judged(pilot)
    await pilot.press(key)
    await until_screen(pilot, screen)
    await until(pilot, lambda: bool(screen_text(pilot.app)))
    return pilot.app.screen


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (200, 60)])
async def test_settings_show_reasons_and_facts(
    session: Session, size: tuple[int, int]
) -> None:
    app = make_app(session.folder)
    async with app.run_test(size=size) as pilot:
        screen = await shown(pilot, "d", FactsScreen)
        reasons = explorer(app).view.gate.reasons
        assert reasons
        await until(
            pilot,
            lambda: reasons[0].text[:20] in text(screen.query_one("#reasons", Bar)),
        )
        if size == (60, 20):
            key = key_of("facts", "reasons", NO_KEYMAP)
            assert f"more lines: {key} shows them" in screen_text(app)
        table = lines(screen.table)
        assert table[2].startswith("▾ Numbers")
        assert table[3].startswith("≠")
        # The pair's own columns stand first, whole where they fit.
        assert table[1].index("A trainer/p") < table[1].index("B vllm/dec")
        if size[0] >= 80:
            assert "matters?" in table[1]
        # The environment is folded; Enter lists it.
        await pilot.press("end")
        assert [line for line in lines(screen.table) if line][-1].startswith("▸ Env")
        await pilot.press("enter", "end")
        row = screen.here
        assert isinstance(row, PairSetting)
        assert row.name == "environment.VLLM_FLAG"
        assert row.mark == "≠"
        assert row.matters == "no"
        await until(
            pilot,
            lambda: (
                "environment.VLLM_FLAG: not set → 1<0x1B>[31m"
                in screen_text(app)[:9999]
            ),
        )
        assert "\x1b" not in screen_text(app)
        await pilot.press("enter")
        await until_screen(pilot, TextScreen)
        assert "vllm/decode, vllm/prefill" in screen_text(app)
        assert "unknown" in screen_text(app)
        await pilot.press("escape", "v")
        await until(
            pilot,
            lambda: (
                isinstance(app.screen, TextScreen)
                and reasons[0].code in screen_text(app)
            ),
        )
        await pilot.press("q", "q")
        await until_screen(pilot, ExplorerScreen)


async def test_columns_that_do_not_fit_are_reached_sideways() -> None:
    app = make_app(SAMPLE)
    async with app.run_test(size=(60, 20)) as pilot:
        screen = await shown(pilot, "d", FactsScreen)
        assert lines(screen.table)[1].endswith("›")
        assert "sglang" not in text(screen.table)
        await pilot.press("right", "l", "l", "l")
        await until(pilot, lambda: "sglang" in lines(screen.table)[1])
        assert "‹" in lines(screen.table)[1]
        assert not lines(screen.table)[1].endswith("›")
        assert lines(screen.table)[3].startswith("≠  attention_backend")
        await pilot.press("left", "h", "left")
        await until(pilot, lambda: "A trainer" in lines(screen.table)[1])


async def test_copying_the_settings_copies_all_columns(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(session.folder)
    async with app.run_test(size=(60, 20)) as pilot:
        await shown(pilot, "d", FactsScreen)
        sent: list[str] = []
        monkeypatch.setattr(app._driver, "write", sent.append)
        await pilot.press("c")
        rows = copied_table(sent)
        assert rows[0] == [
            "",
            "",
            "A trainer/prefill",
            "B vllm/decode +1",
            "sglang/prefill",
            "matters?",
        ]
        assert ["?", "device", "cpu", "unknown", "unknown", "caution"] in rows


# ---- limits


def _own(tmp_path: Path) -> None:
    file = tmp_path / "config" / "logdrift" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text(
        '[[thresholds]]\nname = "ours"\nmetric = "errors.mae"\nmax = 0.01\nmeaning ='
        ' "Ours alone."\n'
    )
    _load.cache_clear()


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (200, 60)])
async def test_every_limit_is_held_against_the_pair(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    _own(tmp_path)
    app = make_app(SAMPLE)
    async with app.run_test(size=size) as pilot:
        screen = await shown(pilot, "T", LimitsScreen)
        await until(pilot, lambda: bool(screen.limits))
        assert len(screen.limits) == len(PUBLISHED) + 1
        pair = explorer(app).model.pair
        wanted = {
            (x["framework"], x["name"], x["level"]): x["ok"]
            for x in report_pair(pair, "completion")["thresholds"]
        }
        for limit in screen.limits[1:]:
            known = limit.limit
            assert limit.ok == wanted[known.framework, known.name, known.level]
        # The user's own stands first, and its mark needs no colour.
        assert screen.limits[0].limit.name == "ours"
        assert lines(screen.table)[2].startswith("✗  own")
        assert {line[0] for line in lines(screen.table)[2:] if line} >= {"✓", "✗"}
        await until(
            pilot,
            lambda: (
                "✗ exceeded" in screen_text(app) and "Ours alone." in screen_text(app)
            ),
        )
        # Limits for runs that are bitwise equal are no alarm here: they are counted
        # apart.
        usual = [limit.ok for limit in screen.limits if limit.limit.level != "exact"]
        counts = (
            f"✓ {usual.count(True)} hold  ✗ {usual.count(False)} exceeded"
            f"  ? {usual.count(None)} not judged"
        )
        assert usual.count(False)
        assert (counts in lines(screen.table)[0]) == (size[0] >= 80)
        assert ("bitwise equal: 0 of 4" in lines(screen.table)[0]) == (size[0] >= 120)
        last = screen.limits[-1]
        assert last.limit.level == "other"
        assert last.ok is None
        await pilot.press("end")
        await until_shown(pilot, "? published for another comparison")
        await pilot.press("enter")
        await until_screen(pilot, TextScreen)
        assert last.limit.source.split(":")[0] in screen_text(app)
        assert "state    cannot be judged" in screen_text(app)
        await pilot.press("escape", "q")
        await until_screen(pilot, ExplorerScreen)
    _load.cache_clear()


async def test_copying_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app(SAMPLE)
    async with app.run_test(size=SMALL) as pilot:
        screen = await shown(pilot, "T", LimitsScreen)
        await until(pilot, lambda: bool(screen.limits))
        sent: list[str] = []
        monkeypatch.setattr(app._driver, "write", sent.append)
        await pilot.press("c")
        rows = copied_table(sent)
        assert rows[0][1:] == list(COLUMNS)
        assert len(rows) == len(PUBLISHED) + 1
        found = {row[0] for row in rows[1:]}
        expected = {"✓", "✗", "?"}
        assert found == expected


async def test_a_pair_that_cannot_be_measured_is_an_error_that_can_be_copied(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise LogdriftError("the part went away\x1b[31m: capture it again")

    monkeypatch.setattr("logdrift.core.compare.measured.measure_pair", fails)
    app = make_app(session.folder)
    async with app.run_test(size=SMALL) as pilot:
        await judged(pilot)
        await pilot.press("T")
        await until_screen(pilot, TextScreen)
        assert "the part went away<0x1B>[31m: capture it again" in screen_text(app)
        await pilot.press("escape", "q")
        await until_screen(pilot, ExplorerScreen)


async def test_without_a_pair_there_are_no_limits(tmp_path: Path) -> None:
    session = write_session(
        tmp_path / "one", [1, 1], [capture("trainer/prefill", ROWS)]
    )
    app = make_app(session.folder)
    async with app.run_test(size=SMALL) as pilot:
        await until_shown(pilot, "no pair to compare yet")
        await pilot.press("T")
        await until(
            pilot,
            lambda: (
                isinstance(app.screen, ExplorerScreen)
                and "there is no pair" in screen_text(app)
            ),
        )
        offered = {
            command.id for command, _, applies in active_commands(app.screen) if applies
        }
        assert "explorer.facts" in offered
        assert not {"explorer.limits", "explorer.next_divergence"} & offered
        await pilot.press("d")
        await until(
            pilot,
            lambda: (
                isinstance(app.screen, FactsScreen)
                and "no pair to compare yet" in screen_text(app)
            ),
        )
        await pilot.press("v", "q")
        await until_screen(pilot, ExplorerScreen)
        await pilot.press("m")
        await until_shown(pilot, "Two captures with a finished sequence")
        await pilot.press("escape")
        await until_screen(pilot, ExplorerScreen)


def test_the_sample_opens() -> None:
    assert settings_of(open_session(SAMPLE)).rows


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
async def test_what_configs_differ_in_is_named(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    name = "rope_parameters.full_attention.rope_theta"
    configs = {
        backend: Loaded(
            config={
                "rope_parameters": {"full_attention": {"rope_theta": theta}},
                "rms_norm_eps": 1e-6,
            }
        )
        for backend, theta in (("trainer", 1e6), ("vllm", 1e4))
    }
    captures = [capture("trainer/prefill", ROWS), capture("vllm/prefill", LOWER)]
    folder = write_session(tmp_path / "s", [1, 1], captures).folder
    manifest = read_manifest(folder)
    loaded = [
        info._replace(loaded=write_loaded(folder, info.backend, configs[info.backend]))
        for info in manifest.captures
    ]
    write_manifest(folder, manifest._replace(captures=tuple(loaded)))
    app = make_app(folder)
    async with app.run_test(size=size) as pilot:
        await judged(pilot)
        await pilot.press("d")
        await until_screen(pilot, FactsScreen)
        assert f"{name} 1000000 against 10000" in " ".join(screen_text(app).split())
        row = next(
            line
            for line in screen_text(app).splitlines()
            if line.startswith("≠") and "rope_theta" in line
        )
        expected = ["1000000", "10000", "caution"]
        assert row.split()[2:5] == expected
