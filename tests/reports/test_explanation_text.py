"""The explanation on the terminal."""

from dataclasses import replace

import pytest

from rtt_lightning.reports.explanation_text import marked, print_explanation
from rtt_lightning.rollout.explained import Explained

HOSTILE = "[bold]\x1b[2J\u202e</b>"


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def explained(judge) -> Explained:
    item = judge("a", "I love tea, tea!", [True, False, None], weights=[1.0, -2.0, 1.0],
                 offsets=((0, 1), (1, 6), (6, 10), (10, 11), (11, 15), (15, 16), (16, 16)), words=HOSTILE)  # fmt: skip
    relevance = ((0.0, 0.1, 0.9, 0.0, 0.8, 0.0, 0.0), (1.0,) * 6 + (0.0,), (0.0,) * 7)
    item = replace(item, relevance=relevance, advantages=(-0.0001, 0.0, 2.0, 0.0, 1.0, -1.5, 0.0))
    return Explained(3, item, "as recorded", "as recorded")


def test_relevant_tokens_are_in_brackets_where_there_is_no_colour(explained, capsys) -> None:
    print_explanation([explained])
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert "row 3, prompt a, sample 0" in shown
    assert "I love ⟦tea⟧, ⟦tea⟧!" in shown
    assert shown.count("I love") == 2  # once as it is, and not again where all tokens count, or none
    assert "2 of 6 tokens decide it" in shown
    assert "✓ 2. criterion 1" in shown
    assert "as desired, since it is unwanted and not met" in shown
    assert "? 3. criterion 2" in shown
    assert "most: ‘tea’ +2.000, ‘tea’ +1.000, ‘∎’ +0.000" in shown
    assert "least: ‘!’ -1.500, ‘I’ +0.000" in shown  # no minus before what is rounded to 0
    assert "[bold]␛[2J�</b>" in shown  # neither markup nor a terminal's command
    assert "\x1b" not in shown


def test_on_a_terminal_they_are_coloured_instead(explained, capsys, monkeypatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    print_explanation([explained])
    shown = capsys.readouterr().out
    assert "\x1b[1;4;32mtea\x1b[0m" in shown
    assert "⟦" not in shown
    assert "␛[2J" in shown


def test_without_advantages_nothing_is_said_of_them(explained, capsys) -> None:
    print_explanation([replace(explained, item=replace(explained.item, advantages=None), advantages_from="unknown")])
    shown = capsys.readouterr().out
    assert "most:" not in shown
    assert "advantage unknown" in shown


def test_a_long_text_is_cut_to_what_is_around_the_marks() -> None:
    text = "x" * 1000 + " tea " + "y" * 1000 + " tea "
    found = marked(text, [(1000, 1004), (2005, 2010)], "", brackets=True).plain
    assert found == f"… {'x' * 59} ⟦tea⟧ {'y' * 59} … {'y' * 59} ⟦tea⟧ "
    assert len(marked("ab " * 1000, [(3 * n, 3 * n + 1) for n in range(1000)], "", brackets=False)) > 600
    assert marked("a b c", [(0, 2), (2, 3)], "", brackets=True).plain == "⟦a b⟧ c"
