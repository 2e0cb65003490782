"""Where records come from."""

from abc import ABC, abstractmethod
from typing import Literal

from rtt_lightning.datamodules.constraints import TRAIN_KINDS, sample_prompts
from rtt_lightning.datamodules.records import Record, read_records
from rtt_lightning.seeds import sampling_seed

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


class RecordSource(ABC):
    """A dataset in splits that share no prompt."""

    @abstractmethod
    def load(self, split: Split) -> list[Record]:
        """Records of a split; empty where the source has no such split."""


class RecordFiles(RecordSource):
    """Records from JSONL or parquet files, see `rtt_lightning.datamodules.records`.

    Args:
        train: File to train on.
        val: File to validate on; without it ``val_share`` of the training prompts are held out.
        test: File to test on.
        val_share: Share of the prompts of ``train`` held out, in [0, 1); by prompt, so that no prompt is in both.
    """

    def __init__(
        self, train: str | None = None, val: str | None = None, test: str | None = None, val_share: float = 0.0
    ) -> None:
        if not 0 <= val_share < 1 or (val_share and (train is None or val is not None)):
            raise ValueError(
                f"val_share must be in [0, 1), and 0 beside a val file or without a train file; "
                f"got {val_share}, train {train}, val {val}"
            )
        self.files: dict[Split, str | None] = {"train": train, "val": val, "test": test}
        self.val_share = val_share

    def load(self, split: Split) -> list[Record]:
        path = self.files[split]
        if self.val_share and split != "test":
            records = read_records(self.files["train"] or "")
            return [record for record in records if self._held_out(record) == (split == "val")]
        return read_records(path) if path else []

    def _held_out(self, record: Record) -> bool:
        prompt = "\n".join(message["content"] for message in record.sample.messages)
        return sampling_seed(0, 0, prompt, 0) % 10_000 < self.val_share * 10_000


class ConstraintPrompts(RecordSource):
    """The built-in constraint sampler: seeded prompts with criteria that rules can check, without any download.

    Args:
        train: Number of training prompts.
        val: Number of validation prompts, of the same criterion kinds.
        test: Number of test prompts.
        kinds: Criterion kinds of training and validation.
        test_kinds: Criterion kinds of the test prompts; null for the same ones.
        seed: The splits of one seed share no prompt.
        withheld: Criteria per prompt that are checked but not asked for: training data of a discriminator.
    """

    def __init__(
        self,
        train: int = 512,
        val: int = 128,
        test: int = 0,
        kinds: tuple[str, ...] = TRAIN_KINDS,
        test_kinds: tuple[str, ...] | None = None,
        seed: int = 0,
        withheld: int = 0,
    ) -> None:
        if min(train, val, test) < 0:
            raise ValueError(f"train, val and test must be >= 0, got {train}, {val}, {test}")
        self.counts: dict[Split, int] = {"train": train, "val": val, "test": test}
        self.kinds, self.test_kinds = tuple(kinds), tuple(test_kinds or kinds)
        self.seed, self.withheld = seed, withheld

    def load(self, split: Split) -> list[Record]:
        first = sum(self.counts[earlier] for earlier in SPLITS[: SPLITS.index(split)])
        kinds = self.test_kinds if split == "test" else self.kinds
        samples = sample_prompts(self.counts[split], seed=self.seed, kinds=kinds, start=first, withheld=self.withheld)
        return [Record(sample) for sample in samples]
