"""How many bytes one device needs for a run, per phase, and who holds them: from the model's shape alone.

Upper bounds are meant: every response has its greatest length, and rows differ in length so that attention has a mask.
What libraries keep for themselves (CUDA contexts, gaps between allocations, Python) is not counted.
"""

from collections.abc import Callable, Iterable
from math import ceil

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from rtt_lightning.commands.doctor.jobs import Job, Shape
from rtt_lightning.engines.embedded.cache import ROOM
from rtt_lightning.functional.logprobs import BLOCK_NUMEL, BLOCK_WORDS
from rtt_lightning.lm.loading import Lora

NF4_BYTES = 1 / 2 + 1 / 64 + 4 / (64 * 256)
"""Of a weight in NF4: 4 bits; a scale in 8 bits per 64 weights; a scale of these in fp32 per 256 of them."""
DRAW_BYTES = 40
"""Of a logit while a token is drawn: the logit, its log-softmax, and copies that are sorted or summed up."""

Holders = dict[str, int]
"""Who holds how many bytes."""


def estimate(job: Job) -> dict[str, Holders]:
    """Bytes per phase and holder, in the order of a training step; what holds nothing is left out."""
    resident = _resident(job)
    largest = job.shape.vocabulary * job.shape.hidden if job.lora is None else 0
    step = max(job.step_bytes * job.trained, 8 * largest) / job.shards
    loaded = {"base weights": base_bytes(job, shards=1), "trained weights": 4 * job.trained}
    phases = {
        "loading": {} if job.gpu and job.shards > 1 else loaded,  # what will be sharded is loaded to the host
        "sampling": resident | _sampling(job) if job.sampled else {},
        "scoring": resident | _scoring(job) if not job.classifier else {},
        "training": resident | _training(job),
        "updating": resident | {"workspace": int(step)},
    }
    return {
        phase: {holder: count for holder, count in holders.items() if count}
        for phase, holders in phases.items()
        if holders
    }


def base_bytes(job: Job, shards: int) -> int:
    """Of the frozen weights under adapters; without adapters there are none."""
    if job.lora is None:
        return 0
    return frozen_bytes(job.shape, job.lora, job.compute, job.classifier) // shards


def frozen_bytes(shape: Shape, lora: Lora, width: int, classifier: bool) -> int:
    """Of the weights that adapters stand on, ``width`` bytes each where they are not in 4 bits."""
    total = shape.parameters(classifier) * width
    if lora.nf4:
        total -= int(shape.linear_weights * (width - NF4_BYTES))
    return total


def _resident(job: Job) -> Holders:
    """What stays from the first update on; gradients are kept until the next backward pass begins."""
    trained = 4 * job.trained // job.shards
    scorer = 0
    if job.scorer:
        reader = Job(*job.scorer, classifier=True)  # in fp32, whatever the trainer computes in
        scorer = base_bytes(reader, shards=1) + 4 * reader.trained
    return {
        "base weights": base_bytes(job, job.shards),
        "trained weights": trained,
        "gradients": trained,
        "gradient buckets": trained if job.replicas else 0,
        "optimizer state": int(job.state_bytes * job.trained / job.shards),
        "reference": _reference_bytes(job) if job.reference and job.lora is None else 0,
        "discriminator": scorer,
        "engine": job.engine_bytes,
    }


def _reference_bytes(job: Job) -> int:
    """A whole copy: its linear layers in the dtype of computing, the rest in fp32 unless the policy is sharded."""
    linear, total = job.shape.linear_weights, job.shape.parameters()
    return job.compute * linear + (job.compute if job.shards > 1 else 4) * (total - linear)


def _sampling(job: Job) -> Holders:
    shape, rows, merges = job.shape, job.sampled, job.merge and job.shards == 1
    merged = shape.linear_weights * job.compute if merges and job.lora and not job.lora.nf4 else 0
    prompts = ceil(rows / job.group_size)
    passes = max(
        forward_workspace(job, prompts, job.prompt),
        forward_workspace(job, rows, 1),
        rows * shape.vocabulary * DRAW_BYTES,
    )
    return {
        "merged weights": merged,
        "key-value cache": cache_bytes(job, rows),
        "bf16 copies": 0 if merged else autocast_bytes(job, head=True),
        "gathered layers": gathered_bytes(job, backward=False),
        "workspace": passes,
    }


def cache_bytes(job: Job, rows: int) -> int:
    """Keys and values of ``rows`` responses in the embedded engine, when they are longest."""
    length = job.prompt + ceil((job.sampled_tokens - 1) / (ROOM + 1)) * (ROOM + 1)
    number = max(job.compute, job.residual)  # keys are rotated by angles in the dtype of the residual stream
    return 2 * job.shape.layers * rows * length * job.shape.key * number


def _scoring(job: Job) -> Holders:
    """The discriminator reads the responses; or the policy or its reference reads a micro-batch without gradients."""
    workspace = forward_workspace(job, *job.sequences) + head_workspace(job)
    if job.scorer:
        reader = Job(job.scorer[0], classifier=True, bf16=job.gpu)
        workspace = max(workspace, forward_workspace(reader, job.scored, job.scored_tokens))
    return {
        "bf16 copies": autocast_bytes(job, head=False),
        "gathered layers": gathered_bytes(job, backward=False),
        "workspace": workspace,
    }


def _training(job: Job) -> Holders:
    layer = layer_activations(job)
    recomputed = layer if job.checkpointing else 0
    sequences, width = job.sequences
    own_gradient = job.lora is None and job.shards == 1 and not job.classifier
    head = head_workspace(job) + 4 * own_gradient * job.shape.vocabulary * job.shape.hidden
    backward = recomputed + 3 * sequences * width * job.shape.intermediate * job.compute
    return {
        "activations": saved_activations(job),
        "bf16 copies": autocast_bytes(job, head=False),
        "gathered layers": gathered_bytes(job, backward=True),
        "workspace": max(backward, head, forward_workspace(job, sequences, width)),
    }


def saved_activations(job: Job) -> int:
    """What the forward pass of a micro-batch keeps for the backward pass, beside weights and their bf16 copies."""
    shape, full = job.shape, job.lora is None
    sequences, width = job.sequences
    tokens = sequences * width
    kept = shape.hidden * job.residual if job.checkpointing else 0
    layers = shape.layers * (kept * tokens if job.checkpointing else layer_activations(job))
    first_norm = 0 if full or job.checkpointing else 4 * shape.hidden  # nothing before it trains
    last_norm = shape.hidden * (4 + job.residual * full)
    rotation = 0 if job.checkpointing else 2 * shape.head_size * job.residual
    ids = 8 * full
    if job.classifier:
        head = tokens * shape.hidden * job.compute
    else:
        head = job.groups * job.group_size * job.response * (shape.hidden * job.residual + 36)
    return layers + tokens * (last_norm - first_norm + rotation + ids) + head


def layer_activations(job: Job) -> int:
    """What one decoder layer keeps of a micro-batch. Under autocast each linear layer keeps a cast input of its own."""
    shape, s, full = job.shape, job.compute, job.lora is None
    sequences, width = job.sequences
    inputs = 2 * shape.hidden
    if job.casts:
        inputs = 5 * shape.hidden + (0 if full else shape.query)
    attention = 4 * shape.query if job.masked else 2 * shape.query + 2 * shape.key
    norms = 2 * (shape.hidden * (4 + job.residual * full) + 4)
    if shape.head_norms:
        norms += (shape.query + shape.key) * (4 + s * full) + 4 * (shape.heads + shape.key_value_heads)
    adapters = len(shape.linears) * job.lora.rank * s if job.lora else 0
    token = s * (inputs + attention + 4 * shape.intermediate) + norms + adapters + 4 * shape.heads
    return sequences * width * (token + (width * s if job.masked else 0))


def head_workspace(job: Job) -> int:
    """Of the chunked head, see `rtt_lightning.functional.logprobs`: three blocks of logits, and its states."""
    if job.classifier:
        return 0
    rows = job.groups * job.group_size * job.response
    logits = min(max(BLOCK_NUMEL, rows * BLOCK_WORDS), rows * job.shape.vocabulary)
    return 3 * 4 * logits + rows * job.shape.hidden * (4 + job.compute)


def forward_workspace(job: Job, sequences: int, width: int) -> int:
    """Of one layer at a time, when nothing is kept."""
    shape = job.shape
    token = job.compute * max(3 * shape.intermediate, 6 * shape.query) + 3 * 4 * shape.hidden
    return sequences * width * (token + (width * (1 + job.compute) if sequences > 1 else 0))


def autocast_bytes(job: Job, head: bool) -> int:
    """Copies of fp32 weights in bf16, which live as long as a pass."""
    if not job.casts:
        return 0
    if job.lora:
        return 2 * job.shape.adapters(job.lora.rank)
    return 2 * (job.shape.linear_weights + head * job.shape.vocabulary * job.shape.hidden)


def gathered_bytes(job: Job, backward: bool) -> int:
    """Whole weights outside the layers, and of two layers: the one that computes and the next; then their gradients."""
    if job.shards == 1:
        return 0
    adapters = job.shape.adapters(job.lora.rank) // job.shape.layers if job.lora else 0
    layer = job.shape.layer_parameters + adapters
    root = job.shape.parameters(job.classifier) - job.shape.layers * job.shape.layer_parameters
    weights = (root + 2 * layer) * job.compute
    if not backward:
        return weights
    return weights + (adapters if job.lora else layer) * (job.compute + 4) + (0 if job.lora else root * job.compute)


def optimizer_bytes(make: Callable[[Iterable[nn.Parameter]], Optimizer], gpu: bool) -> tuple[float, float]:
    """Bytes per trained weight of an optimiser's state, and of its temporaries during a step: by taking one.

    Args:
        make: Makes the optimiser from parameters.
        gpu: It will run on a GPU, where those of torch update all weights at once unless told otherwise.
    """
    weights = nn.Parameter(torch.zeros(512, 512))
    weights.grad = torch.ones_like(weights)
    optimizer = make([weights])
    optimizer.step()
    state = [value for value in optimizer.state[weights].values() if isinstance(value, Tensor)]
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in state}
    at_once = optimizer.defaults.get("foreach", False) is not False and not optimizer.defaults.get("fused")
    return sum(storages.values()) / weights.numel(), 4.0 if gpu and at_once else 0.0
