"""The policy: a language model, and the loss that moves it by the advantages of an algorithm."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from math import inf
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rtt_lightning.algorithms import GRPO, Algorithm
from rtt_lightning.algorithms.checks import Returned, checked_credit, refuse_without_logprobs
from rtt_lightning.functional.losses import Distance, clipped_surrogate, importance_weights, kl_k3, token_mean
from rtt_lightning.lm.forward import response_logprobs
from rtt_lightning.lm.loading import Lora, adapters_count, load_reference, merged_weights
from rtt_lightning.lm.origin import base_of, template_and_targets
from rtt_lightning.lm.policy_model import load_trained
from rtt_lightning.lm.selfcheck import FORWARD_KEY, CheckedForward
from rtt_lightning.lm.sequences import logprobs_after
from rtt_lightning.lm.tokenizers import load_tokenizer, render_prompt
from rtt_lightning.metrics import Evaluation, UpdateMeans, reference_distance_name
from rtt_lightning.modules.training import OptimizerCallable, TrainableModule
from rtt_lightning.runtime.lazy import lazy_instance
from rtt_lightning.runtime.logs import MetricLog
from rtt_lightning.runtime.processes import sum_over_ranks
from rtt_lightning.types import Credited, Experience, Message, Rollout
from rtt_lightning.types.batches import ResponseBatch, Sequences, VerdictBatch
from rtt_lightning.types.errors import UserError

POLICY_KEY = "policy_config"
"""Key of the model and adapters that a checkpoint continues."""


class PolicyModule(TrainableModule):
    """A language model trained on rubrics with the advantages of an algorithm and the clipped surrogate of PPO.

    Args:
        model: Folder or hub name of an instruct model.
        algorithm: Turns judged responses into advantages, see `rtt_lightning.algorithms`.
        lora: Adapters over a frozen base; null trains all weights in fp32.
        optimizer: Makes the optimiser from the trainable parameters.
        warmup_steps: Optimiser steps of linear warm-up, 0 for none.
        clip_low: The probability ratio is clipped below 1 - clip_low.
        clip_high: The probability ratio is clipped above 1 + clip_high.
        importance_cap: Weigh the loss of a token by its probability under the policy / under the sampler, at most this
            (>= 1): corrects for a sampler that computes otherwise or has older weights. Null for no weights. Needs
            top_p 1, top_k 0 and a temperature above 0.
        kl_coef: Weight of the KL to the reference in the loss; 0 leaves it out.
        kl: Estimator of that KL, from `rtt_lightning.functional.losses`.
        entropy_coef: Weight of an entropy bonus.
        gradient_checkpointing: Recompute activations in the backward pass: less memory, a third more time.
        trust_remote_code: Run code that comes with a model folder or from the hub.
        skip_nonfinite: Updates in a row to skip because a number in them is not finite; 0 ends the run.
    """

    def __init__(
        self,
        model: str,
        algorithm: Algorithm = lazy_instance(GRPO),
        lora: Lora | None = Lora(),
        optimizer: OptimizerCallable = torch.optim.AdamW,
        warmup_steps: int = 0,
        clip_low: float = 0.2,
        clip_high: float = 0.2,
        importance_cap: float | None = None,
        kl_coef: float = 0.0,
        kl: Distance = kl_k3,
        entropy_coef: float = 0.0,
        gradient_checkpointing: bool = False,
        trust_remote_code: bool = False,
        skip_nonfinite: int = 0,
    ) -> None:
        super().__init__(optimizer, warmup_steps, skip_nonfinite)
        if not isinstance(algorithm, Algorithm):
            raise UserError(f"algorithm must be an Algorithm such as GRPO(), got {algorithm!r}; adapters are lora=...")
        if importance_cap is not None and not 1 <= importance_cap < inf:
            raise UserError(f"importance_cap must be finite and >= 1, or null for no weights, got {importance_cap}")
        self.base_model = model
        self.algorithm, self.lora = algorithm, lora
        self.clip_low, self.clip_high, self.importance_cap = clip_low, clip_high, importance_cap
        self.kl_coef, self.kl, self.entropy_coef = kl_coef, kl, entropy_coef
        self.gradient_checkpointing = gradient_checkpointing
        self.trust_remote_code = trust_remote_code
        self.tokenizer: PreTrainedTokenizerBase = load_tokenizer(model, trust_remote_code)
        self._reference: tuple[PreTrainedModel, ...] = ()  # in a tuple: not a submodule, never trained or saved
        self._means = UpdateMeans()
        self.evaluation = Evaluation()
        self._log_metrics = MetricLog()

    # -- the reward scheme ---------------------------------------------------------------------------------------

    @property
    def has_own_scheme(self) -> bool:
        """Whether a subclass gives the credit, not the algorithm."""
        return type(self).advantages is not PolicyModule.advantages

    @property
    def scheme(self) -> str:
        """The class that gives the credit, for messages."""
        return type(self if self.has_own_scheme else self.algorithm).__name__

    @property
    def smallest_group(self) -> int:
        """Fewest responses per prompt that the scheme learns from; 1 if it does not compare responses."""
        return self.algorithm.smallest_group

    @property
    def token_credit(self) -> bool:
        """Whether the scheme reads the relevance of tokens."""
        return self.algorithm.token_credit

    def advantages(self, experience: Experience) -> Returned:
        """The credit of a window, from the algorithm. The one method that a subclass with its own scheme overrides.

        Args:
            experience: The judged rollouts of a window, whole groups.

        Returns:
            What an algorithm returns; or, without rewards, a pair of ``[batch token]`` advantages and scalars to log.
        """
        return self.algorithm(experience)

    def credit(self, experience: Experience) -> Credited:
        """The result of `advantages`, checked.

        Raises:
            UserError: As `checked_credit` and, with importance weights, `refuse_without_logprobs`.
        """
        if self.importance_cap is not None:
            refuse_without_logprobs(experience)
        return checked_credit(self.advantages(experience), experience, self.scheme)

    # -- the model -----------------------------------------------------------------------------------------------

    def configure_model(self) -> None:
        """Load the weights, once; Lightning calls this before each run."""
        if "model" in self._modules:
            return
        mesh = self.device_mesh and self.device_mesh["data_parallel"]
        kind = self.base_dtype, self.trust_remote_code, self.gradient_checkpointing
        self.model = load_trained(self.base_model, self.lora, *kind, mesh)
        self.base = base_of(self.base_model, self.tokenizer) | template_and_targets(self.tokenizer, self.model)
        self._logprobs = CheckedForward(self.model, self.tokenizer)

    def on_train_start(self) -> None:
        super().on_train_start()
        with self.trainer.precision_plugin.train_step_context():
            self._logprobs.shares()  # checked_credit before anything is sampled

    def defined_by(self) -> tuple[str, dict[str, Any]]:
        return POLICY_KEY, {"model": self.base_model, "lora": self.lora and asdict(self.lora)}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint[FORWARD_KEY] = self._logprobs.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self._logprobs.load_state_dict(checkpoint.get(FORWARD_KEY, {}))

    def full_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Every weight under its Hugging Face name, adapters merged, one full tensor at a time."""
        return merged_weights(self.model)

    def response_logprobs(self, batch: Sequences) -> tuple[Tensor, Tensor]:
        """Log-probs of the response tokens and entropies, ``[batch token]`` fp32, 0 outside ``response_mask``."""
        return self._logprobs(batch)

    @property
    def shares_prompts(self) -> bool:
        """Whether the training forward computes a prompt once for all of its responses."""
        return self._logprobs.shares()

    @torch.no_grad()
    def reference_logprobs(self, batch: Sequences) -> Tensor:
        """Log-probs under the reference, ``[batch token]``: the adapters off, or a frozen copy of the start."""
        if self.lora is not None:
            with self.model.disable_adapter():
                return self._logprobs(batch)[0]
        if not self._reference:
            kind = self.base_dtype, self.device_mesh is not None, self.trust_remote_code
            self._reference = (load_reference(self.base_model, *kind).to(self.device),)
        return response_logprobs(self._reference[0], batch, self._logprobs.shares())[0]

    def render(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Token ids of a conversation up to where the response begins, with the data's `chat_template_kwargs`."""
        trainer: Any = self._trainer
        return render_prompt(self.tokenizer, messages, trainer and trainer.datamodule.chat_template_kwargs)

    def logprobs_after(self, rollouts: Sequence[Rollout], prompts: Sequence[Sequence[int]]) -> list[Tensor]:
        """Log-probs of each response's tokens after another prompt; see `rtt_lightning.lm.sequences`."""
        with nullcontext() if self._trainer is None else self.trainer.precision_plugin.train_step_context():
            return logprobs_after(self.response_logprobs, self.device, rollouts, prompts)

    # -- the loss ------------------------------------------------------------------------------------------------

    def training_step(self, batch: ResponseBatch, batch_idx: int) -> Tensor:
        mask, advantages = batch["response_mask"], batch["advantages"]
        logprobs, entropy = self.response_logprobs(batch)
        old_logprobs = batch.get("old_logprobs", logprobs.detach())  # one update per window: ratio 1, gradient kept
        loss, clipped = clipped_surrogate(logprobs, old_logprobs, advantages, self.clip_low, self.clip_high)
        metrics = {"clipped": clipped.float(), "entropy": entropy}
        if self.importance_cap is not None:
            weights, capped = importance_weights(old_logprobs, batch["sampler_logprobs"], self.importance_cap)
            loss = loss * weights
            metrics |= {"importance_weight": weights, "importance_capped": capped.float()}
        metrics["policy_loss"] = loss
        if self.kl_coef:
            kl = self.kl(logprobs, self.reference_logprobs(batch))
            name = reference_distance_name(batch["full_vocabulary"])  # pyright: ignore[reportTypedDictNotRequiredAccess]
            metrics[name] = kl
            self._means.add(mask.any(1), **{f"{name}_per_response": torch.where(mask, kl, 0.0).sum(1)})
            loss = loss + self.kl_coef * kl
        if self.entropy_coef:
            loss = loss - self.entropy_coef * entropy
        self._means.add(mask, loss=loss, **metrics)
        gap = (batch["sampler_logprobs"] - old_logprobs).abs()  # both of the same weights, unless sampled ahead
        self._means.add(mask & ~batch["sampler_logprobs"].isnan(), logprob_gap=gap)
        if batch["last_of_update"]:
            self._log_metrics(self, "train", self._means.pop(), batch_size=len(mask))
        return token_mean(loss, mask, batch["update_tokens"], batch["micro_batches"], self.trainer.world_size)

    # -- evaluation ----------------------------------------------------------------------------------------------

    def validation_step(self, batch: VerdictBatch, batch_idx: int) -> None:
        self.evaluation.accuracy.update(batch["met"], batch["scorable"], batch["weights"])
        kl = self._kl(batch) if adapters_count(self.model) else torch.zeros_like(batch["sampler_logprobs"])
        full_vocabulary = batch["full_vocabulary"]  # pyright: ignore[reportTypedDictNotRequiredAccess]
        self.evaluation.reference.update(kl, batch["response_mask"], full_vocabulary)

    def on_validation_epoch_end(self) -> None:
        self._log_metrics(self, "val", self.evaluation.pop(), sync_dist=True)

    def on_test_epoch_end(self) -> None:
        self._log_metrics(self, "test", self.evaluation.pop(), sync_dist=True)

    def _kl(self, batch: Sequences) -> Tensor:
        """``[batch token]`` estimate of the KL to the reference."""
        logprobs = batch["sampler_logprobs"]
        # All processes run the policy or none does, also without data: its forward has collectives.
        if sum_over_ranks(logprobs[batch["response_mask"]].isnan().sum().float()):
            logprobs, _ = self.response_logprobs(batch)
        return kl_k3(logprobs, self.reference_logprobs(batch))

    test_step = validation_step

    def predict_step(self, batch: VerdictBatch, batch_idx: int) -> None:
        """Does nothing: the rollout callback samples, judges and writes completions."""
