"""Discriminators compared: bodies and forms, what counts as relevant, and who labels; several seeds, held-out prompts.

    python -m benchmarks.discriminators runs/discriminators      # two hours on two cores, after `make test`
    python -m benchmarks.discriminators runs/discriminators --only one-pass --seeds '[0]'

Everything is made through `rtt`: responses of the demo model (`predict`), labels (`score` with `DecisiveSpans`,
`annotate`), training (`fit`) and measuring (`validate`) on other prompts and, apart, on prompts with kinds of criteria
that nothing was trained on. A run that is done is not run again. The table has the mean over seeds and, in brackets,
the lowest and highest.
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import auto_cli

from benchmarks.annotators import scripted_annotator, without_labels
from benchmarks.machine import describe
from rtt_lightning.datamodules.prompt_sampler import HELD_OUT_KINDS
from rtt_lightning.datamodules.records import read_judged
from rtt_lightning.relevance.discriminator.checkpoint import load
from rtt_lightning.relevance.discriminator.source import CPU_TOKENS, relevance_of

POLICY = ("--config", "configs/demo/policy.yaml", "--config", "configs/demo/responses.yaml")
PROMPTS = {"train": (176, 1), "test": (128, 7), "unseen": (64, 9)}
"""Number of prompts and their seed, for each set of responses."""
MINILM = {"model": "models/all-MiniLM-L6-v2", "template": "{criterion}", "max_length": 512}
SMOLLM = {"model": "models/SmolLM2-135M-Instruct", "layers": 10, "max_length": 256}
SMOLLM |= {"template": "Criterion: {criterion}\n\nResponse: "}


@dataclass(frozen=True)
class Form:
    """What is trained, and how: learning rate, epochs, pairs or responses per update, and share of uniform pairs."""

    model: dict[str, Any]
    one_pass: bool
    rate: float
    epochs: int
    size: int
    uniform_share: float = 1.0


FORMS = {
    "decoder, pairs": Form(SMOLLM, False, 2e-4, 1, 8),
    "decoder, one pass": Form(SMOLLM, True, 2e-4, 3, 8),
    "encoder, pairs": Form(MINILM, False, 2e-4, 3, 32),
    "encoder, one pass": Form(MINILM, True, 5e-4, 5, 8),
    "encoder, one pass, a third of uniform pairs": Form(MINILM, True, 5e-4, 5, 8, 1 / 3),
}
LABELS = ("rules", "leave-one-out", "script")
"""Who labels: rules; rules asked again without each span; an annotator that is a script, over HTTP."""
METRICS = ("average_precision", "average_precision_per_cell", "brier", "f1")


def main(
    folder: Path,
    seeds: tuple[int, ...] = (0, 1, 2),
    only: str = "",
    labels: tuple[str, ...] = LABELS,
    output: Path | None = None,
) -> None:
    """Run what is not there yet, and print the table.

    Args:
        folder: For all files.
        seeds: Of training.
        only: Part of the names of the forms to run; by default all.
        labels: Kinds of labels; others than rules are learned by the encoder in one pass alone.
        output: JSON file for the table.
    """
    for name in PROMPTS:
        responses(folder, name)
    rows = []
    for label in labels:
        for name, form in FORMS.items():
            if only.replace("-", " ") in name.replace("-", " ") and (label == "rules" or name == "encoder, one pass"):
                runs = [trained(folder, name, form, label, seed) for seed in seeds]
                rows.append({"form": name, "labels": label, **summed_up(runs)})
                print(line(rows[-1]), flush=True)
    if output:
        found = {"machine": describe(), "seeds": list(seeds), "prompts": PROMPTS, "rows": rows}
        output.write_text(json.dumps(found, indent=1) + "\n")


def responses(folder: Path, name: str) -> Path:
    """Sampled and labelled by rules."""
    path = folder / name / "predict.parquet"
    count, seed = PROMPTS[name]
    flags = [f"--data.source.init_args.{key}={value}" for key, value in (("train", count), ("seed", seed))]
    if name == "unseen":
        flags += [
            f"--data.source.init_args.kinds={json.dumps([*HELD_OUT_KINDS])}",
            "--data.source.init_args.withheld=2",
        ]
    if not path.is_file():
        rtt("predict", *POLICY, *flags, "--rollout.output", str(path.parent))
    return path


def labelled(folder: Path, label: str) -> Path:
    """The training responses with labels of a kind."""
    given, path = folder / "train/predict.parquet", folder / f"train/{label}.parquet"
    if label == "rules":
        return given
    if not path.is_file() and label == "leave-one-out":
        rules = yaml.safe_load(Path(POLICY[3]).read_text())["rollout"]["verifier"]  # as the given labels have them
        verifier = {"class_path": "rtt_lightning.DecisiveSpans", "init_args": {"verifier": rules}}
        rtt("score", str(given), f"--rollout.verifier={json.dumps(verifier)}", "--output", str(path))
    if not path.is_file() and label == "script":
        bare = without_labels(given, folder / "train/bare.jsonl")
        with scripted_annotator() as url:
            annotator = (
                "--annotator.model=script",
                f"--annotator.url={url}",
                f"--annotator.file={folder}/script.sqlite",
            )
            rtt("annotate", str(bare), *annotator, "--output", str(path))
    return path


def trained(folder: Path, name: str, form: Form, label: str, seed: int) -> dict[str, Any]:
    """Train and measure, or what an earlier run measured."""
    place = folder / f"{name.replace(', ', '-').replace(' ', '-')}-{label}-{seed}"
    if (place / "result.json").is_file():
        return json.loads((place / "result.json").read_text())
    config = place / "run.yaml"
    place.mkdir(parents=True, exist_ok=True)
    config.write_text(json.dumps(configuration(form, labelled(folder, label), responses(folder, "test"), place, seed)))
    started = time.monotonic()
    rtt("fit", "--config", str(config))
    found: dict[str, Any] = {"seconds": time.monotonic() - started}
    checkpoint = place / "checkpoints"
    for test in ("test", "unseen"):
        data = f"--data.source.init_args.val={responses(folder, test)}"
        rtt(
            "validate",
            "--config",
            str(config),
            data,
            "--ckpt_path",
            str(checkpoint),
            f"--quality.output={place / test}",
        )
        [path] = (place / test).glob("validate-*.json")
        measured = json.loads(path.read_text())
        found[test] = {metric: measured["overall"][metric]["mean"] for metric in METRICS}
        if "deletion" in measured["faithfulness"]:
            sources = measured["faithfulness"]["deletion"]["sources"]
            found[test]["faithfulness"] = next(
                source["area"]["mean"] for who, source in sources.items() if who == "discriminator"
            )
    found["seconds per 1,000 pairs"] = scoring_seconds(str(checkpoint), responses(folder, "test"))
    (place / "result.json").write_text(json.dumps(found, indent=1) + "\n")
    return found


def configuration(form: Form, train: Path, test: Path, place: Path, seed: int) -> dict[str, Any]:
    """Of `rtt fit` and `rtt validate`."""
    optimizer = {"class_path": "torch.optim.AdamW", "init_args": {"lr": form.rate, "weight_decay": 0.0}}
    model = {**form.model, "one_pass": form.one_pass, "warmup_steps": 20, "decay": True, "optimizer": optimizer}
    view = "LabelledResponses" if form.one_pass else "LabelledPairs"
    saves = {"folder": str(place / "checkpoints"), "every": 100_000}
    return {
        "seed_everything": seed,
        "model": {"class_path": "rtt_lightning.DiscriminatorModule", "init_args": model},
        "data": {
            "source": {"class_path": "rtt_lightning.RecordFiles", "init_args": {"train": str(train), "val": str(test)}},
            "view": {
                "class_path": f"rtt_lightning.{view}",
                "init_args": {"batch_size": form.size, "uniform_share": form.uniform_share},
            },
        },
        "trainer": {
            "max_epochs": form.epochs,
            "precision": "32-true",
            "accelerator": "cpu",
            "gradient_clip_val": 1.0,
            "limit_val_batches": 1.0,
            "check_val_every_n_epoch": form.epochs,
            "logger": False,
            "callbacks": [{"class_path": "rtt_lightning.Checkpoints", "init_args": saves}],
        },
    }


def scoring_seconds(checkpoint: str, file: Path) -> float:
    """CPU seconds from texts to relevance in fp32, on one thread, for a thousand pairs; the best of three."""
    torch.set_num_threads(1)
    model = load(checkpoint)
    judged = read_judged(file)[:64]
    texts = [
        each
        for item in judged
        for each in model.together([criterion.text for criterion in item.sample.criteria], item.rollout.answer)
    ]
    pairs = sum(len(item.sample.criteria) for item in judged)
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        relevance_of(model, model.encode(texts), CPU_TOKENS)
        best = min(best, time.process_time() - started)
    return 1000 * best / pairs


def summed_up(runs: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    """Mean, lowest and highest of everything, over the runs."""
    flat = [
        {f"{test} {metric}": value for test in ("test", "unseen") for metric, value in run[test].items()}
        for run in runs
    ]
    for one, run in zip(flat, runs, strict=True):
        one |= {name: run[name] for name in ("seconds", "seconds per 1,000 pairs")}
    return {
        name: [sum(values) / len(values), min(values), max(values)]
        for name in flat[0]
        if (values := [one[name] for one in flat if name in one])
    }


def line(row: dict[str, Any]) -> str:
    numbers = ", ".join(
        "{} {:.3g} ({:.3g}-{:.3g})".format(name, *row[name]) for name in row if isinstance(row[name], list)
    )
    return f"{row['form']}, labels of {row['labels']}: {numbers}"


def rtt(*words: str) -> None:
    """A command, whose output is shown only if it fails."""
    ran = subprocess.run([sys.executable, "-m", "rtt_lightning", *words], capture_output=True, text=True, check=False)
    if ran.returncode:
        sys.exit(f"rtt {' '.join(words)}\n{ran.stdout[-3000:]}\n{ran.stderr[-3000:]}")


if __name__ == "__main__":
    auto_cli(main)
