"""The rollout callback: collects responses, and fills the batches that the policy trains on."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from rtt_lightning.callbacks.cost import judged_in_run, say_cost
from rtt_lightning.callbacks.start import look_at_data, refuse_long, refuse_uncorrected
from rtt_lightning.datamodules.limits import next_window
from rtt_lightning.datamodules.views import PromptWindows
from rtt_lightning.engines import TransformersEngine
from rtt_lightning.engines.base import RolloutEngine, Sampling
from rtt_lightning.lm.sequences import on_device
from rtt_lightning.relevance import RelevanceSource, UniformRelevance
from rtt_lightning.reports.completions import print_window, write_completions
from rtt_lightning.reports.evaluation import report
from rtt_lightning.reports.outputs import evaluation_name, set_aside_later
from rtt_lightning.reports.phases import phase_metrics
from rtt_lightning.reports.rollout_metrics import rollout_metrics
from rtt_lightning.rollout.ahead import Ahead, staleness
from rtt_lightning.rollout.collect import Collector
from rtt_lightning.rollout.experience import verdict_batch
from rtt_lightning.rollout.window import Window, make_window
from rtt_lightning.runtime.lazy import lazy_instance
from rtt_lightning.runtime.logs import MetricLog
from rtt_lightning.runtime.phases import IDLE, RELEVANCE, SAMPLING, UPDATE, Phases
from rtt_lightning.runtime.processes import gather, mean_over_ranks
from rtt_lightning.types import Credited, Experience, JudgedRollout, Marks, RubricSample
from rtt_lightning.types.batches import PromptBatch
from rtt_lightning.types.errors import UserError
from rtt_lightning.verifiers.base import Verifier
from rtt_lightning.verifiers.rules import RuleVerifier

EVALUATION_WINDOW = -1
"""Evaluation uses the same seeds each time, so that policies can be compared."""


class RolloutCallback(Callback):
    """Collects responses to windows of prompts and hands out micro-batches, in validation too; inert for a
    discriminator.

    Args:
        engine: Samples responses.
        verifier: Gives verdicts.
        relevance: Weighs tokens.
        sampling: How training responses are drawn.
        evaluation: How validation, test and predict responses are drawn.
        seed: Of the sampling; null for the run's (`seed_everything`), or 0 without one.
        loose: Also judge evaluation responses loosely, as IFEval does, in up to eight variants.
        mask_truncated: Make every verdict on a truncated response unscorable instead of judging it as it is.
        reasoning: Pairs of marks around reasoning, which verifiers do not see; null to find them in the model's tokens
            and chat template, see `rtt_lightning.lm.reasoning`.
        output: Folder for the completions of one run, as parquet; null for none.
        table_every: Windows between two tables of completions on the terminal; 0 for none.
        ahead: 1 samples and judges the next window while the policy trains on this one, from the weights before this
            one's updates: for an engine on other devices (VLLMServerEngine), with the policy's ``importance_cap``. 0
            samples from the current weights, and waits.
        micro_batch_tokens: Tokens of a micro-batch at most, prompts once and responses: as few of the
            `trainer.accumulate_grad_batches` micro-batches hold responses as allow it, and the others stay empty. A
            greater group is divided. null spreads whole groups evenly over all.
    """

    def __init__(
        self,
        engine: RolloutEngine = lazy_instance(TransformersEngine),
        verifier: Verifier = lazy_instance(RuleVerifier),
        relevance: RelevanceSource = lazy_instance(UniformRelevance),
        sampling: Sampling = Sampling(),
        evaluation: Sampling = Sampling(n=1, temperature=0.7, top_p=0.8, top_k=20),
        seed: int | None = None,
        loose: bool = False,
        mask_truncated: bool = False,
        reasoning: list[Marks] | None = None,
        output: str | None = None,
        table_every: int = 10,
        ahead: int = 0,
        micro_batch_tokens: int | None = None,
    ) -> None:
        if ahead not in (0, 1):
            raise UserError(f"rollout.ahead is the number of windows sampled ahead, 0 or 1, got {ahead}")
        if micro_batch_tokens is not None and micro_batch_tokens < 1:
            raise UserError(f"micro_batch_tokens must be at least 1, got {micro_batch_tokens}; null sets no limit")
        self.collector = Collector(engine, verifier, relevance, seed or 0, mask_truncated, reasoning)
        self.sampling, self.evaluation, self.loose, self.ahead = sampling, evaluation, loose, ahead
        self.output, self.table_every = Path(output) if output else None, table_every
        self.micro_batch_tokens = micro_batch_tokens
        self.judged: list[JudgedRollout] = []
        """The latest responses of this process, for other callbacks."""
        self.credited: Credited | None = None
        """The credit of the latest training responses."""
        self.phases = Phases()
        """Seconds of the current window."""
        self._log_metrics = MetricLog()
        self._said_over_budget = False
        self._sampled = 0  # tokens of the latest training responses of this process
        self._tokens_seen = 0  # of all windows and processes
        self._window: Window | None = None
        self._saved: list[dict[str, Any]] = []  # one window per process, from a checkpoint
        self._ahead = Ahead()
        self._saved_ahead: list[dict[str, Any]] | None = None  # one per process; none without a checkpoint
        self._evaluated: list[JudgedRollout] = []

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        self._window, self.credited, self.collector.version = None, None, None
        self._folder = None if trainer.fast_dev_run else self.output
        if stage == TrainerFn.FITTING:
            refuse_uncorrected(trainer.datamodule, pl_module, self.sampling, self.collector.engine, self.ahead)
        expected = judged_in_run(trainer, trainer.datamodule, self.sampling, self.evaluation, stage)
        say_cost(self.collector.verifier, expected)
        look_at_data(trainer.datamodule, pl_module, self.collector, training=stage == TrainerFn.FITTING)

    # -- training ------------------------------------------------------------------------------------------------

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._window = Window.resumed(self._saved, trainer.global_rank, trainer.world_size)
        self._ahead = Ahead.resumed(self._saved_ahead, trainer.global_rank, trainer.world_size, self.ahead == 1)
        self._saved, self._saved_ahead = [], None
        self.phases = self.collector.phases = Phases()
        for sampling in (self.sampling, self.evaluation)[: 1 + trainer.enable_validation]:
            refuse_long(trainer, pl_module, sampling)

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if "window" not in batch:
            return
        if self._window is None or self._window.number != batch["window"]:
            self._window = self._collect_window(trainer, pl_module, batch)
        micro_batch = self._window.micro_batches[batch["micro_batch"]]
        batch |= on_device(micro_batch, pl_module.device) | {"full_vocabulary": self.sampling.full_vocabulary}
        self.phases.switch(UPDATE)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.phases.switch(IDLE)
        if self._window is not None and batch["micro_batch"] + 1 == len(self._window.micro_batches):
            micro_batches, precision = self._window.micro_batches, str(trainer.precision)
            found = phase_metrics(self.phases.pop(), self._sampled, micro_batches, pl_module, precision)
            if self.ahead:  # the loop waits for a part of the sampling
                found.pop("sampled_tokens_per_second", None)
            self._log_metrics(pl_module, "time", mean_over_ranks(found, 1), batch_size=1)
            self._window = None  # done: a checkpoint taken now need not hold it

    def _collect_window(self, trainer: Trainer, policy: Any, batch: Any) -> Window:
        number = batch["window"]
        is_first = self.credited is None
        if is_first and self._folder and trainer.is_global_zero:  # the others wait for it below
            set_aside_later(self._folder, number, trainer.global_step)
        judged = self.judged = self._responses(trainer, policy, batch)
        with trainer.precision_plugin.forward_context():
            experience = self.collector.experience(judged, policy)
        self._sampled = int(experience.response_mask.sum())
        with self.phases.during(RELEVANCE):
            credited = self.credited = policy.credit(experience)
        ids, updates = [item.sample.id for item in judged], batch["updates"]
        parts = updates, trainer.accumulate_grad_batches
        window = make_window(number, experience, credited, policy.scheme, ids, *parts, self.micro_batch_tokens)
        if self.micro_batch_tokens and not self._said_over_budget:
            self._said_over_budget = window.exceeds(self.micro_batch_tokens, trainer.accumulate_grad_batches)
        if updates > 1:
            with trainer.precision_plugin.train_step_context(), self.phases.during(UPDATE):
                window.anchor(policy)
        policy.report_nonfinite(f"window {number}", window.nonfinite(), allowed=policy.skip_nonfinite > 0)
        self._tokens_seen += sum(int(part["update_tokens"]) for part in window.micro_batches if part["last_of_update"])
        metrics = {**rollout_metrics(experience, judged, credited), **self.collector.verifier.metrics()}
        metrics["tokens_seen"] = self._tokens_seen
        if self.ahead:
            metrics["staleness"] = staleness(judged, trainer.global_step, updates)
        self._log_metrics(policy, "rollout", mean_over_ranks(metrics, len(judged)), batch_size=len(judged))
        self._show(trainer, number, experience, credited)
        return window

    def _responses(self, trainer: Trainer, policy: Any, batch: Any) -> list[JudgedRollout]:
        """The responses to a window, sampled now or ahead; if ahead, those to the next one are begun."""
        with self.phases.during(SAMPLING):
            judged = self._ahead.take(batch["window"])
        if judged is None:
            judged = self._collect(trainer, policy, batch, self.sampling, batch["window"])
        following: Any = self.ahead and next_window(trainer, batch["window"], batch["updates"])
        if following:
            samples, window = self._hand_over(trainer, policy, following), following["window"]
            requests = self.collector.requests(samples, self.sampling, window)
            self._ahead.start(window, lambda stop: self.collector.answers(samples, requests, self.sampling, stop=stop))
        return judged

    def _show(self, trainer: Trainer, number: int, experience: Experience, credited: Credited) -> None:
        if self._folder:
            part = f"-rank{trainer.global_rank}" if trainer.world_size > 1 else ""
            path = self._folder / f"window-{number:06d}{part}.parquet"
            write_completions(path, self.judged, experience.relevance, credited.advantages)
        if trainer.is_global_zero and self.table_every and number % self.table_every == 0:
            print_window(number, self.judged, credited, rows=min(self.sampling.n, 4))

    # -- validation, test and predict ----------------------------------------------------------------------------

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.collector.phases = Phases()  # its sampling is no part of a window's
        refuse_long(trainer, pl_module, self.evaluation)

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if "prompts" not in batch:
            return
        judged = self._collect(trainer, pl_module, batch, self.evaluation, EVALUATION_WINDOW, training=False)
        self._evaluated += judged
        batch |= on_device(verdict_batch(judged), pl_module.device) | {
            "full_vocabulary": self.evaluation.full_vocabulary
        }

    def on_validation_end(self, trainer: Any, pl_module: LightningModule) -> None:
        judged, self._evaluated, self.collector.phases = self._evaluated, [], self.phases
        if trainer.sanity_checking or not isinstance(trainer.datamodule.view, PromptWindows):
            return
        everywhere = [item for items in gather(judged) for item in items]
        if trainer.is_global_zero:
            stage = trainer.state.fn or TrainerFn.VALIDATING
            step, name = trainer.global_step, "val" if stage == TrainerFn.FITTING else str(stage.value)
            metrics = {key: float(value) for key, value in sorted(trainer.callback_metrics.items())}
            report(everywhere, evaluation_name(name, step), self._folder, metrics)

    on_test_start = on_predict_start = on_validation_start
    on_test_batch_start = on_predict_batch_start = on_validation_batch_start
    on_test_end = on_predict_end = on_validation_end

    # -- shared --------------------------------------------------------------------------------------------------

    def _collect(
        self, trainer: Any, policy: Any, batch: PromptBatch, sampling: Sampling, window: int, training: bool = True
    ) -> list[JudgedRollout]:
        """Sample from the current weights and judge; rows in order of prompt and sample index."""
        samples = self._hand_over(trainer, policy, batch)
        with trainer.precision_plugin.forward_context():
            loose = self.loose and not training
            self.judged = self.collector.collect(samples, sampling, window, loose, weigh=training)
        return self.judged

    def _hand_over(self, trainer: Any, policy: Any, batch: PromptBatch) -> list[RubricSample]:
        """Give the engine the current weights, once nothing is sampled any more. Returns the prompts of a batch."""
        self._ahead.wait()  # and those of other processes: a sync begins with a collective
        data = trainer.datamodule
        if self.collector.version is None:
            data.check_vocabulary(policy.tokenizer, policy.model.get_input_embeddings().weight.shape[0])
        self.collector.sync(policy, trainer.global_step)
        return [data.records[batch["split"]][index].sample for index in batch["prompts"]]

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._ahead.stop()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._ahead.stop()  # a run may end sooner than its limits say

    def state_dict(self) -> dict[str, Any]:
        """Window and next responses of every process, as only rank 0 writes what callbacks save. A collective."""
        windows = {} if self._window is None else {"windows": gather(self._window.state_dict())}
        ahead = gather(self._ahead.state_dict()) if self.ahead else [None]
        return {"tokens_seen": self._tokens_seen, "ahead": [] if None in ahead else ahead, **windows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._saved, self._tokens_seen = state_dict.get("windows", []), state_dict.get("tokens_seen", 0)
        self._saved_ahead = state_dict.get("ahead", [])
