"""Tutorial 3: your own data, by an adapter of ten lines.

Goal: take rows as you have them, turn them into prompts with rubrics, look at them, score answers that you have, and
train on them. Runs on a CPU in a minute; the model folder is the one that `make demo` unpacks:

    python tutorials/03_your_own_data.py [MODEL_FOLDER]

For the formats that others publish (`rtt data check --help` lists them) no adapter is needed: name the format.
"""

import json
import sys
import tempfile
from pathlib import Path

from rtt_lightning import Adapter
from rtt_lightning.cli import answer
from rtt_lightning.commands.run import main
from rtt_lightning.datamodules.adapters.base import Row
from rtt_lightning.datamodules.records import read_records

# 1. Rows as a shop might have them: a question, and house rules in words.
ROWS = [
    {"question": "Which tea wakes me up?", "rules": ["At most 40 words", "Must include the keyword 'Assam'"]},
    {"question": "Which tea calms me?", "rules": ["At most 2 sentences", "Do not use the word 'sleep'", "Be kind"]},
]


# 2. An adapter: one row in, one record out. A rule in words becomes a check if it is understood to the last word; the
#    others are for a judge; a criterion may also name its checker, see docs/data.md. What an adapter gets wrong is
#    reported with the line of the file.
class HouseRules(Adapter):
    def __call__(self, row: Row) -> Row:
        return {
            "prompt": f"{row['question']} {'. '.join(row['rules'])}.",
            "task": row["question"],
            "criteria": row["rules"],
        }


if __name__ == "__main__":
    model = sys.argv[1] if len(sys.argv) > 1 else "models/SmolLM2-135M-Instruct"
    folder = Path(tempfile.mkdtemp())
    (folder / "shop.jsonl").write_text("\n".join(json.dumps(row) for row in ROWS))
    for record in read_records(folder / "shop.jsonl", HouseRules()):
        print(record.sample.task, *(f"\n  {c.checker}: {c.text}" for c in record.sample.criteria))

    data = [
        "--data.format=__main__.HouseRules",
        "--data.source=rtt_lightning.RecordFiles",
        "--rollout.verifier=rtt_lightning.RuleVerifier",
        "--rollout.verifier.undecidable=unscorable",  # "Be kind" is masked until a judge decides it
    ]

    # 3. Score answers that you already have; no model is loaded. The line for scripts is in validate.jsonl.
    prompts = [record.sample.messages[0]["content"] for record in read_records(folder / "shop.jsonl", HouseRules())]
    answers = ["Take Assam.", "Camomile: it brings sleep."]
    lines = [json.dumps({"prompt": p, "response": r}) for p, r in zip(prompts, answers, strict=True)]
    (folder / "answers.jsonl").write_text("\n".join(lines))
    here = f"--data.source.init_args.val={folder}/shop.jsonl"
    answer(["score", f"{folder}/answers.jsonl", *data, here, f"--rollout.output={folder}"])
    print((folder / "validate.jsonl").read_text())

    # 4. Train on them.
    run = main(
        [
            "fit",
            *data,
            f"--data.source.init_args.train={folder}/shop.jsonl",
            "--data.view.init_args.prompts=2",
            "--model=rtt_lightning.PolicyModule",
            f"--model.init_args.model={model}",
            "--rollout.sampling={n: 4, max_new_tokens: 24}",
            "--trainer.max_steps=1",
            "--trainer.logger=false",
            "--trainer.enable_checkpointing=false",
            f"--trainer.default_root_dir={folder}",
        ]
    )
    print(f"share of unscorable criteria: {run.trainer.logged_metrics['rollout/unscorable'].item():.2f}")

# Recap: `data.source` says where rows come from, `data.format` how they are read, `data.view` what a batch is. A
# criterion is decided by its checker's id; where nothing decides it, it is masked, never counted as unmet.
