"""Names and numbers of a comparison, for its table, page and plot."""

from collections.abc import Mapping
from math import isnan, nan
from typing import Any

from rtt_lightning.functional.accuracy import UPPER
from rtt_lightning.runtime.terminal import three_decimals

AFTER = {
    UPPER: "instruction-level, upper bound",
    "undecided_share": "responses with an undecided criterion",
    "kl_per_response": "KL to the start, nats per response",
    "length": "tokens per response",
    "distinct_2": "distinct-2",
    "repetition": "repetition",
    "copying": "copying",
    "self_praise": "self-praise",
    "truncated": "truncated",
}
"""Metrics of the responses after the last update."""
TRAINED = {
    "train/entropy": "entropy, nats per token",
    "rollout/live_cells": "live cells",
    "rollout/zero_variance_groups": "zero-variance groups",
    "rollout/effective_tokens": "effective number of credited tokens",
    "rollout/gini": "Gini of credit over tokens",
    "rollout/credited_repetition": "repetition of credited words",
    "time/sampling": "sampling, s per window",
    "time/judging": "judging, s per window",
    "time/relevance": "relevance, s per window",
    "time/update": "update, s per window",
}
"""Metrics of training."""


LAST = "after the last update"
"""When methods are compared, if not `at_kl`."""


def at_kl(found: Mapping[str, Any]) -> str:
    """Where methods are compared at an equal KL."""
    return f"at a KL of {found['kl']:.2f} nats per response"


def signed(estimate: Mapping[str, float]) -> str:
    """A difference with its interval."""
    if isnan(estimate["mean"]):
        return "–"
    return "{:+.3f} ({:+.3f} to {:+.3f})".format(estimate["mean"], estimate["low"], estimate["high"]).replace("-", "−")


def share(estimate: Mapping[str, float]) -> str:
    return three_decimals(estimate["mean"])


def p_value(estimate: Mapping[str, Any]) -> str:
    """At least one in 2,001 resamples is beyond, so no smaller p is known."""
    return "p < 0.001" if estimate["p"] <= 0.001 else f"p = {estimate['p']:.3f}"


def rows(found: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """A table of what became of responses and training: its head, and a row per metric that any method has."""
    methods = {method: {**found["metrics"][method], **found["training"][method]} for method in found["metrics"]}
    columns = {"before": found["start"], **methods}
    return ["", *columns], [
        [label, *(three_decimals(column.get(name, nan)) for column in columns.values())]
        for name, label in {**AFTER, **TRAINED}.items()
        if any(name in column for column in columns.values())
    ]


def frontier_note(found: Mapping[str, Any]) -> str:
    """What a KL could buy, if it is known; empty else."""
    gain = found.get("frontier_gain", nan)
    return "" if isnan(gain) else f"The best policy of this KL would gain +{gain:.3f} at rubric level (the frontier)."


def without_kl(found: Mapping[str, Any]) -> str:
    """Why nothing is compared at an equal KL."""
    return (
        f"Nothing is compared at an equal KL, as that of {', '.join(found['without_kl'])} is unknown: evaluations need "
        "the full vocabulary (top_p 1, top_k 0)."
    )


def tripped(found: Mapping[str, Any], method: str) -> str:
    """How many runs of a method trip guards; empty if none."""
    runs = found["tripped"][method]
    return f"guards tripped in {len(runs)} of {len(found['seeds'])} runs" if runs else ""


def seeds(found: Mapping[str, Any]) -> str:
    return f"seed{'s' * (len(found['seeds']) > 1)} {', '.join(map(str, found['seeds']))}"
