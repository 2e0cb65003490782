"""The commands that a task of a grid still needs: a run, or the policy before training that all methods start from."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rtt_lightning.comparison.grid import Grid, Run
from rtt_lightning.runtime.files import write_whole
from rtt_lightning.types.errors import UserError

Settings = Mapping[str, Any]
"""The whole configuration of a run, as `rtt fit --print_config` prints it."""
START, FRONTIER = "start", "frontier"
"""Names of what comes before the runs, and of their folders."""
SETTINGS = "settings.json"
"""In the folder of a task, to see whether the grid has changed."""
LOG = "output.log"
EVALUATED = "validate.json"
"""Written last by an evaluation."""


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
        UserError: If the settings of a task changed since it began, or a part of it is missing and cannot be made.
    """
    kind, _, rest = task.partition("/")
    for run in _firsts(grid) if kind in (START, FRONTIER) else []:
        folder, its = grid.folder / task, _before_training(settings[run.name])
        if kind == START and run.start == folder:
            keep_settings(folder, its)
            yield from _validation(run, folder)
        elif kind == FRONTIER and rest == (run.model or "model") and run.seed == grid.seeds[0]:
            keep_settings(folder, its | {"responses": grid.frontier})
            yield from _validation(run, folder, f"--rollout.evaluation.n={grid.frontier}")
    if kind not in (START, FRONTIER):
        run = grid.run(task)
        keep_settings(run.folder, settings[task])
        yield from _run_steps(grid, run, settings[task])


def _validation(run: Run, folder: Path, *more: str) -> Iterator[tuple[list[str], Path]]:
    if not (folder / EVALUATED).is_file():
        yield _validate(run, folder, *more), folder / LOG


def _run_steps(grid: Grid, run: Run, settings: Settings) -> Iterator[tuple[list[str], Path]]:
    log, updates = run.folder / LOG, evaluated(grid, settings)
    yield from _from_checkpoints(run, updates)  # of a run that was killed while it evaluated
    if _missing(run, updates) and not _checkpoint(run, updates[-1]).exists():
        yield _fit(run, grid.evaluate, settings), log
        yield from _from_checkpoints(run, updates)
    if missing := _missing(run, updates):
        raise UserError(
            f"{run.folder} has neither an evaluation nor a checkpoint after {missing[0]} updates, see {log}; remove "
            "the folder to start this run again"
        )


def _missing(run: Run, updates: list[int]) -> list[int]:
    return [update for update in updates if evaluation_file(run, update) is None]


def _from_checkpoints(run: Run, updates: list[int]) -> Iterator[tuple[list[str], Path]]:
    for update in _missing(run, updates):
        checkpoint = _checkpoint(run, update)
        if checkpoint.exists():
            yield _validate(run, run.output, f"--ckpt_path={checkpoint.as_posix()}"), run.folder / LOG


def evaluation_file(run: Run, update: int) -> Path | None:
    """The metrics of an evaluation during training, or of a checkpoint afterwards; its responses are beside them."""
    files = (run.output / f"{stage}-{update:06d}.json" for stage in ("val", "validate"))
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


def keep_settings(folder: Path, settings: Settings) -> None:
    """Write the settings of a task that begins.

    Raises:
        UserError: If it began with other ones.
    """
    if changed := changes(folder, settings):
        raise UserError(
            f"{folder} began with other settings: {'; '.join(changed[:5])} changed. Give the grid another folder, or "
            "remove this one"
        )
    if not (folder / SETTINGS).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / SETTINGS, json.dumps(settings, indent=1) + "\n")


def changes(folder: Path, settings: Settings) -> list[str]:
    """What differs from the settings that a task began with; nothing if it has not begun."""
    file = folder / SETTINGS
    return [*_changes(json.loads(file.read_text()), json.loads(json.dumps(settings)))] if file.is_file() else []


def _changes(before: Any, now: Any, name: str = "") -> Iterator[str]:
    """Settings that only one of both has are new, or gone, with another version of this library."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in before:
            if key in now:
                yield from _changes(before[key], now[key], f"{name}.{key}".strip("."))
    elif before != now:
        yield f"{name} from {before!r} to {now!r}"


def _before_training(settings: Settings) -> dict[str, Any]:
    """What an evaluation of the policy before training depends on."""
    rollout = ("engine", "verifier", "evaluation", "loose", "mask_truncated", "reasoning")
    return {
        "model": settings["model"]["init_args"]["model"],
        "data": settings["data"],
        "rollout": {name: settings["rollout"][name] for name in rollout},
        "precision": settings["trainer"]["precision"],
        "limit_val_batches": settings["trainer"]["limit_val_batches"],
    }


def _firsts(grid: Grid) -> list[Run]:
    """One run for each policy before training: those of the baseline, whose start the other methods share."""
    return [run for run in grid.runs if run.method == grid.baseline]


def _checkpoint(run: Run, update: int) -> Path:
    return run.folder / "checkpoints" / f"step-{update:08d}.ckpt"


def _fit(run: Run, every: int, settings: Settings) -> list[str]:
    """`rtt fit` of a run, from the beginning or from its newest checkpoint."""
    folder = run.folder.as_posix()
    given = settings["trainer"]["callbacks"] or []
    given = given if isinstance(given, list) else [given]
    others = [each for each in given if not each["class_path"].endswith(".Checkpoints")]
    checkpoints = {"folder": f"{folder}/checkpoints", "every": every}
    logger = {"save_dir": folder, "name": "logs", "flush_logs_every_n_steps": 1}
    micro_batches = every * settings["trainer"]["accumulate_grad_batches"]
    parts = {
        "trainer.callbacks": [*others, {"class_path": "rtt_lightning.Checkpoints", "init_args": checkpoints}],
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
