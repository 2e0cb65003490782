"""Engines that sample from weights of their own, as servers do; and flags to sample ahead with them."""

import threading
import time
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, ClassVar

from rtt_lightning.engines.base import PolicyWeights
from rtt_lightning.engines.embedded.engine import TransformersEngine
from rtt_lightning.types import OutsideFailure, Rollout

ELSEWHERE = "--rollout.engine=tests.callbacks.elsewhere.Elsewhere"
AHEAD = (ELSEWHERE, "--rollout.ahead=1", "--model.init_args.importance_cap=2")


class Elsewhere(TransformersEngine):
    """Samples from a copy of the policy, made at each sync; notes which weights sampled.

    Attributes:
        versions: Of the weights, one per call of `generate`, of all engines.
    """

    samples_elsewhere = True
    versions: ClassVar[list[int]] = []

    def start(self, policy: PolicyWeights) -> None:
        super().start(policy)
        self.sampling = False
        self.sync(policy)

    def sync(self, policy: PolicyWeights) -> None:
        assert not self.sampling, "weights change while responses are sampled"
        self._model = deepcopy(policy.model)

    def generate(self, requests: Any, sampling: Any, policy_version: int) -> Iterator[Rollout]:
        assert not self.sampling, "two windows at a time"
        self.sampling = True
        self.versions.append(policy_version)
        try:
            yield from super().generate(requests, sampling, policy_version)
        finally:
            self.sampling = False


class Slow(Elsewhere):
    """Takes a tenth of a second before each response that is sampled ahead."""

    def generate(self, *args: Any) -> Iterator[Rollout]:
        for row in super().generate(*args):
            time.sleep(0.1 * (threading.current_thread() is not threading.main_thread()))
            yield row


class Failing(Elsewhere):
    """Loses its server within the second window."""

    def generate(self, *args: Any) -> Iterator[Rollout]:
        for row in super().generate(*args):
            yield row
            if len(self.versions) == 2:
                raise OutsideFailure("no server is left")
