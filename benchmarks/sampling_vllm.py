"""vLLM for `benchmarks.sampling`: samples all responses for each line of its input, and prints the seconds."""

import json
import sys
from pathlib import Path

import torch

from benchmarks.sampling import Work, endless, prepare, sampled, timed
from rtt_lightning.engines import VLLMEngine


def main(folder: str) -> None:
    if not torch.cuda.is_available():
        torch.set_num_threads(1)
    work = Work(*json.loads(Path(folder, "work.json").read_text()))
    policy, requests = prepare(work)
    engine = VLLMEngine(max_model_len=512 + work.tokens, dtype=work.dtype)  # pyright: ignore[reportArgumentType]
    engine.start(policy)
    endless(engine)
    print(json.dumps({"ready": True}), flush=True)
    for _ in sys.stdin:
        engine._engine.reset_prefix_cache()
        print(json.dumps({"seconds": timed(lambda: sampled(engine, requests, work))}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
