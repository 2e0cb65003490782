"""Advantages against hand cases, slow loops and properties."""

from dataclasses import fields, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.advantages import make_experience, plain
from rtt_lightning.functional import cells
from rtt_lightning.functional.advantages import (
    add,
    criterion_normalize,
    flat_groups,
    gated_intra_sample,
    group_normalize,
    inter_sample,
    intra_sample,
    mix,
    no_partition,
    rubric_mean,
    softmax_spread,
    token_rewards,
    window_normalize,
)
from rtt_lightning.functional.rewards import all_or_nothing, all_or_nothing_lower_bound, weighted_mean
from rtt_lightning.types import Experience
from tests.algorithms.oracle import desired_verdicts
from tests.experiences import experiences, widened
from tests.functional import oracle

PARTITIONS = (intra_sample, gated_intra_sample, inter_sample, rubric_mean, softmax_spread, no_partition)


@settings(max_examples=60, deadline=None)
@given(experiences())
def test_partitions_equal_slow_loops(window: Experience) -> None:
    for partition, pool in ((intra_sample, lambda i, j: i == j), (inter_sample, lambda i, j: True)):
        expected = torch.tensor(oracle.token_advantages(window, pool), dtype=torch.double)
        torch.testing.assert_close(partition(window)[0], expected.reshape(window.answer_mask.shape))
    verdicts, groups = desired_verdicts(window), window.group_ids.tolist()

    def differ(i: int, k: int) -> bool:
        """Whether the verdicts of the group of row i on k do."""
        return {0, 1} <= {row[k] for row, group in zip(verdicts, groups, strict=True) if group == groups[i]}

    expected = torch.tensor(oracle.token_advantages(window, lambda i, j: i == j, differ), dtype=torch.double)
    torch.testing.assert_close(gated_intra_sample(window)[0], expected.reshape(window.answer_mask.shape))


@settings(max_examples=60, deadline=None)
@given(experiences(), st.sampled_from(PARTITIONS), st.sampled_from([0.0, 0.2]))
def test_partitions_equal_their_formulas_written_plainly(window: Experience, partition, std_floor: float) -> None:
    """In blocks of one row and in fp32 as well."""
    expected, expected_live = plain(partition.__name__, window, std_floor)
    for block in (1, cells.BLOCK):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cells, "BLOCK", block)
            token, live = partition(window, std_floor)
            torch.testing.assert_close(token, expected)
            assert torch.equal(live, expected_live)
    single = replace(window, relevance=window.relevance.float())
    torch.testing.assert_close(partition(single, std_floor)[0], expected.float(), rtol=1e-5, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(experiences())
def test_padding_and_order_change_nothing(window: Experience) -> None:
    order = torch.randperm(len(window.group_ids), generator=torch.Generator().manual_seed(0))
    for partition in PARTITIONS:
        plain, live = partition(window)
        padded, padded_live = partition(widened(window, 2, 3))
        torch.testing.assert_close(padded[:, : plain.shape[1]], plain)
        assert torch.equal(padded_live[:, : live.shape[1]], live)
        assert not padded[:, plain.shape[1] :].any()
        torch.testing.assert_close(partition(window.rows(order))[0], plain[order])


@settings(max_examples=60, deadline=None)
@given(experiences())
def test_intra_sample_sums_to_zero_over_each_response_and_spares_other_tokens(window: Experience) -> None:
    token, _ = intra_sample(window)
    assert (token.sum(1).abs() < 1e-9).all()
    assert (token[~window.answer_mask] == 0).all()
    assert token.isfinite().all()


@pytest.mark.parametrize(
    "weights",
    [[0.1, 0.2, 0.3], [0.7, 0.1, 0.8], [1.1, 2.2, 3.3], [0.1, 0.2, -0.3], [1e3, 0.1, 1000.1]],
)
def test_weighted_rewards_equal_but_for_rounding_earn_exactly_nothing(weights: list[float]) -> None:
    """The first two weights make the third: met together, or it alone. Also where the unwanted third cancels them."""
    met = torch.tensor([[True, True, False], [False, False, True]])
    if weights[2] < 0:
        met = torch.tensor([[True, True, True], [False, False, False]])
    rewards, known = weighted_mean(Experience.by_hand(met, weights=torch.tensor([weights] * 2)))
    assert rewards[0] == pytest.approx(rewards[1].item(), abs=1e-6)
    for scale in (True, False):
        assert group_normalize(rewards, known, torch.tensor([0, 0]), scale=scale).tolist() == [0, 0]


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("scale", [True, False])
def test_a_reward_that_is_not_finite_does_not_pass_for_no_difference(bad: float, scale: bool) -> None:
    """In its group, whether it is one of them or all; unknown ones and other groups are as ever."""
    rewards = torch.tensor([1.0, bad, bad, bad, 0.0, 2.0, 1.0, bad])
    known = torch.tensor([True] * 7 + [False])
    found = group_normalize(rewards, known, torch.tensor([0, 0, 1, 1, 2, 2, 3, 3]), scale)
    assert not found[:4].isfinite().any() if scale else not found[[1, 2, 3]].isfinite().any()
    assert found[4:].tolist() == pytest.approx([-(0.5**0.5), 0.5**0.5, 0, 0] if scale else [-1, 1, 0, 0], abs=1e-5)


def test_equal_but_for_rounding_is_of_a_group_and_small_differences_count() -> None:
    rewards = torch.tensor([0.3, 0.1 + 0.2 + 3e-8, 0.3, 0.3001])
    groups = torch.tensor([0, 0, 1, 1])
    found = group_normalize(rewards, torch.ones(4, dtype=torch.bool), groups)
    assert found[:2].tolist() == [0, 0]
    assert found[2:].tolist() == pytest.approx([-(0.5**0.5), 0.5**0.5], rel=0.02)  # +-1/sqrt(2), less eps / std


def test_an_undecided_response_takes_no_part_in_the_all_or_nothing_baseline() -> None:
    """Of four responses one passes, one fails, two have an open criterion, of which one is known to fail."""
    met = torch.tensor([[True, True], [True, False], [True, False], [False, False]])
    scorable = torch.tensor([[True, True], [True, True], [True, False], [True, False]])
    window = Experience.by_hand(met, scorable=scorable)
    unknown = group_normalize(*all_or_nothing(window), window.group_ids)
    assert unknown.tolist() == pytest.approx([0.5**0.5, -(0.5**0.5), 0, 0], rel=1e-5)
    lower = group_normalize(*all_or_nothing_lower_bound(window), window.group_ids)
    assert lower.tolist() == pytest.approx([1.5, -0.5, -0.5, -0.5], rel=1e-5)  # mean 1/4, sample std 1/2


def one_cell(values: list[float], met: bool = True) -> Experience:
    return Experience.by_hand(torch.tensor([[met]]), relevance=torch.tensor([[values]]))


def test_m_of_t_relevant_tokens_get_the_closed_form() -> None:
    token, live = intra_sample(one_cell([1.0] * 5 + [0.0] * 495))
    assert token[0, 0] == pytest.approx((495 / 5) ** 0.5, rel=1e-4)  # sqrt((T - m) / m) = 9.95
    assert live.all()
    assert intra_sample(one_cell([1.0] * 5 + [0.0] * 495, met=False))[0][0, 0] == pytest.approx(-9.95, rel=1e-3)


@pytest.mark.parametrize("partition", PARTITIONS)
def test_nearly_constant_relevance_loses_nothing_by_rounding(partition) -> None:
    """A spread of 1e-4 around 0.7 in fp32; one response has an outlier, one has its answer behind other tokens."""
    window = make_experience(24, 3, 600)
    noise = torch.randn(window.relevance.shape, generator=torch.Generator().manual_seed(1))
    window = replace(window, relevance=0.7 + 1e-4 * noise, answer_mask=window.answer_mask.clone())
    window.relevance[3, :, 20] = 0.1
    window.answer_mask[4, :20] = False
    expected, live = plain(partition.__name__, replace(window, relevance=window.relevance.double()))
    found, found_live = partition(window)
    error = (found - expected).abs().amax(1) / expected.abs().amax(1).clamp(min=1e-3)
    assert error.max() < 1e-5
    assert torch.equal(found_live, live)


@pytest.mark.parametrize("partition", PARTITIONS)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_not_read_leaves_no_trace(partition, bad: float) -> None:
    """Whatever stands outside the answer, or at a criterion without a verdict."""
    window = make_experience(16, 4, 50)
    read = window.answer_mask[:, None] & window.scorable[..., None]
    spoilt = replace(window, relevance=torch.where(read, window.relevance, bad))
    for found, expected in zip(partition(spoilt), partition(window), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("partition", PARTITIONS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_fp32(partition, dtype: torch.dtype) -> None:
    window = make_experience(16, 4, 50)
    half = replace(window, relevance=window.relevance.to(dtype))
    with torch.autocast("cpu", torch.bfloat16):
        found, live = partition(half)
    expected, expected_live = partition(replace(half, relevance=half.relevance.float()))
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)
    assert torch.equal(live, expected_live)


@pytest.mark.parametrize("partition", [*PARTITIONS, criterion_normalize])
def test_nothing_waits_for_a_device(partition) -> None:
    """Tensors without values raise where one is asked for: by ``item``, ``nonzero``, ``unique`` or a bool as index."""
    window = make_experience(16, 4, 50)
    parts = {f.name: getattr(window, f.name) for f in fields(window)}
    without = {name: part.to("meta") for name, part in parts.items() if isinstance(part, torch.Tensor)}
    partition(replace(window, **without))


def test_gated_intra_sample_by_hand() -> None:
    # Both meet the first criterion, which is at rest; z of (1, 0) of the second is (1, -1), over two criteria.
    relevance = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]] * 2)
    window = Experience.by_hand(torch.tensor([[True, True], [True, False]]), relevance)
    token, live = gated_intra_sample(window)
    torch.testing.assert_close(token, torch.tensor([[0.5, -0.5], [-0.5, 0.5]]), atol=1e-5, rtol=0)
    assert live.all()
    assert not gated_intra_sample(window.rows(torch.tensor([0])))[0].any()  # a response alone agrees with itself


def test_rubric_mean_by_hand() -> None:
    # Token rewards (1, 0.5) and -(1, 0): means (0, 0.25); the other response has one verdict: (0.5, 0.25).
    # Over (0, 0.25, 0.5, 0.25): mean 0.25, variance 0.03125, std 0.17678.
    relevance = torch.tensor([[[1.0, 0.5], [1.0, 0.0]], [[0.5, 0.25], [1.0, 1.0]]])
    scorable = torch.tensor([[True, True], [True, False]])
    token, live = rubric_mean(Experience.by_hand(torch.tensor([[True, False]] * 2), relevance, scorable=scorable))
    torch.testing.assert_close(token, torch.tensor([[-(2**0.5), 0.0], [2**0.5, 0.0]]), atol=2e-5, rtol=0)
    assert torch.equal(live, scorable)


def test_softmax_spread_by_hand() -> None:
    # The first criterion parts the responses, z = +-1, and has the share 1 / (1 + e^(p_2 - p_1)); both meet the second.
    relevance = torch.tensor([[[1.0, 0.5], [1.0, 0.5]], [[0.0, 1.0], [1.0, 0.0]]])
    token, live = softmax_spread(Experience.by_hand(torch.tensor([[True, True], [False, True]]), relevance))
    expected = torch.tensor([[0.5, 0.5], [-0.26894, -0.73106]])  # 1 / (1 + e), e / (1 + e)
    torch.testing.assert_close(token, expected, atol=1e-5, rtol=0)
    assert live.tolist() == [[True, False]] * 2


def test_means_of_equal_relevance_over_other_numbers_of_criteria_are_equal() -> None:
    """A third of 0.1 three times is not 0.1 in fp32."""
    scorable = torch.tensor([[True, True, True], [True, False, False]])
    token, live = rubric_mean(Experience.by_hand(scorable, torch.full((2, 3, 5), 0.1), scorable=scorable))
    assert (token == 0).all()
    assert not live.any()


@pytest.mark.parametrize("partition", [intra_sample, inter_sample, rubric_mean])
def test_uniform_relevance_has_exactly_no_token_credit(partition) -> None:
    token, live = partition(one_cell([0.1] * 7))
    assert (token == 0).all()
    assert not live.any()


def test_a_spread_below_the_floor_is_noise() -> None:
    nearly = one_cell([0.5, 0.5, 0.5001, 0.5])
    assert intra_sample(nearly)[0].abs().max() > 1  # the paper's formula blows it up
    token, live = intra_sample(nearly, 0.01)
    assert (token == 0).all()
    assert not live.any()


def test_constant_cells_stay_in_the_mean_and_unscorable_ones_do_not() -> None:
    relevance = torch.tensor([[[1.0, 0.0], [1.0, 1.0], [1.0, 0.0]]])
    scorable = torch.tensor([[True, True, False]])
    # z of (1, 0) is (1, -1); of (1, 1) is 0. Scorable 1 and 2: (1 + 0) / 2 = 0.5
    token, _ = intra_sample(Experience.by_hand(torch.ones(1, 3) > 0, relevance, scorable=scorable))
    torch.testing.assert_close(token, torch.tensor([[0.5, -0.5]]), atol=1e-5, rtol=1e-5)


def test_no_partition_is_the_mean_over_criteria() -> None:
    window = Experience.by_hand(torch.tensor([[True, False]]), torch.tensor([[[1.0, 0.5], [1.0, 0.0]]]))
    assert no_partition(window)[0].tolist() == [[0.0, 0.25]]  # (1 - 1) / 2, (0.5 - 0) / 2


@pytest.mark.parametrize("partition", PARTITIONS)
@pytest.mark.parametrize("tokens", [0, 1, 3])
def test_nothing_scorable_or_nothing_said_gives_zero(partition, tokens: int) -> None:
    met, relevance, none = torch.ones(2, 3) > 0, torch.ones(2, 3, tokens), torch.zeros(2, tokens) > 0
    token, live = partition(Experience.by_hand(met, relevance, scorable=~met))
    assert token.shape == (2, tokens)
    assert (token == 0).all()
    assert not live.any()
    empty, _ = partition(Experience.by_hand(met, relevance, answer_mask=none))
    assert (empty == 0).all()


# -- the group baseline --------------------------------------------------------------------------------------------


def test_group_baseline_by_hand() -> None:
    # group 5: mean 0.5, sample std of (0, 1) is 0.7071: -0.7071, +0.7071; group 2 has one known reward: 0
    rewards, known = torch.tensor([0.0, 0.3, 1.0, 9.0]), torch.tensor([True, True, True, False])
    result = group_normalize(rewards, known, torch.tensor([5, 2, 5, 2]))
    torch.testing.assert_close(result, torch.tensor([-0.7071, 0.0, 0.7071, 0.0]), atol=1e-4, rtol=0)
    plain = group_normalize(rewards, known, torch.tensor([5, 2, 5, 2]), scale=False)
    torch.testing.assert_close(plain, torch.tensor([-0.5, 0.0, 0.5, 0.0]))


def test_equal_rewards_give_exactly_zero() -> None:
    """The mean of eight times 0.1 is not 0.1 in fp32; eps alone would leave a residue."""
    for value in (0.1, 0.7, 1 / 3):
        result = group_normalize(torch.full((7,), value), torch.ones(7, dtype=torch.bool), torch.zeros(7).long())
        assert (result == 0).all()


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.booleans(), st.integers(0, 3)), min_size=1))
def test_group_baseline_equals_slow_loops(rows) -> None:
    rewards, known, groups = map(list, zip(*rows, strict=True))
    result = group_normalize(torch.tensor(rewards), torch.tensor(known), torch.tensor(groups))
    torch.testing.assert_close(
        result, torch.tensor(oracle.group_normalize(rewards, known, groups)), atol=1e-4, rtol=1e-4
    )


def test_each_criterion_is_compared_within_its_group_and_among_the_decided() -> None:
    met = torch.tensor([[1, 1], [0, 1], [1, 0], [1, 0], [0, 0]]) > 0
    scorable = torch.tensor([[1, 1], [1, 1], [1, 0], [1, 1], [1, 0]]) > 0
    groups = torch.tensor([4, 4, 4, 1, 1])
    window = Experience.by_hand(met, weights=torch.tensor([[1.0, -1.0]] * 5), scorable=scorable, group_ids=groups)
    # (1, 0, 1): mean 2/3, std 0.57735; (1, 0): +-0.70711. The unwanted one: (0, 0) of two decided; one alone.
    expected = torch.tensor([[0.57735, 0], [-1.15470, 0], [0.57735, 0], [0.70711, 0], [-0.70711, 0]])
    torch.testing.assert_close(criterion_normalize(window), expected, atol=1e-5, rtol=0)
    # Less their means alone: 1/3, -2/3, 1/3; +-1/2.
    plain = torch.tensor([[1 / 3, 0], [-2 / 3, 0], [1 / 3, 0], [0.5, 0], [-0.5, 0]])
    torch.testing.assert_close(criterion_normalize(window, scale=False), plain)


def test_a_verdict_is_compared_by_what_it_says_and_not_by_its_degree() -> None:
    window = Experience.by_hand(torch.tensor([[True], [True], [False]]), value=torch.tensor([[1.0], [0.5], [0.5]]))
    found = criterion_normalize(window, graded=False)[:, 0].tolist()
    assert found == pytest.approx([0.57735, 0.57735, -1.15470], abs=1e-5)  # of (1, 1, 0), as above


def test_a_window_is_compared_as_a_whole() -> None:
    values, known = torch.tensor([1.0, 2.0, 3.0, 9.0]), torch.tensor([True, True, True, False])
    # mean 2, sample std 1
    torch.testing.assert_close(window_normalize(values, known, lambda total: total), torch.tensor([-1.0, 0, 1, 0]))


@pytest.mark.parametrize("values", [[], [3.0], [0.1] * 7, [1 / 3, 1 / 3 + 3e-8], [1e3] * 3])
def test_a_window_that_does_not_spread_gives_exactly_zero(values: list[float]) -> None:
    found = window_normalize(torch.tensor(values), torch.ones(len(values)) > 0, lambda total: total)
    assert found.tolist() == [0.0] * len(values)
    assert (
        window_normalize(torch.tensor(values), torch.zeros(len(values)) > 0, lambda total: total).tolist()
        == found.tolist()
    )


def test_what_is_not_finite_in_a_window_shows() -> None:
    values, known = torch.tensor([1.0, torch.nan, 2.0]), torch.tensor([True, True, True])
    assert window_normalize(values, known, lambda total: total).isnan().all()
    known[1] = False
    assert window_normalize(values, known, lambda total: total).isfinite().all()


def test_groups_without_credit_are_counted() -> None:
    groups = torch.tensor([3, 0, 3, 0, 5])
    assert flat_groups(torch.tensor([0.0, 1.0, 0.0, -1.0, 0.0]), groups).item() == pytest.approx(2 / 3)
    assert flat_groups(torch.tensor([0.0, 0.0, torch.nan, 0.0, 1.0]), groups).item() == pytest.approx(1 / 3)
    assert flat_groups(torch.zeros(0), groups[:0]).isnan()


def test_add_and_mix_by_hand() -> None:
    response, token = torch.tensor([[2.0, 2.0, 2.0, 0.0]]), torch.tensor([[1.0, -1.0, 0.0, 0.0]])
    assert add(response, token, 1.0, 0.5).tolist() == [[2.5, 1.5, 2.0, 0.0]]  # 2 + 0.5, 2 - 0.5
    assert mix(response, token, 1.0, 0.25).tolist() == [[1.75, 1.25, 1.5, 0.0]]  # 0.75 * 2 +- 0.25


# -- defects of the authors' released code -------------------------------------------------------------------------


def test_axes_are_not_mixed_where_a_transpose_is_needed() -> None:
    """At G = 8, K = 3 a reshape in place of a transpose gives samples each other's signs."""
    met = torch.rand(8, 3, generator=torch.Generator().manual_seed(0)) > 0.5
    signs = met * 2.0 - 1
    rewards = token_rewards(Experience.by_hand(met, torch.ones(8, 3, 2)))
    for i in range(8):
        for k in range(3):
            assert (rewards[i, k] == (1.0 if met[i, k] else -1.0)).all()
    assert not torch.equal(signs.T.reshape(8, 3), signs)


def test_soft_relevance_is_not_rounded() -> None:
    assert token_rewards(one_cell([0.3], met=False)).item() == pytest.approx(-0.3)


def test_groups_are_ids_and_not_positions() -> None:
    rewards, known = torch.tensor([0.0, 1.0, 1.0, 0.0]), torch.ones(4, dtype=torch.bool)
    interleaved = group_normalize(rewards, known, torch.tensor([0, 1, 0, 1]))
    assert interleaved.tolist() == pytest.approx([-0.7071, 0.7071, 0.7071, -0.7071], abs=1e-4)
    assert group_normalize(rewards, known, torch.tensor([0, 1, 1, 0])).tolist() == [0, 0, 0, 0]
