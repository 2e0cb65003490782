"""How the training forward computes each family of models, and how far its log-probs are from the model's own logits.

Of every family that `transformers` has a causal language model for, a tiny random one is made and checked as a run
checks its policy (`rtt_lightning/lm/selfcheck.py`), in fp32 and in bf16-mixed. Then, in fp32, the log-probs of nine
responses of up to 40 tokens to three prompts are compared with those of each row alone, by the model's own logits: so
that windows of 8 tokens, recurrences and sparse layers count, which a check of few tokens does not reach.

    python -m benchmarks.families                  # all, to docs/families.md; about 5 minutes
    python -m benchmarks.families llama opt        # these, to the terminal
    python -m benchmarks.families --demo FOLDER    # seconds of the check that a run begins with, for a real model
"""

import argparse
import os
import re
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from torch import Tensor
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from benchmarks.tiny_families import VOCABULARY, tiny_model
from rtt_lightning.lm.forward import longest_rows, may_share, response_logprobs
from rtt_lightning.lm.kernels import use_own_kernels
from rtt_lightning.lm.loading import checkpoint_activations, refuse_unusual_head
from rtt_lightning.lm.selfcheck import ForwardCheck, a_few_tokens, check_forward
from rtt_lightning.modules import PolicyModule

PAGE = Path(__file__).parents[1] / "docs/families.md"
HEAD = """# Families of models

Written by `python -m benchmarks.families`, with transformers {transformers} and torch {torch}: a tiny random model of
every family that could be built, {built} of {known}: {shared} shared, {rows} rows, {refused} refused. In bf16-mixed
{alike}.

- *shared*: responses share the computation of their prompt. *rows*: each has a prompt of its own. A run finds out at
  its start, from two responses of 16 and 12 tokens to a prompt of 8, and says where it cannot share what looked as if
  it could. Windows, recurrences and sparse layers are read from the configuration: rows.
- *refused*: a run ends at its start, with this reason: its log-probs would not be those of the model.
- *up to*: longer rows are refused, as their log-probs depend on the rows beside them: LongRoPE and dynamic NTK beyond
  the original length (with vLLM, keep `max_model_len` within it too), sparse layers beyond the keys that they look at.
  The number is that of the tiny model.
- *error*: largest difference in nats between the log-probs of the training forward and those by the model's own
  logits, each row alone, in fp32, over nine responses of up to 40 tokens.
- *of rounding*: the error that the check at the start found, as a share of what it allows for rounding.
- *recomputed*: whether `gradient_checkpointing` is there, and changes nothing.

| family | responses | error | of rounding | recomputed |
|---|---|---|---|---|
"""


class Outcome(NamedTuple):
    """What is known of a family.

    Attributes:
        way: ``shared``, ``rows`` or ``refused: <reason>``.
        error: Largest difference in log-probs, in nats.
        rounding: What the check found, as a share of what it allows.
        recomputed: Of layers whose activations are recomputed.
        low: The way in bf16-mixed.
    """

    way: str
    error: float | None = None
    rounding: float | None = None
    recomputed: str = ""
    low: str = ""


def rows() -> dict[str, Tensor]:
    """Nine responses, of 0 to 40 tokens, to three prompts that begin alike."""
    generator = torch.Generator().manual_seed(0)
    prompts, lengths = torch.tensor([0, 1, 0, 2, 2, 0, 1, 0, 2]), torch.tensor([9, 2, 12])[[0, 1, 0, 2, 2, 0, 1, 0, 2]]
    responses = torch.tensor([4, 1, 0, 40, 3, 1, 27, 31, 12])
    texts = torch.randint(3, VOCABULARY, (1, 12), generator=generator).expand(3, 12).clone()
    texts[1] += 1 - 2 * (texts[1] > 200).long()
    mask = torch.arange(40) < responses[:, None]
    return {
        "prompt_ids": texts[prompts] * (torch.arange(12) < lengths[:, None]),
        "prompt_lengths": lengths,
        "response_ids": torch.randint(3, VOCABULARY, (9, 40), generator=generator) * mask,
        "response_mask": mask,
        "temperature": torch.tensor([0.7, 1.0, 1.5] * 3),
    }


@torch.no_grad()
def error(model: Any, share: bool) -> float:
    """Largest difference in nats, over all rows, from the model's own logits for each row alone."""
    batch = rows()
    ours, worst = response_logprobs(model, batch, share)[0], 0.0
    for i, (start, mask) in enumerate(zip(batch["prompt_lengths"], batch["response_mask"], strict=True)):
        if not mask.any():
            continue
        response = batch["response_ids"][i][mask]
        ids = torch.cat([batch["prompt_ids"][i, :start], response])
        logits = model(ids[None], use_cache=False).logits[0, start - 1 : -1].double() / batch["temperature"][i]
        own = logits.log_softmax(-1).gather(-1, response[:, None])[:, 0]
        worst = max(worst, float((ours[i][mask] - own).abs().max()))
    return worst


def compare_forwards(model: Any, low: bool = False) -> ForwardCheck | str:
    """What a run would find at its start, or why it would end."""
    try:
        refuse_unusual_head(model)
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            return check_forward(model, partial(response_logprobs, model), a_few_tokens(range(3, VOCABULARY)))
    except ValueError as reason:
        return f"refused: {reason}"


def way(found: ForwardCheck | str) -> str:
    return found if isinstance(found, str) else "shared" if found.share else "rows"


def recomputed(model: Any) -> str:
    """Whether recomputed layers give the same."""
    try:
        checkpoint_activations(model)
    except ValueError:
        return "not offered"
    return "yes" if isinstance(compare_forwards(model), ForwardCheck) else "**differs**"


def outcome(family: str) -> Outcome:
    """Of a tiny model of a family."""
    model = tiny_model(family)
    use_own_kernels(model)
    found, low = compare_forwards(model), compare_forwards(model, low=True)
    if isinstance(found, str):
        return Outcome(found, low=way(low))
    share = found.share and may_share(model)
    limits = [f", up to {tokens} tokens" for tokens, _ in sorted(longest_rows(model.config))[:1]]
    taken = "".join([way(found), *limits])
    return Outcome(taken, error(model, share), found.error / found.rounding, recomputed(model), way(low))


def line(family: str, found: Outcome) -> str:
    """A row of the table."""
    if found.error is None or found.rounding is None:
        return f"| {family} | {_short(found.way)} | | | |"
    return f"| {family} | {found.way} | {found.error:.0e} | {found.rounding:.3f} | {found.recomputed} |"


def page(outcomes: dict[str, Outcome], failures: dict[str, str]) -> str:
    """The whole of docs/families.md."""
    kinds = [re.split("[:,]", found.way)[0] for found in outcomes.values()]
    unlike = [family for family, found in outcomes.items() if not found.low.startswith(re.split("[:,]", found.way)[0])]
    alike = f"all are decided alike but {', '.join(unlike)}" if unlike else "all are decided alike"
    head = HEAD.format(
        transformers=transformers.__version__,
        torch=torch.__version__,
        built=len(outcomes),
        known=len(outcomes) + len(failures),
        shared=kinds.count("shared"),
        rows=kinds.count("rows"),
        refused=kinds.count("refused"),
        alike=alike,
    )
    table = "\n".join(line(family, found) for family, found in outcomes.items())
    names = "; ".join(f"{family} ({reason})" for family, reason in failures.items())
    return f"{head}{table}\n\nNot built as tiny ones: {names}.\n"


def _short(reason: str) -> str:
    """Of a refusal: what is wrong, without what to do about it."""
    text = " ".join(reason.split()).partition("; use a ")[0].partition(", which the log-prob")[0]
    return text.replace("|", "/")


def _first_line(reason: Exception) -> str:
    words = " ".join(str(reason).split())
    return f"{type(reason).__name__}{': ' if words else ''}{words[:100]}".replace("|", "/")


def demo(folder: str) -> None:
    """Print the seconds of the check that a run with a real model begins with, over three tries."""
    policy = PolicyModule(folder)
    policy.configure_model()
    logprobs = partial(response_logprobs, policy.model)
    for _ in range(3):
        started = time.perf_counter()
        found = check_forward(policy.model, logprobs, a_few_tokens(range(100, 1000)))
        print(f"{time.perf_counter() - started:.2f} s: {found}")


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*")
    parser.add_argument("--demo", help="folder of a real model")
    args = parser.parse_args(arguments)
    transformers.utils.logging.set_verbosity_error()
    if args.demo:
        demo(args.demo)
        return
    outcomes, failures = {}, {}
    for family in args.families or sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES):
        try:
            outcomes[family] = outcome(family)
            print(line(family, outcomes[family]), flush=True)
        except Exception as reason:  # whatever `transformers` raises for a configuration that does not fit together
            failures[family] = _first_line(reason)
            print(f"not built: {family}: {failures[family]}", flush=True)
            if os.environ.get("RTT_TRACEBACK"):
                raise
    if not args.families:
        PAGE.write_text(page(outcomes, failures))


if __name__ == "__main__":
    main(sys.argv[1:])
