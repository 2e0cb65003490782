"""Digests of short seeded runs: losses, advantages and weights, to show that a change of the code changes no number.

    python -m benchmarks.seeded FOLDER

Run it before and after in the same environment and compare what it prints. In fp32 with one thread; GRPO with either
reward, RTT with rule spans and with a discriminator, and that discriminator, on one process and on two.
"""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path

import pyarrow.parquet as pq
import torch
from jsonargparse import auto_cli

from benchmarks.random_models import TINY, save_random_model

GRPO = ["--model.init_args.algorithm=rtt_lightning.GRPO"]
AON = [*GRPO, "--model.init_args.algorithm.init_args.response_reward=rtt_lightning.functional.rewards.all_or_nothing"]
RTT = [
    "--model.init_args.algorithm=rtt_lightning.RTT",
    "--model.init_args.algorithm.init_args={std_floor: 0.01, advantage_clip: 3.0}",
]
DISCRIMINATOR = ["--model=rtt_lightning.DiscriminatorModule", "--model.init_args.max_length=200"]
KL = ["--model.init_args.kl_coef=0.1", "--model.init_args.entropy_coef=0.01"]
SPANS = ["--rollout.relevance=rtt_lightning.RuleSpans"]
POLICY = [
    "--config=tests/assets/tiny_policy.yaml", "--data.view.init_args={prompts: 4, updates: 2}",
    "--rollout.sampling={n: 4, max_new_tokens: 60}", "--trainer.max_steps=6", *KL,
]  # fmt: skip
FEW_WORDS = TINY | {"vocab_size": 280}
RUBRICS = (
    {"rtt:no_commas": {}, "rtt:include_number": {}},
    {"rtt:exclamation": {}, "rtt:no_commas": {}, "rtt:include_word": {"word": "aa"}},
    {"rtt:question": {}, "rtt:include_word": {"word": "ab"}, "rtt:include_number": {}, "rtt:max_words": {"n": 40}},
)
"""Criteria that random words meet now and then."""
TRAINER = [
    "--trainer.accelerator=cpu", "--trainer.precision=32-true", "--trainer.accumulate_grad_batches=2",
    "--trainer.limit_val_batches=0", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false",
]  # fmt: skip
ONE_THREAD = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def main(folder: Path) -> None:
    """Run all and print a line for each.

    Args:
        folder: For what the runs write; new or empty.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        sys.exit(f"{folder} holds files already: give a new or an empty folder")
    model = [f"--model.init_args.model={save_random_model(folder / 'model', FEW_WORDS)}"]
    data = [*model, _records(_prompts(folder / "prompts.jsonl"))]
    for processes in (1, 2):
        _fit(folder / f"grpo-{processes}", processes, POLICY, GRPO, data)
        _fit(folder / f"grpo-aon-{processes}", processes, POLICY, AON, data)
        _fit(folder / f"rtt-{processes}", processes, POLICY, RTT, data, SPANS)
        first = folder / f"rtt-{processes}/windows/window-000000{'-rank0' if processes == 2 else ''}.parquet"
        view = "--data.view={class_path: rtt_lightning.LabelledPairs, init_args: {batch_size: 3}}"
        trained = folder / f"discriminator-{processes}"
        _fit(trained, processes, DISCRIMINATOR, model, [_records(first), view, "--trainer.max_epochs=1"])
        [checkpoint] = (trained / "checkpoints").glob("*.ckpt")
        rated = f"{{class_path: rtt_lightning.DiscriminatorRelevance, init_args: {{checkpoint: {checkpoint}}}}}"
        rated = [f"--rollout.relevance={rated}", "--model.init_args.algorithm.init_args.std_floor=0"]
        _fit(folder / f"rtt-rated-{processes}", processes, POLICY, RTT, data, rated)


def _prompts(path: Path) -> Path:
    """Twelve prompts; what is asked does not matter."""
    rows = [
        {"prompt": f"Number {number}", "criteria": [{"text": n, "checker": n, "kwargs": rubric[n]} for n in rubric]}
        for number, rubric in enumerate(RUBRICS * 4)
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def _records(file: Path) -> str:
    return f"--data.source={_part('rtt_lightning.RecordFiles', train=file)}"


def _part(class_path: str, **arguments: object) -> str:
    """A class with its arguments, as a flag takes it."""
    return json.dumps({"class_path": class_path, "init_args": {name: str(value) for name, value in arguments.items()}})


def _fit(folder: Path, processes: int, *arguments: Iterable[str]) -> None:
    """Run `rtt fit`, and print the digests of what it left."""
    saved = _part("rtt_lightning.Checkpoints", folder=folder / "checkpoints")
    files = [
        f"--trainer.default_root_dir={folder}", "--trainer.enable_checkpointing=true",
        f"--trainer.logger={_part('lightning.pytorch.loggers.CSVLogger', save_dir=folder, name='logs')}",
        f"--trainer.callbacks=[{saved}]",
        *([] if "discriminator" in folder.name else [f"--rollout.output={folder}/windows"]),
        *(["--trainer.strategy=ddp"] if processes > 1 else []), f"--trainer.devices={processes}",
    ]  # fmt: skip
    given = [argument for group in arguments for argument in group]
    launcher = ["torch.distributed.run", f"--nproc-per-node={processes}", "-m"] if processes > 1 else []
    command = [sys.executable, "-m", *launcher, "rtt_lightning", "fit", *given, *TRAINER, *files]
    done = subprocess.run(command, env={**os.environ, **ONE_THREAD}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{folder.name} failed\n{done.stderr[-5000:]}")
    found = {"losses": _losses(folder), "advantages": _advantages(folder), "weights": _weights(folder)}
    print(folder.name, *(f"{name} {_digest(values)}" for name, values in found.items()), sep="  ", flush=True)


def _losses(folder: Path) -> list[str]:
    [log] = folder.glob("logs/*/metrics.csv")
    with log.open() as lines:
        return [row["train/loss"] for row in csv.DictReader(lines) if row["train/loss"]]


def _advantages(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob("windows/*.parquet")):
        for row in pq.read_table(path).to_pylist():
            yield repr((row["response_ids"], row["advantages"]))


def _weights(folder: Path) -> Iterator[str]:
    [path] = (folder / "checkpoints").glob("*.ckpt")
    for name, weight in sorted(torch.load(path, weights_only=True)["state_dict"].items()):
        yield f"{name} {weight.flatten().tolist()}"


def _digest(values: Iterable[str]) -> str:
    given = [*values]
    return f"{sha256(chr(10).join(given).encode()).hexdigest()[:16]} ({len(given)})"


if __name__ == "__main__":
    auto_cli(main, as_positional=True)
