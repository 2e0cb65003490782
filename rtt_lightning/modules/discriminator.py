"""The discriminator as a LightningModule: token-wise binary cross entropy over response tokens (RTT, Eq. 5)."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import chain, groupby, islice
from typing import Any

import torch
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from rtt_lightning.functional.alignment import spans_to_tokens
from rtt_lightning.functional.losses import binary_cross_entropy, token_mean
from rtt_lightning.functional.quality import CONSTANT, is_constant
from rtt_lightning.lm.loading import Lora
from rtt_lightning.lm.sequences import padded
from rtt_lightning.metrics import RelevanceEvaluation, UpdateMeans
from rtt_lightning.modules.training import OptimizerCallable, TrainableModule
from rtt_lightning.relevance.discriminator.build import build
from rtt_lightning.relevance.discriminator.checkpoint import CHECKPOINT_KEY
from rtt_lightning.relevance.discriminator.config import TEMPLATE, RelevanceConfig
from rtt_lightning.relevance.discriminator.readings import Reading
from rtt_lightning.runtime.finite import refuse_nonfinite, shortened
from rtt_lightning.runtime.logs import MetricLog
from rtt_lightning.runtime.processes import gather, sum_over_ranks
from rtt_lightning.runtime.sharding import shard
from rtt_lightning.types import Span
from rtt_lightning.types.batches import Pair, PairBatch, WeighedBatch

KINDS_KEY = "trained_kinds"
"""Key of the kinds of criteria (checker ids) of the training pairs in a checkpoint."""


class DiscriminatorModule(TrainableModule):
    """Trains a `RelevanceModel` on labelled (criterion, response) pairs.

    Validation reports average precision over the tokens of *mixed* cells (pairs with relevant and irrelevant tokens,
    the only ones that tell a discriminator from a constant), pooled and per cell, beside what chance reaches; and F1 at
    0.5, the Brier score and the calibration error over all tokens. `DiscriminatorQuality` measures more in
    `rtt validate`.

    Args:
        model: Folder or hub name of the body.
        lora: Adapters over a frozen body; null trains all weights in fp32.
        layers: Number of first layers to keep, e.g. half of them; null for all.
        template: Text before the response; ``{criterion}`` is replaced by the criterion.
        max_length: Longest input in tokens, at most what the body has positions for; longer responses are read in
            windows that overlap.
        one_pass: Read all criteria of a response at once, then the response, in one forward; with the view
            `LabelledResponses`. By default each criterion with the response, as in the paper.
        optimizer: Makes the optimiser from the trainable parameters.
        warmup_steps: Optimiser steps of linear warm-up, 0 for none.
        skip_nonfinite: Updates in a row to skip because a number in them is not finite; 0 ends the run.
        decay: After the warm-up, lower the learning rate linearly, to 0 at the end of the run.
        capitals: Tell a body whose tokenizer drops capitals of them by token types, if it has such and all weights
            train.
    """

    def __init__(
        self,
        model: str,
        lora: Lora | None = None,
        layers: int | None = None,
        template: str = TEMPLATE,
        max_length: int = 4096,
        one_pass: bool = False,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        warmup_steps: int = 0,
        skip_nonfinite: int = 0,
        decay: bool = False,
        capitals: bool = True,
    ) -> None:
        super().__init__(optimizer, warmup_steps, skip_nonfinite, decay)
        self.config = RelevanceConfig(model, lora, layers, template, max_length, one_pass, capitals)
        self.trained_kinds: set[str] = set()
        """Kinds of the criteria (checker ids) that this process has trained on."""
        self.evaluation = RelevanceEvaluation()
        self._said_constant = False
        self._means, self._log_metrics = UpdateMeans(), MetricLog()
        self._update: Iterator[list[Reading]] = iter(())  # the remaining micro-batches of the update
        self._update_tokens = torch.zeros(())  # response tokens of the update on all ranks
        self._update_unread = torch.zeros(())  # those of pairs whose criterion is not read
        self._named: set[str] = set()  # criteria that are not read

    def configure_model(self) -> None:
        """Load the body, once; Lightning calls this before each run."""
        if "relevance" not in self._modules:
            self.relevance = build(self.config, self.base_dtype)
            self.base = self.relevance.base()
            if self.device_mesh is not None:
                low_precision = self.base_dtype == torch.bfloat16
                shard(self.relevance, self.device_mesh["data_parallel"], low_precision)

    def training_step(self, batch: PairBatch, batch_idx: int) -> Tensor:
        if "update" in batch:
            update = self._readings(batch["update"])
            self.trained_kinds.update(pair["checker"] for pairs in batch["update"] for pair in pairs)
            self._update, self._update_tokens = iter(update), _total(map(_tokens, chain.from_iterable(update)))
            self._update_unread = _total(self._unread(batch["update"], update))
        readings = next(self._update)
        logits, mask = self.relevance(readings)
        loss = binary_cross_entropy(logits, self._labels(batch["pairs"], readings))
        self._means.add(mask, loss=loss)
        self._log_metrics(self, "train", self._means.pop(), batch_size=len(mask))
        self.log("train/cut_tokens", self._update_unread, batch_size=len(mask))
        micro_batches, world = self.trainer.accumulate_grad_batches, self.trainer.world_size
        return token_mean(loss, mask, self._update_tokens, micro_batches, world)

    def validation_step(self, batch: PairBatch, batch_idx: int) -> WeighedBatch:
        [readings] = self._readings([batch["pairs"]])
        self._unread([batch["pairs"]], [readings])
        logits, mask = self.relevance(readings)
        p, labels = logits.sigmoid(), self._labels(batch["pairs"], readings)
        refuse_nonfinite({f"prompts {shortened(batch['prompt_id'])}": p[mask]}, "relevances")
        self.evaluation.update(p, labels, mask)
        return WeighedBatch(p=p, labels=labels, mask=mask, offsets=[*_offsets(readings)])

    def on_validation_epoch_end(self) -> None:
        prefix = "test" if self.trainer.state.stage == "test" else "val"
        measured = self.evaluation.pop()
        self._log_metrics(self, prefix, measured)
        per_cell, chance = (measured.get(f"average_precision_{name}") for name in ("per_cell", "by_chance"))
        if per_cell is None or chance is None or self._said_constant or not self._has_trained():
            return
        if is_constant(float(per_cell), float(chance)):
            self._said_constant = True
            rank_zero_warn(f"after {self.trainer.global_step} updates {CONSTANT}")

    def test_step(self, batch: PairBatch, batch_idx: int) -> WeighedBatch:
        return self.validation_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        self.on_validation_epoch_end()

    def defined_by(self) -> tuple[str, dict[str, Any]]:
        return CHECKPOINT_KEY, asdict(self.config)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        self.trained_kinds.update(*gather(self.trained_kinds))
        checkpoint[KINDS_KEY] = sorted(self.trained_kinds)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self.trained_kinds = set(checkpoint.get(KINDS_KEY, []))

    def _has_trained(self) -> bool:
        """Whether this is an evaluation within training, at the end of its first epoch or later."""
        trainer: Any = self.trainer
        ended = trainer.current_epoch > 0 or trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        return trainer.state.fn == TrainerFn.FITTING and ended

    def _readings(self, micro_batches: Sequence[Sequence[Pair]]) -> list[list[Reading]]:
        """What is read of the pairs of each micro-batch; those of a response that stand together may be read together.
        Each text is tokenised once.
        """
        texts = [
            [
                each
                for (_, response), pairs in groupby(micro_batch, key=lambda pair: (pair["prompt_id"], pair["response"]))
                for each in self.relevance.together([pair["criterion"] for pair in pairs], response)
            ]
            for micro_batch in micro_batches
        ]
        readings = iter(self.relevance.encode([*chain.from_iterable(texts)]))
        return [[*islice(readings, len(each))] for each in texts]

    def _unread(self, pairs: Sequence[Sequence[Pair]], readings: Sequence[Sequence[Reading]]) -> list[int]:
        """Response tokens of each pair whose criterion is not read; names such a criterion once."""
        found = []
        rows = ((reading, is_read) for part in readings for reading in part for is_read in reading.read)
        for pair, (reading, is_read) in zip(chain.from_iterable(pairs), rows, strict=True):
            if is_read or not len(reading.response):
                continue
            found.append(len(reading.response))
            if (text := pair["criterion"]) not in self._named:
                self._named.add(text)
                rank_zero_warn(
                    f"the criterion {text[:60]!r} leaves no room for a response in {self.relevance.longest} tokens: "
                    "its pairs are left out; raise max_length, or take a body with more positions"
                )
        return found

    def _labels(self, pairs: Sequence[Pair], readings: Sequence[Reading]) -> Tensor:
        """``[criterion token]`` bool, on the device."""
        offsets = _offsets(readings)
        labels = [spans_to_tokens(pair["spans"], each) for pair, each in zip(pairs, offsets, strict=True)]
        return padded(labels, torch.bool).to(self.device)


def _offsets(readings: Sequence[Reading]) -> Iterator[Sequence[Span]]:
    """The characters of the response's tokens that are rated, for each criterion; none for one that is not read."""
    return (reading.offsets if is_read else () for reading in readings for is_read in reading.read)


def _tokens(reading: Reading) -> int:
    """Response tokens that are rated, for all criteria together."""
    return sum(reading.read) * len(reading.response)


def _total(counts: Iterable[int]) -> Tensor:
    """Sum over all ranks."""
    return sum_over_ranks(torch.tensor(float(sum(counts))))
