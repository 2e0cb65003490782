"""The rollout callback: samples, judges and weighs responses, and fills the batches that the policy trains on."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from rtt_lightning.callbacks.lengths import refuse_long
from rtt_lightning.callbacks.start import refuse_undecidable, say_what_is_ignored
from rtt_lightning.datamodules.views import PromptWindows
from rtt_lightning.engines.base import RolloutEngine, Sampling
from rtt_lightning.engines.embedded.engine import TransformersEngine
from rtt_lightning.lm.reasoning import checked_marks
from rtt_lightning.relevance.base import RelevanceSource, UniformRelevance
from rtt_lightning.reports.completions import print_window, write_completions
from rtt_lightning.reports.evaluation import report
from rtt_lightning.reports.figures import rollout_figures
from rtt_lightning.reports.outputs import set_aside_later
from rtt_lightning.rollout.experience import collate
from rtt_lightning.rollout.requests import make_requests
from rtt_lightning.rollout.window import ROW_FIELDS, Window, make_window
from rtt_lightning.runtime.finite import refuse_nonfinite, trained
from rtt_lightning.runtime.lazy import lazy_instance
from rtt_lightning.runtime.logs import FigureLog
from rtt_lightning.runtime.processes import gather, mean_over_ranks, sum_over_ranks
from rtt_lightning.runtime.terminal import announced
from rtt_lightning.types import Experience, JudgedRollout, Marks, RubricSample
from rtt_lightning.verifiers.base import Verifier
from rtt_lightning.verifiers.judging import judge
from rtt_lightning.verifiers.rules import RuleVerifier

EVALUATION_WINDOW = -1
"""Evaluation draws from the same seeds each time, so that two policies are compared on equal terms."""


class RolloutCallback(Callback):
    """Generates for windows of prompts and hands out micro-batches, in validation too; inert for a discriminator.

    Args:
        engine: Samples responses.
        verifier: Gives verdicts.
        relevance: Weighs tokens.
        sampling: How training responses are drawn.
        evaluation: How validation, test and predict responses are drawn.
        seed: Sampling seed of the run.
        loose: Also judge evaluation responses loosely, as IFEval does: up to eight variants of each.
        mask_truncated: Make every verdict on a truncated response unscorable instead of judging it as it stands.
        reasoning: Pairs of marks that reasoning stands between, which verifiers do not see; null for those that the
            model's tokens and chat template show, see `rtt_lightning.lm.reasoning`.
        output: Folder for completions as parquet, of one run at a time; null for none.
        table_every: Windows between two tables of completions on the terminal; 0 for none.
    """

    def __init__(
        self,
        engine: RolloutEngine = lazy_instance(TransformersEngine),
        verifier: Verifier = lazy_instance(RuleVerifier),
        relevance: RelevanceSource = lazy_instance(UniformRelevance),
        sampling: Sampling = Sampling(),
        evaluation: Sampling = Sampling(n=1, temperature=0.7, top_p=0.8, top_k=20),
        seed: int = 0,
        loose: bool = False,
        mask_truncated: bool = False,
        reasoning: list[Marks] | None = None,
        output: str | None = None,
        table_every: int = 10,
    ) -> None:
        self.engine, self.verifier, self.relevance = engine, verifier, relevance
        self.sampling, self.evaluation, self.seed = sampling, evaluation, seed
        self.loose, self.mask_truncated = loose, mask_truncated
        self.reasoning = checked_marks(reasoning)
        self.output = Path(output) if output else None
        self.table_every = table_every
        self._writes_to: Path | None = None
        self._is_first = True
        self._started = False
        self.judged: list[JudgedRollout] = []
        """The responses sampled last, of this process; for callbacks that look at them."""
        self.synced_version: int | None = None
        """The weights that the engine samples from; ``None`` before it does."""
        self.advantages = torch.zeros(0, 0)
        """``[batch token]``, of the training responses sampled last."""
        self._log_figures = FigureLog()
        self._window: Window | None = None
        self._saved: list[dict[str, Any]] = []  # one window per process, of a checkpoint to resume from
        self._evaluated: list[JudgedRollout] = []

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        self._window, self.synced_version = None, None
        self._writes_to, self._is_first = None if trainer.fast_dev_run else self.output, True
        if isinstance(trainer.datamodule.view, PromptWindows):
            refuse_undecidable(trainer.datamodule, self.verifier)
            if stage == TrainerFn.FITTING:
                train = [record.sample for record in trainer.datamodule.records["train"]]
                say_what_is_ignored(pl_module, train, self.relevance, self.verifier)

    # -- training ------------------------------------------------------------------------------------------------

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if "window" not in batch:
            return
        if self._window is None or self._window.number != batch["window"]:
            self._window = self._sample_window(trainer, pl_module, batch)
        micro_batch = self._window.micro_batches[batch["micro_batch"]]
        batch["full_vocabulary"] = self.sampling.full_vocabulary
        batch.update({name: _to(value, pl_module.device) for name, value in micro_batch.items()})

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._window is not None and batch["micro_batch"] + 1 == len(self._window.micro_batches):
            self._window = None  # done with: a checkpoint taken now need not hold it

    def _sample_window(self, trainer: Trainer, policy: Any, batch: dict[str, Any]) -> Window:
        started = time.monotonic()
        if self._is_first and self._writes_to and trainer.is_global_zero:  # the others wait for it before they write
            set_aside_later(self._writes_to, batch["window"], trainer.global_step)
        self._is_first = False
        samples = _samples(trainer, batch)
        judged = self._roll_out(trainer, policy, samples, self.sampling, batch["window"], loose=False)
        sampled = time.monotonic()
        weighed = self.relevance.weigh_read(judged)
        relevance = [weight for weight, _ in weighed]
        experience = collate(judged, relevance, [read for _, read in weighed])
        advantages, metrics = policy.advantages(experience)
        self.advantages = advantages
        window = make_window(
            batch["window"],
            experience,
            advantages,
            updates=batch["updates"],
            micro_batches_per_update=trainer.accumulate_grad_batches,
            total_tokens=sum_over_ranks,
            prompt_ids=[item.sample.id for item in judged],
        )
        if batch["updates"] > 1:
            with torch.no_grad(), trainer.precision_plugin.train_step_context():
                window.anchor(policy)
        policy.report_nonfinite(f"window {window.number}", window.nonfinite(), allowed=policy.skip_nonfinite > 0)
        seconds = {"seconds_sampling": sampled - started, "seconds_weighing": time.monotonic() - sampled}
        figures = {**metrics, **rollout_figures(experience, judged), **self.verifier.figures(), **seconds}
        means = mean_over_ranks(figures, weight=len(judged))
        self._log_figures(policy, "rollout", means, batch_size=len(judged))
        self._show(trainer, policy, window.number, relevance, experience)
        return window

    # -- validation, test and predict ----------------------------------------------------------------------------

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if "prompts" not in batch:
            return
        samples = _samples(trainer, batch)
        judged = self._roll_out(trainer, pl_module, samples, self.evaluation, EVALUATION_WINDOW, self.loose)
        self._evaluated += judged
        nothing = [torch.zeros(len(item.verdicts), len(item.rollout.response_ids)) for item in judged]
        experience = collate(judged, nothing)
        batch["full_vocabulary"] = self.evaluation.full_vocabulary
        for name in (*ROW_FIELDS, "met", "scorable", "weights"):
            batch[name] = getattr(experience, name).to(pl_module.device)

    on_test_batch_start = on_validation_batch_start
    on_predict_batch_start = on_validation_batch_start

    def on_validation_end(self, trainer: Any, pl_module: LightningModule) -> None:
        judged, self._evaluated = self._evaluated, []
        if trainer.sanity_checking or not isinstance(trainer.datamodule.view, PromptWindows):
            return
        self._show_evaluation(trainer, [item for items in gather(judged) for item in items])

    @rank_zero_only
    def _show_evaluation(self, trainer: Trainer, judged: list[JudgedRollout]) -> None:
        stage = trainer.state.fn or TrainerFn.VALIDATING
        name = f"val-{trainer.global_step:06d}" if stage == TrainerFn.FITTING else str(stage.value)
        figures = {key: float(value) for key, value in sorted(trainer.callback_metrics.items())}
        report(judged, name, self._writes_to, figures)

    on_test_end = on_validation_end
    on_predict_end = on_validation_end

    # -- shared --------------------------------------------------------------------------------------------------

    def _roll_out(
        self, trainer: Any, policy: Any, samples: Sequence[RubricSample], sampling: Sampling, window: int, loose: bool
    ) -> list[JudgedRollout]:
        """Sample from the current weights and judge; rows in order of prompt and sample index."""
        version = trainer.global_step
        if not self._started:
            rows = policy.model.get_input_embeddings().weight.shape[0]
            trainer.datamodule.check_vocabulary(policy.tokenizer, rows)
        if self.synced_version != version:
            refuse_nonfinite(trained(policy), "not handed to the engine: weights")
            (self.engine.sync if self._started else self.engine.start)(policy)
            self._started, self.synced_version = True, version
        arguments, draws = trainer.datamodule.chat_template_kwargs, (self.seed, window, sampling.n)
        requests = make_requests(samples, policy.tokenizer, arguments, self.reasoning, draws)
        with trainer.precision_plugin.forward_context():
            rollouts = self.engine.generate(requests, sampling, version)
            if trainer.is_global_zero:
                rollouts = announced(rollouts, sampling.n * len(requests), "responses")
            pairs = ((samples[row.group_id], row) for row in rollouts)
            self.judged = judge(self.verifier, pairs, loose=loose, mask_truncated=self.mask_truncated)
        return self.judged

    def _show(
        self, trainer: Trainer, policy: Any, number: int, relevance: Sequence[Tensor], experience: Experience
    ) -> None:
        if self._writes_to:
            part = f"-rank{trainer.global_rank}" if trainer.world_size > 1 else ""
            path = self._writes_to / f"window-{number:06d}{part}.parquet"
            write_completions(path, self.judged, relevance, self.advantages)
        if trainer.is_global_zero and self.table_every and number % self.table_every == 0:
            rewards, known = policy.response_reward(experience.met, experience.scorable, experience.weights)
            print_window(number, self.judged, torch.where(known, rewards, torch.nan), rows=min(self.sampling.n, 4))

    def state_dict(self) -> dict[str, Any]:
        """The window being trained on, of every process: rank 0 alone writes what callbacks save. A collective."""
        return {} if self._window is None else {"windows": gather(self._window.state_dict())}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._saved = state_dict.get("windows", [])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._window = Window.resumed(self._saved, trainer.global_rank, trainer.world_size)
        self._saved = []
        refuse_long(trainer, pl_module, self.sampling)
        if trainer.enable_validation:
            refuse_long(trainer, pl_module, self.evaluation)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        refuse_long(trainer, pl_module, self.evaluation)

    on_test_start = on_validation_start
    on_predict_start = on_validation_start


def _samples(trainer: Any, batch: dict[str, Any]) -> list[RubricSample]:
    records = trainer.datamodule.records[batch["split"]]
    return [records[index].sample for index in batch["prompts"]]


def _to(value: Any, device: torch.device) -> Any:
    return value.to(device) if isinstance(value, Tensor) else value
