"""What an evaluation leaves behind: tables on the terminal, figures, completions and verdicts in files."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from rtt_lightning.callbacks.completions import show_kinds, write_completions
from rtt_lightning.terminal import counted, three_decimals
from rtt_lightning.types import Criterion, JudgedRollout, RubricSample, Verdict

Counts = Callable[[RubricSample, Sequence[Verdict]], tuple[int, int]]
"""Successes and trials of one response."""


def report(judged: Sequence[JudgedRollout], name: str, folder: Path | None, others: Mapping[str, float]) -> None:
    """Show an evaluation; with a folder also write ``<name>.parquet``, ``<name>.jsonl`` and ``<name>.json``.

    Args:
        judged: All responses, at least one.
        name: Of the evaluation.
        folder: Made where it is missing.
        others: Figures to write beside the accuracies. What is NaN is written as null.
    """
    prompts = len({item.sample.id for item in judged})
    title = f"{name}: {counted(len(judged), 'response')} to {counted(prompts, 'prompt')}"
    found = figures(judged)
    show_kinds(judged, title)
    table = Table(title="mean and 95 % interval over prompts", title_justify="left")
    columns = [way for way in ("strict", "loose") if f"rubric_accuracy_{way}" in found]
    for column in ("accuracy", *columns):
        table.add_column(column, justify="left" if column == "accuracy" else "right")
    for level in ("instruction", "rubric"):
        table.add_row(f"{level}-level", *(_shown(found[f"{level}_accuracy_{column}"]) for column in columns))
    Console().print(table)
    undecided = sum(not instruction_counts(item.sample, item.verdicts)[1] for item in judged)
    if undecided:
        print(f"undecided, and left out at instruction level: {counted(undecided, 'response')}")
    if folder is None:
        return
    write_completions(folder / f"{name}.parquet", judged)
    with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps(_verdict_row(item)) + "\n" for item in judged)
    written = {**others, **found, "responses": len(judged), "prompts": prompts, "undecided": undecided}
    (folder / f"{name}.json").write_text(json.dumps(_with_null(written), indent=2, allow_nan=False) + "\n")
    print(f"completions: {folder / name}.parquet, verdicts: {folder / name}.jsonl, figures: {folder / name}.json")


def figures(judged: Sequence[JudgedRollout]) -> dict[str, dict[str, float]]:
    """Accuracies by name, each with the bounds of its interval: ``mean``, ``low``, ``high``.

    Loose ones are there where all responses were judged loosely. See `rtt_lightning.metrics` for what is counted.
    """
    ways = {"strict": [(item.sample, item.verdicts) for item in judged]}
    if all(item.loose is not None for item in judged):
        ways["loose"] = [(item.sample, item.loose or ()) for item in judged]
    found = {}
    for way, pairs in ways.items():
        for level, counts in (("instruction", instruction_counts), ("rubric", rubric_counts)):
            by_prompt = counts_by_prompt(pairs, counts)
            found[f"{level}_accuracy_{way}"] = ratio_with_interval(np.array(list(by_prompt.values())))
    return found


def counts_by_prompt(
    judged: Iterable[tuple[RubricSample, Sequence[Verdict]]], counts: Counts
) -> dict[str, tuple[int, int]]:
    """Sums of the counts of each prompt's responses, by prompt id."""
    totals: dict[str, tuple[int, int]] = {}
    for sample, verdicts in judged:
        passed, counted = totals.get(sample.id, (0, 0))
        more_passed, more_counted = counts(sample, verdicts)
        totals[sample.id] = passed + more_passed, counted + more_counted
    return totals


def ratio_with_interval(counts: np.ndarray) -> dict[str, float]:
    """Sum of successes / sum of trials over prompts, with a 95 % interval that knows that a prompt's trials belong
    together: 1.96 standard errors of the ratio (Cochran, Sampling Techniques, 6.4), within [0, 1].

    Args:
        counts: ``[prompt 2]``, successes and trials.

    Returns:
        ``mean``, ``low`` and ``high``; NaN without trials, and without an interval for a single prompt.
    """
    successes, trials = counts[counts[:, 1] > 0].T
    if not trials.size:
        return dict.fromkeys(("mean", "low", "high"), float("nan"))
    mean = successes.sum() / trials.sum()
    residuals = successes - mean * trials
    n = len(trials)
    error = np.sqrt(n / (n - 1) * (residuals**2).sum()) / trials.sum() if n > 1 else float("nan")
    low, high = np.clip([mean - 1.96 * error, mean + 1.96 * error], 0, 1)
    return {"mean": float(mean), "low": float(low), "high": float(high)}


def rubric_counts(sample: RubricSample, verdicts: Sequence[Verdict]) -> tuple[int, int]:
    """Criteria as desired, and criteria that could be decided."""
    desired = _desired(sample.criteria, verdicts)
    return sum(known is True for known in desired), sum(known is not None for known in desired)


def instruction_counts(sample: RubricSample, verdicts: Sequence[Verdict]) -> tuple[int, int]:
    """Whether all criteria are as desired, and whether that could be decided: (0, 0) where it could not."""
    desired = _desired(sample.criteria, verdicts)
    return int(all(desired)), int(False in desired or None not in desired)


def _desired(criteria: Sequence[Criterion], verdicts: Sequence[Verdict]) -> list[bool | None]:
    return [verdict.as_desired(criterion) for criterion, verdict in zip(criteria, verdicts, strict=True)]


def _verdict_row(item: JudgedRollout) -> dict[str, Any]:
    messages = item.sample.messages
    return {
        "id": item.sample.id,
        "prompt": messages[0]["content"] if len(messages) == 1 else list(messages),
        "sample_index": item.rollout.sample_index,
        "checkers": [criterion.checker for criterion in item.sample.criteria],
        "verdicts_strict": [verdict.met for verdict in item.verdicts],
        "verdicts_loose": None if item.loose is None else [verdict.met for verdict in item.loose],
    }


def _shown(figure: Mapping[str, float]) -> str:
    mean, low, high = (three_decimals(figure[name]) for name in ("mean", "low", "high"))
    return mean if isnan(figure["low"]) else f"{mean} ({low} to {high})"


def _with_null(figure: Any) -> Any:
    """JSON knows no NaN."""
    if isinstance(figure, Mapping):
        return {name: _with_null(value) for name, value in figure.items()}
    return None if isnan(figure) else figure
