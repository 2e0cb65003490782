"""Reports of an evaluation: tables on the terminal; metrics, completions and verdicts in files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from rtt_lightning.functional.accuracy import (
    CRITERIA,
    DECIDED,
    DECIDED_CRITERIA,
    LOWER,
    RESPONSES,
    RUBRIC,
    UPPER,
    WHOLE,
    WHOLLY_DECIDED,
    accuracy_ratios,
    counts_by_prompt,
)
from rtt_lightning.functional.intervals import ratio_with_interval
from rtt_lightning.reports.completions import show_kinds, write_completions
from rtt_lightning.reports.undecided import show_undecided, undecided_reasons
from rtt_lightning.runtime.files import write_whole
from rtt_lightning.runtime.terminal import counted, three_decimals
from rtt_lightning.types import JudgedRollout

Interval = dict[str, Any]
"""An accuracy with its interval, or bounds of it; see `accuracies`."""


def report(judged: Sequence[JudgedRollout], name: str, folder: Path | None, others: Mapping[str, float]) -> None:
    """Show an evaluation, and why criteria are undecided; with a folder also write ``<name>.parquet``,
    ``<name>.jsonl`` and ``<name>.json``.

    Args:
        judged: All responses, at least one.
        name: Of the evaluation.
        folder: Created if missing; ``None`` to write nothing.
        others: More metrics to write. NaN is written as null.
    """
    prompts = len({item.sample.id for item in judged})
    title = f"{name}: {counted(len(judged), 'response')} to {counted(prompts, 'prompt')}"
    found = strict_and_loose_accuracies(judged)
    show_kinds(judged, title)
    show_accuracies(found, [way for way in ("strict", "loose") if f"rubric_accuracy_{way}" in found], len(judged))
    reasons = undecided_reasons(judged)
    show_undecided(reasons)
    if folder is None:
        return
    write_completions(folder / f"{name}.parquet", judged)
    with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps(verdict_row(item)) + "\n" for item in judged)
    left = sum(None in item.as_desired for item in judged)
    written = {**others, **found, "responses": len(judged), "prompts": prompts, "undecided": left, "reasons": reasons}
    # Last, as the sign that all is there.
    write_whole(folder / f"{name}.json", json.dumps(with_null(written), indent=2, allow_nan=False) + "\n")
    print(f"completions: {folder / name}.parquet, verdicts: {folder / name}.jsonl, metrics: {folder / name}.json")


def strict_and_loose_accuracies(judged: Sequence[JudgedRollout]) -> dict[str, Interval]:
    """`accuracies` of strict verdicts, and of loose ones if all responses have them."""
    loose = [replace(item, verdicts=item.loose) for item in judged if item.loose is not None]
    return accuracies({"strict": judged} | ({"loose": loose} if len(loose) == len(judged) else {}))


def accuracies(ways: Mapping[str, Sequence[JudgedRollout]]) -> dict[str, Interval]:
    """Accuracies by name, each with a 95 % interval over prompts.

    `rtt_lightning.functional.accuracy` defines what is counted.

    Args:
        ways: Judged responses by the way of judging, such as strict.

    Returns:
        ``rubric_accuracy_<way>``: ``mean``, ``low``, ``high``. ``instruction_accuracy_<way>``: the same if every
        criterion was decided; otherwise as `_bounds`.
    """
    found: dict[str, Interval] = {}
    for way, judged in ways.items():
        counts = np.array(list(counts_by_prompt(judged).values()))
        ratios = {name: ratio_with_interval(np.stack(ratio, 1)) for name, ratio in accuracy_ratios(counts).items()}
        found[f"{WHOLE}_{way}"] = ratios[WHOLE] if WHOLE in ratios else _bounds(ratios, counts.sum(0))
        found[f"{RUBRIC}_{way}"] = ratios[RUBRIC]
    return found


def _bounds(ratios: Mapping[str, Interval], totals: np.ndarray) -> Interval:
    """What is known of the instruction-level accuracy if some criteria are undecided.

    ``lower_bound`` and ``upper_bound``, with all undecided criteria not as desired, and as desired;
    ``wholly_decided``, the accuracy over those responses alone, with their number, ``responses``, and mean number of
    ``criteria``; each ``accuracy`` with ``low`` and ``high``; and ``criteria``, the mean number over all.
    """
    lower, upper, whole = (
        {"accuracy": ratios[name]["mean"], "low": ratios[name]["low"], "high": ratios[name]["high"]}
        for name in (LOWER, UPPER, WHOLLY_DECIDED)
    )
    responses, criteria, decided, decided_criteria = totals[[RESPONSES, CRITERIA, DECIDED, DECIDED_CRITERIA]].tolist()
    whole |= {"responses": decided, "criteria": decided_criteria / decided if decided else float("nan")}
    return {"lower_bound": lower, "upper_bound": upper, "wholly_decided": whole, "criteria": criteria / responses}


LABELS = {
    "lower_bound": "instruction, lower bound",
    "upper_bound": "instruction, upper bound",
    "wholly_decided": "wholly decided responses",
}


def show_accuracies(found: Mapping[str, Interval], ways: Sequence[str], responses: int) -> None:
    """Print a table of accuracies; if anything is undecided, bounds, and the number of decided responses below.

    Args:
        found: The result of `accuracies`.
        ways: Columns of the table.
        responses: Number of responses.
    """
    table = Table(title="mean and 95 % interval over prompts", title_justify="left")
    for column in ("accuracy", *ways):
        table.add_column(column, justify="left" if column == "accuracy" else "right")
    instruction = {way: found[f"instruction_accuracy_{way}"] for way in ways}
    undecided = [way for way in ways if "mean" not in instruction[way]]
    if len(undecided) < len(ways):
        table.add_row("instruction-level", *(shown(instruction[way]) for way in ways))
    for part, label in LABELS.items() if undecided else ():
        table.add_row(label, *(shown(instruction[way].get(part, {})) for way in ways))
    table.add_row(
        "rubric-level, decided" if undecided else "rubric-level",
        *(shown(found[f"rubric_accuracy_{way}"]) for way in ways),
    )
    Console().print(table)
    for way in undecided:
        whole, criteria = instruction[way]["wholly_decided"], instruction[way]["criteria"]
        theirs = "" if isnan(whole["criteria"]) else f", with {whole['criteria']:.1f} criteria on average"
        print(
            f"{way}: {whole['responses']} of {counted(responses, 'response')} wholly decided{theirs}; all together "
            f"have {criteria:.1f}. The accuracy of all is only known to be between two bounds: with all that is "
            "undecided not as desired, and as desired"
        )


def verdict_row(item: JudgedRollout) -> dict[str, Any]:
    messages = item.sample.messages
    return {
        "id": item.sample.id,
        "prompt": messages[0]["content"] if len(messages) == 1 else list(messages),
        "sample_index": item.rollout.sample_index,
        "checkers": [criterion.checker for criterion in item.sample.criteria],
        "weights": [criterion.weight for criterion in item.sample.criteria],
        "verdicts_strict": [verdict.met for verdict in item.verdicts],
        "verdicts_loose": None if item.loose is None else [verdict.met for verdict in item.loose],
    }


def shown(interval: Interval) -> str:
    """A share with its interval, as far as they are known."""
    value = interval.get("mean", interval.get("accuracy"))
    if value is None:
        return "–"
    shown, low, high = (three_decimals(number) for number in (value, interval["low"], interval["high"]))
    return shown if isnan(interval["low"]) else f"{shown} ({low} to {high})"


def with_null(value: Any) -> Any:
    """Replace NaN, which JSON does not have."""
    if isinstance(value, Mapping):
        return {name: with_null(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [with_null(inner) for inner in value]
    return None if isinstance(value, float) and isnan(value) else value
