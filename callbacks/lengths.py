"""Lengths that the model of a policy bears, looked at before anything is sampled."""

from typing import Any

from rtt_lightning.datamodules.views import PromptWindows
from rtt_lightning.engines.base import Sampling
from rtt_lightning.lm.forward import refuse_long_rows


def refuse_long(trainer: Any, policy: Any, sampling: Sampling) -> None:
    """Refuse responses that could be longer than the policy's model bears.

    Raises:
        ValueError: See `refuse_long_rows`.
    """
    data = trainer.datamodule
    if isinstance(data.view, PromptWindows):
        refuse_long_rows(policy.model.config, data.max_prompt_tokens + sampling.max_new_tokens)
