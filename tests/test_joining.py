"""Characters that several tokens share, in every output that shows text around a
token.
"""

from __future__ import annotations

import base64
import json
import re

from hypothesis import given
from hypothesis import strategies as st

from logdrift.core.compare.pair import make_pair
from logdrift.core.session.joining import LONGEST, PART, joined_texts
from logdrift.core.session.reader import Pieces, open_session
from logdrift.core.session.visible import visible
from logdrift.tui.models.why import token_lines
from tests.common import SAMPLE, Run

TEXT = "搠消能 naïve 👩🎉 é한"


def _pieces(raw: list[bytes]) -> Pieces:
    return Pieces(
        {str(place): base64.b64encode(one).decode() for place, one in enumerate(raw)}
    )


@given(st.text(max_size=20), st.lists(st.integers(1, 6), min_size=60, max_size=60))
def test_whatever_is_cut_into_pieces_reads_as_before(
    text: str, sizes: list[int]
) -> None:
    data = text.encode("utf-8", "surrogatepass")
    if any(0xD800 <= ord(char) < 0xE000 for char in text):
        return
    raw = []
    for size in sizes:
        raw.append(data[:size])
        data = data[size:]
    raw = [*filter(None, [*raw, data])]
    shown = joined_texts(_pieces(raw), list(range(len(raw))))
    assert len(shown) == len(raw)
    own_marks = text.count(PART)
    assert "".join(shown).replace(PART, "") == visible(text).replace(PART, "")
    assert "".join(shown).count(PART) >= own_marks
    for piece, one in zip(raw, shown, strict=True):
        assert one != ""
        assert len(piece) > 0


def test_bytes_that_are_no_character_and_ids_that_are_not_known_stay() -> None:
    pieces = _pieces([b"\xe6\x90", b"a", b"\xa0", b"\xff", b"\xa0"])
    expected = ["<0xE6><0x90>", "a", "<0xA0>"]
    assert joined_texts(pieces, [0, 1, 2]) == expected
    assert joined_texts(pieces, [0, 99, 2]) == ["<0xE6><0x90>", "<id 99>", "<0xA0>"]
    assert joined_texts(pieces, [0, 2]) == [PART, "搠"]
    assert joined_texts(pieces, [0, 3, 4])[1:] == ["<0xFF>", "<0xA0>"]
    assert joined_texts(pieces, []) == []


def test_every_output_shows_characters_and_not_their_bytes(
    run_logdrift: Run,
) -> None:
    for arguments in (
        ["report", SAMPLE],
        ["report", "--md", SAMPLE],
        ["report", "--html", SAMPLE],
        ["why", SAMPLE],
        ["diff", SAMPLE, SAMPLE, "--new-pair", "reference:vllm/decode"],
        ["diff", SAMPLE, SAMPLE, "--new-pair", "reference:vllm/decode", "--md"],
        ["diff", SAMPLE, SAMPLE, "--new-pair", "reference:vllm/decode", "--html"],
    ):
        shown = run_logdrift(*arguments).stdout
        assert not re.search(r"(<|&lt;|&#60;)0x", shown), arguments
        if "why" not in arguments:
            assert re.search("[能众]", shown), arguments


def test_the_json_has_the_tokens_one_by_one(run_logdrift: Run) -> None:
    """Programs look a piece up in the session: its text there has not changed."""
    report = json.loads(run_logdrift("report", "--json", SAMPLE).stdout)
    pieces = open_session(SAMPLE).pieces
    worst = [token for pair in report["pairs"] for token in pair["worst"]]
    assert len(worst) > 50
    for token in worst:
        assert token["piece"] == pieces.text(token["token_id"])
        assert "context" not in token
    assert any("<0x" in token["before"] for token in worst)


def test_a_character_has_no_more_tokens_than_bytes() -> None:
    assert max(len(char.encode()) for char in TEXT) <= LONGEST


def test_the_lines_of_tokens_on_the_screens_show_characters() -> None:
    session = open_session(SAMPLE)
    pair = make_pair(session, "trainer/prefill", "vllm/decode")
    ids = pair.sequences.token_ids
    parts = [
        at for at in range(pair.tokens) if "<0x" in session.pieces.text(int(ids[at]))
    ]
    assert len(parts) > 50
    shown = [line.text for line in token_lines(session, pair, parts)]
    assert not any("<0x" in text for text in shown)
    assert any("众" in text for text in shown)
