"""What has to be right on a GPU: training, equality with the CPU, shards, resuming, the discriminator, sampling.

Each check takes a `Setting` and gives metrics; it raises what is wrong.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

from rtt_lightning.algorithms import RTT
from rtt_lightning.callbacks.checkpoints import Checkpoints
from rtt_lightning.callbacks.rollout import RolloutCallback
from rtt_lightning.datamodules import ConstraintPrompts, LabelledPairs, PromptWindows, RecordFiles, RubricDataModule
from rtt_lightning.engines import ReplayEngine, Sampling, TransformersEngine
from rtt_lightning.lm.loading import Lora
from rtt_lightning.modules import PolicyModule
from rtt_lightning.modules.discriminator import DiscriminatorModule
from rtt_lightning.relevance import DiscriminatorRelevance, RuleSpans
from rtt_lightning.relevance.discriminator.build import build
from rtt_lightning.relevance.discriminator.config import RelevanceConfig
from rtt_lightning.relevance.discriminator.source import relevance_of
from rtt_lightning.runtime.checkpoints import CheckpointFiles, newest, read_checkpoint
from rtt_lightning.runtime.sharding import full_tensor
from rtt_lightning.runtime.strategies import FSDP
from rtt_lightning.types import Rollout
from rtt_lightning.verifiers.rules import RuleVerifier

SGD = partial(torch.optim.SGD, lr=0.1)
ADAMW = partial(torch.optim.AdamW, lr=1e-3, weight_decay=0.0)
LARGEST_GAP = {"32-true": 1e-4, "bf16-mixed": 0.15}
"""Nats per token between sampler and trainer, by precision; the second is what `Canary` warns of."""


@dataclass(frozen=True)
class Setting:
    """Where checks run.

    Attributes:
        device: ``cuda`` or ``cpu``.
        tiny: Folder of a tiny policy.
        policy: Folder of one with the shape that is of interest.
        folder: For files of the checks.
        tokens: Longest response.
    """

    device: str
    tiny: str
    policy: str
    folder: Path
    tokens: int


@dataclass(frozen=True)
class Run:
    """What a run left: the loss of each update, the trained weights and what they were, and the last metrics."""

    losses: list[float]
    before: dict[str, Tensor]
    weights: dict[str, Tensor]
    metrics: dict[str, Tensor]


class _Recorder(Callback):
    def __init__(self, updates: int) -> None:
        self.losses = [math.nan] * updates
        self.before: dict[str, Tensor] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.before = _weights(pl_module)

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        if trainer.global_step > len(self.losses):
            self.losses.append(float(trainer.callback_metrics["train/loss"]))


def trains(setting: Setting, model: str, lora: Lora | None) -> dict[str, float]:
    """Two windows of two updates in bf16-mixed: losses are finite, weights move, sampler and trainer agree."""
    output = setting.folder / "windows"
    run = _fit(setting, _policy(model, lora, ADAMW), _rollouts(setting, output=str(output)), "bf16-mixed", updates=4)
    _expect(all(map(math.isfinite, run.losses)), f"losses {run.losses}")
    moved = max(float((run.weights[name] - before).abs().max()) for name, before in run.before.items())
    _expect(0 < moved < math.inf, f"the largest change of a weight is {moved}")
    gap = float(run.metrics["train/logprob_gap"])
    _expect(gap < LARGEST_GAP["bf16-mixed"], f"sampler and trainer differ by {gap} nats per token")
    return {"largest change": moved, "log-prob gap": gap}


def equals_the_cpu(setting: Setting) -> dict[str, float]:
    """The same rollouts in fp32: losses and weights after two updates are those of the CPU."""
    recorded = _sampled(_policy(setting.tiny, None, SGD), setting)
    one, other = (
        _fit(
            setting, _policy(setting.tiny, None, SGD), _rollouts(setting, ReplayEngine(recorded)), "32-true", 2, device
        )
        for device in ("cpu", setting.device)
    )
    return _equal(one, other, 1e-3)


def shards_on_one_device(setting: Setting) -> dict[str, float]:
    """FSDP2 on one device (NCCL on a GPU, gloo on a CPU) trains as no strategy does."""
    recorded = _sampled(_policy(setting.tiny, None, SGD), setting)
    plain = _fit(setting, _policy(setting.tiny, None, SGD), _rollouts(setting, ReplayEngine(recorded)), "32-true", 2)
    policy, rollouts = _policy(setting.tiny, None, SGD), _rollouts(setting, ReplayEngine(recorded))
    backend = "nccl" if setting.device == "cuda" else "gloo"
    try:
        sharded = _fit(setting, policy, rollouts, "32-true", 2, strategy=FSDP(process_group_backend=backend))
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
    return _equal(plain, sharded, 1e-4)


def resumes(setting: Setting) -> dict[str, float]:
    """A run that stops within a window and resumes ends with the very weights of an unbroken one."""
    fit = partial(_fit, setting, precision="bf16-mixed")
    whole = fit(_policy(setting.tiny, Lora(rank=4), ADAMW), _rollouts(setting), updates=4)
    folder = setting.folder / "resumed"
    fit(_policy(setting.tiny, Lora(rank=4), ADAMW), _rollouts(setting), updates=3, saved=folder)
    resumed = fit(_policy(setting.tiny, Lora(rank=4), ADAMW), _rollouts(setting), updates=4, saved=folder)
    different = [name for name, weight in whole.weights.items() if not torch.equal(weight, resumed.weights[name])]
    _expect(not different, f"{len(different)} of {len(whole.weights)} weights differ, such as {different[:3]}")
    _expect(resumed.losses[-1] == whole.losses[-1], f"losses {whole.losses[-1]} and {resumed.losses[-1]}")
    return {"weights": len(whole.weights)}


def trains_a_discriminator(setting: Setting) -> dict[str, float]:
    """A discriminator learns from the responses of the checks before; its relevance is in [0, 1] for each token."""
    module = DiscriminatorModule(setting.policy, layers=2, optimizer=ADAMW)
    file = str(setting.folder / "windows/window-000000.parquet")
    data = RubricDataModule(RecordFiles(train=file), view=LabelledPairs(batch_size=4))
    trainer = _trainer(setting, "bf16-mixed", 4, setting.device, "auto", [])
    trainer.fit(module, data)
    loss = float(trainer.callback_metrics["train/loss"])
    _expect(math.isfinite(loss), f"the loss is {loss}")
    path = setting.folder / "discriminator.ckpt"
    trainer.save_checkpoint(path)
    rollouts = _rollouts(setting)
    policy = _policy(setting.policy, Lora(rank=4), ADAMW)
    _fit(setting, policy, rollouts, "bf16-mixed", updates=1)
    relevance = [found.p for found in DiscriminatorRelevance(str(path)).weigh(rollouts.judged)]
    tokens = sum(p.shape[1] for p in relevance)
    _expect(all(bool(((p >= 0) & (p <= 1)).all()) for p in relevance), "relevance lies outside [0, 1]")
    _expect(tokens == sum(len(item.rollout.response_ids) for item in rollouts.judged), f"{tokens} tokens were weighed")
    return {"loss": loss, "tokens weighed": tokens}


def samples(setting: Setting) -> dict[str, float]:
    """Log-probs that the embedded engine reports are those of the training forward, in fp32."""
    policy = _policy(setting.policy, None, SGD)
    run = _fit(setting, policy, _rollouts(setting), "32-true", updates=2)
    gap = float(run.metrics["train/logprob_gap"])
    _expect(gap < LARGEST_GAP["32-true"], f"sampler and trainer differ by {gap} nats per token")
    return {"log-prob gap": gap}


def _policy(model: str, lora: Lora | None, optimizer: Any) -> PolicyModule:
    """One whose weights Lightning has it load, with the adapters of the same seed each time."""
    torch.manual_seed(0)
    return PolicyModule(model, RTT(beta=0.5), lora=lora, optimizer=optimizer, entropy_coef=0.01)


def _weights(policy: LightningModule) -> dict[str, Tensor]:
    return {name: full_tensor(p.detach()).cpu().clone() for name, p in policy.named_parameters() if p.requires_grad}


def _rollouts(setting: Setting, engine: Any = None, output: str | None = None) -> RolloutCallback:
    return RolloutCallback(
        engine=engine or TransformersEngine(),
        verifier=RuleVerifier(workers=0),
        relevance=RuleSpans(),
        sampling=Sampling(n=4, max_new_tokens=setting.tokens),
        output=output,
        table_every=0,
    )


def _sampled(policy: PolicyModule, setting: Setting) -> list[Rollout]:
    """Responses to record, of the policy as it is on the CPU."""
    rollouts = _rollouts(setting)
    _fit(setting, policy, rollouts, "32-true", 1, "cpu", prompts=8)
    return [item.rollout for item in rollouts.judged]


def _fit(
    setting: Setting,
    policy: LightningModule,
    rollouts: RolloutCallback,
    precision: Any,
    updates: int,
    device: str | None = None,
    strategy: Any = "auto",
    prompts: int = 4,
    saved: Path | None = None,
) -> Run:
    checkpoint = newest(saved) if saved else None
    recorder = _Recorder(read_checkpoint(checkpoint)["global_step"] if checkpoint else 0)
    callbacks: list[Callback] = [rollouts, recorder, *([Checkpoints(str(saved))] if saved else [])]
    trainer = _trainer(setting, precision, updates, device or setting.device, strategy, callbacks)
    data = RubricDataModule(ConstraintPrompts(train=8, val=0), view=PromptWindows(prompts=prompts, updates=2))
    trainer.fit(policy, data, ckpt_path=checkpoint)
    return Run(recorder.losses, recorder.before, _weights(policy), dict(trainer.callback_metrics))


def _trainer(
    setting: Setting, precision: Any, updates: int, device: str, strategy: Any, callbacks: Sequence[Callback]
) -> Trainer:
    return Trainer(
        accelerator="gpu" if device == "cuda" else device,
        devices=1,
        strategy=strategy,
        precision=precision,
        max_steps=updates,
        max_epochs=-1,
        accumulate_grad_batches=2,
        gradient_clip_val=1.0,
        limit_val_batches=0,
        log_every_n_steps=1,
        logger=False,
        enable_checkpointing=any(isinstance(callback, Checkpoints) for callback in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=str(setting.folder),
        plugins=CheckpointFiles(),
        callbacks=list(callbacks),
    )


def _equal(one: Run, other: Run, tolerance: float) -> dict[str, float]:
    """The largest differences of two runs, relative to the largest entry of each tensor."""
    _expect(len(one.losses) == len(other.losses), f"{len(one.losses)} and {len(other.losses)} updates")
    _expect(one.weights.keys() == other.weights.keys(), "the runs train different weights")
    loss = max(abs(a - b) / (abs(a) + 1e-6) for a, b in zip(one.losses, other.losses, strict=True))
    weight = max(
        float((value - other.weights[name]).abs().max() / (value.abs().max() + 1e-9))
        for name, value in one.weights.items()
    )
    _expect(loss < tolerance and weight < tolerance, f"losses differ by {loss:.1e} and weights by {weight:.1e}")
    return {"losses differ by": loss, "weights differ by": weight}


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


@torch.no_grad()
def reads_in_one_pass(setting: Setting) -> dict[str, float]:
    """The largest difference of relevance, in fp32 and in bf16."""
    encoder = setting.folder / "encoder"
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    BertForMaskedLM(BertConfig(vocab_size=1024, **sizes)).save_pretrained(encoder)
    AutoTokenizer.from_pretrained(setting.tiny).save_pretrained(encoder)
    rubric = tuple(f"Mention tea {count} times." for count in range(5))
    texts = [(rubric, "a cup of tea, " * count) for count in (1, 5, 9)]
    found = {"fp32": 0.0, "bf16": 0.0}
    for folder in (setting.tiny, str(encoder)):
        torch.manual_seed(0)
        model = build(RelevanceConfig(folder, one_pass=True, max_length=512)).requires_grad_(False).eval()
        expected = relevance_of(model, model.encode(texts), 10_000)
        model.to(setting.device)
        for name, allowed in (("fp32", 1e-4), ("bf16", 0.1)):
            with torch.autocast(setting.device, torch.bfloat16, enabled=name == "bf16"):
                rows = relevance_of(model, model.encode(texts), 10_000)
            gap = max(float((one - other).abs().max()) for one, other in zip(rows, expected, strict=True))
            assert gap <= allowed, f"{type(model.network).__name__} in {name}: relevance is {gap} off"
            found[name] = max(found[name], gap)
    return found
