"""Words and phrases that a criterion names, however they are written."""

import pytest

from rtt_lightning.verifiers.rules.words import forbid_word, include_word, keyword_count, keywords, no_keywords


@pytest.mark.parametrize("space", ["\u00a0", "\u202f", "\u2009", "\u3000", "\t", "  ", "\n", "\r\n", "\u2028", " \n "])
def test_white_space_inside_a_phrase_is_no_way_out(space: str) -> None:
    answer = f"In New{space}York now"
    spans = ((3, len(answer) - 4),)
    for verdict in (no_keywords(answer, ["New York"]), forbid_word(answer, "new york")):
        assert (verdict.met, verdict.spans) == (False, spans)
    for verdict in (
        keywords(answer, ["New York"]),
        include_word(answer, "New York"),
        keyword_count(answer, "New\u00a0York", 1, 1),
    ):
        assert (verdict.met, verdict.spans) == (True, spans)


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("New York", "New\n\nYork"),
        ("New York", "New&nbsp;York"),
        ("New York", "**New** York"),
        ("New York", "New <b>York</b>"),
        ("New York", "Ｎｅｗ Ｙｏｒｋ"),
        ("New York", "Ne\u200bw York"),
        ("New York", "N\u00adew York"),
        ("tea", "_tea_"),
        ("fine", "ﬁne"),
        ("Straße", "STRASSE"),
        ("wait–see", "wait-see"),
    ],
)
def test_other_ways_to_write_a_phrase_are_doubtful(word: str, written: str) -> None:
    answer = f"The {written} one"
    assert no_keywords(answer, [word]).met is forbid_word(answer, word).met is None
    assert keywords(answer, [word]).met is include_word(answer, word).met is None


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("café", "cafe\u0301"),
        ("cafe\u0301", "CAFÉ"),
        ("well-known", "well\u2011known"),
        ('say "hi"', "say “hi”"),
        ("wait...", "wait…"),
        ("don’t", "don't"),
    ],
)
def test_what_looks_the_same_is_the_same(word: str, written: str) -> None:
    answer = f"The {written} one"
    assert (no_keywords(answer, [word]).met, keywords(answer, [word]).met) == (False, True)
    assert keywords(answer, [word]).spans == ((4, 4 + len(written)),)


def test_a_word_inside_longer_ones_stays_what_it_was() -> None:
    assert (include_word("Hot teas", "tea").met, forbid_word("every owl", "very").met) == (False, True)
    assert keywords("Hot teas", ["tea"]).met is no_keywords("steam", ["tea"]).met is None
