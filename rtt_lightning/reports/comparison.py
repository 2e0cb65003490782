"""Figures of completions files, and the difference between two of them with an interval."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from rtt_lightning.datamodules.records import parse_record
from rtt_lightning.functional.accuracy import (
    LOWER,
    UPPER,
    WHOLE,
    WHOLLY_DECIDED,
    instruction_counts,
    instruction_figures,
    instruction_ratios,
    rubric_counts,
)
from rtt_lightning.functional.intervals import exact_reach
from rtt_lightning.reports.evaluation import by_prompt
from rtt_lightning.rollout.experience import verdict_tensors
from rtt_lightning.types import RubricSample, Span, Verdict

RESAMPLES = 2_000
BESIDE_BOUNDS = ("undecided_share", "wholly_decided_responses", "wholly_decided_criteria", "criteria")
METRICS = ("rubric_accuracy", WHOLE, LOWER, UPPER, WHOLLY_DECIDED)
COLUMNS = ("id", "messages", "criteria", "response", "text", "sample_index", "offsets", "finish_reason")


@dataclass(frozen=True)
class Completion:
    """One row of a file that `write_completions` wrote.

    Attributes:
        sample: Prompt and rubric.
        verdicts: One per criterion.
        response: What the verifiers saw.
        text: The whole decoded response.
        sample_index: Number of the response within its group.
        offsets: Per response token, the characters of ``text`` that it carries.
        finish_reason: ``"stop"`` or ``"length"``.
        relevance: ``[rubric token]``, where recorded.
        advantages: ``[token]``, where recorded.
    """

    sample: RubricSample
    verdicts: tuple[Verdict, ...]
    response: str
    text: str
    sample_index: int
    offsets: tuple[Span, ...]
    finish_reason: str
    relevance: Sequence[Sequence[float]] | None = None
    advantages: Sequence[float] | None = None


def read_completions(path: Path) -> list[Completion]:
    """All rows of a completions file, in order.

    Raises:
        ValueError: For a missing, empty or foreign file.
    """
    if not path.is_file():
        raise ValueError(f"no completions at {path}; `rtt validate` and `rtt predict` write them to rollout.output")
    table = pq.read_table(path)
    if missing := [name for name in COLUMNS if name not in table.column_names]:
        raise ValueError(f"{path} is not a completions file: it lacks the columns {', '.join(missing)}")
    if not table.num_rows:
        raise ValueError(f"{path} holds no completions; it needs at least one row")
    completions = []
    for number, row in enumerate(table.to_pylist(), start=1):
        record = parse_record(row, f"{path.name}:{number}")
        if record.response is None:
            raise ValueError(f"{path}: row {number} has no response")
        offsets = tuple((start, end) for start, end in row["offsets"])
        same = {name: row[name] for name in ("text", "sample_index", "finish_reason")}
        optional = {name: row.get(name) for name in ("relevance", "advantages")}
        completions.append(
            Completion(record.sample, record.verdicts, record.response, offsets=offsets, **same, **optional)
        )
    return completions


def summarize(path: Path) -> dict[str, float]:
    """Figures of one completions file; NaN where there is nothing to count.

    ``rubric_accuracy`` is that of `rtt_lightning.metrics`, and what concerns the instruction level that of
    `rtt_lightning.functional.accuracy.instruction_figures`; ``length`` is the mean number of tokens; ``distinct_2`` is
    the number of distinct word bigrams per bigram over all responses together, ``distinct_2_per_response`` the mean of
    the same within each response; ``truncated`` and ``unscorable`` are shares of responses and criteria; ``responses``
    and ``prompts`` are counts.
    """
    completions = read_completions(path)
    bigrams = [pairs for item in completions if (pairs := _bigrams(item.response))]
    criteria = sum(len(item.verdicts) for item in completions)
    verdicts = verdict_tensors(_judged(completions))
    desired, scorable = rubric_counts(*verdicts).sum(0).tolist()
    instruction = instruction_figures(instruction_counts(*verdicts).sum(0))
    return {
        "rubric_accuracy": desired / scorable if scorable else float("nan"),
        **{name: float(value) for name, value in instruction.items()},
        "length": _mean([len(item.offsets) for item in completions]),
        "distinct_2": _distinct([pair for pairs in bigrams for pair in pairs]),
        "distinct_2_per_response": _mean([_distinct(pairs) for pairs in bigrams]),
        "truncated": _mean([item.finish_reason == "length" for item in completions]),
        "unscorable": 1 - scorable / criteria,
        "responses": len(completions),
        "prompts": len({item.sample.id for item in completions}),
    }


def compare(before: Path, after: Path) -> dict[str, dict[str, Any]]:
    """What two completions files of the same prompts say: ``before`` and ``after`` by `summarize`, and ``difference``.

    The latter holds `paired_difference` of each accuracy. At instruction level that is the accuracy itself if every
    criterion was decided in both files; otherwise it stands in neither, and its bounds do.
    """
    found = {"before": summarize(before), "after": summarize(after)}
    known = all(WHOLE in figures for figures in found.values())
    unused = (*BESIDE_BOUNDS, LOWER, UPPER, WHOLLY_DECIDED) if known else (WHOLE,)
    found = {name: {k: v for k, v in figures.items() if k not in unused} for name, figures in found.items()}
    metrics = [name for name in METRICS if all(name in figures for figures in found.values())]
    return {**found, "difference": {metric: paired_difference(before, after, metric) for metric in metrics}}


def paired_difference(before: Path, after: Path, metric: str, seed: int = 0) -> tuple[float, float, float]:
    """Accuracy after minus before, and its 95 % interval by bootstrap over prompts.

    A resample draws prompts with replacement and takes all responses of a drawn prompt, before and after, so that
    easy and hard prompts cancel; each accuracy is pooled over the drawn prompts, as in `summarize`. Where both are 0,
    or both 1, no resample differs: the interval is then the exact one of the share of prompts that change, of which
    none did.

    Args:
        before: Completions file.
        after: Completions file over the same prompts.
        metric: Of `METRICS`. A difference of lower bounds, or of upper ones, bounds no difference of accuracies.
        seed: Of the resampling.

    Returns:
        Difference, lower bound, upper bound.

    Raises:
        ValueError: For an unknown metric, other prompts, or the instruction-level accuracy where not all is decided.
    """
    if metric not in METRICS:
        raise ValueError(f"unknown metric {metric!r}; expected one of {', '.join(METRICS)}")
    trials = [_trials(path) for path in (before, after)]
    if undecided := [str(path) for path, found in zip((before, after), trials, strict=True) if metric not in found]:
        raise ValueError(
            f"{' and '.join(undecided)} hold undecided criteria; compare {LOWER}, {UPPER} or {WHOLLY_DECIDED}"
        )
    old, new = (found[metric] for found in trials)
    if old.keys() != new.keys():
        raise ValueError(
            f"{before} and {after} must hold the same prompts to be paired; "
            f"{len(old.keys() ^ new.keys())} ids stand in only one of them"
        )
    counts = np.array([[old[prompt], new[prompt]] for prompt in old])  # [prompt, file, (passed, counted)]
    prompts, total = len(counts), counts.sum(0)
    if (total[:, 0] == 0).all() or (total[:, 0] == total[:, 1]).all():
        return 0.0, -exact_reach(prompts), exact_reach(prompts)
    draws = np.random.default_rng(seed).multinomial(prompts, np.full(prompts, 1 / prompts), size=RESAMPLES)
    low, high = np.nanpercentile(_difference(np.einsum("rp,pfc->rfc", draws, counts)), [2.5, 97.5])
    return float(_difference(total)), float(low), float(high)


def accuracy_by_kind(completions: Sequence[Completion]) -> dict[str, tuple[float, int]]:
    """Rubric-level accuracy and number of scorable criteria per criterion kind (checker id)."""
    desired: defaultdict[str, list[bool]] = defaultdict(list)
    for item in completions:
        for criterion, verdict in zip(item.sample.criteria, item.verdicts, strict=True):
            wanted = criterion.weight > 0
            desired[criterion.checker] += [] if verdict.met is None else [verdict.met == wanted]
    return {kind: (_mean(found), len(found)) for kind, found in desired.items()}


def _judged(completions: Sequence[Completion]) -> list[tuple[RubricSample, tuple[Verdict, ...]]]:
    return [(item.sample, item.verdicts) for item in completions]


def _trials(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """Successes and trials of each prompt, of each accuracy that the file has."""
    judged = _judged(read_completions(path))
    instruction = by_prompt(judged, instruction_counts)
    ratios = instruction_ratios(np.array(list(instruction.values())))
    found = {name: dict(zip(instruction, np.stack(ratio, 1), strict=True)) for name, ratio in ratios.items()}
    return {"rubric_accuracy": by_prompt(judged, rubric_counts), **found}


def _difference(counts: np.ndarray) -> np.ndarray:
    """``[..., file, (passed, counted)]`` to accuracy of file 1 minus that of file 0; NaN where nothing is counted."""
    with np.errstate(invalid="ignore"):
        accuracy = counts[..., 0] / counts[..., 1]
    return accuracy[..., 1] - accuracy[..., 0]


def _bigrams(text: str) -> list[tuple[str, str]]:
    words = re.findall(r"\w+", text.lower())
    return list(pairwise(words))


def _distinct(bigrams: Sequence[tuple[str, str]]) -> float:
    return len(set(bigrams)) / len(bigrams) if bigrams else float("nan")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")
