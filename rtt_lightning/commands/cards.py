"""Model cards for `rtt export`."""

from pathlib import Path

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
The sigmoid of a response token's logit says how much it decides the criterion. `relevance.json` holds the input
template and the longest input; `DiscriminatorRelevance` of rtt-lightning takes this folder as its checkpoint.

```python
from transformers import AutoModelForTokenClassification, AutoTokenizer
model, tokenizer = AutoModelForTokenClassification.from_pretrained("{name}"), AutoTokenizer.from_pretrained("{name}")
prefix = {template!r}.replace("{{criterion}}", "Use the word 'tea'.")
ids = tokenizer(prefix + "I like tea.", return_tensors="pt")
print(model(**ids).logits.sigmoid()[0, :, 0])
```
"""


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


def discriminator_card(name: str, base: str, updates: int, template: str) -> str:
    """The card of a discriminator; ``template`` precedes the response."""
    return DISCRIMINATOR.format(name=name, updates=updates, template=template, **_origin(base))


def _origin(base: str) -> dict[str, str]:
    """How a card names the base: others can follow a hub name, but not a local folder."""
    if Path(base).exists():
        return {"front": "", "base": f"a local folder, `{Path(base).resolve().name}`"}
    return {"front": f"base_model: {base}\n", "base": f"`{base}`"}
