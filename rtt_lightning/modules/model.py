"""The language model of a policy: its weights, the log-probs of responses, and the reference."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rtt_lightning.lm.forward import response_logprobs
from rtt_lightning.lm.loading import Lora, load_reference, merged_weights
from rtt_lightning.lm.origin import base_of, template_and_targets
from rtt_lightning.lm.policy_model import load_trained
from rtt_lightning.lm.selfcheck import FORWARD_KEY, CheckedForward
from rtt_lightning.lm.sequences import logprobs_after
from rtt_lightning.lm.tokenizers import load_tokenizer, render_prompt
from rtt_lightning.modules.training import OptimizerCallable, TrainableModule
from rtt_lightning.types import Message, Rollout
from rtt_lightning.types.batches import Sequences

POLICY_KEY = "policy_config"
"""Key of the model and adapters that a checkpoint continues."""


class PolicyModel(TrainableModule):
    """A language model that responds to prompts, and is trained; `PolicyModule` says by what loss.

    Args:
        model: Folder or hub name of an instruct model.
        lora: Adapters over a frozen base; ``None`` trains all weights in fp32.
        optimizer: Makes the optimiser from the trainable parameters.
        warmup_steps: Optimiser steps of linear warm-up, 0 for none.
        gradient_checkpointing: Recompute activations in the backward pass.
        trust_remote_code: Run code that comes with a model folder or from the hub.
        skip_nonfinite: As of a `TrainableModule`.
    """

    def __init__(
        self,
        model: str,
        lora: Lora | None,
        optimizer: OptimizerCallable,
        warmup_steps: int,
        gradient_checkpointing: bool,
        trust_remote_code: bool,
        skip_nonfinite: int,
    ) -> None:
        super().__init__(optimizer, warmup_steps, skip_nonfinite)
        self.base_model, self.lora = model, lora
        self.gradient_checkpointing = gradient_checkpointing
        self.trust_remote_code = trust_remote_code
        self.tokenizer: PreTrainedTokenizerBase = load_tokenizer(model, trust_remote_code)
        self._reference: tuple[PreTrainedModel, ...] = ()  # in a tuple: not a submodule, never trained or saved

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
            self._logprobs.shares()  # checked before anything is sampled

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
