"""What the processes under test load by class path: an engine without a model, and a callback that keeps metrics."""

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from lightning.pytorch import Callback
from torch.distributed.tensor import DTensor

from rtt_lightning.engines.base import (
    PolicyWeights,
    RolloutBuilder,
    RolloutEngine,
    SampleRequest,
    Sampling,
    end_token_ids,
)
from rtt_lightning.runtime.processes import gather
from rtt_lightning.runtime.sharding import full_tensor
from rtt_lightning.types import Rollout


class SeededEngine(RolloutEngine):
    """Responses as a function of their seed alone: the same on any number of processes, of ragged lengths."""

    def start(self, policy: PolicyWeights) -> None:
        self._build = RolloutBuilder(policy.tokenizer, end_token_ids(policy.model, policy.tokenizer))

    def sync(self, policy: PolicyWeights) -> None:
        pass

    def generate(self, requests: Sequence[SampleRequest], sampling: Sampling, policy_version: int) -> Iterator[Rollout]:
        for request in requests:
            for index, seed in enumerate(request.seeds):
                rng = random.Random(seed)
                tokens = [rng.randrange(300, 5000) for _ in range(rng.randint(1, sampling.max_new_tokens - 1))]
                yield self._build(request, index, [*tokens, 2], None, sampling, policy_version)


class Recorder(Callback):
    """Keeps, of every update, the logged loss and the whole gradients, and the whole weights at the end.

    Args:
        path: File that rank 0 writes.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.updates: list[dict] = []
        self.prompts: list[list[int]] = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        self.prompts.append(list(batch.get("prompts", [])))

    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        gradients = {
            n: full_tensor(p.grad).cpu().clone() for n, p in pl_module.named_parameters() if p.grad is not None
        }
        self.updates.append({"gradients": gradients})

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if self.updates and "train/loss" in trainer.logged_metrics:
            self.updates[-1]["loss"] = float(trainer.logged_metrics["train/loss"])

    def on_train_end(self, trainer, pl_module) -> None:
        weights = {n: full_tensor(p.detach()).cpu() for n, p in pl_module.named_parameters() if p.requires_grad}
        if trainer.is_global_zero:
            torch.save({"updates": self.updates, "weights": weights, "prompts": self.prompts}, self.path)


class Journal(Callback):
    """Appends one line per update: its number, logged loss and prompts. A resumed run goes on in the same file.

    Args:
        path: A JSONL file.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self._prompts: list[list[int]] = []
        self._updates: int | None = None

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        self._updates = trainer.global_step if self._updates is None else self._updates
        self._prompts.append(batch["prompts"] if "prompts" in batch else [pair["criterion"] for pair in batch["pairs"]])

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if trainer.global_step == self._updates:
            return
        self._updates = trainer.global_step
        micro_batches = zip(*gather(self._prompts), strict=True)
        prompts = [sorted(prompt for share in shares for prompt in share) for shares in micro_batches]
        line = {"update": self._updates, "loss": float(trainer.logged_metrics["train/loss"]), "prompts": prompts}
        if trainer.is_global_zero:
            with self.path.open("a") as file:
                file.write(json.dumps(line) + "\n")
        self._prompts = []


class BadGradients(Callback):
    """One element of one gradient becomes infinite, as by an overflow or a faulty card.

    Args:
        updates: Numbers of the updates that it happens in, from 1.
        rank: The process that it happens on.
    """

    def __init__(self, updates: list[int], rank: int = 0) -> None:
        self.updates, self.rank = updates, rank

    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        if trainer.global_step + 1 in self.updates and trainer.global_rank == self.rank:
            gradient = next(p.grad for p in pl_module.parameters() if p.grad is not None)
            (gradient.to_local() if isinstance(gradient, DTensor) else gradient).view(-1)[0] = torch.inf
