"""Relevance from a trained discriminator."""

import warnings
from collections.abc import Callable, Sequence
from itertools import islice

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from rtt_lightning.functional.alignment import spans_to_tokens, transfer
from rtt_lightning.lm.tokenizers import load_tokenizer
from rtt_lightning.relevance.base import Relevance, RelevanceSource, ScoresResponses
from rtt_lightning.relevance.discriminator.checkpoint import load, read_config
from rtt_lightning.relevance.discriminator.network import RelevanceConfig, RelevanceModel
from rtt_lightning.types import Criterion, JudgedRollout, Span


class DiscriminatorRelevance(RelevanceSource):
    """Weighs the tokens of each response for each criterion with a trained discriminator.

    Args:
        checkpoint: The ``.ckpt`` of a `DiscriminatorModule`, or a folder that `rtt export` made from one.
        batch_size: Pairs per forward pass.
        model: Folder or hub name of the body of a ``.ckpt``, if it has moved; null if not.
        accept_mismatch: Use another body or tokenizer than in its training, and only name the differences.
    """

    def __init__(
        self, checkpoint: str, batch_size: int = 64, model: str | None = None, accept_mismatch: bool = False
    ) -> None:
        self.checkpoint, self.batch_size = checkpoint, batch_size
        self.body, self.accept_mismatch = model, accept_mismatch
        self._model: RelevanceModel | None = None

    @property
    def config(self) -> RelevanceConfig:
        """The discriminator's configuration; does not load its weights."""
        return read_config(self.checkpoint, self.body)

    def blind(self, criteria: Sequence[Criterion], gives_spans: Callable[[Criterion], bool]) -> list[Criterion]:
        """The criteria that leave no room for a response in the longest input."""
        config = self.config
        prefixes = config.prefixes(load_tokenizer(config.model), [c.text for c in criteria])
        return [c for c, prefix in zip(criteria, prefixes, strict=True) if len(prefix) >= config.max_length]

    def weigh(self, judged: Sequence[JudgedRollout], policy: ScoresResponses | None = None) -> list[Relevance]:
        """Relevance; 0 for tokens that cannot be read with every criterion that leaves room for any."""
        if self._model is None:
            # The device of this process: Lightning has chosen it by now.
            device = torch.accelerator.current_accelerator(check_available=True) or "cpu"
            self._model = load(self.checkpoint, self.body, self.accept_mismatch).to(device)
        pairs = [(c.text, item.rollout.answer) for item in judged for c in item.sample.criteria]
        scored = iter(relevance_of(self._model, pairs, self.batch_size))
        return [_on_policy_tokens(item, list(islice(scored, len(item.verdicts)))) for item in judged]


def _on_policy_tokens(item: JudgedRollout, rows: Sequence[tuple[Tensor, list[Span]]]) -> Relevance:
    """The relevance of the policy's tokens of an answer."""
    first = item.rollout.answer_span[0]
    target = [(max(0, start - first), max(0, end - first)) for start, end in item.rollout.offsets]
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
def relevance_of(
    model: RelevanceModel, pairs: Sequence[tuple[str, str]], batch_size: int
) -> list[tuple[Tensor, list[Span]]]:
    """Relevance of every (criterion, response) pair: ``[token]`` on the CPU, and the characters of those tokens.

    Tokens beyond the length limit of the discriminator are missing.
    """
    device = next(model.parameters()).device
    results = []
    for start in range(0, len(pairs), batch_size):
        criteria, responses = zip(*pairs[start : start + batch_size], strict=True)
        encoded = model.encode(criteria, responses)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type != "cpu"):  # few CPUs compute in bf16
            p = model(encoded)[0].sigmoid().float().cpu()
        results += [(row[: len(pair.offsets)], pair.offsets) for row, pair in zip(p, encoded, strict=True)]
    return results
