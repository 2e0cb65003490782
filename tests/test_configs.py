"""Every shipped YAML is parsed, in the combinations that its header gives; the cluster files run, without a cluster."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from argparse import ArgumentError
from collections.abc import Callable, Iterator, Sequence
from functools import partial, reduce
from itertools import permutations
from multiprocessing.context import ForkServerProcess
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
import yaml

from rtt_lightning.commands.configs import show_configs
from rtt_lightning.commands.doctor.budget import split_gpu_memory
from rtt_lightning.commands.doctor.dry_run import ParsedOnly
from rtt_lightning.commands.given import as_arguments, read_arguments
from rtt_lightning.commands.init import command as init_command
from rtt_lightning.commands.run import for_the_parser, main
from rtt_lightning.commands.score import command as score_command
from rtt_lightning.runtime.processes import free_port
from rtt_lightning.types.errors import UserError
from tests.conftest import ROOT
from tests.datamodules.adapters.test_adapters import ADVANCEDIF, IFEVAL, MULDIMIF, TRL
from tests.processes import start

CONFIGS = ROOT / "configs"
METHODS = sorted(CONFIGS.glob("methods/*.yaml"))
SHAPES = [CONFIGS / f"methods/{name}.yaml" for name in ("gdpo", "rtt", "dapo")]
"""One without arguments, one with arguments and relevance, one around others: all hold the same two keys, see below."""
DISCRIMINATORS = [
    CONFIGS / f"{name}.yaml" for name in ("demo/discriminator", "discriminators/minilm", "recipes/paper-discriminator")
]
WHOLE = {CONFIGS / "recipes/paper-rtt.yaml"}
"""Files that are a whole run, its model class and algorithm included."""
ANNOTATORS = sorted(CONFIGS.glob("annotators/*.yaml"))
"""Files that `rtt annotate` and `rtt doctor` read."""
RELEVANCE = sorted(CONFIGS.glob("relevance/*.yaml"))
"""Files that replace what a method has for relevance."""
GRIDS = sorted(CONFIGS.glob("compare/*.yaml"))
"""Files that `rtt compare` reads, see `tests/comparison/`."""
OTHERS = sorted({*CONFIGS.rglob("*.yaml")} - {*METHODS, *DISCRIMINATORS, *WHOLE, *ANNOTATORS, *RELEVANCE, *GRIDS})
MINE = """
from rtt_lightning.modules import PolicyModule

class Mine(PolicyModule):
    def __init__(self, model: str, temperature: float = 1.0, clip_high: float = 0.5, **kwargs):
        super().__init__(model, clip_high=clip_high, **kwargs)
"""
MINE_YAML = "model: {class_path: my_own_policy.Mine, init_args: {temperature: 2.0}}"


@pytest.fixture(scope="module")
def parse_command() -> Callable[..., dict[str, Any]]:
    """The configuration of a command; one parser for all."""
    parser = main(["fit", "--model.init_args.model=none"], ParsedOnly)._parser("fit")

    def parse_command(command: Sequence[str], defaults: bool = True) -> dict[str, Any]:
        _, *args = for_the_parser(["fit", *command[1:]])
        return parser.parse_args(args, defaults=defaults).clone(with_meta=False).as_dict() | {"config": None}

    return parse_command


@pytest.fixture
def parse(parse_command) -> Callable[..., dict[str, Any]]:
    """The composed configuration of files or inline YAML."""

    def parse(*configs: Path | str, defaults: bool = True) -> dict[str, Any]:
        flags = [flag for config in configs for flag in ("--config", str(config))]
        return parse_command(["fit", "--model.init_args.model=none", *flags], defaults)

    return parse


def holds(whole: Any, part: Any) -> bool:
    """Whether what a file says is said in the whole as well; defaults may stand beside it."""
    if isinstance(part, dict):
        return all(name in whole and holds(whole[name], part[name]) for name in part)
    return (f"{whole.__module__}.{whole.__name__}" if callable(whole) else whole) == part


@pytest.mark.parametrize("other", OTHERS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_methods_compose_with_every_other_file_in_either_order(other: Path, parse) -> None:
    """Each method with one file, and one of each shape with all."""
    parse = partial(parse, defaults=False)  # four times as fast
    alone = parse(other)
    for method in METHODS if other == CONFIGS / "demo/policy.yaml" else SHAPES:
        found, own = parse(method, other), yaml.safe_load(method.read_text())
        assert found == parse(other, method), method.stem
        assert holds(found["model"]["init_args"].pop("algorithm"), own["model"]["init_args"]["algorithm"]), method.stem
        assert holds(found["rollout"].pop("relevance"), own["rollout"]["relevance"]), method.stem
        found["rollout"] = found["rollout"] or None
        assert found == {"rollout": None} | alone, method.stem  # the rest is as the other file has it alone


@pytest.mark.parametrize("path", RELEVANCE, ids=lambda path: path.stem)
def test_relevance_replaces_that_of_a_method_before_it(path: Path, parse) -> None:
    own = yaml.safe_load(path.read_text())["rollout"]
    for method in SHAPES:
        found = parse(method, path)
        assert found["rollout"]["relevance"] == own["relevance"], method.stem
        assert found["model"] == parse(method)["model"], method.stem


@pytest.mark.parametrize("method", SHAPES, ids=lambda path: path.stem)
def test_a_policy_of_ones_own_composes_with_methods_in_any_order(
    method: Path, parse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_own_policy.py").write_text(MINE)
    monkeypatch.syspath_prepend(str(tmp_path))
    first, *others = (parse(*files) for files in permutations((MINE_YAML, method, CONFIGS / "demo/policy.yaml")))
    assert all(other == first for other in others)
    model, own = first["model"], yaml.safe_load(method.read_text())["model"]["init_args"]
    assert model["class_path"] == "my_own_policy.Mine"
    assert holds(model["init_args"], own | {"temperature": 2.0, "clip_high": 0.5, "kl_coef": 0.05, "warmup_steps": 2})


def test_a_method_is_refused_for_a_discriminator_in_either_order(parse) -> None:
    for files in permutations((METHODS[0], DISCRIMINATORS[0])):
        with pytest.raises(ArgumentError, match=r"DiscriminatorModule':\n.*'algorithm\.\S+' is not accepted"):
            parse(*files)


def test_methods_alone_name_an_algorithm_and_name_no_model_class() -> None:
    for path in CONFIGS.rglob("*.yaml"):
        composed = yaml.safe_load(path.read_text())
        model = composed.get("model", {})
        assert ("algorithm" in model.get("init_args", {})) == (path in {*METHODS, *WHOLE}), path
        assert ("class_path" in model) == (path in {*DISCRIMINATORS, *WHOLE}), path
        if path in METHODS:
            assert composed.keys() == {"model", "rollout"}, path
            assert model["init_args"].keys() == {"algorithm"}, path
            assert composed["rollout"].keys() == {"relevance"}, path


@pytest.mark.parametrize("path", DISCRIMINATORS, ids=lambda path: path.stem)
def test_every_discriminator_is_parsed(path: Path, parse) -> None:
    shown = parse(path)
    assert shown["model"]["class_path"] == "rtt_lightning.DiscriminatorModule"
    is_read_at_once = shown["data"]["view"]["class_path"] == "rtt_lightning.LabelledResponses"
    assert shown["model"]["init_args"]["one_pass"] == is_read_at_once


@pytest.mark.parametrize("path", ANNOTATORS, ids=lambda path: path.stem)
def test_every_annotator_composes_with_its_judge(path: Path, parse) -> None:
    shown, said = parse(path, CONFIGS / "judges" / path.name), yaml.safe_load(path.read_text())["annotator"]
    assert holds(shown["annotator"]["init_args"], said)
    judge = shown["rollout"]["verifier"]["init_args"]["judge"]["init_args"]
    assert (judge["model"], judge["url"], judge["file"]) == (said["model"], said.get("url"), "runs/judge.sqlite")


def test_the_recipes_of_the_paper_are_its_settings(parse) -> None:
    found = parse(CONFIGS / "recipes/paper-discriminator.yaml")
    view, trainer = found["data"]["view"]["init_args"], found["trainer"]
    assert view["batch_size"] * trainer["accumulate_grad_batches"] * trainer["devices"] == 256
    assert (trainer["max_epochs"], found["model"]["init_args"]["optimizer"]["init_args"]["lr"]) == (4, 9e-6)
    composed = parse(*(CONFIGS / f"{name}.yaml" for name in ("methods/rtt", "models/qwen3-4b", "data/paper")))
    whole = parse(*WHOLE)
    for part in ("data", "rollout.sampling", "rollout.evaluation", "model.init_args.algorithm", "trainer.max_steps"):
        one, other = (reduce(getitem, part.split("."), config) for config in (whole, composed))
        assert one == other, part
    for name in ("model", "lora", "warmup_steps", "clip_low", "clip_high", "optimizer", "gradient_checkpointing"):
        assert whole["model"]["init_args"][name] == composed["model"]["init_args"][name], name


@pytest.mark.parametrize(("model", "clip"), [("qwen3-4b", 0.27), ("qwen2.5-7b", 0.27), ("llama-3.2-3b", 0.2)])
def test_the_paper_is_composed(model: str, clip: float, parse) -> None:
    shown = parse(*(CONFIGS / f"{name}.yaml" for name in ("methods/rtt", f"models/{model}", "data/paper")))
    assert shown["rollout"]["sampling"]["top_k"] == 100
    policy = shown["model"]["init_args"]
    assert (policy["clip_high"], policy["lora"], policy["optimizer"]["init_args"]["lr"]) == (clip, None, 1e-6)
    assert policy["algorithm"]["init_args"]["beta"] == 0.5


def commands() -> Iterator[tuple[str, str]]:
    """The complete commands that the documents and the headers of files show, each with its place."""
    documents = [ROOT / "README.md", *ROOT.glob("docs/*.md"), *CONFIGS.rglob("*.yaml")]
    for path in documents:
        text = re.sub(r"\\?\n#?\s*(?=--)", " ", path.read_text())  # a line that begins with a flag goes on
        for command in re.findall(r"\brtt +((?:fit|validate|predict|doctor) +--[^\n`]*)", text):
            shown = re.sub(r"\s+#.*|\s+\(.*|; or .*", "", command)
            if not re.search(r"\.\.\.|--config [A-Z]|help\b", shown):
                yield path.name, re.sub(r"\[(--.*?)\]", r"\1", shown)


@pytest.mark.parametrize(("place", "command"), commands())
def test_commands_that_are_shown_parse_in_todays_spelling(
    place: str,
    command: str,
    parse_command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if place == "clusters.md":
        (tmp_path / "mine.yaml").write_text(
            (ROOT / "docs/clusters.md").read_text().split("```yaml\n")[1].split("```")[0]
        )
    else:
        init_command("init", ["mine.yaml", "--judge=http://127.0.0.1:8001/v1", "--judge_model=m"])
    _, words = split_gpu_memory(shlex.split(re.sub(r"\b(STEPS|SEED|LR|KL)\b", "1", command)))
    parse_command(words)
    said = capsys.readouterr().err.splitlines()
    notices = [line for line in said if line.startswith("rtt: ")]
    by_init = place != "clusters.md" and "mine.yaml" in command
    another = "relevance/" in command or "--rollout.relevance" in command
    replaces = another or (by_init and "methods/rtt.yaml" in command)  # what `rtt init` wrote
    assert bool(notices) == replaces
    assert all(line.endswith(": the latter counts") for line in notices)


def test_the_paper_trains_on_500_windows_of_two_updates() -> None:
    """Its `max_steps` counts windows, Lightning's counts updates."""
    paper = yaml.safe_load((CONFIGS / "data/paper.yaml").read_text())
    assert paper["trainer"]["max_steps"] / paper["data"]["view"]["init_args"]["updates"] == 500


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("benchmarks/*.yaml")), ids=lambda path: path.stem)
def test_benchmarks_score_given_responses(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"muldimif": MULDIMIF, "advancedif": ADVANCEDIF}.get(path.stem, IFEVAL)
    prompt = {"muldimif": MULDIMIF["conversations"], "advancedif": TRL["prompt"]}.get(path.stem, IFEVAL["prompt"])
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    (tmp_path / "responses.jsonl").write_text(json.dumps({"prompt": prompt, "response": "Green tea, in Somalia."}))
    flags = (f"--config={path}", f"--data.source.init_args.val={tmp_path}/rows.jsonl", f"--rollout.output={tmp_path}")
    score_command("score", [f"{tmp_path}/responses.jsonl", *flags])
    [line] = (tmp_path / "validate.jsonl").read_text().splitlines()
    expected = {"muldimif": [True, True, False, False, None], "advancedif": [None, None]}.get(path.stem, [False, True])
    assert json.loads(line)["verdicts_strict"] == expected
    assert "1 response to 1 prompt" in capsys.readouterr().out


def test_every_yaml_has_a_header_and_is_short() -> None:
    for path in CONFIGS.rglob("*.yaml"):
        text = path.read_text()
        assert text.startswith("# Purpose:"), path
        assert "# Command:" in text, path
        assert len(text.splitlines()) < 46, path


# -- shipped names -------------------------------------------------------------------------------------------------


def test_a_shipped_name_is_found_from_any_folder_and_a_path_from_here_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    [_, first, second] = as_arguments(
        read_arguments(["fit", "--config=demo/policy.yaml", "--config=configs/methods/rtt.yaml"])
    )
    assert Path(first.removeprefix("--config=")).samefile(CONFIGS / "demo/policy.yaml")
    assert Path(second.removeprefix("--config=")).samefile(CONFIGS / "methods/rtt.yaml")
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo/policy.yaml").write_text("trainer: {max_steps: 3}")
    unchanged = ["fit", "--config", "demo/policy.yaml", "--config", "trainer: {max_steps: 3}", "--x", "none.yaml"]
    assert as_arguments(read_arguments(unchanged)) == unchanged
    with pytest.raises(
        ValueError, match=r"--config demo/polizy.yaml: no such file from .*did you mean 'demo/policy.yaml'"
    ):
        read_arguments(["fit", "--config", "demo/polizy.yaml"])
    with pytest.raises(UserError, match=r"--config mine.yaml: no such file from .*see `rtt configs`"):
        read_arguments(["fit", "--config", "mine.yaml"])


@pytest.mark.parametrize("text", [b"model: [1,\n", b"model:\n\tx: 1\n", b"\xff\xfe"])
def test_a_file_that_is_no_yaml_is_named(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "mine.yaml").write_bytes(text)
    with pytest.raises(ValueError, match=r"--config .*/mine\.yaml is not YAML: "):
        read_arguments(["fit", f"--config={tmp_path}/mine.yaml"])


def test_shipped_files_are_listed_with_their_purpose(capsys: pytest.CaptureFixture[str]) -> None:
    show_configs()
    folder, *lines = capsys.readouterr().out.splitlines()
    assert str(CONFIGS) in folder
    assert len(lines) == sum(path.is_file() for path in CONFIGS.rglob("*"))
    assert all(len(line.split(maxsplit=1)[1]) > 20 for line in lines)


# -- clusters ------------------------------------------------------------------------------------------------------

JOB_SCRIPT = CONFIGS / "clusters/slurm.sh"
COMMANDS = {
    "scontrol": '[[ $1 == show ]] && printf "node%s\\n" 0 1 2; echo "scontrol $*" >>log',
    "squeue": 'echo "$STATE"',
    "srun": 'echo "srun $* from $MASTER_ADDR" >>log; trap "sleep 0.5; exit 143" TERM; echo $$ >pid; eval "$TRAINING"',
    "scancel": 'echo "scancel $*" >>log; kill -TERM "$(cat pid)"',
    "vllm": 'echo "vllm $* on GPU $CUDA_VISIBLE_DEVICES" >>log; exec sleep 60',
}
"""Stand-ins for SLURM's and vLLM's."""
FOREVER = "while true; do sleep 0.05; done"


def job(folder: Path, training: str, state: str = "RUNNING") -> subprocess.Popen[bytes]:
    """The job script with stand-ins, started; ``training`` is what the processes of the training step do."""
    (folder / "bin").mkdir()
    for name, body in COMMANDS.items():
        (folder / "bin" / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (folder / "bin" / name).chmod(0o755)
    job = {
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NUM_NODES": "3",
        "SLURM_JOB_NODELIST": "node[0-2]",
        "SLURM_CPUS_PER_TASK": "8",
    }
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    environment = {**os.environ, **job, "PATH": path, "TRAINING": training, "STATE": state}
    return subprocess.Popen(["bash", str(JOB_SCRIPT), "--seed_everything", "3"], cwd=folder, env=environment)


def test_the_job_script_is_sound_shell() -> None:
    subprocess.run(["bash", "-n", str(JOB_SCRIPT)], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", str(JOB_SCRIPT)], check=True)


@pytest.mark.parametrize("code", [0, 1, 2])
def test_a_job_that_ends_by_itself_is_not_requeued(tmp_path: Path, code: int) -> None:
    assert job(tmp_path, f"sleep 0.5; exit {code}").wait(60) == code
    log = (tmp_path / "log").read_text()
    assert "requeue" not in log
    [training] = [line for line in log.splitlines() if line.startswith("srun")]
    assert "--nodes=2 --relative=1 --ntasks=16 --ntasks-per-node=8" in training
    assert training.endswith("--ckpt_path=runs/paper/checkpoints --seed_everything 3 from node1")
    assert f"urls=[{','.join(f'http://node0:{8000 + gpu}' for gpu in range(8))}]" in training
    assert all(f"--port {8000 + gpu} --tokens-only" in log and f"on GPU {gpu}" in log for gpu in range(8))
    arguments = training.split(" rtt ")[1].removesuffix(" from node1").split()
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--print_config"])
    assert ended.value.code == 0


@pytest.mark.parametrize(("state", "requeued"), [("RUNNING", True), ("COMPLETING", False)])
def test_a_job_whose_time_runs_out_saves_and_is_requeued_unless_cancelled(
    tmp_path: Path, state: str, requeued: bool
) -> None:
    process = job(tmp_path, FOREVER, state)
    ends = time.monotonic() + 60
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < ends
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    log = (tmp_path / "log").read_text()
    assert "scancel --signal=TERM 7.0" in log
    assert ("scontrol requeue 7" in log) == requeued


OVERLAY = ("--config=clusters/fsdp.yaml", "--trainer.devices=1", "--trainer.enable_checkpointing=true")
RESUMES = "--ckpt_path=runs/paper/checkpoints"
"""Two nodes of one process each, as far as a launcher lets them see, in shards as configs/clusters/ has it."""


def under_torchrun(folder: Path, arguments: list[str]) -> list[subprocess.Popen[bytes]]:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
    torchrun += ["--master-addr=127.0.0.1", f"--master-port={free_port()}"]
    command = ["-m", "rtt_lightning", *arguments, *OVERLAY, RESUMES]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen([*torchrun, f"--node-rank={node}", *command], cwd=folder, env=environment) for node in (0, 1)
    ]


def under_slurm(folder: Path, arguments: list[str]) -> list[ForkServerProcess]:
    """With what SLURM tells a process of a step."""
    told = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "rtt", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "1"}
    told |= {"SLURM_LOCALID": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    nodes = ({"SLURM_PROCID": node, "SLURM_NODEID": node} for node in ("0", "1"))
    return [start([*arguments, *OVERLAY, RESUMES], folder / "log", told | node, folder) for node in nodes]


def codes(nodes: list[ForkServerProcess], seconds: float) -> list[int | None]:
    for node in nodes:
        node.join(seconds)
    return [node.exitcode for node in nodes]


def saved(folder: Path) -> dict[str, int]:
    """Checkpoints and their number of shards."""
    folders = sorted((folder / "runs/paper/checkpoints").glob("*.ckpt"))
    return {path.name: len([*path.glob("shard-*.pt")]) for path in folders}


@pytest.mark.slow
def test_two_nodes_train_under_torchrun(policy_args, tmp_path: Path) -> None:
    nodes = under_torchrun(tmp_path, policy_args("fit"))
    assert [node.wait(300) for node in nodes] == [0, 0]
    assert saved(tmp_path) == {"step-00000002.ckpt": 2}


@pytest.mark.slow
def test_a_signal_to_one_of_two_nodes_under_slurm_saves_and_the_run_goes_on(policy_args, tmp_path: Path) -> None:
    nodes = under_slurm(tmp_path, policy_args("fit", "--trainer.max_steps=1000"))
    ends = time.monotonic() + 300
    while not [*tmp_path.glob("completions/window-000001*")]:
        assert time.monotonic() < ends
        time.sleep(0.1)
    nodes[1].terminate()
    assert codes(nodes, 120) == [143, 143], (tmp_path / "log").read_text()[-3000:]
    *_, newest = saved(tmp_path)
    step = int(newest.removeprefix("step-").removesuffix(".ckpt"))
    nodes = under_slurm(tmp_path, policy_args("fit", f"--trainer.max_steps={step + 1}"))
    assert codes(nodes, 300) == [0, 0], (tmp_path / "log").read_text()[-3000:]
    assert saved(tmp_path).items() >= {newest: 2, f"step-{step + 1:08d}.ckpt": 2}.items()
