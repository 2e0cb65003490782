"""Watch all processes of a run: when one fails, dies or gets stuck, all end and say why."""

import os
import signal
import sys
import threading
import time
from datetime import timedelta
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

from rtt_lightning.types.errors import UserError

POLL_SECONDS = 1.0
DEAD_AFTER_SECONDS = 20.0
FAILED = "failed"


class Guard(Callback):
    """Ends every process within half a minute of a failure in any of them.

    A collective would wait forever for a dead process. So each process has a thread that watches the others through a
    separate store: for a failure that one of them reported, or for one whose heartbeat has stopped.

    Args:
        deadline_minutes: Longest time from one batch to the next, sampling included; then the run counts as stuck.
    """

    def __init__(self, deadline_minutes: float = 120.0) -> None:
        if deadline_minutes <= 0:
            raise UserError(f"guard.deadline_minutes must be > 0, got {deadline_minutes}")
        self.deadline = 60 * deadline_minutes
        self._rank, self._ranks = 0, 1
        self._store: TCPStore | None = None
        self._stop = threading.Event()
        self._progress = time.monotonic()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._rank, self._ranks = trainer.global_rank, trainer.world_size
        if self._ranks > 1 and self._store is None:
            self._store = _open_store(trainer)
        self._stop.clear()
        self._progress = time.monotonic()
        self._thread = threading.Thread(target=self._watch, name="rtt-guard", daemon=True)
        self._thread.start()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn != TrainerFn.FITTING:  # nothing to save: end at once; Lightning would go on
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    on_test_start = on_validation_start
    on_predict_start = on_validation_start

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        trainer.strategy.barrier()  # nobody leaves while others still watch it
        self._stop.set()
        self._thread.join(2 * POLL_SECONDS)  # Python aborts a process that ends while a thread is within the store

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Report the reason to the other processes, unless this one exits on purpose."""
        self._stop.set()
        if self._store is not None and not isinstance(exception, SystemExit):
            reason = f"process {self._rank} failed: {type(exception).__name__}: {exception}"
            self._store.set(FAILED, reason)
            _say(reason)
            time.sleep(2 * POLL_SECONDS)  # the store lives with process 0: the others read it first

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._progress = time.monotonic()

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._progress = time.monotonic()

    on_test_batch_end = on_validation_batch_end
    on_predict_batch_end = on_validation_batch_end

    def _watch(self) -> None:
        seen: dict[int, tuple[int, float]] = {}
        beats = 0
        while not self._stop.wait(POLL_SECONDS):
            beats += 1
            reason = self._stuck() or (self._look_around(self._store, beats, seen) if self._store else None)
            if reason and not self._stop.is_set():
                _say(f"{reason}; process {self._rank} ends")
                os._exit(1)  # the main thread may be waiting in a collective forever

    def _stuck(self) -> str | None:
        waited = time.monotonic() - self._progress
        if waited < self.deadline:
            return None
        return f"no batch ended for {waited / 60:.0f} minutes (guard.deadline_minutes {self.deadline / 60:.0f})"

    def _look_around(self, store: TCPStore, beats: int, seen: dict[int, tuple[int, float]]) -> str | None:
        """Why this process should end, or ``None``. ``seen``: last beat of each process, and when it came."""
        now = time.monotonic()
        try:
            store.set(f"beat/{self._rank}", str(beats))
            if store.check([FAILED]):
                return store.get(FAILED).decode()
            for rank in range(self._ranks):
                beat = int(store.get(f"beat/{rank}")) if store.check([f"beat/{rank}"]) else 0
                if rank not in seen or seen[rank][0] != beat:
                    seen[rank] = beat, now
                if now - seen[rank][1] > DEAD_AFTER_SECONDS:
                    return f"process {rank} has been silent for {DEAD_AFTER_SECONDS:.0f} seconds: it died"
        except RuntimeError as error:  # the store is in process 0
            reason = str(error).partition("\n")[0]  # an empty message must not end the watch itself
            return f"process 0 is gone ({reason})"
        return None


def _open_store(trainer: Trainer) -> TCPStore:
    """A separate store: that of the process group is busy whenever the main thread waits."""
    strategy: Any = trainer.strategy
    host = strategy.cluster_environment.main_address
    timeout = timedelta(seconds=60)
    if trainer.is_global_zero:
        store = TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=timeout)
        trainer.strategy.broadcast(store.port)
        return store
    port = trainer.strategy.broadcast(0)
    return TCPStore(host, port, is_master=False, wait_for_workers=False, timeout=timeout)


def _say(reason: str) -> None:
    print(f"rtt: {reason}", file=sys.stderr, flush=True)
