"""The training forward: log-probs of response tokens, with each prompt computed once for all of its responses.

Rows are packed into one: each prompt, then the responses to it, one after the other. A response sees the prompt and
itself, at the positions that it would have alone. So results equal those of separate rows, with a fraction of the work:
484 tokens instead of 1,184 for 8 responses of 48 tokens to a prompt of 100.
"""

from inspect import signature
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedConfig
from transformers.cache_utils import DynamicLayer

from rtt_lightning.functional.logprobs import Tile, token_logprobs
from rtt_lightning.lm import attention
from rtt_lightning.lm.layout import Layout, layout_of
from rtt_lightning.lm.merging import without_adapters
from rtt_lightning.types.batches import Sequences
from rtt_lightning.types.errors import UserError


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
    layout = layout_of(batch, share and may_share(causal))
    return layout_logprobs(causal, layout, batch)


def layout_logprobs(causal: Any, layout: Layout, batch: Sequences, tile: Tile | None = None) -> tuple[Tensor, Tensor]:
    """The result of `response_logprobs`. Control flow here depends only on shapes.

    Args:
        causal: A causal language model, without adapters around it.
        layout: Of the batch.
        batch: Rows.
        tile: Of the head, see `token_logprobs`.
    """
    hidden = causal.base_model(input_ids=layout.ids, use_cache=False, **layout.reading).last_hidden_state
    head = causal.get_output_embeddings().weight
    targets, temperature = batch["response_ids"][layout.cells], batch["temperature"][layout.cells[0]]
    logprobs, entropy = token_logprobs(hidden[layout.predictors], head, targets, temperature, tile)
    zeros = torch.zeros(batch["response_ids"].shape, device=hidden.device)
    return zeros.index_put(layout.cells, logprobs), zeros.index_put(layout.cells, entropy)


def may_share(causal: Any) -> bool:
    """Whether model and configuration allow responses to share the computation of their prompt."""
    return _reads_segments(causal.config) and "position_ids" in signature(causal.base_model.forward).parameters


def _reads_segments(config: PreTrainedConfig) -> bool:
    """Whether segments decide, in every layer, what a position sees.

    They would replace the window of a windowed layer. Recurrent and convolutional layers ignore them: a response would
    see those before it. Sparse ones would select among the keys of all responses.
    """
    layers = DynamicCache(config=config).layers  # their kind depends on the layer's attention
    sparse = _selected_keys(config.get_text_config(decoder=True))
    own = config._attn_implementation == attention.NAME
    return own and not sparse and all(type(layer) is DynamicLayer for layer in layers)


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
