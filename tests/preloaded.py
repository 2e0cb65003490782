"""What a run imports, much of it on first use: processes forked from one that has imported this start at once."""

import gc
from importlib import import_module

import rtt_lightning

LIBRARIES = ("omegaconf", "pandas", "peft", "transformers.models.llama.modeling_llama")
OURS = ("rtt_lightning.commands.run", "tests.distributed.recorder", "tests.processes")

for module in (*LIBRARIES, *OURS):
    import_module(module)
for name in rtt_lightning.__all__:
    getattr(rtt_lightning, name)
gc.freeze()  # so that the processes need not look through all of this for garbage
