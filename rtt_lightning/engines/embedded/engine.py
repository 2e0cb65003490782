"""The embedded engine: samples from the policy's own weights, in its own process."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.distributed.fsdp import FSDPModule

from rtt_lightning.engines.base import (
    PolicyWeights,
    RolloutBuilder,
    RolloutEngine,
    SampleRequest,
    Sampling,
    end_token_ids,
)
from rtt_lightning.engines.embedded.cache import growing_cache
from rtt_lightning.lm.mergeable import check_mergeable
from rtt_lightning.lm.merging import LOST_IN_BF16, adapters_merged, merges_into_bf16
from rtt_lightning.lm.modes import in_evaluation
from rtt_lightning.runtime.processes import sum_over_ranks
from rtt_lightning.types import Rollout
from rtt_lightning.types.errors import UserError


@dataclass
class _Row:
    """A response being sampled."""

    request: SampleRequest
    sample_index: int
    uniforms: Tensor
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)


class TransformersEngine(RolloutEngine):
    """Batched sampling with a key-value cache on the policy's device; weight sync costs nothing.

    Each response draws from its own seed, so it does not depend on the rest of the batch beyond rounding.
    If the model is sharded, all processes sample in step, each its own prompts.

    Args:
        batch_size: Responses sampled at a time. Memory grows with it; finished rows leave the batch.
        merge_adapters: Sample from weights with merged adapters: twice as fast, with memory for a second copy of the
            adapted weights while sampling. A sharded model keeps its adapters apart.
    """

    def __init__(self, batch_size: int = 64, merge_adapters: bool = True) -> None:
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
        self._merges = self.merge_adapters and not self._sharded
        if self._merges:
            check_mergeable(self._model)
            if merges_into_bf16(self._model):
                rank_zero_info(LOST_IN_BF16.format(switch="rollout.engine.init_args.merge_adapters false"))
        self._build = RolloutBuilder(policy.tokenizer, end_token_ids(policy.model, policy.tokenizer))

    def sync(self, policy: PolicyWeights) -> None:
        """Nothing to do: the weights are shared."""

    def generate(self, requests: Sequence[SampleRequest], sampling: Sampling, policy_version: int) -> Iterator[Rollout]:
        merged = adapters_merged(self._model) if self._merges else nullcontext()
        with in_evaluation(self._model), merged:
            for batch in _batches(requests, self.batch_size):
                for row in self._sample(batch, sampling):
                    logprobs = row.logprobs if sampling.full_vocabulary else None
                    yield self._build(row.request, row.sample_index, row.tokens, logprobs, sampling, policy_version)
            self._wait_in_step()

    @torch.no_grad()
    def _sample(self, batch: "_Batch", sampling: Sampling) -> Iterator[_Row]:
        """Decode a batch token by token; yields a row when it ends, and drops its cache."""
        device = self._model.device
        rows = [_Row(request, i, _uniforms(request.seeds[i], sampling.max_new_tokens)) for request, i in batch]
        prompts = list(dict.fromkeys(row.request.prompt_ids for row in rows))
        inputs, mask = _left_padded(prompts, device)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        output = self._forward(inputs, mask, positions, growing_cache(self._model.config))
        cache = output.past_key_values
        # Each prompt is computed once; its cache is then copied to all of its responses.
        keep = torch.tensor([prompts.index(row.request.prompt_ids) for row in rows], device=device)
        cache.batch_select_indices(keep)
        logits, mask, positions = output.logits[keep, -1], mask[keep], positions[keep]
        for step in range(sampling.max_new_tokens):
            uniforms = torch.stack([row.uniforms[step] for row in rows]).to(device)
            tokens, logprobs = draw(logits, uniforms, sampling)
            for row, token, logprob in zip(rows, tokens.tolist(), logprobs.tolist(), strict=True):
                if not isfinite(logprob):
                    raise FloatingPointError(
                        f"the model's logits are not finite after prompt {row.request.prompt_id} and {step} tokens: "
                        "weights in its folder are not, or it overflows in this precision"
                    )
                row.tokens.append(token)
                row.logprobs.append(logprob)
            last = step + 1 == sampling.max_new_tokens
            going = [not last and row.tokens[-1] not in self._build.end_ids for row in rows]
            yield from (row for row, goes_on in zip(rows, going, strict=True) if not goes_on)
            if not any(going):
                return
            if not all(going):
                keep = torch.tensor(going, device=device).nonzero()[:, 0]
                cache.batch_select_indices(keep)
                rows = [row for row, goes_on in zip(rows, going, strict=True) if goes_on]
                tokens, mask, positions = tokens[keep], mask[keep], positions[keep]
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
            positions = positions[:, -1:] + 1
            output = self._forward(tokens[:, None], mask, positions, cache)
            cache, logits = output.past_key_values, output.logits[:, -1]

    def _forward(self, inputs: Tensor, mask: Tensor, positions: Tensor, cache: Any) -> Any:
        if self._sharded:
            sum_over_ranks(torch.ones(1))  # tells waiting processes that another pass comes
        return self._model(
            input_ids=inputs,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )

    @torch.no_grad()
    def _wait_in_step(self) -> None:
        """Run empty passes until all processes are done, since they gather shards together."""
        idle = torch.zeros(1, 1, dtype=torch.long, device=self._model.device)
        while self._sharded and sum_over_ranks(torch.zeros(1)) > 0:
            self._model(input_ids=idle, use_cache=False, logits_to_keep=1)


_Batch = Sequence[tuple[SampleRequest, int]]
"""Responses to sample together, as (request, sample index)."""


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
    log_p = (logits.float() / sampling.logprob_temperature).log_softmax(-1)
    if sampling.greedy:
        likeliest = log_p.max(-1)
        return likeliest.indices, likeliest.values
    cumulative = _keep_most_likely(log_p.exp(), sampling).cumsum(-1, dtype=torch.float64)
    total = cumulative[:, -1]
    # Stay below the total even if the product rounds up to it: the search must end at a token with some mass.
    target = torch.minimum(uniforms * total, total.nextafter(torch.zeros_like(total)))
    tokens = torch.searchsorted(cumulative, target[:, None], right=True)[:, 0]
    tokens = tokens.clamp(max=logits.shape[-1] - 1)  # for logits with NaN; their log-prob is NaN too
    return tokens, log_p.gather(-1, tokens[:, None])[:, 0]


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
