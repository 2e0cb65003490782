"""Answers without spans, and what the verdicts on them say of each span, by hand and against all orders."""

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtt_lightning.functional.counterfactual import (
    Kept,
    by_the_greatest,
    leave_one_out,
    one_by_one,
    shapley,
    subsets,
    without,
)


@pytest.mark.parametrize(
    ("answer", "left"),
    [
        ("a [red] map", "a map"),
        ("a [red], old map", "a, old map"),
        ("a map is [red].", "a map is."),
        ("[Today], we go", ", we go"),
        ("[Today] we go", "we go"),
        ("take [care]", "take"),
        ("tea[,] milk", "tea milk"),
        ("tea[,]milk", "tea milk"),  # words do not join
        ("one [red]\nline", "one\nline"),
        ("one line\n[red]\nmore", "one line\nmore"),
        ("one\n\n[red]\n\nmore", "one\n\nmore"),
        ("[very] [very] good", "good"),
        ("[all]", ""),
        ("a map[]", "a map"),
        ("- [red]\n- blue", "-\n- blue"),
    ],
)
def test_an_answer_reads_as_if_the_spans_had_never_been_written(answer: str, left: str) -> None:
    spans, text = [], ""
    for part in answer.split("]"):
        before, _, inside = part.partition("[")
        spans.append((len(text + before), len(text + before + inside)))
        text += before + inside
    assert without(text, spans[:-1]) == left


def test_overlapping_spans_and_their_order_do_not_matter() -> None:
    assert without("a red old map", [(6, 9), (2, 7), (4, 4)]) == "a map"


@given(st.text("a \n,", max_size=12), st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=3))
def test_all_other_letters_stay_in_order(answer: str, spans: list[tuple[int, int]]) -> None:
    spans = [(min(a, b, len(answer)), min(max(a, b), len(answer))) for a, b in spans]
    gone = {i for start, end in spans for i in range(start, end)}
    stays = "".join(letter for i, letter in enumerate(answer) if i not in gone)
    assert without(answer, spans).translate({32: None, 10: None}) == stays.translate({32: None, 10: None})


# How many uses a criterion asks for or allows, how many there are -> how much each counts.
@pytest.mark.parametrize(("least", "uses", "each"), [(1, 1, 1), (1, 2, 0), (1, 3, 0), (2, 2, 1), (2, 3, 0)])
def test_praise_for_what_a_criterion_asks_for(least: int, uses: int, each: int) -> None:
    holds = [len(kept) >= least for kept in one_by_one(uses, True)]
    assert leave_one_out(holds, True) == [each] * uses


@pytest.mark.parametrize(("most", "uses"), [(0, 1), (0, 2), (0, 5), (2, 3), (2, 5)])
def test_blame_for_what_a_criterion_forbids(most: int, uses: int) -> None:
    holds = [len(kept) > most for kept in one_by_one(uses, False)]
    assert leave_one_out(holds, False) == [1] * uses


def test_blame_falls_on_those_that_suffice() -> None:
    assert leave_one_out([True, False], False) == [1, 0]


@pytest.mark.parametrize("desired", [True, False])
def test_what_is_unknown_shows_nothing_to_be_redundant(desired: bool) -> None:
    assert leave_one_out([None, desired], desired) == [1, 0]
    assert leave_one_out([], desired) == by_the_greatest([]) == []


def values(draw: st.DrawFn) -> tuple[int, dict[Kept, bool]]:
    number = draw(st.integers(1, 4))
    return number, {kept: draw(st.booleans()) for kept in subsets(number)}


@settings(max_examples=50, deadline=None)
@given(st.composite(values)())
def test_shapley_values_are_mean_effects_over_all_orders(game: tuple[int, dict[Kept, bool]]) -> None:
    number, holds = game
    orders, expected = [*permutations(range(number))], [0.0] * number
    for order in orders:
        for place, span in enumerate(order):
            before = frozenset(order[:place])
            expected[span] += (holds[before | {span}] - holds[before]) / len(orders)
    found = shapley(holds, number)
    assert found == pytest.approx(expected)
    assert sum(found) == pytest.approx(holds[frozenset(range(number))] - holds[frozenset()])


def test_spans_that_stand_in_for_each_other_have_equal_shares() -> None:
    any_of = {kept: bool(kept) for kept in subsets(8)}
    assert shapley(any_of, 8) == pytest.approx([1 / 8] * 8)
    tea_and_milk = {kept: 2 in kept and bool(kept & {0, 1}) for kept in subsets(3)}
    assert shapley(tea_and_milk, 3) == pytest.approx([1 / 6, 1 / 6, 4 / 6])
    assert by_the_greatest([1 / 6, 1 / 6, 4 / 6]) == pytest.approx([0.25, 0.25, 1])


def test_nothing_positive_is_nothing() -> None:
    assert by_the_greatest([-0.5, 0.5, 0.25]) == [0, 1, 0.5]
    assert by_the_greatest([-0.5, 0]) == [0, 0]
