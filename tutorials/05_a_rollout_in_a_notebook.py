"""Tutorial 5: a rollout in a notebook.

Goal: from any model and tokenizer to sampled, judged, weighed and credited responses, without a trainer. Runs on a CPU
in half a minute, as a script or cell by cell; the model folder is the one that `make demo` unpacks:

    python tutorials/05_a_rollout_in_a_notebook.py [MODEL_FOLDER]
"""

import sys
from pathlib import Path

from transformers import AutoModelForCausalLM, AutoTokenizer

from rtt_lightning import GRPO, RTT, Collector, Criterion, LoadedModel, RubricSample, RuleSpans, Sampling
from rtt_lightning.reports.completions import print_window

folder = next((argument for argument in sys.argv[1:] if Path(argument).is_dir()), "models/SmolLM2-135M-Instruct")

# 1. A prompt with its rubric. Each criterion names what decides it; here these are rules.
tea = RubricSample(
    id="tea",
    messages=({"role": "user", "content": "Say something about tea in one sentence. Mention China. Use no commas."},),
    criteria=(
        Criterion("Mention China.", "rtt:include_word", {"word": "China"}),
        Criterion("Use no commas.", "rtt:no_commas"),
        Criterion("At most 15 words.", "rtt:max_words", {"n": 15}),
    ),
    task="Say something about tea in one sentence.",
)

# 2. A model of `transformers`, on any device; and what samples, judges and weighs. By default responses come from the
#    model itself and verdicts from rules; `Collector(engine, verifier, relevance)` takes others, like a `VLLMEngine`,
#    an `LLMJudge`, or a trained discriminator.
policy = LoadedModel(AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder))
collector = Collector(relevance=RuleSpans())
collector.sync(policy)  # again whenever the weights have changed

# 3. Sample and judge. The same seed and window give the same responses; another window gives others.
judged = collector.collect([tea], Sampling(n=6, max_new_tokens=40))
for item in judged[:2]:
    print(repr(item.rollout.text))
    for criterion, verdict in zip(item.sample.criteria, item.verdicts, strict=True):
        print("   ", criterion.text, verdict.met, f"({verdict.reason})")

# 4. Weigh their tokens, and give credit. An experience holds tensors; `experience.relevance` is [batch rubric token].
experience = collector.experience(judged)
print(experience)
credited = RTT(beta=0.5)(experience)
print(credited)
print_window(0, judged, credited, rows=3)

# 5. Schemes are compared on the very same responses: what each word of the best one earns under GRPO and under RTT.
plain = GRPO()(experience)
assert plain.rewards is not None
best = int(plain.rewards.argmax())
rollout = judged[best].rollout
for (start, end), flat, token in zip(rollout.offsets, plain.advantages[best], credited.advantages[best], strict=False):
    print(f"{rollout.text[start:end]!r:>16} {flat:+.2f} {token:+.2f} {'#' * round(10 * abs(float(token)))}")

# Recap: `sync`, `collect`, `experience`, and an algorithm: by hand what a training run does in each window. There the
# same parts are named in YAML: `rollout.engine`, `rollout.verifier`, `rollout.relevance`, `model.init_args.algorithm`.
