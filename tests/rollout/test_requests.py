"""What engines are asked for in real runs: prompts with the template's arguments, and the configured marks."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from rtt_lightning.commands.run import main
from rtt_lightning.engines.base import SampleRequest, Sampling
from rtt_lightning.engines.embedded.engine import TransformersEngine
from rtt_lightning.types import Marks, Rollout
from tests.tiny_tokenizers import CHATML

ENGINE = "--rollout.engine=tests.rollout.test_requests.Recording"
HYBRID = CHATML + "{% if add_generation_prompt and enable_thinking is not false %}<think>\n{% endif %}"
OFF = "--data.chat_template_kwargs={enable_thinking: false}"
MARKS = '--rollout.reasoning=[["Thoughts:", "Reply:\\n"]]'


class Recording(TransformersEngine):
    """Keeps the requests of all runs."""

    requests: list[SampleRequest] = []  # noqa: RUF012

    def generate(self, requests: Sequence[SampleRequest], sampling: Sampling, policy_version: int) -> Iterator[Rollout]:
        self.requests.extend(requests)
        return super().generate(requests, sampling, policy_version)


@pytest.fixture(scope="module")
def hybrid(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that thinks unless it is told not to."""
    folder = tmp_path_factory.mktemp("hybrid")
    AutoModelForCausalLM.from_pretrained(tiny_model).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = HYBRID
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize(("command", "flags", "end", "marks"), [
    ("fit", (), "assistant\n<think>\n", None),
    ("fit", (OFF, MARKS), "assistant\n", (("Thoughts:", "Reply:"),)),
    ("validate", (OFF,), "assistant\n", None),
    ("predict", (OFF,), "assistant\n", None),
])  # fmt: skip
def test_every_prompt_has_the_template_s_arguments(
    policy_args, hybrid: str, command: str, flags: tuple[str, ...], end: str, marks: tuple[Marks, ...] | None
) -> None:
    Recording.requests.clear()
    few = ("--trainer.max_steps=1", "--trainer.limit_val_batches=1.0", "--trainer.limit_predict_batches=1")
    main(policy_args(command, f"--model.init_args.model={hybrid}", ENGINE, *few, *flags))
    tokenizer = AutoTokenizer.from_pretrained(hybrid)
    assert Recording.requests
    for request in Recording.requests:
        assert tokenizer.decode(list(request.prompt_ids)).endswith(end)
        assert request.reasoning == marks


def test_a_misspelt_argument_ends_a_run_before_it_begins(policy_args, hybrid: str) -> None:
    wrong = "--data.chat_template_kwargs={enable_thinkng: false}"
    with pytest.raises(ValueError, match=r"(?s)8 of 8 prompts .*kwargs sets 'enable_thinkng', .* did you mean"):
        main(policy_args("fit", f"--model.init_args.model={hybrid}", wrong))


def test_a_token_beyond_the_embedding_ends_a_run_before_anything_is_sampled(
    policy_args, tiny_model: str, tmp_path: Path
) -> None:
    """It was added to the tokenizer, and the model was not resized."""
    AutoModelForCausalLM.from_pretrained(tiny_model).save_pretrained(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|turn|>"]})
    tokenizer.chat_template = CHATML.replace("<|im_start|>", "<|turn|>")
    tokenizer.save_pretrained(tmp_path / "model")
    Recording.requests.clear()
    with pytest.raises(ValueError, match=r"12 of 12 prompts, .* '<\|turn\|>' has id 49152, .*resize_token_embeddings"):
        main(policy_args("fit", f"--model.init_args.model={tmp_path}/model", ENGINE))
    assert not Recording.requests
