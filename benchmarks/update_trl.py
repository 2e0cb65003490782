"""Steps of TRL's trainer, one for each line of standard input; see `benchmarks.update`. Needs TRL."""

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "TRL_EXPERIMENTAL_SILENCE": "1", "WANDB_MODE": "disabled"}

import torch
from datasets import Dataset  # pyright: ignore[reportMissingImports]
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer  # pyright: ignore[reportMissingImports]

from benchmarks.update import clock
from rtt_lightning.runtime.phases import peak_gib

GPU = torch.cuda.is_available()


def main(folder: str, model: str, mode: str, repeats: str) -> None:
    torch.set_num_threads(1)
    work = torch.load(Path(folder, "work.pt"))
    count, longest = len(work["responses"]), max(map(len, work["responses"]))
    rewards = iter(work["rewards"] * int(repeats))

    def given(prompts: list[Any], trainer: Any) -> dict[str, Any]:
        logprobs = [[-1.0] * len(response) for response in work["responses"]]
        return {"prompt_ids": [work["prompt"]] * count, "completion_ids": work["responses"], "logprobs": logprobs}

    class Stepwise(GRPOTrainer):
        def _prepare_inputs(self, *args: Any, **kwargs: Any) -> Any:
            """Sampling and rewards, which are given: not what is timed."""
            prepared = super()._prepare_inputs(*args, **kwargs)
            self.started = clock()
            return prepared

        def training_step(self, *args: Any, **kwargs: Any) -> Any:
            if self.state.global_step == 0:
                with torch.no_grad():
                    start = torch.load(Path(folder, "trained.pt"))
                    for name, weight in self.model.named_parameters():
                        if name in start:
                            weight.copy_(start[name])
                print(json.dumps({"ready": True}), flush=True)
            sys.stdin.readline()
            loss = super().training_step(*args, **kwargs)
            seconds = clock() - self.started
            trained = [(name, weight) for name, weight in self.model.named_parameters() if weight.grad is not None]
            torch.save({name: weight.grad.cpu() for name, weight in trained}, Path(folder, "trl.pt"))
            print(json.dumps({"seconds": seconds, "gib": peak_gib()}), flush=True)
            return loss

    config = GRPOConfig(
        output_dir=folder,
        per_device_train_batch_size=count,
        num_generations=count,
        gradient_accumulation_steps=1,
        steps_per_generation=1,
        max_completion_length=max(longest, 256),
        max_steps=int(repeats),
        bf16=True,
        gradient_checkpointing=False,
        logging_steps=1000,
        report_to=[],
        save_strategy="no",
        use_cpu=not GPU,
        learning_rate=0.0,
        beta=0.0,
        loss_type="dapo",
    )
    lora = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    dtype = torch.bfloat16 if mode == "lora" else torch.float32
    Stepwise(
        model=AutoModelForCausalLM.from_pretrained(model, dtype=dtype),
        reward_funcs=lambda completions, **_: [next(rewards) for _ in completions],
        args=config,
        train_dataset=Dataset.from_dict({"prompt": ["x"] * 64}),
        processing_class=AutoTokenizer.from_pretrained(model),
        rollout_func=given,
        **({"peft_config": lora} if mode == "lora" else {}),
    ).train()


if __name__ == "__main__":
    main(*sys.argv[1:])
