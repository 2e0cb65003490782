"""The embedded engine: samples from the policy's own weights, in its own process."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from itertools import compress
from math import isfinite

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.nn.functional import pad
from transformers import DynamicCache

from rtt_lightning.engines.base import (
    PolicyWeights,
    RolloutBuilder,
    RolloutEngine,
    SampleRequest,
    Sampling,
    end_token_ids,
)
from rtt_lightning.engines.embedded.cache import growing_cache, keep_rows, remaining
from rtt_lightning.engines.embedded.packed import linears_packed
from rtt_lightning.lm.mergeable import check_mergeable
from rtt_lightning.lm.merging import LOST_IN_BF16, adapters_merged, merges_into_bf16
from rtt_lightning.lm.modes import in_evaluation
from rtt_lightning.runtime.processes import sum_over_ranks
from rtt_lightning.types import Rollout
from rtt_lightning.types.errors import UserError

BLOCK = 128
"""Tokens of the vocabulary in a block; most vocabularies are a multiple of it."""


class TransformersEngine(RolloutEngine):
    """Batched sampling with a key-value cache on the policy's device; weight sync costs nothing.

    Each response draws from its own seed, so it does not depend on the rest of the batch beyond rounding.
    If the model is sharded, all processes sample in step, each its own prompts.

    Args:
        batch_size: Responses sampled at a time. Memory grows with it; finished rows leave the batch.
        merge_adapters: Sample from weights with merged adapters: a little faster, with memory for a second copy
            of the adapted weights while sampling. null merges into fp32 weights alone: bf16 would round small changes
            away. A sharded model keeps its adapters apart.
    """

    def __init__(self, batch_size: int = 64, merge_adapters: bool | None = None) -> None:
        if batch_size < 1:
            raise UserError(f"batch_size must be at least 1, got {batch_size}")
        self.batch_size, self.merge_adapters = batch_size, merge_adapters

    def start(self, policy: PolicyWeights) -> None:
        """See `RolloutEngine.start`.

        Raises:
            UserError: If adapters should be merged and cannot be.
        """
        self._model = policy.model
        self._sharded = isinstance(policy.model, FSDPModule)
        self._merges = self.merges(policy.model) and not self._sharded
        if self.merge_adapters is not False and not self._sharded:
            check_mergeable(self._model)  # an export will merge, if sampling does not
        if self._merges and merges_into_bf16(self._model):
            rank_zero_info(LOST_IN_BF16.format(switch="rollout.engine.init_args.merge_adapters false"))
        self._build = RolloutBuilder(policy.tokenizer, end_token_ids(policy.model, policy.tokenizer))

    def merges(self, model: nn.Module) -> bool:
        """Whether it samples a model that is not sharded from merged weights."""
        return not merges_into_bf16(model) if self.merge_adapters is None else self.merge_adapters

    def sync(self, policy: PolicyWeights) -> None:
        """Nothing to do: the weights are shared."""

    def generate(self, requests: Sequence[SampleRequest], sampling: Sampling, policy_version: int) -> Iterator[Rollout]:
        merged = adapters_merged(self._model) if self._merges else nullcontext()
        with in_evaluation(self._model), merged, nullcontext() if self._sharded else linears_packed(self._model):
            for batch in _batches(requests, self.batch_size):
                for request, index, tokens, logprobs in self._sample(batch, sampling):
                    if not isfinite(logprobs[-1]):
                        raise FloatingPointError(
                            f"the model's logits are not finite after prompt {request.prompt_id} and {len(tokens) - 1} "
                            "tokens: weights in its folder are not, or it overflows in this precision"
                        )
                    known = logprobs if sampling.full_vocabulary else None
                    yield self._build(request, index, tokens, known, sampling, policy_version)
            self._wait_in_step()

    @torch.no_grad()
    def _sample(self, batch: "_Batch", sampling: Sampling) -> Iterator["_Finished"]:
        """Decode a batch token by token; yields responses when they end, and drops their cache."""
        rows, most, device = list(batch), sampling.max_new_tokens, self._model.device
        cache, logits, mask = self._read(rows)
        end_ids = torch.tensor(sorted(self._build.end_ids), dtype=torch.long, device=device)
        uniforms = torch.stack([_uniforms(request.seeds[i], most) for request, i in rows]).to(device)
        tokens, logprobs = uniforms.new_empty(uniforms.shape, dtype=torch.long), torch.empty_like(uniforms)
        for step in range(most):
            tokens[:, step], logprobs[:, step] = draw(logits, uniforms[:, step], sampling)
            ended = torch.isin(tokens[:, step], end_ids) | ~logprobs[:, step].isfinite()
            if step + 1 == most:
                ended.fill_(True)
            if ended.any():
                found = tokens[ended, : step + 1].tolist(), logprobs[ended, : step + 1].tolist()
                for (request, index), *drawn in zip(compress(rows, ended), *found, strict=True):
                    yield request, index, *drawn
                order = remaining((~ended).tolist())
                if not order:
                    return
                keep_rows(cache, order, device)
                rows = [rows[row] for row in order]
                tokens, logprobs, uniforms, mask = (each[order] for each in (tokens, logprobs, uniforms, mask))
            positions = mask.sum(-1, keepdim=True)
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
            logits = self._forward(tokens[:, step, None], mask, positions, cache)

    def _read(self, rows: "_Batch") -> tuple[DynamicCache, Tensor, Tensor]:
        """Cache, logits of the first token and mask of each row. Each prompt is computed once, and its cache copied."""
        device = self._model.device
        prompts = list(dict.fromkeys(request.prompt_ids for request, _ in rows))
        inputs, mask = _left_padded(prompts, device)
        cache = growing_cache(self._model.config)
        logits = self._forward(inputs, mask, (mask.cumsum(-1) - 1).clamp(min=0), cache)
        places = {prompt: place for place, prompt in enumerate(prompts)}
        keep = torch.tensor([places[request.prompt_ids] for request, _ in rows], device=device)
        cache.batch_select_indices(keep)
        return cache, logits[keep], mask[keep]

    def _forward(self, inputs: Tensor, mask: Tensor, positions: Tensor, cache: DynamicCache) -> Tensor:
        """Logits of the last position, ``[row vocabulary]``; the cache grows by all."""
        if self._sharded:
            sum_over_ranks(torch.ones(1))  # tells waiting processes that another pass comes
        return self._model(
            input_ids=inputs,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]

    @torch.no_grad()
    def _wait_in_step(self) -> None:
        """Run empty passes until all processes are done, since they gather shards together."""
        idle = torch.zeros(1, 1, dtype=torch.long, device=self._model.device)
        while self._sharded and sum_over_ranks(torch.zeros(1)) > 0:
            self._model(input_ids=idle, use_cache=False, logits_to_keep=1)


_Batch = Sequence[tuple[SampleRequest, int]]
"""Responses to sample together, as (request, sample index)."""
_Finished = tuple[SampleRequest, int, list[int], list[float]]
"""A response that has ended: request, sample index, tokens and log-probs."""


def _batches(requests: Sequence[SampleRequest], size: int) -> Iterator[_Batch]:
    responses = [(request, index) for request in requests for index in range(len(request.seeds))]
    for start in range(0, len(responses), size):
        yield responses[start : start + size]


def draw(logits: Tensor, uniforms: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """Draw one token per row by inverting the cumulative distribution; the most likely one if greedy.

    Args:
        logits: ``[row vocabulary]``.
        uniforms: ``[row]`` in [0, 1), float64.

    Returns:
        Token ids ``[row]``, and their log-probs ``[row]`` under the full softmax at ``sampling.logprob_temperature``.
    """
    p = (logits.float() / sampling.logprob_temperature).softmax(-1)
    if sampling.greedy:
        likeliest = p.max(-1)
        return likeliest.indices, likeliest.values.log()
    tokens = _invert(_keep_most_likely(p, sampling), uniforms)
    return tokens, p.gather(-1, tokens[:, None])[:, 0].log()


def _invert(p: Tensor, uniforms: Tensor) -> Tensor:
    """The first token of each row whose cumulative probability exceeds that share of the total.

    Found first among blocks of the vocabulary, then among the tokens of one, which takes a fraction of the memory.
    """
    blocks = pad(p, (0, -p.shape[-1] % BLOCK)) if p.shape[-1] % BLOCK else p
    blocks = blocks.view(len(p), -1, BLOCK)
    block, share = _search(blocks.sum(-1), uniforms)
    token, _ = _search(blocks[torch.arange(len(p), device=p.device), block], share)
    return (block * BLOCK + token).clamp(max=p.shape[-1] - 1)  # for logits with NaN; their log-prob is NaN too


def _search(p: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Column of each row at that share of its total, and the share of this column at which it lies, in [0, 1)."""
    cumulative = p.cumsum(-1, dtype=torch.float64)
    total = cumulative[:, -1]
    # Stay below the total even if the product rounds up to it: the search must end at a column with some mass.
    target = torch.minimum(uniforms * total, total.nextafter(torch.zeros_like(total)))
    found = torch.searchsorted(cumulative, target[:, None], right=True).clamp(max=p.shape[-1] - 1)
    left = (cumulative.gather(-1, found)[:, 0] - target) / p.gather(-1, found)[:, 0]
    return found[:, 0], (1 - left).clamp(min=0)


def _keep_most_likely(p: Tensor, sampling: Sampling) -> Tensor:
    """Zero the tokens outside top-k and top-p; the most likely one always stays."""
    if sampling.top_k:
        least = p.topk(min(sampling.top_k, p.shape[-1])).values[:, -1:]
        p = torch.where(p >= least, p, 0.0)
    if sampling.top_p < 1:
        ordered, order = p.sort(-1, descending=True)
        before = ordered.cumsum(-1) - ordered
        kept = torch.where(before < sampling.top_p * ordered.sum(-1, keepdim=True), ordered, 0.0)
        p = torch.zeros_like(p).scatter(-1, order, kept)
    return p


def _left_padded(prompts: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Prompt ids and attention mask, ``[row prompt]``; the masked pad id may be any."""
    width = max(len(prompt) for prompt in prompts)
    ids = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts], device=device)
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device)
    return ids, mask


def _uniforms(seed: int, count: int) -> Tensor:
    return torch.rand(count, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
