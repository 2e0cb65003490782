"""One self-contained HTML page about a finished demo run: metrics, training curves, responses, coloured tokens."""

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from rtt_lightning.datamodules.records import read_judged
from rtt_lightning.functional.accuracy import (
    LOWER,
    RUBRIC,
    UPPER,
    WHOLE,
    WHOLLY_DECIDED,
    accuracy_by_kind,
    counts_by_kind,
)
from rtt_lightning.reports.curves import curves_section
from rtt_lightning.reports.markup import NOT_RECORDED, dots, html_page, html_table, section
from rtt_lightning.reports.phases import phases_section
from rtt_lightning.reports.responses import samples_section, tokens_section
from rtt_lightning.reports.weights import weights_by_kind
from rtt_lightning.runtime.files import write_whole
from rtt_lightning.types import JudgedRollout
from rtt_lightning.types.errors import UserError

METRICS = {
    RUBRIC: ("Rubric-level accuracy", "share of criteria as desired", "percent"),
    WHOLE: ("Instruction-level accuracy", "share of responses with all criteria as desired", "percent"),
    LOWER: ("Instruction-level accuracy, lower bound", "undecided criteria not as desired", "percent"),
    UPPER: ("Instruction-level accuracy, upper bound", "undecided criteria as desired", "percent"),
    WHOLLY_DECIDED: ("Accuracy of wholly decided responses", "alone; their rubrics are others", "percent"),
    "undecided_share": ("Undecided", "share of responses with an undecided criterion", "percent"),
    "wholly_decided_responses": ("Wholly decided responses", "", "count"),
    "wholly_decided_criteria": ("Criteria of wholly decided responses", "mean number", "number"),
    "criteria": ("Criteria of all responses", "mean number", "number"),
    "length": ("Length", "mean number of tokens", "number"),
    "truncated": ("Truncated", "share of responses cut off at the token limit", "percent"),
    "distinct_2": ("Distinct bigrams", "of words, over all responses together", "percent"),
    "distinct_2_per_response": ("Distinct bigrams per response", "of words, mean within a response", "percent"),
    "unscorable": ("Unscorable", "share of criteria without a verdict", "percent"),
    "kl": ("KL to the start", "nats per token", "small"),
    "kl_per_response": ("KL to the start", "nats per response", "small"),
    "reference_gap": ("Gap to the start", "nats per token; top-p or top-k: no KL", "small"),
    "reference_gap_per_response": ("Gap to the start", "nats per response; top-p or top-k: no KL", "small"),
    "responses": ("Responses", "", "count"),
    "prompts": ("Prompts", "", "count"),
}
DISCRIMINATOR = {
    "average_precision": ("Average precision", "on cells with relevant and irrelevant tokens; chance is the base rate"),
    "average_precision_per_cell": ("Average precision per cell", "each such cell by itself, mean over them"),
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
    """Write ``report.html`` in a demo folder; training curves and windows may be missing, but nothing else.

    Args:
        folder: With ``results.json``, completions in ``before`` and ``after``, and perhaps
            ``rl/logs/version_*/metrics.csv`` and ``rl/windows/window-*.parquet``.

    Raises:
        UserError: For a missing or incomplete file.
    """
    results = _read_results(folder / "results.json")
    before, after = (read_judged(folder / name) for name in ("before", "after"))
    windows = sorted((folder / "rl/windows").glob("window-*.parquet"))
    logs = sorted((folder / "rl/logs").glob("version_*/metrics.csv"), key=_version)
    parts = [
        _headline(results),
        _comparison(results),
        _kinds(before, after),
        curves_section(logs),
        tokens_section(windows[-1] if windows else None),
        samples_section(before, after),
        _discriminator(results.get("discriminator")),
        phases_section(logs),
        _run(results),
    ]
    path = folder / "report.html"
    write_whole(path, html_page("Rubrics to Tokens: demo report", "\n".join(parts)))
    return path


def _read_results(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"no results at {path}; the report needs what `make demo` writes there")
    results = json.loads(path.read_text(encoding="utf-8"))
    try:
        for metric in (RUBRIC, *_instruction_level(results)):
            mean, low, high = results["difference"][metric]
            _ = [float(value) for value in (results["before"][metric], results["after"][metric], mean, low, high)]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} lacks before, after or difference of both accuracies: {error!r}") from error
    return results


# -- metrics ---------------------------------------------------------------------------------------------------------


def _headline(results: Mapping[str, Any]) -> str:
    prompts = _formatted(results["before"].get("prompts"), "count")
    sentence = (
        f"What a small policy learned from rubrics, measured on {prompts} prompts that it was not trained on, "
        "before and after training."
    )
    whole = _instruction_level(results) == (WHOLE,)
    cards = [_card("Rubric-level accuracy", results, RUBRIC)]
    cards += [_card("Instruction-level accuracy", results, WHOLE) if whole else _bounds_card(results)]
    return f'<h1>Rubrics to Tokens</h1>\n<p>{sentence}</p>\n<div class="pair heads">{"".join(cards)}</div>'


def _instruction_level(results: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the accuracy, or of its bounds if a criterion is undecided before or after."""
    return (WHOLE,) if WHOLE in results["difference"] or LOWER not in results["difference"] else (LOWER, UPPER)


def _card(name: str, results: Mapping[str, Any], metric: str) -> str:
    old, new = (_formatted(results[when][metric], "percent") for when in ("before", "after"))
    mean, low, high = (_formatted(value, "points") for value in results["difference"][metric])
    return _headed(name, old, new, f'{mean} points <span class="note">95 % interval {low} to {high}</span>')


def _bounds_card(results: Mapping[str, Any]) -> str:
    """The bounds of the instruction-level accuracy and of its change, if some criteria are undecided."""
    before, after = results["before"], results["after"]
    old, new = (" to ".join(_formatted(side[end], "percent") for end in (LOWER, UPPER)) for side in (before, after))
    least, most = (_formatted(end, "points") for end in (after[LOWER] - before[UPPER], after[UPPER] - before[LOWER]))
    name = "Instruction-level accuracy, bounds: some criteria are undecided"
    return _headed(name, old, new, f"between {least} and {most} points")


def _headed(name: str, old: str, new: str, change: str) -> str:
    note, big = f'<div class="note">{name}</div>', f'<div class="big">{old} → {new}</div>'
    return f'<div class="card">{note}{big}<div>{change}</div></div>'


def _comparison(results: Mapping[str, Any]) -> str:
    before, after = results["before"], results["after"]
    rows = []
    for key, (name, what, form) in METRICS.items():
        old, new = before.get(key), after.get(key)
        if old is None and new is None:
            continue
        mean, low, high = results["difference"].get(key, (None, None, None))
        difference = _difference(old, new, form)
        if mean is not None:
            interval = f"[{_formatted(low, 'points')}, {_formatted(high, 'points')}]"
            difference = f"{_formatted(mean, 'points')} <small>{interval}</small>"
        rows.append((f"{name} <small>{what}</small>", _formatted(old, form), _formatted(new, form), difference))
    note = (
        "Differences of shares are in percentage points; brackets hold a 95 % interval, by bootstrap over prompts, "
        "each paired with itself. Unscorable criteria are left out."
    )
    if LOWER in before or LOWER in after:
        note += " A difference of lower bounds, or of upper ones, says nothing certain of the accuracy's own."
    return section("Before and after", note, html_table(("", "before", "after", "difference"), rows))


def _kinds(before: Sequence[JudgedRollout], after: Sequence[JudgedRollout]) -> str:
    old, new = (accuracy_by_kind(counts_by_kind(judged)) for judged in (before, after))
    weights = weights_by_kind(item.sample for item in before)
    rows = []
    for kind in (kind for kind in old if kind in new):
        (was, count, _), (is_now, count_now, _) = old[kind], new[kind]
        counts = f"{count}" if count == count_now else f"{count} / {count_now}"
        drawing = "" if math.isnan(was + is_now) else dots(was, is_now)
        shown = [_formatted(was, "percent"), _formatted(is_now, "percent"), _difference(was, is_now, "percent")]
        name = f"{escape(kind)} <small>weight {escape(weights[kind])}</small>" if weights[kind] else escape(kind)
        rows.append((name, counts, *shown, f'<div class="dots">{drawing}</div>'))
    note = (
        "Share of criteria as desired per kind, hardest first; a ring marks before, a dot after, on a line from 0 to 1."
    )
    return section("By kind of criterion", note, html_table(("kind", "n", "before", "after", "difference", ""), rows))


def _discriminator(metrics: Mapping[str, float] | None) -> str:
    note = "How well the relevance discriminator finds the tokens that decide a criterion, on held-out responses."
    if not metrics:
        return section("Discriminator", note, NOT_RECORDED)
    named = ((f"{name} <small>{what}</small>", metrics.get(key)) for key, (name, what) in DISCRIMINATOR.items())
    return section(
        "Discriminator", note, html_table(("", "value"), [(name, _formatted(v, "small")) for name, v in named])
    )


def _run(results: Mapping[str, Any]) -> str:
    seconds = results.get("seconds") or {}
    phases = [*seconds.items(), ("all", sum(seconds.values()))] if seconds else []
    times = [(escape(phase), f"{round(value) // 60}:{round(value) % 60:02d}") for phase, value in phases]
    settings = [(escape(name), escape(_setting(value))) for name, value in (results.get("settings") or {}).items()]
    body = html_table(("phase", "minutes"), times) if times else NOT_RECORDED
    body += html_table(("setting", "value"), settings) if settings else ""
    return section("The run", "Wall-clock time per phase, and settings where recorded.", body)


def _version(log: Path) -> int:
    return int(log.parent.name.removeprefix("version_"))


# -- numbers ---------------------------------------------------------------------------------------------------------


def _formatted(value: float | None, form: str) -> str:
    return "–" if value is None or math.isnan(value) else FORMS[form](value).replace("-", "−").replace(" ", "\u202f")


def _difference(old: float | None, new: float | None, form: str) -> str:
    if old is None or new is None or form == "count":
        return ""
    shown = _formatted(new - old, "points" if form == "percent" else form)
    return shown if shown[0] in "+−–" else f"+{shown}"


def _setting(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
