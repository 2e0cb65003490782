"""The main job end to end, through the same commands that a user types: `make demo`.

Every phase leaves a file, and a phase that ended well and whose file is there is not run again. A killed training by
RTT-GRPO goes on from its last checkpoint.
"""

import csv
import json
import os
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rtt_lightning.reports.comparison import compare, show_comparison
from rtt_lightning.reports.page import write_report
from tutorials.demo.model import FOLDER as MODEL

FOLDER = Path("runs/demo")
POLICY, METHOD = "configs/demo/policy.yaml", "configs/methods/rtt-demo.yaml"
CHECKPOINTS = f"{FOLDER}/rl/checkpoints"
VALIDATE = ("validate", "--config", POLICY, "--trainer.logger", "false")
DISTANCES = ("kl", "kl_per_response", "reference_gap", "reference_gap_per_response")
"""What an evaluation says of the distance to the reference: the former two, or the latter."""
# Threads that spin while they wait for each other are several times slower on a machine that does something else too.
ENVIRONMENT = {"OMP_WAIT_POLICY": "passive", **os.environ}


@dataclass(frozen=True)
class Phase:
    """One command, the file that shows that it is done, and about how long it takes on 2 CPU cores."""

    name: str
    purpose: str
    result: Path
    command: Sequence[str]
    seconds: float


PHASES = (
    Phase(
        "responses",
        "sample responses to label for the discriminator",
        FOLDER / "responses/predict.parquet",
        ("predict", "--config", POLICY, "--config", "configs/demo/responses.yaml"),
        50,
    ),
    Phase(
        "discriminator",
        "train the relevance discriminator",
        FOLDER / "discriminator/discriminator.ckpt",
        ("fit", "--config", "configs/demo/discriminator.yaml"),
        120,
    ),
    Phase(
        "before",
        "score the policy on held-out prompts",
        FOLDER / "before/validate.json",
        (*VALIDATE, "--rollout.output", f"{FOLDER}/before"),
        40,
    ),
    Phase(
        "rl",
        "train the policy by RTT-GRPO",
        FOLDER / "rl/checkpoints/latest",
        # Lightning would validate once more when the time is up.
        (
            "fit",
            "--config",
            METHOD,
            "--config",
            POLICY,
            "--trainer.limit_val_batches",
            "0",
            "--ckpt_path",
            f"{FOLDER}/rl/checkpoints",
        ),
        190,
    ),
    Phase(
        "after",
        "score the trained policy on the same prompts",
        FOLDER / "after/validate-000016.json",
        (*VALIDATE, "--rollout.output", f"{FOLDER}/after", "--ckpt_path", CHECKPOINTS),
        70,
    ),
)


def main(arguments: Sequence[str] = ()) -> int:
    """Run what is not there yet, then compare; returns the exit code."""
    ArgumentParser(prog="python -m tutorials.demo", description=_description()).parse_args(arguments)
    timings_file = FOLDER / "seconds.json"
    FOLDER.mkdir(parents=True, exist_ok=True)
    seconds: dict[str, float] = json.loads(timings_file.read_text()) if timings_file.is_file() else {}
    for number, phase in enumerate(PHASES, start=1):
        if phase.name in seconds and phase.result.is_file():
            print(f"[{number}/{len(PHASES)}] {phase.name}: reusing {phase.result}")
            continue
        for later in PHASES[number - 1 :]:  # which a rerun makes stale; and this one is not done if it is killed
            seconds.pop(later.name, None)
        timings_file.write_text(json.dumps(seconds, indent=2) + "\n")
        left = sum(later.seconds for later in PHASES[number - 1 :])
        print(f"\n[{number}/{len(PHASES)}] {phase.purpose}; about {left / 60:.0f} minutes remain", flush=True)
        print(f"$ rtt {' '.join(phase.command)}", flush=True)
        started = time.monotonic()
        command = [sys.executable, "-m", "rtt_lightning", *phase.command]
        code = subprocess.run(command, check=False, env=ENVIRONMENT).returncode
        if code:
            print(f"{phase.name} ended with exit code {code}; run the same command again after fixing the cause")
            return code
        seconds[phase.name] = round(time.monotonic() - started, 1)
        timings_file.write_text(json.dumps(seconds, indent=2) + "\n")
    results = gather(FOLDER, seconds)
    (FOLDER / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    _show(results)
    print(f"\nresults: {FOLDER / 'results.json'}\nreport:  {write_report(FOLDER)}")
    return 0


def _description() -> str:
    phases = ", ".join(phase.name for phase in PHASES)
    minutes = sum(phase.seconds for phase in PHASES) / 60
    return (
        f"The main job on the demo model, in {len(PHASES)} phases: {phases}. About {minutes:.0f} minutes on two CPU "
        f"cores. Writes {FOLDER}/report.html; a phase that is done is not run again, and a killed training goes on "
        f"from its last checkpoint. Needs {MODEL}, which `make demo` unpacks; `make clean-demo` starts over."
    )


def gather(folder: Path, seconds: Mapping[str, float]) -> dict:
    """Metrics of all phases, from the files that they left."""
    found = compare(folder / "before", folder / "after")
    for name in ("before", "after"):
        written = json.loads(next((folder / name).glob("validate*.json")).read_text())
        found[name] |= {metric: written[f"val/{metric}"] for metric in DISTANCES if f"val/{metric}" in written}
    return {
        **found,
        "discriminator": _discriminator_figures(folder / "discriminator/metrics.csv"),
        "seconds": dict(seconds),
    }


def _discriminator_figures(path: Path) -> dict[str, float]:
    """The last validation row of the discriminator's log."""
    with path.open(encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if row.get("val/average_precision")]
    return {name.removeprefix("val/"): float(value) for name, value in rows[-1].items() if name.startswith("val/")}


def _show(results: Mapping[str, dict]) -> None:
    show_comparison(results, "held-out prompts, before and after")
    metrics = ", ".join(f"{name} {value:.3f}" for name, value in results["discriminator"].items())
    print(f"discriminator on held-out prompts: {metrics}")
    spent = ", ".join(f"{name} {value:.0f}" for name, value in results["seconds"].items())
    print(f"seconds: {spent}; {sum(results['seconds'].values()) / 60:.1f} minutes in all")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
