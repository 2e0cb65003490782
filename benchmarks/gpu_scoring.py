"""Scoring of 512 responses of 1,000 tokens for 5 criteria each on a GPU: one pass, and pairs of a tenth, times ten."""

import time
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import torch
from transformers import AutoModelForTokenClassification, Qwen3Config

from benchmarks.random_models import QWEN3_06B, QWEN3_4B, word_tokenizer
from rtt_lightning.lm.kernels import use_own_kernels
from rtt_lightning.relevance.discriminator.build import build
from rtt_lightning.relevance.discriminator.config import RelevanceConfig
from rtt_lightning.relevance.discriminator.network import RelevanceModel
from rtt_lightning.relevance.discriminator.readings import Texts
from rtt_lightning.relevance.discriminator.source import GPU_TOKENS, relevance_of

RESPONSES, GROUP, CRITERIA, TOKENS, SHARE = 512, 8, 5, 1000, 10
SHAPES = {"Qwen3-0.6B": QWEN3_06B, "Qwen3-4B": QWEN3_4B}


def scoring(folder: Path, peak: float) -> list[dict[str, Any]]:
    """Seconds of both ways, and the share of the operations per second of a matrix product that each reaches.

    Args:
        folder: For configurations.
        peak: Operations per second.
    """
    return [
        row
        for name, shape in SHAPES.items()
        for row in rows(folder / name, name, shape, peak, "cuda", RESPONSES, TOKENS)
    ]


def rows(
    folder: Path, name: str, shape: dict[str, int], peak: float, device: str, responses: int, tokens: int
) -> list[dict[str, Any]]:
    """Of a shape, with random weights in bf16. Each group has criteria of its own; a letter is a token."""
    rubrics = [
        tuple(f"Mention tea {n} times, group {index // GROUP}." for n in range(CRITERIA)) for index in range(responses)
    ]
    answers = [("tea " * tokens)[: tokens - 1] + ascii_lowercase[index % 26] for index in range(responses)]
    at_once: list[Texts] = list(zip(rubrics, answers, strict=True))
    apart: list[Texts] = [((text,), answer) for texts, answer in at_once[: responses // SHARE] for text in texts]
    found = []
    for form, one_pass, texts, times in (("one pass", True, at_once, 1), ("pairs", False, apart, SHARE)):
        network = random_network(folder, shape, one_pass, device)
        seconds = min(timed(network, texts, device) for _ in range(3)) * times  # the first one warms up
        readings = network.encode(texts)
        prefixes = {prefix for one in readings for prefix in one.prefixes}
        read = (sum(map(len, prefixes)) + sum(len(one.response) for one in readings)) * times
        weights = sum(weight.numel() for weight in network.network.model.layers.parameters())
        row = {"what": f"scoring {responses} x {CRITERIA} x {tokens}, {name}, {form}", "seconds": seconds}
        found.append(row | {"tokens": read, "of matmul": 2 * weights * read / seconds / peak})
        del network
        torch.cuda.empty_cache()
    return found


def random_network(folder: Path, shape: dict[str, int], one_pass: bool, device: str) -> RelevanceModel:
    """A discriminator of a shape, made where it runs."""
    Qwen3Config(**shape, tie_word_embeddings=True).save_pretrained(folder)
    word_tokenizer(shape["vocab_size"]).save_pretrained(folder)
    with torch.device("meta"):
        model = build(RelevanceConfig(str(folder), one_pass=one_pass))
    with torch.device(device):
        body = AutoModelForTokenClassification.from_config(model.network.config, dtype=torch.bfloat16)
    use_own_kernels(body)
    model.network = body
    return model.requires_grad_(False).eval()


def timed(network: RelevanceModel, texts: list[Texts], device: str) -> float:
    """Seconds from texts to relevance on the CPU."""
    started = time.perf_counter()
    with torch.autocast(device, torch.bfloat16):
        relevance_of(network, network.encode(texts), GPU_TOKENS)
    return time.perf_counter() - started
