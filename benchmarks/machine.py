"""What a benchmark ran on."""

import platform
from typing import Any

import torch
import transformers


def describe() -> dict[str, Any]:
    """Processor, threads and versions."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    with open("/proc/cpuinfo") as lines:
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    return {
        "cpu": cpu,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
