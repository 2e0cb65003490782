"""A plain model as a policy: what engines and relevance sources ask of one, without a trainer."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from rtt_lightning.lm.forward import response_logprobs
from rtt_lightning.lm.loading import merged_weights
from rtt_lightning.lm.sequences import logprobs_after, on_device
from rtt_lightning.lm.tokenizers import load_tokenizer
from rtt_lightning.types import Rollout
from rtt_lightning.types.batches import Sequences


class LoadedModel:
    """A causal language model with its tokenizer, as `RolloutEngine.start` and `RelevanceSource.weigh` take it.

    Args:
        model: With adapters or without.
        tokenizer: With a chat template.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.base_model: str = model.config._name_or_path

    @classmethod
    def from_folder(cls, model: str) -> "LoadedModel":
        """That of a folder or of the hub, in the dtype of its weights."""
        return cls(AutoModelForCausalLM.from_pretrained(model, dtype="auto"), load_tokenizer(model))

    def full_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Every weight under its Hugging Face name, adapters merged."""
        return merged_weights(self.model)

    @torch.no_grad()
    def logprobs_after(self, rollouts: Sequence[Rollout], prompts: Sequence[Sequence[int]]) -> list[Tensor]:
        """See `rtt_lightning.lm.sequences.logprobs_after`."""
        device = self.model.device

        def logprobs(rows: Sequences) -> Tensor:
            return response_logprobs(self.model, on_device(rows, device))[0]

        return logprobs_after(logprobs, rollouts, prompts)
