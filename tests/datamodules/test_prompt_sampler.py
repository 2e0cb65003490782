"""The built-in prompt sampler: reproducible, varied, decidable and satisfiable."""

import random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rtt_lightning.datamodules.prompt_sampler import (
    HELD_OUT_KINDS,
    KINDS,
    TRAIN_KINDS,
    sample_prompts,
)
from rtt_lightning.datamodules.topics import TASKS, TOPICS
from rtt_lightning.types import RubricSample
from rtt_lightning.verifiers.rules import RULES, RuleVerifier
from rtt_lightning.verifiers.rules.edges import ENDINGS, OPENINGS
from rtt_lightning.verifiers.rules.words import FORBIDDEN, WORDS

MANY = sample_prompts(3000, seed=0, kinds=tuple(KINDS))

# Per rule: arguments, an answer that meets it with the characters that decide, and one that does not with those.
WHOLE = "the whole answer"
EXAMPLES = {
    "rtt:include_word": ({"word": "tea"}, ("Hot tea.", "tea"), ("Hot teas.", "")),
    "rtt:include_words": ({"words": ["a", "b"]}, ("a or b", "ab"), ("a or c", "")),
    "rtt:word_count": ({"word": "tea", "n": 2}, ("Tea? tea!", "Teatea"), ("tea", "")),
    "rtt:start_with": ({"phrase": "Long ago"}, ("Long ago, owls", "Long ago"), ("So long ago", "")),
    "rtt:end_with": ({"phrase": "the end"}, ("Is this the end?", "the end"), ("the end of it", "")),
    "rtt:end_punctuation": ({}, ("One. Two!", "!"), ("One. Two", "")),
    "rtt:bullet_list": ({"n": 2}, ("- one\n- two", "- one- two"), ("- one\ntwo - three", "")),
    "rtt:capital_word": ({"n": 1}, ("I say NO now", "NO"), ("I say No now", "")),
    "rtt:include_number": ({}, ("About 42 owls", "42"), ("About forty owls", "")),
    "rtt:exclamation": ({}, ("Hi!", "!"), ("Hi.", "")),
    "rtt:question": ({}, ("Why?", "?"), ("Why.", "")),
    "rtt:forbid_word": ({"word": "very"}, ("every owl", ""), ("Very old", "Very")),
    "rtt:no_commas": ({}, ("one two", ""), ("one, two", ",")),
    "rtt:no_repetition": ({"n": 1}, ("the owl and the bee", ""), ("owl sees owl", "owl")),
    "rtt:min_words": ({"n": 3}, ("one two three", WHOLE), ("one two", WHOLE)),
    "rtt:max_words": ({"n": 2}, ("one two", WHOLE), ("one two three", WHOLE)),
    "rtt:sentence_count": ({"low": 2, "high": 3}, ("One. Two!", WHOLE), ("One. Two", WHOLE)),
    "rtt:distinct_words": ({"n": 2}, ("owl bee owl", WHOLE), ("owl Owl", WHOLE)),
    "rtt:quoted": ({}, ('"All of it."', '""'), ('"Some" of it.', "")),
    "rtt:postscript": ({}, ("Bye. P.S. Write soon", "P.S."), ("Bye. P.S.", "")),
    "rtt:title": ({}, ("<<Owls>> They fly.", "<<Owls>>"), ("<Owls> They fly.", "")),
    "rtt:lowercase": ({}, ("an owl", ""), ("An owl", "A")),
    "rtt:paragraphs": ({"n": 2}, ("One.\n\nTwo.", WHOLE), ("One.", WHOLE)),
}


def kinds_of(sample: RubricSample) -> list[str]:
    """The drawn kinds; the first criterion merely demands the topic, unless a drawn one does so already."""
    kinds = [criterion.checker for criterion in sample.criteria]
    return kinds if "rtt:word_count" in kinds else kinds[1:]


@given(seed=st.integers(), start=st.integers(0, 10**6), count=st.integers(1, 4), more=st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_a_sample_depends_on_seed_and_index_alone(seed: int, start: int, count: int, more: int) -> None:
    few = sample_prompts(count, seed, TRAIN_KINDS, start)
    earlier = sample_prompts(count + more, seed, TRAIN_KINDS, start - more)
    assert earlier[more:] == few
    assert [sample.id for sample in few] == [f"constraints/{seed}/{index}" for index in range(start, start + count)]


def test_other_seeds_give_other_prompts() -> None:
    first, second = ([s.messages for s in sample_prompts(20, seed, TRAIN_KINDS)] for seed in (0, 1))
    assert not any(prompt in second for prompt in first)


def test_prompts_are_varied() -> None:
    assert len(TRAIN_KINDS) >= 15
    assert len(set(TOPICS)) * len(set(TASKS)) >= 300
    assert len(set(TOPICS)) == len(TOPICS)
    assert len({sample.task for sample in MANY}) > 1000
    assert len({sample.messages[0]["content"] for sample in MANY}) > 2990
    assert {kind for sample in MANY for kind in kinds_of(sample)} == set(KINDS)


def test_a_prompt_states_its_task_and_each_of_two_to_four_criteria() -> None:
    for sample in MANY:
        [message] = sample.messages
        texts = [criterion.text for criterion in sample.criteria]
        assert message == {"role": "user", "content": " ".join([sample.task or "", *texts])}
        assert 2 <= len(texts) <= 4
        assert len(set(texts)) == len(texts)


def test_a_prompt_holds_no_two_conflicting_kinds() -> None:
    for sample in MANY:
        groups = [group for kind in kinds_of(sample) for group in KINDS[kind].conflicts]
        assert len(groups) == len(set(groups)), sample.messages


def test_no_criterion_demands_a_word_that_another_may_forbid() -> None:
    text = "; ".join((*TOPICS, *WORDS, *OPENINGS, *ENDINGS))
    assert [word for word in FORBIDDEN if not RULES["rtt:forbid_word"](text, word).met] == []


def test_no_criterion_demands_capitals_beside_lowercase() -> None:
    """Words in capitals, and the "P.S." of a postscript."""
    beside = [set(kinds_of(sample)) for sample in MANY if "rtt:lowercase" in kinds_of(sample)]
    assert len(beside) > 100
    assert not set.union(*beside) & {"rtt:capital_word", "rtt:postscript"}


def test_withheld_criteria_are_checked_but_not_asked_for() -> None:
    plain, more = (sample_prompts(200, 0, TRAIN_KINDS, withheld=withheld) for withheld in (0, 2))
    for asked, sample in zip(plain, more, strict=True):
        assert (sample.messages, sample.task) == (asked.messages, asked.task)
        *same, one, other = sample.criteria
        assert tuple(same) == asked.criteria
        assert len({one.checker, other.checker, *kinds_of(asked)}) == 2 + len(kinds_of(asked))
        assert one.text not in asked.messages[0]["content"]
        assert other.text not in asked.messages[0]["content"]


def test_held_out_kinds_never_appear_in_training_prompts() -> None:
    assert {*TRAIN_KINDS, *HELD_OUT_KINDS} <= KINDS.keys()
    drawn = {kind for sample in sample_prompts(1000, 0, TRAIN_KINDS) for kind in kinds_of(sample)}
    assert drawn == set(TRAIN_KINDS)
    assert not drawn & set(HELD_OUT_KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_phrasing_states_all_arguments(kind: str) -> None:
    rng = random.Random(0)
    for phrasing in KINDS[kind].sentences:
        for topic in ("tea", "summer"):  # "summer" is a topic and a word to ask for
            kwargs = KINDS[kind].draw(rng, topic)
            text = phrasing.format(**kwargs)
            values = [part for value in kwargs.values() for part in (value if isinstance(value, list) else [value])]
            assert all(str(value) in text for value in values), text
            assert not {"{", "}"} & set(text)


@settings(max_examples=50, deadline=None)
@given(answer=st.text(max_size=60), number=st.integers(0, len(MANY) - 1))
@example(answer="", number=0)
@example(answer="ݍ", number=next(n for n, s in enumerate(MANY) if "rtt:lowercase" in kinds_of(s)))
@example(answer="!\x1b", number=next(n for n, s in enumerate(MANY) if "rtt:end_punctuation" in kinds_of(s)))
@example(answer="👍🏽 “Ünï” ㊗️, P.S. <<é>>\n- x\u202e\x00", number=1)
def test_every_criterion_is_decided_on_any_text_or_says_how_readers_differ(answer: str, number: int) -> None:
    verifier, sample = RuleVerifier(workers=0), MANY[number]
    assert verifier.problems(sample) == []
    for verdict in verifier.verify_all([(sample, answer)])[0]:
        assert isinstance(verdict.met, bool) or "depending on how" in verdict.reason or "for some" in verdict.reason
        assert verdict.spans is not None or verdict.met is None
        assert all(0 <= start < end <= len(answer) for start, end in verdict.spans or ())
        assert answer.strip() or not verdict.met


def test_every_kind_has_an_example() -> None:
    assert {*KINDS} <= {*EXAMPLES}, "add what meets the new rule, and what does not, to EXAMPLES"


@pytest.mark.parametrize("kind", EXAMPLES)
def test_every_kind_can_be_met_and_missed(kind: str) -> None:
    kwargs, met, missed = EXAMPLES[kind]
    for (answer, deciding), expected in ((met, True), (missed, False)):
        verdict = RULES[kind](answer, **kwargs)
        assert verdict.met is expected, verdict
        found = "".join(answer[start:end] for start, end in verdict.spans or ())
        assert found == (answer if deciding is WHOLE else deciding)


@pytest.mark.parametrize(
    ("kind", "kwargs", "answer"),
    [
        ("capital_word", {"n": 1}, "NASA's rocket"),
        ("capital_word", {"n": 1}, "the U.S. law"),
        ("no_repetition", {"n": 1}, "owl-like owl"),
        ("no_commas", {}, "1,000 owls"),
        ("include_words", {"words": ["owl", "New York"]}, "an owl in New&nbsp;York"),
        ("word_count", {"word": "tea", "n": 2}, "tea and ｔｅａ"),
        ("forbid_word", {"word": "very"}, "**ve**ry old"),
    ],
)
def test_where_readers_differ_nothing_is_decided(kind: str, kwargs: dict[str, Any], answer: str) -> None:
    assert RULES[f"rtt:{kind}"](answer, **kwargs).met is None


@pytest.mark.parametrize("kinds", [(), ("rtt:no_commas", "rtt:rhyme")])
def test_unknown_kinds_or_none_are_refused(kinds: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"kinds must name some of rtt:include_word, .* got (none|\['rtt:rhyme'\])"):
        sample_prompts(1, 0, kinds)
