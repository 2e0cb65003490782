"""vLLM over HTTP: on GPUs or machines of its own, any number of servers, or one started here.

A server is vLLM's own, with the model that the policy starts from and the routes that take new weights:

    VLLM_SERVER_DEV_MODE=1 vllm serve MODEL --tokens-only --logprobs-mode processed_logprobs

These routes let anyone who reaches the port change the model: keep it inside a trusted network. Tested with vLLM 0.32.
"""

import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import replace
from typing import Any, Literal

import httpx2 as httpx
import torch
from anyio import CapacityLimiter
from anyio.from_thread import start_blocking_portal
from lightning.pytorch.utilities import rank_zero_info

from rtt_lightning.engines.base import (
    PolicyWeights,
    RolloutBuilder,
    RolloutEngine,
    SampleRequest,
    Sampling,
    end_token_ids,
)
from rtt_lightning.engines.vllm.engine import check_requests, sampling_arguments
from rtt_lightning.engines.vllm.handover import FolderHandover, Handover
from rtt_lightning.engines.vllm.http import ServerFailure, sample, wait_until_up
from rtt_lightning.engines.vllm.process import VLLMProcess
from rtt_lightning.lm.mergeable import check_mergeable
from rtt_lightning.lm.merging import LOST_IN_BF16, is_wrapped
from rtt_lightning.lm.stored import as_stored
from rtt_lightning.runtime.lazy import lazy_instance
from rtt_lightning.runtime.processes import gather, rank
from rtt_lightning.runtime.servers import async_client, checked_url
from rtt_lightning.types import OutsideFailure, Rollout
from rtt_lightning.types.errors import UserError


class VLLMServerEngine(RolloutEngine):
    """Samples from vLLM servers, which load the policy's weights from a folder whenever these changed.

    Responses are spread over the servers. A failed server is left out until the next change of weights, and the others
    sample its responses; when none is left the run ends, and the window is not trained on. Every response says which
    weights sampled it, so a server that was restarted with old ones is detected.

    All processes sample from the same servers; the first process hands over the weights, once.

    Args:
        urls: Servers, such as ``http://node1:8000``; without any, one on this machine starts and ends with the run.
        handover: How servers get new weights.
        dtype: Of the weights handed over, and of a server started here.
        concurrency: Responses in flight per server and process.
        deadline: Seconds that a response, or the loading of weights, may take.
        start_deadline: Seconds that a server may take until it answers.
        max_model_len: Longest prompt + response of a server started here; null takes the model's own limit.
        gpu_memory_utilization: Share of the GPU's memory for a server started here.
    """

    samples_elsewhere = True

    def __init__(
        self,
        urls: Sequence[str] = (),
        handover: Handover = lazy_instance(FolderHandover),
        dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16",
        concurrency: int = 256,
        deadline: float = 600.0,
        start_deadline: float = 600.0,
        max_model_len: int | None = None,
        gpu_memory_utilization: float = 0.9,
    ) -> None:
        if concurrency < 1 or deadline <= 0 or start_deadline <= 0:
            raise UserError(
                f"concurrency must be >= 1 and deadlines > 0, got {concurrency}, {deadline} and {start_deadline}"
            )
        self.urls = tuple(checked_url(url, "a url of vLLM servers") for url in urls)
        self.handover, self.dtype = handover, dtype
        self.concurrency, self.deadline, self.start_deadline = concurrency, deadline, start_deadline
        self.max_model_len, self.gpu_memory_utilization = max_model_len, gpu_memory_utilization
        self._process: VLLMProcess | None = None
        self._failures: dict[str, str] = {}  # reasons by URL

    def start(self, policy: PolicyWeights) -> None:
        """Start a server if none is given, wait until all answer, and make them load the policy's weights.

        Raises:
            UserError: If a server does not start, answer or take weights, or if the adapters cannot be merged.
        """
        check_mergeable(policy.model)
        if self.dtype != "float32" and is_wrapped(policy.model):
            rank_zero_info(LOST_IN_BF16.format(switch="rollout.engine.init_args.dtype float32"))
        self._run = gather(uuid.uuid4().hex[:8])[0]  # tells this run's weights from another's
        self._syncs = 0
        self._build = RolloutBuilder(policy.tokenizer, end_token_ids(policy.model, policy.tokenizer))
        if not self.urls:
            if rank() == 0:
                arguments = self.dtype, self.max_model_len, self.gpu_memory_utilization, self.handover.server_arguments
                self._process = VLLMProcess(policy.base_model, *arguments)
            [url, *_] = gather(self._process.url if self._process else "")
            self.urls = (url,)
        check = self._process.check_running if self._process else lambda: None
        self._limit = min(wait_until_up(url, self.start_deadline, check) for url in self.urls)
        self.sync(policy)

    def sync(self, policy: PolicyWeights) -> None:
        """Hand the policy's weights to every server, also to those that failed.

        Raises:
            OutsideFailure: If no server could load them.
        """
        self._syncs += 1
        self._version = f"{self._run}-{self._syncs}"
        dtype = getattr(torch, self.dtype)
        failures = self.handover.send(
            lambda: as_stored(policy.model, policy.full_weights(), dtype), self.urls, self._version, self.deadline
        )
        self._failures = {}
        for url, reason in failures.items():
            self._leave_out(url, reason)
        if not self._alive:
            raise self._none_left()

    def generate(self, requests: Sequence[SampleRequest], sampling: Sampling, policy_version: int) -> Iterator[Rollout]:
        """See `RolloutEngine.generate`.

        Raises:
            UserError: If a prompt with its longest response exceeds a server's length, or a server refuses a request.
            OutsideFailure: If no server is left to sample from.
        """
        check_requests(requests, sampling, self._limit)
        limiters = {url: CapacityLimiter(self.concurrency) for url in self._alive}
        with (
            start_blocking_portal() as portal,
            portal.wrap_async_context_manager(async_client(*self._alive, timeout=self.deadline)) as http,
        ):
            running = {}
            for request in requests:
                for index, seed in enumerate(request.seeds):
                    body = {
                        "token_ids": list(request.prompt_ids),
                        "sampling_params": sampling_arguments(sampling, seed, self._build.end_ids),
                    }
                    first = len(running) % len(limiters)
                    running[portal.start_task_soon(self._sample, http, limiters, body, first)] = request, index
            try:
                for future in as_completed(running):
                    request, index = running[future]
                    tokens, logprobs = future.result()
                    yield self._build(request, index, tokens, logprobs, sampling, policy_version)
            finally:
                for future in running:
                    future.cancel()  # servers abort a request whose connection closes

    def probe(self, requests: Sequence[SampleRequest], sampling: Sampling, policy_version: int) -> Iterator[Rollout]:
        """A few tokens from each server."""
        everywhere = [replace(request, seeds=tuple(range(len(self._alive)))) for request in requests]
        return super().probe(everywhere, sampling, policy_version)

    async def _sample(
        self, http: httpx.AsyncClient, limiters: Mapping[str, CapacityLimiter], body: Mapping[str, Any], first: int
    ) -> tuple[list[int], list[float] | None]:
        """One response, from the first server that gives it."""
        urls = list(limiters)
        for url in urls[first:] + urls[:first]:
            async with limiters[url]:
                if url in self._failures:
                    continue
                try:
                    return await sample(http, url, body, self._version)
                except ServerFailure as error:
                    self._leave_out(url, str(error))
        raise self._none_left()

    @property
    def _alive(self) -> list[str]:
        return [url for url in self.urls if url not in self._failures]

    def _leave_out(self, url: str, reason: str) -> None:
        if url not in self._failures:
            self._failures[url] = reason
            warnings.warn(f"vLLM server {url} is left out until the next change of weights: {reason}", stacklevel=3)

    def _none_left(self) -> OutsideFailure:
        reasons = "; ".join(f"{url}: {reason}" for url, reason in self._failures.items())
        return OutsideFailure(
            f"no vLLM server is left to sample from ({reasons}). Nothing of this window was trained on: "
            "restart the servers, then resume with --ckpt_path"
        )
