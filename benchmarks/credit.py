"""How much of a policy gradient is signal, and what a step buys: every scheme on the same responses.

    python -m benchmarks.credit --windows 120 --output benchmarks/results/credit.json      # an hour or two on two cores
    python -m benchmarks.credit --windows 7 --schemes '[grpo-csr, rtt]'

The policy stands still, so the gradients of windows (3 prompts x 8 responses, as in the demo) differ by their prompts
and responses alone. Relevance is that of rules' spans, unless a scheme's name says otherwise.

- *signal*: with g of two different windows, E[g g'] / E[g g]: 0 for noise, 1 where all windows agree.
- *gain*: what a step along the gradient of one window buys in mean reward (satisfaction rate), to first order, at a KL
  of 1 nat per response: E[r g] sqrt(2 / E[g F g]), r the gradient of the mean reward and F the Fisher information of a
  response. Both are of another window: with d the change of a response's log-prob along g, from finite differences, g F
  g is the mean of d^2 and r g that of d times the response's reward above the others of its group.

Standard errors by jackknife over windows; a dash where windows with a gradient are too few for them.
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jsonargparse import auto_cli
from torch import Tensor

import rtt_lightning as rtt
from benchmarks.machine import describe
from rtt_lightning.algorithms.checks import Returned
from rtt_lightning.commands.run import main as run
from rtt_lightning.functional.advantages import gated_intra_sample, inter_sample
from rtt_lightning.functional.rewards import all_or_nothing
from rtt_lightning.modules import PolicyModule
from rtt_lightning.types import Experience

SCHEMES: dict[str, rtt.Algorithm] = {
    "grpo-csr": rtt.GRPO(),
    "grpo-aon": rtt.GRPO(all_or_nothing),
    "rloo": rtt.RLOO(),
    "gdpo": rtt.GDPO(),
    "cripo": rtt.CriPO(),
    "rtt": rtt.RTT(),
    "rtt, token level alone": rtt.RTT(alpha=0.0, beta=1.0),
    "rtt, inter-sample": rtt.RTT(partition=inter_sample),
    "rtt, gated": rtt.RTT(partition=gated_intra_sample),
    "rtt, random relevance": rtt.RTT(),
    "factored": rtt.FactoredRTT(),
    "factored, alpha 0": rtt.FactoredRTT(alpha=0.0),
    "factored, end token": rtt.EndToken(rtt.FactoredRTT()),
}
RANDOM = "random relevance"
CHANGE = 0.1
"""Root mean square of the change of a response's log-prob that derivatives are found from, in nats, about."""
SETTINGS = (
    "--config=configs/methods/rtt.yaml", "--config=configs/demo/policy.yaml",
    "--rollout.relevance=rtt_lightning.RuleSpans",
    "--model=benchmarks.credit.AllSchemes", "--model.init_args.kl_coef=0", "--trainer.precision=32-true",
    "--trainer.max_time=null", "--trainer.limit_val_batches=0", "--trainer.logger=false", "--trainer.callbacks=null",
    "--rollout.table_every=0", "--rollout.output=null",
)  # fmt: skip


class AllSchemes(PolicyModule):
    """Keeps the gradient of each scheme on each window, and does not learn.

    Attributes:
        schemes: Their names.
        every: Windows between two gradients of which it is measured what they buy.
        gradients: ``[parameter]`` of each scheme and window: norm, and direction in half precision.
        gains: (r g, g F g) of each scheme, from some windows.
    """

    schemes: Sequence[str] = ()
    every = 3

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.gradients: dict[str, list[tuple[float, Tensor]]] = {name: [] for name in self.schemes}
        self.gains: dict[str, list[tuple[float, float]]] = {name: [] for name in self.schemes}
        self._last: dict[str, list[Tensor]] = {}
        self._steps = dict.fromkeys(self.schemes, 1e-2)

    def advantages(self, experience: Experience) -> Returned:
        self._experience = experience
        return super().advantages(experience)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        experience, weights = self._experience, [p for p in self.parameters() if p.requires_grad]
        for name, gradient in self._last.items():  # of the window before
            self.gains[name].append(self._bought(batch, weights, gradient, name))
        logprobs, _ = self.response_logprobs(batch)  # one micro-batch holds all rows, in order
        self._last = {}
        for name in self.schemes:
            advantages = SCHEMES[name](with_relevance(experience, name)).advantages
            objective = (advantages * logprobs).sum() / batch["response_mask"].sum()
            found = torch.autograd.grad(objective, weights, retain_graph=True)
            flat = torch.cat([part.flatten() for part in found])
            norm = float(flat.norm())
            self.gradients[name].append((norm, (flat / max(norm, 1e-12)).half()))
            if len(self.gradients[name]) % self.every == 0:
                self._last[name] = list(found)
        return 0.0 * logprobs.sum()

    @torch.no_grad()
    def _bought(
        self, batch: Any, weights: Sequence[Tensor], gradient: Sequence[Tensor], name: str
    ) -> tuple[float, float]:
        """r g and g F g, on the responses of this window."""
        norm = float(torch.cat([part.flatten() for part in gradient]).norm())
        if not norm:
            return 0.0, 0.0
        apart = rtt.RLOO()(self._experience).advantages[:, 0]
        change = torch.zeros(len(apart))
        for _ in range(2):  # the first finds how far to go
            step = self._steps[name] / norm
            ends = []
            for side in (step, -step):
                for weight, part in zip(weights, gradient, strict=True):
                    weight.add_(part, alpha=side)
                logprobs, _ = self.response_logprobs(batch)
                ends.append((logprobs * batch["response_mask"]).sum(1))
                for weight, part in zip(weights, gradient, strict=True):
                    weight.sub_(part, alpha=side)
            change = (ends[0] - ends[1]) / 2
            size = float(change.square().mean().sqrt())
            if CHANGE / 3 < size < CHANGE * 3:
                break
            self._steps[name] *= CHANGE / max(size, CHANGE / 1000)
        rate = change.double() / (self._steps[name] / norm)
        return float((apart * rate).mean()), float(rate.square().mean())


def with_relevance(experience: Experience, name: str) -> Experience:
    """The experience as a scheme sees it."""
    if RANDOM not in name:
        return experience
    generator = torch.Generator().manual_seed(int(experience.response_ids.sum()))
    return replace(experience, relevance=torch.rand(experience.relevance.shape, generator=generator))


def main(
    windows: int = 120, schemes: tuple[str, ...] = tuple(SCHEMES), every: int = 3, output: str | None = None
) -> None:
    """Compare schemes.

    Args:
        windows: Of 3 prompts with 8 responses each; 2 every + 1 at least, for two gains.
        schemes: Names of those to compare.
        every: Windows between two measurements of gains.
        output: JSON file for what is printed.
    """
    if windows < (least := 2 * every + 1):
        raise SystemExit(f"windows is {windows}; a gain with an error needs at least {least}, with --every {every}")
    AllSchemes.schemes, AllSchemes.every = schemes, every
    command_line = run(
        ["fit", *SETTINGS, f"--trainer.max_steps={windows}", f"--data.source.init_args.train={3 * windows}"]
    )
    policy: Any = command_line.model
    rows = []
    for name in schemes:
        norms = [norm for norm, _ in policy.gradients[name]]
        directions = torch.stack([direction for _, direction in policy.gradients[name]])
        signal = jackknife(share, gram(directions, torch.tensor(norms)), square=True)
        gain = jackknife(bought, torch.tensor(policy.gains[name], dtype=torch.double), square=False)
        rows.append({"scheme": name, "norm": sum(norms) / len(norms), "signal": signal, "gain": gain})
        print(f"{name}: norm {rows[-1]['norm']:.3f}, signal {shown(signal)}, gain {shown(gain)}", flush=True)
    if output:
        found = {
            "machine": describe(),
            "command": f"python -m benchmarks.credit {' '.join(sys.argv[1:])}",
            "rows": rows,
        }
        Path(output).write_text(json.dumps(found, indent=1) + "\n")


def gram(directions: Tensor, norms: Tensor) -> Tensor:
    """``[window window]``, inner products of gradients."""
    size = len(directions)
    found = torch.zeros(size, size, dtype=torch.double)
    for rows in directions.split(2**18, dim=1):  # in fp32, a part of the parameters at a time
        found += (rows.float() @ rows.float().T).double()
    return found * norms.double()[:, None] * norms.double()


def share(products: Tensor) -> Tensor:
    """Mean product between different windows over the mean within them."""
    windows, within = len(products), products.diag().sum()
    return (products.sum() - within) / (windows - 1) / within


def bought(gains: Tensor) -> Tensor:
    """``[window 2]``, r g and g F g, to the gain at a KL of 1: a step s has a KL of s^2 g F g / 2."""
    along, square = gains.mean(0)
    return along * (2 / square).sqrt()


def jackknife(statistic: Callable[[Tensor], Tensor], values: Tensor, square: bool) -> tuple[float, float] | None:
    """A statistic of windows with its standard error, each window left out once.

    Args:
        statistic: Of ``values``.
        values: ``[window ...]``, or ``[window window]``.
        square: Whether both axes are windows.

    Returns:
        ``None`` where it is not defined, as without gradients.
    """
    count = len(values)
    left = [[*range(i), *range(i + 1, count)] for i in range(count)]
    found = torch.stack([statistic(values[rows][:, rows] if square else values[rows]) for rows in left])
    error = ((count - 1) / count * (found - found.mean()).square().sum()).sqrt()
    return None if error.isnan() else (float(statistic(values)), float(error))


def shown(found: tuple[float, float] | None) -> str:
    """A value with its error in brackets."""
    return "-" if found is None else f"{found[0]:.4f} ({found[1]:.4f})"


if __name__ == "__main__":
    auto_cli(main)
