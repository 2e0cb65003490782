"""The training forward: log-probs of response tokens, with each prompt computed once for all of its responses.

Rows with the same prompt share one sequence: the prompt, then their responses one after the other. A response sees the
prompt and itself, at the positions that it would have alone. So results equal those of separate rows, with a fraction
of the work: 484 tokens instead of 1,184 for 8 responses of 48 tokens to a prompt of 100.
"""

from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedConfig
from transformers.cache_utils import DynamicLayer

from rtt_lightning.functional.logprobs import token_logprobs
from rtt_lightning.lm.merging import without_adapters
from rtt_lightning.types.batches import Sequences
from rtt_lightning.types.errors import UserError

LONGEST_SHARED = 2048
"""Most tokens of a shared sequence: attention grows with their square, and would cost more than sharing saves."""


@dataclass(frozen=True)
class Layout:
    """What the body reads, and where each response is in it: everything that depends on the numbers of a batch.

    Attributes:
        ids: ``[sequence position]`` tokens.
        positions: ``[sequence position]``, of each token in its own prompt + response; ``None`` if sequences are plain:
            the model counts these itself.
        mask: ``[sequence 1 position position]`` bool: which position (third axis) sees which (last); or
            ``[sequence position]``, 0 for padding, where sequences are plain.
        cells: Row and column in the batch of each response token, ``[response token]`` each.
        predictors: Sequence and position of the state that predicts each of them, in the same form.
        targets: ``[response token]``, the tokens.
        temperature: ``[response token]``
    """

    ids: Tensor
    positions: Tensor | None
    mask: Tensor
    cells: tuple[Tensor, Tensor]
    predictors: tuple[Tensor, Tensor]
    targets: Tensor
    temperature: Tensor


def response_logprobs(model: Any, batch: Sequences, share: bool = True) -> tuple[Tensor, Tensor]:
    """Run the body on prompts + responses, and the head only on states that predict response tokens.

    Args:
        model: A causal language model, with or without adapters.
        batch: Rows.
        share: Compute a prompt once for its responses, if `may_share` allows it.

    Returns:
        Log-probs and entropies at the sampling temperature, ``[batch token]`` fp32, 0 outside ``response_mask``.

    Raises:
        UserError: For a row that is too long for the model, see `refuse_long_rows`.
    """
    causal: Any = without_adapters(model)
    mask = batch["response_mask"]
    if not len(mask):  # an empty micro-batch runs the body too, so that every rank takes part in its collectives
        hidden = causal.base_model(input_ids=mask.new_zeros(1, 1, dtype=torch.long), use_cache=False).last_hidden_state
        head = causal.get_output_embeddings().weight
        nothing = torch.zeros(mask.shape, device=mask.device) + 0.0 * (hidden.float().sum() + head[:1].float().sum())
        return nothing, nothing
    if longest_rows(causal.config):
        refuse_long_rows(causal.config, int((batch["prompt_lengths"] + mask.sum(1)).max()))
    return layout_logprobs(causal, layout_of(batch, share and may_share(causal)), mask.shape)


def layout_logprobs(causal: Any, layout: Layout, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """The result of `response_logprobs`, of that ``shape``. Control flow here depends only on shapes."""
    positions = {} if layout.positions is None else {"position_ids": layout.positions}
    hidden = causal.base_model(
        input_ids=layout.ids, attention_mask=layout.mask, use_cache=False, **positions
    ).last_hidden_state
    head = causal.get_output_embeddings().weight
    logprobs, entropy = token_logprobs(hidden[layout.predictors], head, layout.targets, layout.temperature)
    zeros = torch.zeros(shape, device=hidden.device)
    return zeros.index_put(layout.cells, logprobs), zeros.index_put(layout.cells, entropy)


def may_share(causal: Any) -> bool:
    """Whether model and configuration allow responses to share the computation of their prompt."""
    return _takes_any_mask(causal.config) and "position_ids" in signature(causal.base_model.forward).parameters


def _takes_any_mask(config: PreTrainedConfig) -> bool:
    """Whether our mask decides, in every layer, what a position sees.

    It would replace the window of a windowed layer. Recurrent and convolutional layers ignore it: a response would see
    those before it. Sparse ones would select among the keys of all responses. And only PyTorch's kernels take a mask.
    """
    layers = DynamicCache(config=config).layers  # their kind depends on the layer's attention
    sparse = _selected_keys(config.get_text_config(decoder=True))
    return config._attn_implementation == "sdpa" and not sparse and all(type(layer) is DynamicLayer for layer in layers)


def _selected_keys(text: Any) -> list[int]:
    """How many of the visible keys each sparse layer selects; empty without sparse layers."""
    keys = [getattr(text, name, None) for name in ("index_topk", "keep_window_size")]
    if getattr(text, "index_topk_blocks", None):
        keys.append(text.index_topk_blocks * text.index_block_size)
    return [count for count in keys if count]


def longest_rows(config: PreTrainedConfig) -> list[tuple[int, str]]:
    """Tokens of prompt + response beyond which log-probs depend on other rows, and why; empty for most models.

    With LongRoPE and dynamic NTK scaling the rotary frequencies change with the longest row of a forward pass beyond
    the original length: a row's log-probs then depend on the rows beside it, and differ from those in sampling. Sparse
    layers select keys by scores, with near ties: padding, or another kernel, makes them select others.
    """
    text = config.get_text_config(decoder=True)
    rotary: dict[str, Any] = getattr(text, "rope_parameters", None) or {}
    kinds = [rotary] if "rope_type" in rotary else [kind for kind in rotary.values() if isinstance(kind, dict)]
    lengths = [kind["original_max_position_embeddings"] for kind in kinds if kind.get("rope_type") == "longrope"]
    lengths += [text.max_position_embeddings for kind in kinds if "dynamic" in kind.get("rope_type", "")]
    return [
        *((length, "beyond this original length its rotary frequencies change with the longest") for length in lengths),
        *(
            (keys, "its layers look at so many keys, and choose among more by near ties")
            for keys in _selected_keys(text)
        ),
    ]


def refuse_long_rows(config: PreTrainedConfig, tokens: int) -> None:
    """Raise for rows whose log-probs would depend on the rows beside them.

    Args:
        config: Of the model.
        tokens: Length of the longest prompt + response.

    Raises:
        UserError: If it exceeds the model's `longest_rows`.
    """
    limit, reason = min(longest_rows(config), default=(tokens, ""))
    if tokens > limit:
        raise UserError(
            f"rows of {config.model_type} have log-probs of their own up to {limit} tokens: {reason}, so that they "
            f"depend on the rows beside them; got prompt + response of up to {tokens}: lower data.max_prompt_tokens, "
            "or max_new_tokens of rollout.sampling and rollout.evaluation"
        )


def layout_of(batch: Sequences, share: bool) -> Layout:
    """How the body reads a batch; with ``share``, rows with the same prompt may share a sequence."""
    prompts, starts = batch["prompt_ids"], batch["prompt_lengths"]
    padded = torch.arange(prompts.shape[1], device=prompts.device) >= starts[:, None]
    keys = torch.cat([starts[:, None], prompts.masked_fill(padded, 0)], dim=1)
    _, sequence = keys.unique(dim=0, return_inverse=True)
    lengths = batch["response_mask"].sum(1)
    same = sequence[:, None] == sequence
    total = starts + (same * lengths).sum(1)  # of the sequence of each row
    if not share or int(total.max()) > LONGEST_SHARED or int(same.sum()) == len(sequence):
        sequence, total = torch.arange(len(starts), device=starts.device), starts + lengths
        same = torch.eye(len(starts), dtype=torch.bool, device=starts.device)
    row_start = starts + (same.tril(-1) * lengths).sum(1)
    return _laid_out(batch, sequence, row_start, int(total.max()))


def _laid_out(batch: Sequences, sequence: Tensor, row_start: Tensor, width: int) -> Layout:
    """Write prompts and responses to their positions. ``sequence`` and ``row_start``: ``[batch]``."""
    starts, mask = batch["prompt_lengths"], batch["response_mask"]
    shape = (int(sequence.max()) + 1, width)
    ids, positions = starts.new_zeros(shape), starts.new_zeros(shape)
    owner = starts.new_full(shape, -2)  # the row whose response a token belongs to; -1: the prompt, -2: padding
    in_prompt = torch.arange(batch["prompt_ids"].shape[1], device=starts.device) < starts[:, None]
    row, token = in_prompt.nonzero(as_tuple=True)
    ids[sequence[row], token], positions[sequence[row], token] = batch["prompt_ids"][in_prompt], token
    owner[sequence[row], token] = -1
    row, token = mask.nonzero(as_tuple=True)
    place = sequence[row], row_start[row] + token
    ids[place], positions[place], owner[place] = batch["response_ids"][mask], starts[row] + token, row
    before = torch.where(token == 0, starts[row] - 1, place[1] - 1)  # the end of the prompt predicts the first token
    given = (row, token), (sequence[row], before), batch["response_ids"][mask], batch["temperature"][row]
    if shape[0] == len(starts):  # plain sequences: causal attention needs only the padding
        return Layout(ids, None, (owner != -2).long(), *given)
    sees = (owner[:, None] == -1) | (owner[:, None] == owner[:, :, None])
    return Layout(ids, positions, sees.tril()[:, None], *given)
