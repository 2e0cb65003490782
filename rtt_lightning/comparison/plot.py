"""The curves of a comparison as a picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rtt_lightning.comparison.lines import charts

COLOURS = ("#2563cd", "#d95f02", "#0d9488", "#a855c8", "#ca8a04", "#db2777", "#65a30d", "#78716c")
"""As on the page: of the classes c0 to c7."""


def plot(found: Mapping[str, Any], title: str, file: Path) -> bool:
    """Write a PNG of what `rtt_lightning.comparison.measures.measure` found.

    Returns:
        Whether it was written; not without matplotlib (``pip install rtt-lightning[plots]``).
    """
    try:
        from matplotlib.figure import Figure  # an extra
    except ImportError:
        return False
    figure = Figure(figsize=(11, 8), layout="constrained")
    figure.suptitle(title)
    drawn = charts(found)
    for axes, chart in zip(figure.subplots(2, 2).flat, drawn, strict=True):
        for line in chart.lines:
            across, upwards = [point.across for point in line.points], [point.mean for point in line.points]
            if line.kind == "dashed":
                axes.plot(across, upwards, "--", color="#888888", label=line.name)
            else:
                axes.plot(across, upwards, "o-", color=COLOURS[int(line.kind[1:])], label=line.name)
        axes.set(title=chart.title, xlabel=chart.across)
        axes.grid(alpha=0.3)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)))
    figure.savefig(file, dpi=120)
    return True
