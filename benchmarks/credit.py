"""How much of a policy gradient is signal: credit for whole responses and for tokens, on the same responses.

    python -m benchmarks.credit [--windows 24]      (after `make demo`, whose discriminator and settings it takes)

The policy stands still, so the gradients of windows differ by their prompts and responses alone. With g of two
different windows, the share of signal is E[g g'] / E[g g]: 0 for noise, 1 where all windows agree. The same with
g' of the response level, which is the gradient of the mean reward, says how far a step along g raises that.
"""

import tempfile

import torch
from jsonargparse import auto_cli
from lightning.pytorch import Callback
from torch import Tensor

from rtt_lightning.commands.run import main as rtt

KINDS = {"response": (1, 0), "token": (0, 1), "both, as in the demo": (1, 0.5), "both, beta 2": (1, 2)}
"""Kinds of credit, as weights alpha and beta of the response and of the token level."""


class Gradients(Callback):
    """Keeps the gradient of each update, ``[parameter]``."""

    def __init__(self) -> None:
        self.found: list[Tensor] = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        self.found.append(torch.cat([p.grad.flatten() for p in pl_module.parameters() if p.grad is not None]))


def main(windows: int = 24) -> None:
    """Compare two kinds of credit.

    Args:
        windows: Of 3 prompts with 8 responses each; 3 at least.
    """
    response, token = (_gradients(*KINDS[kind], windows) for kind in ("response", "token"))
    for kind, (alpha, beta) in KINDS.items():
        gradients = alpha * response + beta * token
        signal, towards = _share(gradients, gradients), _share(gradients, response)
        print(f"{kind}: norm {gradients.norm(dim=1).mean():.3f}, signal {signal:.4f}, towards the reward {towards:.4f}")


def _gradients(alpha: float, beta: float, windows: int) -> Tensor:
    """``[window parameter]``: the same responses each time, as the seeds are the same and nothing is learned."""
    credit = (
        f"--model.init_args.algorithm.init_args.alpha={alpha}",
        f"--model.init_args.algorithm.init_args.beta={beta}",
    )
    with tempfile.TemporaryDirectory() as folder:
        command_line = rtt([
            "fit", "--config=configs/methods/rtt-demo.yaml", "--config=configs/demo/policy.yaml", *credit,
            "--model.init_args.kl_coef=0", f"--trainer.max_steps={windows}",
            "--model.init_args.optimizer.init_args.lr=0", "--trainer.max_time=null", "--trainer.limit_val_batches=0",
            "--trainer.logger=false", f"--rollout.output={folder}", "--rollout.table_every=0",
            "--trainer.callbacks=[{class_path: benchmarks.credit.Gradients}]",
        ])  # fmt: skip
    [kept] = [callback for callback in command_line.trainer.callbacks if type(callback).__name__ == Gradients.__name__]
    return torch.stack(kept.found)


def _share(one: Tensor, other: Tensor) -> float:
    """Mean product between different windows over the mean norms within them; both ``[window parameter]``."""
    products, windows = one @ other.T, len(one)
    between = (products.sum() - products.diag().sum()) / (windows * (windows - 1))
    return float(between / (one.square().sum(1).mean() * other.square().sum(1).mean()).sqrt())


if __name__ == "__main__":
    auto_cli(main)
