"""docs/metrics.md names every figure that is logged, and none that is not."""

import re
from pathlib import Path

import torch

from rtt_lightning.commands.run import main
from rtt_lightning.functional.accuracy import accuracy_metrics
from tests.callbacks.elsewhere import AHEAD
from tests.conftest import ROOT
from tests.modules.test_discriminator import fit

DISTANCES = {"kl", "kl_per_response", "reference_gap", "reference_gap_per_response"}
EVALUATED = {*DISTANCES, "coherence", "length"}
NEEDS_A_JUDGE = {f"rollout/judge_{what}" for what in ("calls", "prompt_tokens", "completion_tokens", "money")}
NEEDS_A_GPU = {"time/flops_utilisation"}
OF_SCHEMES = {"passed", "flipped", "contrast_lambda", "without_contrast", "trained_share"}
"""That no run here has; tests of these schemes look at them."""


def documented() -> set[str]:
    """Names of the page's tables under the prefix of their section, ``<checker>`` as it stands there."""
    names: set[str] = set()
    for section in (ROOT / "docs/metrics.md").read_text().split("\n## ")[1:]:
        title, _, body = section.partition("\n")
        cells = re.findall(r"^\| (`[^|]+) \|", body, re.MULTILINE)
        found = [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]
        names |= {f"{prefix}/{name}" for prefix in re.findall(r"`(\w+)/`", title) for name in found}
    accuracies = accuracy_metrics(torch.ones(8, dtype=torch.long))
    return names | {f"{stage}/{name}" for stage in ("val", "test") for name in {*accuracies, *EVALUATED}}


def logged(policy_args, tmp_path: Path, tiny_model: str) -> set[str]:
    validates = ("--trainer.val_check_interval=2", "--trainer.limit_val_batches=1", "--side_effects.bare_tasks=2")
    policy = policy_args("fit", "--model.init_args.kl_coef=0.1", "--trainer.check_val_every_n_epoch=null")
    judged = ("--watch.judge=rtt_lightning.verifiers.rules.RuleVerifier", "--watch.every=1")
    others = ("--rollout.verifier=rtt_lightning.DecisiveSpans", "--model.init_args.kl_target=1")
    runs = [
        main([*policy, *validates, *judged, *AHEAD, *others]),
        main(
            [
                *policy,
                *validates,
                "--model.init_args.algorithm=rtt_lightning.FactoredRTT",
                "--rollout.sampling.top_p=0.9",
                "--rollout.evaluation.top_p=1",
                "--rollout.evaluation.top_k=0",
            ]
        ),
        fit(tmp_path, tiny_model, "--trainer.max_epochs=1"),
    ]
    names = {name for run in runs for name in run.trainer.callback_metrics}
    return {re.sub(r"(accuracy/).*", r"\1<checker>", name) for name in names}


def test_the_page_is_complete(policy_args, tmp_path: Path, tiny_model: str) -> None:
    known, found = documented(), logged(policy_args, tmp_path, tiny_model)
    assert sorted(found - known) == []
    unseen = {name for name in known - found if not name.startswith("test/")}  # as those of `val/`
    assert sorted(unseen - NEEDS_A_JUDGE - NEEDS_A_GPU - {f"rollout/{name}" for name in OF_SCHEMES}) == []
