"""Tutorial 7: group partitions side by side.

Goal: see, on four answers of real words and real verdicts, over which axes token rewards are normalised, and what that
does to each word. Runs in two seconds on a CPU, without a model, and draws a picture (with matplotlib, from the extra
`plots`):

    python tutorials/07_group_partitions.py
"""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from matplotlib.figure import Figure
from torch import Tensor

from rtt_lightning import GDPO, GRPO, RTT, Criterion, FactoredRTT, Rollout, RubricSample, RuleSpans, RuleVerifier
from rtt_lightning.functional.advantages import (
    gated_intra_sample,
    inter_sample,
    intra_sample,
    rubric_mean,
    softmax_spread,
)
from rtt_lightning.rollout.experience import collate
from rtt_lightning.types import Experience
from rtt_lightning.verifiers.judging import judge

# 1. A prompt with three criteria, and a group of four answers. A word or a mark is a token here.
ANSWERS = ("Hot tea warms us, always.", "Tea is hot.", "We like tea and tea and tea.", "Coffee, with milk, helps.")
sample = RubricSample(
    id="drinks",
    messages=(
        {"role": "user", "content": "Praise a drink. Use the word 'tea'. Use no commas. Finish the last sentence."},
    ),
    criteria=(
        Criterion("Use the word 'tea'.", "rtt:include_word", {"word": "tea"}),
        Criterion("Use no commas.", "rtt:no_commas"),
        Criterion("Finish the last sentence.", "rtt:end_punctuation"),
    ),
)


def answer(text: str, number: int) -> Rollout:
    offsets = tuple(found.span() for found in re.finditer(r"\w+|[^\w\s]", text))
    rollout = Rollout.of_text("drinks", text, group_id=0, sample_index=number)
    return replace(rollout, response_ids=(0,) * len(offsets), offsets=offsets)


# 2. Rules judge, and say which characters decided: "tea" the first criterion, commas the second, the last mark the
#    third.
rollouts = [(sample, answer(text, number)) for number, text in enumerate(ANSWERS)]
judged = judge(RuleVerifier(workers=0), rollouts, loose=False, mask_truncated=False)
experience = collate(judged, RuleSpans().weigh(judged))
for item in judged:
    print(*("met  " if verdict.met else "unmet" for verdict in item.verdicts), item.rollout.text)

# 3. The same token rewards r = ±p, under every partition. What differs is the set of values that a mean and a standard
#    deviation are taken over.
Credit = Callable[[Experience], Tensor]
VARIANTS: dict[str, Credit] = {
    "intra-sample (the paper's): tokens of one answer": lambda e: intra_sample(e)[0],
    "gated intra-sample: 0 where the group agrees": lambda e: gated_intra_sample(e)[0],
    "inter-sample: tokens of all answers": lambda e: inter_sample(e)[0],
    "rubric-mean: mean over criteria first": lambda e: rubric_mean(e)[0],
    "softmax-spread: verdicts compared, then spread": lambda e: softmax_spread(e)[0],
    "factored: verdicts compared, paid to their tokens": lambda e: FactoredRTT(alpha=0.0)(e).advantages,
    "GRPO: no token credit": lambda e: GRPO()(e).advantages,
    "RTT-GRPO: GRPO + 0.5 intra-sample": lambda e: RTT()(e).advantages,
    "GDPO: criteria compared one by one": lambda e: GDPO()(e).advantages,
}

# 4. Draw them: a row per answer, a box per token, purple for up and orange for down.
figure = Figure(figsize=(15, 7.5), layout="constrained")
for axes, (name, credit) in zip(figure.subplots(3, 3).flat, VARIANTS.items(), strict=True):
    advantages = credit(experience)
    axes.imshow(advantages, cmap="PuOr", vmin=-2.5, vmax=2.5, aspect="auto")
    for row, item in enumerate(judged):
        for column, (start, end) in enumerate(item.rollout.offsets):
            word, value = item.rollout.text[start:end], float(advantages[row, column])
            colour = "white" if abs(value) > 1.5 else "black"
            axes.text(column, row, f"{word}\n{value:+.1f}", ha="center", va="center", fontsize=7, color=colour)
    axes.set_title(name, fontsize=9)
    axes.set(xticks=[], yticks=range(len(judged)))
picture = Path("runs/tutorials/group_partitions.png")
picture.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(picture, dpi=110)
print(f"picture: {picture}")

# Recap. All answers finish their last sentence. Intra-sample credit pushes its mark up nevertheless; credit that is
# compared within the group (gated, factored, softmax-spread) does not. Intra-sample credit sums to 0 in each answer, so
# none loses by it as a whole; inter-sample credit moves whole answers too. RTT-GRPO adds it to GRPO's.
intra, gated, inter = (VARIANTS[name](experience) for name in [*VARIANTS][:3])
stop = len(judged[1].rollout.offsets) - 1  # of "Tea is hot."
assert intra[1, stop] > 0 > gated[1, stop]
assert intra.sum(1).abs().max() < 1e-4
assert inter.sum(1).abs().max() > 0.1
