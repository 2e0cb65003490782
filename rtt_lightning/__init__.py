"""Rubrics to Tokens: reinforcement learning from rubrics, with credit for single tokens, on Lightning.

A *rubric* is a prompt's list of criteria, which rules or a judge decide. A run samples groups of responses, judges
them, finds which tokens decided each criterion, and trains on the credit of those tokens:

    data         `RubricDataModule`: a `RecordSource` (`RecordFiles`, `ConstraintPrompts`), read by an `Adapter`, seen
                 as a `View`: `PromptWindows` for the policy, `LabelledPairs` or `LabelledResponses` for the
                 discriminator
    samples      a `RolloutEngine`: `TransformersEngine`, `VLLMEngine`, `VLLMServerEngine`, `ReplayEngine`; `Sampling`
    verdicts     a `Verifier`: `RuleVerifier`, `LLMJudge`, `CodeVerifier`, or a `Router` to these; within
                 `DecisiveSpans`, only spans that the verdict depends on
    relevance    a `RelevanceSource`: `DiscriminatorRelevance`, `RuleSpans`, `CriterionContrast`,
                 `UniformRelevance`, `RandomRelevance`; `CriteriaContrast` for algorithms that compare prompts
    labels       of rules, of a judge with ``evidence``, or of an `LLMAnnotator` (`rtt annotate`)
    credit       an `Algorithm`: `GRPO`, `RLOO`, `RTT`, `FactoredRTT`, `GDPO`, `PAPO`, `CriPO`, `CoRT`; around
                 one of them `RubricDropout`, `EndToken`, `WithoutTruncated`, `DynamicSampling`
    training     `PolicyModule`, `DiscriminatorModule`, with adapters as in `Lora`, sharded by `FSDP`
    callbacks    `RolloutCallback`, which connects these to the trainer; `Checkpoints`, `Canary`, `Guard`,
                 `IdleWindows`, `Progress`, `RewardWatch`, `SideEffects`; `DiscriminatorQuality`

All have the same names in YAML, as ``class_path: rtt_lightning.RTT``, and on the command line (`rtt --help`). Without
a trainer, as in a notebook:

    from rtt_lightning import RTT, Collector, Criterion, LoadedModel, RubricSample, RuleSpans, Sampling

    collector = Collector(relevance=RuleSpans())           # samples from the policy itself, judges by rule
    policy = LoadedModel.from_folder("path/or/hub-name")
    collector.sync(policy)
    rubric = (Criterion("Use no commas.", "rtt:no_commas"),)
    sample = RubricSample("tea", ({"role": "user", "content": "Tell me of tea, without commas."},), rubric)
    judged = collector.collect([sample], Sampling(n=4))    # of `JudgedRollout`: a `Rollout` with each `Verdict`
    credited = RTT(beta=0.5)(collector.experience(judged)) # an `Experience` becomes `Credited`

The mathematics are in `rtt_lightning.functional`; the README names six files to read, docs/architecture.md every room.
"""

from typing import TYPE_CHECKING

from rtt_lightning.names import lazily

if TYPE_CHECKING:
    from rtt_lightning.algorithms import (
        GDPO,
        GRPO,
        PAPO,
        RLOO,
        RTT,
        Algorithm,
        CoRT,
        CriPO,
        DynamicSampling,
        EndToken,
        FactoredRTT,
        RubricDropout,
        WithoutTruncated,
    )
    from rtt_lightning.annotation.annotator import LLMAnnotator
    from rtt_lightning.callbacks import (
        Canary,
        Checkpoints,
        DiscriminatorQuality,
        Guard,
        IdleWindows,
        Progress,
        RewardWatch,
        RolloutCallback,
        SideEffects,
    )
    from rtt_lightning.datamodules import (
        Adapter,
        ConstraintPrompts,
        LabelledPairs,
        LabelledResponses,
        PromptWindows,
        RecordFiles,
        RecordSource,
        RubricDataModule,
        View,
    )
    from rtt_lightning.engines import (
        ReplayEngine,
        RolloutEngine,
        Sampling,
        TransformersEngine,
        VLLMEngine,
        VLLMServerEngine,
    )
    from rtt_lightning.lm.loaded import LoadedModel
    from rtt_lightning.lm.loading import Lora
    from rtt_lightning.modules import DiscriminatorModule, PolicyModule
    from rtt_lightning.relevance import (
        CriteriaContrast,
        CriterionContrast,
        DiscriminatorRelevance,
        RandomRelevance,
        RelevanceSource,
        RuleSpans,
        UniformRelevance,
    )
    from rtt_lightning.rollout.collect import Collector
    from rtt_lightning.runtime.strategies import FSDP
    from rtt_lightning.types import Credited, Criterion, Experience, JudgedRollout, Rollout, RubricSample, Verdict
    from rtt_lightning.verifiers import CodeVerifier, DecisiveSpans, LLMJudge, Router, RuleVerifier, Verifier

__all__ = [
    "FSDP",
    "GDPO",
    "GRPO",
    "PAPO",
    "RLOO",
    "RTT",
    "Adapter",
    "Algorithm",
    "Canary",
    "Checkpoints",
    "CoRT",
    "CodeVerifier",
    "Collector",
    "ConstraintPrompts",
    "Credited",
    "CriPO",
    "CriteriaContrast",
    "Criterion",
    "CriterionContrast",
    "DecisiveSpans",
    "DiscriminatorModule",
    "DiscriminatorQuality",
    "DiscriminatorRelevance",
    "DynamicSampling",
    "EndToken",
    "Experience",
    "FactoredRTT",
    "Guard",
    "IdleWindows",
    "JudgedRollout",
    "LLMAnnotator",
    "LLMJudge",
    "LabelledPairs",
    "LabelledResponses",
    "LoadedModel",
    "Lora",
    "PolicyModule",
    "Progress",
    "PromptWindows",
    "RandomRelevance",
    "RecordFiles",
    "RecordSource",
    "RelevanceSource",
    "ReplayEngine",
    "RewardWatch",
    "Rollout",
    "RolloutCallback",
    "RolloutEngine",
    "Router",
    "RubricDataModule",
    "RubricDropout",
    "RubricSample",
    "RuleSpans",
    "RuleVerifier",
    "Sampling",
    "SideEffects",
    "TransformersEngine",
    "UniformRelevance",
    "VLLMEngine",
    "VLLMServerEngine",
    "Verdict",
    "Verifier",
    "View",
    "WithoutTruncated",
]

__getattr__, __dir__ = lazily(__name__)
