"""What credit falls on, by hand."""

from dataclasses import replace

import torch

from rtt_lightning.reports.credited import credited_repetition
from rtt_lightning.types import Criterion, JudgedRollout, Rollout, RubricSample, Verdict

SAMPLE = RubricSample("p", ({"role": "user", "content": "?"},), (Criterion("c", "judge"),))


def said(text: str, *tokens: str, answer: int = 0) -> JudgedRollout:
    """A response whose answer begins at a character, in these tokens and an end token."""
    assert text == "".join(tokens)
    ends = [sum(map(len, tokens[: n + 1])) for n in range(len(tokens))]
    offsets = (*((end - len(token), end) for end, token in zip(ends, tokens, strict=True)), (0, 0))
    rollout = Rollout.of_text("p", text, (answer, len(text)))
    return JudgedRollout(
        SAMPLE, replace(rollout, response_ids=(1,) * len(offsets), offsets=offsets), (Verdict(True, ""),)
    )


def test_the_credit_of_runs_that_stood_before_and_of_all_runs() -> None:
    item = said("Tea is warm. Tea is warm", "Tea", " is", " war", "m", ". Tea", " is", " warm")
    gains = torch.tensor([[1.0, -5.0, 1.0, 1.0, 4.0, 0.0, 2.0, 100.0]])
    # Words: tea 1, is 0, warm 1 + 1, tea 4, is 0, warm 2. Runs: tea-is-warm 3, is-warm-tea 6, warm-tea-is 6, and
    # tea-is-warm again 6. The end token carries no word, and what is pushed down has no credit.
    assert credited_repetition([item], gains) == (6, 21)


def test_only_the_answer_counts_and_responses_add_up() -> None:
    thought = said("<t>a b c</t>a b c d", "<t>", "a b c", "</t>", "a", " b", " c", " d", answer=12)
    row = torch.tensor([0.0, 9.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0])
    assert credited_repetition([thought], row[None]) == (0, 6)  # a-b-c and b-c-d
    twice = said("x x x x", "x x", " x x")  # each token carries two words, and both have its credit
    both = torch.stack([row, torch.tensor([1.0, 1.0, *[0.0] * 6])])
    assert credited_repetition([thought, twice], both) == (3, 6 + 6)
    assert credited_repetition([said("", "")], torch.ones(1, 2)) == (0, 0)
    assert credited_repetition([], torch.zeros(0, 1)) == (0, 0)
