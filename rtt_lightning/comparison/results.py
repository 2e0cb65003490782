"""What became of the runs of a grid, read from their folders."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import nan
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet

from rtt_lightning.comparison.grid import Grid, Run
from rtt_lightning.comparison.tasks import EVALUATED, Settings, changes, evaluated, evaluation_file
from rtt_lightning.datamodules.criteria import criteria_of
from rtt_lightning.datamodules.records import read_judged
from rtt_lightning.functional.accuracy import counts_by_prompt
from rtt_lightning.reports.comparison import summarize
from rtt_lightning.reports.guards import logged_guards, tripped
from rtt_lightning.reports.hacking import hacking_metrics
from rtt_lightning.types import JudgedRollout

KL = "val/kl_per_response"


@dataclass(frozen=True)
class Evaluation:
    """The responses of a policy to the held-out prompts.

    Attributes:
        update: Updates behind the policy; 0 before training.
        kl: To the policy before training, in nats per response; NaN if it was not sampled from the full vocabulary.
        judged: The responses.
        logged: Of `rtt_lightning.reports.guards`, what needed the policy.
    """

    update: int
    kl: float
    judged: Sequence[JudgedRollout]
    logged: Mapping[str, float]

    @cached_property
    def counts(self) -> dict[str, np.ndarray]:
        """Of each prompt, see `rtt_lightning.functional.accuracy.accuracy_counts`."""
        return counts_by_prompt(self.judged)

    @cached_property
    def metrics(self) -> dict[str, float]:
        return {
            **summarize(self.judged),
            **hacking_metrics(self.judged),
            **self.logged,
            "kl_per_response": self.kl,
        }


@dataclass(frozen=True)
class Curve:
    """A run that is complete, with its evaluations in order, the first before training."""

    run: Run
    evaluations: Sequence[Evaluation]

    @property
    def kls(self) -> list[float]:
        return [evaluation.kl for evaluation in self.evaluations]

    @cached_property
    def tripped(self) -> list[str]:
        """The guards that it trips after its last update, in words."""
        return tripped(self.evaluations[0].metrics, self.evaluations[-1].metrics)


def read_curves(grid: Grid, settings: Mapping[str, Settings]) -> tuple[dict[str, Curve], list[str]]:
    """The complete runs by name; and the names of the others, which include those made with other settings."""
    found, missing = dict[str, Curve](), list[str]()
    starts: dict[Path, Evaluation] = {}
    for run in grid.runs:
        files = {update: evaluation_file(run, update) for update in evaluated(grid, settings[run.name])}
        start = run.start / EVALUATED
        if None in files.values() or not start.is_file() or changes(run.folder, settings[run.name]):
            missing.append(run.name)
            continue
        if start not in starts:
            starts[start] = _evaluation(0, start)
        later = [_evaluation(update, file) for update, file in files.items() if file]
        found[run.name] = Curve(run, [starts[start], *later])
    return found, missing


def _evaluation(update: int, metrics: Path) -> Evaluation:
    logged: Mapping[str, float | None] = json.loads(metrics.read_text())
    kl = logged.get(KL) if update else 0.0
    judged = read_judged(metrics.with_suffix(".parquet"))
    return Evaluation(update, nan if kl is None else kl, judged, logged_guards(logged))


def trained_kinds(run: Run) -> set[str]:
    """The criterion kinds (checker ids) of its training prompts."""
    files = sorted(run.output.glob("window-*.parquet"))
    rows = (row for file in files for row in parquet.read_table(file, columns=["criteria"])["criteria"].to_pylist())
    return {criterion["checker"] for row in rows for criterion in criteria_of({"criteria": row})}


def unseen_prompts(curves: Sequence[Curve]) -> set[str]:
    """The held-out prompts with a criterion of a kind that none of these runs was trained on."""
    known = set[str]().union(*(trained_kinds(curve.run) for curve in curves))
    start = curves[0].evaluations[0].judged
    return {item.sample.id for item in start if any(c.checker not in known for c in item.sample.criteria)}
