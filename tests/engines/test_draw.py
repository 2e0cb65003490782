"""Drawing one token per row, by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rtt_lightning.engines.base import Sampling
from rtt_lightning.engines.embedded.engine import draw


def drawn(p: list[float], uniforms: list[float], sampling: Sampling = Sampling()) -> tuple[list[int], Tensor]:
    """Tokens and log-probs for several uniforms under one distribution, given as probabilities."""
    logits = torch.tensor(p).log().expand(len(uniforms), -1) + 3.0  # a constant in the logits means nothing
    ids, logprobs = draw(logits, torch.tensor(uniforms, dtype=torch.float64), sampling)
    return ids.tolist(), logprobs


def close(actual: Tensor, *expected: float) -> None:
    torch.testing.assert_close(actual, torch.tensor(expected).log(), atol=1e-5, rtol=1e-5)


def test_a_token_is_drawn_by_inverting_the_cumulative_distribution() -> None:
    # cumulative 0.5, 0.8, 1
    ids, logprobs = drawn([0.5, 0.3, 0.2], [0.0, 0.49, 0.51, 0.79, 0.81, 1 - 2**-53])
    assert ids == [0, 0, 1, 1, 2, 2]
    close(logprobs, 0.5, 0.5, 0.3, 0.3, 0.2, 0.2)


def test_temperature_sharpens_the_distribution_and_its_log_probs() -> None:
    # temperature 0.5 squares: 0.25, 0.09, 0.04 of 0.38 -> 0.6579, 0.2368, 0.1053; cumulative 0.6579, 0.8947, 1
    ids, logprobs = drawn([0.5, 0.3, 0.2], [0.65, 0.67, 0.89, 0.90], Sampling(temperature=0.5))
    assert ids == [0, 1, 1, 2]
    close(logprobs, 0.25 / 0.38, 0.09 / 0.38, 0.09 / 0.38, 0.04 / 0.38)


def test_greedy_takes_the_most_likely_token_whatever_the_chance() -> None:
    ids, logprobs = drawn([0.3, 0.5, 0.2], [0.0, 0.4, 0.99], Sampling(n=1, temperature=0, top_p=0.1, top_k=1))
    assert ids == [1, 1, 1]
    close(logprobs, 0.5, 0.5, 0.5)  # at temperature 1


# The rest is renormalised: 0.3 and 0.5 of 0.8 -> cumulative over ids 1 and 2: 0.375, 1.
# Log-probs stay those of the full softmax.
@pytest.mark.parametrize("sampling", [Sampling(top_k=2), Sampling(top_p=0.6), Sampling(top_p=0.79)])
def test_top_k_and_top_p_keep_the_most_likely_tokens_wherever_they_are(sampling: Sampling) -> None:
    ids, logprobs = drawn([0.2, 0.3, 0.5], [0.0, 0.37, 0.38, 0.999], sampling)
    assert ids == [1, 1, 2, 2]
    close(logprobs, 0.3, 0.3, 0.5, 0.5)


@pytest.mark.parametrize(
    ("sampling", "kept"),
    [
        (Sampling(top_p=0.81), {0, 1, 2}),  # 0.5 + 0.3 = 0.8 is not yet 0.81
        (Sampling(top_p=0.49), {2}),
        (Sampling(top_p=0.01), {2}),  # the most likely token always stays
        (Sampling(top_k=1), {2}),
        (Sampling(top_k=99), {0, 1, 2}),
        # top-k first: 0.5 and 0.3 of 0.8 are 0.625 and 0.375; then top-p of those: 0.625 >= 0.6 but < 0.7
        (Sampling(top_k=2, top_p=0.6), {2}),
        (Sampling(top_k=2, top_p=0.7), {1, 2}),
    ],
)
def test_what_top_k_and_top_p_keep(sampling: Sampling, kept: set[int]) -> None:
    assert set(drawn([0.2, 0.3, 0.5], [i / 100 for i in range(100)], sampling)[0]) == kept


def test_top_p_is_taken_at_the_sampling_temperature() -> None:
    # 0.5, 0.3, 0.2 at temperature 0.5: 0.658 > 0.6, so one token is enough; at temperature 1 it takes two
    assert set(drawn([0.2, 0.3, 0.5], [0.0, 0.5, 0.99], Sampling(top_p=0.6, temperature=0.5))[0]) == {2}


def test_a_token_without_probability_is_never_drawn() -> None:
    assert drawn([0.0, 0.5, 0.5, 0.0], [0.0, 0.49, 0.51, 1 - 2**-53])[0] == [1, 1, 2, 2]


@settings(max_examples=50, deadline=None)
@given(
    logits=st.lists(st.floats(-8, 8), min_size=1, max_size=12),
    temperature=st.floats(0.2, 3),
)
def test_evenly_spread_uniforms_give_each_token_its_share(logits: list[float], temperature: float) -> None:
    """Of N evenly spread uniforms N p fall on a token, give or take the one at each end of its interval."""
    count = 1000
    uniforms = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    row = torch.tensor(logits)
    ids, logprobs = draw(row.expand(count, -1), uniforms, Sampling(temperature=temperature))
    p = (row.double() / temperature).softmax(-1)
    shares = torch.bincount(ids, minlength=len(logits))
    assert ((shares - count * p).abs() < 1.01).all()
    torch.testing.assert_close(logprobs, p.log()[ids].float(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("sampling", [Sampling(), Sampling(top_p=0.9, top_k=2)], ids=["full", "cut"])
def test_logits_that_are_not_finite_give_a_token_of_the_vocabulary_and_a_log_prob_that_says_so(
    bad: float, sampling: Sampling
) -> None:
    ids, logprobs = draw(torch.tensor([[0.0, bad, 0.0], [0.0, 1.0, 2.0]]), torch.tensor([0.5, 0.99]).double(), sampling)
    assert ids[0] in range(3)
    assert logprobs.isfinite().tolist() == [False, True]
