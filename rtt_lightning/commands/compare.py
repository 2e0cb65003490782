"""`rtt compare`: methods on a grid of runs, or two evaluations that exist."""

import io
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import yaml

from rtt_lightning.commands.configs import find
from rtt_lightning.comparison.carry_out import Carrier
from rtt_lightning.comparison.emit import emit
from rtt_lightning.comparison.grid import EXAMPLE, Grid, Run, read_grid
from rtt_lightning.comparison.report import write_report
from rtt_lightning.comparison.tasks import Settings, evaluated, stages
from rtt_lightning.reports.comparison import compare, show_comparison
from rtt_lightning.types.errors import UserError

GRIDS = (".yaml", ".yml")
HELP = f"""rtt compare GRID.yaml      methods x models x seeds, under one budget
rtt compare BEFORE AFTER   two evaluations of the same prompts, paired

A grid is a YAML file:

{EXAMPLE}
What a run adds are YAML files and flags of `rtt fit`. All runs of a seed share
initial weights, prompts and sampling seeds. What is done is not done again, so
the same command goes on after an end; a failed run does not keep the others
from being carried out. FOLDER/comparison.html, .md, .png and .json compare the
runs that are there. See docs/comparing.md."""


def command(name: str, args: Sequence[str]) -> int:
    """`rtt compare`."""
    parser = ArgumentParser(prog=f"rtt {name}", description=HELP, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument(
        "before", metavar="GRID|BEFORE", help="a grid (.yaml), or an evaluation (FOLDER/validate.parquet)"
    )
    parser.add_argument("after", nargs="?", type=Path, help="another evaluation")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time on this machine, which share its cores")
    parser.add_argument("--only", metavar="TASK", help="carry out one task of the grid alone, such as grpo-csr/seed-0")
    parser.add_argument(
        "--emit", type=Path, metavar="FOLDER", help="write SLURM jobs for the tasks, and carry out none"
    )
    parser.add_argument("--report", action="store_true", help="carry out nothing, and compare what is there")
    parser.add_argument(
        "--kl", type=float, help="compare at this KL, nats per response; else at the largest that all reach"
    )
    given = parser.parse_args(args)
    if given.after is not None:
        found = compare(Path(given.before), given.after)
        show_comparison(found, f"{given.before} and {given.after}, paired by prompt")
        return 0
    if not given.before.endswith(GRIDS):
        raise UserError(
            f"{given.before} is no grid, which is a .yaml file; an evaluation needs another one to be compared with: "
            "rtt compare BEFORE AFTER"
        )
    if given.jobs < 1:
        raise UserError(f"--jobs is the number of runs at a time, at least 1, got {given.jobs}")
    if given.kl is not None and not given.kl >= 0:
        raise UserError(f"--kl is a distance in nats per response, at least 0, got {given.kl}")
    grid = read_grid(find(given.before))
    failed, wanted, settings = dict[str, str](), stages(grid), resolve(grid)
    if given.emit:
        print(emit(grid, given.before, given.emit))
        return 0
    if not given.report:
        if given.only:
            if given.only not in (names := [name for stage in wanted for name in stage]):
                raise UserError(f"the grid has no task {given.only!r}; its tasks are {', '.join(names)}")
            wanted = [[given.only]]
        failed = Carrier(grid, settings, given.jobs).carry_out(wanted)
        if given.only:
            return 1 if failed else 0
    written = write_report(grid, settings, given.kl)
    print("".join(f"{path}\n" for path in written), end="")
    if failed:
        print(
            f"{len(failed)} of {sum(map(len, wanted))} tasks failed: {', '.join(failed)}; start the same command again "
            "to go on"
        )
    return 1 if failed or not written else 0


def resolve(grid: Grid) -> dict[str, Settings]:
    """The configuration of each run, by name: mistakes are found before anything runs.

    Raises:
        UserError: For files or flags that `rtt fit` does not take; names the method. And if methods differ in their
            number of updates.
    """
    found: dict[tuple[str, str], Settings] = {}
    for run in grid.runs:
        if (run.method, run.model) not in found:
            found[run.method, run.model] = _settings(run)
    updates = {"/".join(filter(None, name)): evaluated(grid, settings)[-1] for name, settings in found.items()}
    if len({*updates.values()}) > 1:
        raise UserError(
            "a comparison gives all methods the same number of updates, and trainer.max_steps is "
            f"{', '.join(f'{number} of {method}' for method, number in updates.items())}: set it in shared alone"
        )
    return {run.name: found[run.method, run.model] for run in grid.runs}


def _settings(run: Run) -> Settings:
    from rtt_lightning.commands.run import main  # slow

    shown = io.StringIO()
    try:
        with redirect_stdout(shown), redirect_stderr(io.StringIO()):  # the log of the run will have the notes
            main(["fit", *run.settings, "--print_config"])
    except SystemExit:
        return yaml.safe_load(shown.getvalue())
    except UserError as error:
        raise UserError(f"{run.method}: {error}") from error
    raise AssertionError("--print_config ends the program")
