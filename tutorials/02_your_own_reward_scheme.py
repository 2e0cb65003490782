"""Tutorial 2: your own reward scheme.

Goal: write one in ten lines, see on paper that it is right, and train with it; then one that has to know of the run.
Runs on a CPU in a minute; the model folder is the one that `make demo` unpacks:

    python tutorials/02_your_own_reward_scheme.py [MODEL_FOLDER]
"""

import sys
import tempfile
from dataclasses import replace

import torch

from rtt_lightning import Algorithm, Credited, Experience, PolicyModule
from rtt_lightning.commands.run import main
from rtt_lightning.functional.advantages import group_normalize


# 1. An algorithm: experience in, credit out; no model, trainer or device. In YAML
#    `model: {init_args: {algorithm: {class_path: my_package.Lenient, init_args: {forgiven: 2}}}}`.
class Lenient(Algorithm):
    """Response-level credit that forgives some criteria that are not as desired.

    Args:
        forgiven: How many.
    """

    def __init__(self, forgiven: int = 1) -> None:
        self.forgiven = forgiven

    def __call__(self, experience: Experience) -> Credited:
        missed = (experience.exists & ~experience.as_desired).sum(1)
        rewards, known = (missed <= self.forgiven).float(), experience.decided
        advantages = group_normalize(rewards, known, experience.group_ids)[:, None] * experience.response_mask
        return Credited(advantages, rewards, known, {"missed": missed.float().mean()})


# 2. A subclass of the policy, for what an algorithm cannot know: here the number of the update. It takes whatever
#    algorithm the policy is given. In YAML `model: {class_path: my_package.FadingIn, init_args: {...}}`.
class FadingIn(PolicyModule):
    """Credit that grows over the first ten updates."""

    def advantages(self, experience: Experience) -> Credited:
        share = min(1.0, (self.global_step + 1) / 10)
        credited = self.algorithm(experience)
        metrics = {**credited.metrics, "share": torch.tensor(share)}
        return replace(credited, advantages=share * credited.advantages, metrics=metrics)


def train(folder: str, *flags: str) -> dict[str, float]:
    """Two updates with Lenient and the `flags`; gives what was logged of the last window."""
    run = main(
        [
            "fit",
            *flags,
            f"--model.init_args.model={folder}",
            "--model.init_args.algorithm=__main__.Lenient",
            "--data.view.init_args.prompts=2",
            "--rollout.sampling={n: 6, max_new_tokens: 24}",
            "--trainer.max_steps=2",
            "--trainer.limit_val_batches=0",
            "--trainer.logger=false",
            "--trainer.enable_checkpointing=false",
            f"--trainer.default_root_dir={tempfile.mkdtemp()}",
        ]
    )
    return {name: value.item() for name, value in run.trainer.logged_metrics.items()}


if __name__ == "__main__":
    # On paper: of three responses to a prompt the first misses one criterion, which is forgiven, the last one two.
    met = torch.tensor([[True, False], [True, True], [False, False]])
    credited = Lenient()(Experience.by_hand(met))
    assert credited.rewards is not None
    print(credited.rewards.tolist(), credited.advantages[:, 0].tolist())  # mean 2/3, std 0.577: 1/3 / 0.577, twice
    torch.testing.assert_close(credited.advantages[:, 0], torch.tensor([0.5774, 0.5774, -1.1547]), atol=1e-4, rtol=0)

    model = sys.argv[1] if len(sys.argv) > 1 else "models/SmolLM2-135M-Instruct"
    logged = train(model)
    print(f"criteria that a response misses: {logged['rollout/missed']:.2f}")
    logged = train(model, "--model=__main__.FadingIn")
    print(f"share of the credit in the second update: {logged['rollout/share']:.1f}")
    assert abs(logged["rollout/share"] - 0.2) < 1e-6

# Recap: sampling, judging, loss, logging and checkpoints are unchanged. What a scheme returns is looked at once: its
# shape, and 0 outside the response. Its rewards are shown in the table of completions, its metrics are logged as
# `rollout/<name>`. docs/algorithms.md lists what an experience holds.
