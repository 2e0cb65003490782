"""Spellings of version 0.1, read for one more release: then delete this file and its call in `run.py`."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from rtt_lightning.commands.given import Given, algorithm_in, arguments_of, class_of, model_class, runs_in

POLICY = "rtt_lightning.PolicyModule"
GRPO, RTT = "rtt_lightning.GRPO", "rtt_lightning.RTT"

MODELS = {"rtt_lightning.policy.RTT": RTT, "RTT": RTT, "rtt_lightning.policy.PolicyModule": GRPO}
"""The old policies, and the algorithm of each."""
OF_GRPO = ("response_reward", "scale_rewards")
OF_RTT = (*OF_GRPO, "partition", "combine", "alpha", "beta", "std_floor", "advantage_clip")
"""Former arguments of the model that are now the algorithm's."""
OURS = {
    POLICY,
    "rtt_lightning.modules.PolicyModule",
    "rtt_lightning.modules.policy.PolicyModule",
    "PolicyModule",
    *MODELS,
}
CLASSES = {
    "rtt_lightning.discriminator.DiscriminatorModule": "rtt_lightning.DiscriminatorModule",
    "rtt_lightning.checkpoints.CheckpointFiles": "rtt_lightning.runtime.checkpoints.CheckpointFiles",
    "rtt_lightning.strategies.FSDP": "rtt_lightning.FSDP",
    "rtt_lightning.models.Lora": "rtt_lightning.Lora",
    "rtt_lightning.engines.transformers.TransformersEngine": "rtt_lightning.TransformersEngine",
    "rtt_lightning.engines.vllm_server.VLLMServerEngine": "rtt_lightning.VLLMServerEngine",
    "rtt_lightning.engines.handover.FolderHandover": "rtt_lightning.engines.FolderHandover",
    "rtt_lightning.engines.nccl_handover.NCCLHandover": "rtt_lightning.engines.NCCLHandover",
    "rtt_lightning.relevance.base.UniformRelevance": "rtt_lightning.UniformRelevance",
    "rtt_lightning.relevance.base.RandomRelevance": "rtt_lightning.RandomRelevance",
    "rtt_lightning.relevance.base.RuleSpans": "rtt_lightning.RuleSpans",
}


def renamed(given: Sequence[Given]) -> tuple[list[Given], list[str]]:
    """Arguments in today's spelling, and a line that names the changes.

    Arguments of the old policies go to the algorithm named last; without one, to `RTT` if it alone has any of them,
    else to `GRPO`. A user's own model class keeps its arguments.
    """
    said: dict[str, str] = {}
    given = [_classes(each, said) for each in given]
    models = [settings["model"] for each in given for settings in runs_in(each.tree)]
    named = [algorithm_in(model) or MODELS.get(class_of(model) or "") for model in models]
    theirs = {name for model in models for name in _moved(model)}
    algorithm = next((name for name in reversed(named) if name), RTT if theirs - {*OF_GRPO} else GRPO)
    if model_class(given) not in OURS:
        algorithm = ""
    given = [_models(each, algorithm, said) for each in given]
    weighed = [name for each in given for rollout in _rollouts(each.tree) if (name := class_of(rollout["relevance"]))]
    if weighed and weighed[-1].endswith(".DiscriminatorRelevance"):
        given = [_relevance(each, said) for each in given]
    changes = "; ".join(f"{old} is now {new}" for old, new in said.items())
    return given, [f"spelt as in version 0.1, which the next release will not read: {changes}"] if said else []


def _classes(each: Given, said: dict[str, str]) -> Given:
    """With the new names of classes."""

    def new(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: new(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [new(inner) for inner in value]
        if isinstance(value, str) and value in CLASSES:
            said[value] = CLASSES[value]
            return CLASSES[value]
        return value

    value = new(each.value)
    return each if value == each.value else each.saying(each.flag, value)


def _rollouts(tree: dict[str, Any]) -> list[dict[str, Any]]:
    """The settings that name a relevance source, or arguments of one."""
    rollouts = (settings["rollout"] for settings in runs_in(tree, "rollout"))
    return [rollout for rollout in rollouts if isinstance(rollout, dict) and "relevance" in rollout]


def _relevance(each: Given, said: dict[str, str]) -> Given:
    """Without the number of pairs that a discriminator read at a time."""
    tree = deepcopy(each.tree)
    for rollout in _rollouts(tree):
        arguments = arguments_of(rollout["relevance"])
        if arguments.pop("batch_size", None) is not None:
            said["rollout.relevance.init_args.batch_size, of pairs,"] = "batch_tokens, by default what suits the device"
            named = class_of(rollout["relevance"])
            rollout["relevance"] = ({"class_path": named} if named else {}) | {"init_args": arguments}
    return each if tree == each.tree else each.saying("--config", tree)


def _models(each: Given, algorithm: str, said: dict[str, str]) -> Given:
    """With the arguments of its models where they belong."""
    tree = deepcopy(each.tree)
    if tree.get("responses", "") is None:  # of a saved configuration
        del tree["responses"]
    for settings in runs_in(tree):
        settings["model"] = _model(settings["model"], algorithm, said)
    return each if tree == each.tree else each.saying("--config", tree)


def _model(model: Any, algorithm: str, said: dict[str, str]) -> Any:
    own, moved = MODELS.get(class_of(model) or ""), _moved(model)
    if not own and not (moved and algorithm):
        return model
    if own:
        said[class_of(model) or ""] = f"{POLICY} with {own} as model.init_args.algorithm"
    arguments = {name: value for name, value in arguments_of(model).items() if name not in moved}
    path = algorithm_in(model) or own or algorithm
    if moved:
        said[f"model.init_args.{', '.join(moved)}"] = f"in model.init_args.algorithm.init_args, of {path}"
    scheme = {"class_path": path, "init_args": moved | arguments_of(arguments.get("algorithm"))}
    return {"class_path": POLICY, "init_args": arguments | {"algorithm": scheme}}


def _moved(model: Any) -> dict[str, Any]:
    """The arguments of one of our models that are now the algorithm's."""
    if (class_of(model) or POLICY) not in OURS:
        return {}
    return {name: value for name, value in arguments_of(model).items() if name in OF_RTT}
