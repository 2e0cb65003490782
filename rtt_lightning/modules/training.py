"""What the policy and the discriminator share: optimiser, warm-up, checkpoints of only the trainable weights, and the
handling of updates that are not finite.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from rtt_lightning.lm.loading import trainable_names
from rtt_lightning.lm.origin import check_origin
from rtt_lightning.runtime.checkpoints import BASE_KEY, SAVED, check_fits, check_shapes
from rtt_lightning.runtime.finite import all_finite, refuse_nonfinite, shortened, tensors_in, trained_weights
from rtt_lightning.runtime.history import HISTORY_KEY, log_places
from rtt_lightning.runtime.processes import gather, sum_over_ranks
from rtt_lightning.runtime.settings import keep_settings, read_settings
from rtt_lightning.runtime.sharding import full_tensor
from rtt_lightning.types.errors import UserError

OptimizerCallable = Callable[[Iterable], Optimizer]
"""Parameters to their optimiser. Copied from Lightning's command line, whose module needs jsonargparse."""
SKIPPED_KEY = "skipped_updates"
"""Key of the numbers of skipped updates in a checkpoint: in total, and last in a row."""


class TrainableModule(LightningModule):
    """A module whose checkpoints hold only its trained weights, in fp32, and only finite numbers.

    An update whose loss or gradient norm is not finite on any process changes neither weights nor optimiser nor
    scheduler on any of them. It ends the run, or is skipped and counted in ``train/skipped_updates``. Each update also
    logs ``train/lr`` and ``train/grad_norm`` (before clipping). A batch may name its prompts (``prompt_id``), its
    ``window``, and what in it is known not to be finite (``nonfinite``).

    Args:
        optimizer: Makes the optimiser from the trainable parameters.
        warmup_steps: Optimiser steps of linear warm-up, 0 for none.
        skip_nonfinite: Updates in a row to skip because a number in them is not finite; one more ends the run. 0 ends
            it at the first. Allow some for precision 16-mixed, which finds its scale by overflows.
        decay: After the warm-up, lower the learning rate linearly, to 0 at the end of the run.
    """

    accept_mismatch = False
    """Load a checkpoint even if it continues another base, adapter or tokenizer; only name the differences."""

    def __init__(
        self, optimizer: OptimizerCallable, warmup_steps: int, skip_nonfinite: int = 0, decay: bool = False
    ) -> None:
        super().__init__()
        if warmup_steps < 0 or skip_nonfinite < 0:
            raise UserError(
                f"warmup_steps and skip_nonfinite must be at least 0, got {warmup_steps} and {skip_nonfinite}"
            )
        self.make_optimizer = optimizer
        self.warmup_steps, self.decay = warmup_steps, decay
        self.base: dict[str, Any] = {}  # see `base_of`; known once the model is loaded
        self.skip_nonfinite = skip_nonfinite
        self.strict_loading = False  # a checkpoint lacks the frozen weights; on_load_checkpoint checks the others
        self._skipped, self.skipped_in_a_row = 0, 0  # in total, and last in a row
        self._batches: list[Any] = []  # of the current update, with their losses
        self._losses: list[Tensor] = []

    @property
    def base_dtype(self) -> torch.dtype:
        """The dtype of frozen weights: bf16 if the trainer computes in it; else, or without a trainer, fp32."""
        low = self._trainer is not None and "bf16" in str(self._trainer.precision)
        return torch.bfloat16 if low else torch.float32

    def configure_optimizers(self) -> Any:
        try:
            optimizer = self.make_optimizer(parameter for parameter in self.parameters() if parameter.requires_grad)
        except ValueError as error:  # raised by torch, as for a negative learning rate
            raise UserError(f"the optimizer refuses its settings: {error}") from error
        if not self.warmup_steps and not self.decay:
            return optimizer
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self._share_of_rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _share_of_rate(self, step: int) -> float:
        """Of the learning rate, at an update."""
        share = min(1.0, (step + 1) / max(1, self.warmup_steps))
        if not self.decay or step < max(1, self.warmup_steps):  # at 0 the trainer does not know its batches yet
            return share
        last = _updates(self.trainer)
        return max(0.0, (last - step) / max(1, last - self.warmup_steps))

    def on_fit_start(self) -> None:
        low = {str(p.dtype) for p in self.parameters() if p.requires_grad and p.dtype != torch.float32}
        if low:
            raise UserError(
                f"trainable weights must be fp32, got {', '.join(sorted(low))}: a step of 1e-6 vanishes in bf16; "
                "use trainer.precision bf16-mixed or 32-true"
            )
        self._batches, self._losses = [], []
        self._settings = read_settings(self.trainer)  # before a checkpoint is restored

    def on_train_start(self) -> None:
        if self.decay:
            _updates(self.trainer)  # raises before anything is trained
        keep_settings(self._settings, self.trainer)

    # -- updates that are not finite -------------------------------------------------------------------------------

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self._batches.append(batch)

    def on_before_backward(self, loss: Tensor) -> None:
        self._losses.append(loss.detach())

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Check the losses and the gradient of the update: one wait for the device, one result on all processes."""
        norm = full_tensor(get_total_norm([p.grad for p in _weights(optimizer) if p.grad is not None])).to(self.device)
        marked = any(batch.get("nonfinite") for batch in self._batches)
        bad_loss = ~torch.stack(self._losses).isfinite().all() | marked
        loss_is_bad, norm_is_bad = sum_over_ranks(torch.stack([bad_loss, ~norm.isfinite()]).float()).tolist()
        if loss_is_bad or norm_is_bad:
            self._skip(optimizer, None if loss_is_bad else norm)
        else:
            self.skipped_in_a_row = 0
        self._batches, self._losses = [], []
        rate = optimizer.param_groups[0]["lr"]
        self.log_dict({"train/grad_norm": norm, "train/lr": rate, "train/skipped_updates": float(self._skipped)})

    def _skip(self, optimizer: Optimizer, norm: Tensor | None) -> None:
        """Leave the optimiser nothing to do, if still allowed. ``norm``: of the gradient, if it is the cause."""
        self._skipped += 1
        self.skipped_in_a_row += 1
        found = [
            (what, batch.get("prompt_id", []))
            for batch, loss in zip(self._batches, self._losses, strict=True)
            for what in (*batch.get("nonfinite", []), *_shown("loss", loss), *_shown("gradient norm", norm))
        ]
        window = f" (window {self._batches[0]['window']})" if "window" in self._batches[0] else ""
        allowed = self.skipped_in_a_row <= self.skip_nonfinite
        self.report_nonfinite(f"update {self.trainer.global_step + 1}{window}", found, allowed=allowed)
        optimizer.zero_grad(set_to_none=True)  # without gradients a step changes nothing, not even by weight decay

    def report_nonfinite(self, where: str, found: Sequence[tuple[str, Sequence[str]]], *, allowed: bool) -> None:
        """End the run; or, if ``allowed``, warn that updates are skipped. A collective: all must call it.

        Args:
            where: An update or a window.
            found: What is not finite in it on this process, with the ids of its prompts; empty on all processes: does
                nothing.
            allowed: Whether the run goes on.

        Raises:
            FloatingPointError: On all processes, if not allowed.
        """
        everywhere = [item for items in gather(list(found)) for item in items]
        if not everywhere:
            return
        prompts = shortened(prompt for _, prompts in everywhere for prompt in prompts) or "without ids"
        reason = f"{where} is not finite: {shortened(what for what, _ in everywhere)}, of prompts {prompts}"
        if not allowed:
            raise FloatingPointError(
                f"{reason}. Nothing was changed by it: resume from the last checkpoint with a lower learning rate or "
                "trainer.gradient_clip_val, or without these prompts; or raise model.init_args.skip_nonfinite (now "
                f"{self.skip_nonfinite}), the number of updates in a row that may be skipped"
            )
        rank_zero_warn(f"{reason}; skipped")

    def configure_gradient_clipping(self, *args: Any, **kwargs: Any) -> None:
        if not self.skipped_in_a_row:  # a skipped update has no gradient, which PyTorch cannot clip by value
            super().configure_gradient_clipping(*args, **kwargs)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        optimizer: Any = self.optimizers(use_pl_optimizer=False)
        wrong = not all_finite(weight.detach() for weight in _weights(optimizer))
        if sum_over_ranks(torch.tensor(float(wrong))) > 0:  # their names take longer than the check
            refuse_nonfinite(trained_weights(self), f"after update {self.trainer.global_step + 1} weights")

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        if not self.skipped_in_a_row:  # the scheduler does not count skipped updates
            super().lr_scheduler_step(scheduler, metric)

    # -- checkpoints -----------------------------------------------------------------------------------------------

    @abstractmethod
    def defined_by(self) -> tuple[str, dict[str, Any]]:
        """The key of a checkpoint, and under it the numbers and strings to build this module again."""

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        names = trainable_names(self)
        checkpoint["state_dict"] = {k: v for k, v in checkpoint["state_dict"].items() if k in names}
        key, definition = self.defined_by()
        checkpoint |= {key: definition, BASE_KEY: self.base}
        if self._trainer is not None and self._trainer.is_global_zero:
            checkpoint[HISTORY_KEY] = log_places(self._trainer.loggers)
        checkpoint[SKIPPED_KEY] = [self._skipped, self.skipped_in_a_row]
        refuse_nonfinite(dict(tensors_in({key: checkpoint.get(key) for key in SAVED})), "not saved: values")

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        key, definition = self.defined_by()
        saved = checkpoint.get(key, {}) | checkpoint.get(BASE_KEY, {})
        check_origin(saved, definition | self.base, self.accept_mismatch)
        trainable = {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}
        check_fits(checkpoint["state_dict"], trainable)
        check_shapes(checkpoint["state_dict"], trainable)
        resumes = self._trainer is not None and self._trainer.state.fn == TrainerFn.FITTING
        if resumes and "optimizer_states" not in checkpoint:
            raise UserError(
                "the checkpoint holds weights alone, so training cannot go on from it: validate or export it, or give "
                "one that was saved in full"
            )
        self._skipped, self.skipped_in_a_row = checkpoint.get(SKIPPED_KEY, [0, 0])
        if self._trainer is not None and not resumes:  # an evaluation is logged under the step that it is of
            self._trainer.fit_loop.load_state_dict(checkpoint["loops"]["fit_loop"])
            self._trainer.fit_loop.epoch_loop._batches_that_stepped = checkpoint["global_step"]


def _weights(optimizer: Optimizer) -> list[Tensor]:
    """What it trains; sooner said than by going through all modules, as `parameters()` does."""
    return [weight for group in optimizer.param_groups for weight in group["params"]]


def _shown(what: str, value: Tensor | None) -> list[str]:
    """The name with the value, if that is not finite."""
    return [] if value is None or value.isfinite() else [f"{what} ({value:g})"]


def _updates(trainer: Any) -> int:
    """Of a whole run.

    Raises:
        UserError: If only time limits it.
    """
    limits = [trainer.max_steps] if trainer.max_steps > 0 else []
    if (trainer.max_epochs or -1) > 0:
        limits.append(trainer.max_epochs * -(-trainer.num_training_batches // trainer.accumulate_grad_batches))
    if not limits:
        raise UserError("decay needs to know the end of the run: set trainer.max_steps or max_epochs")
    return min(limits)
