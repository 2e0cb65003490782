"""How often a run computes the body to train: a forward is most of the cost of a step."""

from collections import Counter
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback

from rtt_lightning.commands.run import main
from rtt_lightning.lm.merging import without_adapters


class Forwards(Callback):
    """Counts forwards of the body but for sampling's, which has a cache: with a graph and without.

    From the third step on: the first window is seen by checks of the model and the reward watch as well.
    """

    def __init__(self) -> None:
        self.counts, self.steps = Counter(), 0

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.steps += batch_idx >= 2
        if batch_idx != 2:
            return

        def count(body: Any, args: Any, kwargs: dict[str, Any]) -> None:
            if kwargs["use_cache"] is False:
                self.counts["graph" if torch.is_grad_enabled() else "no graph"] += 1

        without_adapters(pl_module.model).base_model.register_forward_pre_hook(count, with_kwargs=True)


@pytest.mark.parametrize(
    ("flags", "without_graph"),
    [
        ((), 0),  # on-policy: the ratio is 1, and no reference
        (("--model.init_args.importance_cap=2",), 0),  # made of what is there
        (("--model.init_args.kl_coef=0.1",), 1),  # the reference
        (("--data.view.init_args.updates=2",), 1),  # the anchor
        (("--data.view.init_args.updates=2", "--model.init_args.kl_coef=0.1", "--model.init_args.importance_cap=2"), 2),
    ],
)
def test_a_step_computes_the_body_once_and_once_more_for_reference_and_anchor(
    policy_args, flags: tuple[str, ...], without_graph: int
) -> None:
    more = ("--trainer.max_steps=6", "--trainer.accumulate_grad_batches=1", "--data.source.init_args.train=12")
    run = main(policy_args("fit", *flags, *more, "--trainer.callbacks=[tests.modules.test_forwards.Forwards]"))
    [found] = [callback for callback in run.trainer.callbacks if isinstance(callback, Forwards)]
    assert found.steps == 4
    assert found.counts == Counter({"graph": 4, "no graph": 4 * without_graph})
