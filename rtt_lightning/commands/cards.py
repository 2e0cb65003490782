"""Model cards for `rtt export`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rtt_lightning.relevance.discriminator.network import RelevanceModel

POLICY = """---
{front}library_name: {library}
tags: [rtt-lightning, grpo, rubrics]
---
# {name}

A policy trained from rubrics by RTT-GRPO (arXiv 2604.02795) with rtt-lightning, from {base}; {updates} updates.

```python
{usage}
```
"""
MERGED_USAGE = """from transformers import AutoModelForCausalLM, AutoTokenizer
model, tokenizer = (auto.from_pretrained("{name}"{trust}) for auto in (AutoModelForCausalLM, AutoTokenizer))
messages = [{{"role": "user", "content": "Name a fruit."}}]
prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
print(tokenizer.decode(model.generate(**prompt, max_new_tokens=64)[0]))"""
ADAPTER_USAGE = """from peft import AutoPeftModelForCausalLM
model = AutoPeftModelForCausalLM.from_pretrained("{name}"{trust})"""
DISCRIMINATOR = """---
{front}library_name: transformers
pipeline_tag: token-classification
tags: [rtt-lightning, rubrics]
---
# {name}

A token-level relevance discriminator (arXiv 2604.02795) trained with rtt-lightning, from {base}; {updates} updates.
It says which tokens of a response decide a criterion; whether the criterion is met it does not say. It is made to weigh
tokens when a policy is trained from rubrics: `DiscriminatorRelevance` of rtt-lightning takes this folder as its
checkpoint. `relevance.json` holds the input template, the longest input, and whether all criteria are read in one pass.

```python
{usage}
```

## Trained on

{data}

## Quality

{quality}
"""
BEGIN = """import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer
model, tokenizer = (auto.from_pretrained("{name}") for auto in (AutoModelForTokenClassification, AutoTokenizer))
"""
PAIR_USAGE = """before, response = {template!r}.replace("{{criterion}}", "Use the word 'tea'."), "I like TEA."
ids = tokenizer(before)["input_ids"] + tokenizer(response, add_special_tokens=False)["input_ids"]
with torch.no_grad():
    logits = model(input_ids=torch.tensor([ids]){types}).logits[0, len(tokenizer(before)["input_ids"]) :, 0]
print(logits.sigmoid())  # of each token of the response"""
ONE_PASS_USAGE = """criteria, response = ["Use the word 'tea'.", "Use no commas."], "I like TEA."
before = [{template!r}.replace("{{criterion}}", text) for text in criteria]
parts = [tokenizer(text)["input_ids"] for text in before]
parts.append(tokenizer(response, add_special_tokens=False)["input_ids"])
owner = torch.tensor([number for number, part in enumerate(parts) for _ in part])
last = owner == len(criteria)  # the response, which sees all criteria and itself; each criterion sees itself
sees = (owner[:, None] == owner){causal} | (last[:, None] & ~last)
start = [0] * len(criteria) + [max(map(len, parts[:-1]))]
places = torch.cat([torch.arange(len(part)) + at + {first} for part, at in zip(parts, start)])
told = {{"position_ids": places[None], "attention_mask": sees[None, None]{types}}}
with torch.no_grad():
    outputs = model(input_ids=torch.tensor([sum(parts, [])]), **told).logits[0]
states = torch.stack([outputs[owner == number]{pooled} for number in range(len(criteria))])
print((states[:, {width}:] @ outputs[last, :{width}].T).sigmoid())  # criteria x tokens of the response"""
CAPITALS = """
def types(text, special):  # the tokenizer drops capitals: they are token types
    offsets = tokenizer(text, add_special_tokens=special, return_offsets_mapping=True)["offset_mapping"]
    words = [text[start:end] for start, end in offsets]
    capital = [{first_type} + (sum(map(str.isalpha, word)) > 1 and word.isupper()) for word in words]
    return [kind * any(map(str.isupper, word)) for kind, word in zip(capital, words)]

"""
NOT_MEASURED = """Not measured: `rtt validate` writes `validate-*.json` about held-out responses, and
`rtt export --quality FILE` puts it here."""
ENDS = ("low", "high")
METRICS = {
    "average_precision_per_cell": "average precision per cell",
    "average_precision_by_chance": "the same by chance",
    "average_precision": "average precision, pooled",
    "base_rate": "share of relevant tokens in the same cells",
    "f1": "F1 at 0.5",
    "brier": "Brier score",
    "calibration_error": "expected calibration error",
}


def policy_card(name: str, base: str, updates: int, merged: bool, trust_remote_code: bool) -> str:
    """The card of a policy.

    Args:
        name: Name of its folder.
        base: Folder or hub name of the model that it was trained from.
        updates: Updates of its training.
        merged: Whether the folder holds a whole model, not adapters.
        trust_remote_code: Whether the folder holds code.
    """
    trust = ", trust_remote_code=True" if trust_remote_code else ""
    return POLICY.format(
        library="transformers" if merged else "peft",
        name=name,
        updates=updates,
        usage=(MERGED_USAGE if merged else ADAPTER_USAGE).format(name=name, trust=trust),
        **_origin(base),
    )


def discriminator_card(
    name: str,
    base: str,
    updates: int,
    model: RelevanceModel,
    data: Mapping[str, Any] | None = None,
    kinds: Sequence[str] = (),
    quality: Mapping[str, Any] | None = None,
) -> str:
    """The card of a discriminator.

    Args:
        name: Name of its folder.
        base: Folder or hub name of the model that it was trained from.
        updates: Updates of its training.
        model: The discriminator.
        data: Number and hash of the records of its training, if known.
        kinds: Of the criteria in them.
        quality: What `rtt validate` wrote, if anything.
    """
    return DISCRIMINATOR.format(
        name=name,
        updates=updates,
        usage=_usage(name, model),
        data=_data(data, kinds),
        quality=_quality(quality),
        **_origin(base),
    )


def _usage(name: str, model: RelevanceModel) -> str:
    """Code of `transformers` alone."""
    one_pass, body, special = model.config.one_pass, model.body, model.first_type is not None
    of_parts = "[kind for text in before for kind in types(text, True)]" if one_pass else "types(before, True)"
    types = f"torch.tensor([{of_parts} + types(response, False)])" if special else ""
    told = (f', "token_type_ids": {types}' if one_pass else f", token_type_ids={types}") if special else ""
    parts = [BEGIN.format(name=name), CAPITALS.format(first_type=model.first_type) if special else ""]
    causal, pooled = (".tril()", "[-1]") if body.causal else ("", ".mean(0)")
    facts = {"causal": causal, "pooled": pooled, "first": body.first, "width": model.labels // 2}
    usage = ONE_PASS_USAGE if one_pass else PAIR_USAGE
    return "".join(parts) + usage.format(template=model.config.template, types=told, **facts)


def _data(data: Mapping[str, Any] | None, kinds: Sequence[str]) -> str:
    known = (
        f"{data['records']} responses with labels, SHA-256 `{data['sha256']}`"
        if data
        else "The checkpoint does not say."
    )
    return known + (f"; kinds of criteria: {', '.join(f'`{kind}`' for kind in kinds)}." if kinds else "")


def _quality(quality: Mapping[str, Any] | None) -> str:
    if quality is None:
        return NOT_MEASURED
    overall = quality["overall"]
    rows = [
        f"| {label} | {_shown(overall[metric]['mean'])} | {' to '.join(_shown(overall[metric][end]) for end in ENDS)} |"
        for metric, label in METRICS.items()
        if (overall.get(metric) or {}).get("mean") is not None
    ]
    heads = ["| metric | value | 95 % interval |", "| --- | --- | --- |"]
    said = f"{overall['cells']} responses and criteria of {overall['prompts']} prompts that were held out."
    return "\n".join([said, "", *heads, *rows])


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _origin(base: str) -> dict[str, str]:
    """How a card names the base: others can follow a hub name, but not a local folder."""
    if Path(base).exists():
        return {"front": "", "base": f"a local folder, `{Path(base).resolve().name}`"}
    return {"front": f"base_model: {base}\n", "base": f"`{base}`"}
