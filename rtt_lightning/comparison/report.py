"""Compares the runs of a grid that are there: a page, tables, a picture and all numbers."""

import json
from collections.abc import Mapping
from math import nan
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rtt_lightning.comparison.grid import Grid
from rtt_lightning.comparison.measures import ACCURACIES, measure, rubric_frontier
from rtt_lightning.comparison.page import page
from rtt_lightning.comparison.plot import plot
from rtt_lightning.comparison.results import read_curves
from rtt_lightning.comparison.tables import markdown
from rtt_lightning.comparison.tasks import EVALUATED, FRONTIER, Settings
from rtt_lightning.comparison.words import LAST, at_kl, p_value, seeds, signed, tripped
from rtt_lightning.datamodules.records import read_judged
from rtt_lightning.functional.frontier import gain_at
from rtt_lightning.reports.evaluation import with_null
from rtt_lightning.runtime.files import write_whole


def write_report(grid: Grid, settings: Mapping[str, Settings], kl: float | None = None) -> list[Path]:
    """Write ``comparison.*`` into the grid's folder, and show the main table.

    Args:
        grid: What is compared.
        settings: The configuration of each run, by name.
        kl: To compare at; ``None`` for the largest that all runs reach.

    Returns:
        What was written; nothing if no seed is complete for all methods.
    """
    curves, left_out = read_curves(grid, settings)
    found: dict[str, dict[str, Any]] = {}
    for model in grid.models:
        if of_model := measure(grid, curves, model, kl):
            of_model |= _frontier(grid.folder / FRONTIER / (model or "model"), of_model["kl"])
            found[model] = of_model
            _show(of_model, model)
    if not found:
        print(f"nothing to compare yet: no seed is complete for all methods; not complete: {', '.join(left_out)}")
        return []
    title, written = f"Methods compared: {', '.join(grid.methods)}", []
    for model, of_model in found.items():
        part = f"comparison-{model}" if model else "comparison"
        said = markdown(of_model, f"{title}{f', on {model}' if model else ''}", grid.baseline, left_out)
        written += [grid.folder / f"{part}.md"]
        write_whole(written[-1], said)
        picture = grid.folder / f"{part}.png"
        if plot(of_model, title, picture):
            written.append(picture)
        else:
            print("no picture without matplotlib: pip install 'rtt-lightning[plots]'")
    numbers, document = grid.folder / "comparison.json", grid.folder / "comparison.html"
    write_whole(numbers, json.dumps(with_null(found), indent=1, allow_nan=False) + "\n")
    write_whole(document, page(found, title, grid.baseline, left_out))
    return [*written, numbers, document]


def _frontier(folder: Path, kl: float | None) -> dict[str, Any]:
    """The frontier, and what it gains at a KL, from responses that are there."""
    reached = rubric_frontier(read_judged(folder / "validate.parquet")) if (folder / EVALUATED).is_file() else None
    if reached is None:
        return {}
    return {
        FRONTIER: [values.tolist() for values in reached],
        "frontier_gain": nan if kl is None else gain_at(kl, reached),
    }


def _show(found: dict[str, Any], model: str) -> None:
    """The rubric- and instruction-level gains, at an equal KL if that is known."""
    when = at_kl(found) if found["at_kl"] else LAST
    title = f"{model + ', ' if model else ''}gains {when}, {seeds(found)}"
    table = Table(title=title, title_justify="left")
    levels = [label.removesuffix("-level") for label in ACCURACIES.values()]
    for column in ("method", *(words for level in levels for words in (f"{level} gain", "less the baseline's"))):
        table.add_column(column)
    by_metric = (found["at_kl"] or found["last"])["all"]
    for method in found["points"]:
        cells = []
        for metric in ACCURACIES:
            each = by_metric[metric].get(method)
            apart = each and each.get("difference")
            cells += [_lines(signed(each["gain"])) if each else "not reached"]
            cells += [f"{_lines(signed(apart))}\n{p_value(apart)}" if apart else ""]
        alarm = tripped(found, method)
        table.add_row(f"{method}\n{alarm}" if alarm else method, *cells)
    Console().print(table)


def _lines(estimate: str) -> str:
    return estimate.replace(" ", "\n", 1)
