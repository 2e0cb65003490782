"""The training forward: log-probs of response tokens, with each prompt computed once for all of its responses.

Rows with the same prompt share one sequence: the prompt, then their responses one after the other. A response sees the
prompt and itself, at the positions that it would have alone; so the results are those of separate rows, for a fraction
of the work: of 8 responses of 48 tokens to a prompt of 100, 484 tokens are computed instead of 1,184.
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
"""Tokens of a shared sequence; attention grows by their square, and in longer ones costs more than the prompts save."""


@dataclass(frozen=True)
class Layout:
    """What the body reads, and where in it each response stands: all that depends on the numbers of a batch.

    Attributes:
        ids: ``[sequence position]`` tokens.
        positions: ``[sequence position]``, of each token in its own prompt + response; or ``None`` where sequences are
            plain: a model counts these itself, whether or not it would be told.
        mask: ``[sequence 1 position position]`` bool: which position (third axis) sees which (last); or
            ``[sequence position]``, 0 for padding, where sequences are plain.
        cells: Row and column in the batch of each response token, ``[response token]`` each.
        predictors: Sequence and position of the state that predicts each of them, likewise.
        targets: ``[response token]``, these tokens.
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
    """Run the body on prompts + responses and the head on just the states that predict response tokens.

    Args:
        model: A causal language model, with or without adapters.
        batch: Rows.
        share: Compute a prompt once for its responses, where `may_share` has nothing against it.

    Returns:
        Log-probs and entropies at the sampling temperature, ``[batch token]`` fp32, 0 outside ``response_mask``.

    Raises:
        UserError: For a row beyond a length that the model bears, see `refuse_long_rows`.
    """
    causal: Any = without_adapters(model)
    mask = batch["response_mask"]
    if not len(mask):  # an empty micro-batch still runs the body, so that every rank takes part in its collectives
        hidden = causal.base_model(input_ids=mask.new_zeros(1, 1, dtype=torch.long), use_cache=False).last_hidden_state
        head = causal.get_output_embeddings().weight
        nothing = torch.zeros(mask.shape, device=mask.device) + 0.0 * (hidden.float().sum() + head[:1].float().sum())
        return nothing, nothing
    if longest_rows(causal.config):
        refuse_long_rows(causal.config, int((batch["prompt_lengths"] + mask.sum(1)).max()))
    return layout_logprobs(causal, layout_of(batch, share and may_share(causal)), mask.shape)


def layout_logprobs(causal: Any, layout: Layout, shape: torch.Size) -> tuple[Tensor, Tensor]:
    """What `response_logprobs` returns, of that ``shape``. What is computed here depends on shapes alone."""
    positions = {} if layout.positions is None else {"position_ids": layout.positions}
    hidden = causal.base_model(
        input_ids=layout.ids, attention_mask=layout.mask, use_cache=False, **positions
    ).last_hidden_state
    head = causal.get_output_embeddings().weight
    logprobs, entropy = token_logprobs(hidden[layout.predictors], head, layout.targets, layout.temperature)
    zeros = torch.zeros(shape, device=hidden.device)
    return zeros.index_put(layout.cells, logprobs), zeros.index_put(layout.cells, entropy)


def may_share(causal: Any) -> bool:
    """Whether responses may share the computation of their prompt, as far as model and configuration tell."""
    return _takes_any_mask(causal.config) and "position_ids" in signature(causal.base_model.forward).parameters


def _takes_any_mask(config: PreTrainedConfig) -> bool:
    """Whether a mask of ours decides, in every layer, what a position sees.

    It would replace the window of a windowed layer. A recurrent or convolutional layer does not look at it: a response
    would see those before it. A sparse one would select among the keys of all responses. And kernels other than those
    of PyTorch take none.
    """
    layers = DynamicCache(config=config).layers  # of a kind that depends on what the layer attends to
    sparse = _selected_keys(config.get_text_config(decoder=True))
    return config._attn_implementation == "sdpa" and not sparse and all(type(layer) is DynamicLayer for layer in layers)


def _selected_keys(text: Any) -> list[int]:
    """How many keys sparse layers look at, of all that a mask lets them see; none for other layers."""
    keys = [getattr(text, name, None) for name in ("index_topk", "keep_window_size")]
    if getattr(text, "index_topk_blocks", None):
        keys.append(text.index_topk_blocks * text.index_block_size)
    return [count for count in keys if count]


def longest_rows(config: PreTrainedConfig) -> list[tuple[int, str]]:
    """Tokens of prompt + response up to which a row's log-probs are its own, and why; empty for almost every model.

    With LongRoPE and dynamic NTK scaling the rotary frequencies change with the longest row of a forward pass beyond
    the original length: what a row gets then depends on the rows beside it, and differs from what it got while it was
    sampled. Sparse layers choose among more keys than they look at by scores that tie, or nearly: padding, or another
    kernel, makes them choose others.
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
    """Refuse rows whose log-probs would depend on the rows beside them.

    Args:
        config: Of the model.
        tokens: Of the longest prompt + response.

    Raises:
        UserError: If that is more than the model's `longest_rows`.
    """
    limit, reason = min(longest_rows(config), default=(tokens, ""))
    if tokens > limit:
        raise UserError(
            f"rows of {config.model_type} have log-probs of their own up to {limit} tokens: {reason}, so that they "
            f"depend on the rows beside them; got prompt + response of up to {tokens}: lower data.max_prompt_tokens, "
            "or max_new_tokens of rollout.sampling and rollout.evaluation"
        )


def layout_of(batch: Sequences, share: bool) -> Layout:
    """How the body reads a batch; ``share``: rows with the same prompt may share a sequence."""
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
    """Write prompts and responses to their places. ``sequence`` and ``row_start``: ``[batch]``."""
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
    if shape[0] == len(starts):  # plain sequences: causal attention needs to know the padding alone
        return Layout(ids, None, (owner != -2).long(), *given)
    sees = (owner[:, None] == -1) | (owner[:, None] == owner[:, :, None])
    return Layout(ids, positions, sees.tril()[:, None], *given)
