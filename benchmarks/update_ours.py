"""Steps of our policy, one for each line of standard input; see `benchmarks.update`."""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch.nn.utils.rnn import pad_sequence

from benchmarks.update import clock
from rtt_lightning.lm.loading import Lora
from rtt_lightning.modules import PolicyModule
from rtt_lightning.runtime.phases import peak_gib

GPU = torch.cuda.is_available()


def batch_of(work: dict[str, Any]) -> dict[str, Any]:
    """A micro-batch that is the whole update."""
    rows = [torch.tensor(response) for response in work["responses"]]
    mask = torch.arange(max(map(len, rows))) < torch.tensor([len(row) for row in rows])[:, None]
    batch = {
        "prompt_ids": torch.tensor(work["prompt"]).repeat(len(rows), 1),
        "prompt_lengths": torch.full((len(rows),), len(work["prompt"])),
        "response_ids": pad_sequence(rows, batch_first=True),
        "response_mask": mask,
        "temperature": torch.ones(len(rows)),
        "advantages": work["advantages"][:, None] * mask,
        "sampler_logprobs": torch.full(mask.shape, torch.nan),
        "update_tokens": mask.sum(),
    }
    moved = {name: value.cuda() if GPU else value for name, value in batch.items()}
    return moved | {"micro_batches": 1, "last_of_update": False}


def main(folder: str, model: str, mode: str, repeats: str) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    policy = PolicyModule(model, lora=Lora() if mode == "lora" else None)
    accelerator = "gpu" if GPU else "cpu"
    policy.trainer = Trainer(accelerator=accelerator, devices=1, precision="bf16-mixed", logger=False)
    policy.configure_model()
    policy.to("cuda" if GPU else "cpu").train()
    trained = {name: weight for name, weight in policy.model.named_parameters() if weight.requires_grad}
    torch.save({name: weight.detach().cpu() for name, weight in trained.items()}, Path(folder, "trained.pt"))
    batch: Any = batch_of(torch.load(Path(folder, "work.pt")))
    print(json.dumps({"ready": True}), flush=True)
    for _ in zip(range(int(repeats)), sys.stdin, strict=False):
        policy.zero_grad(set_to_none=True)
        start = clock()
        with policy.trainer.precision_plugin.train_step_context():
            loss = policy.training_step(batch, 0)
        loss.backward()
        seconds = clock() - start
        gradients = {name: weight.grad.cpu() for name, weight in trained.items() if weight.grad is not None}
        torch.save(gradients, Path(folder, "ours.pt"))
        print(json.dumps({"seconds": seconds, "gib": peak_gib()}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
