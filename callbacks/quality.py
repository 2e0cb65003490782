"""How good a discriminator is: measured by `rtt validate` and `rtt test`, with a page."""

import json
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from rtt_lightning.callbacks.rollout import RolloutCallback
from rtt_lightning.modules.discriminator import DiscriminatorModule
from rtt_lightning.reports.evaluation import with_null
from rtt_lightning.reports.outputs import evaluation_name
from rtt_lightning.reports.quality import measure, show_faithfulness, show_quality
from rtt_lightning.reports.quality_page import quality_page
from rtt_lightning.rollout.weighed import WeighedPair, faithfulness_of_pairs, weighed_pairs
from rtt_lightning.runtime.processes import gather
from rtt_lightning.types.errors import UserError


class DiscriminatorQuality(Callback):
    """Measures a discriminator in `rtt validate` and `rtt test`: metrics with intervals, overall and by kinds of
    criteria, and whether verdicts hang on the words that it finds relevant. Prints tables, and writes ``validate.json``
    and a page, ``validate.html``. Inert for a policy, and in `rtt fit`, which logs a few of the metrics.

    Args:
        rollout: Whose verifier decides what is left of answers.
        output: Folder for the files; null for that of the logger, or none without one.
        faithfulness: Cells (a response and a criterion) whose answers are tried without their most relevant words, at
            most; 0 for none. Each takes the verifier some 50 checks.
        judged: Also try cells that a judge decides: as many questions, in its budget; no forecast counts them.
    """

    def __init__(
        self, rollout: RolloutCallback, output: str | None = None, faithfulness: int = 128, judged: bool = False
    ) -> None:
        if faithfulness < 0:
            raise UserError(f"quality.faithfulness is a number of cells, at least 0, got {faithfulness}")
        self.rollout, self.output, self.faithfulness, self.judged = rollout, output, faithfulness, judged
        self._cells: list[WeighedPair] = []

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._cells = []

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if _takes_part(trainer, pl_module):
            self._cells += weighed_pairs(batch["pairs"], outputs)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not _takes_part(trainer, pl_module):
            return
        everywhere = [cell for cells in gather(self._cells) for cell in cells]
        folder = self._folder(trainer)
        self._cells = []
        if trainer.is_global_zero and everywhere:
            self._report(trainer, pl_module, everywhere, folder)

    on_test_start, on_test_batch_end, on_test_end = on_validation_start, on_validation_batch_end, on_validation_end

    def _folder(self, trainer: Trainer) -> Path | None:
        """Where files go; a collective."""
        beside_logs = trainer.log_dir if trainer.loggers else None
        folder = self.output or beside_logs
        return Path(folder) if folder and not getattr(trainer, "fast_dev_run", False) else None

    def _report(self, trainer: Any, discriminator: Any, cells: list[WeighedPair], folder: Path | None) -> None:
        name = evaluation_name(str(trainer.state.fn.value), trainer.global_step)
        trained = discriminator.trained_kinds
        found, faithful = measure(cells, trained or None), {}
        show_quality(found, name)
        if self.faithfulness:
            samples, verifier = trainer.datamodule.samples(), self.rollout.collector.verifier
            faithful = faithfulness_of_pairs(cells, samples, verifier, self.faithfulness, self.judged)
            show_faithfulness(faithful)
        if folder is None:
            print("nothing was written; --quality.output FOLDER writes all numbers and a page")
            return
        folder.mkdir(parents=True, exist_ok=True)
        written = {**found, "faithfulness": faithful, "trained_kinds": sorted(trained)}
        (folder / f"{name}.json").write_text(json.dumps(with_null(written), indent=2, allow_nan=False) + "\n")
        page = quality_page(found, faithful, f"Discriminator: {name}")
        (folder / f"{name}.html").write_text(page, encoding="utf-8")
        print(f"numbers: {folder / name}.json, page: {folder / name}.html")


def _takes_part(trainer: Trainer, module: LightningModule) -> bool:
    return isinstance(module, DiscriminatorModule) and trainer.state.fn != TrainerFn.FITTING
