"""Judged rollouts as tensors, and the credit that an algorithm gives them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from rtt_lightning.types.axes import Bool, Float, Int
from rtt_lightning.types.batches import Sequences
from rtt_lightning.types.errors import UserError
from rtt_lightning.types.rubric import as_desired


def of_one_process(total: Tensor) -> Tensor:
    """The sum over processes, for a single process."""
    return total


@dataclass(frozen=True)
class Experience:
    """A window of judged rollouts as tensors: everything that an algorithm may need.

    Attributes:
        group_ids: Responses with equal ids are compared with each other.
        weights: Criterion weights; 0 marks padding.
        met: Verdicts; meaningless where not ``scorable``.
        scorable: False for padding and for unscorable verdicts.
        value: Degree to which a criterion is met, in [0, 1]; 1 or 0 for verdicts without degrees.
        confidence: In each verdict, in [0, 1]; 1 for rules.
        hard: Criteria that can be decided objectively; soft ones need a judge.
        relevance: In [0, 1].
        answer_mask: The token group: tokens of the answer that the relevance source could read.
        response_mask: All response tokens, the end token included.
        prompt_ids: Right-padded.
        prompt_lengths: In tokens.
        response_ids: Right-padded.
        sampler_logprobs: NaN where the sampler gave none.
        temperature: The sampling temperature.
        truncated: Responses that were cut off at the token limit: they have no end token.
        contrast: From the relevance source's comparison of prompts, such as log-probs of the same responses after other
            prompts; ``None`` without one, NaN for a response without one.
        version: Updates behind the weights that sampled it.
        rank: Number of this process, from 0. Group ids count its prompts; of n processes, number g here is number
            g n + rank of the window.
        reduce: Sum of a tensor over all processes, for an algorithm that needs the whole window. A collective.
    """

    group_ids: Int[Tensor, " batch"]
    weights: Float[Tensor, "batch rubric"]
    met: Bool[Tensor, "batch rubric"]
    scorable: Bool[Tensor, "batch rubric"]
    value: Float[Tensor, "batch rubric"]
    confidence: Float[Tensor, "batch rubric"]
    hard: Bool[Tensor, "batch rubric"]
    relevance: Float[Tensor, "batch rubric token"]
    answer_mask: Bool[Tensor, "batch token"]
    response_mask: Bool[Tensor, "batch token"]
    prompt_ids: Int[Tensor, "batch prompt"]
    prompt_lengths: Int[Tensor, " batch"]
    response_ids: Int[Tensor, "batch token"]
    sampler_logprobs: Float[Tensor, "batch token"]
    temperature: Float[Tensor, " batch"]
    truncated: Bool[Tensor, " batch"]
    contrast: Float[Tensor, "batch token"] | None = None
    version: int = 0
    rank: int = 0
    reduce: Callable[[Tensor], Tensor] = of_one_process

    def __repr__(self) -> str:
        batch, rubric, token = self.relevance.shape
        read = self.relevance[self.exists[:, :, None] & self.answer_mask[:, None]]
        lines = (
            f"batch {batch} (groups {len(self.group_ids.unique())}), rubric {rubric}, token {token}",
            f"criteria {self.exists.sum()}: {_share(self.as_desired, self.exists)} as desired, "
            f"{_share(self.exists & ~self.scorable, self.exists)} undecided",
            f"response tokens {self.response_mask.sum()}: {_share(self.answer_mask, self.response_mask)} in answers, "
            f"mean relevance {read.mean():.3f}",
        )
        return _lines("Experience", *lines, *(["with contrast"] if self.contrast is not None else []))

    @property
    def exists(self) -> Bool[Tensor, "batch rubric"]:
        """Whether there is a criterion, not padding."""
        return self.weights != 0

    @property
    def as_desired(self) -> Bool[Tensor, "batch rubric"]:
        """Met and wanted, or unmet and unwanted; False where not scorable."""
        return as_desired(self.met, self.weights) & self.scorable

    @property
    def desired_value(self) -> Float[Tensor, "batch rubric"]:
        """The value of a wanted criterion, 1 - value of an unwanted one; 0 where not scorable."""
        return torch.where(self.weights > 0, self.value, 1 - self.value) * self.scorable

    @property
    def decided(self) -> Bool[Tensor, " batch"]:
        """Whether no criterion is unscorable."""
        return (self.scorable | ~self.exists).all(1)

    @property
    def signs(self) -> Float[Tensor, "batch rubric"]:
        """s = sign(w)(2I - 1), in {-1, 0, +1}; 0 where not scorable."""
        return (2.0 * self.as_desired - 1.0) * self.scorable

    def rows(self, index: Tensor) -> "Experience":
        """Some of its responses: their numbers, in any order, or a bool ``[batch]``."""
        numbers = index.nonzero()[:, 0] if index.dtype == torch.bool else index
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        taken = {name: part.index_select(0, numbers) for name, part in parts.items() if isinstance(part, Tensor)}
        return replace(self, **taken)

    def ranks(self) -> int:
        """How many processes share the window. A collective."""
        return int(self.reduce(torch.ones((), dtype=torch.long)))

    @property
    def sequences(self) -> Sequences:
        """The tokens, as the forward reads them."""
        return Sequences(
            prompt_ids=self.prompt_ids,
            prompt_lengths=self.prompt_lengths,
            response_ids=self.response_ids,
            response_mask=self.response_mask,
            temperature=self.temperature,
            sampler_logprobs=self.sampler_logprobs,
        )

    @classmethod
    def by_hand(
        cls,
        met: Tensor,
        relevance: Tensor | None = None,
        weights: Tensor | None = None,
        scorable: Tensor | None = None,
        group_ids: Tensor | None = None,
        answer_mask: Tensor | None = None,
        response_mask: Tensor | None = None,
        value: Tensor | None = None,
        hard: Tensor | None = None,
        truncated: Tensor | None = None,
        reduce: Callable[[Tensor], Tensor] = of_one_process,
    ) -> "Experience":
        """An experience from verdicts and relevance alone, to try an algorithm; its token ids are all 0.

        Args:
            met: ``[batch rubric]`` bool.
            relevance: ``[batch rubric token]``; by default one token of relevance 1.
            weights: ``[batch rubric]``; by default 1.
            scorable: ``[batch rubric]`` bool; by default where the weight is not 0.
            group_ids: ``[batch]``; by default all in one group.
            answer_mask: ``[batch token]`` bool; by default all response tokens.
            response_mask: ``[batch token]`` bool; by default all.
            value: ``[batch rubric]``; by default 1 where met, else 0.
            hard: ``[batch rubric]`` bool; by default all.
            truncated: ``[batch]`` bool; by default none.
            reduce: As of an `Experience`.

        Raises:
            UserError: For a tensor whose shape does not fit the others, that should be bool, or is outside [0, 1].
        """
        relevance = torch.ones(*met.shape, 1) if relevance is None else relevance
        weights = torch.ones(met.shape) if weights is None else weights
        ids = torch.zeros(len(met), relevance.shape[-1], dtype=torch.long)
        response_mask = torch.ones_like(ids, dtype=torch.bool) if response_mask is None else response_mask
        given: dict[str, Any] = {
            "met": met,
            "relevance": relevance,
            "weights": weights,
            "scorable": weights != 0 if scorable is None else scorable,
            "value": met.float() if value is None else value,
            "hard": torch.ones_like(met) if hard is None else hard,
            "response_mask": response_mask,
            "answer_mask": response_mask if answer_mask is None else answer_mask,
            "group_ids": torch.zeros(len(met), dtype=torch.long) if group_ids is None else group_ids,
            "truncated": torch.zeros(len(met), dtype=torch.bool) if truncated is None else truncated,
        }
        _refuse_misfits(given)
        return cls(
            **given,
            confidence=torch.ones(met.shape),
            prompt_ids=ids[:, :1],
            prompt_lengths=ids.new_ones(len(met)),
            response_ids=ids,
            sampler_logprobs=torch.full(ids.shape, torch.nan),
            temperature=torch.ones(len(met)),
            reduce=reduce,
        )


@dataclass(frozen=True)
class Credited:
    """The credit that an algorithm gives to a window.

    Attributes:
        advantages: 0 outside the response.
        rewards: Response rewards that advantages were made from; ``None`` for a scheme without such rewards.
        known: Responses whose reward is known; ``None`` without rewards.
        metrics: Scalars to log, as means over this process.
        trained: Responses that the policy is trained on; ``None`` for all.
    """

    advantages: Float[Tensor, "batch token"]
    rewards: Float[Tensor, " batch"] | None
    known: Bool[Tensor, " batch"] | None
    metrics: Mapping[str, Tensor]
    trained: Bool[Tensor, " batch"] | None = None

    def __repr__(self) -> str:
        batch, token = self.advantages.shape
        given = self.advantages[self.advantages != 0]
        lines = [f"batch {batch}, token {token}", f"advantages other than 0: {given.numel()}"]
        if given.numel():
            lines[1] += f", from {given.min():.3f} to {given.max():.3f}"
        if self.rewards is not None and self.known is not None:
            lines.append(f"rewards {self.known.sum()} known, mean {self.rewards[self.known].mean():.3f}")
        if self.trained is not None:
            lines.append(f"trained on {self.trained.sum()}")
        return _lines("Credited", *lines, *(f"{name} {float(value):.3f}" for name, value in self.metrics.items()))


_AXES: dict[str, str] = dict.fromkeys(("met", "weights", "scorable", "value", "hard"), "batch rubric")
_AXES |= {"relevance": "batch rubric token", "response_mask": "batch token", "answer_mask": "batch token"}
_AXES |= {"group_ids": "batch", "truncated": "batch"}
_BOOLS = ("met", "scorable", "hard", "response_mask", "answer_mask", "truncated")


def _refuse_misfits(given: Mapping[str, Tensor]) -> None:
    sizes = dict(zip(("batch", "rubric"), given["met"].shape, strict=False)) | {"token": given["relevance"].shape[-1]}
    for name, tensor in given.items():
        axes, found = _AXES[name], [*tensor.shape]
        if found != (expected := [sizes.get(axis) for axis in axes.split()]):
            raise UserError(f"{name} is of shape {found}, expected [{axes}], by met and relevance {expected}")
        if name in _BOOLS and tensor.dtype != torch.bool:
            raise UserError(f"{name} is {tensor.dtype}, expected torch.bool: compare it, as in `{name} > 0`")
        if name in ("relevance", "value") and not ((tensor >= 0) & (tensor <= 1)).all():
            raise UserError(f"{name} holds values from {tensor.min():g} to {tensor.max():g}, expected [0, 1]")


def _share(part: Tensor, of: Tensor) -> str:
    return f"{part.sum() / of.sum():.0%}"


def _lines(name: str, *lines: str) -> str:
    return "\n  ".join([f"{name}(", *lines]) + "\n)"
