"""What a discriminator leaves on the disk is one: a checkpoint, of this version or of the first, and its export."""

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.random_models import TINY, save_random_model
from rtt_lightning.commands.export import export
from rtt_lightning.commands.run import main
from rtt_lightning.lm.loading import Lora
from rtt_lightning.modules import DiscriminatorModule
from rtt_lightning.relevance import DiscriminatorRelevance
from rtt_lightning.relevance.discriminator.checkpoint import CHECKPOINT_KEY, load
from rtt_lightning.relevance.discriminator.source import relevance_of
from tests.conftest import ROOT
from tests.modules.test_discriminator import discriminator_args

OLD = ROOT / "tests/assets/v0.1.0/discriminator.ckpt"
"""Of version 0.1.0: two updates of adapters of rank 2 over `body`."""
PAIRS = [(("Use tea.",), "a cup of tea"), (("Write at length about the birds.",), "no"), (("Use owl.",), "")]


@pytest.fixture(scope="module")
def body(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_random_model(tmp_path_factory.mktemp("body"), TINY | {"vocab_size": 280})


def rated(model: Any) -> torch.Tensor:
    return torch.cat([rows.flatten() for rows in relevance_of(model, model.encode(PAIRS), 100)])


def checkpoint_of(body: str, path: Path, **arguments: Any) -> Path:
    """Of a discriminator that rates tokens differently."""
    torch.manual_seed(0)
    module = DiscriminatorModule(body, **arguments)
    module.configure_model()
    for parameter in module.parameters():
        if parameter.requires_grad:
            parameter.data.add_(torch.randn(parameter.shape) * 0.1)
    state: dict[str, Any] = {"state_dict": module.state_dict(), "global_step": 3}
    module.on_save_checkpoint(state)
    torch.save(state, path)
    return path


def test_a_checkpoint_of_the_first_version_is_a_relevance_source(body: str) -> None:
    source = DiscriminatorRelevance(str(OLD), model=body)
    assert source.config.lora == Lora(2, 4.0)
    assert (source.config.model, source.config.max_length) == (body, 200)
    model = load(str(OLD), body)
    saved = torch.load(OLD, weights_only=True)["state_dict"]
    weights = {f"relevance.{name}": weight for name, weight in model.state_dict().items()}
    assert all(torch.equal(weights[name], weight) for name, weight in saved.items())


def test_a_checkpoint_of_the_first_version_goes_on_in_the_module(body: str, tmp_path: Path) -> None:
    given = ("--model.init_args.lora={rank: 2, alpha: 4}", "--model.init_args.max_length=200", f"--ckpt_path={OLD}")
    arguments = discriminator_args(tmp_path, body, *given)
    run = main(["validate", *[argument for argument in arguments[1:] if "optimizer" not in argument]])
    assert torch.equal(rated(run.model.relevance.eval()), rated(load(str(OLD), body)))
    assert run.trainer.callback_metrics["val/brier"] > 0


@pytest.mark.parametrize(
    "arguments", [{}, {"lora": Lora(4, 8.0)}, {"layers": 1, "lora": Lora(4, 8.0), "template": "{criterion}|"}]
)
def test_an_export_is_the_same_relevance_source(body: str, tmp_path: Path, arguments: dict[str, Any]) -> None:
    path = checkpoint_of(body, tmp_path / "d.ckpt", max_length=200, **arguments)
    export(path, tmp_path / "out", dtype="float32")
    expected, found = load(str(path)), load(str(tmp_path / "out"))
    assert (found.config.template, found.config.max_length) == (expected.config.template, 200)
    assert rated(expected).std() > 0.01
    torch.testing.assert_close(rated(found), rated(expected), atol=1e-5, rtol=0)
    assert not any(parameter.requires_grad for parameter in found.parameters())
    with pytest.raises(ValueError, match="out is a whole discriminator: leave out model elsewhere"):
        DiscriminatorRelevance(str(tmp_path / "out"), model="elsewhere").config  # noqa: B018


@pytest.mark.parametrize(
    ("encoder", "arguments"),
    [
        (False, {}),
        (False, {"one_pass": True}),
        (True, {"layers": 1, "template": "{criterion}"}),
        (True, {"layers": 1, "template": "{criterion}", "one_pass": True}),
    ],
    ids=["decoder", "decoder, one pass", "encoder", "encoder, one pass"],
)
def test_the_code_of_the_card_gives_the_same_relevance(
    body: str,
    real_encoder: str,
    encoder: bool,
    arguments: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With `transformers` alone; the encoder drops capitals, which it must be told."""
    path = checkpoint_of(real_encoder if encoder else body, tmp_path / "d.ckpt", max_length=200, **arguments)
    export(path, tmp_path / "out", dtype="float32")
    code = (tmp_path / "out/README.md").read_text().split("```python\n")[1].split("```")[0]
    assert "rtt_lightning" not in code
    assert encoder or arguments or len(code.splitlines()) <= 8
    monkeypatch.chdir(tmp_path)
    shown: list[torch.Tensor] = []
    exec(compile(code, "card", "exec"), {"print": shown.append})
    model = load(str(tmp_path / "out"))
    criteria = ("Use the word 'tea'.", "Use no commas.") if arguments.get("one_pass") else ("Use the word 'tea'.",)
    [expected] = relevance_of(model, model.encode([(criteria, "I like TEA.")]), 1000)
    found, expected = (p.double().clamp(1e-30).log() for p in (shown[0].reshape(expected.shape), expected))
    assert expected.std() > 0.01
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


def test_what_is_no_discriminator_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no discriminator checkpoint at .*none\.ckpt; give the \.ckpt"):
        load(str(tmp_path / "none.ckpt"))
    with pytest.raises(ValueError, match=r"at .*, a folder without meta\.pt or relevance\.json; give .*`rtt export`"):
        load(str(tmp_path))
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match=f"not a discriminator's checkpoint; it has no '{CHECKPOINT_KEY}'"):
        load(str(tmp_path / "other.ckpt"))
