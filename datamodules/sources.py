"""Where rows of data come from."""

from abc import ABC, abstractmethod
from typing import Literal

from rtt_lightning.datamodules.prompt_sampler import HELD_OUT_KINDS, TRAIN_KINDS, sample_prompts
from rtt_lightning.datamodules.rows import Rows, read_rows
from rtt_lightning.types import RubricSample
from rtt_lightning.types.errors import UserError

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


class RecordSource(ABC):
    """A dataset in splits that share no prompt."""

    @abstractmethod
    def rows(self, split: Split) -> Rows | None:
        """Rows of a split, in the format that ``data.format`` names; ``None`` if there is no such split."""


class RecordFiles(RecordSource):
    """Rows of files or of datasets of the hub, see `rtt_lightning.datamodules.rows.read_rows`.

    Args:
        train: File or dataset to train on.
        val: File or dataset to validate on; null: ``data.val_share`` may hold out training prompts.
        test: File or dataset to test on.
    """

    def __init__(self, train: str | None = None, val: str | None = None, test: str | None = None) -> None:
        self.files: dict[Split, str | None] = {"train": train, "val": val, "test": test}

    def rows(self, split: Split) -> Rows | None:
        path = self.files[split]
        return read_rows(path) if path else None


class ConstraintPrompts(RecordSource):
    """The built-in prompt sampler: seeded prompts with criteria that rules can check, without any download.

    Args:
        train: Number of training prompts.
        val: Number of validation prompts, of the same criterion kinds.
        test: Number of test prompts.
        kinds: Criterion kinds of training and validation.
        test_kinds: Criterion kinds of the test prompts; null for the same kinds.
        seed: The splits of one seed share no prompt.
        withheld: Criteria per prompt that are checked but not asked for: training data for a discriminator.
        unseen: Validation prompts to add that ask for `HELD_OUT_KINDS`, which training does not.
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
        unseen: int = 0,
    ) -> None:
        if min(train, val, test) < 0:
            raise UserError(f"train, val and test must be >= 0, got {train}, {val}, {test}")
        if unseen < 0:
            raise UserError(f"unseen is the number of validation prompts to add, at least 0, got {unseen}")
        self.counts: dict[Split, int] = {"train": train, "val": val, "test": test}
        self.kinds, self.test_kinds = tuple(kinds), tuple(test_kinds or kinds)
        self.seed, self.withheld, self.unseen = seed, withheld, unseen

    def rows(self, split: Split) -> Rows | None:
        first = sum(self.counts[earlier] for earlier in SPLITS[: SPLITS.index(split)])
        samples = self._samples(self.counts[split], self.test_kinds if split == "test" else self.kinds, first)
        if split == "val":
            samples += self._samples(self.unseen, HELD_OUT_KINDS, sum(self.counts.values()))
        if not samples:
            return None
        return Rows(f"constraints/{self.seed}", enumerate(map(RubricSample.to_row, samples), start=first + 1))

    def _samples(self, count: int, kinds: tuple[str, ...], first: int) -> list[RubricSample]:
        return sample_prompts(count, seed=self.seed, kinds=kinds, start=first, withheld=self.withheld)
