"""Checks at the start of a run, before anything is sampled or paid for."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from rtt_lightning.algorithms import Algorithm
from rtt_lightning.datamodules import PromptWindows, RubricDataModule
from rtt_lightning.engines.base import RolloutEngine, Sampling
from rtt_lightning.lm.forward import refuse_long_rows
from rtt_lightning.relevance.base import RelevanceSource
from rtt_lightning.rollout.collect import Collector
from rtt_lightning.rollout.requests import refuse_repeated
from rtt_lightning.types import Experience, RubricSample
from rtt_lightning.types.errors import UserError
from rtt_lightning.verifiers.base import Verifier

SHOWN = 60
"""Characters of a criterion in a message."""


def look_at_data(data: RubricDataModule, policy: Any, collector: Collector, *, training: bool) -> None:
    """Raise for prompts whose criteria cannot be decided; in training, warn of what the reward scheme ignores.

    Raises:
        ValueError, OutsideFailure: As `refuse_undecidable`, `refuse_repeated` (per split) and
            `RubricDataModule.check_weighable`.
    """
    if not isinstance(data.view, PromptWindows):  # pairs, for a discriminator
        return
    refuse_undecidable(data, collector.verifier)
    for records in data.records.values():
        refuse_repeated(record.sample for record in records)
    if training:
        data.check_weighable(collector.relevance.problems)
        say_what_is_ignored(policy, [record.sample for record in data.records["train"]], collector)


def refuse_undecidable(data: RubricDataModule, verifier: Verifier) -> None:
    """Raise for data whose criteria the verifier cannot decide, or if a server that it needs is down.

    Raises:
        ValueError: For criteria, see `RubricDataModule.check_criteria`.
        OutsideFailure: For the server, see `Verifier.try_out`.
    """
    data.check_criteria(verifier.problems)
    for doubt in verifier.try_out(data.samples()):
        rank_zero_warn(doubt)


def refuse_long(trainer: Any, policy: Any, sampling: Sampling) -> None:
    """Raise if responses could be longer than the policy's model can train on.

    Raises:
        ValueError: See `refuse_long_rows`.
    """
    data = trainer.datamodule
    if isinstance(data.view, PromptWindows):
        refuse_long_rows(policy.model.config, data.max_prompt_tokens + sampling.max_new_tokens)


def refuse_uncorrected(
    data: RubricDataModule, policy: Any, sampling: Sampling, engine: RolloutEngine, ahead: int
) -> None:
    """Raise if importance weights or the KL could not be computed, or if sampling ahead would go without the former.

    Raises:
        UserError: With what to set.
    """
    if not isinstance(data.view, PromptWindows):
        return
    cap = policy.surrogate.importance_cap
    compared = {"importance_cap": (cap, "sampler"), "kl_target": (policy.kl_target, "reference")}
    for name, (value, other) in compared.items():
        if value is not None and not sampling.full_vocabulary:
            raise UserError(
                f"model.init_args.{name} {value} compares log-probs of {other} and policy, which needs "
                f"rollout.sampling with top_p 1, top_k 0 and a temperature above 0; got top_p {sampling.top_p:g}, "
                f"top_k {sampling.top_k} and temperature {sampling.temperature:g}: set these, or {name} to null"
            )
    if ahead and not engine.samples_elsewhere:
        raise UserError(
            f"rollout.ahead 1 samples while the policy trains, and {type(engine).__name__} needs the device or the "
            "weights that train: set rollout.engine to VLLMServerEngine, with servers on other devices, or "
            "rollout.ahead to 0"
        )
    if ahead and cap is None:
        raise UserError(
            "rollout.ahead 1 trains on responses of weights that are one window old, which importance weights correct "
            "for: set model.init_args.importance_cap, such as to 2, or rollout.ahead to 0"
        )


def say_what_is_ignored(policy: Any, samples: Sequence[RubricSample], collector: Collector) -> None:
    """Warn of weights and criteria of the training data that the policy's reward scheme ignores."""
    if not policy.has_own_scheme and (said := ignored_weights(policy.algorithm, samples)):
        rank_zero_warn(said)
    if policy.token_credit and (said := without_credit(samples, collector.relevance, collector.verifier)):
        rank_zero_warn(said)


def ignored_weights(algorithm: Algorithm, samples: Iterable[RubricSample]) -> str:
    """A warning if criteria differ in weight and rewards use only the signs of weights; else empty."""
    rubrics = ([criterion.weight for criterion in sample.criteria] for sample in samples)
    uneven = next((weights for weights in rubrics if max(weights) > 0 and len(set(map(abs, weights))) > 1), None)
    if not uneven or not takes_signs_alone(algorithm, torch.tensor(uneven)):
        return ""
    return (
        f"the data weighs its criteria, for example by {', '.join(f'{weight:g}' for weight in uneven)}, but the "
        f"rewards of {type(algorithm).__name__} use only the signs of weights; with "
        "rtt_lightning.functional.rewards.weighted_mean as response_reward they use the weights"
    )


def takes_signs_alone(algorithm: Algorithm, weights: Tensor) -> bool:
    """Whether rewards stay the same with -1 and 1 as weights; False for an algorithm without rewards.

    Tried with exactly one criterion met, exactly one unmet, all met and none met.

    Args:
        algorithm: To try.
        weights: ``[rubric]`` of one rubric, one of them positive.
    """
    alone_or_none = torch.eye(len(weights) + 1, len(weights), dtype=torch.bool)
    met = torch.cat([alone_or_none, ~alone_or_none])
    rows = weights.expand(met.shape)
    contrast = torch.zeros(len(met), 1)  # for a scheme that wants one
    tried = (replace(Experience.by_hand(met, weights=row), contrast=contrast) for row in (rows, rows.sign()))
    given, signed = (algorithm(experience).rewards for experience in tried)
    return given is not None and signed is not None and torch.equal(given, signed)


def without_credit(samples: Sequence[RubricSample], relevance: RelevanceSource, verifier: Verifier) -> str:
    """A warning if some criteria can never earn token-level credit; else empty.

    Raises:
        ValueError: If the relevance source lacks something that it needs.
    """
    criteria = [criterion for sample in samples for criterion in sample.criteria]
    known = {(criterion.checker, criterion.text): criterion for criterion in criteria}
    blind = relevance.blind([*known.values()], verifier.gives_spans)
    if not blind:
        return ""
    kinds = Counter((criterion.checker, criterion.text) for criterion in criteria)
    number, total = sum(kinds[criterion.checker, criterion.text] for criterion in blind), kinds.total()
    return (
        f"{number} of {total} criteria are trained at response level only, such as {blind[0].text[:SHOWN]!r} "
        f"({blind[0].checker}): the relevance of {type(relevance).__name__} cannot vary within a response to them. For "
        "token-level credit choose another rollout.relevance, such as a discriminator with room for them (max_length); "
        "`rtt annotate` makes what it learns from (docs/annotating.md)"
    )
