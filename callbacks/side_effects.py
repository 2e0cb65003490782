"""What training changes where no criterion asks for it, measured at each evaluation."""

from dataclasses import replace
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from rtt_lightning.callbacks.neutral import neutral_text
from rtt_lightning.callbacks.rollout import EVALUATION_WINDOW, RolloutCallback
from rtt_lightning.datamodules import PromptWindows
from rtt_lightning.lm.sequences import ROWS, on_device, sequences
from rtt_lightning.metrics import ReferenceDistance
from rtt_lightning.runtime.processes import gather
from rtt_lightning.types import RubricSample
from rtt_lightning.types.asked import bare
from rtt_lightning.types.errors import UserError


class SideEffects(Callback):
    """Metrics of an evaluation (`rtt validate`, and within a run) that no criterion is about; off by default.

    - ``val/neutral_text``: mean log-prob per token of a fixed text; ``val/neutral_text_reference``: by the reference.
    - ``val/bare_...``: length, distance from the reference and coherence of answers to prompts without their criteria.

    Args:
        rollout: Samples them, as it samples an evaluation.
        bare_tasks: Validation prompts, of all processes together, that are answered without their criteria; rows need
            the field `task`. 0 measures nothing.
    """

    def __init__(self, rollout: RolloutCallback, bare_tasks: int = 0) -> None:
        if bare_tasks < 0:
            raise UserError(f"side_effects.bare_tasks must be at least 0, got {bare_tasks}")
        self.rollout, self.bare_tasks = rollout, bare_tasks

    def setup(self, trainer: Any, pl_module: LightningModule, stage: str) -> None:
        if self._measures(trainer) and trainer.datamodule.records.get("val") and not self._tasks(trainer):
            raise UserError(
                f"side_effects.bare_tasks {self.bare_tasks} asks validation prompts without their criteria, and none "
                "says what that is: rows need the field `task` (docs/data.md), or set it to 0"
            )

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        if self._measures(trainer):
            found = neutral_text(trainer, pl_module, reference=True) | self._bare(trainer, pl_module)
            pl_module.log_dict({f"val/{name}": value for name, value in found.items()}, batch_size=1)

    def _measures(self, trainer: Any) -> bool:
        return self.bare_tasks > 0 and isinstance(trainer.datamodule.view, PromptWindows)

    def _tasks(self, trainer: Any) -> list[RubricSample]:
        """Validation prompts, with their bare tasks as last turns."""
        samples = [record.sample for record in trainer.datamodule.records["val"]]
        asked = [sample for sample in samples if sample.task][: self.bare_tasks]
        return [replace(sample, messages=bare(sample)) for sample in asked]

    def _bare(self, trainer: Any, policy: Any) -> dict[str, Any]:
        """Of answers to the bare tasks. A collective."""
        mine = self._tasks(trainer)[trainer.global_rank :: trainer.world_size]
        collector, sampling = self.rollout.collector, self.rollout.evaluation
        distance = ReferenceDistance().to(policy.device)
        collector.sync(policy, trainer.global_step)
        with trainer.precision_plugin.forward_context():
            rows = collector.sample(mine, sampling, EVALUATION_WINDOW)
            for start in range(0, max(gather(len(rows))), ROWS):  # processes of a sharded model forward equally often
                batch = on_device(sequences(rows[start : start + ROWS]), policy.device)
                logprobs, reference = policy.compared_logprobs(batch)
                distance.update(logprobs, reference, batch["response_mask"], sampling.full_vocabulary)
        return {f"bare_{name}": value for name, value in distance.compute().items()}
