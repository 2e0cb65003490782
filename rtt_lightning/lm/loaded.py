"""A plain model as a policy for engines and relevance sources, without a trainer."""

from collections.abc import Iterator, Sequence

from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from rtt_lightning.lm.kernels import use_own_kernels
from rtt_lightning.lm.loading import merged_weights
from rtt_lightning.lm.modes import in_evaluation
from rtt_lightning.lm.selfcheck import CheckedForward
from rtt_lightning.lm.sequences import logprobs_after
from rtt_lightning.lm.tokenizers import TemplateArguments, load_tokenizer, render_prompt
from rtt_lightning.runtime.hub import reading
from rtt_lightning.types import Message, Rollout
from rtt_lightning.types.errors import UserError


class LoadedModel:
    """A causal language model with its tokenizer, for `rtt_lightning.Collector`.

    Args:
        model: On any device, with adapters or without.
        tokenizer: With a chat template.
        chat_template_kwargs: Arguments of the template, such as ``{"enable_thinking": False}``.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        chat_template_kwargs: TemplateArguments | None = None,
    ) -> None:
        self.model, self.tokenizer, self.chat_template_kwargs = model, tokenizer, chat_template_kwargs
        use_own_kernels(model)
        self._logprobs = CheckedForward(model, tokenizer)

    @classmethod
    def from_folder(cls, model: str) -> "LoadedModel":
        """Load a folder or hub name, on the CPU, in the dtype of its weights.

        Raises:
            UserError: If it cannot be read.
        """
        tokenizer = load_tokenizer(model)
        with reading("a model", model, "config.json and weights"):
            return cls(AutoModelForCausalLM.from_pretrained(model, dtype="auto"), tokenizer)

    @property
    def base_model(self) -> str:
        """Folder or hub name of the model, from which some engines load their own copy."""
        if not self.model.config._name_or_path:
            raise UserError(
                f"this {type(self.model).__name__} was made in memory, and the engine reads a model from a folder: "
                "save model and tokenizer with save_pretrained, load them from there, or use TransformersEngine"
            )
        return self.model.config._name_or_path

    def full_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Every weight under its Hugging Face name, adapters merged."""
        return merged_weights(self.model)

    def render(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """See `rtt_lightning.lm.tokenizers.render_prompt`."""
        return render_prompt(self.tokenizer, messages, self.chat_template_kwargs)

    def logprobs_after(self, rollouts: Sequence[Rollout], prompts: Sequence[Sequence[int]]) -> list[Tensor]:
        """See `rtt_lightning.lm.sequences.logprobs_after`."""
        with in_evaluation(self.model):
            return logprobs_after(self._logprobs, self.model.device, rollouts, prompts)
