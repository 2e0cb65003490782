"""The tasks of a grid as a job array of SLURM, which does the scheduling."""

from pathlib import Path
from shlex import quote

from rtt_lightning.comparison.grid import Grid
from rtt_lightning.comparison.tasks import stages

SCRIPT = """\
#!/usr/bin/env bash
# Purpose:  the tasks of {grid}, one line of {tasks} each.
# Hardware: whatever `rtt fit` needs; change the lines below.
# Command:  sbatch {script}
#           A job that is ended saves; submit the same again to go on. What is done ends at once. Then, from {folder}:
#           rtt compare {grid} --report
#SBATCH --job-name=rtt-compare
#SBATCH --array=1-{count}
#SBATCH --output=%x-%A-%a.log
#SBATCH --gpus=1
#SBATCH --cpus-per-task=8
#SBATCH --time=08:00:00
#SBATCH --signal=B:TERM@300
set -euo pipefail
cd {folder}
exec rtt compare {grid} --only "$(sed -n "${{SLURM_ARRAY_TASK_ID}}p" {tasks})"
"""


def emit(grid: Grid, given: str, folder: Path) -> str:
    """Write ``tasks.txt`` and ``array.sh``.

    Args:
        grid: What is compared.
        given: The grid's file, as the jobs will name it from this working directory.
        folder: Made if missing.

    Returns:
        What to type next.
    """
    tasks = [name for stage in stages(grid) for name in stage]
    folder.mkdir(parents=True, exist_ok=True)
    listed, script = (folder / "tasks.txt").resolve(), folder / "array.sh"
    listed.write_text("".join(f"{name}\n" for name in tasks))
    words = {"grid": given, "tasks": listed.as_posix(), "script": script.as_posix(), "folder": Path.cwd().as_posix()}
    script.write_text(SCRIPT.format(count=len(tasks), **{name: quote(word) for name, word in words.items()}))
    return f"{len(tasks)} tasks: sbatch {script}"
