"""`RubricDataModule`: what is loaded for which stage, and what is refused."""

import json
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

import pytest

from rtt_lightning.datamodules import ConstraintPrompts, PromptWindows, RecordFiles, RubricDataModule
from rtt_lightning.lm.tokenizers import load_tokenizer, render_prompt
from rtt_lightning.verifiers.rules import RuleVerifier

CRITERION = {"text": "Use tea.", "checker": "rtt:include_word", "kwargs": {"word": "tea"}}
LENGTHS = (1, 40, 5, 60)


def write(path: Path, prompts: Sequence[str], criterion: dict = CRITERION) -> str:
    rows = [{"id": f"row {i}", "prompt": prompt, "criteria": [criterion]} for i, prompt in enumerate(prompts)]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return str(path)


def of_lengths(tmp_path: Path, model: str, **arguments) -> tuple[RubricDataModule, list[int]]:
    """A data module of prompts of 1, 40, 5 and 60 words, and their lengths as rendered."""
    prompts = [" tea" * n for n in LENGTHS]
    source = RecordFiles(train=write(tmp_path / "a.jsonl", prompts))
    tokenizer = load_tokenizer(model)
    rendered = [len(render_prompt(tokenizer, [{"role": "user", "content": prompt}])) for prompt in prompts]
    return RubricDataModule(source, tokenizer=model, **arguments), rendered


def test_the_defaults_are_the_built_in_prompts_in_windows() -> None:
    data = RubricDataModule()
    assert isinstance(data.source, ConstraintPrompts)
    assert isinstance(data.view, PromptWindows)
    data.setup("fit")
    assert {split: len(records) for split, records in data.records.items()} == {"train": 512, "val": 128}
    data.check_criteria(RuleVerifier().problems)


@pytest.mark.parametrize(("stage", "splits"), [
    ("fit", {"train": 4, "val": 2}),
    ("validate", {"val": 2}),
    ("test", {"test": 3}),
    ("predict", {"train": 4}),
])  # fmt: skip
def test_a_stage_loads_its_splits_and_no_others(stage: str, splits: dict[str, int]) -> None:
    data = RubricDataModule(ConstraintPrompts(train=4, val=2, test=3))
    data.setup(stage)
    assert {split: len(records) for split, records in data.records.items()} == splits


@pytest.mark.parametrize(("stage", "split"), [("validate", "val"), ("test", "test"), ("predict", "train")])
def test_a_stage_without_its_split_says_what_to_set(policy_args, stage: str, split: str) -> None:
    from rtt_lightning.commands.run import main

    empty = "--data.source.init_args={train: 0, val: 0, test: 0}"
    with pytest.raises(ValueError, match=f"the data has no '{split}' split; set data.source.init_args.{split}"):
        main(policy_args(stage, empty, "--trainer.limit_val_batches=1.0"))


def test_overlong_prompts_end_with_their_names_and_the_ways_out(tmp_path: Path, tiny_model: str) -> None:
    data, rendered = of_lengths(tmp_path, tiny_model)
    data.max_prompt_tokens = rendered[2]
    named = rf"row 1 \({rendered[1]} tokens\), row 3 \({rendered[3]} tokens\)"
    ways_out = "raise data.max_prompt_tokens, or set data.overlong to drop or truncate"
    with pytest.raises(ValueError, match=rf"2 of 4 prompts are longer than {rendered[2]} tokens: {named}; {ways_out}"):
        data.setup("predict")


def test_overlong_prompts_can_be_dropped_which_says_how_many(tmp_path: Path, tiny_model: str) -> None:
    data, rendered = of_lengths(tmp_path, tiny_model, overlong="drop")
    data.max_prompt_tokens = rendered[2]
    with pytest.warns(UserWarning, match=r"2 of 4 prompts are longer .* row 1 .* row 3 .*; dropped"):
        data.setup("predict")
    assert [record.sample.id for record in data.records["train"]] == ["row 0", "row 2"]


def test_a_prompt_of_exactly_the_longest_length_stays(tmp_path: Path, tiny_model: str) -> None:
    data, rendered = of_lengths(tmp_path, tiny_model)
    data.max_prompt_tokens = max(rendered)
    data.setup("predict")
    assert len(data.records["train"]) == 4


def test_unknown_checkers_are_listed_once_each_with_their_counts(tmp_path: Path) -> None:
    wrong = [write(tmp_path / f"{name}.jsonl", ["x"] * count, {**CRITERION, "checker": name}) for name, count in
             (("rtt:include_wrd", 3), ("rtt:tilte", 2))]  # fmt: skip
    data = RubricDataModule(RecordFiles(train=wrong[0], val=wrong[1]))
    data.setup("fit")
    with pytest.raises(ValueError, match="the data asks for checks that the verifier cannot make") as error:
        data.check_criteria(RuleVerifier().problems)
    assert str(error.value).splitlines()[1:] == [
        "  unknown checker 'rtt:include_wrd'; did you mean 'rtt:include_word'? (3 criteria, first in prompt 'row 0')",
        "  unknown checker 'rtt:tilte'; did you mean 'rtt:title'? (2 criteria, first in prompt 'row 0')",
    ]


@pytest.mark.parametrize("stage", ["fit", "validate"])
def test_arguments_that_do_not_fit_their_checker_are_refused_before_anything_is_sampled(
    policy_args, tmp_path: Path, stage: str
) -> None:
    from rtt_lightning.commands.run import main

    wrong = write(tmp_path / "wrong.jsonl", ["x", "y"], {**CRITERION, "kwargs": {"word": "tea", "n": 5}})
    right = write(tmp_path / "right.jsonl", ["x", "y"])
    source = f"{{class_path: rtt_lightning.RecordFiles, init_args: {{train: {right}, val: {wrong}}}}}"
    with pytest.raises(ValueError, match=r"takes `word`, got `word`, `n` \(2 criteria, first in prompt 'row 0'\)"):
        main(policy_args(stage, f"--data.source={source}", "--trainer.limit_val_batches=1.0"))
    assert not (tmp_path / "completions").exists()


def test_a_tokenizer_without_a_chat_template_is_refused(tmp_path: Path, tiny_model: str) -> None:
    tokenizer = deepcopy(load_tokenizer(tiny_model))  # others share it
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path / "plain")
    data = RubricDataModule(ConstraintPrompts(train=1), tokenizer=str(tmp_path / "plain"))
    with pytest.raises(ValueError, match=r"no chat template, .* use an instruct model or save a chat_template.jinja"):
        data.setup("predict")
