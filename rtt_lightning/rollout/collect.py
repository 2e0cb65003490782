"""From prompts to judged, weighed responses, without a trainer: in a callback, a script or a notebook."""

from collections.abc import Iterable, Iterator, Sequence
from threading import Event
from typing import Protocol

from rtt_lightning.engines import RolloutEngine, Sampling, TransformersEngine
from rtt_lightning.engines.base import PolicyWeights, SampleRequest
from rtt_lightning.lm.reasoning import checked_marks
from rtt_lightning.relevance import RelevanceSource, ScoresResponses, UniformRelevance
from rtt_lightning.rollout.ahead import until
from rtt_lightning.rollout.experience import collate
from rtt_lightning.rollout.requests import CHECKS, make_requests, refuse, refuse_repeated
from rtt_lightning.runtime.finite import refuse_nonfinite, trained_weights
from rtt_lightning.runtime.phases import JUDGING, RELEVANCE, SAMPLING, SYNC, Phases
from rtt_lightning.runtime.processes import rank, sum_over_ranks
from rtt_lightning.runtime.terminal import announced
from rtt_lightning.types import Experience, JudgedRollout, Marks, Rollout, RubricSample
from rtt_lightning.types.errors import UserError
from rtt_lightning.verifiers.base import Verifier
from rtt_lightning.verifiers.judging import judge
from rtt_lightning.verifiers.rules import RuleVerifier


class Policy(PolicyWeights, ScoresResponses, Protocol):
    """The policy: `PolicyModule`, or in a notebook `rtt_lightning.LoadedModel`."""


class Collector:
    """Samples responses, has them judged, and weighs their tokens.

    Args:
        engine: Samples responses; by default `TransformersEngine`.
        verifier: Gives verdicts; by default `RuleVerifier`.
        relevance: Weighs tokens; by default `UniformRelevance`.
        seed: Sampling seed of the run.
        mask_truncated: Make every verdict on a truncated response unscorable instead of judging it as it is.
        reasoning: Pairs of marks around reasoning, which verifiers do not see; ``None`` to find them in the model's
            tokens and chat template, see `rtt_lightning.lm.reasoning`.
    """

    def __init__(
        self,
        engine: RolloutEngine | None = None,
        verifier: Verifier | None = None,
        relevance: RelevanceSource | None = None,
        seed: int = 0,
        mask_truncated: bool = False,
        reasoning: Sequence[Marks] | None = None,
    ) -> None:
        self.engine, self.verifier = engine or TransformersEngine(), verifier or RuleVerifier()
        self.relevance = relevance or UniformRelevance()
        self.seed, self.mask_truncated, self.reasoning = seed, mask_truncated, checked_marks(reasoning)
        self.version: int | None = None
        """Version of the engine's weights; ``None`` before it has any, or to make it take them again."""
        self.phases = Phases()
        """Seconds that went into sampling and the like."""
        self._policy: Policy | None = None

    def sync(self, policy: Policy, version: int | None = None) -> None:
        """Make the engine sample from a policy's current weights. A collective.

        Args:
            policy: Has the weights; a new model restarts the engine.
            version: Number of updates behind the weights; the same version is not handed over again. By default one
                more than before.

        Raises:
            UserError: For a plain model in place of a policy.
            FloatingPointError: If weights are not finite.
        """
        if not isinstance(policy, ScoresResponses):
            raise UserError(
                f"a policy is needed, got {type(policy).__name__}: hand over LoadedModel(model, tokenizer), from "
                "rtt_lightning.lm.loaded"
            )
        if version is None:
            version = 0 if self.version is None else self.version + 1
        if self.version == version:
            return
        known = self._policy is not None and self._policy.model is policy.model
        with self.phases.during(SYNC):
            refuse_nonfinite(trained_weights(policy.model), "not handed to the engine: weights")
            (self.engine.sync if known else self.engine.start)(policy)
        self._policy, self.version = policy, version

    def collect(
        self,
        samples: Sequence[RubricSample],
        sampling: Sampling,
        window: int = 0,
        loose: bool = False,
        weigh: bool = False,
    ) -> list[JudgedRollout]:
        """Sample responses and judge them, by prompt and sample index.

        Args:
            samples: Prompts with rubrics; the index of each is the group id of its responses.
            sampling: How responses are drawn.
            window: Number that the seeds depend on, besides the run's seed, prompt id and sample index: another one
                gives other responses.
            loose: Also give loose verdicts.
            weigh: Begin to weigh the tokens meanwhile, as `experience` will be called.

        Raises:
            UserError: Without weights to sample from, for criteria that the verifier cannot decide, or for prompts
                with the same id.
        """
        return self.answers(samples, self.requests(samples, sampling, window), sampling, loose, weigh)

    def sample(self, samples: Sequence[RubricSample], sampling: Sampling, window: int = 0) -> list[Rollout]:
        """As `collect`, without verdicts."""
        requests = self.requests(samples, sampling, window)
        assert self.version is not None, "requests have checked it"
        rows = self.engine.generate(requests, sampling, self.version)
        return sorted(rows, key=lambda row: (row.group_id, row.sample_index))

    def requests(self, samples: Sequence[RubricSample], sampling: Sampling, window: int) -> list[SampleRequest]:
        """The first half of `collect`: check the prompts and render them."""
        if self._policy is None or self.version is None:
            raise UserError(
                "the engine has no weights yet: call sync(policy) before collect, and again whenever they have changed"
            )
        refuse(samples, self.verifier.problems, *CHECKS)
        refuse_repeated(samples)
        return make_requests(samples, self._policy.render, self.reasoning, (self.seed, window, sampling.n))

    def answers(
        self,
        samples: Sequence[RubricSample],
        requests: Sequence[SampleRequest],
        sampling: Sampling,
        loose: bool = False,
        weigh: bool = False,
        stop: Event | None = None,
    ) -> list[JudgedRollout]:
        """The second half of `collect`: sample and judge. Another thread may call it, see `samples_elsewhere`.

        Args:
            samples: Prompts with rubrics.
            requests: Of these, from `requests`.
            sampling: How responses are drawn.
            loose: Also give loose verdicts.
            weigh: Begin to weigh the tokens meanwhile; not in another thread, beside the training.
            stop: Once set, this ends at the next response.

        Raises:
            Stopped: If it was ended.
        """
        assert self.version is not None, "requests have checked it"
        rollouts = self.phases.each(SAMPLING, self.engine.generate(requests, sampling, self.version))
        rollouts = until(stop, rollouts)
        if rank() == 0:
            rollouts = announced(rollouts, sampling.n * len(requests), "responses")
        if weigh:
            rollouts = self._begin_to_weigh(rollouts, samples, sampling.n)
        pairs = ((samples[row.group_id], row) for row in rollouts)
        with self.phases.during(JUDGING):
            return judge(self.verifier, pairs, loose=loose, mask_truncated=self.mask_truncated)

    def _begin_to_weigh(
        self, rollouts: Iterable[Rollout], samples: Sequence[RubricSample], n: int
    ) -> Iterator[Rollout]:
        """Pass responses on, and begin to weigh a group of ``n`` when its last response has ended.

        On the device that samples, this would only delay the verdicts on the others: there it is done after the last
        response, while verdicts are waited for.
        """
        groups: dict[int, list[Rollout]] = {number: [] for number in range(len(samples))}
        for row in rollouts:
            yield row
            groups[row.group_id].append(row)
            if self.engine.samples_elsewhere and len(groups[row.group_id]) == n:
                self._begin(samples[row.group_id], groups.pop(row.group_id))
        for number, rows in groups.items():
            self._begin(samples[number], rows)

    def _begin(self, sample: RubricSample, rows: Sequence[Rollout]) -> None:
        judged = [row for row in rows if not (self.mask_truncated and row.finish_reason == "length")]
        with self.phases.during(RELEVANCE):
            self.relevance.begin(sample, judged)

    def experience(self, judged: Sequence[JudgedRollout], policy: ScoresResponses | None = None) -> Experience:
        """Weigh the tokens of judged responses. A collective if the relevance source asks the policy.

        Args:
            judged: Responses of this process, if any.
            policy: For relevance sources that need it; by default the sampled one.
        """
        with self.phases.during(RELEVANCE):
            return collate(judged, self.relevance.weigh(judged, policy or self._policy), sum_over_ranks, rank())
