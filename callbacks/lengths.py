"""Lengths that the model of a policy bears, looked at before anything is sampled."""

from typing import Any

from rtt_lightning.datamodules.views import PromptWindows
from rtt_lightning.engines.base import Sampling
from rtt_lightning.forward import refuse_beyond_original_length


def refuse_long(trainer: Any, policy: Any, sampling: Sampling) -> None:
    """Refuse responses that could leave the original length of the policy's model.

    Raises:
        ValueError: See `refuse_beyond_original_length`.
    """
    data = trainer.datamodule
    if isinstance(data.view, PromptWindows):
        refuse_beyond_original_length(policy.model.config, data.max_prompt_tokens + sampling.max_new_tokens)
