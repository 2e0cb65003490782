"""What names a folder and what a model of the hub, and how soon a hub that does not answer is an error."""

import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from rtt_lightning.datamodules.rows import read_rows
from rtt_lightning.lm.tokenizers import load_tokenizer
from rtt_lightning.runtime import hub
from rtt_lightning.runtime.hub import means_a_folder, reading
from tests.verifiers.judge.server import judge_server


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "name", ["models/nowhere", "./nowhere", "../x", "~/x", "/nowhere/x", "runs/a/b", "a b", "", "C:\\models\\x"]
)
def test_a_folder_that_is_not_there_is_named_at_once(name: str) -> None:
    with (
        pytest.raises(
            ValueError, match=r"cannot read a model from .*: no such folder from .* Give a folder that holds"
        ),
        reading("a model", name, "config.json"),
    ):
        pytest.fail("the hub was asked")


@pytest.mark.parametrize("name", ["gpt2", "Qwen/Qwen3-4B", "meta-llama/Llama-3.2-3B-Instruct"])
def test_names_of_the_hub_are_asked_for_there(name: str) -> None:
    assert not means_a_folder(name)


def test_a_socks_proxy_before_the_hub_is_a_message_with_the_mend(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    monkeypatch.delenv("https_proxy", raising=False)
    with pytest.raises(ValueError, match=r"of ALL_PROXY; .*pip install socksio\. Give a folder"):
        load_tokenizer("some-owner/some-model")
    with pytest.raises(ValueError, match=r"a dataset from .*pip install socksio"):
        read_rows("some-owner/some-data")
    with pytest.raises(ValueError, match=r"cannot read it from .*: no\. Give"), reading("it", str(tmp_path), "a file"):
        raise OSError("no.")
    with pytest.raises(ImportError, match="another"), reading("it", str(tmp_path), "a file"):
        raise ImportError("another")


def test_a_name_that_may_be_either_says_that_there_is_no_such_folder() -> None:
    with (
        pytest.raises(
            ValueError, match=r"'owner/x': there is no folder of that name in .*, and as a name of the hub: no"
        ),
        reading("a model", "owner/x", "config.json"),
    ):
        raise OSError("no answer")


@pytest.fixture
def silent_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A hub that takes connections and never replies, which is waited for half a second."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(hub, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        monkeypatch.setattr(hub, "DEADLINE", 0.5)
        yield hub.ENDPOINT


@pytest.mark.parametrize("reachable", [True, False], ids=["silent", "nobody listens"])
def test_a_hub_that_does_not_answer_is_asked_once(
    silent_hub: str, monkeypatch: pytest.MonkeyPatch, reachable: bool
) -> None:
    """Its library would ask six times for each file, a minute in all."""
    if not reachable:
        monkeypatch.setattr(hub, "ENDPOINT", "http://127.0.0.1:9")
    began = time.monotonic()
    for read in (load_tokenizer, read_rows):
        with pytest.raises(ValueError, match=r"'owner/x': there is no folder .* does not answer: .* Give a folder"):
            read("owner/x")
    assert time.monotonic() - began < 10
    assert not constants.HF_HUB_OFFLINE


def test_what_was_downloaded_before_is_read_where_the_hub_does_not_answer(
    silent_hub: str, tiny_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    downloaded = tmp_path / "cache/models--owner--x"
    shutil.copytree(tiny_model, downloaded / "snapshots/abc")
    (downloaded / "refs").mkdir()
    (downloaded / "refs/main").write_text("abc")
    with pytest.warns(UserWarning, match="does not answer .*: owner/x is what was downloaded before"):
        assert load_tokenizer("owner/x").chat_template


def test_a_hub_that_answers_is_asked_by_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it answers."""
    with judge_server(status=404) as url:
        monkeypatch.setattr(hub, "ENDPOINT", url)
        assert hub.silence_of_hub(url) == ""
