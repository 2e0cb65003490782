"""`rtt fit`, `validate`, `test` and `predict`, from composed YAML files and flags."""

import sys
from argparse import ArgumentError, RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import DefaultHelpFormatter
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.utilities.exceptions import SIGTERMException

import rtt_lightning
from rtt_lightning import (
    Canary,
    DiscriminatorQuality,
    Guard,
    IdleWindows,
    Progress,
    RewardWatch,
    RolloutCallback,
    RubricDataModule,
    SideEffects,
)
from rtt_lightning.callbacks.checkpoints import SIGTERM_EXIT_CODE, Checkpoints
from rtt_lightning.commands.given import (
    SUBCOMMANDS,
    as_arguments,
    model_class,
    note_replaced,
    nulls_as_yaml,
    read_arguments,
    with_model_class,
)
from rtt_lightning.commands.mistakes import explain_mistake
from rtt_lightning.commands.renamed import renamed
from rtt_lightning.modules.training import TrainableModule
from rtt_lightning.runtime.checkpoints import read_run
from rtt_lightning.runtime.history import continue_logs, write_each_row
from rtt_lightning.runtime.resume import find_checkpoint
from rtt_lightning.runtime.terminal import quieten
from rtt_lightning.runtime.trainer import RubricTrainer
from rtt_lightning.types.errors import UserError

HELP = """Files compose: later ones and flags win, see --print_config; `rtt configs` lists
those that come along.

  model      what is trained: PolicyModule (algorithm, adapters, optimizer,
             loss), DiscriminatorModule, or yours
  data       prompts with rubrics: source and format of the rows, view (what a
             batch is), lengths
  rollout    how responses come about: engine, sampling, verifier (verdicts),
             relevance (of tokens), output
  trainer    Lightning's: max_steps, devices, strategy, precision, logger,
             callbacks, limits on batches
  canary, guard, idle, watch, side_effects, progress
             what warns of a run that goes wrong, or ends it; its line per
             update
  quality    what `rtt validate` measures of a discriminator, and where it is
             written
  seed_everything, ckpt_path, accept_mismatch
             seeds of training, data and sampling; a checkpoint to go on from

A part's flags: `rtt fit --model.help`, `--model.algorithm.help RTT`,
`--rollout.verifier.help LLMJudge`. All others:"""


class Formatter(RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Keeps the line breaks of a description."""


class SaveConfigWithLogs(SaveConfigCallback):
    """Saves the whole configuration: beside the logs, if any, and in every logger and checkpoint."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if trainer.logger is not None:
            super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        for logger in trainer.loggers:
            logger.log_hyperparams(yaml.safe_load(self._text))

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["config"] = self._text

    @cached_property
    def _text(self) -> str:
        return self.parser.dump(self.config, skip_none=False)


class RTTCommandLine(LightningCLI):
    """LightningCLI with a `rollout` group; passes the policy's tokenizer to the data."""

    usage = "rtt {name} [--config FILE ...] [--GROUP.NAME VALUE ...]"
    description = HELP

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        says = "Seed of training, and of data and sampling unless they have their own (data.seed, rollout.seed)."
        parser.add_argument("--seed_everything", type=bool | int, default=0, help=f"{says} True: random.")

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_lightning_class_args(RolloutCallback, "rollout")
        groups = {
            "canary": Canary,
            "watch": RewardWatch,
            "side_effects": SideEffects,
            "idle": IdleWindows,
            "guard": Guard,
            "progress": Progress,
            "quality": DiscriminatorQuality,
        }
        for name, callback in groups.items():
            parser.add_lightning_class_args(callback, name)
        for name in ("canary", "watch", "side_effects", "idle", "quality"):
            parser.link_arguments("rollout", f"{name}.rollout", apply_on="instantiate")
        parser.set_defaults(
            {
                "trainer.use_distributed_sampler": False,
                "trainer.num_sanity_val_steps": 0,
                "trainer.log_every_n_steps": 1,
                "trainer.enable_progress_bar": False,  # `Progress` replaces these
                "trainer.enable_model_summary": False,
                "trainer.max_epochs": -1,
                "trainer.plugins": {"class_path": "rtt_lightning.runtime.checkpoints.CheckpointFiles"},
            }
        )
        parser.link_arguments("model.init_args.model", "data.tokenizer")
        parser.add_argument(
            "--accept_mismatch",
            type=bool,
            default=False,
            help="Load a checkpoint although it continues another base model, adapter or tokenizer than this run has.",
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        try:
            super().parse_arguments(parser, args)
        except ArgumentError as error:
            own = next((self._parser(word) for word in args if word in SUBCOMMANDS), parser)
            raise UserError(explain_mistake(str(error), own.get_defaults(skip_validation=True).keys())) from error

    def _set_seed(self) -> None:
        """Use one seed for everything: data and sampling too, unless they have their own."""
        super()._set_seed()
        for part in ("data", "rollout"):
            if self._get(self.config, part).seed is None:
                self._get(self.config, part).seed = int(self._get(self.config, "seed_everything"))

    def instantiate_classes(self) -> None:
        with mistakes_named():
            super().instantiate_classes()
        if isinstance(self.model, TrainableModule):
            self.model.accept_mismatch = self._get(self.config, "accept_mismatch")

    def before_fit(self) -> None:
        trainer: Any = self.trainer
        loggers = trainer.loggers
        write_each_row(loggers)
        if path := self.config.fit.ckpt_path:
            continue_logs(loggers, read_run(Path(path)))
        for callback in trainer.callbacks:  # before anything is loaded
            if isinstance(callback, Checkpoints) and not (path or trainer.fast_dev_run):
                callback.refuse_other_runs()

    def _run_subcommand(self, subcommand: str) -> None:
        try:
            super()._run_subcommand(subcommand)
        except MisconfigurationException as error:
            raise UserError(str(error)) from error
        except SIGTERMException:  # Lightning ends a run without checkpoints so, with exit code 0
            sys.exit(SIGTERM_EXIT_CODE)

    def _parse_ckpt_path(self) -> None:
        """Find the checkpoint before anything is loaded; YAML and flags win over its settings."""
        if "subcommand" not in self.config:
            return
        config = self.config[self.config.subcommand]
        config["weights_only"] = True  # nothing is unpickled, whatever the flag says
        if config.get("ckpt_path"):
            config["ckpt_path"] = find_checkpoint(config["ckpt_path"], begin=self.config.subcommand == "fit")


@contextmanager
def mistakes_named() -> Iterator[None]:
    """While parts are made from YAML and flags: turn their errors into the user's, whoever wrote the parts."""
    try:
        yield
    except UserError:
        raise
    except (ValueError, OSError, MisconfigurationException) as error:
        raise UserError(explain_mistake(str(error), ())) from error


def command(name: str, args: Sequence[str]) -> None:
    """`rtt fit`, `validate`, `test` and `predict`."""
    main([*name.split(), *args])


def main(args: Sequence[str], command_line: type[RTTCommandLine] = RTTCommandLine, run: bool = True) -> RTTCommandLine:
    """Lightning's command line for ours, also for tests and notebooks.

    Args:
        args: What follows `rtt`.
        command_line: Parses and runs them.
        run: Whether they begin with one of Lightning's commands.
    """
    quieten()
    for name in rtt_lightning.__all__:
        getattr(rtt_lightning, name)  # import it, so that help lists it and its short name works
    texts = {"description": command_line.description, "formatter_class": Formatter}
    texts_of = {name: {"usage": command_line.usage.format(name=name), **texts} for name in ("COMMAND", *SUBCOMMANDS)}
    own = {"parser_mode": "omegaconf", "exit_on_error": False, "prog": "rtt"}
    return command_line(
        LightningModule,
        RubricDataModule,
        trainer_class=RubricTrainer,
        subclass_mode_model=True,
        save_config_callback=SaveConfigWithLogs,
        save_config_kwargs={"overwrite": True},
        args=for_the_parser(args),
        parser_kwargs=own | texts_of.pop("COMMAND") | texts_of,
        run=run,
    )


def for_the_parser(args: Sequence[str]) -> list[str]:
    """The arguments in the words of the parser; a line on stderr for what a user should know of them."""
    given, said = renamed(read_arguments(args))
    for line in (*said, *note_replaced(given)):
        rank_zero_only(print)(f"rtt: {line}", file=sys.stderr)
    named = f"--model.help={model_class(given)}"
    return [named if word == "--model.help" else word for word in as_arguments(with_model_class(nulls_as_yaml(given)))]
