"""Relevance from a trained discriminator."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import compress, islice

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from rtt_lightning.functional.alignment import bounds, spans_to_tokens, transfer
from rtt_lightning.lm.tokenizers import load_tokenizer
from rtt_lightning.relevance.base import Relevance, RelevanceSource, ScoresResponses
from rtt_lightning.relevance.discriminator.checkpoint import load, read_config
from rtt_lightning.relevance.discriminator.network import EncodedPair, RelevanceConfig, RelevanceModel
from rtt_lightning.types import Criterion, JudgedRollout, Rollout, RubricSample, Span
from rtt_lightning.types.errors import UserError

CPU_TOKENS, GPU_TOKENS = 2**11, 2**14
"""Per forward pass: on a CPU, what stays in its cache; on a GPU, what keeps it busy."""

_Texts = tuple[str, str]
"""A criterion and an answer."""


class DiscriminatorRelevance(RelevanceSource):
    """Weighs the tokens of each response for each criterion with a trained discriminator.

    Args:
        checkpoint: The ``.ckpt`` of a `DiscriminatorModule`, or a folder that `rtt export` made from one.
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
        self._known: dict[_Texts, tuple[Tensor, Sequence[Span]]] = {}

    @property
    def config(self) -> RelevanceConfig:
        """The discriminator's configuration; does not load its weights."""
        return read_config(self.checkpoint, self.body)

    def blind(self, criteria: Sequence[Criterion], gives_spans: Callable[[Criterion], bool]) -> list[Criterion]:
        """The criteria that leave no room for a response in the longest input."""
        config = self.config
        prefixes = config.prefixes(load_tokenizer(config.model), [c.text for c in criteria])
        return [c for c, prefix in zip(criteria, prefixes, strict=True) if len(prefix) >= config.max_length]

    def tokens(self, gpu: bool) -> int:
        """Tokens per forward pass."""
        return self.batch_tokens or (GPU_TOKENS if gpu else CPU_TOKENS)

    def begin(self, sample: RubricSample, rollouts: Sequence[Rollout]) -> None:
        """Relevance of responses to all criteria; if one is not decided later, that to it was for nothing."""
        self._keep([(criterion.text, row.answer) for row in rollouts for criterion in sample.criteria], self._score)

    def weigh(self, judged: Sequence[JudgedRollout], policy: ScoresResponses | None = None) -> list[Relevance]:
        """Relevance; 0 for criteria that are not decided, which are not read, and for tokens that cannot be read with
        every criterion that leaves room for any. It is computed in the precision of the autocast around this call: in a
        run that of the trainer.
        """
        texts = [(criterion.text, item.rollout.answer) for item in judged for criterion in item.sample.criteria]
        decided = [verdict.met is not None for item in judged for verdict in item.verdicts]
        self._keep(list(compress(texts, decided)), self._score)
        self._keep(texts, lambda pairs: [torch.zeros(len(pair.offsets)) for pair in pairs])
        known, self._known = self._known, {}
        rows = (
            (known[key][0] if counts else torch.zeros_like(known[key][0]), known[key][1])
            for key, counts in zip(texts, decided, strict=True)
        )
        return [_on_policy_tokens(item, list(islice(rows, len(item.verdicts)))) for item in judged]

    def _keep(self, texts: Sequence[_Texts], score: Callable[[Sequence[EncodedPair]], Sequence[Tensor]]) -> None:
        """Keep scores, and the characters of their tokens, of what is not known yet."""
        new = [key for key in dict.fromkeys(texts) if key not in self._known]
        pairs = self._loaded.encode([criterion for criterion, _ in new], [answer for _, answer in new])
        found = zip(new, score(pairs), pairs, strict=True)
        self._known |= {key: (relevance, pair.offsets) for key, relevance, pair in found}

    def _score(self, pairs: Sequence[EncodedPair]) -> list[Tensor]:
        on_gpu = self._loaded.network.device.type != "cpu"
        return relevance_of(self._loaded, pairs, self.tokens(on_gpu))

    @cached_property
    def _loaded(self) -> RelevanceModel:
        # The device of this process: Lightning has chosen it when responses are weighed.
        device = torch.accelerator.current_accelerator(check_available=True) or "cpu"
        return load(self.checkpoint, self.body, self.accept_mismatch).to(device)


def _on_policy_tokens(item: JudgedRollout, rows: Sequence[tuple[Tensor, Sequence[Span]]]) -> Relevance:
    """The relevance of the policy's tokens of an answer."""
    first = item.rollout.answer_span[0]
    target = (bounds(item.rollout.offsets) - first).clamp(min=0)
    for criterion, (_, spans) in zip(item.sample.criteria, rows, strict=True):
        if item.rollout.answer and not spans:
            warnings.warn(
                f"the criterion {criterion.text[:60]!r} leaves the discriminator no room to read a response; it earns "
                "no token-level credit: train one with a higher max_length",
                stacklevel=2,
            )
    source = min((spans for _, spans in rows if spans), key=len, default=[])
    values = pad_sequence([relevance[: len(source)] for relevance, _ in rows], batch_first=True)
    end = source[-1][1] if source else 0
    return Relevance(transfer(values, source, target), spans_to_tokens([(0, end)], target))


@torch.no_grad()
def relevance_of(model: RelevanceModel, pairs: Sequence[EncodedPair], tokens: int) -> list[Tensor]:
    """Relevance of the response tokens of each pair, ``[token]`` on the CPU.

    Args:
        model: A discriminator.
        pairs: From its `encode`.
        tokens: Per forward pass, padding included; a longer pair is read alone.
    """
    found = [torch.zeros(0)] * len(pairs)
    for batch in _batches(pairs, tokens, model.shares()):
        p = model([pairs[index] for index in batch])[0].sigmoid().cpu()
        for index, row in zip(batch, p, strict=True):
            found[index] = row[: len(pairs[index].response)]
    return found


def _batches(pairs: Sequence[EncodedPair], tokens: int, share: bool) -> Iterator[list[int]]:
    """Numbers of pairs to read together: with ``share`` those of a criterion, which cost its prefix once; else those of
    like length, each of which costs that of the longest. Pairs without a response to read are left out.
    """

    def length(index: int) -> int:
        return len(pairs[index].prefix) + len(pairs[index].response)

    read = [index for index, pair in enumerate(pairs) if len(pair.response)]
    batch: list[int] = []
    size = 0
    for index in sorted(read, key=(lambda index: pairs[index].prefix) if share else length):
        known = len(pairs[index].prefix) if batch and pairs[index].prefix == pairs[batch[-1]].prefix else 0
        grown = size + length(index) - known if share else (len(batch) + 1) * length(index)
        if batch and grown > tokens:
            yield batch
            batch, grown = [], length(index)
        batch.append(index)
        size = grown
    if batch:
        yield batch
