"""One self-contained HTML page about a finished demo run: figures, training curves, responses, coloured tokens."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from rtt_lightning.demo.compare import Completion, accuracy_by_kind, read_completions
from rtt_lightning.demo.markup import NOT_RECORDED, dots, html_table, line_chart, page, section, table
from rtt_lightning.demo.responses import samples_section, tokens_section

FIGURES = {
    "rubric_accuracy": ("Rubric-level accuracy", "share of criteria as desired", "percent"),
    "instruction_accuracy": (
        "Instruction-level accuracy",
        "share of responses with all criteria as desired",
        "percent",
    ),
    "length": ("Length", "mean number of tokens", "number"),
    "truncated": ("Truncated", "share of responses cut off at the token limit", "percent"),
    "distinct_2": ("Distinct bigrams", "of words, over all responses together", "percent"),
    "distinct_2_per_response": ("Distinct bigrams per response", "of words, mean within a response", "percent"),
    "unscorable": ("Unscorable", "share of criteria without a verdict", "percent"),
    "kl": ("KL to the start", "nats per token", "small"),
    "responses": ("Responses", "", "count"),
    "prompts": ("Prompts", "", "count"),
}
CURVES = {
    "rollout/reward": ("Reward", "mean response reward of a window"),
    "rollout/rubric_accuracy": ("Rubric-level accuracy", "on training prompts"),
    "rollout/instruction_accuracy": ("Instruction-level accuracy", "on training prompts"),
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
    "train/entropy": ("Entropy", "nats per token"),
    "train/logprob_gap": ("Log-prob gap", "|sampler − trainer| per token"),
    "train/clipped": ("Clipped", "share of tokens at the clip bound"),
}
DISCRIMINATOR = {
    "average_precision": ("Average precision", "on cells with relevant and irrelevant tokens; chance is the base rate"),
    "base_rate": ("Base rate", "share of relevant tokens in the same cells"),
    "f1": ("F1 at 0.5", "over all tokens"),
    "brier": ("Brier score", "over all tokens; lower is better, 0 is perfect"),
}
FORMS = {
    "percent": lambda value: f"{100 * value:.1f} %",
    "points": lambda value: f"{100 * value:+.1f}",
    "number": lambda value: f"{value:.1f}",
    "small": lambda value: f"{value:.3f}",
    "count": lambda value: f"{value:.0f}",
}


def write_report(folder: Path) -> Path:
    """Make ``report.html`` of a demo folder; the training curves and windows may be missing, the rest may not.

    Args:
        folder: Holds ``results.json``, ``before/validate.parquet`` and ``after/validate.parquet``, and perhaps
            ``rl/logs/version_*/metrics.csv`` and ``rl/windows/window-*.parquet``.

    Raises:
        ValueError: For a missing or incomplete file.
    """
    results = _read_results(folder / "results.json")
    before, after = (read_completions(folder / name / "validate.parquet") for name in ("before", "after"))
    windows = sorted((folder / "rl/windows").glob("window-*.parquet"))
    parts = [
        _headline(results),
        _comparison(results),
        _kinds(before, after),
        _curves(sorted((folder / "rl/logs").glob("version_*/metrics.csv"), key=_version)),
        tokens_section(windows[-1] if windows else None),
        samples_section(before, after),
        _discriminator(results.get("discriminator")),
        _run(results),
    ]
    path = folder / "report.html"
    partial = path.with_suffix(".partial")
    partial.write_text(page("Rubrics to Tokens: demo report", "\n".join(parts)), encoding="utf-8")
    partial.replace(path)
    return path


def _read_results(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"no results at {path}; the report needs what `make demo` writes there")
    results = json.loads(path.read_text(encoding="utf-8"))
    try:
        for metric in ("rubric_accuracy", "instruction_accuracy"):
            mean, low, high = results["difference"][metric]
            _ = [float(value) for value in (results["before"][metric], results["after"][metric], mean, low, high)]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} lacks before, after or difference of both accuracies: {error!r}") from error
    return results


# -- figures ---------------------------------------------------------------------------------------------------------


def _headline(results: Mapping[str, Any]) -> str:
    prompts = _figure(results["before"].get("prompts"), "count")
    sentence = (
        f"What a small policy learned from rubrics, measured on {prompts} prompts that it was not trained on, "
        "before and after training."
    )
    cards = []
    for metric, name in (("rubric_accuracy", "Rubric-level"), ("instruction_accuracy", "Instruction-level")):
        old, new = (_figure(results[when][metric], "percent") for when in ("before", "after"))
        mean, low, high = (_figure(value, "points") for value in results["difference"][metric])
        cards.append(
            f'<div class="card"><div class="note">{name} accuracy</div><div class="big">{old} → {new}</div>'
            f'<div>{mean} points <span class="note">95 % interval {low} to {high}</span></div></div>'
        )
    return f'<h1>Rubrics to Tokens</h1>\n<p>{sentence}</p>\n<div class="pair heads">{"".join(cards)}</div>'


def _comparison(results: Mapping[str, Any]) -> str:
    before, after = results["before"], results["after"]
    rows = []
    for key, (name, what, form) in FIGURES.items():
        old, new = before.get(key), after.get(key)
        mean, low, high = results["difference"].get(key, (None, None, None))
        difference = _difference(old, new, form)
        if mean is not None:
            interval = f"[{_figure(low, 'points')}, {_figure(high, 'points')}]"
            difference = f"{_figure(mean, 'points')} <small>{interval}</small>"
        rows.append((f"{name} <small>{what}</small>", _figure(old, form), _figure(new, form), difference))
    note = (
        "Differences of shares are in percentage points; brackets hold a 95 % interval, by bootstrap over prompts, "
        "each paired with itself. Unscorable criteria and undecided responses are left out."
    )
    return section("Before and after", note, html_table(("", "before", "after", "difference"), rows))


def _kinds(before: Sequence[Completion], after: Sequence[Completion]) -> str:
    old, new = accuracy_by_kind(before), accuracy_by_kind(after)
    rows = []
    for kind in sorted(old.keys() & new.keys(), key=lambda kind: (old[kind][1] == 0, old[kind][0], kind)):
        (was, count), (is_now, count_now) = old[kind], new[kind]
        counts = f"{count}" if count == count_now else f"{count} / {count_now}"
        drawing = "" if math.isnan(was + is_now) else dots(was, is_now)
        shown = [_figure(was, "percent"), _figure(is_now, "percent"), _difference(was, is_now, "percent")]
        rows.append((escape(kind), counts, *shown, f'<div class="dots">{drawing}</div>'))
    note = (
        "Share of criteria as desired per kind, hardest first; a ring marks before, a dot after, on a line from 0 to 1."
    )
    return section("By kind of criterion", note, html_table(("kind", "n", "before", "after", "difference", ""), rows))


def _discriminator(figures: Mapping[str, float] | None) -> str:
    note = "How well the relevance discriminator finds the tokens that decide a criterion, on held-out responses."
    if not figures:
        return section("Discriminator", note, NOT_RECORDED)
    named = ((f"{name} <small>{what}</small>", figures.get(key)) for key, (name, what) in DISCRIMINATOR.items())
    return section("Discriminator", note, html_table(("", "value"), [(name, _figure(v, "small")) for name, v in named]))


def _run(results: Mapping[str, Any]) -> str:
    seconds = results.get("seconds") or {}
    phases = [*seconds.items(), ("all", sum(seconds.values()))] if seconds else []
    times = [(phase, f"{round(value) // 60}:{round(value) % 60:02d}") for phase, value in phases]
    settings = [(name, _setting(value)) for name, value in (results.get("settings") or {}).items()]
    body = table(("phase", "minutes"), times) if times else NOT_RECORDED
    body += table(("setting", "value"), settings) if settings else ""
    return section("The run", "Wall-clock time per phase, and settings where recorded.", body)


# -- curves ----------------------------------------------------------------------------------------------------------


def _version(log: Path) -> int:
    return int(log.parent.name.removeprefix("version_"))


def _curves(logs: Sequence[Path]) -> str:
    note = "Thin: every logged value. Thick: running mean. Point at the line for values."
    points = _read_metrics(logs)
    charts = [line_chart(*words, points[column]) for column, words in CURVES.items() if points.get(column)]
    return section("Training", note, f'<div class="grid">{"".join(charts)}</div>' if charts else NOT_RECORDED)


def _read_metrics(logs: Sequence[Path]) -> dict[str, list[tuple[float, float]]]:
    """(step, value) per column of `CSVLogger` files, whose rows are sparse, without non-finite values.

    A run that was killed and resumed has several, in order; of a step that was taken twice the later one counts.
    """
    points: dict[str, dict[float, float]] = {column: {} for column in CURVES}
    for log in logs:
        with log.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                for column in CURVES:
                    if row.get(column) and math.isfinite(value := float(row[column])):
                        points[column][float(row["step"])] = value
    return {column: sorted(values.items()) for column, values in points.items()}


# -- numbers ---------------------------------------------------------------------------------------------------------


def _figure(value: float | None, form: str) -> str:
    return "–" if value is None or math.isnan(value) else FORMS[form](value).replace("-", "−").replace(" ", "\u202f")


def _difference(old: float | None, new: float | None, form: str) -> str:
    if old is None or new is None or form == "count":
        return ""
    shown = _figure(new - old, "points" if form == "percent" else form)
    return shown if shown[0] in "+−–" else f"+{shown}"


def _setting(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
