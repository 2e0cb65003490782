"""The training curves of the report."""

import csv
import math
from collections.abc import Collection, Sequence
from pathlib import Path

from rtt_lightning.functional.accuracy import LOWER, UPPER, WHOLE
from rtt_lightning.reports.markup import NOT_RECORDED, line_chart, section

CURVES = {
    "rollout/reward": ("Reward", "mean response reward of a window, where it is known"),
    "rollout/reward_unknown": ("Unknown rewards", "share of responses"),
    "rollout/rubric_accuracy": ("Rubric-level accuracy", "on training prompts"),
    f"rollout/{WHOLE}": ("Instruction-level accuracy", "on training prompts"),
    f"rollout/{LOWER}": ("Instruction-level accuracy, lower bound", "training prompts; undecided: not as desired"),
    f"rollout/{UPPER}": ("Instruction-level accuracy, upper bound", "training prompts; undecided: as desired"),
    "rollout/undecided_share": ("Undecided", "share of responses with an undecided criterion"),
    "rollout/length": ("Length", "tokens per response"),
    "rollout/truncated": ("Truncated", "share of responses cut off"),
    "rollout/live_cells": ("Live cells", "share of (response, criterion) pairs with a token-level signal"),
    "rollout/zero_variance_groups": ("Zero-variance groups", "share of prompts without a response-level signal"),
    "rollout/unscorable": ("Unscorable", "share of criteria without a verdict"),
    "rollout/repetition": ("Repetition", "share of runs of three words that stood in the response before"),
    "rollout/copying": ("Copying", "share of runs of five words that stand in prompt or criteria"),
    "rollout/self_praise": ("Self-praise", "share of responses that praise themselves"),
    "watch/coherence": ("Coherence", "log-prob per token under the reference"),
    "watch/optimism": ("Optimism", "criteria as desired: by training minus by the held-out judge"),
    "train/policy_loss": ("Policy loss", "mean over response tokens"),
    "train/kl": ("KL to the reference", "nats per token"),
    "train/kl_per_response": ("KL to the reference", "nats per response"),
    "train/reference_gap": ("Gap to the reference", "nats per token; top-p or top-k: no KL"),
    "train/reference_gap_per_response": ("Gap to the reference", "nats per response; top-p or top-k: no KL"),
    "train/entropy": ("Entropy", "nats per token"),
    "train/logprob_gap": ("Log-prob gap", "|sampler − trainer| per token"),
    "train/clipped": ("Clipped", "share of tokens at the clip bound"),
}


def curves_section(logs: Sequence[Path]) -> str:
    """A chart of each metric in the logs of a run, in order."""
    note = "Thin: every logged value. Thick: running mean. Point at the line for values."
    points = read_metrics(logs, CURVES)
    if points[f"rollout/{LOWER}"] == points[f"rollout/{UPPER}"]:  # all was decided
        points |= {f"rollout/{LOWER}": [], f"rollout/{UPPER}": []}
    else:
        points[f"rollout/{WHOLE}"] = []
    charts = [line_chart(*words, points[column]) for column, words in CURVES.items() if points.get(column)]
    return section("Training", note, f'<div class="grid">{"".join(charts)}</div>' if charts else NOT_RECORDED)


def read_metrics(logs: Sequence[Path], columns: Collection[str]) -> dict[str, list[tuple[float, float]]]:
    """(step, value) per column of `CSVLogger` files, whose rows are sparse, without non-finite values.

    A run that was killed and resumed has several, in order; if a step occurs twice, the later one counts.
    """
    points: dict[str, dict[float, float]] = {column: {} for column in columns}
    for log in logs:
        with log.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                for column in columns:
                    if row.get(column) and math.isfinite(value := float(row[column])):
                        points[column][float(row["step"])] = value
    return {column: sorted(values.items()) for column, values in points.items()}
