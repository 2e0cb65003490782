"""The commands that a task of a grid still needs: a run, or the policy before training that all methods start from."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rtt_lightning.comparison.grid import Grid, Run
from rtt_lightning.types.errors import UserError

Settings = Mapping[str, Any]
"""The whole configuration of a run, as `rtt fit --print_config` prints it."""
START, FRONTIER = "start", "frontier"
"""Names of what comes before the runs, and of their folders."""
SETTINGS = "settings.json"
"""In the folder of a run, to see whether the grid has changed."""
LOG = "output.log"


def stages(grid: Grid) -> list[list[str]]:
    """All tasks by name, in stages."""
    starts = [f"{START}/{run.start.relative_to(grid.folder / START)}" for run in _firsts(grid)]
    frontiers = [f"{FRONTIER}/{run.model or 'model'}" for run in _firsts(grid) if run.seed == grid.seeds[0]]
    by_seed = sorted(grid.runs, key=lambda run: grid.seeds.index(run.seed))  # what is done early is of all methods
    return [starts, frontiers if grid.frontier else [], [run.name for run in by_seed]]


def steps_of(grid: Grid, settings: Mapping[str, Settings], task: str) -> Iterator[tuple[list[str], Path]]:
    """Arguments of each `rtt` command that a task needs, and the file for its output; nothing if it is done.

    A command is to be run before the next one is asked for.

    Raises:
        UserError: If the settings of a run changed since it began, or a part of it is missing and cannot be made.
    """
    kind, _, rest = task.partition("/")
    for run in _firsts(grid):
        if kind == START and run.start == grid.folder / task:
            if not (run.start / "validate.parquet").is_file():
                yield _validate(run, run.start), run.start / LOG
            return
        if kind == FRONTIER and rest == (run.model or "model"):
            folder = grid.folder / task
            if not (folder / "validate.parquet").is_file():
                yield _validate(run, folder, f"--rollout.evaluation.n={grid.frontier}"), folder / LOG
            return
    run = grid.run(task)
    keep_settings(run, settings[run.name])
    yield from _run_steps(grid, run, settings[run.name])


def _run_steps(grid: Grid, run: Run, settings: Settings) -> Iterator[tuple[list[str], Path]]:
    log, updates = run.folder / LOG, evaluated(grid, settings)
    yield from _missing(run, updates)  # a run that was killed while it evaluated
    if not _checkpoint(run, updates[-1]).exists():
        yield _fit(run, grid.evaluate, settings), log
        yield from _missing(run, updates)
    for update in updates:
        if evaluation_file(run, update) is None:
            raise UserError(
                f"{run.folder} has neither an evaluation nor a checkpoint after {update} updates, "
                f"see {log}; remove the folder to start this run again"
            )


def _missing(run: Run, updates: list[int]) -> Iterator[tuple[list[str], Path]]:
    for update in updates:
        checkpoint = _checkpoint(run, update)
        if evaluation_file(run, update) is None and checkpoint.exists():
            yield _validate(run, run.output, f"--ckpt_path={checkpoint.as_posix()}"), run.folder / LOG


def evaluation_file(run: Run, update: int) -> Path | None:
    """The completions of an evaluation during training, or of a checkpoint afterwards."""
    files = (run.output / f"{stage}-{update:06d}.parquet" for stage in ("val", "validate"))
    return next((file for file in files if file.is_file()), None)


def evaluated(grid: Grid, settings: Settings) -> list[int]:
    """The updates after which a run is evaluated.

    Raises:
        UserError: If its settings give no such updates, or other ones than asked for.
    """
    trainer = settings["trainer"]
    updates, limit = trainer["max_steps"], trainer["limit_val_batches"]
    if updates < 1:
        raise UserError(
            f"all runs of a comparison need a number of updates: put --trainer.max_steps=N into shared, got {updates}"
        )
    if updates % grid.evaluate:
        raise UserError(
            f"evaluate is {grid.evaluate}, and trainer.max_steps {updates} is no multiple of it: the last "
            "update would not be evaluated"
        )
    if limit == 0:
        raise UserError("trainer.limit_val_batches is 0, so nothing would be evaluated; leave it out")
    return [*range(grid.evaluate, updates + 1, grid.evaluate)]


def keep_settings(run: Run, settings: Settings) -> None:
    """Write the settings of a run that begins.

    Raises:
        UserError: If it began with other ones.
    """
    file = run.folder / SETTINGS
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(settings, indent=1) + "\n")
        return
    before, now = _flat(json.loads(file.read_text())), _flat(json.loads(json.dumps(settings)))
    changed = [
        f"{key} from {before[key]!r} to {now[key]!r}" for key in before if key in now and before[key] != now[key]
    ]
    if changed:
        raise UserError(
            f"{run.folder} began with other settings: {'; '.join(changed[:5])} changed. "
            "Give the grid another folder, or remove this one"
        )


def _flat(tree: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(tree, Mapping):
        return {name: tree}
    return {key: value for part in tree for key, value in _flat(tree[part], f"{name}.{part}".strip(".")).items()}


def _firsts(grid: Grid) -> list[Run]:
    """One run for each policy before training: those of the baseline, whose start the other methods share."""
    return [run for run in grid.runs if run.method == grid.baseline]


def _checkpoint(run: Run, update: int) -> Path:
    return run.folder / "checkpoints" / f"step-{update:08d}.ckpt"


def _fit(run: Run, every: int, settings: Settings) -> list[str]:
    """`rtt fit` of a run, from the beginning or from its newest checkpoint."""
    folder = run.folder.as_posix()
    checkpoints = {"folder": f"{folder}/checkpoints", "every": every}
    logger = {"save_dir": folder, "name": "logs", "flush_logs_every_n_steps": 1}
    micro_batches = every * settings["trainer"]["accumulate_grad_batches"]
    parts = {
        "trainer.callbacks": [{"class_path": "rtt_lightning.Checkpoints", "init_args": checkpoints}],
        "trainer.logger": {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": logger},
        "trainer.val_check_interval": micro_batches,
        "trainer.check_val_every_n_epoch": None,
        "trainer.max_time": None,
        "trainer.enable_checkpointing": True,
    }
    own = [f"--{name}={json.dumps(value)}" for name, value in parts.items()]
    return ["fit", *run.settings, *own, *_apart(run, run.output), f"--ckpt_path={folder}/checkpoints"]


def _validate(run: Run, output: Path, *more: str) -> list[str]:
    """`rtt validate` of its policy, before training unless a checkpoint is given."""
    return [
        "validate",
        *run.settings,
        "--trainer.logger=false",
        "--trainer.callbacks=null",
        *_apart(run, output),
        *more,
    ]


def _apart(run: Run, output: Path) -> list[str]:
    return [f"--seed_everything={run.seed}", f"--rollout.output={output.as_posix()}"]
