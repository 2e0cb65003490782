"""`rtt explain`: what it is given, and what it takes where nothing is recorded."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rtt_lightning.cli import answer
from rtt_lightning.datamodules.records import read_judged
from rtt_lightning.modules.discriminator import DiscriminatorModule
from rtt_lightning.relevance.discriminator.checkpoint import save
from rtt_lightning.reports.completions import write_completions
from rtt_lightning.types import RubricSample, Verdict
from rtt_lightning.types.errors import UserError
from rtt_lightning.verifiers.base import Verifier

TEXT = ("--prompt", "Write of tea.", "--response", "Tea is nice, I love tea.")
TEA = ("--criterion", "Use the word 'tea'.")


@pytest.fixture
def explain(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What `rtt explain` prints, its lines joined by single spaces."""
    monkeypatch.setenv("COLUMNS", "80")

    def run(*words: Any) -> str:
        answer(["explain", *map(str, words)])
        return " ".join(capsys.readouterr().out.split())

    return run


@pytest.fixture(scope="module")
def discriminator(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An exported one with random weights."""
    torch.manual_seed(0)
    module = DiscriminatorModule(tiny_model)
    module.configure_model()
    torch.nn.init.normal_(module.relevance.network.score.weight, std=0.3)
    folder = tmp_path_factory.mktemp("discriminator") / "exported"
    folder.mkdir()
    save(module.relevance, folder, torch.float32)
    return str(folder)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Seven responses to two prompts."""
    tea = {"text": "Mention tea.", "met": True, "reason": "found", "spans": [[0, 3]]}
    rows = [{"prompt": "Write.", "id": f"p{n % 2}", "response": f"Tea {n}", "criteria": [tea]} for n in range(7)]
    path = tmp_path / "judged.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def page(path: Path) -> dict[str, Any]:
    """The data of a page."""
    return json.loads(path.read_text().partition('id="data">')[2].partition("</script>")[0])


# -- texts ---------------------------------------------------------------------------------------------------------


def test_a_text_is_judged_by_rules_and_what_no_rule_decides_is_undecided(explain) -> None:
    rude = json.dumps({"text": "Mention the word 'love'.", "weight": -1})
    shown = explain(*TEXT, *TEA, "--criterion", "Use no commas.", "--criterion", "Be kind.", "--criterion", rude)
    assert "✓ 1. Use the word 'tea'. as desired: found 2 of 8 tokens decide it" in shown
    assert "⟦Tea⟧ is nice, I love ⟦tea⟧." in shown
    assert "✗ 2. Use no commas." in shown
    assert "Tea is nice⟦,⟧ I love tea." in shown
    assert "? 3. Be kind. undecided: no rule decides this criterion; it needs a judge" in shown
    assert "✗ 4. Mention the word 'love'. (weight -1)" in shown
    assert "advantage token level of RTT alone" in shown


def test_long_texts_come_from_files_or_the_standard_input(explain, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "prompt.txt").write_text("Write of tea.")
    (tmp_path / "criteria.txt").write_text("Use the word 'tea'.\n\nUse no commas.\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("<think>tea</think> --tea, ${HOME} {data}"))
    files = ("--prompt_file", tmp_path / "prompt.txt", "--criteria_file", tmp_path / "criteria.txt")
    shown = explain(*files, "--response_file", "-")
    assert "<think>tea</think> --⟦tea⟧, ${HOME} {data}" in shown  # reasoning is not judged, and nothing is expanded
    assert "✗ 2. Use no commas." in shown


class Kind(Verifier):
    """A judge that finds everything kind."""

    async def verify(self, sample: RubricSample, answer: str) -> list[Verdict]:
        return [Verdict(True, f"kind: {sample.text}", spans=((0, 3),)) for _ in sample.criteria]


def test_the_run_says_who_judges_weighs_and_credits(explain) -> None:
    verifier = f"--rollout.verifier={__name__}.Kind"
    assert "as desired: kind: Write of tea. 1 of 8 tokens" in explain(*TEXT, "--criterion", "Be kind.", verifier)
    grpo = ("--model.algorithm=GRPO", "--rollout.relevance=UniformRelevance")
    shown = explain(*TEXT, *TEA, *grpo)
    assert "computed by UniformRelevance; advantage unknown: GRPO compares responses" in shown
    assert "All tokens count alike" in shown


def test_a_discriminator_weighs_its_own_tokens(explain, discriminator: str, tmp_path: Path) -> None:
    output = tmp_path / "page.html"
    explain(*TEXT, *TEA, "--discriminator", discriminator, "--output", output)
    [response] = page(output)["responses"]
    assert response["pieces"][:3] == ["Te", "a", " is"]
    assert "".join(response["pieces"]) == TEXT[-1]
    assert len({*response["criteria"][0]["p"]}) > 4
    assert response["from"][0] == "Relevance: computed by DiscriminatorRelevance."


# -- files ---------------------------------------------------------------------------------------------------------


def test_the_first_responses_are_shown_and_the_rest_is_said(explain, file: Path, tmp_path: Path) -> None:
    assert f"rows 1 to 3 of 7 responses in {file}; --row N or --prompt_id ID choose others" in explain(file)
    shown = explain(file, "--prompt_id", "p1")
    assert "row 2, prompt p1" in shown
    assert f"rows 2, 4, 6 of 7 responses in {file}" in shown
    assert "computed by RTT from the 3 responses to this prompt" in shown
    assert "rows 7, 1, 2, 3 of 7" in explain(file, "--row", 7, "--row=1", "--row", 2, "--row", 3, "--row", 1)
    assert f"wrote {tmp_path}/p.html: rows 1 to 7 of 7" in explain(file, "--output", tmp_path / "p.html")
    assert len(page(tmp_path / "p.html")["responses"]) == 7


def test_a_window_shows_what_it_recorded_unless_a_discriminator_is_asked(
    explain, discriminator: str, file: Path, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in file.read_text().splitlines()[:2]]
    sampled = {"group_id": 0, "sample_index": 0, "response_ids": [1, 2], "offsets": [[0, 3], [3, 5]], "text": "Tea 0"}
    sampled |= {"answer_span": [0, 5], "finish_reason": "length", "policy_version": 0, "temperature": 1.0}
    file.write_text(json.dumps(rows[0] | sampled | {"prompt_ids": [1], "logprobs": None}))
    window = tmp_path / "windows/window-000000.parquet"
    write_completions(window, read_judged(file), torch.tensor([[[0.125, 0.875]]]), torch.tensor([[1.5, -0.25]]))
    output = tmp_path / "page.html"
    explain(window.parent, "--output", output)
    [response] = page(output)["responses"]
    assert (response["criteria"][0]["p"], response["advantages"]) == ([125, 875], [1500, -250])
    assert response["from"] == ["Relevance: as recorded.", "Advantage: as recorded."]
    assert response["tokens"] == "2 tokens, cut off at the token limit"
    explain(window.parent, "--output", output, "--discriminator", discriminator)
    [again] = page(output)["responses"]
    assert again["criteria"][0]["p"] != [125, 875]
    assert "token level of RTT alone" in again["from"][1]


# -- mistakes ------------------------------------------------------------------------------------------------------

MISTAKES: dict[str, tuple[tuple[str, ...], str]] = {
    "nothing": ((), r"nothing to explain is given; it is\nrtt explain FILE"),
    "a file and texts": (("FILE", *TEXT), r"both the file .* and texts; give FILE, or --prompt, --response and"),
    "no criterion": (TEXT, r"--criterion is missing: a text needs --prompt, --response and --criterion"),
    "a criterion without text": ((*TEXT, "--criterion", " "), r"`--criterion 1`: criterion text is empty; write"),
    "an empty prompt": (("--prompt", "", "--response", "a", *TEA), r"content` is empty; each turn must say something"),
    "a text twice": ((*TEXT, *TEA, "--prompt_file", "FILE"), r"both --prompt and --prompt_file; give one of them"),
    "no such text": (("--prompt_file", "none", *TEA), r"none cannot be read: No such file .*; give a file of text"),
    "no such file": (("none.jsonl",), r"no data file at none.jsonl; give the path of a .jsonl"),
    "a file without responses": (("PROMPTS",), r"prompts.jsonl holds no responses; `rtt fit`, .* write them"),
    "a row beyond the end": (("FILE", "--row", "8"), r"no row 8 in .*: give --row from 1 to 7"),
    "row 0": (("FILE", "--row", "0"), r"no row 0 in .*: give --row from 1 to 7"),
    "an unknown prompt": (("FILE", "--prompt_id", "zz"), r"no response to the prompt 'zz' .*ids are such as 'p0'"),
    "a misspelt prompt": (("FILE", "--prompt_id", "p11"), r"did you mean 'p1'\?"),
    "a page of another kind": (("FILE", "--output", "x.pdf"), r"page to write, such as explain.html, got 'x.pdf'"),
    "no discriminator there": (("FILE", "--discriminator", "none"), r"no discriminator checkpoint at none; give the"),
    "another file": (("FILE", "--discriminator", "FILE"), r"is not a discriminator's checkpoint; it cannot be read"),
    "a wrong flag of the run": (("FILE", "--rollout.relevanze=RuleSpans"), r"did you mean 'rollout.relevance"),
}


@pytest.mark.parametrize(("words", "says"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_named_with_its_fix(explain, words, says: str, file: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "Write.", "criteria": ["Be kind."]}')
    places = {"FILE": file, "PROMPTS": tmp_path / "prompts.jsonl"}
    with pytest.raises(UserError, match=says):
        explain(*(places.get(word, word) for word in words))


def test_a_checkpoint_of_a_policy_is_no_discriminator(explain, file: Path, tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "policy_config": {}}, tmp_path / "policy.ckpt")
    with pytest.raises(UserError, match=r"policy.ckpt is not a discriminator's checkpoint; it has no"):
        explain(file, "--discriminator", tmp_path / "policy.ckpt")
