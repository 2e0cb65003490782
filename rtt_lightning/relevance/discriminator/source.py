"""Relevance from a trained discriminator."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor

from rtt_lightning.functional.alignment import bounds, transfer
from rtt_lightning.relevance.base import Relevance, RelevanceSource, ScoresResponses
from rtt_lightning.relevance.discriminator.build import build
from rtt_lightning.relevance.discriminator.checkpoint import load, newest, read_config
from rtt_lightning.relevance.discriminator.config import RelevanceConfig
from rtt_lightning.relevance.discriminator.network import RelevanceModel
from rtt_lightning.relevance.discriminator.readings import Reading, Texts
from rtt_lightning.types import Criterion, JudgedRollout, Rollout, RubricSample
from rtt_lightning.types.errors import UserError

CPU_TOKENS, GPU_TOKENS = 2**11, 2**14
"""Per forward pass: on a CPU, what stays in its cache; on a GPU, what keeps it busy."""


class DiscriminatorRelevance(RelevanceSource):
    """Weighs the tokens of each response for each criterion with a trained discriminator.

    Args:
        checkpoint: The ``.ckpt`` of a `DiscriminatorModule`, the folder of its checkpoints for the newest, or a folder
            that `rtt export` made from one.
        batch_tokens: Tokens per forward pass; null for what suits the device. A longer pair is read alone.
        model: Folder or hub name of the body of a ``.ckpt``, if it has moved; null if not.
        accept_mismatch: Use another body or tokenizer than in its training, and only name the differences.
    """

    def __init__(
        self,
        checkpoint: str,
        batch_tokens: int | None = None,
        model: str | None = None,
        accept_mismatch: bool = False,
    ) -> None:
        if batch_tokens is not None and batch_tokens < 1:
            raise UserError(f"batch_tokens must be at least 1, got {batch_tokens}; null suits the device")
        self.checkpoint, self.batch_tokens = checkpoint, batch_tokens
        self.body, self.accept_mismatch = model, accept_mismatch
        self._known: dict[Texts, tuple[Tensor, Reading]] = {}

    @cached_property
    def config(self) -> RelevanceConfig:
        """The discriminator's configuration; does not load its weights."""
        return read_config(self._path, self.body)

    def blind(self, criteria: Sequence[Criterion], gives_spans: Callable[[Criterion], bool]) -> list[Criterion]:
        """The criteria that leave too little room for a response in the longest input."""
        with torch.device("meta"):  # without weights
            model = build(self.config)
        readings = model.encode([((criterion.text,), "") for criterion in criteria])
        return [criterion for criterion, one in zip(criteria, readings, strict=True) if not one.prefixes[0]]

    def tokens(self, gpu: bool) -> int:
        """Tokens per forward pass."""
        return self.batch_tokens or (GPU_TOKENS if gpu else CPU_TOKENS)

    def begin(self, sample: RubricSample, rollouts: Sequence[Rollout]) -> None:
        """Relevance of responses to all criteria; if one is not decided later, that to it was for nothing."""
        criteria = [criterion.text for criterion in sample.criteria]
        self._keep([texts for row in rollouts for texts in self._loaded.together(criteria, row.answer)])

    def weigh(self, judged: Sequence[JudgedRollout], policy: ScoresResponses | None = None) -> list[Relevance]:
        """Relevance; 0 for criteria that are not decided and for those that are not read. It is computed in the
        precision of the autocast around this call: in a run that of the trainer.
        """
        texts = [self._needed(item) for item in judged]
        self._keep([each for needed in texts for each in needed])
        known, self._known = self._known, {}
        return [
            _on_policy_tokens(item, {each: known[each] for each in needed})
            for item, needed in zip(judged, texts, strict=True)
        ]

    def _needed(self, item: JudgedRollout) -> list[Texts]:
        """What must be read of a response: something of which is decided."""
        decided = {criterion.text for criterion, verdict in item.decisions if verdict.met is not None}
        together = self._loaded.together([criterion.text for criterion in item.sample.criteria], item.rollout.answer)
        return [(criteria, answer) for criteria, answer in together if not decided.isdisjoint(criteria)]

    def _keep(self, texts: Sequence[Texts]) -> None:
        """Keep the relevance of what is not known yet."""
        new = [each for each in dict.fromkeys(texts) if each not in self._known]
        readings = self._loaded.encode(new)
        on_gpu = self._loaded.network.device.type != "cpu"
        rows = relevance_of(self._loaded, readings, self.tokens(on_gpu))
        self._known |= dict(zip(new, zip(rows, readings, strict=True), strict=True))

    @cached_property
    def _loaded(self) -> RelevanceModel:
        # The device of this process: Lightning has chosen it when responses are weighed.
        device = torch.accelerator.current_accelerator(check_available=True) or "cpu"
        return load(self._path, self.body, self.accept_mismatch).to(device)

    @cached_property
    def _path(self) -> str:
        """Of the one checkpoint that is read."""
        return newest(self.checkpoint)


def _on_policy_tokens(item: JudgedRollout, known: Mapping[Texts, tuple[Tensor, Reading]]) -> Relevance:
    """The relevance of the policy's tokens of an answer.

    Args:
        item: The response.
        known: ``[criterion token]`` relevance of what was read of it, and in which tokens.
    """
    target = (bounds(item.rollout.offsets) - item.rollout.answer_span[0]).clamp(min=0)
    p = torch.zeros(len(item.verdicts), len(target))
    if not known:
        return Relevance(p)
    values = torch.cat([rows for rows, _ in known.values()])
    rows = transfer(values, next(reading for _, reading in known.values()).offsets, target)
    texts = [text for criteria, _ in known for text in criteria]
    found, is_read = dict(zip(texts, rows, strict=True)), [r for _, reading in known.values() for r in reading.read]
    unread = {text for text, is_read in zip(texts, is_read, strict=True) if not is_read}
    for text in unread if item.rollout.answer else ():
        warnings.warn(
            f"the criterion {text[:60]!r} leaves the discriminator no room to read a response; it earns no token-level "
            "credit: train one with a higher max_length",
            stacklevel=2,
        )
    for place, (criterion, verdict) in enumerate(item.decisions):
        if verdict.met is not None:
            p[place] = found[criterion.text]
    return Relevance(p, torch.full((len(target),), any(is_read)))


@torch.no_grad()
def relevance_of(model: RelevanceModel, readings: Sequence[Reading], tokens: int) -> list[Tensor]:
    """Relevance of the response tokens of each reading, ``[criterion token]`` on the CPU, 0 for what is not read.

    Args:
        model: A discriminator.
        readings: From its `encode`.
        tokens: Per forward pass, padding included; a longer reading is read alone.
    """
    found = [torch.zeros(len(reading.prefixes), len(reading.response)) for reading in readings]
    for batch in _batches(readings, tokens, model.packs(), model.shares()):
        logits, mask = model([readings[index] for index in batch])
        p = (logits.sigmoid() * mask).cpu()
        for index, rows in zip(batch, p.split([len(readings[index].prefixes) for index in batch]), strict=True):
            found[index] = rows[:, : len(readings[index].response)]
    return found


def _batches(readings: Sequence[Reading], tokens: int, packed: bool, share: bool) -> Iterator[list[int]]:
    """Numbers of readings for one forward pass: of like length if each costs that of the longest; ``packed`` ones cost
    their own. Those with the same criteria come together, and with ``share`` these cost once. Readings of which nothing
    is read are left out.
    """

    def length(index: int) -> int:
        return readings[index].before + len(readings[index].response)

    read = [index for index, reading in enumerate(readings) if any(reading.read)]
    batch: list[int] = []
    size = 0
    for index in sorted(read, key=(lambda index: readings[index].prefixes) if packed else length):
        known = share and batch and readings[index].prefixes == readings[batch[-1]].prefixes
        own = length(index) - (readings[index].before if known else 0)
        grown = size + own if packed else (len(batch) + 1) * length(index)
        if batch and grown > tokens:
            yield batch
            batch, grown = [], length(index)
        batch.append(index)
        size = grown
    if batch:
        yield batch
