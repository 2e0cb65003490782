"""Tutorial 2: your own reward scheme, by subclassing.

Goal: replace the advantage of GRPO by one of your own in a dozen lines, and train with it. Runs on a CPU in a minute;
the model folder is the one that `make demo` unpacks:

    python tutorials/02_your_own_reward_scheme.py [MODEL_FOLDER]
"""

import sys
import tempfile

from torch import Tensor

from rtt_lightning.cli import main
from rtt_lightning.functional.advantages import group_normalize
from rtt_lightning.modules.policy import PolicyModule
from rtt_lightning.types import Experience


class Lenient(PolicyModule):
    """Response-level credit that forgives one criterion that is not as desired."""

    def advantages(self, experience: Experience) -> tuple[Tensor, dict[str, Tensor]]:
        missed = (experience.exists & ~experience.as_desired).sum(1)
        rewards = (missed <= 1).float()
        advantages = group_normalize(rewards, experience.decided, experience.group_ids)
        return advantages[:, None] * experience.response_mask, {"forgiven": (missed == 1).float().mean()}


if __name__ == "__main__":
    folder = sys.argv[1] if len(sys.argv) > 1 else "models/SmolLM2-135M-Instruct"
    # The same as in YAML: `model: {class_path: my_package.Lenient, init_args: {model: ...}}`.
    run = main(
        [
            "fit",
            "--model=__main__.Lenient",
            f"--model.init_args.model={folder}",
            "--data.view.init_args.prompts=2",
            "--rollout.sampling={n: 4, max_new_tokens: 24}",
            "--trainer.max_steps=2",
            "--trainer.limit_val_batches=0",
            "--trainer.logger=false",
            "--trainer.enable_checkpointing=false",
            f"--trainer.default_root_dir={tempfile.mkdtemp()}",
        ]
    )
    forgiven = run.trainer.logged_metrics["rollout/forgiven"].item()
    print(f"share of responses that one missed criterion was forgiven: {forgiven:.2f}")

# Recap: `advantages` gets the judged window as one typed object and returns `[batch token]`; sampling, judging, loss,
# logging and checkpoints are unchanged. Scalars that it returns beside are logged as `rollout/<name>`.
