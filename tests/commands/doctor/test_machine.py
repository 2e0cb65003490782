"""`rtt doctor`, through the entry point: what it finds, what it advises, and its exit code."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from unittest.mock import Mock

import nltk
import pytest
from transformers import AutoConfig, AutoTokenizer

from rtt_lightning.cli import run
from rtt_lightning.commands.doctor import dry_run, plans
from rtt_lightning.commands.doctor.budget import GIB, judge_fit
from rtt_lightning.commands.doctor.machine import NLTK_RESOURCES, inspect_master
from tests.conftest import ROOT
from tests.families import saved
from tests.modules.test_discriminator import discriminator_args
from tests.verifiers.judge.server import judge_server

Doctor = Callable[..., tuple[int, str]]


@pytest.fixture
def doctor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Doctor:
    """Runs `rtt doctor FLAGS` in this process, without a vLLM; returns exit code and output."""
    monkeypatch.setitem(sys.modules, "vllm", None)

    def examine(*flags: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["rtt", "doctor", *flags])
        with pytest.raises(SystemExit) as ended:
            run()
        output = capsys.readouterr()
        return int(ended.value.code or 0), output.out + output.err

    return examine


def line_of(output: str, name: str) -> str:
    """The one line that is about ``name``."""
    [line] = [line for line in output.splitlines() if line.startswith("  ") and line.split()[1:2] == [name]]
    return line


def distribution(folder: Path, name: str, version: str, *lines: str) -> None:
    """The metadata of an installed distribution, without the distribution."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *lines]))


# -- the machine ---------------------------------------------------------------------------------------------------


def test_a_sound_machine_is_fine(doctor: Doctor) -> None:
    code, output = doctor()
    assert code == 0, output
    assert "everything that is needed is fine" in output
    assert line_of(output, "torch").split()[0] == "ok"
    assert ">=2.10" in line_of(output, "torch")
    assert "cores" in line_of(output, "CPU")
    assert "not installed" in line_of(output, "vLLM")
    assert line_of(output, "vLLM").split()[0] == "note"  # missing, and not needed
    assert "GiB free" in line_of(output, "disk")
    assert "opened" in line_of(output, "loopback")


@pytest.mark.parametrize(
    ("requires", "sign", "expected"),
    [
        ("Requires-Dist: no-such-package>=1", "BROKEN", "missing (>=1); pip install 'no-such-package>=1'"),
        ("Requires-Dist: torch>=99", "BROKEN", "out of range (>=99)"),
        ('Requires-Dist: no-such-package>=1; extra == "quant"', "note", "pip install 'rtt-lightning[quant]'"),
        ('Requires-Dist: torch>=99; extra == "quant"', "note", "out of range (>=99, extra quant)"),
        ("Requires-Python: >=99", "BROKEN", "(>=99); install Python >=99"),
    ],
    ids=["missing", "out of range", "missing extra", "extra out of range", "old Python"],
)
def test_a_wrong_package_is_marked_and_broken_only_where_it_is_needed(
    doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, requires: str, sign: str, expected: str
) -> None:
    distribution(tmp_path, "rtt-lightning", "0.1.0", requires, "Provides-Extra: quant")
    monkeypatch.syspath_prepend(tmp_path)
    code, output = doctor()
    name = "python" if "Python" in requires else requires.split()[1].partition(">")[0]
    assert line_of(output, name).split()[0] == sign
    assert expected in line_of(output, name)
    assert code == (1 if sign == "BROKEN" else 0)
    assert (f"broken: {name}" in output) == (sign == "BROKEN")


def test_a_source_tree_that_is_not_installed_is_looked_at_like_an_installed_one(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = metadata.metadata

    def not_installed(name: str) -> object:
        if name == "rtt-lightning":
            raise metadata.PackageNotFoundError(name)
        return real(name)

    installed = doctor()[1]
    monkeypatch.setattr(metadata, "metadata", not_installed)
    code, output = doctor()
    assert code == 0, output
    for name in ("python", "torch", "aiolimiter"):
        assert line_of(output, name).split()[0] == "ok"
        assert line_of(output, name) == line_of(installed, name)
    assert "extra judge" in line_of(output, "aiolimiter")


def test_another_distribution_of_the_module_counts(
    doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distribution(tmp_path, "rtt-lightning", "0.1.0", "Requires-Dist: some-engine>=2")
    distribution(tmp_path, "some-engine-cpu", "2.5")
    (tmp_path / "some_engine_cpu-2.5.dist-info/top_level.txt").write_text("some_engine\n")
    monkeypatch.syspath_prepend(tmp_path)
    code, output = doctor()
    assert "2.5 of some-engine-cpu (>=2)" in line_of(output, "some-engine")
    assert code == 0


def test_missing_nltk_resources_are_noted_with_the_way_to_them(
    doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nltk, "download", lambda *args, **kwargs: pytest.fail("downloads"))
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    (tmp_path / NLTK_RESOURCES["stopwords"]).mkdir(parents=True)
    code, output = doctor()
    line = line_of(output, "NLTK")
    assert code == 0
    assert line.split()[0] == "note"
    assert "-d FOLDER punkt_tab averaged_perceptron_tagger_eng`" in line
    assert "NLTK_DATA" in line
    for path in NLTK_RESOURCES.values():
        (tmp_path / path).mkdir(parents=True, exist_ok=True)
    assert line_of(doctor()[1], "NLTK").split()[0] == "ok"


def test_a_proxy_is_shown_and_one_that_cannot_be_used_is_noted(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("https_proxy", raising=False)
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    code, output = doctor()
    assert code == 0
    assert line_of(output, "proxy").split()[0] == "note"
    assert (
        "of ALL_PROXY; NO_PROXY=huggingface.co goes without it), which needs a package: pip install socksio" in output
    )
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@proxy.example:3128")
    line = line_of(doctor()[1], "proxy")
    assert line.split()[0] == "ok"
    assert "through the proxy http://proxy.example:3128 of HTTPS_PROXY" in line


def test_the_meeting_place_of_processes_is_checked() -> None:
    assert inspect_master({}) == []
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        [taken] = inspect_master({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port})
    assert taken.fine is False
    assert "in use" in taken.found
    [free] = inspect_master({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port})
    assert free.fine
    [elsewhere] = inspect_master({"MASTER_ADDR": "192.0.2.1", "MASTER_PORT": port})  # reserved for documentation
    assert elsewhere.fine
    assert "another machine" in elsewhere.found
    for wrong in ({"MASTER_ADDR": "127.0.0.1"}, {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "many"}):
        assert inspect_master(wrong)[0].fine is False
    assert inspect_master({"MASTER_ADDR": "no-such-host.invalid", "MASTER_PORT": port})[0].fine is False


def test_the_console_script_ends_with_code_1_where_something_is_broken(tmp_path: Path) -> None:
    distribution(tmp_path, "rtt-lightning", "0.1.0", "Requires-Dist: no-such-package>=1")
    (tmp_path / "vllm.py").write_text("raise ImportError('libcudart.so')")
    for path in NLTK_RESOURCES.values():
        (tmp_path / path).mkdir(parents=True)
    ended = subprocess.run(
        [sys.executable, "-m", "rtt_lightning", "doctor"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}", "NLTK_DATA": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 1, ended.stderr
    assert "BROKEN no-such-package" in ended.stdout
    assert "cannot be imported: libcudart.so" in line_of(ended.stdout, "vLLM")
    assert line_of(ended.stdout, "NLTK").split()[0] == "ok"
    assert "Traceback" not in ended.stderr


# -- a configuration -----------------------------------------------------------------------------------------------


def test_a_policy_is_described_and_estimated_without_its_weights(
    doctor: Doctor, policy_args, tiny_model: str, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    (folder / "model.safetensors").unlink()
    code, output = doctor(*policy_args("fit", "--model.init_args.model", str(folder))[1:])
    assert code == 0, output
    assert "million parameters, 2 layers" in line_of(output, "model")
    assert "8 train, 4 val" in line_of(output, "data")
    assert "3 rows" in line_of(output, "micro-batch")
    [header] = [line for line in output.splitlines() if "loading" in line and "updating" in line]
    assert header.split() == ["loading", "sampling", "training", "updating"]
    assert "is the largest phase" in line_of(output, "memory")
    assert not (tmp_path / "completions").exists()


@pytest.mark.parametrize(
    ("family", "reason"),
    [("gpt2", ""), ("qwen3_moe", ""), ("deepseek_v3", ""), ("llama", "a shape depends on a number")],
)
def test_any_family_is_estimated_and_a_network_that_needs_numbers_is_no_fault(
    doctor: Doctor, policy_args, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str, reason: str
) -> None:
    model = saved(family, tmp_path / "base")
    template = {"chat_template": "{% for m in messages %}{{ m['content'] }}{% endfor %}"}
    settings = json.loads((tmp_path / "base/tokenizer_config.json").read_text())
    (tmp_path / "base/tokenizer_config.json").write_text(json.dumps(settings | template))
    if reason:
        monkeypatch.setattr(plans, "training_memory", Mock(side_effect=RuntimeError(reason)))
    code, output = doctor(*policy_args("fit", f"--model.init_args.model={model}")[1:])
    assert code == 0, output
    assert "million parameters, 2 layers" in " ".join(output.split())
    assert line_of(output, "memory").split()[0] == ("note" if reason else "ok")
    assert reason in line_of(output, "memory")


def test_a_discriminator_is_estimated(doctor: Doctor, tmp_path: Path, tiny_model: str) -> None:
    code, output = doctor(*discriminator_args(tmp_path, tiny_model)[1:])
    assert code == 0, output
    assert "8 rows" in line_of(output, "micro-batch")
    [header] = [line for line in output.splitlines() if "loading" in line and "updating" in line]
    assert header.split() == ["loading", "training", "updating"]


def test_a_model_out_of_reach_is_one_line_and_the_rest_is_shown(doctor: Doctor, policy_args, tmp_path: Path) -> None:
    code, output = doctor(*policy_args("fit", f"--model.init_args.model={tmp_path}/none")[1:])
    assert code == 1
    assert "cannot read the shape of a model from" in line_of(output, "model")
    assert line_of(output, "model").split()[0] == "BROKEN"
    assert "8 train, 4 val" in line_of(output, "data")
    assert "broken: model\n" in output


@pytest.mark.parametrize("method", ["rtt", "grpo-csr"])
@pytest.mark.parametrize("model", ["qwen3-4b", "qwen2.5-7b", "llama-3.2-3b"])
def test_shipped_models_compose_and_say_what_is_missing(
    doctor: Doctor, method: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(name: str, *args: object, **kwargs: object) -> None:
        raise OSError("We couldn't connect to 'https://huggingface.co'.")

    monkeypatch.setattr("rtt_lightning.commands.doctor.plans.AutoConfig.from_pretrained", unreachable)
    files = (f"methods/{method}.yaml", f"models/{model}.yaml", "data/paper.yaml", "strategies/single.yaml")
    row = {"prompt": "Say hi.", "criteria": [{"text": "Hi.", "checker": "rtt:include_word", "kwargs": {"word": "hi"}}]}
    (tmp_path / "data.jsonl").write_text("\n".join([json.dumps(row)] * 64))
    flags = [flag for file in files for flag in ("--config", str(ROOT / "configs" / file))]
    flags += [f"--data.source.init_args.{split}={tmp_path}/data.jsonl" for split in ("train", "val")]
    code, output = doctor(*flags)
    assert code == 1
    assert "We couldn't connect" in line_of(output, "model")
    assert "64 train, 64 val; 16 micro-batches" in line_of(output, "data")


def test_what_does_not_fit_says_which_phase_and_what_to_change(
    doctor: Doctor, policy_args, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dry_run, "host_memory", lambda: GIB + 2**20)
    code, output = doctor(
        *policy_args("fit", "--rollout.sampling.max_new_tokens=300", "--rollout.engine.init_args.batch_size=1")[1:]
    )
    line = line_of(output, "memory")
    assert code == 1
    assert "it does not fit" in line
    assert "GiB activations: model.init_args.gradient_checkpointing true" in line


def test_the_verdict_names_the_largest_holders() -> None:
    phases = {"sampling": {"base weights": 3 * GIB}, "training": {"base weights": 3 * GIB, "gradients": 5 * GIB}}
    fine, said, advice = judge_fit(phases, 8 * GIB)
    assert fine is False
    assert "training is the largest phase: with 1 GiB for the libraries 9.0 GiB a process of 8.0 GiB" in said
    assert advice.startswith("5.0 GiB gradients: adapters")
    assert judge_fit(phases, 9 * GIB)[0] is True
    assert judge_fit(phases, None)[0] is None


def test_devices_that_this_machine_lacks_are_broken_and_the_estimate_is_made(doctor: Doctor, policy_args) -> None:
    flags = ("--config", str(ROOT / "configs/strategies/fsdp.yaml"), "--trainer.accelerator=gpu", "--trainer.devices=2")
    code, output = doctor(*policy_args("fit", *flags)[1:])
    assert code == 1
    assert line_of(output, "devices").split()[0] == "BROKEN"
    assert "2 processes" in line_of(output, "micro-batch")
    assert "gathered layers" in output
    assert "not known here" in line_of(output, "memory")


MISTAKES = {
    "an unknown checker": (("train", "rtt:include_wrd"), "did you mean 'rtt:include_word'"),
    "too few prompts": (("train", "rtt:include_word"), "1 training prompts do not fill a window of 2"),
}


def test_prompts_that_the_model_cannot_read_are_broken(
    doctor: Doctor, policy_args, tmp_path: Path, tiny_model: str
) -> None:
    AutoConfig.from_pretrained(tiny_model).save_pretrained(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|turn|>"]})
    tokenizer.chat_template = "{{ messages[0].content }}{% if turn %}<|turn|>{% endif %}"
    tokenizer.save_pretrained(tmp_path / "model")
    flags = (f"--model.init_args.model={tmp_path}/model", "--data.chat_template_kwargs={turn: true}")
    code, output = doctor(*policy_args("fit", *flags)[1:])
    assert code == 1
    assert "'<|turn|>' has id 49152, and the embedding 49152 rows" in line_of(output, "data")


@pytest.mark.parametrize("mistake", MISTAKES)
def test_data_that_fit_would_refuse_is_broken(doctor: Doctor, policy_args, tmp_path: Path, mistake: str) -> None:
    (split, checker), expected = MISTAKES[mistake]
    rows = 1 if "few" in mistake else 2
    row = {"prompt": "Say hi.", "criteria": [{"text": "Hi.", "checker": checker, "kwargs": {"word": "hi"}}]}
    (tmp_path / "data.jsonl").write_text("\n".join([json.dumps(row)] * rows))
    source = ("--data.source=rtt_lightning.RecordFiles",)
    flags = (*source, f"--data.source.init_args.{split}={tmp_path}/data.jsonl")
    code, output = doctor(*policy_args("fit", *flags)[1:])
    assert code == 1
    assert expected in output


def test_a_missing_discriminator_and_a_missing_vllm_are_broken_where_they_are_needed(
    doctor: Doctor, policy_args, tmp_path: Path
) -> None:
    flags = (
        "--rollout.relevance=rtt_lightning.DiscriminatorRelevance",
        f"--rollout.relevance.init_args.checkpoint={tmp_path}/none.ckpt",
        "--rollout.engine=rtt_lightning.VLLMEngine",
    )
    code, output = doctor(*policy_args("fit", *flags)[1:])
    assert code == 1
    assert "no discriminator checkpoint at" in output
    assert "broken: vLLM, relevance\n" in output


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--config", "none.yaml"), "none.yaml"),
        (("--trainer.max_stepz=3",), "unrecognized arguments: --trainer.max_stepz=3"),
        (("--rollout.sampling.n=many",), "rollout.sampling.n"),
    ],
)
def test_a_wrong_configuration_ends_as_in_fit(doctor: Doctor, flags: tuple[str, ...], expected: str) -> None:
    code, output = doctor(*flags)
    assert code == 2
    assert expected in output
    assert output.startswith("rtt: ")


def test_help_says_how_to_use_it(doctor: Doctor) -> None:
    code, output = doctor("--help")
    assert code == 0
    assert "usage: rtt doctor" in output
    assert "--gpu_memory GIB" in output
    assert max(map(len, output.splitlines())) <= 80


@pytest.fixture
def judged(tmp_path: Path) -> Callable[[str], list[str]]:
    """Flags of a run whose criteria are a judge's."""
    row = {"prompt": "Of tea.", "criteria": [{"text": "Mention tea.", "checker": "judge"}]}
    (tmp_path / "data.jsonl").write_text("\n".join([json.dumps(row)] * 4))
    name = "--rollout.verifier"
    made = (f"{name}=rtt_lightning.LLMJudge", f"{name}.model=m", f"{name}.limits={{attempts: 1}}")
    source = ("--data.source=rtt_lightning.RecordFiles", f"--data.source.train={tmp_path}/data.jsonl")
    relevance = "--rollout.relevance=rtt_lightning.RuleSpans"
    return lambda url: [*source, relevance, *made, f"{name}.file=null", f"{name}.url={url}"]


@pytest.mark.parametrize(
    ("behaviour", "sign", "expected"),
    [
        ({}, "ok", "answers"),
        ({"finish_reason": "length"}, "note", "its reply was cut off"),
        ({"status": 401}, "BROKEN", "answers 401: the key is refused"),
        ({"body": "<html><title>Sign in</title></html>"}, "BROKEN", "the URL is no API, it answers with a web page"),
        ({"refuses": ("temperature",), "words": "temperature: only 1"}, "BROKEN", "set the judge's temperature: null"),
        ({"refuses": ("max_completion_tokens",), "words": "unknown: max_completion_tokens"}, "ok", "answers"),
    ],
    ids=["fine", "cut off", "wrong key", "a login page", "one temperature alone", "the older name of a field"],
)
def test_a_judge_and_an_annotator_are_asked_once(
    doctor: Doctor, policy_args, judged: Callable[[str], list[str]], behaviour: dict, sign: str, expected: str
) -> None:
    with judge_server(**behaviour) as url:
        annotator = [f"--annotator={json.dumps({'model': 'm', 'url': url, 'file': None, 'limits': {'attempts': 1}})}"]
        code, output = doctor(*policy_args("fit", *judged(url), *annotator)[1:])
    assert code == (1 if sign == "BROKEN" else 0), output
    for name in ("judge", "annotator"):
        assert line_of(output, name).split()[0] == sign
        assert expected.replace("judge", name) in line_of(output, name)
    assert "4 of 4 criteria are trained at response level only" in line_of(output, "relevance")


def test_what_judges_would_be_asked_is_said_and_noted_where_a_budget_is_less(
    doctor: Doctor, policy_args, judged: Callable[[str], list[str]]
) -> None:
    held_out = ["--watch.judge=rtt_lightning.LLMJudge", "--watch.judge.model=other", "--watch.judge.file=null"]
    budget = ["--rollout.verifier.budget={tokens: 7000}", "--watch.responses=4", "--watch.every=1"]
    with judge_server() as url:
        flags = [*judged(url), *held_out, f"--watch.judge.url={url}", *budget]
        code, output = doctor(*policy_args("fit", *flags)[1:])
    assert code == 0, output
    run, watch = [line.split(maxsplit=2) for line in output.splitlines() if " cost " in line]
    assert run[:2] == ["note", "cost"]
    assert run[2].startswith("judge m: about 12 calls with up to ")  # 2 windows of 2 prompts of 3 responses
    assert "and 6,144 of replies" in run[2]
    assert run[2].endswith("; more than budget.tokens 7,000, of which 0 is spent: the run may end early")
    assert watch[:2] == ["ok", "cost"]
    assert watch[2].startswith("judge other: about 8 calls ")


def test_vllm_servers_that_do_not_answer_are_noted(doctor: Doctor, policy_args) -> None:
    engine = "--rollout.engine=rtt_lightning.VLLMServerEngine"
    code, output = doctor(*policy_args("fit", engine, "--rollout.engine.init_args.urls=[http://127.0.0.1:9]")[1:])
    assert code == 0, output
    [line] = [line for line in output.splitlines() if "vLLM server" in line]
    assert "note" in line
    assert "http://127.0.0.1:9: " in line
    assert "VLLM_SERVER_DEV_MODE=1" in line
