"""What loaders, the rollout callback and modules exchange: batches of prompts, of their responses, and of pairs.

Plain dicts of plain values, which Lightning moves between devices and checkpoints load with ``weights_only``.
"""

from collections.abc import Sequence
from typing import NotRequired, TypedDict

from torch import Tensor

from rtt_lightning.types.rubric import Polarity, Scope, Span


class PromptBatch(TypedDict):
    """From a loader to the rollout callback: the prompts of one micro-batch of a window, or of an evaluation.

    ``window`` is its number in the run, ``micro_batch`` the number within the window, ``updates`` the number of updates
    of the window; an evaluation has none of these.
    """

    prompts: list[int]
    split: str
    window: NotRequired[int]
    micro_batch: NotRequired[int]
    updates: NotRequired[int]


class TokenBatch(TypedDict):
    """Prompts and responses in tokens, right-padded: what a body reads.

    ``prompt_ids [batch prompt]``, ``prompt_lengths [batch]``, ``response_ids [batch token]`` and ``response_mask [batch
    token]`` bool.
    """

    prompt_ids: Tensor
    prompt_lengths: Tensor
    response_ids: Tensor
    response_mask: Tensor


class Sequences(TokenBatch):
    """What the training forward of a policy reads.

    Also ``temperature [batch]``, and ``sampler_logprobs [batch token]``, NaN where the sampler gave none.
    """

    temperature: Tensor
    sampler_logprobs: Tensor


class ResponseBatch(Sequences):
    """What the rollout callback adds to the `PromptBatch` of a window, for the policy to train on.

    ``advantages [batch token]``; ``old_logprobs [batch token]`` if the window has several updates; ``update_tokens``,
    the response tokens of the update on all processes; its number of ``micro_batches``; whether this is the
    ``last_of_update``; the ``prompt_id`` of each row; what is not finite in it (``nonfinite``). A window keeps these,
    and so does a checkpoint within it. On delivery, also whether responses were drawn from the ``full_vocabulary``.
    """

    advantages: Tensor
    old_logprobs: NotRequired[Tensor]
    update_tokens: Tensor
    micro_batches: int
    last_of_update: bool
    prompt_id: list[str]
    nonfinite: list[str]
    full_vocabulary: NotRequired[bool]


class VerdictBatch(Sequences):
    """The same for an evaluation: ``met``, ``scorable`` and ``weights``, all ``[batch rubric]``."""

    met: Tensor
    scorable: Tensor
    weights: Tensor
    full_vocabulary: NotRequired[bool]


class Pair(TypedDict):
    """A criterion, a response, and the response's characters that are relevant to the criterion.

    Also what metrics are told apart by: the criterion's kind (``checker``), ``scope`` and ``polarity``.
    """

    prompt_id: str
    criterion: str
    response: str
    spans: tuple[Span, ...]
    checker: str
    scope: Scope
    polarity: Polarity


class PairBatch(TypedDict):
    """From a loader to the discriminator: this process's ``pairs`` of one micro-batch, and the prompt of each.

    The first micro-batch of an update also has the pairs of each of the whole ``update``, in order.
    """

    pairs: list[Pair]
    prompt_id: list[str]
    update: NotRequired[list[list[Pair]]]


class WeighedBatch(TypedDict):
    """What a discriminator says of the pairs of an evaluation.

    ``p``, ``labels`` (bool) and ``mask`` (bool, the tokens that were read), all ``[pair token]``; and of each pair the
    characters of its tokens.
    """

    p: Tensor
    labels: Tensor
    mask: Tensor
    offsets: list[Sequence[Span]]


Batch = PromptBatch | PairBatch
"""What a loader yields."""
