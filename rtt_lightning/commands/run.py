"""`rtt fit`, `validate`, `test` and `predict`, from composed YAML files and flags."""

import sys
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback

from rtt_lightning.callbacks.canary import Canary
from rtt_lightning.callbacks.guard import Guard
from rtt_lightning.callbacks.idle import IdleWindows
from rtt_lightning.callbacks.progress import Progress
from rtt_lightning.callbacks.rollout import RolloutCallback
from rtt_lightning.callbacks.watch import RewardWatch
from rtt_lightning.commands.configs import find_configs
from rtt_lightning.commands.flags import nulls_as_yaml
from rtt_lightning.commands.given import DEFAULT_MODEL, read, replaced, with_model_class, written
from rtt_lightning.commands.renamed import renamed
from rtt_lightning.commands.score import score
from rtt_lightning.datamodules import RubricDataModule
from rtt_lightning.modules.training import TrainableModule
from rtt_lightning.runtime.checkpoints import read_run
from rtt_lightning.runtime.history import go_on, write_each_row
from rtt_lightning.runtime.resume import find_checkpoint
from rtt_lightning.runtime.terminal import quieten

DESCRIPTION = (
    "Rubrics to Tokens: reinforcement learning from rubrics with token-level credit. "
    "Beside the subcommands below: `rtt export CHECKPOINT FOLDER` writes a Hugging Face folder; `rtt configs` lists "
    "the shipped files, which `--config demo/policy.yaml` finds from any folder; `rtt doctor` checks this machine and, "
    "with the flags of `rtt fit`, a configuration: its data, and the memory that it needs; `rtt data check FILE` "
    "looks at a file of prompts and rubrics in any known format; `rtt rejudge FOLDER` scores saved responses again."
)


CONFIG_KEY = "config"
"""Where a checkpoint keeps the configuration of its run, as YAML."""


class SaveConfigWithLogs(SaveConfigCallback):
    """Saves the whole configuration: beside the logs, where something is logged, in every logger and checkpoint."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if trainer.logger is not None:
            super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        for logger in trainer.loggers:
            logger.log_hyperparams(yaml.safe_load(self._text))

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint[CONFIG_KEY] = self._text

    @cached_property
    def _text(self) -> str:
        return self.parser.dump(self.config, skip_none=False)


class RTTCommandLine(LightningCLI):
    """LightningCLI with a `rollout` group, and the policy's tokenizer known to the data."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_lightning_class_args(RolloutCallback, "rollout")
        parser.add_lightning_class_args(Canary, "canary")
        parser.add_lightning_class_args(RewardWatch, "watch")
        parser.add_lightning_class_args(IdleWindows, "idle")
        parser.add_lightning_class_args(Guard, "guard")
        parser.add_lightning_class_args(Progress, "progress")
        for name in ("canary", "watch", "idle"):
            parser.link_arguments("rollout", f"{name}.rollout", apply_on="instantiate")
        parser.set_defaults(
            {
                "trainer.use_distributed_sampler": False,
                "trainer.num_sanity_val_steps": 0,
                "trainer.log_every_n_steps": 1,
                "trainer.enable_progress_bar": False,  # `Progress` says what these would
                "trainer.enable_model_summary": False,
                "trainer.max_epochs": -1,
                "trainer.plugins": {"class_path": "rtt_lightning.runtime.checkpoints.CheckpointFiles"},
            }
        )
        parser.link_arguments("model.init_args.model", "data.tokenizer")
        parser.add_argument(
            "--responses",
            type=str | None,
            default=None,
            help="With `rtt validate`: score the responses of this JSONL file (`prompt` and `response` per line) "
            "instead of a model's; no model is loaded.",
        )

        parser.add_argument(
            "--accept_mismatch",
            type=bool,
            default=False,
            help="Load a checkpoint although it continues another base model, adapter or tokenizer than this run has.",
        )

    def instantiate_classes(self) -> None:
        """Everything; without model and trainer where given responses are scored."""
        config = self.config[self.config.subcommand]
        if config.responses is None:
            super().instantiate_classes()
            if isinstance(self.model, TrainableModule):
                self.model.accept_mismatch = config.accept_mismatch
            return
        if self.config.subcommand != "validate":
            raise ValueError(f"--responses is for `rtt validate`, not `rtt {self.config.subcommand}`")
        parts: Any = self._parser("validate").instantiate_classes(Namespace(data=config.data, rollout=config.rollout))
        self._scored = parts.data, parts.rollout

    def before_fit(self) -> None:
        loggers = self.trainer.loggers
        write_each_row(loggers)
        if path := self.config.fit.ckpt_path:
            go_on(loggers, read_run(Path(path)))

    def _run_subcommand(self, subcommand: str) -> None:
        responses = self.config[subcommand].responses
        if responses is None:
            super()._run_subcommand(subcommand)
        else:
            score(*self._scored, Path(responses))

    def _parse_ckpt_path(self) -> None:
        """Find the checkpoint before anything is loaded; nothing in it changes what YAML and flags say."""
        config = self.config[self.config.subcommand]
        config["weights_only"] = True  # nothing is unpickled, whatever the flag says
        if config.get("ckpt_path"):
            config["ckpt_path"] = find_checkpoint(config["ckpt_path"], begin=self.config.subcommand == "fit")


def main(args: Sequence[str] | None = None, command_line: type[RTTCommandLine] = RTTCommandLine) -> RTTCommandLine:
    """Entry point of `rtt`; ``args`` as on the command line, for tests and notebooks."""
    quieten()
    return command_line(
        LightningModule,
        RubricDataModule,
        subclass_mode_model=True,
        save_config_callback=SaveConfigWithLogs,
        save_config_kwargs={"overwrite": True},
        seed_everything_default=0,
        args=for_the_parser(sys.argv[1:] if args is None else args),
        parser_kwargs={"parser_mode": "omegaconf", "exit_on_error": False, "description": DESCRIPTION, "prog": "rtt"},
    )


def for_the_parser(args: Sequence[str]) -> list[str]:
    """The arguments in the words of the parser; a line on stderr for what a user should know of them."""
    given, said = renamed(read(find_configs(args)))
    for line in (*said, *replaced(given)):
        rank_zero_only(print)(f"rtt: {line}", file=sys.stderr)
    given = with_model_class(nulls_as_yaml(given))
    if any(each.words[0].partition("=")[0] == "--responses" for each in given):
        given += read([f"--model={DEFAULT_MODEL}", "--model.init_args.model=none"])  # it is not built
    return written(given)


def reason_of(error: BaseException) -> BaseException:
    """The error itself, without what jsonargparse adds to any mistake in a model: that it is not null either."""
    while f"Subtypes: [{LightningModule}, " in str(error) and error.__cause__ is not None:
        error = error.__cause__
    return error
