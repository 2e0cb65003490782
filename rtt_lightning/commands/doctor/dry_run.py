"""A configuration without a run: builds its parts, reads the data and estimates the memory."""

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from jsonargparse import Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.cli import LightningArgumentParser
from transformers import AutoModelForCausalLM

from rtt_lightning import LLMAnnotator
from rtt_lightning.callbacks.cost import judged_in_run
from rtt_lightning.callbacks.rollout import RolloutCallback
from rtt_lightning.callbacks.start import without_credit
from rtt_lightning.commands.doctor.budget import GIB, judge_fit, print_estimate
from rtt_lightning.commands.doctor.findings import Finding, show
from rtt_lightning.commands.doctor.machine import host_memory, inspect_vllm
from rtt_lightning.commands.doctor.plans import Place, Unmeasurable, estimate_memory, read_config, runs_vllm
from rtt_lightning.commands.mistakes import explain_mistake
from rtt_lightning.commands.run import RTTCommandLine, main
from rtt_lightning.datamodules import PromptWindows, RubricDataModule
from rtt_lightning.datamodules.loaders import Share
from rtt_lightning.engines.vllm.http import COMMAND, ServerFailure, longest_row
from rtt_lightning.engines.vllm.server import VLLMServerEngine
from rtt_lightning.modules.policy import PolicyModule
from rtt_lightning.rollout.causes import refuse_small_groups
from rtt_lightning.runtime.lazy import lazy_instance
from rtt_lightning.runtime.trainer import RubricTrainer

Result = TypeVar("Result")


class ParsedOnly(RTTCommandLine):
    """Parses the flags of `rtt fit` and the annotator's of `rtt annotate`, without building or running anything."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        super().add_arguments_to_parser(parser)
        parser.add_subclass_arguments(LLMAnnotator, "annotator", default=lazy_instance(LLMAnnotator))

    def instantiate_classes(self) -> None:
        pass

    def _run_subcommand(self, subcommand: str) -> None:
        pass


def parse(args: Sequence[str]) -> RTTCommandLine:
    """The configuration of `rtt fit ARGS`.

    Raises:
        ValueError: If a file or flag is wrong.
    """
    with _quiet():
        return main(["fit", *args], ParsedOnly)


def dry_run(run: RTTCommandLine, gpu_memory: int | None = None) -> list[Finding]:
    """Inspect a configuration; print and return findings, and print the estimate of its memory.

    Args:
        run: The configuration.
        gpu_memory: Bytes of each GPU that the run is for; ``None`` for the devices of this machine.
    """
    found: list[Finding] = []
    with _quiet():
        planned = _plan(run, found, gpu_memory)
    show("configuration", found)
    if planned is None:
        return found
    place, measured = planned[-1], list[Finding]()
    if not place.gpu:
        print("  memory is measured: minutes, for a large model; --gpu_memory 24 asks about GPUs of 24 GiB", flush=True)
    with _quiet():
        estimated = _attempt(measured, "memory", lambda: estimate_memory(*planned))
    if estimated is None:
        said = {finding.found for finding in found}
        return [*found, *show("", [finding for finding in measured if finding.found not in said])]
    print_estimate(estimated.phases)
    fine, said, advice = judge_fit(estimated.phases, place.memory)
    measured += [Finding("micro-batch", estimated.micro_batch), Finding("memory", said, fine, advice)]
    return [*found, *show("", [*measured, _room(estimated.checkpoint, place.trainer, gpu_memory is None)])]


def _plan(
    run: RTTCommandLine, found: list[Finding], gpu_memory: int | None = None
) -> tuple[Any, RubricDataModule, RolloutCallback, Place] | None:
    """What `estimate_memory` needs; ``None`` if something is wrong. Adds to the findings."""
    config, parser = run.config["fit"].clone(), run._parser("fit")
    model = Namespace(model=config.pop("model"))
    module: Any = None
    if _attempt(found, "model", lambda: _describe(model["model"].init_args)):
        module = _attempt(found, "model", lambda: parser.instantiate_classes(model)["model"])
    parts: Any = _attempt(found, "parts", lambda: parser.instantiate_classes(config))
    place = _place(parts.trainer, found, gpu_memory) if parts else None
    if place is None:
        return None
    if runs_vllm(parts.rollout.collector.engine) and isinstance(parts.data.view, PromptWindows):
        found.append(inspect_vllm() if gpu_memory else _needed(inspect_vllm()))
    if module is None:
        parts.data.tokenizer = None  # nothing can be measured in tokens
    if isinstance(module, PolicyModule):
        _attempt(found, "group", lambda: refuse_small_groups(module.smallest_group, parts.rollout.sampling.n))
    loaded = _attempt(found, "data", lambda: _load(parts.data, parts.rollout, place.trainer, module))
    if not loaded or module is None:
        return None
    if isinstance(module, PolicyModule):
        said = {finding.found for finding in found}
        found += [finding for finding in _outside(parts, module, place.trainer) if finding.found not in said]
    return module, parts.data, parts.rollout, place


def _attempt(found: list[Finding], name: str, make: Callable[[], Result | Finding]) -> Any:
    """What ``make`` returns, or ``None`` with a finding that says why. A returned finding is kept as well."""
    try:
        result = make()
    except (ValueError, OSError, TypeError, RuntimeError, MisconfigurationException) as error:
        found.append(Finding(name, explain_mistake(str(error), ()), None if isinstance(error, Unmeasurable) else False))
        return None
    if isinstance(result, Finding):
        found.append(result)
    return result


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Lightning and the hub, whose messages are about real runs."""
    names = ("lightning.pytorch", "lightning.fabric", "huggingface_hub", "transformers", "torch._subclasses")
    names += tuple(name for name in logging.root.manager.loggerDict if name.startswith(names))
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _describe(model: Namespace) -> Finding:
    config = read_config(model.model, model.get("trust_remote_code", False))
    try:
        with torch.device("meta"):
            network = AutoModelForCausalLM.from_config(config, trust_remote_code=model.get("trust_remote_code", False))
        size = f"{sum(parameter.numel() for parameter in network.parameters()) / 1e6:,.1f} million parameters"
    except ValueError:  # a body only for discriminators
        size = config.model_type
    return Finding("model", f"{model.model}: {size}, {config.num_hidden_layers} layers")


def _place(arguments: Namespace, found: list[Finding], gpu_memory: int | None) -> Place | None:
    """The trainer of a run; for GPUs of ``gpu_memory`` bytes, or if this machine lacks its devices, a stand-in."""
    own: dict[str, Any] = vars(arguments)
    stand_in: dict[str, Any] = own | {"accelerator": "cpu"}
    if own["precision"] == "auto":
        stand_in["precision"] = "bf16-mixed"
    if gpu_memory:
        trainer = _attempt(found, "devices", lambda: RubricTrainer(**stand_in))
        found += [Finding("devices", f"taken to be GPUs of {gpu_memory / GIB:.0f} GiB")] if trainer else []
        return trainer and Place(trainer, gpu=True, memory=gpu_memory)
    trainer = _attempt(found, "devices", lambda: RubricTrainer(**own))
    if trainer is None:
        trainer = _attempt([], "devices", lambda: RubricTrainer(**stand_in))
        if trainer:
            found[-1] = replace(found[-1], advice="--gpu_memory 24 estimates for GPUs of 24 GiB without having them")
        return trainer and Place(trainer, gpu=True, memory=None)
    if isinstance(trainer.accelerator, CPUAccelerator):
        return Place(trainer, gpu=False, memory=host_memory() // trainer.num_devices)
    return Place(trainer, gpu=True, memory=torch.cuda.get_device_properties(0).total_memory)


def _load(data: RubricDataModule, rollout: RolloutCallback, trainer: Trainer, module: Any) -> Finding:
    """Read the data and raise where `rtt fit` would."""
    data.setup("fit")
    share = Share(0, trainer.world_size)
    loader = data.view.train_loader(data.records["train"], trainer.accumulate_grad_batches, data.seed, share)
    if isinstance(data.view, PromptWindows):
        data.check_criteria(rollout.collector.verifier.problems)
        data.check_weighable(rollout.collector.relevance.problems)
    if isinstance(module, PolicyModule):
        vocabulary = read_config(module.base_model, module.trust_remote_code).vocab_size
        data.check_vocabulary(module.tokenizer, vocabulary)
    sizes = ", ".join(f"{len(records)} {split}" for split, records in data.records.items())
    return Finding("data", f"records: {sizes}; {len(loader)} micro-batches per epoch and process")


def _outside(parts: Any, policy: PolicyModule, trainer: Trainer) -> list[Finding]:
    """Judges and vLLM servers, asked once each, and the criteria that the relevance source is blind to."""
    found: list[Finding] = []
    data, rollout = parts.data, parts.rollout
    in_run = judged_in_run(trainer, data, rollout.sampling, rollout.evaluation, "fit")
    by_watch = parts.watch.expected(trainer, data)
    judges = (("judge", rollout.collector.verifier, in_run), ("watch.judge", parts.watch.judge, by_watch))
    for name, verifier, expected in judges:
        if verifier is not None:
            costs = _attempt(found, name, partial(verifier.foresee, expected)) or ()
            found += [Finding("cost", str(cost), None if cost.over else True) for cost in costs]
            if costs:
                _ask(found, name, partial(verifier.try_out, data.samples()))
    if parts.annotator.has_model:
        _ask(found, "annotator", parts.annotator.try_out)
    if policy.token_credit:
        train = [record.sample for record in data.records["train"]]
        said = _attempt(
            found, "relevance", lambda: without_credit(train, rollout.collector.relevance, rollout.collector.verifier)
        )
        found += [Finding("relevance", said, None)] if said else []
    for url in rollout.collector.engine.urls if isinstance(rollout.collector.engine, VLLMServerEngine) else ():
        try:
            found.append(Finding("vLLM server", f"{url} answers, and takes {longest_row(url)} tokens"))
        except (ServerFailure, ValueError) as error:
            found.append(Finding("vLLM server", f"{url}: {error}", None, f"`rtt fit` waits for it; `{COMMAND}`"))
    return found


def _ask(found: list[Finding], name: str, try_out: Callable[[], list[str]]) -> None:
    """Add what comes of asking a judge or an annotator one question."""
    doubts = _attempt(found, name, try_out)
    found += [Finding(name, doubt, None) for doubt in doubts or ()]
    found += [Finding(name, "was asked a question, and answers")] if doubts == [] else []


def _needed(finding: Finding) -> Finding:
    return Finding(finding.name, finding.found, finding.fine is True, finding.advice)


def _room(size: int, trainer: Trainer, needed: bool) -> Finding:
    """Whether the disk has room for a checkpoint of ``size`` bytes, which is ``needed`` if the run is for here."""
    folder = Path(trainer.default_root_dir)
    free = shutil.disk_usage(folder if folder.exists() else Path.cwd()).free
    said = f"{size / GIB:.2f} GiB each, {free / GIB:.1f} GiB of disk free"
    short = False if needed else None
    return Finding("checkpoints", said, size < free or short, "" if size < free else "make room, or train adapters")
