"""The replay engine: returns recorded rollouts, for parity, resume and benchmark runs without sampling."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from rtt_lightning.engines.base import PolicyWeights, RolloutEngine, SampleRequest, Sampling
from rtt_lightning.types import Rollout
from rtt_lightning.types.errors import UserError


class ReplayEngine(RolloutEngine):
    """Returns the recorded responses of a prompt in turn, from the start again when they run out.

    Args:
        rollouts: Recorded rows; token ids, log-probs and policy versions are replayed as they were.
    """

    def __init__(self, rollouts: Iterable[Rollout]) -> None:
        self._recorded: dict[str, list[Rollout]] = defaultdict(list)
        for rollout in rollouts:
            self._recorded[rollout.prompt_id].append(rollout)
        self._served: dict[str, int] = defaultdict(int)

    def start(self, policy: PolicyWeights) -> None:
        """Nothing to do: no model is sampled."""

    def sync(self, policy: PolicyWeights) -> None:
        """Nothing to do: no model is sampled."""

    def probe(self, requests: Sequence[SampleRequest], sampling: Sampling, policy_version: int) -> Iterator[Rollout]:
        """Nothing: recordings do not come from current weights, and are kept for the run."""
        return iter(())

    def generate(self, requests: Sequence[SampleRequest], sampling: Sampling, policy_version: int) -> Iterator[Rollout]:
        for request in requests:
            recorded = self._recorded.get(request.prompt_id)
            if not recorded:
                raise UserError(
                    f"no recorded response for prompt {request.prompt_id!r}; "
                    f"the recording holds {len(self._recorded)} prompts: record this one or leave it out of the data"
                )
            for index in range(len(request.seeds)):
                rollout = recorded[self._served[request.prompt_id] % len(recorded)]
                self._served[request.prompt_id] += 1
                yield replace(rollout, group_id=request.group_id, sample_index=index)
