"""Metrics of judged responses, and differences between two sets of them with intervals."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from rtt_lightning.datamodules.records import read_judged
from rtt_lightning.functional.accuracy import (
    LOWER,
    RUBRIC,
    UPPER,
    WHOLE,
    WHOLLY_DECIDED,
    accuracy_counts,
    accuracy_metrics,
    accuracy_ratios,
    counts_by_prompt,
    verdict_tensors,
)
from rtt_lightning.functional.intervals import difference_with_interval
from rtt_lightning.reports.hacking import word_runs
from rtt_lightning.types import JudgedRollout
from rtt_lightning.types.errors import UserError

BESIDE_BOUNDS = ("undecided_share", "wholly_decided_responses", "wholly_decided_criteria", "criteria")
METRICS = (RUBRIC, WHOLE, LOWER, UPPER, WHOLLY_DECIDED)


def summarize(judged: Sequence[JudgedRollout]) -> dict[str, float]:
    """Metrics of some responses, at least one; NaN without trials.

    Accuracies and their counts are those of `rtt_lightning.functional.accuracy.accuracy_metrics`;
    ``length`` is the mean number of tokens; ``distinct_2`` is the number of distinct word bigrams per bigram over all
    responses, ``distinct_2_per_response`` the mean of the same within each response; ``truncated`` is a share
    of responses; ``responses`` and ``prompts`` are counts.
    """
    bigrams = [pairs for item in judged if (pairs := word_runs(item.rollout.answer, 2))]
    accuracies = accuracy_metrics(accuracy_counts(*verdict_tensors(judged)).sum(0))
    return {
        RUBRIC: float("nan"),
        **{name: float(value) for name, value in accuracies.items()},
        "length": _mean([len(item.rollout.response_ids) for item in judged]),
        "distinct_2": _distinct([pair for pairs in bigrams for pair in pairs]),
        "distinct_2_per_response": _mean([_distinct(pairs) for pairs in bigrams]),
        "truncated": _mean([item.rollout.finish_reason == "length" for item in judged]),
        "responses": len(judged),
        "prompts": len({item.sample.id for item in judged}),
    }


def compare(before: Path, after: Path) -> dict[str, dict[str, Any]]:
    """Compare completions of the same prompts, files or folders: ``before`` and ``after`` by `summarize`, and
    ``difference``.

    ``difference`` holds `paired_difference` of each accuracy. At instruction level this is the accuracy itself if every
    criterion was decided in both files; else all three hold its bounds instead.
    """
    judged = {"before": read_judged(before), "after": read_judged(after)}
    found = {name: summarize(responses) for name, responses in judged.items()}
    known = all(WHOLE in metrics for metrics in found.values())
    unused = (*BESIDE_BOUNDS, LOWER, UPPER, WHOLLY_DECIDED) if known else (WHOLE,)
    found = {name: {k: v for k, v in metrics.items() if k not in unused} for name, metrics in found.items()}
    metrics = [name for name in METRICS if all(name in metrics for metrics in found.values())]
    return {**found, "difference": {metric: paired_difference(**judged, metric=metric) for metric in metrics}}


def show_comparison(found: Mapping[str, Mapping[str, Any]], title: str) -> None:
    """Print the result of `compare` as a table."""
    table = Table(title=title, title_justify="left")
    for column in ("metric", "before", "after", "difference (95 % interval)"):
        table.add_column(column, justify="left" if column == "metric" else "right")
    for name in (name for name in found["before"] if name in found["after"]):
        before, after, interval = found["before"][name], found["after"][name], found["difference"].get(name)
        shown = "{:+.3f} ({:+.3f} to {:+.3f})".format(*interval) if interval else f"{after - before:+.3f}"
        table.add_row(name, f"{before:.3f}", f"{after:.3f}", shown)
    Console().print(table)


def paired_difference(
    before: Sequence[JudgedRollout], after: Sequence[JudgedRollout], metric: str
) -> tuple[float, float, float]:
    """Accuracy after minus before, and its 95 % interval by bootstrap over prompts, see `difference_with_interval`.

    Args:
        before: Responses.
        after: Responses to the same prompts.
        metric: Of `METRICS`. A difference of lower bounds, or of upper ones, is not a bound of the accuracy's.

    Returns:
        Difference, lower bound, upper bound.

    Raises:
        UserError: For an unknown metric, different prompts, or the instruction-level accuracy if anything is undecided.
    """
    if metric not in METRICS:
        raise UserError(f"unknown metric {metric!r}; expected one of {', '.join(METRICS)}")
    old, new = counts_by_prompt(before), counts_by_prompt(after)
    if old.keys() != new.keys():
        raise UserError(
            f"before and after must be responses to the same prompts to be paired; {len(old.keys() ^ new.keys())} ids "
            "are in only one of them"
        )
    ratios = [accuracy_ratios(np.array([counts[prompt] for prompt in old])) for counts in (old, new)]
    if not all(metric in found for found in ratios):
        raise UserError(f"some criteria are undecided; compare {LOWER}, {UPPER} or {WHOLLY_DECIDED}")
    return difference_with_interval(np.array([found[metric] for found in ratios]))


def _distinct(bigrams: Sequence[tuple[str, ...]]) -> float:
    return len(set(bigrams)) / len(bigrams) if bigrams else float("nan")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")
