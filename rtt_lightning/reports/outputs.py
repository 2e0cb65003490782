"""The folder for a run's completions: like checkpoints, those of one course of training."""

import re
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_warn

NUMBERED = re.compile(r"(window|val|validate|test|predict)-(\d+)(-rank\d+)?\.(parquet|jsonl?|html)")
"""Files of windows by number and process, and of evaluations by update."""


def evaluation_name(stage: str, step: int) -> str:
    """The name of an evaluation's files: those of several checkpoints stay apart, by updates."""
    return f"{stage}-{step:06d}" if step else stage


def set_aside_later(folder: Path, window: int, update: int) -> None:
    """Rename files of other runs, or of this one after the point that it resumes from, to ``*.abandoned``.

    Args:
        folder: Need not exist.
        window: The first window to be written.
        update: Updates done so far.
    """
    later = [path for path in sorted(folder.glob("*")) if _is_later(path.name, window, update)]
    for path in later:
        path.replace(path.with_name(f"{path.name}.abandoned"))
    if later:
        rank_zero_warn(
            f"{folder} held {len(later)} files that do not belong to this run's past, {later[0].name} to "
            f"{later[-1].name}: set aside as *.abandoned"
        )


def _is_later(name: str, window: int, update: int) -> bool:
    match = NUMBERED.fullmatch(name)
    if match is None:
        return False
    number = int(match[2])
    return number >= window if match[1] == "window" else number > update
