"""Tutorial 1: token-level credit by hand.

Goal: see on one prompt, with six tokens, how verdicts and relevance become advantages. Runs in a second on a CPU:

    python tutorials/01_credit_by_hand.py
"""

import torch

from rtt_lightning import GRPO, RTT, Experience
from rtt_lightning.functional.advantages import intra_sample
from rtt_lightning.functional.rewards import all_or_nothing, satisfaction_rate

# One prompt, a group of two responses, two criteria: "mention tea" and "no commas". An experience holds such a window;
# all that is not given here has a default: weights of 1, everything decided, one group.
words = ["I", "like", "tea", ",", "too", "<end>"]
relevance = torch.zeros(2, 2, 6)  # [batch rubric token]
relevance[:, 0, 2] = 1.0  # "tea" decides the first criterion in both responses
relevance[0, 1, 3] = 1.0  # the comma violates the second one in the first response
experience = Experience.by_hand(
    met=torch.tensor([[True, False], [True, True]]),  # [batch rubric]
    relevance=relevance,
    answer_mask=torch.tensor([[True] * 5 + [False]] * 2),  # the end token carries no character of the answer
)
print(experience)

# -- Response level: one number per response ---------------------------------------------------------------------
print("satisfaction rate", satisfaction_rate(experience)[0].tolist())  # (1 + 0) / 2 = 0.5 and (1 + 1) / 2 = 1
print("all or nothing   ", all_or_nothing(experience)[0].tolist())
response = GRPO()(experience).advantages  # [batch token]: the same for all tokens of a response
print("A_res            ", [round(a, 3) for a in response[:, 0].tolist()])  # mean 0.75, std 0.354: -0.707 and +0.707

# -- Token level: which of the six tokens earned it? -------------------------------------------------------------
token, live = intra_sample(experience)
print("live cells       ", live.tolist())  # no comma in the second response: that cell is constant and gives 0

# -- Both (Eq. 7) ------------------------------------------------------------------------------------------------
credited = RTT(alpha=1.0, beta=0.5)(experience)
print(credited)
for word, first, second in zip(words, *credited.advantages.tolist(), strict=True):
    print(f"{word:>8} {first:+.3f} {'#' * round(abs(first) * 10):<20} {second:+.3f} {'#' * round(abs(second) * 10)}")

# Recap: with 1 of 5 tokens relevant, its z-score is sqrt(4) = 2 and that of the others -0.5. "tea" is pushed up even in
# the worse response, the comma down; token credit sums to 0 over each response; the end token has A_res alone.
assert abs(token[0, 2].item() - (2.0 + 0.5) / 2) < 1e-4  # (tea under criterion 1 + tea under criterion 2) / 2
assert abs(token[0, 3].item() - (-0.5 - 2.0) / 2) < 1e-4
assert token[:, 5].abs().max() == 0
assert token.sum(1).abs().max() < 1e-4
assert torch.equal(credited.advantages, response + 0.5 * token)
