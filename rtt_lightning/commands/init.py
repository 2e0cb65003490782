"""`rtt init`: writes a small commented YAML of a run to start from."""

import json
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from rtt_lightning.types.errors import UserError

RUN = """\
# Look first:  rtt data check {data};  rtt doctor --config {file}   (memory, data, judge)
# Run:         rtt fit --config {file}   (goes on from its last checkpoint with --ckpt_path {folder}/checkpoints)
# Compare:     rtt validate --config {file} before, and with --ckpt_path {folder}/checkpoints after training;
#              rtt compare {folder}/completions/validate.parquet {folder}/completions/validate-000100.parquet
model:
  init_args:
    model: {model}  # folder or hub name of an instruct model
    algorithm: {{class_path: rtt_lightning.RTT}}  # or rtt_lightning.FactoredRTT, .GRPO, .GDPO: docs/methods
    lora: {{rank: 16, alpha: 32}}  # null trains all weights
    optimizer:
      class_path: torch.optim.AdamW
      init_args: {{lr: 1.0e-4, weight_decay: 0.0}}  # 1.0e-6 for all weights
data:
  source:
    class_path: rtt_lightning.RecordFiles
    init_args: {{train: {data}}}  # rows: docs/data.md; data.format for those of other projects
  val_share: 0.1  # of the prompts, never trained on
  view:
    class_path: rtt_lightning.PromptWindows
    init_args: {{prompts: 4}}  # per update, each with sampling.n responses
rollout:
  relevance: {{class_path: rtt_lightning.RuleSpans}}  # or a discriminator: methods/rtt.yaml
{verifier}  sampling: {{n: 8, max_new_tokens: 256, temperature: 1.0}}  # 0.8 for small models
  evaluation: {{n: 1, max_new_tokens: 256, temperature: 0.7, top_p: 0.8, top_k: 20}}
  output: {folder}/completions  # parquet, one file per window and per evaluation
trainer:
  max_steps: 100
  precision: auto  # bf16-mixed on a device that computes in bf16, else 32-true
  accumulate_grad_batches: 1  # more: less memory
  gradient_clip_val: 1.0
  check_val_every_n_epoch: null
  val_check_interval: 25  # updates between two evaluations
  logger:
    class_path: lightning.pytorch.loggers.CSVLogger
    init_args: {{save_dir: {folder}, name: logs}}
  callbacks:
    - class_path: rtt_lightning.Checkpoints
      init_args: {{folder: {folder}/checkpoints, every: 25}}
"""
BY_RULE = "  verifier: {{class_path: rtt_lightning.RuleVerifier}}  # `--judge URL` adds a judge for the rest\n"
BY_JUDGE = """\
  verifier:  # rules decide what they can, the judge the rest
    class_path: rtt_lightning.Router
    init_args:
      judge:
        class_path: rtt_lightning.LLMJudge
        init_args:
          url: {judge}
          model: {judge_model}
          key_variable: null  # the environment variable that holds its key, if it needs one
          budget: {{tokens: 10000000}}  # or money, with prompt_price and completion_price per million tokens
          file: {folder}/judge.sqlite  # what was judged once is not asked for again
"""


def command(name: str, args: Sequence[str]) -> None:
    """`rtt init`."""
    parser = ArgumentParser(prog=f"rtt {name}", description="Write a small commented YAML of a run to start from.")
    parser.add_argument("file", type=Path, help="to write, such as mine.yaml")
    parser.add_argument("--model", default="models/SmolLM2-135M-Instruct", help="folder or hub name; %(default)s")
    parser.add_argument("--data", default="train.jsonl", help="file of prompts with rubrics; %(default)s")
    parser.add_argument("--judge", help="URL of a judge with OpenAI's interface, such as http://127.0.0.1:8001/v1")
    parser.add_argument("--judge_model", help="the name of the model there")
    given = parser.parse_args(args)
    if given.file.exists():
        raise UserError(f"{given.file} is there already; give another name, or remove it")
    if (given.judge is None) != (given.judge_model is None):
        raise UserError("a judge needs both --judge URL and --judge_model NAME")
    quoted = {key: json.dumps(value) for key, value in vars(given).items() if key != "file"}  # JSON is YAML as well
    names = quoted | {"file": given.file, "folder": f"runs/{given.file.stem}"}
    verifier = (BY_JUDGE if given.judge else BY_RULE).format(**names)
    given.file.write_text(RUN.format(verifier=verifier, **names))
    print(f"{given.file}: begin with `rtt doctor --config {given.file}`, then `rtt fit --config {given.file}`")
