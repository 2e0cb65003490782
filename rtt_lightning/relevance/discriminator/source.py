"""Relevance from a trained discriminator."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from rtt_lightning.functional.alignment import spans_to_tokens, transfer
from rtt_lightning.lm.loading import Lora, trainable_names
from rtt_lightning.lm.origin import check_origin
from rtt_lightning.lm.tokenizers import load_tokenizer
from rtt_lightning.relevance.base import Relevance, RelevanceSource, ScoresResponses
from rtt_lightning.relevance.discriminator.network import RelevanceConfig, RelevanceModel
from rtt_lightning.runtime.checkpoints import BASE_KEY, META, check_fits, read_checkpoint
from rtt_lightning.types import Criterion, JudgedRollout, Span

CHECKPOINT_KEY = "relevance_config"
PREFIX = "relevance."
"""Where `DiscriminatorModule` keeps the `RelevanceModel`."""


class DiscriminatorRelevance(RelevanceSource):
    """Rates the tokens of each response for each criterion with a checkpoint of `DiscriminatorModule`.

    Args:
        checkpoint: A ``.ckpt`` file.
        batch_size: Pairs per forward pass.
        model: Folder or hub name of its body, where that has moved; null for where it was trained from.
        accept_mismatch: Use it with another body or tokenizer than it was trained with, and only name the differences.
    """

    def __init__(
        self, checkpoint: str, batch_size: int = 64, model: str | None = None, accept_mismatch: bool = False
    ) -> None:
        self.checkpoint, self.batch_size = checkpoint, batch_size
        self.body, self.accept_mismatch = model, accept_mismatch
        self._model: RelevanceModel | None = None

    def blind(self, criteria: Sequence[Criterion], gives_spans: Callable[[Criterion], bool]) -> list[Criterion]:
        """Those that leave no room for a response within the length that the discriminator reads."""
        config = read_config(self.checkpoint)
        prefixes = config.prefixes(load_tokenizer(self.body or config.model), [c.text for c in criteria])
        return [c for c, prefix in zip(criteria, prefixes, strict=True) if len(prefix) >= config.max_length]

    def weigh(self, judged: Sequence[JudgedRollout], policy: ScoresResponses | None = None) -> list[Relevance]:
        """Relevance, 0 for tokens beyond those that can be read with every criterion that leaves room for any."""
        if self._model is None:
            # The device of this process: Lightning has chosen it by now.
            device = torch.accelerator.current_accelerator(check_available=True) or "cpu"
            self._model = load_relevance_model(self.checkpoint, self.body, self.accept_mismatch).to(device)
        pairs = [(c.text, item.rollout.answer) for item in judged for c in item.sample.criteria]
        scored = iter(score(self._model, pairs, self.batch_size))
        return [_on_policy_tokens(item, list(islice(scored, len(item.verdicts)))) for item in judged]


def _on_policy_tokens(item: JudgedRollout, rows: Sequence[tuple[Tensor, list[Span]]]) -> Relevance:
    """Of the tokens of an answer."""
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
def score(model: RelevanceModel, pairs: Sequence[tuple[str, str]], batch_size: int) -> list[tuple[Tensor, list[Span]]]:
    """Relevance of every (criterion, response) pair: ``[token]`` on the CPU, and the characters of those tokens.

    Tokens beyond the length limit of the discriminator are missing.
    """
    device = next(model.parameters()).device
    results = []
    for start in range(0, len(pairs), batch_size):
        criteria, responses = zip(*pairs[start : start + batch_size], strict=True)
        encoded = model.encode(criteria, responses)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type != "cpu"):  # few CPUs compute in bf16
            p = model(encoded).sigmoid().float().cpu()
        results += [(row[mask], spans) for row, mask, spans in zip(p, encoded.mask, encoded.offsets, strict=True)]
    return results


def load_relevance_model(checkpoint: str, body: str | None = None, accept_mismatch: bool = False) -> RelevanceModel:
    """The frozen network of a discriminator checkpoint, with the template and limits that it was trained with.

    Args:
        checkpoint: Its file or folder.
        body: Where its body lies now, if it has moved.
        accept_mismatch: Whether to warn only of another body.

    Raises:
        ValueError: For a missing file or one that no `DiscriminatorModule` wrote, and for another body than it was
            trained with.
    """
    config = read_config(checkpoint)
    state = read_checkpoint(Path(checkpoint))
    model = RelevanceModel(config if body is None else replace(config, model=body))
    check_origin(state.get(BASE_KEY, {}), model.base(), accept_mismatch)
    load_weights(model, state["state_dict"])
    return model.requires_grad_(False).eval()


def read_config(checkpoint: str) -> RelevanceConfig:
    """What defines the discriminator of a checkpoint; its weights stay on the disk.

    Raises:
        ValueError: For a missing file or one that no `DiscriminatorModule` wrote.
    """
    path = Path(checkpoint)
    file = path / META if path.is_dir() else path
    if not file.is_file():
        raise ValueError(f"no discriminator checkpoint at {checkpoint}; train one with `rtt fit` and a discriminator")
    try:
        state = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
    except (RuntimeError, UnpicklingError, EOFError) as error:
        raise ValueError(f"{checkpoint} is not a discriminator's checkpoint; it cannot be read as one") from error
    return config_of(state, checkpoint)


def config_of(state: Mapping[str, Any], checkpoint: str | Path) -> RelevanceConfig:
    """What defines the discriminator of a checkpoint that was read.

    Raises:
        ValueError: If no `DiscriminatorModule` wrote it.
    """
    if CHECKPOINT_KEY not in state:
        raise ValueError(f"{checkpoint} is not a discriminator's checkpoint; it has no {CHECKPOINT_KEY!r}")
    return config_from_plain(state[CHECKPOINT_KEY])


def load_weights(model: RelevanceModel, state: Mapping[str, Tensor]) -> None:
    """Fill a network with the weights that a `DiscriminatorModule` trained."""
    weights = {name.removeprefix(PREFIX): value for name, value in state.items()}
    check_fits(weights, trainable_names(model))
    model.load_state_dict(weights, strict=False)


def config_to_plain(config: RelevanceConfig) -> dict[str, Any]:
    """As numbers and strings, which load with ``weights_only``."""
    return asdict(config)


def config_from_plain(plain: dict[str, Any]) -> RelevanceConfig:
    lora = plain["lora"] and Lora(**plain["lora"])
    return RelevanceConfig(**{**plain, "lora": lora})
