"""Seeds as pure functions of what they are for, so that a resumed run draws the same as the unbroken one."""

import hashlib


def sampling_seed(run_seed: int, window: int, prompt_id: str, sample_index: int) -> int:
    """Seed of one response, in [0, 2^63): the same in a resumed run, different for every response of a run."""
    key = f"{run_seed}/{window}/{prompt_id}/{sample_index}"
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") >> 1
