"""The discriminator: it learns, its checkpoint is self-contained, and it becomes a relevance source."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from transformers import PreTrainedTokenizerBase

from rtt_lightning.commands.run import main
from rtt_lightning.relevance import DiscriminatorRelevance
from rtt_lightning.relevance.discriminator.build import build
from rtt_lightning.relevance.discriminator.checkpoint import load
from rtt_lightning.relevance.discriminator.config import RelevanceConfig
from rtt_lightning.relevance.discriminator.source import relevance_of

WORDS = ("tea", "owl", "sea", "red", "sky", "map")


def write_pairs(path: Path, count: int) -> None:
    """Responses in which the criterion's word occurs once: its characters are the label."""
    rows = []
    for number in range(count):
        word = WORDS[number % len(WORDS)]
        before = f"We saw {number} things and then "
        rows.append(
            {
                "id": str(number),
                "prompt": f"prompt {number}",
                "response": f"{before}{word} came by",
                "criteria": [
                    {
                        "text": f"Use {word}.",
                        "checker": "rtt:include_word",
                        "kwargs": {"word": word},
                        "met": True,
                        "spans": [[len(before), len(before) + len(word)]],
                    }
                ],
            }
        )
    path.write_text("\n".join(json.dumps(row) for row in rows))


def discriminator_args(tmp_path: Path, model: str, *more: str) -> list[str]:
    """Arguments of a short `rtt fit` of a tiny discriminator."""
    write_pairs(tmp_path / "pairs.jsonl", 48)
    return [
        "fit",
        "--model=rtt_lightning.DiscriminatorModule",
        f"--model.init_args.model={model}",
        "--model.init_args.optimizer=torch.optim.AdamW",
        "--model.init_args.optimizer.init_args.lr=0.01",
        "--data.source=rtt_lightning.RecordFiles",
        f"--data.source.init_args.train={tmp_path / 'pairs.jsonl'}",
        "--data.val_share=0.3",
        "--data.view=rtt_lightning.LabelledPairs",
        "--data.view.init_args.batch_size=8",
        "--trainer.max_epochs=6",
        "--trainer.accelerator=cpu",
        "--trainer.logger=false",
        "--trainer.enable_progress_bar=false",
        "--trainer.enable_checkpointing=false",
        *more,
    ]


def fit(tmp_path: Path, model: str, *more: str):
    return main(discriminator_args(tmp_path, model, *more))


def test_it_learns_which_tokens_are_the_word(tmp_path: Path, tiny_model: str) -> None:
    run = fit(tmp_path, tiny_model)
    metrics = run.trainer.callback_metrics
    assert metrics["val/average_precision"] > 0.9
    assert metrics["val/base_rate"] < 0.2
    assert metrics["val/brier"] < 0.1


def test_a_criterion_that_is_not_read_has_no_labels(tmp_path: Path, tiny_model: str) -> None:
    """Not even where its response is the longest of a micro-batch."""
    write_pairs(tmp_path / "pairs.jsonl", 24)
    rows = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]
    for row in rows[::2]:
        row["response"] += " once more" * 9
        row["criteria"][0]["text"] *= 40
    (tmp_path / "long.jsonl").write_text("\n".join(map(json.dumps, rows)))
    flags = ("--model.init_args.max_length=64", "--trainer.max_epochs=1", "--data.view.init_args.batch_size=2")
    run = fit(tmp_path, tiny_model, f"--data.source.init_args.train={tmp_path / 'long.jsonl'}", *flags)
    assert run.trainer.callback_metrics["train/loss"] > 0


def test_one_that_becomes_a_constant_is_said(tmp_path: Path, tiny_model: str, recwarn: pytest.WarningsRecorder) -> None:
    """At this learning rate p is nearly the same for all tokens after the second epoch."""
    fit(tmp_path, tiny_model, "--trainer.max_epochs=2", "--model.init_args.optimizer.init_args.lr=0.3")
    [said] = [str(each.message) for each in recwarn if "about as chance does" in str(each.message)]
    assert said.startswith("after 10 updates the discriminator ranks")
    assert "Lower the learning rate" in said


def test_its_checkpoint_says_which_kinds_it_was_trained_on(tmp_path: Path, tiny_model: str) -> None:
    flags = ("--trainer.max_steps=1", "--trainer.limit_val_batches=0")
    run = fit(tmp_path, tiny_model, *flags)
    run.trainer.save_checkpoint(tmp_path / "d.ckpt")
    saved = torch.load(tmp_path / "d.ckpt", weights_only=True)
    assert saved["trained_kinds"] == ["rtt:include_word"]
    again = fit(tmp_path, tiny_model, *flags, f"--ckpt_path={tmp_path / 'd.ckpt'}")  # does nothing more
    assert again.model.trained_kinds == {"rtt:include_word"}
    del saved["trained_kinds"]
    again.model.on_load_checkpoint(saved)  # an older one
    assert again.model.trained_kinds == set()


def test_one_that_diverges_ends_and_is_not_saved(tmp_path: Path, tiny_model: str) -> None:
    """At this learning rate the first step leaves weights that are finite, and nothing after them is."""
    saves = f"{{class_path: rtt_lightning.Checkpoints, init_args: {{folder: {tmp_path}/ckpt}}}}"
    more = ("--trainer.enable_checkpointing=true", f"--trainer.callbacks=[{saves}]")
    with pytest.raises(
        FloatingPointError, match=r"update 2 is not finite: (loss|gradient norm) \((nan|inf)\), of prompts \d"
    ):
        fit(tmp_path, tiny_model, "--model.init_args.optimizer.init_args.lr=1e30", *more)
    assert not (tmp_path / "ckpt").exists()


def test_its_body_needs_no_chat_template(tmp_path: Path, tiny_model: str) -> None:
    body = shutil.copytree(tiny_model, tmp_path / "body")
    (body / "chat_template.jinja").unlink()
    assert fit(tmp_path, str(body), "--trainer.max_steps=1", "--trainer.limit_val_batches=0").trainer.global_step == 1


@pytest.mark.parametrize(
    "flags", [(), ("--model.init_args.lora={rank: 4, alpha: 8}",), ("--model.init_args.layers=1",)]
)
def test_its_checkpoint_alone_makes_a_relevance_source(tmp_path: Path, tiny_model: str, flags: tuple[str, ...]) -> None:
    run = fit(tmp_path, tiny_model, "--trainer.limit_train_batches=2", "--model.init_args.max_length=64", *flags)
    path = tmp_path / "d.ckpt"
    run.trainer.save_checkpoint(path, weights_only=True)
    source = DiscriminatorRelevance(str(path))
    loaded = load(source.checkpoint)
    assert loaded.config == run.model.config
    pairs = loaded.encode([(("Use tea.",), "a cup of tea"), (("Use owl.",), "no")])
    again = relevance_of(run.model.relevance.eval(), pairs, 100)
    for pair, one, other in zip(pairs, relevance_of(loaded, pairs, 100), again, strict=True):
        assert torch.equal(one, other)
        assert one.shape == (1, len(pair.offsets))


def test_accumulation_gives_the_mean_over_all_tokens_of_the_update(tmp_path: Path, tiny_model: str) -> None:
    """One batch of 16 and two accumulated ones of 8 move the weights alike, ragged responses or not."""
    same = ("--trainer.max_epochs=1", "--trainer.limit_val_batches=0", "--trainer.precision=32-true")
    sgd = ("--model.init_args.optimizer=torch.optim.SGD", "--model.init_args.optimizer.init_args.lr=0.1")
    whole = fit(tmp_path, tiny_model, *same, *sgd, "--seed_everything=1", "--data.view.init_args.batch_size=16").model
    parts = fit(tmp_path, tiny_model, *same, *sgd, "--seed_everything=1", "--trainer.accumulate_grad_batches=2").model
    for (name, one), (_, other) in zip(whole.named_parameters(), parts.named_parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4, msg=name)


def test_each_pair_is_tokenised_once_an_epoch(tmp_path: Path, tiny_model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    tokenise = PreTrainedTokenizerBase.__call__

    def counted(self: Any, text: Any, **kwargs: Any) -> Any:
        texts.extend([text] if isinstance(text, str) else text)
        return tokenise(self, text, **kwargs)

    monkeypatch.setattr(PreTrainedTokenizerBase, "__call__", counted)
    flags = ("--trainer.max_epochs=2", "--trainer.accumulate_grad_batches=2", "--trainer.limit_val_batches=0")
    run = fit(tmp_path, tiny_model, "--data.view.init_args.batch_size=4", *flags)
    pairs = len(run.datamodule.records["train"])
    assert run.trainer.global_step == 2 * -(-pairs // 8)
    responses, prefixes = (
        Counter(text for text in texts if text.startswith(start)) for start in ("We saw", "Identify which tokens")
    )
    assert len(responses) == pairs
    assert set(responses.values()) == {2}
    assert 2 < max(prefixes.values()) <= run.trainer.global_step  # several pairs of an update have the same criterion


def test_without_pairs_the_network_runs_and_nothing_moves(tiny_model: str) -> None:
    """As on a process that has none: its gradient is there, and 0."""
    model = build(RelevanceConfig(tiny_model, layers=1))
    logits, mask = model([])
    assert logits.shape == mask.shape == (0, 1)
    logits.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())


def test_a_criterion_that_looks_like_a_template_is_not_expanded(tiny_model: str) -> None:
    model = build(RelevanceConfig(tiny_model))
    [pair] = model.encode([(("{criterion} {response}",), "x")])
    assert "{criterion} {response}" in model.tokenizer.decode([*pair.prefixes[0]])


class Rates(Callback):
    """Keeps the learning rate of each update."""

    def __init__(self) -> None:
        self.found: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        self.found.append(trainer.callback_metrics["train/lr"].item())


def test_the_learning_rate_decays_to_the_end_of_the_run(tmp_path: Path, tiny_model: str) -> None:
    flags = ("--model.init_args.warmup_steps=2", "--model.init_args.decay=true", "--trainer.max_epochs=2")
    limits = ("--trainer.limit_val_batches=0", "--trainer.limit_train_batches=3")
    run = fit(tmp_path, tiny_model, *flags, *limits, f"--trainer.callbacks=[{__name__}.Rates]")
    [rates] = [callback.found for callback in run.trainer.callbacks if isinstance(callback, Rates)]
    assert rates == pytest.approx([0.005, 0.01, 0.01, 0.0075, 0.005, 0.0025])
    with pytest.raises(
        ValueError, match=r"decay needs to know the end of the run: set trainer.max_steps or max_epochs"
    ):
        fit(tmp_path, tiny_model, *flags[1:2], "--trainer.max_epochs=-1", *limits)


def test_pairs_that_are_not_read_are_counted_and_named(tmp_path: Path, tiny_model: str) -> None:
    """Of the whole update, of which the log shows the last micro-batch."""
    args = discriminator_args(tmp_path, tiny_model, "--model.init_args.max_length=48", "--trainer.max_epochs=1")
    path = tmp_path / "pairs.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    long = [{**row, "criteria": [{**row["criteria"][0], "text": "Use tea and owl. " * 20}]} for row in rows]
    path.write_text("\n".join(map(json.dumps, long[:40] + rows[40:])))
    more = ("--trainer.accumulate_grad_batches=2", "--data.view.init_args.batch_size=24", "--data.val_share=0")
    with pytest.warns(
        UserWarning, match="the criterion 'Use tea and owl.*' leaves no room for a response in 48 tokens"
    ):
        run = main([*args, *more, "--trainer.limit_val_batches=0"])
    model = run.model.relevance
    expected = sum(len(one.response) for one in model.encode([((), row["response"]) for row in long[:40]]))
    assert run.trainer.callback_metrics["train/cut_tokens"] == expected
