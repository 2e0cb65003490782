"""Our own vLLM server: a process that always ends with this one."""

import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

import torch

from rtt_lightning.runtime.processes import free_port
from rtt_lightning.types.errors import UserError

CPU_SETTINGS = {
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # threads stay free for training
}
"""Environment of vLLM on a CPU, unless the user sets it."""


class VLLMProcess:
    """Starts a vLLM server on a free port of the loopback address.

    Args:
        model: Folder or hub name.
        dtype: Of its weights.
        max_model_len: Longest prompt + response in tokens; null takes the model's own limit.
        gpu_memory_utilization: Share of the GPU's memory that it takes.
        more: Further arguments of the server.
    """

    def __init__(
        self,
        model: str,
        dtype: str,
        max_model_len: int | None,
        gpu_memory_utilization: float,
        more: Sequence[str] = (),
    ) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        arguments = ["--model", model, "--host", "127.0.0.1", "--port", str(port), "--dtype", dtype, "--tokens-only"]
        arguments += ["--logprobs-mode", "processed_logprobs", "--disable-log-stats"]
        arguments += ["--max-model-len", str(max_model_len)] if max_model_len else []
        arguments += more
        if torch.cuda.is_available():
            arguments += ["--gpu-memory-utilization", str(gpu_memory_utilization)]
        else:  # vLLM 0.32 cannot split a seeded prompt on a CPU
            arguments += ["--enforce-eager", "--no-enable-chunked-prefill"]
        with tempfile.NamedTemporaryFile(prefix="vllm-server-", suffix=".log", delete=False) as log:
            self._log = Path(log.name)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "rtt_lightning.engines.vllm.process", *arguments],
                stdin=subprocess.PIPE,  # open for as long as this process lives
                stdout=log,
                stderr=subprocess.STDOUT,
                env=CPU_SETTINGS | os.environ | {"VLLM_SERVER_DEV_MODE": "1"},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The id of the process and of its process group."""
        return self._process.pid

    def stop(self) -> None:
        """End it and its engine processes at once."""
        if self._process.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()

    def wait(self, timeout: float) -> None:
        """Wait until it has ended, at most ``timeout`` seconds."""
        self._process.wait(timeout)

    def check_running(self) -> None:
        """Raise ValueError, with the end of its log, if the server has ended."""
        if self._process.poll() is not None:
            last = "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])
            raise UserError(
                f"the vLLM server ended with exit code {self._process.returncode}; its log, {self._log}, ends with:"
                f"\n{last}"
            )


def serve(arguments: Sequence[str]) -> None:
    """Run vLLM's server in this process until its parent closes its standard input or dies."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.argv[1:] = arguments
    # `vllm serve` would look for a distribution of that name, which the CPU build does not have.
    runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__", alter_sys=True)


def _end_with_parent() -> None:
    os.read(0, 1)  # returns when the other end is closed
    os.killpg(os.getpgrp(), signal.SIGKILL)  # its engine processes too


if __name__ == "__main__":
    serve(sys.argv[1:])
