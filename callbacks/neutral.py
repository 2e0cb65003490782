"""A text that no criterion asks for: what training does to its likelihood, it does beside its purpose."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from rtt_lightning.lm.forward import longest_rows
from rtt_lightning.lm.sequences import on_device, sequences
from rtt_lightning.types import Rollout

QUESTION = "Describe a morning in a small harbour."
TEXT = (
    "The first boats come in before it is light. Somebody has left a lamp on at the end of the pier, and the water "
    "around it is green and almost still. By seven the baker has opened, and two men carry crates of fish up the steps "
    "while a third counts them aloud. Later the ferry arrives with the post, a few bicycles and a dog that knows the "
    "way home. Then the wind turns, the ropes begin to knock against the masts, and the day is under way."
)
"""Written for this project."""


@torch.no_grad()
def neutral_text(trainer: Any, policy: Any, reference: bool) -> dict[str, Tensor]:
    """The mean log-prob per token of this text as the answer to its question, at temperature 1. A collective.

    Of a model that bears only short rows it is the beginning of the text, as far as it fits.

    Args:
        trainer: Has the precision.
        policy: A `PolicyModule`.
        reference: Whether to ask its reference as well.

    Returns:
        ``neutral_text`` and, of the reference, ``neutral_text_reference``; neither if the model bears no such row.
    """
    prompt = policy.render([{"role": "user", "content": QUESTION}])
    room = min([length for length, _ in longest_rows(policy.model.config)], default=None)
    ids = tuple(policy.tokenizer(TEXT, add_special_tokens=False)["input_ids"])
    ids = ids if room is None else ids[: max(0, room - len(prompt))]
    if not ids:
        return {}
    blank = Rollout.of_text("neutral", TEXT)
    row = replace(blank, prompt_ids=prompt, response_ids=ids, offsets=((0, 0),) * len(ids))
    batch = on_device(sequences([row]), policy.device)
    with trainer.precision_plugin.forward_context():
        found = {"neutral_text": policy.response_logprobs(batch)[0].mean()}
        return found | ({"neutral_text_reference": policy.reference_logprobs(batch).mean()} if reference else {})
