"""The controls, and relevance from the spans that the checkers report."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from rtt_lightning.relevance import RandomRelevance, RelevanceSource, RuleSpans, UniformRelevance
from rtt_lightning.types import Criterion, JudgedRollout, Rollout, RubricSample, Span, Verdict

#        0123456789...                20 is where the answer begins
TEXT = "<think>plan</think> a red map"
#       "<think>"  "plan"   "</think>"  " "      "a "      "red"     " map"    end
OFFSETS = ((0, 7), (7, 11), (11, 19), (19, 20), (20, 22), (22, 25), (25, 29), (29, 29))


def judged(
    *spans: tuple[Span, ...] | None, text: str = TEXT, offsets: tuple[Span, ...] = OFFSETS, first: int = 20
) -> JudgedRollout:
    """A response judged on one criterion per entry of ``spans``, which are characters of the answer."""
    criteria = tuple(Criterion(f"criterion {k}", "rtt:include_word") for k in range(len(spans)))
    rollout = Rollout(
        prompt_id="p",
        group_id=0,
        sample_index=0,
        prompt_ids=(1,),
        response_ids=tuple(range(len(offsets))),
        text=text,
        offsets=offsets,
        answer_span=(first, len(text)),
        finish_reason="stop",
        policy_version=0,
        temperature=1.0,
    )
    sample = RubricSample("p", ({"role": "user", "content": "?"},), criteria)
    return JudgedRollout(sample, rollout, tuple(Verdict(True, "", span) for span in spans))


def weighed(source: RelevanceSource, *items: JudgedRollout) -> list[Tensor]:
    """The relevance of each response, of which the source could read all."""
    found = source.weigh(items)
    assert all(relevance.read is relevance.contrast is None for relevance in found)
    return [relevance.p for relevance in found]


SHORT = judged(((0, 1),), text="a", offsets=((0, 1), (1, 1)), first=0)
ENDED_AT_ONCE = judged((), None, text="", offsets=((0, 0),), first=0)
NOTHING = judged(None, (), text="", offsets=(), first=0)


@pytest.mark.parametrize("source", [UniformRelevance(), RandomRelevance(), RuleSpans()])
def test_every_response_gets_floats_in_the_unit_interval_per_criterion_and_token(source: RelevanceSource) -> None:
    rows = weighed(source, judged(None, (), ((0, 1),)), SHORT, ENDED_AT_ONCE, NOTHING)
    assert [tuple(row.shape) for row in rows] == [(3, 8), (1, 2), (2, 1), (2, 0)]
    assert all(row.dtype == torch.float32 and ((row >= 0) & (row <= 1)).all() for row in rows)
    assert source.weigh([]) == []


def test_uniform_relevance_is_1_everywhere() -> None:
    (row,) = weighed(UniformRelevance(), judged(None, ()))
    assert row.tolist() == [[1.0] * 8] * 2


def test_random_relevance_does_not_depend_on_what_is_weighed_beside_it() -> None:
    together = weighed(RandomRelevance(3), SHORT, judged(None, ()), ENDED_AT_ONCE)
    (alone,) = weighed(RandomRelevance(3), judged(None, ()))
    assert torch.equal(together[1], alone)
    assert len(alone.unique()) == 16  # a value of its own for every criterion and token


def test_random_relevance_does_not_touch_the_random_state_of_the_process() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    weighed(RandomRelevance(), judged(None))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("change", [{"prompt_id": "q"}, {"sample_index": 1}, {"policy_version": 1}])
def test_random_relevance_depends_on_prompt_sample_and_version(change: dict[str, str | int]) -> None:
    item = judged(None)
    other = replace(item, rollout=replace(item.rollout, **change))  # pyright: ignore[reportArgumentType]
    one, two = weighed(RandomRelevance(), item, other)
    assert not (one == two).any()


def test_random_relevance_depends_on_its_seed_and_on_nothing_else_of_a_response() -> None:
    item = judged(None)
    renamed = replace(item, rollout=replace(item.rollout, group_id=9, text=TEXT.upper(), temperature=0.5))
    one, two = weighed(RandomRelevance(1), item, renamed)
    (other,) = weighed(RandomRelevance(2), item)
    assert torch.equal(one, two)
    assert not (one == other).any()


def test_spans_count_from_the_first_character_of_the_answer() -> None:
    # The answer is "a red map"; its (2, 5) is "red", characters 22 to 25 of the text: the sixth token.
    (row,) = weighed(RuleSpans(), judged(((2, 5),)))
    assert row.tolist() == [[0, 0, 0, 0, 0, 1, 0, 0]]


def test_a_token_that_a_span_touches_is_relevant() -> None:
    # (0, 1) is the "a" of "a ", (6, 7) the "m" of " map"; the empty span (3, 3) touches nothing
    (row,) = weighed(RuleSpans(), judged(((0, 1), (6, 7), (3, 3))))
    assert row.tolist() == [[0, 0, 0, 0, 1, 0, 1, 0]]


def test_spans_may_count_less_than_1_and_a_token_counts_as_the_greatest_that_touches_it() -> None:
    item = judged(((0, 5), (4, 5), (6, 7)))
    graded = replace(item.verdicts[0], span_relevance=(0.25, 0.5, 1.0))
    (row,) = weighed(RuleSpans(), replace(item, verdicts=(graded,)))
    assert row.tolist() == [[0, 0, 0, 0, 0.25, 0.5, 1, 0]]
    (row,) = weighed(RuleSpans(), replace(item, verdicts=(replace(graded, scope="global"),)))
    assert row.tolist() == [[0, 0, 0, 0, 1, 1, 1, 0]]


def test_a_checker_without_spans_makes_the_answer_relevant_but_neither_reasoning_nor_the_end_token() -> None:
    (row,) = weighed(RuleSpans(), judged(None))
    assert row.tolist() == [[0, 0, 0, 0, 1, 1, 1, 0]]


def test_a_verdict_decided_by_an_absence_has_no_relevant_token() -> None:
    (row,) = weighed(RuleSpans(), judged(()))
    assert row.tolist() == [[0, 0, 0, 0, 0, 0, 0, 0]]


def test_the_whole_answer_is_relevant_to_a_global_criterion_whatever_decided_it() -> None:
    item = judged(((2, 5),), ())
    verdicts = tuple(replace(verdict, scope="global") for verdict in item.verdicts)
    (rows,) = weighed(RuleSpans(), replace(item, verdicts=verdicts))
    assert rows.tolist() == [[0, 0, 0, 0, 1, 1, 1, 0]] * 2


def test_criteria_keep_their_order() -> None:
    (row,) = weighed(RuleSpans(), judged((), None, ((0, 9),), ((2, 5),)))
    assert row.sum(1).tolist() == [0, 3, 3, 1]


def test_reasoning_that_never_ends_leaves_no_relevant_token() -> None:
    item = judged(None, ((0, 4),), text="<think>plan", offsets=((0, 7), (7, 11)), first=11)
    assert weighed(RuleSpans(), item)[0].tolist() == [[0, 0], [0, 0]]
