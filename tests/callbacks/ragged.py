"""What several tests of rollouts share: responses of ragged lengths, prompts that some of them answer, and a reader."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from rtt_lightning.engines.base import SampleRequest, Sampling
from rtt_lightning.engines.embedded.engine import TransformersEngine
from rtt_lightning.types import Rollout

FP32_SGD = (
    "--model.init_args.lora=null",
    "--model.init_args.optimizer=torch.optim.SGD",
    "--model.init_args.optimizer.init_args={lr: 1.0}",
)
ASKED = {"text": "A question.", "checker": "rtt:question"}
RAGGED = "--rollout.engine=tests.callbacks.ragged.Ragged"


class Ragged(TransformersEngine):
    """Responses of 1 to 8 tokens; those of an even sample index count as finished, the others as cut off."""

    def generate(self, requests: Sequence[SampleRequest], sampling: Sampling, policy_version: int) -> Iterator[Rollout]:
        for row in super().generate(requests, sampling, policy_version):
            length = 1 + (5 * row.group_id + 3 * row.sample_index) % 8
            text = row.text[: row.offsets[length - 1][1]]
            assert row.logprobs is not None
            yield replace(
                row,
                response_ids=row.response_ids[:length],
                offsets=row.offsets[:length],
                logprobs=row.logprobs[:length],
                text=text,
                answer_span=(0, len(text)),
                finish_reason="length" if row.sample_index % 2 else "stop",
            )


def brief(folder: Path, *more: dict[str, Any]) -> str:
    """Data of 4 prompts for answers of at most 3 words, which some of the ragged responses are."""
    criteria = [{"text": "At most 3 words.", "checker": "rtt:max_words", "kwargs": {"n": 3}}, *more]
    rows = [{"id": str(n), "prompt": f"Prompt {n}.", "criteria": criteria} for n in range(4)]
    (folder / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))
    arguments = {"train": str(folder / "data.jsonl")}
    return f"--data.source={json.dumps({'class_path': 'rtt_lightning.RecordFiles', 'init_args': arguments})}"


def rows_of(folder: Path, name: str = "window-000000") -> list[dict[str, Any]]:
    """Rows of a completions file, with the verdicts of a row in ``met``."""
    rows = pq.read_table(folder / f"completions/{name}.parquet").to_pylist()
    return [row | {"met": [criterion["met"] for criterion in json.loads(row["criteria"])]} for row in rows]
