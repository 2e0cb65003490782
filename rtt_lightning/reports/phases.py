"""Seconds, speed and memory of a window of training: what is logged, and the section of the report."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from rtt_lightning.lm.flops import peak_flops, update_flops
from rtt_lightning.lm.layout import tokens_read
from rtt_lightning.reports.curves import read_metrics
from rtt_lightning.reports.markup import NOT_RECORDED, html_table, section
from rtt_lightning.runtime.phases import PHASES, SAMPLING, UPDATE, peak_gib
from rtt_lightning.types.batches import ResponseBatch


def phase_metrics(
    seconds: Mapping[str, float], sampled: int, micro_batches: Sequence[ResponseBatch], policy: Any, precision: str
) -> dict[str, float]:
    """What is logged of a window of this process.

    Args:
        seconds: Of each phase. A window that was not sampled in this run, but only ends in it, has no rates.
        sampled: Response tokens of the window, also of those that are not trained on.
        micro_batches: Of the window.
        policy: That they trained.
        precision: The trainer's.
    """
    found = {**seconds, "peak_gib": peak_gib()}
    if not seconds[SAMPLING]:
        return found
    trained = sum(int(part["response_mask"].sum()) for part in micro_batches)
    needed, read = (sum(tokens_read(part, share) for part in micro_batches) for share in (True, policy.shares_prompts))
    found["sampled_tokens_per_second"] = sampled / seconds[SAMPLING]
    found["trained_tokens_per_second"] = trained / seconds[UPDATE]
    if read:
        found["padding_efficiency"] = needed / read
    peak, flops = peak_flops(precision), update_flops(policy.model, needed, trained)
    if peak and flops:
        found["flops_utilisation"] = flops / seconds[UPDATE] / peak
    return found


def phases_section(logs: Sequence[Path]) -> str:
    """A table of the seconds of each phase, from the logs of a run."""
    note = "Mean seconds of a window that the training loop waited for each phase."
    points = read_metrics(logs, [f"time/{phase}" for phase in PHASES])
    means = {phase: mean(value for _, value in points[f"time/{phase}"]) for phase in PHASES if points[f"time/{phase}"]}
    total = sum(means.values())
    rows = [
        (phase, f"{value:.2f}", f"{value / total:.0%}", f'<meter value="{value / total:.3f}"></meter>')
        for phase, value in means.items()
    ]
    return section("Time", note, html_table(("phase", "seconds", "share", ""), rows) if rows else NOT_RECORDED)
