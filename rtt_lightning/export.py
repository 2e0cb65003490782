"""`rtt export`: a checkpoint to a Hugging Face folder that plain `transformers` loads."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from rtt_lightning.checkpoints import check_fits, read_checkpoint
from rtt_lightning.models import Lora, add_adapters, load_model, merged_weights, trainable_names
from rtt_lightning.policy import POLICY_KEY
from rtt_lightning.relevance.discriminator import CHECKPOINT_KEY, config_from_plain, load_weights
from rtt_lightning.relevance.model import RelevanceModel
from rtt_lightning.resume import find_checkpoint
from rtt_lightning.tokenizers import load_tokenizer

POLICY_CARD = """---
base_model: {base}
library_name: {library}
tags: [rtt-lightning, grpo, rubrics]
---
# {name}

A policy trained from rubrics by RTT-GRPO (arXiv 2604.02795) with rtt-lightning, from `{base}`; {updates} updates.

```python
{usage}
```
"""
MERGED_USAGE = """from transformers import AutoModelForCausalLM, AutoTokenizer
model, tokenizer = AutoModelForCausalLM.from_pretrained("{name}"), AutoTokenizer.from_pretrained("{name}")
messages = [{{"role": "user", "content": "Name a fruit."}}]
prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
print(tokenizer.decode(model.generate(**prompt, max_new_tokens=64)[0]))"""
ADAPTER_USAGE = """from peft import AutoPeftModelForCausalLM
model = AutoPeftModelForCausalLM.from_pretrained("{name}")"""
DISCRIMINATOR_CARD = """---
base_model: {base}
library_name: transformers
pipeline_tag: token-classification
tags: [rtt-lightning, rubrics]
---
# {name}

A token-level relevance discriminator (arXiv 2604.02795) trained with rtt-lightning, from `{base}`; {updates} updates.
The sigmoid of a response token's logit says how much it decides the criterion. `relevance.json` holds the input
template and the longest input.

```python
from transformers import AutoModelForTokenClassification, AutoTokenizer
model, tokenizer = AutoModelForTokenClassification.from_pretrained("{name}"), AutoTokenizer.from_pretrained("{name}")
prefix = {template!r}.replace("{{criterion}}", "Use the word 'tea'.")
ids = tokenizer(prefix + "I like tea.", return_tensors="pt")
print(model(**ids).logits.sigmoid()[0, :, 0])
```
"""


def export(checkpoint: Path, folder: Path, merge: bool = True) -> None:
    """Write a checkpoint of a policy or a discriminator as a Hugging Face folder.

    Args:
        checkpoint: A ``.ckpt`` file or folder, or a folder of them: then the newest.
        folder: Where to; must be new or empty.
        merge: Add the adapters into the weights; false keeps a policy's adapters apart, as a PEFT folder.

    Raises:
        ValueError: For a checkpoint that is no policy's or discriminator's, or a folder with something in it.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty; give a new folder")
    state = read_checkpoint(Path(find_checkpoint(checkpoint, begin=False) or ""))
    if POLICY_KEY in state:
        _export_policy(state, folder, merge)
    elif CHECKPOINT_KEY in state:
        _export_discriminator(state, folder, merge)
    else:
        raise ValueError(f"{checkpoint} is no checkpoint of a policy or a discriminator of rtt-lightning")
    print(f"wrote {folder}: {', '.join(sorted(path.name for path in folder.iterdir()))}")


def _export_policy(state: Mapping[str, Any], folder: Path, merge: bool) -> None:
    config = state[POLICY_KEY]
    lora = Lora(**config["lora"]) if config["lora"] else None
    model: Any = load_model(AutoModelForCausalLM, config["model"], lora)
    body = add_adapters(model, lora, "CAUSAL_LM") if lora else model
    _load(body, {name.removeprefix("model."): weight for name, weight in state["state_dict"].items()})
    tokenizer = load_tokenizer(config["model"])
    if lora and not merge:
        body.save_pretrained(folder)
        library, usage = "peft", ADAPTER_USAGE
    else:
        if lora and lora.nf4:  # what was trained over 4 bits is written as plain bf16 weights
            model = load_model(AutoModelForCausalLM, config["model"], Lora())
        _save(model, body, folder)
        library, usage = "transformers", MERGED_USAGE
    card = POLICY_CARD.format(
        base=config["model"],
        library=library,
        name=folder.name,
        updates=state["global_step"],
        usage=usage.format(name=folder.name),
    )
    _finish(tokenizer, folder, card)


def _export_discriminator(state: Mapping[str, Any], folder: Path, merge: bool) -> None:
    if not merge:
        raise ValueError("a discriminator is exported merged only: its head trains in full; leave out --merge false")
    config = config_from_plain(state[CHECKPOINT_KEY])
    model = RelevanceModel(config)
    load_weights(model, state["state_dict"])
    plain: Any = RelevanceModel(replace(config, lora=None)).network if config.lora else model.network
    _save(plain, model.network, folder)
    relevance = {"template": config.template, "max_length": config.max_length}
    (folder / "relevance.json").write_text(json.dumps(relevance, indent=2) + "\n")
    card = DISCRIMINATOR_CARD.format(
        base=config.model, name=folder.name, updates=state["global_step"], template=config.template
    )
    _finish(model.tokenizer, folder, card)


def _load(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    check_fits(weights, trainable_names(model))
    model.load_state_dict(weights, strict=False)


def _save(model: PreTrainedModel, adapted: nn.Module, folder: Path) -> None:
    """The merged weights in bf16, under the names of the model without adapters."""
    weights = {name: weight.to(torch.bfloat16).contiguous() for name, weight in merged_weights(adapted)}
    tied = set(model.all_tied_weights_keys or ())
    model.config.dtype = torch.bfloat16
    model.save_pretrained(folder, state_dict={name: weight for name, weight in weights.items() if name not in tied})


def _finish(tokenizer: PreTrainedTokenizerBase, folder: Path, card: str) -> None:
    tokenizer.save_pretrained(folder)
    (folder / "README.md").write_text(card)
